//! Random histories against a small, naive model of the protocol.
//!
//! The seed is printed; `PHOTOG_TEST_MODEL_SEED` sets it and `PHOTOG_TEST_MODEL_OPERATIONS` the length. Where
//! the protocol leaves a choice (which of two equal consumers is next), any lawful one is accepted.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod naive;
#[path = "../queue_support/mod.rs"]
mod queue_support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use naive::{GRACE_S, Item, MAX_DELIVERY, Naive, Watcher, pairs};
use photog::{
    domain::{ServiceKind, Tags},
    queue::{Attach, Filter, Get, NewEntry, QueueError, QueueKey},
};
use queue_support::*;

const OPERATIONS: u64 = 300_000;
const HISTORY: u64 = 400;
const GROUPS: [&str; 3] = ["a", "b", "c"];
const USERS: [&str; 3] = ["u", "v", "w"];
const REQUESTS: [&str; 4] = ["r1", "r2", "0190a5b4-7c1e-7b7a-8d52-6f0d2b1f9a11", ""];

/// SplitMix64, the generator of the seeds in Steele, Lea, Flood: "Fast splittable pseudorandom
/// number generators" (2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

struct Pair {
    bench: Bench,
    naive: Naive,
    random: Random,
}

impl Pair {
    fn queue() -> QueueKey {
        QueueKey::source(SERVICE)
    }

    fn random_index(&mut self) -> u64 {
        self.random.below(self.naive.last + 3)
    }

