//! All slots with their states, and how they begin and end.

mod ends;

use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc},
};

use crate::{
    domain::{Problem, ServiceSpec},
    job::{CancelReason, CancelToken, Finish, FinishToken, ProgressSink},
    observe::JobMetrics,
    queue::{Attach, Clock, Closing, Detached, JobKey, Push, QueueError, QueueKey, Store},
    scheduler::{DeviceId, SlotId, SlotState},
};

use super::{
    engines::Engines,
    roster::{JobProgress, Moment, Preview, Progress, Roster, Running, RunningJob, SlotStatus},
    slot::Slot,
};

/// No slot of a service is started for this long after one failed, so that an engine that always
/// fails does not spin.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// All slots. Clones share them.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    store: Store,
    engines: Engines,
    specs: HashMap<String, ServiceSpec>,
    devices: BTreeMap<DeviceId, String>,
    runtime: Handle,
    clock: Arc<dyn Clock>,
    metrics: JobMetrics,
    epoch: Instant,
    roster: Mutex<Roster>,
    /// A slot changed its state.
    changed: Arc<Notify>,
    /// A job reported progress, which is nothing to decide about.
    reported: Arc<Notify>,
}

/// What a pool is made of.
pub(super) struct PoolParts {
    pub(super) store: Store,
    pub(super) engines: Engines,
    pub(super) services: Vec<ServiceSpec>,
    pub(super) devices: BTreeMap<DeviceId, String>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: JobMetrics,
    pub(super) changed: Arc<Notify>,
}

impl Pool {
    /// A pool without slots. Must be called inside a tokio runtime.
    pub(super) fn new(parts: PoolParts) -> Self {
        let specs = parts
            .services
            .into_iter()
            .map(|spec| (spec.name.clone(), spec))
            .collect();
        Self(Arc::new(Inner {
            store: parts.store,
            engines: parts.engines,
            specs,
            devices: parts.devices,
            runtime: Handle::current(),
            clock: parts.clock,
            metrics: parts.metrics,
            epoch: Instant::now(),
            roster: Mutex::default(),
            changed: parts.changed,
            reported: Arc::new(Notify::new()),
        }))
    }

    /// Time since the pool was made; all times of slots are counted from there.
    pub fn now(&self) -> Duration {
        self.0.epoch.elapsed()
    }

    /// Every slot that is not gone.
    pub fn statuses(&self) -> Vec<SlotStatus> {
        let roster = self.lock();
        let statuses = roster.records().map(|record| record.status.clone());
        statuses.collect()
    }

    /// Until when no slot of a service is started.
    pub(super) fn held_until(&self, service: &str) -> Option<Duration> {
        self.lock().held.get(service).copied()
    }

    /// Name of a device.
    pub fn device_name(&self, device: DeviceId) -> &str {
        self.0.devices.get(&device).map_or("", String::as_str)
    }

    /// Progress of a running job.
    pub fn progress(&self, job: &JobKey) -> Option<JobProgress> {
        let roster = self.lock();
        Some(roster.running_on(job)?.progress.latest())
    }

    /// The jobs of a service that slots work on, the one that began first at the front.
    pub fn running_of(&self, service: &str) -> Vec<RunningJob> {
        let now = self.now();
        let roster = self.lock();
        let ours = roster
            .records()
            .filter(|record| &*record.status.service == service);
        let mut jobs: Vec<RunningJob> = ours.filter_map(|record| record.job(now)).collect();
        jobs.sort_by_key(|job| job.began_ms);
        jobs
    }

    /// The latest preview of a running job, which makes more of them while somebody asks.
    pub fn preview(&self, job: &JobKey) -> Option<Preview> {
        self.lock().running_on(job)?.progress.look()
    }

    /// Asks a running job to leave out the rest of everything and succeed with what it has. False
    /// when no slot works on it.
    pub fn interrupt(&self, job: &JobKey) -> bool {
        self.finish(job, Finish::All)
    }

    /// Asks a running job to leave out the rest of its present round. False when no slot works on
    /// it.
    pub fn skip(&self, job: &JobKey) -> bool {
        self.finish(job, Finish::Round)
    }

    fn finish(&self, job: &JobKey, finish: Finish) -> bool {
        let roster = self.lock();
        let running = roster.running_on(job);
        running.map(|running| running.finish.ask(finish)).is_some()
    }

    /// Signal given at each report of progress.
    pub fn reported(&self) -> &Notify {
        &self.0.reported
    }

