//! Jobs: entries of an input queue as an engine works on them, and how they end.

use std::sync::Arc;

use crate::{
    domain::{REQUEST_ID_TAG, Tags},
    queue::{
        QueueError,
        command::{
            CancelledJob, CancelledPush, Closing, Finish, Job, JobKey, JobState, JobsPage, Payload,
            Push,
        },
    },
};

use super::{
    Change, Entry, HistoryRow, HistoryState, Millis, Model, Outbox, PayloadRef, Queue, QueueKey,
    RequestId, Stored,
    group::{CANCELLED, LOST, Pending},
    outbox::Orphan,
};

impl Model {
    /// Ends a job: its result enters the sink, or its ticket, and its request leaves the input queue,
    /// together.
    pub(crate) fn finish(
        &mut self,
        service: &Arc<str>,
        mut finish: Finish,
        now: Millis,
        out: &mut Outbox,
    ) -> Result<(), QueueError> {
        let source = QueueKey::source(Arc::clone(service));
        let started = self.check_in_hand(&source, service, &finish.push)?;
        if self.has_ticket(service, finish.push.index) {
            self.end_ticket(service, &mut finish, now, out);
        } else if let Some(payload) = finish.result {
            let tags = if finish.status == 200 {
                finish.push.tags.clone()
            } else {
                finish
                    .push
                    .tags
                    .with("lastCode", &finish.status.to_string())
            };
            self.put_result(service, &tags, payload, now, out)?;
        }
        let state = match (&finish.code, finish.cancelled) {
            (_, true) => HistoryState::Cancelled,
            (None, _) => HistoryState::Done,
            (Some(_), _) => HistoryState::Failed,
        };
        let index = finish.push.index;
        if let Some(entry) = self
            .queues
            .get(&source)
            .and_then(|q| q.entries.get(index))
            .cloned()
        {
            let keeps_payload = state != HistoryState::Done;
            if keeps_payload {
                *self.shared_payloads.entry(entry.payload.id).or_insert(1) += 1;
            }
            out.changes.push(Change::History(Box::new(HistoryRow {
                service: Arc::clone(service),
                index,
                entry,
                state,
                code: finish.code.unwrap_or_else(|| String::from("OK")),
                message: finish.message,
                deliveries: finish.push.attempt,
                started,
                finished: now,
                keeps_payload,
            })));
        }
        self.free_slot(&source, index, now, out);
        self.commit(&source, service, &[index], now, out);
        Ok(())
    }

    /// A result is always taken, even into a full sink: the engine stopped taking work when the
    /// sink became full, so the excess is at most one result for each slot.
    fn put_result(
        &mut self,
        service: &Arc<str>,
        tags: &Tags,
        payload: Payload,
        now: Millis,
        out: &mut Outbox,
    ) -> Result<(), QueueError> {
        let sink = QueueKey::sink(Arc::clone(service));
        let size = payload.size();
        let queue = self.queues.get(&sink).ok_or(QueueError::NotFound)?;
        let limit = queue.settings.max_payload_bytes;
        if size > limit {
            return Err(QueueError::TooLarge {
                queue: sink.to_string(),
                size,
                limit,
            });
        }
        if queue.settings.auto_evict {
            self.evict(&sink, size, now, out);
        }
        self.next_payload += 1;
        let entry = Entry {
            request: RequestId::new(tags.get(REQUEST_ID_TAG).unwrap_or_default()),
            tags: self.share_tags(tags.without(REQUEST_ID_TAG)),
            payload: PayloadRef {
                id: self.next_payload,
                size,
            },
            created: now,
            priority: 0,
            rare: None,
        };
        let stored = Stored {
            id: self.next_payload,
            payload,
        };
        self.insert(&sink, entry, Some(stored), out).map(drop)
    }

