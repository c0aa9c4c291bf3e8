//! The protocol, section by section, in the plainest form: no index, no cache, no cleverness.

use std::collections::{BTreeMap, BTreeSet};

use photog::{
    domain::Tags,
    queue::{Attach, Attached, Push},
};

pub const MAX_DELIVERY: u32 = 3;
pub const GRACE_S: u64 = 10;

#[derive(Clone)]
pub struct Item {
    pub tags: BTreeMap<String, String>,
    pub priority: u8,
    pub done: BTreeSet<&'static str>,
    pub counts: BTreeMap<&'static str, u32>,
}

impl Item {
    pub fn has(&self, wanted: &Tags) -> bool {
        let has = |(name, value): (&str, &str)| self.tags.get(name).is_some_and(|v| v == value);
        wanted.iter().all(has)
    }
}

pub struct Watcher {
    pub attach: Attach,
    pub start: u64,
    pub hand: BTreeSet<u64>,
    pub link: Attached,
}

#[derive(Default)]
pub struct Known {
    pub watchers: BTreeMap<&'static str, Watcher>,
    pub empty_since: Option<u64>,
}

/// The protocol, section 9, in the plainest form.
#[derive(Default)]
pub struct Naive {
    pub now_s: u64,
    pub last: u64,
    pub items: BTreeMap<u64, Item>,
    pub groups: BTreeMap<&'static str, Known>,
    pub rear: Vec<BTreeMap<String, String>>,
}

impl Naive {
    pub fn needed(&self, index: u64) -> bool {
        let item = &self.items[&index];
        item.done.is_empty() || self.groups.keys().any(|group| !item.done.contains(group))
    }

    pub fn remove(&mut self, index: u64) {
        self.items.remove(&index);
        for watcher in self
            .groups
            .values_mut()
            .flat_map(|g| g.watchers.values_mut())
        {
            watcher.hand.remove(&index);
        }
    }

    pub fn commit(&mut self, group: &'static str, index: u64) {
        let Some(item) = self.items.get_mut(&index) else {
            return;
        };
        item.done.insert(group);
        item.counts.entry(group).or_default();
        for watcher in self
            .groups
            .get_mut(group)
            .into_iter()
            .flat_map(|g| g.watchers.values_mut())
        {
            watcher.hand.remove(&index);
        }
        if !self.needed(index) {
            self.remove(index);
        }
    }

    pub fn hand_back(&mut self, group: &'static str, index: u64) {
        let watchers = self
            .groups
            .get_mut(group)
            .into_iter()
            .flat_map(|g| g.watchers.values_mut());
        let held = watchers
            .map(|watcher| u32::from(watcher.hand.remove(&index)))
            .sum::<u32>();
        if held > 0 {
            self.came_back(group, index);
        }
    }

    pub fn came_back(&mut self, group: &'static str, index: u64) {
        let Some(item) = self.items.get(&index) else {
            return;
        };
        if item.counts[group] >= MAX_DELIVERY {
            self.rear.push(item.tags.clone());
            self.commit(group, index);
        }
    }

    pub fn tick(&mut self) {
        let over = |known: &Known| known.empty_since.is_some_and(|s| self.now_s - s >= GRACE_S);
        let over: Vec<&str> = self
            .groups
            .iter()
            .filter(|(_, k)| over(k))
            .map(|(n, _)| *n)
            .collect();
        for group in over {
            self.groups.remove(group);
            let all: Vec<u64> = self.items.keys().copied().collect();
            for index in all {
                if !self.needed(index) {
                    self.remove(index);
                }
            }
        }
    }

    pub fn crash(&mut self) {
        let mut hands = BTreeSet::new();
        for (group, known) in std::mem::take(&mut self.groups) {
            for watcher in known.watchers.into_values() {
                hands.extend(watcher.hand.into_iter().map(|index| (index, group)));
            }
        }
        let told: BTreeSet<&str> = self
            .items
            .values()
            .flat_map(|i| i.counts.keys().copied())
            .collect();
        for group in told {
            self.groups.entry(group).or_default().empty_since = Some(self.now_s);
        }
        for (index, group) in hands {
            self.came_back(group, index);
        }
    }

    pub fn waits(&self, group: &str, index: u64) -> bool {
        let in_hand = |watcher: &Watcher| watcher.hand.contains(&index);
        !self.items[&index].done.contains(group)
            && !self
                .groups
                .get(group)
                .is_some_and(|g| g.watchers.values().any(in_hand))
    }

    /// The entry that a watcher must get next.
    pub fn next_for(&self, group: &str, watcher: &Watcher) -> Option<u64> {
        if watcher.hand.len() >= watcher.attach.window as usize {
            return None;
        }
        let fits = |index: u64, item: &Item| {
            index >= watcher.start && item.has(&watcher.attach.tags) && self.waits(group, index)
        };
        let all = self
            .items
            .iter()
            .filter(|(index, item)| fits(**index, item));
        all.min_by_key(|(index, item)| (u8::MAX - item.priority, **index))
            .map(|(index, _)| *index)
    }

    /// Checks that what was pushed is what had to be pushed, and takes note of it.
    pub fn deliver(&mut self, group: &'static str, mut pushed: BTreeMap<&'static str, Vec<Push>>) {
        loop {
            let known = &self.groups[group];
            let takers: Vec<(usize, &'static str, u64)> = known
                .watchers
                .iter()
                .filter_map(|(user, w)| Some((w.hand.len(), *user, self.next_for(group, w)?)))
                .collect();
            let Some(fewest) = takers.iter().map(|(held, ..)| *held).min() else {
                break;
            };
            let lawful = |(held, user, index): &&(usize, &'static str, u64)| {
                *held == fewest
                    && pushed[user]
                        .first()
                        .is_some_and(|push| push.index == *index)
            };
            let (_, user, index) = *takers.iter().find(lawful).unwrap_or_else(|| {
                panic!("group {group}: one of {takers:?} had to be pushed, not {pushed:?}")
            });
            let push = pushed.get_mut(user).unwrap().remove(0);
            let count = self
                .items
                .get_mut(&index)
                .unwrap()
                .counts
                .entry(group)
                .or_default();
            *count += 1;
            assert_eq!(push.attempt, *count, "attempt of entry {index}");
            assert_eq!(pairs(&push.tags), self.items[&index].tags);
            let watchers = &mut self.groups.get_mut(group).unwrap().watchers;
            watchers.get_mut(user).unwrap().hand.insert(index);
        }
        let left: Vec<&Push> = pushed.values().flatten().collect();
        assert!(
            left.is_empty(),
            "group {group}: nobody should have got {left:?}"
        );
    }
}

pub fn pairs(tags: &Tags) -> BTreeMap<String, String> {
    tags.iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}
