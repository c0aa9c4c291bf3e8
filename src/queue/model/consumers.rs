//! Consumers come, commit, hand back and leave; entries that come back too often die.

use std::sync::Arc;

use crate::{
    domain::DeadMessagePolicy,
    queue::{
        QueueError,
        command::{Closing, Detached},
    },
};

use super::{
    ConsumerSettings, Entry, Millis, Model, Outbox, QueueKey, Rare,
    group::{LOST, Pending},
    queue::Returned,
};

impl Model {
    /// Marks entries done for a group; indexes that are not there are no error.
    pub(crate) fn commit(
        &mut self,
        key: &QueueKey,
        group: &Arc<str>,
        indexes: &[u64],
        now: Millis,
        out: &mut Outbox,
    ) {
        for index in indexes {
            let Some(queue) = self.queues.get_mut(key) else {
                return;
            };
            if queue.commit(group, *index, now, out) {
                self.remove(key, *index, now, out);
            }
        }
    }

    /// Takes entries back that a consumer does not want; one that is `leaving` gets no more.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the members of one command"
    )]
    pub(crate) fn hand_back(
        &mut self,
        key: &QueueKey,
        group: &Arc<str>,
        user: &str,
        indexes: &[u64],
        leaving: bool,
        now: Millis,
        out: &mut Outbox,
    ) {
        // What an engine works on is nobody else's to give back.
        if self.queues.get(key).is_none_or(|q| q.is_engine(group)) {
            return;
        }
        if leaving {
            // A user that does not watch has nothing to close.
            let _ = self.set_closed(key, group, user, Closing::FinishLine);
        }
        for index in indexes {
            self.return_entry(key, group, *index, now, out);
        }
    }

    /// Takes an entry back; one that was handed out too often dies.
    pub(super) fn return_entry(
        &mut self,
        key: &QueueKey,
        group: &Arc<str>,
        index: u64,
        now: Millis,
        out: &mut Outbox,
    ) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let Returned::Exhausted(pending) = queue.take_back(group, index, now, out) else {
            return;
        };
        if let Some(opened) = queue.groups.get_mut(group)
            && opened.engine.is_some()
        {
            // The workers owe it a result, so it stays in hand until that is written.
            let lost = Pending {
                holder: LOST.into(),
                ..pending
            };
            opened.pending.insert(index, lost);
            return;
        }
        self.bury(key, group, index, pending.attempt, now, out);
    }

    /// An entry died in an outside group: it goes to the rear queue or is dropped.
    fn bury(
        &mut self,
        key: &QueueKey,
        group: &Arc<str>,
        index: u64,
        deliveries: u32,
        now: Millis,
        out: &mut Outbox,
    ) {
        let policy = self
            .services
            .get(&key.service)
            .map_or(DeadMessagePolicy::Rear, |service| {
                service.spec.queue.dead_message_policy
            });
        let dead = self
            .queues
            .get(key)
            .and_then(|queue| queue.entries.get(index))
            .cloned();
        if let Some(entry) = dead
            && policy == DeadMessagePolicy::Rear
            && !key.rear
        {
            let message = format!(
                "handed out {deliveries} times in group {group} without a commit; was entry {index}"
            );
            let rear = QueueKey {
                rear: true,
                ..key.clone()
            };
            let rare = Some(Box::new(Rare::with_message(message)));
            let dead = Entry {
                rare,
                created: now,
                ..entry
            };
            self.evict(&rear, dead.payload.size, now, out);
            *self.shared_payloads.entry(dead.payload.id).or_insert(1) += 1;
            // The rear queue of a known queue exists, so this cannot fail.
            let _ = self.insert(&rear, dead, None, out);
        }
        self.commit(key, group, &[index], now, out);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are the members of one command"
    )]
    pub(crate) fn attach(
        &mut self,
        key: &QueueKey,
        group: &Arc<str>,
        user: &Arc<str>,
        newest_only: bool,
        mut settings: ConsumerSettings,
        link: u64,
        now: Millis,
    ) -> Result<(), QueueError> {
        let queue = self.queues.get_mut(key).ok_or(QueueError::NotFound)?;
        if newest_only {
            settings.start = queue.last_index + 1;
        }
        queue.attach(group, user, settings, link, now)
    }

    /// A consumer has left: what it had in hand goes back.
    pub(crate) fn detach(
        &mut self,
        key: &QueueKey,
        group: &Arc<str>,
        user: &Arc<str>,
        link: u64,
        now: Millis,
        out: &mut Outbox,
    ) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let Some(opened) = queue.groups.get_mut(group) else {
            return;
        };
        // A later link of the same user is none of this one's business.
        if opened
            .consumers
            .get(user)
            .is_none_or(|consumer| consumer.link != link)
        {
            return;
        }
        opened.give_line_back(user);
        let Some(consumer) = opened.consumers.remove(user) else {
            return;
        };
        opened.remember(user, &consumer, now);
        if opened.consumers.is_empty() {
            opened.empty_since = Some(now);
        }
        queue.dirty = true;
        for index in consumer.pending {
            self.return_entry(key, group, index, now, out);
        }
    }

    /// Lets a slot go if it has nothing in hand.
    pub(crate) fn detach_idle(
        &mut self,
        service: &Arc<str>,
        user: &Arc<str>,
        now: Millis,
        out: &mut Outbox,
    ) -> Detached {
        let key = QueueKey::source(Arc::clone(service));
        let group = self
            .queues
            .get(&key)
            .and_then(|queue| queue.groups.get(service));
        let Some(consumer) = group.and_then(|group| group.consumers.get(user)) else {
            return Detached::Gone;
        };
        if !consumer.pending.is_empty() || !consumer.line.is_empty() {
            return Detached::Busy;
        }
        let link = consumer.link;
        self.detach(&key, service, user, link, now, out);
        Detached::Gone
    }

    /// Says whether a consumer takes new entries.
    pub(crate) fn set_closed(
        &mut self,
        key: &QueueKey,
        group: &str,
        user: &str,
        closing: Closing,
    ) -> Result<(), QueueError> {
        let queue = self.queues.get_mut(key).ok_or(QueueError::NotFound)?;
        let group = queue.groups.get_mut(group).ok_or(QueueError::NotFound)?;
        let consumer = group.consumers.get_mut(user).ok_or(QueueError::NotFound)?;
        consumer.closed = closing != Closing::Open;
        if closing == Closing::GiveLineBack {
            group.give_line_back(user);
        }
        queue.dirty = true;
        Ok(())
    }
}
