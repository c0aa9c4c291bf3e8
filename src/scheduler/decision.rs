//! What comes out of a decision: actions for the supervisor and a report for people.

use std::{fmt, time::Duration};

use super::{
    snapshot::{DeviceId, SlotId},
    window::History,
};

/// One thing for the supervisor to do. There is no verb that ends a slot at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make a slot: nothing -> starting.
    Start {
        /// Place of the service in [`Snapshot::services`](super::Snapshot::services).
        service: usize,
        /// Where the slot is to work.
        device: DeviceId,
    },
    /// Let an idle slot go: idle -> gone.
    Stop {
        /// The slot.
        slot: SlotId,
    },
    /// Let a busy slot go when it has finished: busy -> draining.
    Drain {
        /// The slot.
        slot: SlotId,
    },
    /// Keep a slot that was about to go: draining -> busy.
    Undrain {
        /// The slot.
        slot: SlotId,
    },
}

/// Why a service has a lower `max` than its policy declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxReason {
    /// The devices hold no more, even when nothing else runs on them.
    DevicesAllow {
        /// Slots of this service that fit.
        slots: u32,
        /// Number of devices.
        devices: usize,
    },
    /// The service is being stopped.
    Stopping,
}

impl fmt::Display for MaxReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DevicesAllow { devices: 0, .. } => f.write_str("there is no device"),
            Self::DevicesAllow { slots, devices } => {
                let verb = if devices == 1 {
                    "device allows"
                } else {
                    "devices allow"
                };
                write!(f, "{verb} {}", Slots(slots))
            }
            Self::Stopping => f.write_str("the service is stopping"),
        }
    }
}

/// Why a service does not have the number of slots that it should have at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// More slots than `max` allows are still at work; they go when they have finished.
    AboveMax {
        /// Slots that exist.
        slots: u32,
        /// The limit in effect.
        max: u32,
        /// How many of them take nothing new.
        draining: u32,
    },
    /// Slots are due, and no device has room beside what runs there.
    NoRoom {
        /// Slots that are missing.
        missing: u32,
    },
    /// Slots are due, and starts are held back after a failure.
    StartsHeld {
        /// Slots that are missing.
        missing: u32,
        /// When starts are tried again.
        until: Duration,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::AboveMax {
                slots,
                max,
                draining,
            } => write!(f, "{slots} of {max}, {draining} draining"),
            Self::NoRoom { missing } => write!(f, "no room on any device for {}", Slots(missing)),
            Self::StartsHeld { missing, .. } => write!(
                f,
                "{} held back for a while because a slot failed",
                Slots(missing)
            ),
        }
    }
}

/// A number of slots as text.
struct Slots(u32);

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 slot"),
            slots => write!(f, "{slots} slots"),
        }
    }
}

/// How the decision for one service came about.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceReport {
    /// Recommendation of this moment, inside `min` and the `max` in effect.
    pub want: u32,
    /// Fewer slots than this grow to it.
    pub up_limit: u32,
    /// More slots than this shrink to it; `None` until the service is as old as its scale-down
    /// window.
    pub down_limit: Option<u32>,
    /// Most slots in effect: the policy's `max`, cut to what the devices hold.
    pub max: u32,
    /// Why `max` is below the policy's. Changes rarely, so each change is worth a log line.
    pub max_reason: Option<MaxReason>,
    /// Why the number of slots is not what it should be just now.
    pub mismatch: Option<Mismatch>,
    /// The history with this decision in it, for the next snapshot.
    pub history: History,
}

/// What to do, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// To be carried out in this order; each names another slot.
    pub actions: Vec<Action>,
    /// One report for each service, in the order of the snapshot.
    pub services: Vec<ServiceReport>,
}
