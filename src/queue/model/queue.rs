//! One queue: its entries, its consumer groups and what each of them had of each entry.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    domain::SideSettings,
    queue::{
        QueueError,
        command::{Frame, Push, Search},
    },
};

use super::{
    Attributes, Change, ConsumerSettings, Entry, Millis, Outbox, QueueKey,
    entries::{Entries, heads},
    entry::Place,
    group::{Choice, Group, Pending},
    outbox::Pushed,
    waiters::Waiter,
};

/// Known groups of one queue, and groups that one entry remembers to be done with it: bounds what
/// clients with ever new group ids can make of them.
const GROUPS_MAX: usize = 256;

/// A row of the table `delivery`.
#[derive(Debug, Clone)]
pub(crate) struct DeliveryRow {
    pub(crate) index: u64,
    pub(crate) group: Arc<str>,
    pub(crate) count: u32,
    pub(crate) holder: Option<Arc<str>>,
    pub(crate) since: Millis,
    pub(crate) done: bool,
}

/// What became of an entry that came back from a consumer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    /// It waits again.
    Waiting,
    /// It was handed out as often as it may be.
    Exhausted(Pending),
    /// Nobody of the group had it in hand.
    NotPending,
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.holder == other.holder && self.attempt == other.attempt
    }
}
impl Eq for Pending {}

/// One queue.
pub(crate) struct Queue {
    /// Row id in the table `queue`.
    pub(crate) id: i64,
    pub(crate) key: QueueKey,
    pub(crate) settings: SideSettings,
    /// 0 is without limit.
    pub(crate) max_delivery: u32,
    pub(crate) last_index: u64,
    pub(crate) entries: Entries,
    pub(crate) groups: BTreeMap<Arc<str>, Group>,
    pub(crate) waiters: Vec<Waiter>,
    /// Something happened that may let a waiter or a consumer go on.
    pub(crate) dirty: bool,
    /// How often each entry was handed out in each group; kept when a group is forgotten, so that
    /// a consumer that crashes slowly cannot have a poisonous entry for ever.
    delivery_counts: HashMap<u64, Vec<(Arc<str>, u32)>>,
    /// Entries that some group is done with and another still needs.
    partly_done: BTreeSet<u64>,
}

impl Queue {
    pub(crate) fn new(id: i64, key: QueueKey, settings: SideSettings, max_delivery: u32) -> Self {
        Self {
            id,
            key,
            settings,
            max_delivery,
            last_index: 0,
            entries: Entries::default(),
            groups: BTreeMap::new(),
            waiters: Vec::new(),
            dirty: false,
            delivery_counts: HashMap::new(),
            partly_done: BTreeSet::new(),
        }
    }

    /// Why an entry of this size cannot be taken, if so.
    pub(crate) fn refusal(&self, size: u64) -> Option<QueueError> {
        let limit = self.settings.max_payload_bytes;
        if size > limit {
            return Some(QueueError::TooLarge {
                queue: self.key.to_string(),
                size,
                limit,
            });
        }
        self.fullness(size).map(|detail| QueueError::Full {
            queue: self.key.to_string(),
            detail,
        })
    }

    /// Which limit one more entry of this size would break.
    pub(crate) fn fullness(&self, size: u64) -> Option<String> {
        let count = self.entries.len() as u64;
        if let Some(most) = self.settings.max_entries.filter(|most| count >= *most) {
            return Some(format!("it holds {count} of {most} entries"));
        }
        let (held, most) = (self.entries.bytes(), self.settings.max_bytes);
        (held.saturating_add(size) > most)
            .then(|| format!("it holds {held} of {most} bytes, the entry has {size}"))
    }

    /// Whether an entry of this size fits at least into the empty queue.
    pub(crate) fn can_hold(&self, size: u64) -> bool {
        size <= self.settings.max_bytes && self.settings.max_entries != Some(0)
    }

    /// Puts an entry in under this index, which must be new.
    pub(crate) fn insert(&mut self, index: u64, entry: Entry) {
        self.last_index = self.last_index.max(index);
        for group in self.groups.values_mut() {
            if !entry.is_done_by(&group.name) {
                group.waiting.insert(entry.place(index));
            }
        }
        self.entries.insert(index, entry);
        self.dirty = true;
    }

    /// Takes an entry out for all groups. An engine that works on it goes on working: what it was
    /// given is never interrupted, and its result is still wanted.
    pub(crate) fn remove(&mut self, index: u64, now: Millis, out: &mut Outbox) -> Option<Entry> {
        let entry = self.entries.remove(index)?;
        for group in self.groups.values_mut() {
            group.withdraw(entry.place(index));
            group.let_go(index, now);
        }
        let counted = self.delivery_counts.remove(&index).is_some();
        let done = self.partly_done.remove(&index);
        out.changes.push(Change::Delete {
            queue: self.id,
            index,
            delivered: counted || done,
        });
        self.dirty = true;
        Some(entry)
    }

