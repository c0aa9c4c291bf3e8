//! How many slots each service has: the autoscaler.
//!
//! [`decide`] is a pure function from a [`Snapshot`] and a time to a [`Decision`]. It does no
//! I/O, reads no clock and draws no random numbers, so every scheduling question can be replayed
//! from a snapshot. A supervisor takes the snapshot, carries out the actions and keeps each
//! report's [`History`] for the next call; it calls on every put, take and commit, after each
//! change of a slot or a policy, and at least every second.
//!
//! # Life of a slot
//!
//! ```text
//! Start          ready      takes an entry        Drain          finishes
//! -----> starting ----> idle -------------> busy ------> draining -------> gone
//!                       | ^                 |  ^            |
//!                  Stop | +---- finishes ---+  +-- Undrain -+
//!                       v
//!                      gone
//! ```
//!
//! Any state may also end in *gone* by the slot's own failure.
//!
//! # What is promised
//!
//! * Work is never interrupted: the only verb for a busy slot is [`Action::Drain`], and a slot
//!   that drains takes nothing new, finishes, commits, then goes.
//! * Idle slots go first, the longest idle first; then the busy slot that began last. A slot
//!   that still starts goes once it is idle, in place of a busy one.
//! * Draining slots count against `max` and the devices, not as capacity. Starting slots count
//!   as capacity, so a backlog does not order the same slot twice.
//! * Growth needs every recommendation of the scale-up window, shrinking every one of the
//!   scale-down window; leaving zero is immediate, and the last slot goes after the zero grace.
//!   A service that has no slot and no work gets none for the sake of that grace.
//! * While entries wait nothing shrinks and all drain marks are lifted, with two exceptions: what
//!   is above `max` goes, and so does what makes way for a starved service ([`TURN`]).
//! * A changed policy counts at the next decision and never for an entry in work.
//! * No start breaks `max`, a device's number of slots or its memory. Starts are handed out one
//!   by one: first to services with work and no slot, then to the one with the fewest slots.
//!   Each goes to the device with the most room. A device whose own limit is lowered gets
//!   nothing new until its slots are below it.
//!
//! # What is left to the supervisor
//!
//! Handing out entries; keeping slots that drain or were told to stop from claiming one more;
//! pauses after failed starts ([`ServiceSnapshot::starts_held_until`]); and the time that a
//! stopping service may take. In a snapshot a stopped slot is gone at once, though its thread may
//! still be giving back memory: that is what [`Device::memory_free_bytes`] is for.

mod decide;
mod decision;
mod metrics;
mod placement;
mod sharing;
mod snapshot;
mod window;

#[cfg(test)]
mod tests;

pub use decide::decide;
pub use decision::{Action, Decision, MaxReason, Mismatch, ServiceReport};
pub use sharing::TURN;
pub use snapshot::{
    Device, DeviceId, MemoryNeed, ServiceSnapshot, Slot, SlotId, SlotState, Snapshot,
};
pub use window::History;
