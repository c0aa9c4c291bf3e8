//! Watches a world from outside and fails when a promise of the scheduler is broken.

use photog::{
    domain::Metric,
    scheduler::{Action, Decision, ServiceSnapshot, SlotId, SlotState, Snapshot, TURN},
};

use crate::world::{Millis, World, at};

/// The promised reaction to a backlog.
const REACTION: Millis = 10_000;

pub struct Watch {
    /// Longest time that one entry takes, and that a slot needs to start, with a margin.
    patience: Millis,
    short_since: Vec<Option<Millis>>,
    starved_since: Vec<Option<Millis>>,
    last_action: Millis,
}

impl Watch {
    pub fn new(services: usize, patience: Millis) -> Self {
        Self {
            patience,
            short_since: vec![None; services],
            starved_since: vec![None; services],
            last_action: 0,
        }
    }

    /// When the scheduler last did anything.
    pub fn last_action(&self) -> Millis {
        self.last_action
    }

    /// A changed policy has other windows: waiting begins anew.
    pub fn policy_changed(&mut self, service: usize) {
        self.short_since[service] = None;
    }

    /// One step: what was seen, what was decided, and the world after it.
    pub fn check(&mut self, seen: &Snapshot, decision: &Decision, world: &World) {
        if !decision.actions.is_empty() {
            self.last_action = world.now;
        }
        let may_cede = seen.services.iter().any(is_starved);
        for (index, was) in seen.services.iter().enumerate() {
            let is = &world.snapshot.services[index];
            if !was.stopping && !may_cede {
                check_shrinking(was, is, decision, world.now);
            }
            self.check_reaction(index, may_cede, decision, world);
            self.check_starvation(index, seen, world.now);
        }
        self.check_turns(seen, decision, world.now);
    }

    /// Where room and need have both been there for the promised time, the service has grown.
    fn check_reaction(&mut self, index: usize, may_cede: bool, decision: &Decision, world: &World) {
        let service = &world.snapshot.services[index];
        let report = &decision.services[index];
        let is_held = service
            .starts_held_until
            .is_some_and(|until| until > at(world.now));
        let could_grow = (service.slots.len() as u32) < report.max && world.has_room(index);
        let has_grown = decision
            .actions
            .iter()
            .any(|action| matches!(action, Action::Start { service, .. } if *service == index));
        let is_short = service.waiting > 0
            && !has_grown
            && need(service) > active(service)
            && could_grow
            && !(service.stopping || is_held || may_cede);
        let since = is_short.then(|| self.short_since[index].unwrap_or(world.now));
        self.short_since[index] = since;
        let window = service.policy.scale_up_window.as_millis() as Millis;
        let waited = since.map_or(0, |since| world.now - since);
        assert!(
            waited <= REACTION + window,
            "backlog without reaction: {service:?}"
        );
    }

    /// Nobody starves for longer than everybody else's turn takes.
    fn check_starvation(&mut self, index: usize, seen: &Snapshot, now: Millis) {
        let service = &seen.services[index];
        let is_starved = is_starved(service) && !service.stopping;
        let since = is_starved.then(|| self.starved_since[index].unwrap_or(now));
        self.starved_since[index] = since;
        let turn = TURN.as_millis() as Millis + self.patience;
        let others = self.starved_since.len() as Millis;
        let waited = since.map_or(0, |since| now - since);
        assert!(
            waited <= turn * others,
            "service {index} starved for {waited} ms: {seen:#?}"
        );
    }

    /// With a line, marks are only set above `max` or when somebody has starved for a turn.
    fn check_turns(&self, seen: &Snapshot, decision: &Decision, now: Millis) {
        let turn = TURN.as_millis() as Millis;
        let longest = self
            .starved_since
            .iter()
            .flatten()
            .map(|since| now - since)
            .max();
        for action in &decision.actions {
            let Action::Drain { slot } = *action else {
                continue;
            };
            let (index, service) = owner(seen, slot);
            let is_above_max = active(service) > decision.services[index].max;
            let has_no_line = service.waiting == 0;
            let is_turn = longest.is_some_and(|waited| waited >= turn);
            assert!(
                has_no_line || is_above_max || is_turn,
                "{action:?}: {service:?}"
            );
        }
    }
}

/// Scale-in respects `min`, the zero grace and the line.
fn check_shrinking(was: &ServiceSnapshot, is: &ServiceSnapshot, decision: &Decision, now: Millis) {
    let shrinks = active(is) < active(was);
    if !shrinks {
        return;
    }
    let policy = &was.policy;
    assert!(
        active(is) >= policy.min.min(active(was)),
        "below min: {was:?}, {decision:?}"
    );
    assert!(
        was.waiting == 0 || active(was) > policy.max,
        "shrinks with a line: {was:?}"
    );
    if active(is) == 0 && policy.max > 0 {
        let quiet = was
            .quiet_since
            .expect("the last slot goes only without work");
        assert!(quiet + policy.zero_grace <= at(now), "zero grace: {was:?}");
    }
}

fn is_starved(service: &ServiceSnapshot) -> bool {
    service.waiting > 0 && service.slots.is_empty() && service.policy.max > 0
}

fn active(service: &ServiceSnapshot) -> u32 {
    service.slots.len() as u32 - service.count(SlotState::Draining)
}

/// What the load asks for, in the words of the vendor's page: total divided by threshold.
fn need(service: &ServiceSnapshot) -> u32 {
    let active = active(service);
    if active == 0 {
        return 1;
    }
    let of_rule = |rule: &photog::domain::Strategy| {
        let total = match rule.metric {
            Metric::Backlog => (service.waiting + service.in_hand) as f64,
            Metric::Waiting => service.waiting as f64,
            Metric::PutRate => service.puts_per_second,
        };
        let is_near = total / f64::from(active) <= 1.1 * rule.threshold + 1e-6;
        if is_near {
            0
        } else {
            (total / rule.threshold).ceil() as u32
        }
    };
    let need = service.policy.strategies.iter().map(of_rule).max();
    need.unwrap_or(0).min(service.policy.max)
}

fn owner(seen: &Snapshot, id: SlotId) -> (usize, &ServiceSnapshot) {
    let has_it = |service: &ServiceSnapshot| service.slots.iter().any(|slot| slot.id == id);
    let index = seen
        .services
        .iter()
        .position(has_it)
        .expect("an existing slot");
    (index, &seen.services[index])
}
