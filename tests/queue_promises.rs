//! Promises to clients that put, get and watch.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod queue_support;

use std::time::Duration;

use bytes::Bytes;
use photog::{
    domain::{DeadMessagePolicy, ServiceKind, Tags},
    queue::{Attach, BLOB_THRESHOLD_BYTES, Filter, Get, NewEntry, Payload, QueueError, QueueKey},
};
use queue_support::*;

fn queue() -> QueueKey {
    QueueKey::source(SERVICE)
}

fn sink() -> QueueKey {
    QueueKey::sink(SERVICE)
}

fn plain() -> Bench {
    Bench::new(spec(ServiceKind::Queue))
}

fn large(bench: &Bench, request: &str) -> NewEntry {
    let mut blob = bench.store.blobs().create().unwrap();
    blob.write(&vec![5; BLOB_THRESHOLD_BYTES as usize + 1])
        .unwrap();
    NewEntry {
        payload: Payload::Blob(blob.finish().unwrap()),
        ..entry(request)
    }
}

#[tokio::test]
async fn higher_priority_goes_first_and_equals_in_order_of_index() {
    let bench = plain();
    for new in [entry("a"), urgent("b"), entry("c"), urgent("d")] {
        bench.store.put(&queue(), new).await.unwrap();
    }
    let mut watcher = bench.attach(&queue(), "g", "u", 10).await;
    assert_eq!(bench.pushed_indexes(&mut watcher).await, [2, 4, 1, 3]);
    assert_eq!(
        bench.indexes(&queue()).await,
        [1, 2, 3, 4],
        "get keeps the order of indexes"
    );
}

#[tokio::test]
async fn a_tag_filter_follows_priority_too() {
    let bench = plain();
    let tagged = |new: NewEntry| NewEntry {
        tags: tags(&[("t", "1")]),
        ..new
    };
    for new in [
        tagged(entry("a")),
        entry("b"),
        tagged(urgent("c")),
        urgent("d"),
    ] {
        bench.store.put(&queue(), new).await.unwrap();
    }
    let wanted = Attach {
        tags: tags(&[("t", "1")]),
        ..attach("g", "u", 10)
    };
    let mut watcher = bench.store.attach(&queue(), wanted).await.unwrap();
    assert_eq!(bench.pushed_indexes(&mut watcher).await, [3, 1]);
}

#[tokio::test]
async fn a_consumer_never_has_more_than_its_window() {
    let bench = plain();
    let mut watcher = bench.attach(&queue(), "g", "u", 2).await;
    for request in ["a", "b", "c"] {
        bench.put(&queue(), request).await;
    }
    assert_eq!(bench.pushed_indexes(&mut watcher).await, [1, 2]);
    bench.store.commit(&queue(), "g", vec![2]).await.unwrap();
    assert_eq!(bench.pushed_indexes(&mut watcher).await, [3]);
    bench.put(&queue(), "d").await;
    bench.store.delete(&queue(), vec![1]).await.unwrap();
    assert_eq!(
        bench.pushed_indexes(&mut watcher).await,
        [4],
        "a deletion frees a place as well"
    );
}

