//! The world that the scheduler acts on: queues, slots, devices, and a clock in milliseconds.
//!
//! It does what a supervisor does: takes snapshots, carries out actions, hands out entries. It
//! knows nothing of scaling rules, and it refuses every action that would hurt an entry or a
//! device.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use photog::{
    domain::{ScalingPolicy, ServiceKind},
    scheduler::{
        Action, Decision, Device, DeviceId, History, MemoryNeed, ServiceSnapshot, Slot, SlotId,
        SlotState, Snapshot, decide,
    },
};

/// Milliseconds of the simulated clock.
pub type Millis = u64;

/// How long the memory of a slot that has gone stays taken.
const MEMORY_RETURN: Millis = 1_500;
/// How long starts wait after a slot failed.
const PAUSE_AFTER_CRASH: Millis = 5_000;

pub fn at(millis: Millis) -> Duration {
    Duration::from_millis(millis)
}

/// An entry of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    pub id: usize,
    pub work: Millis,
}

/// What the snapshot does not show of a slot.
#[derive(Debug, Default)]
struct Inside {
    ready_at: Millis,
    /// Entries handed out; the first is worked on.
    held: VecDeque<Job>,
    finishes_at: Millis,
}

/// What the snapshot does not show of a service.
#[derive(Debug)]
struct Queue {
    line: VecDeque<Job>,
    /// Times of the puts of the last minute.
    puts: VecDeque<Millis>,
    /// How many entries a slot holds at once.
    window: usize,
    put: usize,
    done: usize,
}

/// What is needed to make a service.
pub struct Design {
    pub kind: ServiceKind,
    pub policy: ScalingPolicy,
    pub instances: u32,
    pub need: MemoryNeed,
    pub window: usize,
}

pub struct World {
    pub now: Millis,
    pub snapshot: Snapshot,
    queues: Vec<Queue>,
    inside: BTreeMap<SlotId, Inside>,
    /// Memory on its way back: device, bytes, when.
    returning: Vec<(DeviceId, u64, Millis)>,
    /// How often each entry was finished, by number.
    finished: Vec<u8>,
    next_slot: u64,
    pub start_time: Millis,
}

impl World {
    pub fn new(designs: Vec<Design>, devices: Vec<Device>) -> Self {
        let queue = |design: &Design| Queue {
            line: VecDeque::new(),
            puts: VecDeque::new(),
            window: design.window,
            put: 0,
            done: 0,
        };
        let queues = designs.iter().map(queue).collect();
        let services = designs.into_iter().enumerate().map(|(index, design)| {
            let Design {
                kind,
                policy,
                instances,
                need,
                ..
            } = design;
            ServiceSnapshot {
                name: format!("service_{index}"),
                kind,
                policy,
                instances,
                waiting: 0,
                in_hand: 0,
                puts_per_second: 0.0,
                quiet_since: Some(Duration::ZERO),
                slots: Vec::new(),
                need,
                history: History::starting_at(Duration::ZERO),
                starts_held_until: None,
                stopping: false,
            }
        });
        Self {
            now: 0,
            snapshot: Snapshot {
                services: services.collect(),
                devices,
            },
            queues,
            inside: BTreeMap::new(),
            returning: Vec::new(),
            finished: Vec::new(),
            next_slot: 0,
            start_time: 4_000,
        }
    }

    pub fn put(&mut self, service: usize, work: Millis) {
        let id = self.finished.len();
        self.finished.push(0);
        let queue = &mut self.queues[service];
        queue.line.push_back(Job { id, work });
        queue.puts.push_back(self.now);
        queue.put += 1;
    }

    /// A slot dies; what it held goes back to the head of the line.
    pub fn crash(&mut self, slot: SlotId) {
        let Some(inside) = self.inside.remove(&slot) else {
            return;
        };
        let index = self.service_of(slot);
        for job in inside.held.into_iter().rev() {
            self.queues[index].line.push_front(job);
        }
        self.forget(index, slot);
        let pause = at(self.now + PAUSE_AFTER_CRASH);
        self.snapshot.services[index].starts_held_until = Some(pause);
    }

    /// When something happens by itself next, if anything does.
    pub fn next_event(&self) -> Option<Millis> {
        let of_slot = |inside: &Inside| {
            if inside.held.is_empty() {
                inside.ready_at
            } else {
                inside.finishes_at
            }
        };
        let future = self.inside.values().map(of_slot);
        future.filter(|event| *event > self.now).min()
    }

    /// Decides from the snapshot as it stands and carries that out.
    pub fn decide(&mut self) -> Decision {
        let decision = decide(&self.snapshot, at(self.now));
        for action in &decision.actions {
            self.carry_out(*action);
        }
        for (service, report) in self.snapshot.services.iter_mut().zip(&decision.services) {
            service.history = report.history.clone();
        }
        self.check_books();
        decision
    }