    /// The late answer of a delivery that is no longer the valid one must not count. Says when the
    /// entry was handed out.
    fn check_in_hand(
        &self,
        key: &QueueKey,
        group: &str,
        push: &Push,
    ) -> Result<Option<Millis>, QueueError> {
        let queue = self.queues.get(key).ok_or(QueueError::NotFound)?;
        let group = queue.groups.get(group).ok_or(QueueError::NotFound)?;
        match group.pending.get(&push.index) {
            Some(pending) if pending.attempt == push.attempt => {
                Ok(Some(pending.since).filter(|since| *since > 0))
            }
            _ => Err(QueueError::Conflict(format!(
                "entry {} was taken from this worker; its result is not wanted any more",
                push.index
            ))),
        }
    }

    /// Takes the entry out of its slot's hand.
    fn free_slot(&mut self, key: &QueueKey, index: u64, now: Millis, out: &mut Outbox) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        queue.dirty = true;
        let group = &key.service;
        let Some(pending) = queue
            .groups
            .get_mut(group)
            .and_then(|opened| opened.take_back(index, now))
        else {
            return;
        };
        let entry = queue.entries.get(index);
        if entry.is_none_or(|entry| entry.is_done_by(group)) {
            out.orphans.push(Orphan {
                queue: key.clone(),
                index,
                pending,
            });
        }
    }

    /// A slot gives an entry back that it did not begin, or may not finish because the program
    /// stops in good order: the delivery is not counted.
    pub(crate) fn release(
        &mut self,
        service: &Arc<str>,
        push: &Push,
        now: Millis,
        out: &mut Outbox,
    ) -> Result<(), QueueError> {
        let key = QueueKey::source(Arc::clone(service));
        self.check_in_hand(&key, service, push)?;
        let queue = self.queues.get_mut(&key).ok_or(QueueError::NotFound)?;
        let group = queue.groups.get_mut(service).ok_or(QueueError::NotFound)?;
        group.take_back(push.index, now);
        queue.uncount(service, push.index, push.attempt, now, out);
        self.end_ticket_without_entry(service, push.index, now, out);
        Ok(())
    }

    /// A slot died with an entry in hand; it gets no other one, and its line is given back. True when the entry waits again; false when it has no
    /// delivery left and the caller owes it an `INTERRUPTED` result.
    pub(crate) fn abandon(
        &mut self,
        service: &Arc<str>,
        push: &Push,
        now: Millis,
        out: &mut Outbox,
    ) -> Result<bool, QueueError> {
        let key = QueueKey::source(Arc::clone(service));
        self.check_in_hand(&key, service, push)?;
        let holder = self.slot_of(&key, push.index);
        self.return_entry(&key, service, push.index, now, out);
        self.end_ticket_without_entry(service, push.index, now, out);
        // Whatever happened to the slot, it is not to begin another entry.
        if let Some(slot) = holder {
            self.set_closed(&key, service, &slot, Closing::GiveLineBack)?;
        }
        let queue = self.queues.get(&key).ok_or(QueueError::NotFound)?;
        let group = queue.groups.get(service).ok_or(QueueError::NotFound)?;
        Ok(!group.pending.contains_key(&push.index))
    }

    /// The slot, if it is still there, that has an entry in hand.
    fn slot_of(&self, key: &QueueKey, index: u64) -> Option<Arc<str>> {
        let group = self.queues.get(key)?.groups.get(&key.service)?;
        let holder = &group.pending.get(&index)?.holder;
        group
            .consumers
            .contains_key(holder)
            .then(|| Arc::clone(holder))
    }

    /// Entries that died with their slot and wait for an `INTERRUPTED` result.
    pub(crate) fn lost(&self, service: &str) -> Vec<Push> {
        let Some(queue) = self.queues.get(&QueueKey::source(service)) else {
            return Vec::new();
        };
        let Some(group) = queue.groups.get(service) else {
            return Vec::new();
        };
        group
            .pending
            .iter()
            .filter(|(_, pending)| &*pending.holder == LOST)
            .filter_map(|(index, pending)| queue.push(*index, pending.attempt))
            .collect()
    }

    /// Cancels a job. One that waits is put into the caller's hand, who finishes it as cancelled.
    pub(crate) fn cancel(&mut self, job: &JobKey) -> Result<CancelledJob, QueueError> {
        let key = QueueKey::source(Arc::clone(&job.service));
        let queue = self.queues.get_mut(&key).ok_or(QueueError::NotFound)?;
        let group = queue
            .groups
            .get_mut(&job.service)
            .ok_or(QueueError::NotFound)?;
        if group.pending.contains_key(&job.index) {
            return Ok(CancelledJob::Running);
        }
        let entry = queue.entries.get(job.index).ok_or(QueueError::NotFound)?;
        if entry.is_done_by(&job.service) {
            return Err(QueueError::Conflict(format!("job {} has ended", job.index)));
        }
        group.withdraw(entry.place(job.index));
        let attempt = queue.delivery_count(job.index, &job.service);
        // Not written: when the program dies before the result is, the job simply waits again.
        let holder = Pending {
            holder: CANCELLED.into(),
            attempt,
            since: 0,
        };
        if let Some(group) = queue.groups.get_mut(&job.service) {
            group.pending.insert(job.index, holder);
        }
        let push = queue.push(job.index, attempt).ok_or(QueueError::NotFound)?;
        Ok(CancelledJob::Taken(Box::new(CancelledPush(push))))
    }

    /// Puts the request of an ended job into the input queue again, with its request id and tags.
    pub(crate) fn retry(
        &mut self,
        row: &HistoryRow,
        now: Millis,
        out: &mut Outbox,
    ) -> Result<u64, QueueError> {
        let key = QueueKey::source(Arc::clone(&row.service));
        let queue = self.queues.get(&key).ok_or(QueueError::NotFound)?;
        if let Some(refusal) = queue.refusal(row.entry.payload.size) {
            return Err(refusal);
        }
        let entry = Entry {
            created: now,
            ..row.entry.clone()
        };
        let index = self.insert(&key, entry, None, out)?;
        let (service, old) = (Arc::clone(&row.service), row.index);
        out.changes.push(Change::ForgetHistory {
            service,
            index: old,
        });
        Ok(index)
    }

    /// Live jobs of a page, newest first: entries that engines wait for or work on.
    pub(crate) fn jobs(&self, page: &JobsPage) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        for (name, service) in &self.services {
            let wanted = page.service.as_ref().is_none_or(|service| service == name);
            if service.spec.role.is_none() || !wanted {
                continue;
            }
            if let Some(queue) = self.queues.get(&QueueKey::source(Arc::clone(name))) {
                jobs.extend(live_jobs(queue, name, page).take(page.limit));
            }
        }
        jobs.sort_by(|a, b| (b.created_ms, &b.key).cmp(&(a.created_ms, &a.key)));
        jobs.truncate(page.limit);
        jobs
    }
}

