//! Fair shares of a device that is too small for everybody.
//!
//! A service that has work and no slot is *starved*. When no device has room for it, others make
//! way: idle slots of services with an empty line at once, and once it has been starved for
//! [`TURN`] also busy slots, which drain as always. So two services with endless work on a device
//! for one slot take turns. A slot that starts, or is about to take an entry, is waited for, so
//! each turn finishes at least one entry.
//!
//! Until the starved one has its slot, the device where it waits is kept for it, or the room would
//! go to the first that asks: nobody else starts there but a starved service that fits beside it.
//! Only where nothing is left to leave and the memory still does not come back, perhaps because
//! another program holds it, may others that have starved for a [`TURN`] try their luck.
//!
//! All of it follows from the snapshot alone: the same slots are named at every tick for as long
//! as somebody starves.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    placement::Occupancy,
    snapshot::{DeviceId, Slot, SlotId, SlotState, Snapshot},
};

/// How long a service is starved before slots at work make way for it. Long against the time
/// that loading models takes, short against a person's patience.
pub const TURN: Duration = Duration::from_secs(60);

/// Who makes way, and for whom the devices are kept.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Slots that go, or keep draining, whatever their own service wants.
    pub(super) ceded: BTreeSet<SlotId>,
    /// The device that each starved service is to start on, where there is one.
    places: BTreeMap<usize, DeviceId>,
    /// Devices on which somebody waits for slots to leave.
    clearing: BTreeSet<DeviceId>,
    /// Devices on which somebody waits for memory alone.
    short_of_memory: BTreeSet<DeviceId>,
    /// Services that have starved for a turn.
    long_starved: BTreeSet<usize>,
}

impl Shares {
    /// True when a service may start a slot on a device, as far as the others are concerned.
    pub(super) fn allow(&self, service: usize, device: DeviceId) -> bool {
        let is_kept = self.clearing.contains(&device)
            || (self.short_of_memory.contains(&device) && !self.long_starved.contains(&service));
        !is_kept || self.places.get(&service) == Some(&device)
    }
}

/// Finds room for every starved service, the one starved for longest first.
pub(super) fn settle(snapshot: &Snapshot, mut occupancy: Occupancy<'_>, now: Duration) -> Shares {
    let mut shares = Shares::default();
    let starved = starved(snapshot, now);
    shares.long_starved = (starved.iter().copied())
        .filter(|&service| is_its_turn(snapshot, service, now))
        .collect();
    for service in starved {
        let device = occupancy
            .roomiest(service, |_| true)
            .or_else(|| shares.clear_for(service, snapshot, &mut occupancy));
        if let Some(device) = device {
            occupancy.add(service, device);
            shares.places.insert(service, device);
        }
    }
    shares
}

impl Shares {
    /// Lets slots make way on the device that is cleared with the least loss.
    fn clear_for(
        &mut self,
        service: usize,
        snapshot: &Snapshot,
        occupancy: &mut Occupancy<'_>,
    ) -> Option<DeviceId> {
        let clearings = snapshot.devices.iter().filter_map(|device| {
            let candidates = self.candidates(service, snapshot, device.id);
            clear(occupancy, service, device.id, candidates)
        });
        let Clearing { device, slots } = clearings.min_by_key(Clearing::cost)?;
        for (donor, slot) in &slots {
            occupancy.remove(*donor, slot);
            self.ceded.insert(slot.id);
        }
        let kept = if slots.is_empty() {
            &mut self.short_of_memory
        } else {
            &mut self.clearing
        };
        kept.insert(device);
        Some(device)
    }

    /// The slots of other services on a device that may make way, those that are missed least
    /// first.
    fn candidates(
        &self,
        service: usize,
        snapshot: &Snapshot,
        device: DeviceId,
    ) -> Vec<(usize, Slot)> {
        let is_its_turn = self.long_starved.contains(&service);
        let mut candidates: Vec<(usize, Slot)> = Vec::new();
        for (donor, other) in snapshot.services.iter().enumerate() {
            let may_leave = |slot: &&Slot| match slot.state {
                SlotState::Idle | SlotState::Starting => other.waiting == 0 || is_its_turn,
                SlotState::Draining => true,
                SlotState::Busy => is_its_turn,
            };
            let slots = other.slots.iter().filter(|slot| {
                donor != service && slot.device == device && !self.ceded.contains(&slot.id)
            });
            candidates.extend(slots.filter(may_leave).map(|slot| (donor, *slot)));
        }
        candidates.sort_by_key(|(donor, slot)| {
            let (rank, oldest, latest) = match slot.state {
                SlotState::Idle if snapshot.services[*donor].waiting == 0 => {
                    (0, slot.since, Duration::ZERO)
                }
                SlotState::Draining => (1, slot.since, Duration::ZERO),
                SlotState::Busy => (2, Duration::ZERO, slot.since),
                SlotState::Idle | SlotState::Starting => (3, slot.since, Duration::ZERO),
            };
            (rank, oldest, Reverse(latest), slot.id)
        });
        candidates
    }
}

fn starved(snapshot: &Snapshot, now: Duration) -> Vec<usize> {
    let mut starved: Vec<usize> = (0..snapshot.services.len())
        .filter(|&index| snapshot.services[index].is_starved(now))
        .collect();
    starved.sort_by_key(|&index| {
        snapshot.services[index]
            .history
            .starved_since()
            .unwrap_or(now)
    });
    starved
}

fn is_its_turn(snapshot: &Snapshot, service: usize, now: Duration) -> bool {
    let starved_since = snapshot.services[service].history.starved_since();
    starved_since.is_some_and(|since| since.saturating_add(TURN) <= now)
}

/// The slots, with the places of their services, that would have to leave one device.
struct Clearing {
    device: DeviceId,
    slots: Vec<(usize, Slot)>,
}

impl Clearing {
    /// Fewest slots to wait for, then fewest still to be marked, then fewest idle ones.
    fn cost(&self) -> (usize, usize, usize) {
        let count = |state| {
            let slots = self.slots.iter();
            slots.filter(|(_, slot)| slot.state == state).count()
        };
        let idle = count(SlotState::Idle);
        let to_wait_for = self.slots.len() - idle;
        (to_wait_for, to_wait_for - count(SlotState::Draining), idle)
    }
}

/// As few of the candidates, in their order, as make room for one slot; `None` when even all of
/// them do not.
fn clear(
    occupancy: &Occupancy<'_>,
    service: usize,
    device: DeviceId,
    candidates: Vec<(usize, Slot)>,
) -> Option<Clearing> {
    let has_room_without = |leaving: &[(usize, Slot)]| {
        let mut after = occupancy.clone();
        for (donor, slot) in leaving {
            after.remove(*donor, slot);
        }
        after.has_room_reserved(service, device)
    };
    let enough = (0..=candidates.len()).find(|&count| has_room_without(&candidates[..count]))?;
    let mut slots = candidates;
    slots.truncate(enough);
    // Small slots that went into the list before a large one may not be needed after all.
    for at in (0..slots.len()).rev() {
        let slot = slots.remove(at);
        if !has_room_without(&slots) {
            slots.insert(at, slot);
        }
    }
    Some(Clearing { device, slots })
}