#[tokio::test]
async fn load_is_spread_evenly_inside_a_group_and_every_group_gets_all() {
    let bench = plain();
    let mut first = bench.attach(&queue(), "g", "u", 10).await;
    let mut second = bench.attach(&queue(), "g", "v", 10).await;
    let mut other = bench.attach(&queue(), "h", "u", 10).await;
    for number in 0..6 {
        bench.put(&queue(), &number.to_string()).await;
    }
    assert_eq!(bench.pushed(&mut first).await.len(), 3);
    assert_eq!(bench.pushed(&mut second).await.len(), 3);
    assert_eq!(bench.pushed_indexes(&mut other).await, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn the_newest_index_means_only_what_comes_later_to_a_watcher_and_the_newest_to_get() {
    let bench = plain();
    for request in ["a", "b"] {
        bench.put(&queue(), request).await;
    }
    let late = Attach {
        start: None,
        ..attach("g", "u", 10)
    };
    let mut watcher = bench.store.attach(&queue(), late).await.unwrap();
    bench.put(&queue(), "c").await;
    assert_eq!(bench.pushed_indexes(&mut watcher).await, [3]);
    let newest = |tags| Filter { from: None, tags };
    let found = bench.take(&queue(), newest(Tags::default()), false).await;
    assert_eq!(found.iter().map(|f| f.index).collect::<Vec<_>>(), [3]);
    let found = bench
        .take(&queue(), newest(tags(&[("requestId", "a")])), false)
        .await;
    assert_eq!(found.iter().map(|f| f.index).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_user_id_is_free_again_once_its_link_has_gone_and_a_late_end_harms_nobody() {
    let bench = plain();
    let old = bench.attach(&queue(), "g", "u", 1).await;
    let refused = bench
        .store
        .attach(&queue(), attach("g", "u", 1))
        .await
        .unwrap_err();
    assert!(matches!(refused, QueueError::UserActive { .. }));
    bench.detach(&queue(), "g", "u", old.link).await;
    let mut new = bench.attach(&queue(), "g", "u", 1).await;
    bench.detach(&queue(), "g", "u", old.link).await;
    bench.put(&queue(), "a").await;
    assert_eq!(bench.pushed_indexes(&mut new).await, [1]);
}

#[tokio::test]
async fn what_a_lost_link_had_goes_to_others_in_its_old_place() {
    let bench = plain();
    let mut first = bench.attach(&queue(), "g", "u", 2).await;
    for request in ["a", "b", "c"] {
        bench.put(&queue(), request).await;
    }
    assert_eq!(bench.pushed_indexes(&mut first).await, [1, 2]);
    bench.detach(&queue(), "g", "u", first.link).await;
    let mut second = bench.attach(&queue(), "g", "v", 10).await;
    let pushes = bench.pushed(&mut second).await;
    let seen: Vec<(u64, u32)> = pushes.iter().map(|p| (p.index, p.attempt)).collect();
    assert_eq!(seen, [(1, 2), (2, 2), (3, 1)]);
}

#[tokio::test]
async fn a_consumer_that_shuts_down_gets_back_nothing_it_gave_up() {
    let bench = plain();
    let mut watcher = bench.attach(&queue(), "g", "u", 1).await;
    bench.put(&queue(), "a").await;
    assert_eq!(bench.pushed_indexes(&mut watcher).await, [1]);
    bench
        .store
        .hand_back(&queue(), "g", "u", vec![1, 77], true)
        .await
        .unwrap();
    assert!(bench.pushed(&mut watcher).await.is_empty());
    let mut other = bench.attach(&queue(), "g", "v", 1).await;
    assert_eq!(bench.pushed_indexes(&mut other).await, [1]);
}

#[tokio::test]
async fn a_dead_letter_keeps_its_tags_gets_a_new_index_and_says_why() {
    let mut spec = spec(ServiceKind::Queue);
    spec.queue.max_delivery = 2;
    let mut bench = Bench::new(spec);
    bench.put(&queue(), "healthy").await;
    bench
        .store
        .commit(&queue(), "nobody", vec![1])
        .await
        .unwrap();
    let new = NewEntry {
        tags: tags(&[("task_id", "7")]),
        ..large(&bench, "poison")
    };
    bench.store.put(&queue(), new).await.unwrap();
    let mut keeper = bench.attach(&queue(), "keeper", "k", 1).await;
    let mut watcher = bench.attach(&queue(), "g", "u", 1).await;
    for _ in 0..2 {
        assert_eq!(bench.pushed_indexes(&mut watcher).await, [2]);
        bench
            .store
            .hand_back(&queue(), "g", "u", vec![2], false)
            .await
            .unwrap();
    }
    assert!(bench.pushed(&mut watcher).await.is_empty());
    assert_eq!(
        bench.indexes(&queue()).await,
        [2],
        "the other group still needs it"
    );
    assert_eq!(bench.pushed_indexes(&mut keeper).await, [2]);
    bench
        .store
        .commit(&queue(), "keeper", vec![2])
        .await
        .unwrap();
    assert!(bench.indexes(&queue()).await.is_empty());
    assert_eq!(bench.blob_files(), 1, "the dead letter shares the payload");

    bench.crash().await;
    let frames = bench.get(&rear(&queue())).await;
    assert_eq!((frames.len(), frames[0].index), (1, 1));
    assert_eq!(
        frames[0].tags,
        tags(&[("requestId", "poison"), ("task_id", "7")])
    );
    assert!(
        frames[0].message.contains("2 times"),
        "{}",
        frames[0].message
    );
    bench.store.delete(&rear(&queue()), vec![1]).await.unwrap();
    assert_eq!(bench.blob_files(), 0, "the file leaves with its last entry");
}

#[tokio::test]
async fn a_dead_letter_does_not_die_again() {
    let mut spec = spec(ServiceKind::Queue);
    spec.queue.max_delivery = 1;
    let bench = Bench::new(spec);
    let mut watcher = bench.attach(&rear(&queue()), "g", "u", 1).await;
    bench.put(&rear(&queue()), "dead").await;
    for _ in 0..5 {
        assert_eq!(bench.pushed_indexes(&mut watcher).await, [1]);
        bench
            .store
            .hand_back(&rear(&queue()), "g", "u", vec![1], false)
            .await
            .unwrap();
    }
    assert_eq!(bench.indexes(&rear(&queue())).await, [1]);
}

#[tokio::test]
async fn with_the_policy_drop_a_dead_entry_is_gone() {
    let mut spec = spec(ServiceKind::Queue);
    spec.queue.max_delivery = 1;
    spec.queue.dead_message_policy = DeadMessagePolicy::Drop;
    let bench = Bench::new(spec);
    let mut watcher = bench.attach(&queue(), "g", "u", 1).await;
    bench.put(&queue(), "a").await;
    bench.pushed(&mut watcher).await;
    bench.detach(&queue(), "g", "u", watcher.link).await;
    assert!(bench.indexes(&queue()).await.is_empty());
    assert!(bench.indexes(&rear(&queue())).await.is_empty());
}

#[tokio::test]
async fn delivery_counts_outlive_a_forgotten_group_and_a_restart() {
    let mut bench = plain();
    bench.put(&queue(), "a").await;
    for attempt in 1..=4 {
        let mut watcher = bench.attach(&queue(), "g", "u", 1).await;
        assert_eq!(bench.pushed(&mut watcher).await[0].attempt, attempt);
        bench.detach(&queue(), "g", "u", watcher.link).await;
        bench.clock.pass(Duration::from_secs(11));
        bench.tick().await;
        assert!(
            bench
                .store
                .attributes(&queue())
                .await
                .unwrap()
                .groups
                .is_empty()
        );
        bench.crash().await;
    }
}

#[tokio::test]
async fn a_group_is_waited_for_until_its_grace_is_over_after_a_restart_too() {
    let mut bench = plain();
    let watcher = bench.attach(&queue(), "slow", "u", 1).await;
    bench.put(&queue(), "a").await;
    bench.detach(&queue(), "slow", "u", watcher.link).await;
    bench.store.commit(&queue(), "fast", vec![1]).await.unwrap();
    bench.clock.pass(Duration::from_secs(9));
    bench.tick().await;
    assert_eq!(bench.indexes(&queue()).await, [1]);
    bench.crash().await;
    bench.clock.pass(Duration::from_secs(9));
    bench.tick().await;
    assert_eq!(bench.indexes(&queue()).await, [1]);
    bench.clock.pass(Duration::from_secs(1));
    bench.tick().await;
    assert!(
        bench.indexes(&queue()).await.is_empty(),
        "nobody needs it any longer"
    );
}

#[tokio::test]
async fn committing_and_deleting_what_is_gone_is_success() {
    let bench = plain();
    bench
        .store
        .commit(&queue(), "g", vec![0, 5, u64::MAX])
        .await
        .unwrap();
    bench
        .store
        .delete(&queue(), vec![0, 5, u64::MAX])
        .await
        .unwrap();
    bench.store.truncate(&queue(), u64::MAX).await.unwrap();
    assert_eq!(bench.put(&queue(), "a").await, 1);
    bench.store.truncate(&queue(), 1).await.unwrap();
    assert_eq!(bench.indexes(&queue()).await, [1], "the bound itself stays");
}

#[tokio::test]
async fn a_caller_that_went_away_takes_nothing_with_it() {
    let bench = plain();
    let get = Get {
        filter: Filter::from("r"),
        length: 1,
        auto_delete: true,
        wait: true,
    };
    let key = queue();
    let mut waiting = Box::pin(bench.store.get(&key, get, Duration::from_secs(60)));
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("there is nothing to get"),
        _ = bench.store.counts() => {}
    }
    drop(waiting);
    bench.put(&queue(), "r").await;
    assert_eq!(bench.indexes(&queue()).await, [1]);
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_full_sink_with_auto_evict_drops_its_oldest() {
    let mut spec = spec(ServiceKind::Queue);
    for side in [&mut spec.queue.source, &mut spec.queue.sink] {
        side.max_entries = Some(2);
        side.max_bytes = 10;
        side.auto_evict = true;
    }
    let bench = Bench::new(spec);
    for key in [queue(), sink()] {
        bench.put(&key, "a").await;
        bench.put(&key, "b").await;
    }
    let refused = bench.store.put(&queue(), entry("c")).await.unwrap_err();
    assert!(matches!(refused, QueueError::Full { .. }), "{refused}");
    bench.put(&sink(), "c").await;
    assert_eq!(bench.indexes(&sink()).await, [2, 3]);
    bench.put(&sink(), "0123456789").await;
    assert_eq!(bench.indexes(&sink()).await, [4]);
    let refused = bench
        .store
        .put(&sink(), entry("01234567890"))
        .await
        .unwrap_err();
    assert!(matches!(refused, QueueError::Full { .. }), "{refused}");
    assert_eq!(
        bench.indexes(&sink()).await,
        [4],
        "what can never fit evicts nothing"
    );
}

#[tokio::test]
async fn the_size_limit_itself_is_accepted() {
    let mut spec = spec(ServiceKind::Queue);
    spec.queue.source.max_payload_bytes = 3;
    let bench = Bench::new(spec);
    bench.put(&queue(), "abc").await;
    let refused = bench.store.put(&queue(), entry("abcd")).await.unwrap_err();
    assert!(matches!(
        refused,
        QueueError::TooLarge {
            size: 4,
            limit: 3,
            ..
        }
    ));
}

#[tokio::test]
async fn a_refused_or_failed_put_leaves_neither_entry_nor_file() {
    let mut spec = spec(ServiceKind::Queue);
    spec.queue.source.max_entries = Some(1);
    let bench = Bench::new(spec);
    bench.break_table("entry");
    assert!(
        bench
            .store
            .put(&queue(), large(&bench, "failed"))
            .await
            .is_err()
    );
    bench.mend_table();
    bench.put_at_last(&queue(), "a").await;
    assert!(
        bench
            .store
            .put(&queue(), large(&bench, "full"))
            .await
            .is_err()
    );
    assert_eq!(bench.indexes(&queue()).await, [1]);
    assert_eq!(bench.blob_files(), 0);
    assert_eq!(bench.number("SELECT count(*) FROM payload"), 1);
}

#[tokio::test]
async fn a_payload_file_that_somebody_removed_hurts_its_own_entry_only() {
    let bench = plain();
    bench
        .store
        .put(&queue(), large(&bench, "gone"))
        .await
        .unwrap();
    bench.put(&queue(), "whole").await;
    for file in std::fs::read_dir(&bench.options.blobs).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let mut frames = bench.get(&queue()).await;
    assert!(frames[0].message.contains("missing"));
    assert_eq!(frames[0].take_data().into_bytes().unwrap(), Bytes::new());
    assert_eq!(text(&mut frames[1]), "whole");
}

#[tokio::test]
async fn results_leave_by_age_and_by_number() {
    let bench = Bench::with(spec(ServiceKind::Queue), |options| {
        options.retention.result_entries_max = 2;
        options.retention.result_age = Duration::from_secs(60);
    });
    for request in ["a", "b", "c"] {
        bench.put(&sink(), request).await;
        bench.put(&queue(), request).await;
    }
    bench.tick().await;
    assert_eq!(bench.indexes(&sink()).await, [2, 3]);
    bench.clock.pass(Duration::from_secs(61));
    bench.put(&sink(), "d").await;
    bench.tick().await;
    assert_eq!(bench.indexes(&sink()).await, [4]);
    assert_eq!(
        bench.indexes(&queue()).await,
        [1, 2, 3],
        "requests do not grow old"
    );
}

#[tokio::test]
async fn hostile_names_do_not_stop_the_store() {
    let bench = plain();
    let nul = "a\0b";
    let new = NewEntry {
        tags: tags(&[(nul, nul), ("", "")]),
        ..entry("")
    };
    bench.store.put(&queue(), new).await.unwrap();
    let mut watcher = bench.attach(&queue(), "", nul, 1).await;
    let pushes = bench.pushed(&mut watcher).await;
    assert_eq!(pushes[0].tags.get(nul), Some(nul));
    let found = bench.take(&queue(), Filter::from(""), false).await;
    assert_eq!(found.len(), 1);
    for number in 0..300 {
        bench
            .store
            .commit(&queue(), &format!("group-{number}"), vec![1])
            .await
            .unwrap();
    }
    assert!(
        bench.number("SELECT count(*) FROM delivery") <= 257,
        "names are bounded"
    );
    for number in 0..300 {
        let group = format!("group-{number}");
        if let Err(refused) = bench.store.attach(&queue(), attach(&group, "u", 1)).await {
            assert!(matches!(refused, QueueError::Conflict(_)), "{refused}");
            return;
        }
    }
    panic!("groups are not bounded");
}

#[tokio::test]
async fn an_auto_committing_consumer_is_not_bound_by_its_window() {
    let bench = plain();
    let auto = Attach {
        auto_commit: true,
        ..attach("g", "u", 0)
    };
    let mut watcher = bench.store.attach(&queue(), auto).await.unwrap();
    for number in 0..5 {
        bench.put(&queue(), &number.to_string()).await;
    }
    assert_eq!(bench.pushed_indexes(&mut watcher).await, [1, 2, 3, 4, 5]);
    let seen = bench
        .store
        .attributes(&queue())
        .await
        .unwrap()
        .consumers
        .remove(0);
    assert_eq!(
        (seen.window, seen.slots, seen.pending, seen.status),
        (0, 0, 5, "Running")
    );
}

#[tokio::test]
async fn attributes_tell_who_left_and_whether_something_was_left_behind() {
    let bench = plain();
    bench.attach(&queue(), "g", "stays", 1).await;
    let mut status = Vec::new();
    for user in ["clean", "dirty"] {
        let watcher = bench.attach(&queue(), "g", user, 1).await;
        if user == "dirty" {
            bench.put(&queue(), "a").await;
            bench.put(&queue(), "b").await;
        }
        bench.detach(&queue(), "g", user, watcher.link).await;
    }
    for _ in 0..2 {
        let seen = bench.store.attributes(&queue()).await.unwrap();
        status.extend(
            seen.consumers
                .iter()
                .map(|c| (c.user.to_string(), c.status)),
        );
        bench.clock.pass(Duration::from_secs(10));
    }
    let expected = [
        ("stays", "Running"),
        ("clean", "Leaving"),
        ("dirty", "Leaving"),
        ("stays", "Running"),
        ("clean", "Complete"),
        ("dirty", "Exit"),
    ];
    assert_eq!(
        status,
        expected.map(|(user, status)| (user.to_string(), status))
    );
}
