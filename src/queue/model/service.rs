//! All queues together: entries come in, leave, and are handed on.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use crate::{
    domain::{REQUEST_ID_TAG, ServiceSpec, Tags},
    queue::{QueueError, command::NewEntry},
};

use super::{
    Change, Counts, Entry, Millis, Outbox, PayloadRef, Queue, QueueKey, RequestId, Side, Stored,
    group::Group, tickets::Tickets,
};

/// Distinct tag sets that are kept for sharing.
const SHARED_TAGS_MAX: usize = 1024;

pub(super) struct Service {
    pub(super) spec: ServiceSpec,
    /// Puts into the input queue since the start of the program.
    pub(super) puts: u64,
}

/// The state of all queues.
#[derive(Default)]
pub(crate) struct Model {
    pub(super) queues: BTreeMap<QueueKey, Queue>,
    pub(super) services: BTreeMap<Arc<str>, Service>,
    pub(super) next_payload: i64,
    /// Payloads that more than one entry or history row refers to, with the number of references.
    pub(super) shared_payloads: HashMap<i64, u32>,
    pub(super) tickets: Tickets,
    shared_tags: HashSet<Arc<Tags>>,
}

impl Model {
    /// Adds a service with its queues. `ids` are the row ids: input, sink, rear of each.
    pub(crate) fn add_service(&mut self, spec: &ServiceSpec, ids: [(i64, u64); 4]) {
        let name: Arc<str> = spec.name.as_str().into();
        let keys = [
            (Side::Source, false),
            (Side::Sink, false),
            (Side::Source, true),
            (Side::Sink, true),
        ];
        for ((side, rear), (id, last_index)) in keys.into_iter().zip(ids) {
            let key = QueueKey {
                service: Arc::clone(&name),
                side,
                rear,
            };
            let mut settings = match side {
                Side::Source => spec.queue.source.clone(),
                Side::Sink => spec.queue.sink.clone(),
            };
            // A rear queue keeps what died and is bounded by dropping its oldest.
            settings.auto_evict = rear || (side == Side::Sink && settings.auto_evict);
            // There is no queue behind a rear queue, so nothing dies in it.
            let max_delivery = if rear { 0 } else { spec.queue.max_delivery };
            let mut queue = Queue::new(id, key.clone(), settings, max_delivery);
            queue.last_index = last_index;
            self.queues.insert(key, queue);
        }
        self.services.insert(
            name,
            Service {
                spec: spec.clone(),
                puts: 0,
            },
        );
    }

    pub(crate) fn share_tags(&mut self, tags: Tags) -> Arc<Tags> {
        if let Some(known) = self.shared_tags.get(&tags) {
            return Arc::clone(known);
        }
        if self.shared_tags.len() >= SHARED_TAGS_MAX {
            self.shared_tags.clear();
        }
        let tags = Arc::new(tags);
        self.shared_tags.insert(Arc::clone(&tags));
        tags
    }

    /// Stores a new entry and says its index.
    pub(crate) fn put(
        &mut self,
        key: &QueueKey,
        new: NewEntry,
        now: Millis,
        out: &mut Outbox,
    ) -> Result<u64, QueueError> {
        let size = new.payload.size();
        let queue = self.queues.get(key).ok_or(QueueError::NotFound)?;
        if let Some(refusal) = queue.refusal(size) {
            let evicts = queue.settings.auto_evict && matches!(refusal, QueueError::Full { .. });
            if !evicts || !queue.can_hold(size) {
                return Err(refusal);
            }
            self.evict(key, size, now, out);
        }
        self.next_payload += 1;
        let payload = PayloadRef {
            id: self.next_payload,
            size,
        };
        let entry = Entry {
            request: RequestId::new(&new.request_id),
            tags: self.share_tags(new.tags.without(REQUEST_ID_TAG)),
            payload,
            created: now,
            priority: new.priority,
            rare: None,
        };
        if let Some(service) = self.services.get_mut(&key.service)
            && key.side == Side::Source
            && !key.rear
        {
            service.puts += 1;
        }
        let stored = Stored {
            id: payload.id,
            payload: new.payload,
        };
        self.insert(key, entry, Some(stored), out)
    }

    pub(super) fn insert(
        &mut self,
        key: &QueueKey,
        entry: Entry,
        payload: Option<Stored>,
        out: &mut Outbox,
    ) -> Result<u64, QueueError> {
        let queue = self.queues.get_mut(key).ok_or(QueueError::NotFound)?;
        let index = queue.last_index + 1;
        out.changes.push(Change::Insert {
            queue: queue.id,
            index,
            entry: entry.clone(),
            payload,
        });
        queue.insert(index, entry);
        Ok(index)
    }

