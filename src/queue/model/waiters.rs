//! Callers of `get`: answered at once, or kept until there is what they asked for.

use tokio::sync::oneshot;

use crate::{
    domain::REQUEST_ID_TAG,
    queue::{
        QueueError,
        command::{Frame, Get},
    },
};

use super::{Filter, FramesReply, Millis, Model, Outbox, Queue, QueueKey};

/// A caller whose `get` waits for entries.
pub(crate) struct Waiter {
    id: u64,
    filter: Filter,
    length: usize,
    auto_delete: bool,
    reply: oneshot::Sender<Result<Vec<Frame>, QueueError>>,
}

impl Model {
    /// Answers a `get` at once, or lets it wait.
    pub(crate) fn get(
        &mut self,
        key: &QueueKey,
        get: Get,
        waiter: u64,
        reply: oneshot::Sender<Result<Vec<Frame>, QueueError>>,
        now: Millis,
        out: &mut Outbox,
    ) {
        let Some(queue) = self.queues.get_mut(key) else {
            // The caller may have gone.
            let _ = reply.send(Err(QueueError::NotFound));
            return;
        };
        let waiting = Waiter {
            id: waiter,
            filter: get.filter,
            length: get.length,
            auto_delete: get.auto_delete,
            reply,
        };
        if get.wait && !queue.is_satisfied(&waiting) {
            queue.waiters.push(waiting);
        } else {
            self.answer(key, waiting, now, out);
        }
    }

    /// The time of a waiting `get` is up: it is answered with what there is.
    pub(crate) fn end_wait(&mut self, key: &QueueKey, waiter: u64, now: Millis, out: &mut Outbox) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let at = queue
            .waiters
            .iter()
            .position(|waiting| waiting.id == waiter);
        if let Some(at) = at {
            let waiting = queue.waiters.remove(at);
            self.answer(key, waiting, now, out);
        }
    }

    /// Answers everybody who waits and can be answered now.
    pub(super) fn answer_waiters(&mut self, key: &QueueKey, now: Millis, out: &mut Outbox) {
        let mut at = 0;
        while let Some(queue) = self.queues.get_mut(key)
            && let Some(waiting) = queue.waiters.get(at)
        {
            if waiting.reply.is_closed() {
                queue.waiters.remove(at);
            } else if queue.is_satisfied(waiting) {
                let waiting = queue.waiters.remove(at);
                self.answer(key, waiting, now, out);
            } else {
                at += 1;
            }
        }
    }

    fn answer(&mut self, key: &QueueKey, waiting: Waiter, now: Millis, out: &mut Outbox) {
        // A caller that has gone must not take entries with it.
        if waiting.reply.is_closed() {
            return;
        }
        let Some(queue) = self.queues.get(key) else {
            return;
        };
        let mut indexes = queue.entries.select(&waiting.filter, waiting.length);
        queue.entries.fit_answer(&mut indexes);
        let frames = indexes.iter().filter_map(|index| queue.frame(*index));
        out.frames.push(FramesReply {
            frames: frames.collect(),
            reply: waiting.reply,
        });
        if waiting.auto_delete {
            self.delete(key, &indexes, now, out);
        }
    }
}

impl Queue {
    /// Forgets callers that have gone.
    pub(super) fn drop_gone_waiters(&mut self) {
        self.waiters.retain(|waiting| !waiting.reply.is_closed());
    }

    /// Whether a waiting `get` has all it asked for.
    fn is_satisfied(&self, waiting: &Waiter) -> bool {
        let mut indexes = self.entries.select(&waiting.filter, waiting.length);
        let wanted = match waiting.filter.from {
            Some(_) => waiting.length,
            None => waiting.length.min(1),
        };
        indexes.len() >= wanted || (!indexes.is_empty() && self.entries.fit_answer(&mut indexes))
    }
}

/// A filter for one request id, as callers that wait for a result use it.
impl From<&str> for Filter {
    fn from(request_id: &str) -> Self {
        Self {
            from: Some(0),
            tags: [(REQUEST_ID_TAG, request_id)].into_iter().collect(),
        }
    }
}
