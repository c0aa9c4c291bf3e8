//! Rules that only the model shows: what random input finds, and what a failed commit leaves.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::{
    entries::{Entries, heads},
    entry::Place,
    *,
};
use crate::{
    domain::{
        DeadMessagePolicy, QueueSettings, Role, ScalingPolicy, ServiceKind, ServiceSpec,
        SideSettings,
    },
    queue::command::{NewEntry, Payload, Push},
};

const IDS: [(i64, u64); 4] = [(1, 0), (2, 0), (3, 0), (4, 0)];

fn spec() -> ServiceSpec {
    let side = SideSettings {
        max_payload_bytes: 1 << 20,
        max_entries: None,
        max_bytes: 1 << 30,
        auto_evict: false,
    };
    ServiceSpec {
        name: "s".into(),
        kind: ServiceKind::ScalableJob,
        role: Some(Role::Echo),
        token: None,
        keepalive: std::time::Duration::ZERO,
        worker_threads: 1,
        rate_limit: 0,
        concurrency_limit: 0,
        instances: 1,
        queue: QueueSettings {
            max_delivery: 1,
            dead_message_policy: DeadMessagePolicy::Rear,
            group_grace: std::time::Duration::ZERO,
            source: side.clone(),
            sink: side,
        },
        scaling: ScalingPolicy::fixed(1),
        mounts: Vec::new(),
        echo: std::time::Duration::ZERO,
        webui_data_dir: None,
        scratch_bytes: None,
        slot_memory_bytes: 0,
    }
}

fn model() -> Model {
    let mut model = Model::default();
    model.add_service(&spec(), IDS);
    model
}

fn settled() -> Model {
    let mut model = model();
    model.settle(Vec::new(), None, 0, &mut Outbox::default());
    model
}

fn new_entry() -> NewEntry {
    NewEntry {
        request_id: "r".into(),
        tags: Tags::default(),
        priority: 0,
        payload: Payload::Inline(Bytes::from_static(b"r")),
    }
}

fn stored(index: u64, payload: i64) -> Entry {
    Entry {
        request: RequestId::new("r"),
        tags: Arc::default(),
        payload: PayloadRef {
            id: payload,
            size: index,
        },
        created: 0,
        priority: 0,
        rare: None,
    }
}

fn attach(model: &mut Model, link: u64) -> UnboundedReceiver<Push> {
    let (pushes, received) = mpsc::unbounded_channel();
    let settings = ConsumerSettings {
        window: 1,
        start: 0,
        tags: Tags::default(),
        auto_commit: false,
        pushes,
    };
    let (key, name) = (QueueKey::source("s"), Arc::from("s"));
    model
        .attach(&key, &name, &"slot-1".into(), false, settings, link, 0)
        .unwrap();
    received
}

fn held_row(count: u32) -> (QueueKey, DeliveryRow) {
    let row = DeliveryRow {
        index: 1,
        group: "s".into(),
        count,
        holder: Some("slot-1".into()),
        since: 5,
        done: false,
    };
    (QueueKey::source("s"), row)
}

/// The model as it is read from a file that holds entry 1 in the hand of `slot-1`.
fn read_again(before: Model, unheard: &Unheard, out: &mut Outbox) -> Model {
    let mut again = model();
    again.restore_entry(&QueueKey::source("s"), 1, stored(1, 1));
    again.settle(vec![held_row(1)], Some((before, unheard)), 9, out);
    again
}

#[test]
fn a_delivery_that_survived_a_failed_commit_unseen_is_made_again() {
    let mut before = settled();
    let _received = attach(&mut before, 1);
    let mut out = Outbox::default();
    before
        .put(&QueueKey::source("s"), new_entry(), 0, &mut out)
        .unwrap();
    before.go_on(0, &mut out);
    assert_eq!(out.pushes.len(), 1);

    let unheard = Unheard::new(1, out.pushes);
    let mut out = Outbox::default();
    let mut again = read_again(before, &unheard, &mut out);
    again.go_on(9, &mut out);
    assert_eq!(out.pushes.len(), 1);
    assert_eq!(
        out.pushes[0].push.attempt, 1,
        "the unseen one does not count"
    );
}

