//! What can be asked of the writer thread, and what it answers.

use std::{fs::File, sync::Arc};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::domain::Tags;

use super::{
    Attributes, Counts, Filter, NewTicket, PendingBlob, QueueError, QueueKey,
    model::{ConsumerSettings, PayloadRef},
};

type Reply<T> = oneshot::Sender<Result<T, QueueError>>;

/// The bytes of a new entry.
#[derive(Debug)]
pub enum Payload {
    /// Kept in the database.
    Inline(Bytes),
    /// Already on disk in the blob folder; removed again if the entry is refused.
    Blob(PendingBlob),
}

impl Payload {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob(blob) => blob.size(),
        }
    }
}

/// The bytes of a stored entry.
#[derive(Debug)]
pub enum PayloadData {
    /// Read from the database.
    Inline(Bytes),
    /// An open file of the blob folder; it can be read even after the entry was removed.
    File {
        /// The file, at its beginning.
        file: File,
        /// Length in bytes.
        size: u64,
    },
}

impl PayloadData {
    /// All bytes. Blocks while it reads a file.
    pub fn into_bytes(self) -> Result<Bytes, QueueError> {
        use std::io::Read as _;
        match self {
            Self::Inline(bytes) => Ok(bytes),
            Self::File { file, size } => {
                let mut bytes = Vec::with_capacity(size as usize);
                file.take(size).read_to_end(&mut bytes)?;
                if bytes.len() as u64 == size {
                    return Ok(Bytes::from(bytes));
                }
                Err(QueueError::Storage(format!(
                    "a payload file has {} bytes instead of {size}",
                    bytes.len()
                )))
            }
        }
    }
}

/// A new entry.
#[derive(Debug)]
pub struct NewEntry {
    /// Id by which the caller will look for the result.
    pub request_id: String,
    /// Other tags.
    pub tags: Tags,
    /// 0 is normal, higher goes first.
    pub priority: u8,
    /// The bytes.
    pub payload: Payload,
}

/// An accepted entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutDone {
    /// Its index in the queue.
    pub index: u64,
}

/// A `get`.
#[derive(Debug, Clone)]
pub struct Get {
    /// Which entries.
    pub filter: Filter,
    /// How many at most.
    pub length: usize,
    /// Take them out of the queue.
    pub auto_delete: bool,
    /// Wait until there are `length` entries; ended by the store when the time is up.
    pub wait: bool,
}

/// An entry as `get` returns it.
#[derive(Debug)]
pub struct Frame {
    /// Index in its queue.
    pub index: u64,
    /// All tags, `requestId` among them.
    pub tags: Tags,
    /// Normally empty; why it died for a dead letter.
    pub message: String,
    pub(super) payload: PayloadRef,
    pub(super) data: Option<PayloadData>,
}

impl Frame {
    /// Length of the payload in bytes.
    pub fn size(&self) -> u64 {
        self.payload.size
    }

    /// The payload; empty when it was taken already.
    pub fn take_data(&mut self) -> PayloadData {
        self.data
            .take()
            .unwrap_or(PayloadData::Inline(Bytes::new()))
    }
}

/// An entry as it is handed to a consumer.
#[derive(Debug, Clone)]
pub struct Push {
    /// Index in its queue.
    pub index: u64,
    /// All tags, `requestId` among them.
    pub tags: Tags,
    /// Normally empty; why it died for a dead letter.
    pub message: String,
    pub(super) payload: PayloadRef,
    /// How often it was handed out in this group, this time included.
    pub attempt: u32,
    /// When it was put, in milliseconds since 1970.
    pub created_ms: i64,
}

impl Push {
    /// Length of the payload in bytes.
    pub fn size(&self) -> u64 {
        self.payload.size
    }
}

/// Answer to `search`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// A consumer of the caller's group has it in hand.
    pub is_pending: bool,
    /// Entries that are handed out before it.
    pub wait_count: u64,
    /// `<group>.<user>` of the holder, or of the caller while it waits.
    pub consumer: String,
}

/// A consumer that wants to be attached.
#[derive(Debug, Clone)]
pub struct Attach {
    /// Consumer group.
    pub group: Arc<str>,
    /// User id, unique in its group.
    pub user: Arc<str>,
    /// Smallest index it wants; `None` for only what comes from now on.
    pub start: Option<u64>,
    /// Tags that an entry must have.
    pub tags: Tags,
    /// Most entries in hand.
    pub window: u32,
    /// Entries count as committed once they were sent.
    pub auto_commit: bool,
}

/// An attached consumer: its entries arrive on `pushes`.
#[derive(Debug)]
pub struct Attached {
    /// Names this link; a later link of the same user has another number.
    pub link: u64,
    /// Entries, each after its delivery was counted on disk. Ends when the store closes.
    pub pushes: mpsc::UnboundedReceiver<Push>,
}

/// What a slot that has to leave had in hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detached {
    /// It is gone.
    Gone,
    /// It works on an entry and stays.
    Busy,
}

/// Whether a slot takes new entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// It does.
    Open,
    /// It works off what it was promised and takes nothing new.
    FinishLine,
    /// It finishes the entry in its hand; what it was promised waits for others.
    GiveLineBack,
}

/// The end of a job.
#[derive(Debug)]
pub struct Finish {
    /// The entry as it was handed out.
    pub push: Push,
    /// Name of the problem, `None` for a success.
    pub code: Option<String>,
    /// One line for the history.
    pub message: String,
    /// The user cancelled it.
    pub cancelled: bool,
    /// What goes to the sink with the request's tags; `None` for an empty answer.
    pub result: Option<Payload>,
    /// HTTP status of the answer; other than 200 it becomes the tag `lastCode`.
    pub status: u16,
}