    pub(crate) fn frame(&self, index: u64) -> Option<Frame> {
        let entry = self.entries.get(index)?;
        Some(Frame {
            index,
            tags: entry.all_tags(),
            message: entry.message().to_owned(),
            payload: entry.payload,
            data: None,
        })
    }

    /// Makes a group known, if it is not, with everything it is not done with waiting for it.
    pub(crate) fn open_group(&mut self, name: &Arc<str>) -> Result<&mut Group, QueueError> {
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(name) {
            return Err(QueueError::Conflict(format!(
                "queue {} has {GROUPS_MAX} consumer groups already; use one of them, or try again when one has left",
                self.key
            )));
        }
        let entries = &self.entries;
        Ok(self.groups.entry(Arc::clone(name)).or_insert_with(|| {
            let mut group = Group::new(Arc::clone(name), None);
            group.waiting = waiting_for(entries, name);
            group
        }))
    }

    /// Adds the service's own group. Entries that were in hand stay so.
    pub(crate) fn open_engine_group(&mut self, mut group: Group) {
        group.waiting = waiting_for(&self.entries, &group.name);
        self.groups.insert(Arc::clone(&group.name), group);
    }

    /// Whether this is the group of the service's own workers.
    pub(crate) fn is_engine(&self, group: &str) -> bool {
        self.groups
            .get(group)
            .is_some_and(|group| group.engine.is_some())
    }

    /// Adds a consumer to a group.
    pub(crate) fn attach(
        &mut self,
        group: &Arc<str>,
        user: &Arc<str>,
        settings: ConsumerSettings,
        link: u64,
        now: Millis,
    ) -> Result<(), QueueError> {
        let opened = self.open_group(group)?;
        if opened.consumers.contains_key(user) {
            return Err(QueueError::UserActive {
                group: group.to_string(),
                user: user.to_string(),
            });
        }
        opened.add(Arc::clone(user), settings, link, false, now);
        self.dirty = true;
        Ok(())
    }

    /// Hands waiting entries to consumers until nobody has room or nothing fits.
    pub(crate) fn hand_out(&mut self, group: &Arc<str>, now: Millis, out: &mut Outbox) {
        while let Some(choice) = self.next_choice(group) {
            if let Choice::Deliver(index, user) = choice {
                self.deliver(group, &user, index, now, out);
            }
        }
    }

    fn next_choice(&mut self, group: &str) -> Option<Choice> {
        let (entries, group) = (&self.entries, self.groups.get_mut(group)?);
        group.choose(|waiting, start, tags| entries.candidate(waiting, start, tags))
    }

    /// Counts a delivery and pushes the entry to a consumer.
    pub(crate) fn deliver(
        &mut self,
        group: &Arc<str>,
        user: &Arc<str>,
        index: u64,
        now: Millis,
        out: &mut Outbox,
    ) {
        let count = self.delivery_count(index, group) + 1;
        let Some(push) = self.push(index, count) else {
            return;
        };
        let Some(opened) = self.groups.get_mut(group) else {
            return;
        };
        let Some(consumer) = opened.consumers.get_mut(user) else {
            return;
        };
        consumer.pending.insert(index);
        consumer.active = now;
        out.pushes.push(Pushed {
            queue: self.id,
            group: Arc::clone(group),
            to: consumer.settings.pushes.clone(),
            push,
        });
        opened.delivered += 1;
        let pending = Pending {
            holder: Arc::clone(user),
            attempt: count,
            since: now,
        };
        opened.pending.insert(index, pending);
        self.set_delivery_count(index, group, count);
        out.changes.push(Change::Deliver {
            queue: self.id,
            index,
            group: Arc::clone(group),
            count,
            holder: Some(Arc::clone(user)),
            since: now,
            done: false,
        });
    }

    /// The entry as it is handed out for the `attempt`th time.
    pub(crate) fn push(&self, index: u64, attempt: u32) -> Option<Push> {
        let entry = self.entries.get(index)?;
        Some(Push {
            index,
            tags: entry.all_tags(),
            message: entry.message().to_owned(),
            payload: entry.payload,
            attempt,
            created_ms: entry.created,
        })
    }

    /// Marks an entry done for a group. True when the entry is not needed any more. An engine that
    /// works on it goes on working.
    pub(crate) fn commit(
        &mut self,
        group: &Arc<str>,
        index: u64,
        now: Millis,
        out: &mut Outbox,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(index) else {
            return false;
        };
        if let Some(opened) = self.groups.get_mut(group) {
            opened.withdraw(entry.place(index));
            opened.let_go(index, now);
        }
        if !entry.is_done_by(group) {
            let done_by = &mut entry.rare.get_or_insert_default().done_by;
            if done_by.len() < GROUPS_MAX {
                done_by.push(Arc::clone(group));
                self.partly_done.insert(index);
            }
        }
        self.dirty = true;
        if !self.is_needed(index) {
            return true;
        }
        if self.entries.get(index).is_some_and(|e| e.is_done_by(group)) {
            let count = self.delivery_count(index, group);
            self.set_delivery_count(index, group, count);
            out.changes.push(Change::Deliver {
                queue: self.id,
                index,
                group: Arc::clone(group),
                count,
                holder: None,
                since: now,
                done: true,
            });
        }
        false
    }