#[test]
fn a_delivery_that_was_seen_stays_in_hand_after_a_failed_commit() {
    let mut before = settled();
    let _received = attach(&mut before, 1);
    let mut out = Outbox::default();
    let mut again = read_again(before, &Unheard::new(1, Vec::new()), &mut out);
    again.go_on(9, &mut out);
    assert!(out.pushes.is_empty());
    assert!(again.lost("s").is_empty());
}

#[test]
fn a_link_made_while_the_file_was_unreadable_does_not_hold_what_an_older_one_held() {
    let mut before = settled();
    let _received = attach(&mut before, 2);
    let mut out = Outbox::default();
    let again = read_again(before, &Unheard::new(1, Vec::new()), &mut out);
    assert_eq!(again.lost("s").len(), 1);
}

#[test]
fn a_link_of_a_refused_batch_is_gone() {
    let mut before = settled();
    let _older = attach(&mut before, 1);
    before.undo(0, Vec::new());
    let _received = attach(&mut before, 2);
}

#[test]
fn payload_ids_are_not_given_out_twice_after_a_failed_commit() {
    let mut before = settled();
    let mut out = Outbox::default();
    for _ in 0..3 {
        before
            .put(&QueueKey::source("s"), new_entry(), 0, &mut out)
            .unwrap();
    }
    let mut again = read_again(before, &Unheard::new(0, Vec::new()), &mut out);
    let mut out = Outbox::default();
    let index = again.put(&QueueKey::source("s"), new_entry(), 0, &mut out);
    assert_eq!(index.unwrap(), 2, "indexes follow the file");
    let Some(Change::Insert {
        payload: Some(stored),
        ..
    }) = out.changes.first()
    else {
        panic!("an entry comes in");
    };
    assert_eq!(
        stored.id, 4,
        "somebody may still hold the payload ids 2 and 3"
    );
}

#[test]
fn a_candidate_is_the_first_that_fits_in_the_order_of_delivery() {
    use proptest::prelude::*;
    let one = (any::<bool>(), any::<bool>(), any::<bool>(), 0..3_u8);
    let cases = (proptest::collection::vec(one, 0..40), 0..45_u64);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let checked = runner.run(&cases, |(cases, start)| {
        let mut entries = Entries::default();
        let mut waiting = BTreeSet::new();
        for (index, (waits, a, b, priority)) in (1..).zip(cases) {
            let pairs = [(a, ("a", "1")), (b, ("b", "1"))];
            let tags: Tags = pairs
                .iter()
                .filter(|(has, _)| *has)
                .map(|(_, p)| *p)
                .collect();
            let entry = Entry {
                tags: Arc::new(tags),
                priority,
                ..stored(index, 0)
            };
            if waits {
                waiting.insert(entry.place(index));
            }
            entries.insert(index, entry);
        }
        let sets: [&[(&str, &str)]; 3] = [&[], &[("a", "1")], &[("a", "1"), ("b", "1")]];
        for wanted in sets {
            let wanted: Tags = wanted.iter().copied().collect();
            let fits = |place: &&Place| {
                place.index >= start && entries.get(place.index).is_some_and(|e| e.has_all(&wanted))
            };
            let expected = waiting.iter().find(fits).copied();
            prop_assert_eq!(entries.candidate(&waiting, start, &wanted), expected);
        }
        let smallest = heads(&waiting, start).map(|place| place.index).min();
        let expected = waiting
            .iter()
            .map(|p| p.index)
            .filter(|i| *i >= start)
            .min();
        prop_assert_eq!(smallest, expected);
        Ok(())
    });
    checked.unwrap();
}