    /// Brings the numbers of the snapshot up to date.
    pub fn look(&mut self) {
        let now = self.now;
        self.returning.retain(|(.., until)| *until > now);
        for (index, queue) in self.queues.iter_mut().enumerate() {
            while queue.puts.front().is_some_and(|put| put + 60_000 <= now) {
                queue.puts.pop_front();
            }
            let service = &mut self.snapshot.services[index];
            service.waiting = queue.line.len() as u64;
            service.in_hand = (queue.put - queue.done - queue.line.len()) as u64;
            service.puts_per_second = queue.puts.len() as f64 / 60.0;
            let is_quiet = service.waiting + service.in_hand == 0;
            service.quiet_since = is_quiet.then(|| service.quiet_since.unwrap_or(at(now)));
        }
        for place in 0..self.snapshot.devices.len() {
            // A slot that starts takes its memory at the end.
            let free = self.free_on(place, |slot| slot.state != SlotState::Starting);
            self.snapshot.devices[place].memory_free_bytes = free;
        }
    }

    pub fn is_done(&self) -> bool {
        self.finished.iter().all(|times| *times == 1)
    }

    /// Slots and reserved bytes on a device.
    pub fn use_of(&self, device: DeviceId) -> (u32, u64) {
        let of_service = |service: &ServiceSnapshot| {
            let slots = service.slots.iter().filter(|slot| slot.device == device);
            let slots = slots.count() as u32;
            (slots, service.need.of_slots(slots))
        };
        let used = self.snapshot.services.iter().map(of_service);
        used.fold((0, 0), |sum, used| (sum.0 + used.0, sum.1 + used.1))
    }

    /// True when a device could take a slot of the service right now.
    pub fn has_room(&self, service: usize) -> bool {
        self.snapshot
            .devices
            .iter()
            .enumerate()
            .any(|(place, _)| self.fits(service, place))
    }

    fn fits(&self, service: usize, place: usize) -> bool {
        let device = self.snapshot.devices[place];
        let service = &self.snapshot.services[service];
        let (slots, reserved) = self.use_of(device.id);
        let present = service.slots.iter().filter(|slot| slot.device == device.id);
        let present = present.count() as u32;
        let more = service.need.of_slots(present + 1) - service.need.of_slots(present);
        device.slots_max.is_none_or(|max| slots < max)
            && device
                .memory_bytes
                .is_none_or(|bytes| reserved + more <= bytes)
            && self
                .free_on(place, |_| true)
                .is_none_or(|free| more <= free)
    }

    /// Bytes that nobody holds and that are not on their way back; `None` where memory is not
    /// counted. `holds` says which slots hold theirs.
    fn free_on(&self, place: usize, holds: impl Fn(&Slot) -> bool) -> Option<u64> {
        let device = self.snapshot.devices[place];
        let held = self.snapshot.services.iter().map(|service| {
            let holding = |slot: &&Slot| slot.device == device.id && holds(slot);
            let slots = service.slots.iter().filter(holding).count() as u32;
            service.need.of_slots(slots)
        });
        let returning = self.returning.iter().filter(|(on, ..)| *on == device.id);
        let returning: u64 = returning.map(|(_, bytes, _)| bytes).sum();
        let taken = held.sum::<u64>() + returning;
        Some(device.memory_bytes?.saturating_sub(taken))
    }

    /// Lets slots become ready, finish and take entries.
    pub fn settle(&mut self) {
        for index in 0..self.queues.len() {
            let slots = self.snapshot.services[index].slots.clone();
            for slot in slots {
                self.advance(index, slot);
            }
            self.hand_out(index);
        }
    }

    /// Lets one slot become ready, or finish its entry.
    fn advance(&mut self, index: usize, slot: Slot) {
        let now = self.now;
        let inside = self
            .inside
            .get_mut(&slot.id)
            .expect("every slot has an inside");
        if slot.state == SlotState::Starting && inside.ready_at <= now {
            self.set(slot.id, SlotState::Idle);
            return;
        }
        if inside.held.is_empty() || inside.finishes_at > now {
            return;
        }
        let job = inside.held.pop_front().expect("it holds an entry");
        if let Some(next) = inside.held.front() {
            inside.finishes_at = now + next.work;
        }
        let has_more = !inside.held.is_empty();
        self.finished[job.id] += 1;
        self.queues[index].done += 1;
        match slot.state {
            state if has_more => self.set(slot.id, state),
            SlotState::Draining => self.forget(index, slot.id),
            _ => self.set(slot.id, SlotState::Idle),
        }
    }

