//! A service as the program runs it: every value checked, defaulted and in units of the program.
//!
//! `services` makes these from EAS JSON; `queue`, `scheduler`, `workers` and `http` only read them.

use std::{fmt, time::Duration};

/// A token or another text that must never reach a log or an answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself, for comparison and signing only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Which engine works on a service's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Judges photos.
    Check,
    /// Trains a LoRA of a person.
    Train,
    /// Makes portraits of trained persons.
    Predict,
    /// The diffusion engine alone.
    Sd,
    /// Writes its input back: for trying clients, scaling and draining without a model.
    Echo,
}

impl Role {
    /// The word used in service JSON and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Train => "train",
            Self::Predict => "predict",
            Self::Sd => "sd",
            Self::Echo => "echo",
        }
    }
}

/// The service types of EAS that this program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceKind {
    /// Asynchronous inference: slots are filled up to their window, one after another.
    Async,
    /// A Scalable Job: an entry goes to an idle slot only.
    ScalableJob,
    /// An input queue and a sink without a worker.
    Queue,
}

impl ServiceKind {
    /// The word used in service JSON and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Async => "Async",
            Self::ScalableJob => "ScalableJob",
            Self::Queue => "Queue",
        }
    }
}

/// A service with everything decided.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSpec {
    /// Unique name, `[a-z0-9_]`, 1 to 63 characters; also the path part of its address.
    pub name: String,
    /// Service type.
    pub kind: ServiceKind,
    /// Engine; `None` exactly when `kind` is `Queue`.
    pub role: Option<Role>,
    /// Token of this service alone; the program's token works as well.
    pub token: Option<Secret>,
    /// Longest work on one entry, counted from the moment a slot takes it.
    pub keepalive: Duration,
    /// How many entries an `Async` slot holds at once; one of them is worked on.
    pub worker_threads: u32,
    /// Most puts per second for the whole service; 0 is off.
    pub rate_limit: u32,
    /// Most requests at once on the service's routes; 0 is off.
    pub concurrency_limit: u32,
    /// Slots at the start, already inside `scaling.min..=scaling.max`. 0 for `Queue`.
    pub instances: u32,
    /// Queue rules and limits.
    pub queue: QueueSettings,
    /// How many slots, and when that number changes.
    pub scaling: ScalingPolicy,
    /// Folders that requests may name files in.
    pub mounts: Vec<Mount>,
    /// How long the engine `echo` works on an entry.
    pub echo: Duration,
    /// Device memory that each slot reserves, in bytes.
    pub slot_memory_bytes: u64,
    /// Root of the model folders as written in the WebUI's start line (`--data-dir`), a path
    /// below one of the mounts.
    pub webui_data_dir: Option<String>,
    /// Free bytes of disk below which a warning is due (`extra-ephemeral-storage`).
    pub scratch_bytes: Option<u64>,
}

/// Rules and limits of the two queues of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSettings {
    /// How often one entry is handed out inside one group; 0 is without limit.
    pub max_delivery: u32,
    /// What becomes of an entry that was handed out too often.
    pub dead_message_policy: DeadMessagePolicy,
    /// How long a consumer group is remembered after its last consumer left.
    pub group_grace: Duration,
    /// The input queue.
    pub source: SideSettings,
    /// The output queue.
    pub sink: SideSettings,
}

/// Limits of one of the two queues.
#[derive(Debug, Clone, PartialEq)]
pub struct SideSettings {
    /// Largest entry in bytes; exactly this much is accepted.
    pub max_payload_bytes: u64,
    /// Most entries; `None` is without limit (bytes are always bounded).
    pub max_entries: Option<u64>,
    /// Most payload bytes of all entries together.
    pub max_bytes: u64,
    /// Sink only: when full, the oldest entry goes instead of refusing the new one.
    pub auto_evict: bool,
}

/// What becomes of an entry that was handed out `max_delivery` times without a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadMessagePolicy {
    /// It moves to the rear queue.
    Rear,
    /// It is deleted.
    Drop,
}

/// How many slots a service has and when that changes. Without autoscaling `min == max`.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingPolicy {
    /// Fewest slots.
    pub min: u32,
    /// Most slots.
    pub max: u32,
    /// Metrics with their thresholds; the largest target counts. Empty means a fixed size.
    pub strategies: Vec<Strategy>,
    /// How long the need must last before growing.
    pub scale_up_window: Duration,
    /// How long the surplus must last before shrinking.
    pub scale_down_window: Duration,
    /// Time without any request before the last slot goes.
    pub zero_grace: Duration,
    /// Slots made at once when leaving zero, at least 1.
    pub activation_replicas: u32,
}

impl ScalingPolicy {
    /// A service that always has `size` slots.
    pub fn fixed(size: u32) -> Self {
        Self {
            min: size,
            max: size,
            strategies: Vec::new(),
            scale_up_window: Duration::ZERO,
            scale_down_window: Duration::ZERO,
            zero_grace: Duration::ZERO,
            activation_replicas: 1,
        }
    }
}

/// A metric and its threshold per slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strategy {
    /// What is measured.
    pub metric: Metric,
    /// Wanted value per slot, above 0.
    pub threshold: f64,
}

/// What a strategy measures, always as an average over the slots that are not draining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Entries waiting plus entries handed out: `queue[backlog]`, `queue[avgbacklog]`.
    Backlog,
    /// Entries waiting: `avg_waiting_length`.
    Waiting,
    /// Puts per second over the last minute: `qps`.
    PutRate,
}

/// A folder of the cloud's storage as requests see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where requests see it, for example `/photog_oss`; starts with a slash, no trailing one.
    pub mount_path: String,
    /// Bucket of the `oss://` address.
    pub bucket: String,
    /// Key prefix inside the bucket, without slashes at its ends; may be empty.
    pub prefix: String,
    /// Writing is refused.
    pub read_only: bool,
}
