//! A snapshot on a bench: sets loads and states, and carries out decisions.

use std::time::Duration;

use crate::{
    domain::{Metric, ScalingPolicy, ServiceKind, Strategy},
    scheduler::{
        Action, Decision, Device, DeviceId, History, MemoryNeed, ServiceReport, ServiceSnapshot,
        Slot, SlotId, SlotState, Snapshot, decide,
    },
};

pub(super) const CPU: DeviceId = DeviceId(0);

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The training service of the worked cases.
pub(super) fn training_policy() -> ScalingPolicy {
    ScalingPolicy {
        min: 1,
        max: 5,
        strategies: vec![strategy(Metric::Backlog, 1.0)],
        scale_up_window: Duration::ZERO,
        scale_down_window: seconds(60),
        zero_grace: seconds(600),
        activation_replicas: 1,
    }
}

/// The default block of a Scalable Job.
pub(super) fn prediction_policy() -> ScalingPolicy {
    ScalingPolicy {
        min: 1,
        max: 10,
        strategies: vec![strategy(Metric::Waiting, 2.0)],
        scale_up_window: Duration::ZERO,
        scale_down_window: seconds(1),
        zero_grace: seconds(60),
        activation_replicas: 1,
    }
}

pub(super) fn strategy(metric: Metric, threshold: f64) -> Strategy {
    Strategy { metric, threshold }
}

pub(super) fn service(policy: ScalingPolicy) -> ServiceSnapshot {
    ServiceSnapshot {
        name: String::from("photog_test"),
        kind: ServiceKind::ScalableJob,
        policy,
        instances: 0,
        waiting: 0,
        in_hand: 0,
        puts_per_second: 0.0,
        quiet_since: Some(Duration::ZERO),
        slots: Vec::new(),
        need: MemoryNeed::default(),
        history: History::starting_at(Duration::ZERO),
        starts_held_until: None,
        stopping: false,
    }
}

pub(super) fn slot(id: u64, state: SlotState, since: u64) -> Slot {
    Slot {
        id: SlotId(id),
        state,
        since: seconds(since),
        device: CPU,
    }
}

/// A device without limits.
pub(super) fn device(id: u32) -> Device {
    Device {
        id: DeviceId(id),
        slots_max: None,
        memory_bytes: None,
        memory_free_bytes: None,
    }
}

pub(super) fn device_for(id: u32, slots_max: u32) -> Device {
    Device {
        slots_max: Some(slots_max),
        ..device(id)
    }
}

pub(super) struct Bench {
    pub(super) snapshot: Snapshot,
    next_slot: u64,
}

impl Bench {
    /// Services without slots on these devices.
    pub(super) fn new(services: Vec<ServiceSnapshot>, devices: Vec<Device>) -> Self {
        Self {
            snapshot: Snapshot { services, devices },
            next_slot: 1000,
        }
    }

    /// One service on a device without limits, with its first slots ready, all at second `at`.
    pub(super) fn settled(policy: ScalingPolicy, slots: u32, at: u64) -> Self {
        let mut only = service(policy);
        only.instances = slots;
        only.history = History::starting_at(seconds(at));
        only.quiet_since = Some(seconds(at));
        let mut bench = Self::new(vec![only], vec![device(0)]);
        bench.tick(at);
        bench.ready(at);
        assert_eq!(bench.active(0), slots);
        bench
    }

    pub(super) fn service(&mut self, index: usize) -> &mut ServiceSnapshot {
        &mut self.snapshot.services[index]
    }

    /// Sets the load of the first service: the first `in_hand` slots that do not start are at
    /// work, one entry each, and what does not drain among the others is idle. Slots whose state
    /// does not change keep its time.
    pub(super) fn load(&mut self, waiting: u64, in_hand: u64, at: u64) {
        self.load_of(0, waiting, in_hand, at);
    }

