//! What a running job may ask of its surroundings: whether to stop, until when it may work, and
//! where to report progress.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Why a job has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReason {
    /// The user cancelled it.
    User,
    /// It passed its deadline.
    Deadline,
    /// The process is stopping and waits no longer.
    Shutdown,
}

/// Tells a running job to stop. Clones share one state; the first reason stays.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<(Mutex<Option<CancelReason>>, Condvar)>);

impl CancelToken {
    /// Asks the job to stop. A later call with another reason changes nothing.
    pub fn cancel(&self, reason: CancelReason) {
        self.lock().get_or_insert(reason);
        self.0.1.notify_all();
    }

    /// The reason, once somebody asked to stop.
    pub fn reason(&self) -> Option<CancelReason> {
        *self.lock()
    }

    /// Blocks until somebody asks to stop or the time is over.
    pub fn wait(&self, limit: Duration) -> Option<CancelReason> {
        let (guard, _) = self
            .0
            .1
            .wait_timeout_while(self.lock(), limit, |reason| reason.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        *guard
    }

    fn lock(&self) -> MutexGuard<'_, Option<CancelReason>> {
        // A poisoned lock still holds a plain, whole value.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Receives a job's progress.
pub trait ProgressSink: Send + Sync {
    /// `fraction` is 0.0 to 1.0; `note` is one short line such as `photo 3 of 12`.
    fn report(&self, fraction: f64, note: &str);
}

/// Ignores progress.
impl ProgressSink for () {
    fn report(&self, _fraction: f64, _note: &str) {}
}

/// The surroundings of one job.
#[derive(Clone)]
pub struct JobContext {
    /// Set when the job has to stop.
    pub cancel: CancelToken,
    /// When the job must be done (`keepalive` after its start).
    pub deadline: Instant,
    /// Where progress goes.
    pub progress: Arc<dyn ProgressSink>,
    /// Name of the device that the slot owns, for example `cpu` or `cuda:0`.
    pub device: String,
}

impl JobContext {
    /// `Err` with the reason when the job has to stop now.
    pub fn checkpoint(&self) -> Result<(), CancelReason> {
        if let Some(reason) = self.cancel.reason() {
            return Err(reason);
        }
        if Instant::now() >= self.deadline {
            self.cancel.cancel(CancelReason::Deadline);
            return Err(CancelReason::Deadline);
        }
        Ok(())
    }

    /// Time left until the deadline.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}
