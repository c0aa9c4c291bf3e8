//! The entries of one queue and the ways to find them: by index, by tags, by place in the line.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    ops::Bound,
};

use crate::domain::{REQUEST_ID_TAG, Tags};

use super::{
    Entry, Filter,
    entry::{Place, RequestId},
};

/// One answer to `get` carries at most this many payload bytes (but at least one entry).
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// One answer to `get` carries at most this many entries.
const ANSWER_ENTRIES_MAX: usize = 10_000;
/// When looking for the rarest of several tags, counting stops here.
const RARE_ENOUGH: usize = 32;

/// Entries by index, with their tags indexed.
#[derive(Default)]
pub(crate) struct Entries {
    all: BTreeMap<u64, Entry>,
    bytes: u64,
    /// Hash of name and value of each tag of each entry; a hit is compared in full.
    by_tag: BTreeSet<(u64, u64)>,
    hasher: RandomState,
}

impl Entries {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Payload bytes of all entries.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn get(&self, index: u64) -> Option<&Entry> {
        self.all.get(&index)
    }

    pub(crate) fn get_mut(&mut self, index: u64) -> Option<&mut Entry> {
        self.all.get_mut(&index)
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.all.keys().next().copied()
    }

    pub(crate) fn last(&self) -> Option<u64> {
        self.all.keys().next_back().copied()
    }

    /// All entries in index order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Entry)> {
        self.all.iter().map(|(index, entry)| (*index, entry))
    }

    /// Indexes below this one.
    pub(crate) fn below(&self, index: u64) -> Vec<u64> {
        self.all.range(..index).map(|(index, _)| *index).collect()
    }

    pub(crate) fn insert(&mut self, index: u64, entry: Entry) {
        debug_assert!(
            !self.all.contains_key(&index),
            "indexes are never given out twice"
        );
        self.bytes += entry.payload.size;
        for key in tag_keys(&self.hasher, &entry) {
            self.by_tag.insert((key, index));
        }
        self.all.insert(index, entry);
    }

    pub(crate) fn remove(&mut self, index: u64) -> Option<Entry> {
        let entry = self.all.remove(&index)?;
        self.bytes -= entry.payload.size;
        for key in tag_keys(&self.hasher, &entry) {
            self.by_tag.remove(&(key, index));
        }
        Some(entry)
    }

    /// Indexes of the entries that a filter wants, in order, at most `length`.
    pub(crate) fn select(&self, filter: &Filter, length: usize) -> Vec<u64> {
        let tags = &filter.tags;
        let length = length.min(ANSWER_ENTRIES_MAX);
        match (filter.from, self.rarest_tag(tags)) {
            (None, None) => self.last().into_iter().collect(),
            (None, Some(key)) => self
                .with_tag(key, 0)
                .rev()
                .find(|(_, entry)| entry.has_all(tags))
                .map(|(index, _)| index)
                .into_iter()
                .collect(),
            (Some(from), None) => {
                let all = self.all.range(from..).map(|(index, _)| *index);
                all.take(length).collect()
            }
            (Some(from), Some(key)) => self
                .with_tag(key, from)
                .filter(|(_, entry)| entry.has_all(tags))
                .map(|(index, _)| index)
                .take(length)
                .collect(),
        }
    }

    /// Cuts a selection to what one answer may carry; true when that is all it may.
    pub(crate) fn fit_answer(&self, indexes: &mut Vec<u64>) -> bool {
        let mut bytes = 0;
        let fitting = indexes
            .iter()
            .take_while(|index| {
                bytes += self.get(**index).map_or(0, |entry| entry.payload.size);
                bytes <= ANSWER_BYTES_MAX
            })
            .count()
            .max(1);
        let cut = fitting < indexes.len();
        indexes.truncate(fitting);
        cut || indexes.len() >= ANSWER_ENTRIES_MAX
    }

    /// Number of entries with these tags and, if given, this priority.
    pub(crate) fn count(&self, tags: &Tags, priority: Option<u8>) -> u64 {
        let wanted = |entry: &Entry| {
            entry.has_all(tags) && priority.is_none_or(|priority| entry.priority == priority)
        };
        match self.rarest_tag(tags) {
            None if priority.is_none() => self.all.len() as u64,
            None => self.all.values().filter(|entry| wanted(entry)).count() as u64,
            Some(key) => self.with_tag(key, 0).filter(|(_, e)| wanted(e)).count() as u64,
        }
    }

    /// The first waiting place with an index of at least `start` and these tags, in the order of
    /// delivery.
    pub(crate) fn candidate(
        &self,
        waiting: &BTreeSet<Place>,
        start: u64,
        tags: &Tags,
    ) -> Option<Place> {
        let Some(key) = self.rarest_tag(tags) else {
            return heads(waiting, start).next();
        };
        let mut tagged = self
            .with_tag(key, start)
            .filter(|(_, entry)| entry.has_all(tags))
            .map(|(index, entry)| entry.place(index))
            .filter(|place| waiting.contains(place));
        if waiting.first()?.priority == waiting.last()?.priority {
            return tagged.next();
        }
        // With several priorities the tagged entries are not in the order of delivery. The line
        // and the tagged entries are searched side by side: whichever ends first knows.
        let mut best: Option<Place> = None;
        for place in waiting {
            let fits = |entry: &Entry| place.index >= start && entry.has_all(tags);
            if self.get(place.index).is_some_and(fits) {
                return Some(*place);
            }
            let Some(found) = tagged.next() else {
                return best;
            };
            best = Some(best.map_or(found, |best| best.min(found)));
        }
        None
    }

    fn with_tag(&self, key: u64, from: u64) -> impl DoubleEndedIterator<Item = (u64, &Entry)> {
        self.by_tag
            .range((key, from)..=(key, u64::MAX))
            .filter_map(|(_, index)| self.get(*index).map(|entry| (*index, entry)))
    }

    /// The tag, by its key in `by_tag`, that the fewest entries have. `None` when no tag is wanted.
    fn rarest_tag(&self, tags: &Tags) -> Option<u64> {
        let keys = tags
            .iter()
            .map(|(name, value)| tag_key(&self.hasher, name, value));
        if tags.len() == 1 {
            return keys.last();
        }
        keys.min_by_key(|key| {
            let holders = self.by_tag.range((*key, 0)..=(*key, u64::MAX));
            holders.take(RARE_ENOUGH).count()
        })
    }
}

