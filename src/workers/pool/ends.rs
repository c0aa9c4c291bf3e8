//! Ends of entries that no slot works on: cut off by a crash, or cancelled while they waited.

use std::time::Instant;

use crate::{
    domain::Problem,
    job::{CancelReason, Finish},
    pipeline::{Failure, JobInput, failure_answer},
    queue::{CancelledJob, JobKey, Push, QueueError},
};

use super::{
    super::{roster::Running, slot},
    Pool,
};

impl Pool {
    /// Ends entries whose process died with no delivery left. Call before any slot starts.
    pub async fn rescue(&self) -> Result<(), QueueError> {
        for (name, spec) in &self.0.specs {
            if spec.role.is_some() {
                self.rescue_service(name).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn rescue_service(&self, name: &str) -> Result<(), QueueError> {
        let lost = self.0.store.lost(name).await?;
        if !lost.is_empty() {
            tracing::warn!(
                service = name,
                entries = lost.len(),
                "ending what a crash cut off"
            );
        }
        for push in lost {
            let text = "the program ended while it had this entry in hand, and no delivery is \
                            left; put it again";
            let failure = Failure::new(Problem::Interrupted, text);
            match self.end(name, &push, failure, None).await {
                Err(error @ (QueueError::Storage(_) | QueueError::Closed)) => return Err(error),
                // Callers are served already and may have deleted it meanwhile.
                Err(refusal) => tracing::warn!(service = name, index = push.index, %refusal),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Cancels a job: one that waits ends at once, one that runs is told to stop.
    pub async fn cancel(&self, job: JobKey) -> Result<(), QueueError> {
        self.cancel_or(job, |running| running.cancel.cancel(CancelReason::User))
            .await
    }

    /// Asks a running job to leave out the rest and succeed with what it has; one that waits has
    /// nothing, and is cancelled.
    pub async fn cancel_and_keep(&self, job: JobKey) -> Result<(), QueueError> {
        self.cancel_or(job, |running| running.finish.ask(Finish::All))
            .await
    }

    /// Ends a job that waits, and tells one that runs something else.
    async fn cancel_or(
        &self,
        job: JobKey,
        tell: impl FnOnce(&Running) + Send,
    ) -> Result<(), QueueError> {
        match self.0.store.cancel(job.clone()).await? {
            CancelledJob::Taken(push) => {
                let failure = Failure::from(CancelReason::User);
                self.end(&job.service, &push.0, failure, Some(CancelReason::User))
                    .await
            }
            CancelledJob::Running => {
                if let Some(running) = self.lock().running_on(&job) {
                    tell(running);
                }
                Ok(())
            }
        }
    }

    /// Ends an entry that no slot works on with a failure result.
    pub(super) async fn end(
        &self,
        service: &str,
        push: &Push,
        failure: Failure,
        reason: Option<CancelReason>,
    ) -> Result<(), QueueError> {
        // The caller's own id is inside the request; an unreadable request is told without it.
        let data = match self.0.store.load(push).await {
            Ok(data) => data.into_bytes().unwrap_or_default(),
            Err(_) => bytes::Bytes::new(),
        };
        let input = JobInput {
            data,
            tags: push.tags.clone(),
        };
        let answer = failure_answer(&input, failure, Instant::now());
        let spec = self.0.specs.get(service).ok_or(QueueError::NotFound)?;
        let finish = slot::finish(&self.0.store, spec, push, &answer, reason)?;
        self.0.store.finish(service, finish).await
    }
}