    /// Removes the oldest entries until one of this size fits.
    pub(super) fn evict(&mut self, key: &QueueKey, size: u64, now: Millis, out: &mut Outbox) {
        while let Some(queue) = self.queues.get(key)
            && queue.fullness(size).is_some()
            && let Some(oldest) = queue.entries.first()
        {
            self.remove(key, oldest, now, out);
        }
    }

    /// Deletes entries for all groups; indexes that are not there are no error.
    pub(crate) fn delete(
        &mut self,
        key: &QueueKey,
        indexes: &[u64],
        now: Millis,
        out: &mut Outbox,
    ) {
        for index in indexes {
            self.remove(key, *index, now, out);
        }
    }

    /// Deletes every entry with an index below `below`.
    pub(crate) fn truncate(&mut self, key: &QueueKey, below: u64, now: Millis, out: &mut Outbox) {
        let Some(queue) = self.queues.get(key) else {
            return;
        };
        let indexes = queue.entries.below(below);
        self.delete(key, &indexes, now, out);
    }

    pub(crate) fn queue(&self, key: &QueueKey) -> Option<&Queue> {
        self.queues.get(key)
    }

    /// How long the groups of this queue are remembered.
    pub(crate) fn grace(&self, key: &QueueKey) -> Millis {
        let service = self.services.get(&key.service);
        service.map_or(0, |service| {
            service.spec.queue.group_grace.as_millis() as Millis
        })
    }

    /// Numbers of every service.
    pub(crate) fn counts(&self) -> Vec<(Arc<str>, Counts)> {
        let number = |name: &Arc<str>, service: &Service| {
            let queue = |side, rear| {
                self.queues.get(&QueueKey {
                    service: Arc::clone(name),
                    side,
                    rear,
                })
            };
            let length = |side, rear| queue(side, rear).map_or(0, |q| q.entries.len() as u64);
            let source = queue(Side::Source, false);
            let group = source.and_then(|q| q.groups.get(name));
            let in_line = group.map_or(0, Group::in_line);
            let counts = Counts {
                waiting: group.map_or(length(Side::Source, false), |g| g.waiting.len() as u64),
                in_hand: group.map_or(0, |g| (g.pending.len() + in_line) as u64),
                results: length(Side::Sink, false),
                bytes: [Side::Source, Side::Sink]
                    .map(|side| queue(side, false).map_or(0, |q| q.entries.bytes()))
                    .iter()
                    .sum(),
                dead: length(Side::Source, true) + length(Side::Sink, true),
                puts: service.puts,
            };
            (Arc::clone(name), counts)
        };
        self.services
            .iter()
            .map(|(name, service)| number(name, service))
            .collect()
    }

    /// Answers waiting callers and hands out entries wherever something has changed.
    pub(crate) fn go_on(&mut self, now: Millis, out: &mut Outbox) {
        let dirty: Vec<QueueKey> = self
            .queues
            .values()
            .filter(|queue| queue.dirty)
            .map(|queue| queue.key.clone())
            .collect();
        // All waiting callers come first: what they take out of a full sink lets its engine go on.
        for key in &dirty {
            self.answer_waiters(key, now, out);
        }
        for key in dirty {
            self.hand_out(&key, now, out);
            if key.side == Side::Sink && !key.rear {
                self.hand_out(&QueueKey::source(Arc::clone(&key.service)), now, out);
            }
            if let Some(queue) = self.queues.get_mut(&key) {
                queue.dirty = false;
            }
        }
    }

    fn hand_out(&mut self, key: &QueueKey, now: Millis, out: &mut Outbox) {
        let sink = self.queues.get(&QueueKey::sink(Arc::clone(&key.service)));
        let sink_full =
            sink.is_some_and(|sink| !sink.settings.auto_evict && sink.fullness(1).is_some());
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let groups: Vec<(Arc<str>, bool)> = queue
            .groups
            .values()
            .map(|g| (Arc::clone(&g.name), g.engine.is_some()))
            .collect();
        for (group, engine) in groups {
            // An engine stops taking input while its sink is full.
            if !(engine && sink_full) {
                queue.hand_out(&group, now, out);
            }
        }
    }

    pub(super) fn remove(&mut self, key: &QueueKey, index: u64, now: Millis, out: &mut Outbox) {
        let removed = self
            .queues
            .get_mut(key)
            .and_then(|queue| queue.remove(index, now, out));
        if let Some(entry) = removed {
            self.drop_payload(entry.payload.id, out);
            if key.side == Side::Source && !key.rear {
                self.end_ticket_without_entry(&key.service, index, now, out);
            }
        }
    }

    /// Gives up one reference to a payload.
    pub(crate) fn drop_payload(&mut self, id: i64, out: &mut Outbox) {
        if let Some(references) = self.shared_payloads.get_mut(&id) {
            *references -= 1;
            if *references == 1 {
                self.shared_payloads.remove(&id);
            }
            return;
        }
        out.dropped_payloads.push(id);
    }
}