    /// A Scalable Job hands out to idle slots, the first idle first; an `Async` service fills
    /// the window of one slot after another. A draining slot takes nothing.
    fn hand_out(&mut self, index: usize) {
        if self.snapshot.services[index].stopping {
            return;
        }
        let slots = self.snapshot.services[index].slots.iter();
        let takers: Vec<SlotId> = slots
            .filter(|slot| matches!(slot.state, SlotState::Idle | SlotState::Busy))
            .map(|slot| slot.id)
            .collect();
        for id in takers {
            while self.inside[&id].held.len() < self.queues[index].window {
                let Some(job) = self.queues[index].line.pop_front() else {
                    return;
                };
                let now = self.now;
                let inside = self.inside.get_mut(&id).expect("every slot has an inside");
                inside.held.push_back(job);
                if inside.held.len() == 1 {
                    inside.finishes_at = now + job.work;
                    self.set(id, SlotState::Busy);
                }
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Start { service, device } => self.start(service, device),
            Action::Stop { slot } => {
                assert_eq!(self.slot(slot).state, SlotState::Idle, "{action:?}");
                assert!(self.inside[&slot].held.is_empty(), "{slot:?} holds entries");
                let index = self.service_of(slot);
                self.forget(index, slot);
            }
            Action::Drain { slot } => self.mark(slot, SlotState::Busy, SlotState::Draining),
            Action::Undrain { slot } => self.mark(slot, SlotState::Draining, SlotState::Busy),
        }
    }

    fn start(&mut self, service: usize, device: DeviceId) {
        let listed = self.snapshot.devices.iter().position(|d| d.id == device);
        let place = listed.expect("a start names a listed device");
        assert!(
            self.fits(service, place),
            "{device:?} has no room for service {service}"
        );
        let target = &mut self.snapshot.services[service];
        assert!(
            (target.slots.len() as u32) < target.policy.max,
            "start above max"
        );
        assert!(!target.stopping, "start of a stopping service");
        let id = SlotId(self.next_slot);
        self.next_slot += 1;
        target.slots.push(Slot {
            id,
            state: SlotState::Starting,
            since: at(self.now),
            device,
        });
        let ready_at = self.now + self.start_time;
        self.inside.insert(
            id,
            Inside {
                ready_at,
                ..Inside::default()
            },
        );
    }

    fn mark(&mut self, id: SlotId, from: SlotState, to: SlotState) {
        let slot = self.slot(id);
        assert_eq!(slot.state, from, "{id:?} cannot become {to:?}");
        slot.state = to;
    }

    fn set(&mut self, id: SlotId, state: SlotState) {
        let since = at(self.now);
        let slot = self.slot(id);
        slot.state = state;
        slot.since = since;
    }

    fn slot(&mut self, id: SlotId) -> &mut Slot {
        let index = self.service_of(id);
        let mut slots = self.snapshot.services[index].slots.iter_mut();
        slots
            .find(|slot| slot.id == id)
            .expect("a slot of this service")
    }

    fn service_of(&self, id: SlotId) -> usize {
        let has_it = |service: &ServiceSnapshot| service.slots.iter().any(|slot| slot.id == id);
        let index = self.snapshot.services.iter().position(has_it);
        index.expect("an existing slot")
    }

    /// The slot is gone; its memory comes back a little later.
    fn forget(&mut self, index: usize, id: SlotId) {
        let device = self.slot(id).device;
        let (_, before) = self.use_of(device);
        self.snapshot.services[index]
            .slots
            .retain(|slot| slot.id != id);
        self.inside.remove(&id);
        let (_, after) = self.use_of(device);
        self.returning
            .push((device, before - after, self.now + MEMORY_RETURN));
    }

    /// No entry is lost or done twice, and states agree with what the slots hold.
    fn check_books(&self) {
        for (index, queue) in self.queues.iter().enumerate() {
            let slots = &self.snapshot.services[index].slots;
            let held: usize = slots
                .iter()
                .map(|slot| self.inside[&slot.id].held.len())
                .sum();
            let all = queue.line.len() + held + queue.done;
            assert_eq!(all, queue.put, "service {index} has lost entries");
            for slot in slots {
                let is_at_work = matches!(slot.state, SlotState::Busy | SlotState::Draining);
                let holds = !self.inside[&slot.id].held.is_empty();
                assert_eq!(is_at_work, holds, "{slot:?}");
            }
        }
        for device in &self.snapshot.devices {
            let (slots, bytes) = self.use_of(device.id);
            assert!(
                device.slots_max.is_none_or(|max| slots <= max),
                "{device:?}"
            );
            assert!(
                device.memory_bytes.is_none_or(|max| bytes <= max),
                "{device:?}"
            );
        }
        assert!(self.finished.iter().all(|times| *times <= 1), "done twice");
    }
}
