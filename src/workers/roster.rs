//! What is known of every slot: its state, its link to the queue, the entry in its hand, its thread.
//!
//! Plain data behind the pool's lock; nothing here waits or tells anybody.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    domain::Tags,
    job::{CancelToken, Finish, FinishToken, ProgressSink, Steps, TrainingProgress},
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
    /// Where it stands, if it is a training.
    pub training: Option<TrainingProgress>,
}

/// Largest preview that is kept.
const PREVIEW_BYTES_MAX: usize = 1 << 20;
/// How long somebody who asked for a preview counts as looking on.
const LOOKS_ON: Duration = Duration::from_secs(10);

/// A picture of unfinished work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Counts the previews of a job, from 1.
    pub number: u64,
    /// A small PNG.
    pub png: Bytes,
}

/// A job that a slot works on.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningJob {
    /// Which one.
    pub key: JobKey,
    /// Tags of its request, `requestId` among them.
    pub tags: Tags,
    /// When it began, in milliseconds since 1970.
    pub began_ms: i64,
    /// For how long it has been worked on.
    pub worked: Duration,
    /// How far it is.
    pub progress: JobProgress,
    /// Where it stands, if it works in rounds of steps.
    pub steps: Option<Steps>,
    /// It was asked to leave out the rest of its present round.
    pub skipped: bool,
    /// It was asked to leave out the rest of everything.
    pub interrupted: bool,
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
    pub(super) finish: FinishToken,
    pub(super) progress: Arc<Progress>,
}

/// The latest progress of one job.
#[derive(Debug)]
pub(super) struct Progress {
    latest: Mutex<Latest>,
    reported: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Latest {
    progress: JobProgress,
    steps: Option<Steps>,
    preview: Option<Preview>,
    /// When somebody last asked for a preview.
    asked: Option<Instant>,
}

impl Progress {
    pub(super) fn new(reported: Arc<Notify>) -> Self {
        Self {
            latest: Mutex::default(),
            reported,
        }
    }

    pub(super) fn latest(&self) -> JobProgress {
        self.lock().progress.clone()
    }

    pub(super) fn steps(&self) -> Option<Steps> {
        self.lock().steps
    }

    /// The latest preview; from now on the job makes more of them for a while.
    pub(super) fn look(&self) -> Option<Preview> {
        let mut latest = self.lock();
        latest.asked = Some(Instant::now());
        latest.preview.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        // Every value in it is whole, whoever panicked.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressSink for Progress {
    fn report(&self, fraction: f64, note: &str) {
        let mut latest = self.lock();
        latest.progress.fraction = fraction.clamp(0.0, 1.0);
        note.clone_into(&mut latest.progress.note);
        drop(latest);
        self.reported.notify_waiters();
    }

    fn count(&self, steps: Steps) {
        self.lock().steps = Some(steps);
    }

    fn training(&self, progress: TrainingProgress) {
        self.lock().progress.training = Some(progress);
    }

    fn wants_preview(&self) -> bool {
        let asked = self.lock().asked;
        asked.is_some_and(|asked| asked.elapsed() < LOOKS_ON)
    }

    fn preview(&self, png: Bytes) {
        if png.len() > PREVIEW_BYTES_MAX {
            return;
        }
        let mut latest = self.lock();
        let number = latest.preview.as_ref().map_or(0, |before| before.number) + 1;
        latest.preview = Some(Preview { number, png });
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
    /// The job in hand as others see it.
    pub(super) fn job(&self, now: Duration) -> Option<RunningJob> {
        let running = self.running.as_ref()?;
        let finish = running.finish.asked();
        Some(RunningJob {
            key: JobKey {
                service: Arc::clone(&self.status.service),
                index: running.push.index,
            },
            tags: running.push.tags.clone(),
            began_ms: self.status.since_ms,
            worked: now.saturating_sub(self.status.since),
            progress: running.progress.latest(),
            steps: running.progress.steps(),
            skipped: finish == Some(Finish::Round),
            interrupted: finish == Some(Finish::All),
        })
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_is_told_beside_the_fraction_and_the_note() {
        let progress = Progress::new(Arc::default());
        progress.report(0.05, "photo 1 of 5");
        assert_eq!(progress.latest().training, None);
        let training = TrainingProgress {
            phase: "training",
            step: 3,
            steps: 4,
            loss: Some(0.25),
            rate: Some(1e-4),
            remaining: Some(Duration::from_millis(1500)),
        };
        progress.training(training);
        progress.report(0.75, "step 3 of 4");
        let expected = JobProgress {
            fraction: 0.75,
            note: String::from("step 3 of 4"),
            training: Some(training),
        };
        assert_eq!(progress.latest(), expected);
    }

    #[test]
    fn a_preview_is_wanted_by_those_who_look_and_kept_in_its_latest_form() {
        let progress = Progress::new(Arc::default());
        assert!(!progress.wants_preview());
        assert_eq!(progress.look(), None);
        assert!(progress.wants_preview());
        progress.preview(Bytes::from_static(b"one"));
        progress.preview(Bytes::from_static(b"two"));
        progress.preview(Bytes::from(vec![0; PREVIEW_BYTES_MAX + 1]));
        let two = Preview {
            number: 2,
            png: Bytes::from_static(b"two"),
        };
        assert_eq!(progress.look(), Some(two));
    }
}