    pub(super) fn load_of(&mut self, index: usize, waiting: u64, in_hand: u64, at: u64) {
        let service = self.service(index);
        service.waiting = waiting;
        service.in_hand = in_hand;
        if waiting + in_hand > 0 {
            service.quiet_since = None;
        } else if service.quiet_since.is_none() {
            service.quiet_since = Some(seconds(at));
        }
        let draining = service.count(SlotState::Draining);
        let mut to_work = in_hand.saturating_sub(u64::from(draining));
        for slot in &mut service.slots {
            let state = match slot.state {
                SlotState::Idle | SlotState::Busy if to_work > 0 => {
                    to_work -= 1;
                    SlotState::Busy
                }
                SlotState::Busy => SlotState::Idle,
                other => other,
            };
            if state != slot.state {
                slot.state = state;
                slot.since = seconds(at);
            }
        }
    }

    /// Decides and carries out the decision.
    pub(super) fn tick(&mut self, at: u64) -> Vec<Action> {
        self.decide(seconds(at)).actions
    }

    /// Decides, carries out, and returns the report of the first service.
    pub(super) fn report(&mut self, at: u64) -> ServiceReport {
        self.decide(seconds(at)).services.remove(0)
    }

    pub(super) fn decide(&mut self, now: Duration) -> Decision {
        let decision = decide(&self.snapshot, now);
        for action in &decision.actions {
            self.carry_out(*action, now);
        }
        for (service, report) in self.snapshot.services.iter_mut().zip(&decision.services) {
            service.history = report.history.clone();
        }
        decision
    }

    /// Ticks once a second, both ends included, and returns the second of each action.
    pub(super) fn tick_through(
        &mut self,
        seconds: std::ops::RangeInclusive<u64>,
    ) -> Vec<(u64, Action)> {
        seconds
            .flat_map(|at| {
                let actions = self.tick(at);
                actions.into_iter().map(move |action| (at, action))
            })
            .collect()
    }

    /// Slots that start become idle.
    pub(super) fn ready(&mut self, at: u64) {
        let slots = self.snapshot.services.iter_mut().flat_map(|s| &mut s.slots);
        for slot in slots.filter(|slot| slot.state == SlotState::Starting) {
            slot.state = SlotState::Idle;
            slot.since = seconds(at);
        }
    }

    pub(super) fn active(&self, index: usize) -> u32 {
        let service = &self.snapshot.services[index];
        service.slots.len() as u32 - service.count(SlotState::Draining)
    }

    pub(super) fn states(&self, index: usize) -> Vec<SlotState> {
        let slots = &self.snapshot.services[index].slots;
        slots.iter().map(|slot| slot.state).collect()
    }

    fn carry_out(&mut self, action: Action, now: Duration) {
        match action {
            Action::Start { service, device } => {
                let id = SlotId(self.next_slot);
                self.next_slot += 1;
                self.snapshot.services[service].slots.push(Slot {
                    id,
                    state: SlotState::Starting,
                    since: now,
                    device,
                });
            }
            Action::Stop { slot } => {
                assert_eq!(self.slot(slot).state, SlotState::Idle, "stopped {slot:?}");
                for service in &mut self.snapshot.services {
                    service.slots.retain(|other| other.id != slot);
                }
            }
            Action::Drain { slot } => self.change(slot, SlotState::Busy, SlotState::Draining),
            Action::Undrain { slot } => self.change(slot, SlotState::Draining, SlotState::Busy),
        }
    }

    fn change(&mut self, id: SlotId, from: SlotState, to: SlotState) {
        let slot = self.slot(id);
        assert_eq!(slot.state, from, "{id:?} cannot become {to:?}");
        slot.state = to;
    }

    fn slot(&mut self, id: SlotId) -> &mut Slot {
        self.snapshot
            .services
            .iter_mut()
            .flat_map(|service| &mut service.slots)
            .find(|slot| slot.id == id)
            .expect("an action names a slot of the snapshot")
    }
}

pub(super) fn stop(id: u64) -> Action {
    Action::Stop { slot: SlotId(id) }
}

pub(super) fn drain(id: u64) -> Action {
    Action::Drain { slot: SlotId(id) }
}

pub(super) fn undrain(id: u64) -> Action {
    Action::Undrain { slot: SlotId(id) }
}

pub(super) fn start(service: usize, device: u32) -> Action {
    Action::Start {
        service,
        device: DeviceId(device),
    }
}
