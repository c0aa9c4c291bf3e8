//! Taking over what the file says, at the start and after a failed commit.
//!
//! After a failed commit the file may hold the batch or not, so it is read again. What it does not
//! tell, comes from the state before: who is connected, and which engine works on an entry that
//! was deleted meanwhile. Of the batch itself nobody has heard but its refusal.

use std::{collections::HashSet, sync::Arc};

use crate::{domain::ServiceKind, queue::command::Push};

use super::{
    Change, DeliveryRow, Entry, Millis, Model, Outbox, Queue, QueueKey,
    group::{EngineOrder, Group, Pending},
    outbox::{Orphan, Pushed},
};

/// What nobody heard of a failed batch.
pub(crate) struct Unheard {
    /// Later links than this one were handed nothing.
    last_link: u64,
    /// Deliveries that were not sent: queue, group, index, attempt.
    deliveries: HashSet<(i64, Arc<str>, u64, u32)>,
}

impl Unheard {
    /// `last_link` is the last one from before the batch.
    pub(crate) fn new(last_link: u64, pushes: Vec<Pushed>) -> Self {
        let unsent = pushes.into_iter().map(|pushed| {
            let Push { index, attempt, .. } = pushed.push;
            (pushed.queue, pushed.group, index, attempt)
        });
        Self {
            last_link,
            deliveries: unsent.collect(),
        }
    }
}

impl Model {
    /// Takes over an entry as it was found in the file.
    pub(crate) fn restore_entry(&mut self, key: &QueueKey, index: u64, entry: Entry) {
        self.next_payload = self.next_payload.max(entry.payload.id);
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        queue.insert(index, entry);
    }

    /// Payload ids in use start above this one; so many entries and history rows refer to it.
    pub(crate) fn restore_payload_reference(&mut self, id: i64, references: u32) {
        self.next_payload = self.next_payload.max(id);
        if references > 1 {
            self.shared_payloads.insert(id, references);
        }
    }

    /// Undoes those parts of a failed batch of which the file cannot tell: links after `last_link`
    /// were refused, and jobs whose entry had left are not finished.
    pub(crate) fn undo(&mut self, last_link: u64, orphans: Vec<Orphan>) {
        for queue in self.queues.values_mut() {
            for group in queue.groups.values_mut() {
                group
                    .consumers
                    .retain(|_, consumer| consumer.link <= last_link);
            }
        }
        for orphan in orphans {
            let queue = self.queues.get_mut(&orphan.queue);
            if let Some(group) = queue.and_then(|q| q.groups.get_mut(&orphan.queue.service)) {
                group.pending.insert(orphan.index, orphan.pending);
            }
        }
    }

    /// Takes over the deliveries found in the file and opens the groups that they tell of.
    ///
    /// Consumers from `before` a failed commit are still connected and keep what the file says
    /// they hold and what they have heard of. At the start nobody holds anything.
    pub(crate) fn settle(
        &mut self,
        rows: Vec<(QueueKey, DeliveryRow)>,
        before: Option<(Self, &Unheard)>,
        now: Millis,
        out: &mut Outbox,
    ) {
        for (key, row) in &rows {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.restore_delivery(row);
            }
        }
        self.open_engine_groups();
        let nothing = Unheard::new(0, Vec::new());
        let unheard = before.as_ref().map_or(&nothing, |(_, unheard)| *unheard);
        let last_link = unheard.last_link;
        if let Some((before, _)) = before {
            self.take_over(before, last_link, now);
        }
        // All groups before all holders: an entry that dies may still be needed by another group.
        for (key, row) in &rows {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.remember_group(&row.group, now);
            }
        }
        for (key, row) in rows {
            let Some(queue) = self.queues.get_mut(&key) else {
                continue;
            };
            let Some(holder) = &row.holder else { continue };
            let delivery = (queue.id, Arc::clone(&row.group), row.index, row.count);
            if unheard.deliveries.contains(&delivery) {
                queue.uncount(&row.group, row.index, row.count, now, out);
            } else if !queue.keep_in_hand(holder, &row, last_link) {
                self.return_entry(&key, &row.group, row.index, now, out);
            }
        }
        self.end_tickets_without_entry(now, out);
        for queue in self.queues.values_mut() {
            queue.dirty = true;
        }
    }

    fn open_engine_groups(&mut self) {
        for (name, service) in &self.services {
            let order = match service.spec.kind {
                ServiceKind::Async => EngineOrder::FillFirst,
                ServiceKind::ScalableJob => EngineOrder::IdleFirst,
                ServiceKind::Queue => continue,
            };
            let key = QueueKey::source(Arc::clone(name));
            if let Some(queue) = self.queues.get_mut(&key) {
                queue.open_engine_group(Group::new(Arc::clone(name), Some(order)));
            }
        }
    }

    fn take_over(&mut self, before: Self, last_link: u64, now: Millis) {
        // Somebody may still hold the id of a payload that has left; it must not mean another one.
        self.next_payload = self.next_payload.max(before.next_payload);
        for (key, old) in before.queues {
            let Some(queue) = self.queues.get_mut(&key) else {
                continue;
            };
            queue.waiters = old.waiters;
            for group in old.groups.into_values() {
                queue.take_over_group(group, last_link, now);
            }
        }
        for (name, service) in before.services {
            if let Some(known) = self.services.get_mut(&name) {
                known.puts = service.puts;
            }
        }
    }
}

