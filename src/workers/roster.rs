//! What is known of every slot: its state, its link to the queue, the entry in its hand, its thread.
//!
//! Plain data behind the pool's lock; nothing here waits or tells anybody.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    job::{CancelToken, ProgressSink},
    queue::{JobKey, Push},
    scheduler::{DeviceId, SlotId, SlotState},
};

/// Progress of a running job, in memory only.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobProgress {
    /// 0.0 to 1.0.
    pub fraction: f64,
    /// One short line.
    pub note: String,
}

/// A slot as `GET /api/services` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotStatus {
    /// Its number.
    pub id: SlotId,
    /// Its service.
    pub service: Arc<str>,
    /// Its state.
    pub state: SlotState,
    /// When it entered the state, in milliseconds since 1970.
    pub since_ms: i64,
    /// When it entered the state, since the start of the program.
    pub since: Duration,
    /// Its device.
    pub device: DeviceId,
    /// Index of the entry in its hand.
    pub job: Option<u64>,
}

/// All slots that are not gone.
#[derive(Default)]
pub(super) struct Roster {
    last_id: u64,
    all: BTreeMap<SlotId, Record>,
    /// Services whose last slot failed, and until when no other is started.
    pub(super) held: HashMap<Arc<str>, Duration>,
    /// Threads that have not been joined, those of slots that are gone among them.
    pub(super) threads: HashMap<SlotId, JoinHandle<()>>,
}

/// One slot.
pub(super) struct Record {
    pub(super) status: SlotStatus,
    pub(super) link: Option<u64>,
    pub(super) running: Option<Running>,
}

/// The job that a slot works on.
pub(super) struct Running {
    pub(super) push: Push,
    pub(super) cancel: CancelToken,
    pub(super) progress: Arc<Progress>,
}

/// The latest progress of one job.
#[derive(Debug)]
pub(super) struct Progress {
    latest: Mutex<JobProgress>,
    reported: Arc<Notify>,
}

impl Progress {
    pub(super) fn new(reported: Arc<Notify>) -> Self {
        Self {
            latest: Mutex::default(),
            reported,
        }
    }

    pub(super) fn latest(&self) -> JobProgress {
        let latest = self.latest.lock();
        latest.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ProgressSink for Progress {
    fn report(&self, fraction: f64, note: &str) {
        let latest = JobProgress {
            fraction: fraction.clamp(0.0, 1.0),
            note: note.to_owned(),
        };
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = latest;
        self.reported.notify_waiters();
    }
}

/// A moment: since the start of the program, and in milliseconds since 1970.
pub(super) type Moment = (Duration, i64);

impl Roster {
    /// A new slot, which is starting.
    pub(super) fn register(&mut self, service: &str, device: DeviceId, now: Moment) -> SlotId {
        self.last_id += 1;
        let id = SlotId(self.last_id);
        let status = SlotStatus {
            id,
            service: service.into(),
            state: SlotState::Starting,
            since: now.0,
            since_ms: now.1,
            device,
            job: None,
        };
        let record = Record {
            status,
            link: None,
            running: None,
        };
        self.all.insert(id, record);
        id
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.all.values()
    }

    pub(super) fn get(&self, id: SlotId) -> Option<&Record> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: SlotId) -> Option<&mut Record> {
        self.all.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: SlotId) -> Option<Record> {
        self.all.remove(&id)
    }

    /// The slot that works on a job.
    pub(super) fn running_on(&self, job: &JobKey) -> Option<&Running> {
        let ours = |record: &&Record| {
            record.status.service == job.service && record.status.job == Some(job.index)
        };
        self.all.values().find(ours)?.running.as_ref()
    }

    /// Threads that have ended.
    pub(super) fn take_ended(&mut self) -> Vec<JoinHandle<()>> {
        let ended = self.threads.extract_if(|_, thread| thread.is_finished());
        ended.map(|(_, thread)| thread).collect()
    }
}

impl Record {
    /// A job begins.
    pub(super) fn begin(&mut self, running: Running, now: Moment) {
        self.status.job = Some(running.push.index);
        self.running = Some(running);
        self.enter(SlotState::Busy, now);
    }

    /// The job in hand has ended. True when the slot is marked to go.
    pub(super) fn done(&mut self, now: Moment) -> bool {
        self.running = None;
        self.status.job = None;
        self.enter(SlotState::Idle, now);
        self.status.state == SlotState::Draining
    }

    /// Enters a state; the mark to go stays.
    pub(super) fn enter(&mut self, state: SlotState, now: Moment) {
        (self.status.since, self.status.since_ms) = now;
        if self.status.state != SlotState::Draining {
            self.status.state = state;
        }
    }

    /// Sets or lifts the mark to go. True when the slot has nothing in hand.
    pub(super) fn mark(&mut self, draining: bool) -> bool {
        let idle = self.running.is_none();
        self.status.state = match (draining, idle) {
            (true, _) => SlotState::Draining,
            (false, true) => SlotState::Idle,
            (false, false) => SlotState::Busy,
        };
        idle
    }
}