fn live_jobs<'a>(
    queue: &'a Queue,
    service: &'a Arc<str>,
    page: &'a JobsPage,
) -> impl Iterator<Item = Job> + 'a {
    let group = queue.groups.get(service);
    let all: Box<dyn Iterator<Item = (u64, &Entry)>> = match (page.state, group) {
        (None | Some(JobState::Waiting), _) => Box::new(queue.entries.iter().rev()),
        (Some(JobState::Running), Some(group)) => {
            let indexes = group.pending.keys().rev();
            Box::new(indexes.filter_map(|index| Some((*index, queue.entries.get(*index)?))))
        }
        _ => Box::new(std::iter::empty()),
    };
    all.filter(|(_, entry)| !entry.is_done_by(service))
        .map(move |(index, entry)| {
            let pending = group.and_then(|group| group.pending.get(&index));
            let state = if pending.is_some() {
                JobState::Running
            } else {
                JobState::Waiting
            };
            Job {
                key: JobKey {
                    service: Arc::clone(service),
                    index,
                },
                request_id: entry.request.text(),
                state,
                deliveries: queue.delivery_count(index, service),
                created_ms: entry.created,
                started_ms: pending.map(|pending| pending.since),
                finished_ms: None,
                code: None,
                message: None,
                retryable: false,
            }
        })
        .filter(|job| page.index.is_none_or(|index| index == job.key.index))
        .filter(|job| page.state.is_none_or(|state| state == job.state))
        .filter(|job| {
            page.before
                .as_ref()
                .is_none_or(|(created, service, index)| {
                    (job.created_ms, &job.key.service, job.key.index) < (*created, service, *index)
                })
        })
}
