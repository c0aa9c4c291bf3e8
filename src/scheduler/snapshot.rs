//! What a decision is made from: services, slots and devices at one moment.
//!
//! Plain values, filled in by the supervisor. All times are measured from the start of the
//! program. Nothing here decides anything.

use std::time::Duration;

use super::window::History;
use crate::domain::{ScalingPolicy, ServiceKind};

/// Number of a slot, never used twice while the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u64);

/// Number of a device: the CPU or one GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u32);

/// Where a slot is in its life. A slot that is gone is no longer in the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// Its thread loads the models; it takes nothing yet.
    Starting,
    /// Ready and without work.
    Idle,
    /// Works on at least one entry and may be given more.
    Busy,
    /// Finishes what it holds, takes nothing new, then goes.
    Draining,
}

impl SlotState {
    /// The word used in answers and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Draining => "draining",
        }
    }
}

/// One slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its number.
    pub id: SlotId,
    /// Its state.
    pub state: SlotState,
    /// When it entered the state. A drain mark, set or lifted, leaves this alone: for `Busy` and
    /// `Draining` it is the time at which the present entry was taken.
    pub since: Duration,
    /// The device it works on.
    pub device: DeviceId,
}

/// Device memory that the slots of a service reserve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Bytes for each slot: activations, its own layers.
    pub slot_bytes: u64,
    /// Bytes once for each device that has a slot of the service: the shared base weights.
    pub shared_bytes: u64,
}

impl MemoryNeed {
    /// Bytes that `slots` slots on one device reserve together.
    pub fn of_slots(self, slots: u32) -> u64 {
        match slots {
            0 => 0,
            _ => self
                .slot_bytes
                .saturating_mul(u64::from(slots))
                .saturating_add(self.shared_bytes),
        }
    }
}

/// A device that slots work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub id: DeviceId,
    /// Most slots of all services together; `None` is without limit.
    pub slots_max: Option<u32>,
    /// Bytes that slots may reserve; `None` where memory is not counted.
    pub memory_bytes: Option<u64>,
    /// Bytes that the device reports as free at this moment. Holds back starts until the memory
    /// of a slot that has gone is really back; never makes a slot go.
    pub memory_free_bytes: Option<u64>,
}

/// One service at this moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSnapshot {
    /// Name of the service.
    pub name: String,
    /// Type of the service; one of type `Queue` never has slots.
    pub kind: ServiceKind,
    /// The rules in force now.
    pub policy: ScalingPolicy,
    /// Slots that the very first decision makes, inside the limits of the policy.
    pub instances: u32,
    /// `W`: entries in the input queue that are not handed out.
    pub waiting: u64,
    /// `F`: entries handed out and not committed.
    pub in_hand: u64,
    /// Puts per second over the last 60 s.
    pub puts_per_second: f64,
    /// Since when waiting and in hand have both been 0; `None` while there is work.
    pub quiet_since: Option<Duration>,
    /// Every slot that is not gone. A slot that was told to stop is gone.
    pub slots: Vec<Slot>,
    /// What one slot reserves on its device.
    pub need: MemoryNeed,
    /// What the last decision returned for this service; [`History::starting_at`] the start of
    /// the service before the first one.
    pub history: History,
    /// No slot is started before this time: the supervisor's pause after a slot that failed.
    pub starts_held_until: Option<Duration>,
    /// The service is being stopped: it gets no slot and every slot that has finished goes.
    pub stopping: bool,
}

impl ServiceSnapshot {
    /// Number of slots in one state.
    pub fn count(&self, state: SlotState) -> u32 {
        self.slots.iter().filter(|slot| slot.state == state).count() as u32
    }

    /// True when there is work and no slot at all, not even one that drains, though the service
    /// may have one.
    pub(super) fn is_starved(&self, now: Duration) -> bool {
        self.waiting > 0 && self.slots.is_empty() && self.policy.max > 0 && self.may_start(now)
    }

    /// True when nothing but room stands against another slot.
    pub(super) fn may_start(&self, now: Duration) -> bool {
        !self.stopping
            && self.kind != ServiceKind::Queue
            && self.starts_held_until.is_none_or(|until| until <= now)
    }
}

/// Everything that a decision looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The services, always in the same order: it settles ties.
    pub services: Vec<ServiceSnapshot>,
    /// The devices, always in the same order: it settles ties.
    pub devices: Vec<Device>,
}
