//! Slots: the threads that do the work.
//!
//! A slot is one long-lived thread that owns its engine and works on one entry at a time. The
//! [`Pool`] knows all slots and their states and starts, drains and stops them; *whether* to do so
//! is decided in `scheduler`, and *who gets which entry* in `queue`, on one thread, so a slot that
//! was marked to go can never claim one more entry.
//!
//! # Promises
//!
//! 1. A busy slot is never stopped for the sake of scaling.
//! 2. A panic costs the job in hand and nothing else: it gets an `INTERRUPTED` result (or waits
//!    again if deliveries are left), and the slot is replaced.
//! 3. A job past its `keepalive` is told to stop and ends as `TIMEOUT`; one that does not listen is
//!    given up with its thread, and the slot is replaced.
//! 4. Whatever the store says to a result, it is offered again until it is taken or refused for
//!    good: a job that was done is not lost to a disk that was full for a minute.
//! 5. When the scheduler has ended, every thread has been joined but those that were given up.

mod engines;
mod pool;
mod roster;
mod runner;
mod slot;

pub use engines::{EngineSettings, Engines};
pub use pool::Pool;
pub use roster::{JobProgress, Preview, RunningJob, SlotStatus};
pub use runner::{ScalingReport, Scheduler};