/// Names a job: the service and the index of its entry in the input queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobKey {
    /// Name of the service.
    pub service: Arc<str>,
    /// Index in the input queue.
    pub index: u64,
}

/// State of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// No slot has begun it.
    Waiting,
    /// A slot works on it.
    Running,
    /// Ended with success.
    Done,
    /// Ended with a problem.
    Failed,
    /// Ended by the user.
    Cancelled,
}

impl JobState {
    /// The word used in answers and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the word back.
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Waiting,
            Self::Running,
            Self::Done,
            Self::Failed,
            Self::Cancelled,
        ]
        .into_iter()
        .find(|state| state.as_str() == word)
    }
}

/// A job as the list shows it. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Service and index.
    pub key: JobKey,
    /// Request id of its entry.
    pub request_id: String,
    /// Where it stands.
    pub state: JobState,
    /// How often it was handed to a slot.
    pub deliveries: u32,
    /// When it was put.
    pub created_ms: i64,
    /// When the last attempt began.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// `OK` or a problem code once it ended.
    pub code: Option<String>,
    /// One line about the end.
    pub message: Option<String>,
    /// It can be tried again: it failed, and its request is still kept.
    pub retryable: bool,
}

/// A page of jobs, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobsPage {
    /// Which service; `None` for all.
    pub service: Option<Arc<str>>,
    /// Which state; `None` for all.
    pub state: Option<JobState>,
    /// Only the job with this index.
    pub index: Option<u64>,
    /// Jobs older than this one: creation time, service, index.
    pub before: Option<(i64, Arc<str>, u64)>,
    /// Most jobs in the answer.
    pub limit: usize,
}

/// What became of a job that the user cancelled.
#[derive(Debug, Clone, PartialEq)]
pub enum CancelledJob {
    /// It waited. It is in hand of the caller now, who has to finish it.
    Taken(Box<CancelledPush>),
    /// A slot works on it and has to be told.
    Running,
}

/// A waiting entry taken out of the line in order to be finished as cancelled.
#[derive(Debug, Clone)]
pub struct CancelledPush(pub Push);

impl PartialEq for CancelledPush {
    fn eq(&self, other: &Self) -> bool {
        self.0.index == other.0.index
    }
}

/// Everything that the writer thread does.
pub(super) enum Command {
    Put {
        queue: QueueKey,
        entry: NewEntry,
        reply: Reply<PutDone>,
    },
    PutWithTicket {
        service: Arc<str>,
        entry: NewEntry,
        ticket: NewTicket,
        reply: Reply<i32>,
    },
    Get {
        queue: QueueKey,
        get: Get,
        waiter: u64,
        reply: Reply<Vec<Frame>>,
    },
    EndWait {
        queue: QueueKey,
        waiter: u64,
    },
    Search {
        queue: QueueKey,
        index: u64,
        group: Arc<str>,
        user: Arc<str>,
        reply: Reply<Search>,
    },
    Count {
        queue: QueueKey,
        tags: Tags,
        priority: Option<u8>,
        reply: Reply<u64>,
    },
    Attributes {
        queue: QueueKey,
        reply: Reply<Attributes>,
    },
    Truncate {
        queue: QueueKey,
        below: u64,
        reply: Reply<()>,
    },
    Delete {
        queue: QueueKey,
        indexes: Vec<u64>,
        reply: Reply<()>,
    },
    Commit {
        queue: QueueKey,
        group: Arc<str>,
        indexes: Vec<u64>,
        reply: Reply<()>,
    },
    HandBack {
        queue: QueueKey,
        group: Arc<str>,
        user: Arc<str>,
        indexes: Vec<u64>,
        leaving: bool,
        reply: Reply<()>,
    },
    Attach {
        queue: QueueKey,
        group: Arc<str>,
        user: Arc<str>,
        newest_only: bool,
        settings: ConsumerSettings,
        reply: Reply<u64>,
    },
    Detach {
        queue: QueueKey,
        group: Arc<str>,
        user: Arc<str>,
        link: u64,
        reply: Option<Reply<()>>,
    },
    DetachIdle {
        service: Arc<str>,
        user: Arc<str>,
        reply: Reply<Detached>,
    },
    SetClosed {
        service: Arc<str>,
        user: Arc<str>,
        closing: Closing,
        reply: Reply<()>,
    },
    Finish {
        service: Arc<str>,
        finish: Finish,
        reply: Reply<()>,
    },
    Release {
        service: Arc<str>,
        push: Push,
        reply: Reply<()>,
    },
    Abandon {
        service: Arc<str>,
        push: Push,
        reply: Reply<bool>,
    },
    Lost {
        service: Arc<str>,
        reply: Reply<Vec<Push>>,
    },
    Jobs {
        page: JobsPage,
        reply: Reply<Vec<Job>>,
    },
    Cancel {
        job: JobKey,
        reply: Reply<CancelledJob>,
    },
    Retry {
        job: JobKey,
        reply: Reply<PutDone>,
    },
    Counts {
        reply: Reply<Vec<(Arc<str>, Counts)>>,
    },
    Check {
        reply: Reply<()>,
    },
    /// Time passes: groups are forgotten, results and history grow old.
    Tick,
    Close {
        reply: Reply<()>,
    },
}

impl Command {
    /// Bytes that it brings into the database.
    pub(super) fn payload_bytes(&self) -> u64 {
        match self {
            Self::Put { entry, .. } | Self::PutWithTicket { entry, .. } => entry.payload.size(),
            _ => 0,
        }
    }
}
