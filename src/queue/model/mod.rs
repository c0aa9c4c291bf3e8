//! The queues in memory: pure state and the rules of delivery.
//!
//! Every method takes the time as a value and leaves what has to be written in an [`Outbox`]; the
//! writer thread turns that into one transaction and, after the commit, into replies and pushes.
//! Nothing here knows SQL, clocks or HTTP, so each rule can be tested by calling it.
//!
//! - [`entry`]: one entry, kept small because a backlog holds very many;
//! - [`group`]: consumers, windows, who gets what next;
//! - [`entries`]: all entries of a queue, found by index, tag or place in the line;
//! - [`queue`]: one queue: entries, groups, and what each group had of each entry;
//! - [`service`]: all queues; entries come in, leave and are handed on;
//! - [`waiters`]: callers that wait for entries;
//! - [`consumers`]: consumers come, commit, hand back, leave; dead letters;
//! - [`jobs`]: entries as an engine works on them, and how they end;
//! - [`tickets`]: which jobs have a ticket, and when it ends;
//! - [`retire`]: what leaves as time passes;
//! - [`settle`]: taking over what the file says;
//! - [`outbox`]: what has to be written, answered and pushed.

mod consumers;
mod entries;
mod entry;
mod group;
mod jobs;
mod outbox;
mod queue;
mod retire;
mod service;
mod settle;
#[cfg(test)]
mod tests;
mod tickets;
mod waiters;

use std::{fmt, sync::Arc};

use crate::domain::Tags;

pub(super) use entry::{Entry, PayloadRef, Rare, RequestId};
pub(super) use group::ConsumerSettings;
pub use group::ConsumerState;
pub(super) use outbox::{Change, FramesReply, HistoryRow, HistoryState, Outbox, Stored};
pub(super) use queue::{DeliveryRow, Queue};
pub(super) use retire::Retire;
pub(super) use service::Model;
pub(super) use settle::Unheard;
pub(super) use tickets::TicketChange;

/// Milliseconds since 1970.
pub(super) type Millis = i64;

/// Which of a service's queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The input queue.
    Source,
    /// The output queue.
    Sink,
}

impl Side {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink => "sink",
        }
    }
}

/// Names one queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueKey {
    /// Name of the service.
    pub service: Arc<str>,
    /// Input or output.
    pub side: Side,
    /// The dead letter queue behind it.
    pub rear: bool,
}

impl QueueKey {
    /// The input queue of a service.
    pub fn source(service: impl Into<Arc<str>>) -> Self {
        Self {
            service: service.into(),
            side: Side::Source,
            rear: false,
        }
    }

    /// The output queue of a service.
    pub fn sink(service: impl Into<Arc<str>>) -> Self {
        Self {
            service: service.into(),
            side: Side::Sink,
            rear: false,
        }
    }
}

/// `photog_check`, `photog_check/sink`, with ` (rear)` for dead letters.
impl fmt::Display for QueueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.service)?;
        if self.side == Side::Sink {
            f.write_str("/sink")?;
        }
        if self.rear {
            f.write_str(" (rear)")?;
        }
        Ok(())
    }
}

/// Which entries a caller wants: those at or after an index that have all the tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Smallest index; `None` asks for the newest entry only.
    pub from: Option<u64>,
    /// Tags that must all be there, `requestId` among them if wanted.
    pub tags: Tags,
}

/// Numbers of a service that the scheduler and the metrics need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Input entries that nobody has in hand.
    pub waiting: u64,
    /// Input entries that a slot has in hand.
    pub in_hand: u64,
    /// Entries in the sink.
    pub results: u64,
    /// Payload bytes in both queues.
    pub bytes: u64,
    /// Dead letters of both queues.
    pub dead: u64,
    /// Puts since the start of the program.
    pub puts: u64,
}

/// What `attributes` tells of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The queue.
    pub key: QueueKey,
    /// Largest accepted entry in bytes.
    pub max_payload_bytes: u64,
    /// Entries now in the queue.
    pub length: u64,
    /// How many entries fit; `None` when only bytes are bounded.
    pub max_length: Option<u64>,
    /// Index of the first entry, 0 when empty.
    pub first: u64,
    /// Index of the last entry, 0 when empty.
    pub last: u64,
    /// Consumers, those that left lately included.
    pub consumers: Vec<ConsumerState>,
    /// Known groups: name, smallest waiting index, pending, delivered, consumers.
    pub groups: Vec<(Arc<str>, u64, usize, u64, usize)>,
}
