//! What a running job may ask of its surroundings: whether to stop, whether to finish early with
//! what it has, until when it may work, and where to report progress.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;

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

/// How much of a job that was asked to finish early is left out. The later one is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finish {
    /// The rest of this round: its pictures are taken as they are, and the next round begins.
    Round,
    /// The rest of everything: what is there is the answer.
    All,
}

/// Asks a running job to finish early and succeed with what it has. Clones share one state.
///
/// It is no [`CancelToken`]: a job that does not listen goes on as if nobody had asked.
#[derive(Debug, Clone, Default)]
pub struct FinishToken(Arc<AtomicU8>);

impl FinishToken {
    /// Asks. A wish for less than was asked before changes nothing.
    pub fn ask(&self, finish: Finish) {
        self.0.fetch_max(Self::level(finish), Ordering::Relaxed);
    }

    /// What was asked for, if anything.
    pub fn asked(&self) -> Option<Finish> {
        let level = self.0.load(Ordering::Relaxed);
        [Finish::All, Finish::Round]
            .into_iter()
            .find(|finish| Self::level(*finish) == level)
    }

    /// A new round begins: a wish to leave out the rest of the one before is fulfilled.
    pub fn begin_round(&self) {
        let (round, none) = (Self::level(Finish::Round), 0);
        // It fails where nothing or everything was asked for, and both stay.
        let _ = self
            .0
            .compare_exchange(round, none, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn level(finish: Finish) -> u8 {
        match finish {
            Finish::Round => 1,
            Finish::All => 2,
        }
    }
}

/// Where a job stands that works in rounds of steps, such as pictures that come out of noise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps {
    /// Rounds that are done.
    pub round: u32,
    /// All rounds, at least 1.
    pub rounds: u32,
    /// Steps of the present round that are done.
    pub step: u32,
    /// All steps of a round.
    pub steps: u32,
}

/// Where a training stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingProgress {
    /// What it does: `preparing`, `training`, `validating` or `finishing`.
    pub phase: &'static str,
    /// Steps that are done.
    pub step: u32,
    /// All steps; 0 as long as it is not known.
    pub steps: u32,
    /// Loss of the last step.
    pub loss: Option<f64>,
    /// Learning rate of the last step.
    pub rate: Option<f64>,
    /// About how long it will go on, once that can be told.
    pub remaining: Option<Duration>,
}

/// Receives a job's progress.
pub trait ProgressSink: Send + Sync {
    /// `fraction` is 0.0 to 1.0; `note` is one short line such as `photo 3 of 12`.
    fn report(&self, fraction: f64, note: &str);

    /// The same place as rounds and steps, for jobs that have them; before [`report`](Self::report).
    fn count(&self, _steps: Steps) {}

    /// The same place for trainings; before [`report`](Self::report).
    fn training(&self, _progress: TrainingProgress) {}

    /// Whether somebody looks on, so that a picture of the unfinished work is worth its time.
    fn wants_preview(&self) -> bool {
        false
    }

    /// A small PNG of the unfinished work. Only the latest is kept.
    fn preview(&self, _png: Bytes) {}
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
    /// Set when the job is to finish early with what it has.
    pub finish: FinishToken,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_to_finish_grows_and_a_new_round_fulfils_the_smaller_one() {
        let (token, job) = (FinishToken::default(), FinishToken::default());
        assert_eq!(token.asked(), None);
        token.clone().ask(Finish::Round);
        assert_eq!((token.asked(), job.asked()), (Some(Finish::Round), None));
        token.begin_round();
        assert_eq!(token.asked(), None);
        token.ask(Finish::All);
        token.ask(Finish::Round);
        token.begin_round();
        assert_eq!(token.asked(), Some(Finish::All));
    }
}