    /// Takes an entry back from its holder, because the link was lost or it was handed back.
    pub(crate) fn take_back(
        &mut self,
        group: &Arc<str>,
        index: u64,
        now: Millis,
        out: &mut Outbox,
    ) -> Returned {
        let Some(opened) = self.groups.get_mut(group) else {
            return Returned::NotPending;
        };
        let Some(pending) = opened.take_back(index, now) else {
            return Returned::NotPending;
        };
        self.dirty = true;
        let Some(entry) = self.entries.get(index).filter(|e| !e.is_done_by(group)) else {
            return Returned::NotPending;
        };
        if self.max_delivery > 0 && pending.attempt >= self.max_delivery {
            return Returned::Exhausted(pending);
        }
        opened.waiting.insert(entry.place(index));
        out.changes.push(Change::Deliver {
            queue: self.id,
            index,
            group: Arc::clone(group),
            count: pending.attempt,
            holder: None,
            since: now,
            done: false,
        });
        Returned::Waiting
    }

    /// Forgets a group. Entries that only it still needed are returned.
    pub(crate) fn forget_group(&mut self, group: &str) -> Vec<u64> {
        self.groups.remove(group);
        self.partly_done
            .iter()
            .copied()
            .filter(|index| !self.is_needed(*index))
            .collect()
    }

    /// Where an entry stands for a group.
    pub(crate) fn search(&self, index: u64, group: &str, user: &str) -> Option<Search> {
        let entry = self.entries.get(index)?;
        let known = self.groups.get(group);
        if let Some(pending) = known.and_then(|group| group.pending.get(&index)) {
            let consumer = format!("{group}.{}", pending.holder);
            return Some(Search {
                is_pending: true,
                wait_count: 0,
                consumer,
            });
        }
        let place = entry.place(index);
        let before = match known {
            _ if entry.is_done_by(group) => 0,
            Some(known) => known.before(place),
            None => self
                .entries
                .iter()
                .filter(|(index, other)| other.place(*index) < place && !other.is_done_by(group))
                .count(),
        };
        let consumer = format!("{group}.{user}");
        Some(Search {
            is_pending: false,
            wait_count: before as u64,
            consumer,
        })
    }

    pub(crate) fn attributes(&self, now: Millis, grace: Millis) -> Attributes {
        Attributes {
            key: self.key.clone(),
            max_payload_bytes: self.settings.max_payload_bytes,
            length: self.entries.len() as u64,
            max_length: self.settings.max_entries,
            first: self.entries.first().unwrap_or(0),
            last: self.entries.last().unwrap_or(0),
            consumers: self
                .groups
                .values()
                .flat_map(|g| g.describe_all(now, grace))
                .collect(),
            groups: self
                .groups
                .values()
                .map(|group| {
                    let waiting = heads(&group.waiting, 0).map(|place| place.index);
                    let next = waiting.min().unwrap_or(0);
                    let pending = group.pending.len() + group.in_line();
                    let name = Arc::clone(&group.name);
                    (name, next, pending, group.delivered, group.consumers.len())
                })
                .collect(),
        }
    }

    /// Takes over a row of the table `delivery` as it was found in the file.
    pub(crate) fn restore_delivery(&mut self, row: &DeliveryRow) {
        self.set_delivery_count(row.index, &row.group, row.count);
        if let Some(entry) = self.entries.get_mut(row.index)
            && row.done
        {
            entry
                .rare
                .get_or_insert_default()
                .done_by
                .push(Arc::clone(&row.group));
            self.partly_done.insert(row.index);
        }
    }

    pub(crate) fn delivery_count(&self, index: u64, group: &str) -> u32 {
        let counts = self.delivery_counts.get(&index);
        counts
            .and_then(|c| c.iter().find(|(g, _)| **g == *group))
            .map_or(0, |(_, count)| *count)
    }

    pub(crate) fn set_delivery_count(&mut self, index: u64, group: &Arc<str>, count: u32) {
        let counts = self.delivery_counts.entry(index).or_default();
        match counts.iter_mut().find(|(name, _)| name == group) {
            Some((_, known)) => *known = count,
            None => counts.push((Arc::clone(group), count)),
        }
    }

    /// An entry leaves when a group is done with it and no known group still needs it.
    fn is_needed(&self, index: u64) -> bool {
        let Some(entry) = self.entries.get(index) else {
            return false;
        };
        entry.done_by().is_empty()
            || self
                .groups
                .values()
                .any(|group| !entry.is_done_by(&group.name))
    }
}

fn waiting_for(entries: &Entries, group: &str) -> BTreeSet<Place> {
    entries
        .iter()
        .filter(|(_, entry)| !entry.is_done_by(group))
        .map(|(index, entry)| entry.place(index))
        .collect()
}