    /// Starts a slot: attaches it to the queue and begins its thread.
    pub(super) async fn start(&self, service: &str, device: DeviceId) {
        let Some(spec) = self.0.specs.get(service).cloned() else {
            return;
        };
        let id = self.lock().register(service, device, self.moment());
        let attach = Attach {
            group: service.into(),
            user: slot_user(id),
            start: Some(0),
            tags: crate::domain::Tags::default(),
            window: spec.worker_threads,
            auto_commit: false,
        };
        let attached = match self
            .0
            .store
            .attach(&QueueKey::source(service), attach)
            .await
        {
            Ok(attached) => attached,
            Err(error) => {
                tracing::error!(service, %error, "a slot could not be attached to its queue");
                self.slot_failed(id);
                return;
            }
        };
        if let Some(record) = self.lock().get_mut(id) {
            record.link = Some(attached.link);
        }
        let slot = Slot {
            id,
            spec,
            device: self.0.devices.get(&device).cloned().unwrap_or_default(),
            store: self.0.store.clone(),
            pool: self.clone(),
            runtime: self.0.runtime.clone(),
        };
        self.begin_thread(slot, attached.pushes);
        self.join_ended();
    }

    fn begin_thread(&self, slot: Slot, pushes: mpsc::UnboundedReceiver<Push>) {
        let (pool, engines, id) = (self.clone(), self.0.engines.clone(), slot.id);
        let service = slot.spec.name.clone();
        let work = move || {
            let pool = slot.pool.clone();
            let ended = catch_unwind(AssertUnwindSafe(|| match engines.make(&slot.spec) {
                Some(engine) => slot.run(engine, pushes),
                None => pool.slot_failed(id),
            }));
            if ended.is_err() {
                tracing::error!(
                    slot = id.0,
                    "a slot failed outside of a job; it is replaced"
                );
                pool.slot_failed(id);
            }
        };
        let thread = std::thread::Builder::new().name(format!("slot-{}", id.0));
        match thread.spawn(work) {
            Ok(thread) => {
                pool.lock().threads.insert(id, thread);
            }
            Err(error) => {
                tracing::error!(service, %error, "a slot's thread could not be started");
                pool.slot_failed(id);
            }
        }
    }

    /// Joins the threads of slots that are gone.
    fn join_ended(&self) {
        let ended = self.lock().take_ended();
        for thread in ended {
            // It has ended, so this does not wait; a panic was told when it happened.
            let _ = thread.join();
        }
    }

    /// Waits for every thread that was not given up. Call when all slots are gone.
    pub(super) async fn join_all(&self) {
        let threads = std::mem::take(&mut self.lock().threads);
        let join = || threads.into_values().for_each(|thread| drop(thread.join()));
        // A thread that panicked has told so.
        let _ = tokio::task::spawn_blocking(join).await;
    }

    /// Lets an idle slot go. One that has claimed an entry meanwhile stays.
    pub(super) async fn stop(&self, id: SlotId) {
        if self.let_go(id).await {
            self.slot_gone(id);
        }
    }

    /// Marks a busy slot: it takes nothing new and goes when it has finished; or lifts the mark.
    pub(super) async fn set_draining(&self, id: SlotId, draining: bool) {
        let Some(service) = self.service_of(id) else {
            return;
        };
        let closing = if draining {
            Closing::FinishLine
        } else {
            Closing::Open
        };
        // A slot that went meanwhile needs no mark.
        let _ = self
            .0
            .store
            .set_closed(&service, &slot_user(id), closing)
            .await;
        let idle = self
            .lock()
            .get_mut(id)
            .is_some_and(|record| record.mark(draining));
        self.0.changed.notify_waiters();
        if draining && idle {
            // It finished just before the mark, so nothing else would let it go.
            self.stop(id).await;
        }
    }

    /// Keeps every slot from taking anything new; what was promised to slots and not begun waits
    /// for the next start of the program.
    pub(super) async fn close_all(&self) {
        for status in self.statuses() {
            self.close(status.id).await;
        }
    }

    /// Keeps one slot from taking anything new.
    pub(super) async fn close(&self, id: SlotId) {
        let Some(service) = self.service_of(id) else {
            return;
        };
        // A slot that went meanwhile needs no mark.
        let _ = self
            .0
            .store
            .set_closed(&service, &slot_user(id), Closing::GiveLineBack)
            .await;
    }

    /// Number of jobs that slots work on.
    pub fn running(&self) -> usize {
        let roster = self.lock();
        let running = roster.records().filter(|record| record.running.is_some());
        running.count()
    }

    /// Tells every running job to stop because the program ends. Returns how many there were.
    pub fn cut_off_all(&self) -> usize {
        let roster = self.lock();
        let running = roster
            .records()
            .filter_map(|record| record.running.as_ref());
        running
            .map(|running| running.cancel.cancel(CancelReason::Shutdown))
            .count()
    }

