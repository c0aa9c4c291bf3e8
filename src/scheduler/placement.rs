//! Room on the devices: how many slots fit, and where the next one goes.
//!
//! A slot takes one of the device's places and reserves memory. Reservations are what counts;
//! the memory that a device reports as free only delays a start.

use super::snapshot::{Device, DeviceId, MemoryNeed, Slot, SlotState, Snapshot};

/// How many slots with this need fit on the devices when nothing else runs there.
pub(super) fn ceiling(devices: &[Device], need: MemoryNeed) -> u32 {
    devices
        .iter()
        .map(|device| {
            let by_count = device.slots_max.unwrap_or(u32::MAX);
            let by_memory = device
                .memory_bytes
                .map_or(u32::MAX, |bytes| slots_in(bytes, need, 0));
            by_count.min(by_memory)
        })
        .fold(0, u32::saturating_add)
}

/// Slots of one service on one device.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    all: u32,
    /// Those among them that have not yet taken all their memory.
    starting: u32,
}

/// Who uses which device, kept up to date while a decision is made.
#[derive(Debug, Clone)]
pub(super) struct Occupancy<'a> {
    snapshot: &'a Snapshot,
    /// For each device, for each service.
    counts: Vec<Vec<Count>>,
}

impl<'a> Occupancy<'a> {
    /// All slots of the snapshot, draining ones too. A slot on a device that is not listed takes
    /// no room.
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let counts = vec![vec![Count::default(); snapshot.services.len()]; snapshot.devices.len()];
        let mut occupancy = Self { snapshot, counts };
        for (index, service) in snapshot.services.iter().enumerate() {
            for slot in &service.slots {
                if let Some(place) = occupancy.place_of(slot.device) {
                    let count = &mut occupancy.counts[place][index];
                    count.all += 1;
                    count.starting += u32::from(slot.state == SlotState::Starting);
                }
            }
        }
        occupancy
    }

    /// Enters a slot that is about to start.
    pub(super) fn add(&mut self, service: usize, device: DeviceId) {
        if let Some(place) = self.place_of(device) {
            let count = &mut self.counts[place][service];
            count.all += 1;
            count.starting += 1;
        }
    }

    /// Takes out a slot that will be gone.
    pub(super) fn remove(&mut self, service: usize, slot: &Slot) {
        if let Some(place) = self.place_of(slot.device) {
            let count = &mut self.counts[place][service];
            count.all -= 1;
            count.starting -= u32::from(slot.state == SlotState::Starting);
        }
    }

    /// The device with room for the most further slots of a service, by places, reservations and
    /// free memory; among equals the one with the fewest slots, then the first. Only devices that
    /// `may_use` accepts.
    pub(super) fn roomiest(
        &self,
        service: usize,
        may_use: impl Fn(DeviceId) -> bool,
    ) -> Option<DeviceId> {
        (0..self.snapshot.devices.len())
            .filter(|&place| may_use(self.snapshot.devices[place].id))
            .map(|place| {
                let room = self
                    .room_reserved(place, service)
                    .min(self.room_free(place, service));
                (place, room)
            })
            .filter(|&(_, room)| room > 0)
            .min_by_key(|&(place, room)| (u32::MAX - room, self.slots_on(place), place))
            .map(|(place, _)| self.snapshot.devices[place].id)
    }

    /// True when one more slot of a service fits by places and reservations, whatever memory is
    /// free at the moment.
    pub(super) fn has_room_reserved(&self, service: usize, device: DeviceId) -> bool {
        self.place_of(device)
            .is_some_and(|place| self.room_reserved(place, service) > 0)
    }

    fn room_reserved(&self, place: usize, service: usize) -> u32 {
        let device = &self.snapshot.devices[place];
        let by_count = device
            .slots_max
            .map_or(u32::MAX, |max| max.saturating_sub(self.slots_on(place)));
        let by_memory = device.memory_bytes.map_or(u32::MAX, |bytes| {
            let reserved = self.bytes_on(place, |need, count| need.of_slots(count.all));
            self.further_slots(bytes.saturating_sub(reserved), place, service)
        });
        by_count.min(by_memory)
    }

    fn room_free(&self, place: usize, service: usize) -> u32 {
        let device = &self.snapshot.devices[place];
        device.memory_free_bytes.map_or(u32::MAX, |free| {
            let to_come = self.bytes_on(place, |need, count| {
                need.of_slots(count.all) - need.of_slots(count.all - count.starting)
            });
            self.further_slots(free.saturating_sub(to_come), place, service)
        })
    }

    fn further_slots(&self, bytes: u64, place: usize, service: usize) -> u32 {
        let need = self.snapshot.services[service].need;
        slots_in(bytes, need, self.counts[place][service].all)
    }

    fn slots_on(&self, place: usize) -> u32 {
        self.counts[place].iter().map(|count| count.all).sum()
    }

    fn bytes_on(&self, place: usize, bytes_of: impl Fn(MemoryNeed, Count) -> u64) -> u64 {
        self.snapshot
            .services
            .iter()
            .zip(&self.counts[place])
            .map(|(service, count)| bytes_of(service.need, *count))
            .fold(0, u64::saturating_add)
    }

    fn place_of(&self, device: DeviceId) -> Option<usize> {
        self.snapshot
            .devices
            .iter()
            .position(|listed| listed.id == device)
    }
}

/// How many more slots fit into `bytes` where `present` slots of the same service are already.
fn slots_in(bytes: u64, need: MemoryNeed, present: u32) -> u32 {
    let shared = if present == 0 { need.shared_bytes } else { 0 };
    let Some(bytes) = bytes.checked_sub(shared) else {
        return 0;
    };
    bytes
        .checked_div(need.slot_bytes)
        .map_or(u32::MAX, |slots| u32::try_from(slots).unwrap_or(u32::MAX))
}
