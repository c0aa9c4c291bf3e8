//! Plain types that every other module may use: service settings, tags, ids of people, problem
//! codes, words of portraits, sizes.
//!
//! Nothing here does I/O, reads a clock or knows a wire format.

mod person;
mod problem;
mod service;
mod tags;
mod words;

pub use person::{ParsePersonIdError, PersonId};
pub use problem::{ParseProblemError, Problem};
pub use service::{
    DeadMessagePolicy, Metric, Mount, QueueSettings, Role, ScalingPolicy, Secret, ServiceKind,
    ServiceSpec, SideSettings, Strategy,
};
pub use tags::{REQUEST_ID_TAG, Tags};
pub use words::{PORTRAIT_NEGATIVE, PORTRAIT_PROMPT, Words};

/// Bytes in the kilobyte of EAS settings such as `max_payload_size_kb`.
pub const KIB: u64 = 1024;
/// Bytes in a mebibyte.
pub const MIB: u64 = 1024 * KIB;
