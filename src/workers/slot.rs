//! The thread of one slot: takes an entry, lets the engine work, offers the result until it is
//! taken, and again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{runtime::Handle, sync::mpsc};

use crate::{
    domain::{Problem, ServiceSpec},
    job::{CancelReason, CancelToken, FinishToken, JobContext},
    pipeline::{Answer, Engine, Failure, JobInput, failure_answer},
    queue::{BLOB_THRESHOLD_BYTES, Finish, Payload, Push, QueueError, Store},
    scheduler::SlotId,
};

use super::pool::Pool;

/// How long a job may go on after it was told to stop before its thread is given up.
const STOP_GRACE: Duration = Duration::from_secs(30);
/// Pause before a result is offered again to a store that failed.
const OFFER_AGAIN: Duration = Duration::from_millis(200);

/// What a slot's thread needs.
pub(super) struct Slot {
    pub(super) id: SlotId,
    pub(super) spec: ServiceSpec,
    pub(super) device: String,
    pub(super) store: Store,
    pub(super) pool: Pool,
    pub(super) runtime: Handle,
}

/// How a job ended.
enum Ended {
    /// The result is in the sink, or nobody wants it any more.
    Told,
    /// The engine panicked; it cannot be trusted any longer.
    Panicked,
}

impl Slot {
    /// Works until the store lets the slot go or its engine fails.
    pub(super) fn run(
        self,
        mut engine: Box<dyn Engine>,
        mut pushes: mpsc::UnboundedReceiver<Push>,
    ) {
        self.pool.slot_ready(self.id);
        while let Some(push) = pushes.blocking_recv() {
            let ended = self.work(engine.as_mut(), &push);
            if matches!(ended, Ended::Panicked) {
                self.give_back(&mut pushes);
                self.pool.slot_failed(self.id);
                return;
            }
            if self.pool.slot_done(self.id) && self.pool.let_go_blocking(self.id) {
                break;
            }
        }
        self.pool.slot_gone(self.id);
    }

    /// Gives back entries that were handed to this slot and that it will not begin.
    fn give_back(&self, pushes: &mut mpsc::UnboundedReceiver<Push>) {
        while let Ok(push) = pushes.try_recv() {
            self.until_taken(|| {
                self.runtime
                    .block_on(self.store.release(&self.spec.name, push.clone()))
            });
        }
    }

    fn work(&self, engine: &mut dyn Engine, push: &Push) -> Ended {
        let (cancel, finish) = (CancelToken::default(), FinishToken::default());
        let progress = self.pool.slot_begins(self.id, push, (&cancel, &finish));
        let started = Instant::now();
        let deadline = started + self.spec.keepalive;
        let watch = watch_deadline(
            self.pool.clone(),
            (self.id, push.index),
            cancel.clone(),
            deadline,
        );
        let watch = self.runtime.spawn(watch);
        let context = JobContext {
            cancel: cancel.clone(),
            finish,
            deadline,
            progress,
            device: self.device.clone(),
        };
        let input = self.load(push);
        let outcome = match &input {
            Ok(input) => catch_unwind(AssertUnwindSafe(|| engine.run(input, &context))),
            Err(error) => Ok(self.unreadable(push, error, started)),
        };
        watch.abort();
        let input = input.unwrap_or_else(|_| JobInput {
            data: Bytes::new(),
            tags: push.tags.clone(),
        });
        let Ok(answer) = outcome else {
            self.end_panicked(push, &input, started);
            return Ended::Panicked;
        };
        let answer = match cancel.reason().filter(|_| answer.status != 200) {
            Some(reason) => failure_answer(&input, reason.into(), started),
            None => answer,
        };
        let answer = self.within_limit(answer, &input, started);
        self.tell(push, &answer, cancel.reason(), started);
        Ended::Told
    }

    /// The job whose engine panicked gets an `INTERRUPTED` result, or waits again if a delivery is
    /// left.
    fn end_panicked(&self, push: &Push, input: &JobInput, started: Instant) {
        let (service, index, slot) = (&self.spec.name, push.index, self.id.0);
        tracing::error!(
            service,
            index,
            slot,
            "the engine panicked; this job ends, the slot is replaced"
        );
        // Closed first: the slot must not be handed the next entry when this one ends.
        self.runtime.block_on(self.pool.close(self.id));
        let waits_again = self
            .until_taken(|| {
                self.runtime
                    .block_on(self.store.abandon(service, push.clone()))
            })
            .unwrap_or(true);
        if waits_again {
            tracing::info!(service, index, "the entry waits for another slot");
            return;
        }
        let text = "the worker failed while it had this entry in hand and no delivery is left; put \
                    it again, and report it if it happens again";
        let answer = failure_answer(input, Failure::new(Problem::Interrupted, text), started);
        self.tell(push, &answer, None, started);
    }