impl Queue {
    fn take_over_group(&mut self, old: Group, last_link: u64, now: Millis) {
        let last_index = self.last_index;
        // The queue had no more groups before than it may have.
        let _ = self.open_group(&old.name);
        let Some(opened) = self.groups.get_mut(&old.name) else {
            return;
        };
        opened.empty_since = old.empty_since;
        opened.delivered = old.delivered;
        for (user, consumer) in old.consumers {
            opened.add(user, consumer.settings, consumer.link, consumer.closed, now);
        }
        if opened.consumers.is_empty() {
            opened.empty_since.get_or_insert(now);
        }
        if opened.engine.is_none() {
            return;
        }
        // What a client deleted while a slot works on it: the file has forgotten it, the slot has
        // not. An index that the file never knew was given out by the failed batch only.
        for (index, pending) in old.pending {
            let entry = self.entries.get(index);
            let gone = entry.is_none_or(|entry| entry.is_done_by(&old.name));
            if index <= last_index && gone {
                opened.put_in_hand(index, pending, last_link);
            }
        }
    }

    /// A group that the file tells of is known again, for as long as one that was just left.
    fn remember_group(&mut self, name: &Arc<str>, now: Millis) {
        if self.groups.contains_key(name) {
            return;
        }
        // Beyond the bound on groups the entry is looked at again when another group is forgotten.
        if let Ok(group) = self.open_group(name) {
            group.empty_since = Some(now);
        }
    }

    /// False when the holder is gone; then the entry is in nobody's hand but still pending.
    fn keep_in_hand(&mut self, holder: &Arc<str>, row: &DeliveryRow, last_link: u64) -> bool {
        let Some(place) = self.entries.get(row.index).map(|e| e.place(row.index)) else {
            return true;
        };
        let Some(group) = self.groups.get_mut(&row.group) else {
            return true;
        };
        let pending = Pending {
            holder: Arc::clone(holder),
            attempt: row.count,
            since: row.since,
        };
        group.withdraw(place);
        if group.put_in_hand(row.index, pending.clone(), last_link) {
            return true;
        }
        group.pending.insert(row.index, pending);
        false
    }

    /// A delivery that nobody saw is no delivery: the entry waits as it did before.
    pub(super) fn uncount(
        &mut self,
        group: &Arc<str>,
        index: u64,
        attempt: u32,
        now: Millis,
        out: &mut Outbox,
    ) {
        let Some(entry) = self.entries.get(index) else {
            return;
        };
        if let Some(opened) = self.groups.get_mut(group)
            && !entry.is_done_by(group)
        {
            opened.waiting.insert(entry.place(index));
            let count = attempt.saturating_sub(1);
            self.set_delivery_count(index, group, count);
            out.changes.push(Change::Deliver {
                queue: self.id,
                index,
                group: Arc::clone(group),
                count,
                holder: None,
                since: now,
                done: false,
            });
        }
        self.dirty = true;
    }
}

impl Group {
    /// Gives an entry to the consumer that has it already; false when that one is not there.
    fn put_in_hand(&mut self, index: u64, pending: Pending, last_link: u64) -> bool {
        let holder = self.consumers.get_mut(&pending.holder);
        let Some(consumer) = holder.filter(|consumer| consumer.link <= last_link) else {
            return false;
        };
        consumer.pending.insert(index);
        self.pending.insert(index, pending);
        true
    }
}