/// The first place of each priority with an index of at least `start`, the highest priority first.
pub(crate) fn heads(waiting: &BTreeSet<Place>, start: u64) -> impl Iterator<Item = Place> {
    let mut level = waiting.first().copied();
    std::iter::from_fn(move || {
        while let Some(at) = level {
            let place = |index| Place {
                priority: at.priority,
                index,
            };
            let head = waiting.range(place(start)..=place(u64::MAX)).next();
            let next = (Bound::Excluded(place(u64::MAX)), Bound::Unbounded);
            level = waiting.range(next).next().copied();
            if head.is_some() {
                return head.copied();
            }
        }
        None
    })
}

fn tag_keys(hasher: &RandomState, entry: &Entry) -> impl Iterator<Item = u64> {
    let others = entry.tags.iter();
    std::iter::once(request_key(hasher, &entry.request))
        .chain(others.map(|(name, value)| tag_key(hasher, name, value)))
}

fn tag_key(hasher: &RandomState, name: &str, value: &str) -> u64 {
    if name == REQUEST_ID_TAG {
        return request_key(hasher, &RequestId::new(value));
    }
    hasher.hash_one((name, value))
}

/// The packed bytes hash as well as the text and need no formatting.
fn request_key(hasher: &RandomState, request: &RequestId) -> u64 {
    match request {
        RequestId::Uuid(bytes) => hasher.hash_one((REQUEST_ID_TAG, bytes)),
        RequestId::Text(text) => hasher.hash_one((REQUEST_ID_TAG, &**text)),
    }
}