    /// A job did not stop when it was told to: its caller is told `TIMEOUT`, its thread is left to
    /// itself, and the slot is replaced.
    pub(super) async fn give_up(&self, id: SlotId, index: u64) {
        let in_hand = self.in_hand(id);
        let Some((service, push, link)) = in_hand.filter(|(_, push, _)| push.index == index) else {
            return;
        };
        tracing::error!(
            service = &*service,
            slot = id.0,
            index = push.index,
            "a job does not stop; its thread is given up"
        );
        self.lock().threads.remove(&id);
        // Closed first: the slot must not be handed the next entry when this one ends.
        self.close(id).await;
        while let Err(error) = self
            .end(&service, &push, CancelReason::Deadline.into(), None)
            .await
        {
            let QueueError::Storage(failure) = error else {
                tracing::debug!(%error, "a job ended by itself when it was given up");
                break;
            };
            tracing::warn!(
                failure,
                "the end of a job that does not stop waits for the store"
            );
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
        let queue = QueueKey::source(Arc::clone(&service));
        // A slot that went meanwhile is detached already.
        let _ = self
            .0
            .store
            .detach(&queue, &service, &slot_user(id), link)
            .await;
        self.slot_failed(id);
    }

    /// The engine is ready.
    pub(super) fn slot_ready(&self, id: SlotId) {
        if let Some(record) = self.lock().get_mut(id) {
            record.enter(SlotState::Idle, self.moment());
        }
        self.0.changed.notify_waiters();
    }

    /// The slot has an entry in hand.
    pub(super) fn slot_begins(
        &self,
        id: SlotId,
        push: &Push,
        (cancel, finish): (&CancelToken, &FinishToken),
    ) -> Arc<dyn ProgressSink> {
        let progress = Arc::new(Progress::new(Arc::clone(&self.0.reported)));
        let now = self.moment();
        if let Some(record) = self.lock().get_mut(id) {
            let waited_ms = (now.1 - push.created_ms).max(0) as u64;
            let waited = Duration::from_millis(waited_ms);
            self.0.metrics.record_wait(&record.status.service, waited);
            let running = Running {
                push: push.clone(),
                cancel: cancel.clone(),
                finish: finish.clone(),
                progress: Arc::clone(&progress),
            };
            record.begin(running, now);
        }
        self.0.changed.notify_waiters();
        progress
    }

    /// The slot has told its result. True when it is marked to go.
    pub(super) fn slot_done(&self, id: SlotId) -> bool {
        let now = self.moment();
        let goes = self
            .lock()
            .get_mut(id)
            .is_none_or(|record| record.done(now));
        self.0.changed.notify_waiters();
        goes
    }

    /// The slot's thread ends in good order.
    pub(super) fn slot_gone(&self, id: SlotId) {
        self.lock().remove(id);
        self.0.changed.notify_waiters();
    }

    /// The slot ends by its own failure; others of its service wait a moment before they start.
    pub(super) fn slot_failed(&self, id: SlotId) {
        let until = self.now() + PAUSE_AFTER_FAILURE;
        let mut roster = self.lock();
        let Some(record) = roster.remove(id) else {
            return;
        };
        let service = Arc::clone(&record.status.service);
        roster.held.insert(service, until);
        drop(roster);
        if let Some(link) = record.link {
            let (pool, service) = (self.clone(), record.status.service);
            let store = self.0.store.clone();
            self.0.runtime.spawn(async move {
                let queue = QueueKey::source(Arc::clone(&service));
                // A store that is closing has let the slot go already.
                let _ = store.detach(&queue, &service, &slot_user(id), link).await;
                // Whatever it had in hand without a delivery left is owed a result.
                if let Err(error) = pool.rescue_service(&service).await {
                    tracing::warn!(%error, "the next start ends what a slot left behind");
                }
            });
        }
        self.0.changed.notify_waiters();
    }

    /// Asks the queue whether a slot may go, from the slot's own thread.
    pub(super) fn let_go_blocking(&self, id: SlotId) -> bool {
        self.0.runtime.block_on(self.let_go(id))
    }

    /// Counts the end of a job.
    pub(super) fn count_job(&self, service: &str, took: Duration, problem: Option<Problem>) {
        self.0
            .metrics
            .record(service, took, problem.map_or("OK", Problem::as_str));
    }

    async fn let_go(&self, id: SlotId) -> bool {
        let Some(service) = self.service_of(id) else {
            return true;
        };
        let detached = self.0.store.detach_idle(&service, &slot_user(id)).await;
        matches!(detached, Ok(Detached::Gone))
    }

    fn service_of(&self, id: SlotId) -> Option<Arc<str>> {
        let roster = self.lock();
        Some(Arc::clone(&roster.get(id)?.status.service))
    }

    fn in_hand(&self, id: SlotId) -> Option<(Arc<str>, Push, u64)> {
        let roster = self.lock();
        let record = roster.get(id)?;
        let running = record.running.as_ref()?;
        let service = Arc::clone(&record.status.service);
        Some((service, running.push.clone(), record.link?))
    }

    fn moment(&self) -> Moment {
        (self.now(), self.0.clock.now_ms())
    }

    fn lock(&self) -> MutexGuard<'_, Roster> {
        // Sections are short and leave whole records behind, even if one panicked.
        self.0.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// User id of a slot in its service's consumer group.
fn slot_user(id: SlotId) -> Arc<str> {
    format!("slot-{}", id.0).into()
}