    fn random_tags(&mut self) -> Tags {
        let sets: [&[(&str, &str)]; 4] = [&[], &[], &[("t", "1")], &[("t", "2"), ("s", "")]];
        tags(self.random.pick(&sets))
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..28 => self.put().await,
            28..40 => self.get().await,
            40..46 => self.look().await,
            46..62 => self.commit().await,
            62..68 => self.hand_back().await,
            68..78 => self.attach().await,
            78..84 => self.detach().await,
            84..88 => self.delete().await,
            88..90 => self.truncate().await,
            90..99 => self.pass().await,
            _ => self.crash().await,
        }
        self.check_pushes().await;
    }

    async fn put(&mut self) {
        let request = self.random.pick(&REQUESTS);
        let (other, priority) = (self.random_tags(), self.random.below(5) / 4);
        let new = NewEntry {
            tags: other.clone(),
            priority: priority as u8,
            ..entry(request)
        };
        let index = self
            .bench
            .store
            .put(&Self::queue(), new)
            .await
            .unwrap()
            .index;
        self.naive.last += 1;
        assert_eq!(index, self.naive.last);
        let item = Item {
            tags: pairs(&other.with("requestId", request)),
            priority: priority as u8,
            done: BTreeSet::new(),
            counts: BTreeMap::new(),
        };
        self.naive.items.insert(index, item);
    }

    async fn get(&mut self) {
        let mut wanted = self.random_tags();
        if self.random.below(3) == 0 {
            wanted = wanted.with("requestId", self.random.pick(&REQUESTS));
        }
        let from = match self.random.below(3) {
            0 => None,
            1 => Some(0),
            _ => Some(self.random_index()),
        };
        let length = self.random.below(4) as usize;
        let auto_delete = self.random.below(4) == 0;
        let fitting = self
            .naive
            .items
            .iter()
            .filter(|(_, item)| item.has(&wanted));
        let expected: Vec<u64> = match from {
            None => fitting
                .map(|(index, _)| *index)
                .next_back()
                .into_iter()
                .collect(),
            Some(from) => fitting
                .map(|(i, _)| *i)
                .filter(|i| *i >= from)
                .take(length)
                .collect(),
        };
        let get = Get {
            filter: Filter { from, tags: wanted },
            length,
            auto_delete,
            wait: false,
        };
        let found = self
            .bench
            .store
            .get(&Self::queue(), get.clone(), Duration::ZERO)
            .await
            .unwrap();
        let indexes: Vec<u64> = found.iter().map(|frame| frame.index).collect();
        assert_eq!(indexes, expected, "{get:?}");
        for mut frame in found {
            assert_eq!(pairs(&frame.tags), self.naive.items[&frame.index].tags);
            let request = frame.tags.get("requestId").unwrap().to_owned();
            assert_eq!(
                text(&mut frame),
                request,
                "the payload is the request id here"
            );
            if auto_delete {
                self.naive.remove(frame.index);
            }
        }
    }

    async fn look(&mut self) {
        let (index, group) = (self.random_index(), self.random.pick(&GROUPS));
        let found = self
            .bench
            .store
            .search(&Self::queue(), index, group, "me")
            .await;
        let Some(item) = self.naive.items.get(&index) else {
            assert!(matches!(found, Err(QueueError::NotFound)));
            return;
        };
        let found = found.unwrap();
        let known = self.naive.groups.get(group);
        let holder = known
            .into_iter()
            .flat_map(|k| &k.watchers)
            .find(|(_, w)| w.hand.contains(&index));
        let place = |index: u64, item: &Item| (u8::MAX - item.priority, index);
        let before = |(i, other): &(&u64, &Item)| {
            place(**i, other) < place(index, item) && self.naive.waits(group, **i)
        };
        let expected = match holder {
            Some((user, _)) => (true, 0, format!("{group}.{user}")),
            None if item.done.contains(group) => (false, 0, format!("{group}.me")),
            None => {
                let before = self.naive.items.iter().filter(before).count();
                (false, before as u64, format!("{group}.me"))
            }
        };
        assert_eq!(
            (found.is_pending, found.wait_count, found.consumer),
            expected
        );
        let wanted = self.random_tags();
        let number = self
            .bench
            .store
            .count(&Self::queue(), wanted.clone(), Some(1))
            .await
            .unwrap();
        let fits = |item: &&Item| item.priority == 1 && item.has(&wanted);
        assert_eq!(
            number,
            self.naive.items.values().filter(fits).count() as u64
        );
        let seen = self.bench.store.attributes(&Self::queue()).await.unwrap();
        let (first, last) = (
            self.naive.items.keys().next(),
            self.naive.items.keys().next_back(),
        );
        assert_eq!((Some(&seen.first), Some(&seen.last)), (first, last));
        assert_eq!(seen.length, self.naive.items.len() as u64);
        let groups: Vec<&str> = seen.groups.iter().map(|group| &*group.0).collect();
        assert_eq!(
            groups,
            self.naive.groups.keys().copied().collect::<Vec<_>>()
        );
    }

    async fn commit(&mut self) {
        let group = self.random.pick(&GROUPS);
        let mut indexes = vec![self.random_index(), self.random_index()];
        // Mostly what is in hand, so that queues do not only grow.
        let watchers = self
            .naive
            .groups
            .get(group)
            .into_iter()
            .flat_map(|g| g.watchers.values());
        indexes.extend(watchers.filter_map(|watcher| watcher.hand.first().copied()));
        if self.random.below(3) > 0 {
            indexes.drain(..2);
        }
        self.bench
            .store
            .commit(&Self::queue(), group, indexes.clone())
            .await
            .unwrap();
        for index in &indexes {
            self.naive.commit(group, *index);
        }
    }

    async fn hand_back(&mut self) {
        let group = self.random.pick(&GROUPS);
        let watchers = self
            .naive
            .groups
            .get(group)
            .into_iter()
            .flat_map(|g| g.watchers.values());
        let mut indexes: Vec<u64> = watchers.flat_map(|w| w.hand.iter().copied()).collect();
        indexes.push(self.random_index());
        self.bench
            .store
            .hand_back(&Self::queue(), group, "nobody", indexes.clone(), true)
            .await
            .unwrap();
        for index in &indexes {
            self.naive.hand_back(group, *index);
        }
    }

    async fn attach(&mut self) {
        let (group, user) = (self.random.pick(&GROUPS), self.random.pick(&USERS));
        let start = match self.random.below(4) {
            0 => None,
            1 => Some(self.random_index()),
            _ => Some(0),
        };
        let attach = Attach {
            start,
            tags: self.random_tags(),
            ..attach(group, user, 1 + self.random.below(3) as u32)
        };
        let attached = self
            .bench
            .store
            .attach(&Self::queue(), attach.clone())
            .await;
        let known = self.naive.groups.entry(group).or_default();
        if known.watchers.contains_key(user) {
            assert!(matches!(attached, Err(QueueError::UserActive { .. })));
            return;
        }
        known.empty_since = None;
        let watcher = Watcher {
            start: attach.start.unwrap_or(self.naive.last + 1),
            attach,
            hand: BTreeSet::new(),
            link: attached.unwrap(),
        };
        known.watchers.insert(user, watcher);
    }

    async fn detach(&mut self) {
        let (group, user) = (self.random.pick(&GROUPS), self.random.pick(&USERS));
        let Some(known) = self.naive.groups.get_mut(group) else {
            return;
        };
        let Some(watcher) = known.watchers.remove(user) else {
            return;
        };
        if known.watchers.is_empty() {
            known.empty_since = Some(self.naive.now_s);
        }
        self.bench
            .detach(&Self::queue(), group, user, watcher.link.link)
            .await;
        for index in watcher.hand {
            self.naive.came_back(group, index);
        }
    }

    async fn delete(&mut self) {
        let indexes = vec![self.random_index(), self.random_index()];
        self.bench
            .store
            .delete(&Self::queue(), indexes.clone())
            .await
            .unwrap();
        for index in &indexes {
            self.naive.remove(*index);
        }
    }

    async fn truncate(&mut self) {
        let below = self.naive.last.saturating_sub(self.random.below(20));
        self.bench
            .store
            .truncate(&Self::queue(), below)
            .await
            .unwrap();
        let gone: Vec<u64> = self
            .naive
            .items
            .range(..below)
            .map(|(index, _)| *index)
            .collect();
        for index in &gone {
            self.naive.remove(*index);
        }
    }

    async fn pass(&mut self) {
        let seconds = self.random.below(GRACE_S);
        self.naive.now_s += seconds;
        self.bench.clock.pass(Duration::from_secs(seconds));
        self.bench.tick().await;
        self.naive.tick();
    }

    async fn crash(&mut self) {
        self.bench.crash().await;
        self.naive.crash();
        let rear = self.bench.get(&rear(&Self::queue())).await;
        let dead: Vec<_> = rear.iter().map(|frame| pairs(&frame.tags)).collect();
        assert_eq!(dead, self.naive.rear);
        assert!(rear.iter().all(|frame| frame.message.contains("3 times")));
    }

    async fn check_pushes(&mut self) {
        self.bench.store.counts().await.unwrap();
        for group in self.naive.groups.keys().copied().collect::<Vec<_>>() {
            let known = self.naive.groups.get_mut(group).unwrap();
            let drain = |watcher: &mut Watcher| {
                std::iter::from_fn(|| watcher.link.pushes.try_recv().ok()).collect()
            };
            let pushed = known
                .watchers
                .iter_mut()
                .map(|(user, w)| (*user, drain(w)))
                .collect();
            self.naive.deliver(group, pushed);
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test]
async fn random_histories_agree_with_the_protocol() {
    let seed = setting("PHOTOG_TEST_MODEL_SEED").unwrap_or_else(|| {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(1)
    });
    let operations = setting("PHOTOG_TEST_MODEL_OPERATIONS").unwrap_or(OPERATIONS);
    println!("PHOTOG_TEST_MODEL_SEED={seed}");
    let mut spec = spec(ServiceKind::Queue);
    spec.queue.max_delivery = MAX_DELIVERY;
    let mut random = Random(seed);
    for _ in 0..operations / HISTORY {
        let mut pair = Pair {
            bench: Bench::in_memory(spec.clone()),
            naive: Naive::default(),
            random: Random(random.next()),
        };
        for _ in 0..HISTORY {
            pair.step().await;
        }
        let expected: Vec<u64> = pair.naive.items.keys().copied().collect();
        assert_eq!(pair.bench.indexes(&Pair::queue()).await, expected);
        let orphans = "SELECT count(*) FROM payload WHERE id NOT IN (SELECT payload FROM entry)";
        assert_eq!(
            pair.bench.number(orphans),
            0,
            "payloads leave with their entries"
        );
    }
}
