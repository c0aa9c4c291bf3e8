//! What a model step leaves behind: rows to write, callers to answer, entries to push.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::queue::{
    QueueError,
    command::{Frame, Payload, Push},
};

use super::{Entry, Millis, QueueKey, TicketChange, group::Pending};

/// Collects everything that a batch of commands brings about.
#[derive(Default)]
pub(crate) struct Outbox {
    /// Row changes in the order in which they have to be made.
    pub(crate) changes: Vec<Change>,
    /// Payload rows that nothing refers to any more; deleted after all frames were read.
    pub(crate) dropped_payloads: Vec<i64>,
    /// Answers to `get`; their payloads are read inside the transaction.
    pub(crate) frames: Vec<FramesReply>,
    /// Sent after the commit.
    pub(crate) pushes: Vec<Pushed>,
    /// Jobs that ended after their entry had left; the file knows nothing of them, so they are
    /// taken up again should the commit fail.
    pub(crate) orphans: Vec<Orphan>,
}

/// An entry on its way to a consumer.
pub(crate) struct Pushed {
    /// Row id of the queue.
    pub(crate) queue: i64,
    pub(crate) group: Arc<str>,
    pub(crate) to: mpsc::UnboundedSender<Push>,
    pub(crate) push: Push,
}

/// An entry that left its queue while a slot worked on it.
pub(crate) struct Orphan {
    pub(crate) queue: QueueKey,
    pub(crate) index: u64,
    pub(crate) pending: Pending,
}

/// An answer to `get`.
pub(crate) struct FramesReply {
    pub(crate) reply: oneshot::Sender<Result<Vec<Frame>, QueueError>>,
    pub(crate) frames: Vec<Frame>,
}

/// A payload that was given a row id.
pub(crate) struct Stored {
    pub(crate) id: i64,
    pub(crate) payload: Payload,
}

/// One change of the database.
pub(crate) enum Change {
    /// An entry came in, and with it the queue's last index rose.
    Insert {
        queue: i64,
        index: u64,
        entry: Entry,
        payload: Option<Stored>,
    },
    /// An entry left; `delivered` says that the table `delivery` has rows of it.
    Delete {
        queue: i64,
        index: u64,
        delivered: bool,
    },
    /// A group's share in an entry changed.
    Deliver {
        queue: i64,
        index: u64,
        group: Arc<str>,
        count: u32,
        holder: Option<Arc<str>>,
        since: Millis,
        done: bool,
    },
    /// A job ended.
    History(Box<HistoryRow>),
    /// A job is tried again and leaves the history.
    ForgetHistory { service: Arc<str>, index: u64 },
    /// A ticket is made, ends, or follows its job.
    Ticket(TicketChange),
}

impl Change {
    /// The payload that is stored with it.
    pub(crate) fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Insert { payload, .. } => payload.as_ref(),
            Self::Ticket(TicketChange::End { result, .. }) => result.as_ref(),
            _ => None,
        }
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HistoryState {
    Done,
    Failed,
    Cancelled,
}

impl HistoryState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A row of the table `history`.
#[derive(Debug, Clone)]
pub(crate) struct HistoryRow {
    pub(crate) service: Arc<str>,
    pub(crate) index: u64,
    pub(crate) entry: Entry,
    pub(crate) state: HistoryState,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) deliveries: u32,
    pub(crate) started: Option<Millis>,
    pub(crate) finished: Millis,
    /// The request's payload is kept for a retry.
    pub(crate) keeps_payload: bool,
}