    fn unreadable(&self, push: &Push, error: &QueueError, started: Instant) -> Answer {
        tracing::error!(service = self.spec.name, index = push.index, %error, "a request is unreadable");
        let input = JobInput {
            data: Bytes::new(),
            tags: push.tags.clone(),
        };
        let text = "the request could not be read from the store; put it again";
        failure_answer(&input, Failure::new(Problem::InternalError, text), started)
    }

    fn load(&self, push: &Push) -> Result<JobInput, QueueError> {
        let data = self.store.load_blocking(push)?.into_bytes()?;
        Ok(JobInput {
            data,
            tags: push.tags.clone(),
        })
    }

    /// A result above the sink's limit is replaced by one that says so.
    fn within_limit(&self, answer: Answer, input: &JobInput, started: Instant) -> Answer {
        let limit = self.spec.queue.sink.max_payload_bytes;
        let size = answer.body.len() as u64;
        if size <= limit {
            return answer;
        }
        let text = format!(
            "the result has {size} bytes, the sink accepts {limit}; ask for less, or raise \
             `queue.sink.max_payload_size_kb`"
        );
        failure_answer(input, Failure::new(Problem::ResultTooLarge, text), started)
    }

    fn tell(&self, push: &Push, answer: &Answer, reason: Option<CancelReason>, started: Instant) {
        self.pool
            .count_job(&self.spec.name, started.elapsed(), answer.problem);
        let told = self.until_taken(|| {
            let finish = finish(&self.store, &self.spec, push, answer, reason)?;
            self.runtime
                .block_on(self.store.finish(&self.spec.name, finish))
        });
        if told.is_none() {
            let (service, index) = (&self.spec.name, push.index);
            tracing::warn!(service, index, "the result is not wanted any more");
        }
    }

    /// Repeats until the store takes it. `None` when it is refused for good.
    fn until_taken<T>(&self, mut offer: impl FnMut() -> Result<T, QueueError>) -> Option<T> {
        let mut told = false;
        loop {
            match offer() {
                Ok(done) => return Some(done),
                Err(QueueError::Storage(failure)) => {
                    if !std::mem::replace(&mut told, true) {
                        let service = &self.spec.name;
                        tracing::warn!(service, failure, "a result is offered until it is taken");
                    }
                    std::thread::sleep(OFFER_AGAIN);
                }
                Err(refusal) => {
                    tracing::debug!(service = self.spec.name, %refusal, "a result was refused");
                    return None;
                }
            }
        }
    }
}

/// The end of a job for the store.
pub(super) fn finish(
    store: &Store,
    spec: &ServiceSpec,
    push: &Push,
    answer: &Answer,
    reason: Option<CancelReason>,
) -> Result<Finish, QueueError> {
    // Only a sink for a few hundred bytes is too small for the text of a failure. A cut text with
    // the tag `lastCode` is better than an entry that never ends.
    let limit = usize::try_from(spec.queue.sink.max_payload_bytes).unwrap_or(usize::MAX);
    let body = &answer.body[..answer.body.len().min(limit)];
    let result = match body.len() as u64 {
        0 => None,
        size if size <= BLOB_THRESHOLD_BYTES => Some(Payload::Inline(Bytes::copy_from_slice(body))),
        _ => {
            let mut blob = store.blobs().create()?;
            blob.write(body)?;
            Some(Payload::Blob(blob.finish()?))
        }
    };
    let failed = answer.status != 200;
    Ok(Finish {
        push: push.clone(),
        code: failed.then(|| {
            answer
                .problem
                .map_or_else(|| answer.status.to_string(), |code| code.to_string())
        }),
        message: answer.message.clone(),
        cancelled: failed && reason == Some(CancelReason::User),
        result,
        status: answer.status,
    })
}

/// Tells a job to stop at its deadline, and gives its thread up if it does not listen.
async fn watch_deadline(
    pool: Pool,
    (slot, index): (SlotId, u64),
    cancel: CancelToken,
    deadline: Instant,
) {
    tokio::time::sleep_until(deadline.into()).await;
    cancel.cancel(CancelReason::Deadline);
    tokio::time::sleep(STOP_GRACE).await;
    // In a task of its own: this one is aborted when the job ends, and half of giving up would leave
    // a slot that gets nothing more.
    tokio::spawn(async move { pool.give_up(slot, index).await });
}
