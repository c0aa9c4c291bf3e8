//! Promises about entries that a service's own workers have in hand.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod queue_support;

use std::time::Duration;

use photog::{
    domain::ServiceKind,
    queue::{
        BLOB_THRESHOLD_BYTES, CancelledJob, Closing, Detached, Filter, Get, JobKey, JobState,
        JobsPage, NewEntry, Payload, QueueError, QueueKey, Store,
    },
};
use queue_support::*;

fn source() -> QueueKey {
    QueueKey::source(SERVICE)
}

fn sink() -> QueueKey {
    QueueKey::sink(SERVICE)
}

fn once() -> photog::domain::ServiceSpec {
    let mut spec = spec(ServiceKind::ScalableJob);
    spec.queue.max_delivery = 1;
    spec
}

async fn ended(store: &Store) -> Vec<photog::queue::Job> {
    let page = JobsPage {
        limit: 100,
        ..JobsPage::default()
    };
    store.jobs(page).await.unwrap()
}

#[tokio::test]
async fn a_result_carries_the_tags_of_its_request_and_last_code_only_on_failure() {
    let bench = Bench::new(once());
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    let new = NewEntry {
        tags: tags(&[("task_id", "7")]),
        ..entry("r1")
    };
    bench.store.put(&source(), new).await.unwrap();
    bench.put(&source(), "r2").await;
    let push = bench.pushed(&mut slot).await.remove(0);
    bench.finish(&push, "fine").await.unwrap();
    let push = bench.pushed(&mut slot).await.remove(0);
    bench.store.finish(SERVICE, failed(&push)).await.unwrap();

    let mut frames = bench.get(&sink()).await;
    assert_eq!(
        frames[0].tags,
        tags(&[("requestId", "r1"), ("task_id", "7")])
    );
    assert_eq!(text(&mut frames[0]), "fine");
    assert_eq!(
        frames[1].tags,
        tags(&[("requestId", "r2"), ("lastCode", "500")])
    );
    assert!(bench.indexes(&source()).await.is_empty());
}

#[tokio::test]
async fn an_empty_answer_writes_nothing_to_the_sink() {
    let bench = Bench::new(once());
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    bench.put(&source(), "r").await;
    let push = bench.pushed(&mut slot).await.remove(0);
    let mut finish = done(&push, "");
    finish.result = None;
    bench.store.finish(SERVICE, finish).await.unwrap();
    assert!(bench.indexes(&sink()).await.is_empty());
    assert!(bench.indexes(&source()).await.is_empty());
    assert_eq!(ended(&bench.store).await[0].state, JobState::Done);
}

#[tokio::test]
async fn a_scalable_job_slot_never_has_more_than_the_entry_it_works_on() {
    let bench = Bench::new(spec(ServiceKind::ScalableJob));
    let mut first = bench.attach(&source(), SERVICE, "slot-1", 5).await;
    let mut second = bench.attach(&source(), SERVICE, "slot-2", 5).await;
    for request in ["a", "b", "c", "d"] {
        bench.put(&source(), request).await;
    }
    assert_eq!(bench.pushed(&mut first).await.len(), 1);
    assert_eq!(bench.pushed(&mut second).await.len(), 1);
    let counts = bench.store.counts().await.unwrap().remove(0).1;
    assert_eq!((counts.waiting, counts.in_hand), (2, 2));
}

#[tokio::test]
async fn the_slot_that_has_been_idle_longest_gets_the_entry() {
    let bench = Bench::new(spec(ServiceKind::ScalableJob));
    let mut slots = Vec::new();
    for user in ["slot-1", "slot-2"] {
        slots.push(bench.attach(&source(), SERVICE, user, 1).await);
    }
    bench.put(&source(), "a").await;
    bench.put(&source(), "b").await;
    let first = bench.pushed(&mut slots[0]).await.remove(0);
    let second = bench.pushed(&mut slots[1]).await.remove(0);
    bench.clock.pass(Duration::from_secs(1));
    bench.finish(&second, "b").await.unwrap();
    bench.clock.pass(Duration::from_secs(1));
    bench.finish(&first, "a").await.unwrap();
    bench.put(&source(), "c").await;
    assert_eq!(bench.pushed_indexes(&mut slots[1]).await, [3]);
    assert!(bench.pushed(&mut slots[0]).await.is_empty());
}

#[tokio::test]
async fn an_async_slot_is_filled_first_and_its_line_is_not_delivered_before_it_begins() {
    let bench = Bench::new(spec(ServiceKind::Async));
    let mut first = bench.attach(&source(), SERVICE, "slot-1", 3).await;
    let mut second = bench.attach(&source(), SERVICE, "slot-2", 3).await;
    for request in ["a", "b", "c", "d"] {
        bench.put(&source(), request).await;
    }
    let push = bench.pushed(&mut first).await;
    assert_eq!(push.iter().map(|p| p.index).collect::<Vec<_>>(), [1]);
    assert_eq!(bench.pushed_indexes(&mut second).await, [4]);
    let delivered = |jobs: Vec<photog::queue::Job>| -> Vec<(u64, u32)> {
        jobs.iter().map(|j| (j.key.index, j.deliveries)).collect()
    };
    assert_eq!(
        delivered(ended(&bench.store).await),
        [(4, 1), (3, 0), (2, 0), (1, 1)]
    );
    bench.finish(&push[0], "a").await.unwrap();
    assert_eq!(bench.pushed_indexes(&mut first).await, [2]);
}

#[tokio::test]
async fn a_slot_begins_the_urgent_entry_before_its_line() {
    let bench = Bench::new(spec(ServiceKind::Async));
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 2).await;
    for request in ["a", "b", "c"] {
        bench.put(&source(), request).await;
    }
    bench.store.put(&source(), urgent("now")).await.unwrap();
    let push = bench.pushed(&mut slot).await.remove(0);
    bench.finish(&push, "a").await.unwrap();
    assert_eq!(bench.pushed_indexes(&mut slot).await, [4]);
}

#[tokio::test]
async fn a_slot_that_died_gets_nothing_more_and_its_line_goes_to_others() {
    let mut spec = spec(ServiceKind::Async);
    spec.queue.max_delivery = 1;
    let bench = Bench::new(spec);
    let mut dying = bench.attach(&source(), SERVICE, "slot-1", 3).await;
    for request in ["a", "b", "c"] {
        bench.put(&source(), request).await;
    }
    let push = bench.pushed(&mut dying).await.remove(0);
    assert!(!bench.store.abandon(SERVICE, push.clone()).await.unwrap());
    bench.store.finish(SERVICE, failed(&push)).await.unwrap();
    assert!(bench.pushed(&mut dying).await.is_empty());
    let mut other = bench.attach(&source(), SERVICE, "slot-2", 3).await;
    assert_eq!(bench.pushed_indexes(&mut other).await, [2]);
    bench.detach(&source(), SERVICE, "slot-1", dying.link).await;
    assert!(bench.store.lost(SERVICE).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_full_sink_stops_the_engine_and_a_waiting_get_that_empties_it_lets_it_go_on() {
    let mut spec = spec(ServiceKind::Async);
    spec.queue.sink.max_entries = Some(1);
    let bench = Bench::new(spec);
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 2).await;
    for request in ["a", "b", "c"] {
        bench.put(&source(), request).await;
    }
    let push = bench.pushed(&mut slot).await.remove(0);
    bench.finish(&push, "a").await.unwrap();
    assert!(
        bench.pushed(&mut slot).await.is_empty(),
        "the line waits too"
    );

    bench.take(&sink(), Filter::from("a"), true).await;
    let push = bench.pushed(&mut slot).await.remove(0);
    assert_eq!(push.index, 2);
    // Now somebody waits for the result, which fills the sink for no longer than that.
    let store = bench.store.clone();
    let get = Get {
        filter: Filter::from("b"),
        length: 1,
        auto_delete: true,
        wait: true,
    };
    let waiting = tokio::spawn(async move {
        store
            .get(&QueueKey::sink(SERVICE), get, Duration::from_secs(60))
            .await
    });
    while !waiting.is_finished() && bench.indexes(&source()).await.contains(&2) {
        tokio::task::yield_now().await;
        bench.store.counts().await.unwrap();
        // The result may come before or after the caller: both must go on.
        let _ = bench.finish(&push, "b").await;
    }
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
    assert_eq!(bench.pushed_indexes(&mut slot).await, [3]);
}

#[tokio::test]
async fn a_result_enters_the_sink_even_when_its_request_was_deleted_meanwhile() {
    let bench = Bench::new(once());
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    bench.put(&source(), "r").await;
    let push = bench.pushed(&mut slot).await.remove(0);
    bench.store.delete(&source(), vec![1]).await.unwrap();
    bench.put(&source(), "next").await;
    assert!(
        bench.pushed(&mut slot).await.is_empty(),
        "the slot still works"
    );

    // Not even a failed commit in between makes the store forget it.
    bench.break_table("entry");
    let refused = bench.finish(&push, "done").await.unwrap_err();
    assert!(matches!(refused, QueueError::Storage(_)), "{refused}");
    bench.mend_table();
    bench.finish_at_last(&push, "done").await;
    assert_eq!(text(&mut bench.get(&sink()).await[0]), "done");
    assert_eq!(bench.pushed_indexes(&mut slot).await, [2]);
}

#[tokio::test]
async fn a_commit_by_a_client_in_the_engines_group_does_not_lose_the_result() {
    let bench = Bench::new(once());
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    bench.put(&source(), "r").await;
    let push = bench.pushed(&mut slot).await.remove(0);
    bench
        .store
        .commit(&source(), SERVICE, vec![1])
        .await
        .unwrap();
    bench
        .store
        .hand_back(&source(), SERVICE, "slot-1", vec![1], true)
        .await
        .unwrap();
    bench.finish(&push, "done").await.unwrap();
    assert_eq!(bench.get(&sink()).await.len(), 1);
    bench.put(&source(), "next").await;
    assert_eq!(bench.pushed_indexes(&mut slot).await, [2]);
}

#[tokio::test]
async fn after_a_failed_commit_the_engine_may_still_finish_what_it_has_in_hand() {
    let bench = Bench::new(once());
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    bench.put(&source(), "r").await;
    let push = bench.pushed(&mut slot).await.remove(0);
    bench.break_table("history");
    assert!(bench.finish(&push, "done").await.is_err());
    bench.mend_table();
    bench.finish_at_last(&push, "done").await;
    assert_eq!(bench.get(&sink()).await.len(), 1);
    let again = bench.finish(&push, "done").await.unwrap_err();
    assert!(matches!(again, QueueError::Conflict(_)), "{again}");
    assert_eq!(bench.get(&sink()).await.len(), 1);
}

#[tokio::test]
async fn a_delivery_that_was_not_committed_is_made_again_and_counted_once() {
    let bench = Bench::new(once());
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    bench.break_table("delivery");
    let refused = bench.store.put(&source(), entry("r")).await;
    assert!(
        refused.is_err(),
        "the put shares its commit with the delivery"
    );
    bench.mend_table();
    bench.put_at_last(&source(), "r").await;
    let pushes = bench.pushed(&mut slot).await;
    assert_eq!(pushes.len(), 1);
    assert_eq!((pushes[0].index, pushes[0].attempt), (1, 1));
}

#[tokio::test]
async fn a_consumer_whose_attaching_failed_is_not_there() {
    let bench = Bench::new(once());
    bench.put(&source(), "r").await;
    bench.break_table("delivery");
    let refused = bench
        .store
        .attach(&source(), attach(SERVICE, "slot-1", 1))
        .await;
    assert!(refused.is_err());
    bench.mend_table();
    bench.tick().await;
    let mut slot = loop {
        match bench
            .store
            .attach(&source(), attach(SERVICE, "slot-1", 1))
            .await
        {
            Ok(slot) => break slot,
            Err(QueueError::UserActive { .. }) => panic!("a ghost holds the user id"),
            Err(_) => bench.tick().await,
        }
    };
    assert_eq!(bench.pushed_indexes(&mut slot).await, [1]);
}

#[tokio::test]
async fn a_crash_with_the_last_delivery_in_hand_leaves_a_lost_entry() {
    let mut bench = Bench::new(once());
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    bench.put(&source(), "cut off").await;
    bench.put(&source(), "waiting").await;
    assert_eq!(bench.pushed_indexes(&mut slot).await, [1]);
    bench.crash().await;
    let lost = bench.store.lost(SERVICE).await.unwrap();
    assert_eq!(lost.iter().map(|p| p.index).collect::<Vec<_>>(), [1]);
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    assert_eq!(
        bench.pushed_indexes(&mut slot).await,
        [2],
        "nobody gets it again"
    );
    bench.crash().await;
    assert_eq!(bench.store.lost(SERVICE).await.unwrap().len(), 2);
    bench.store.finish(SERVICE, failed(&lost[0])).await.unwrap();
    assert_eq!(bench.get(&sink()).await.len(), 1);
    assert_eq!(bench.store.lost(SERVICE).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_crash_with_deliveries_left_puts_the_entry_back_in_its_old_place() {
    let mut spec = spec(ServiceKind::ScalableJob);
    spec.queue.max_delivery = 2;
    let mut bench = Bench::new(spec);
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    bench.put(&source(), "a").await;
    bench.put(&source(), "b").await;
    assert_eq!(bench.pushed_indexes(&mut slot).await, [1]);
    bench.crash().await;
    assert!(bench.store.lost(SERVICE).await.unwrap().is_empty());
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    let pushes = bench.pushed(&mut slot).await;
    assert_eq!((pushes[0].index, pushes[0].attempt), (1, 2));
}

#[tokio::test]
async fn a_lost_entry_that_a_client_deletes_is_in_nobodys_hand() {
    let bench = Bench::new(once());
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    bench.put(&source(), "r").await;
    bench.pushed(&mut slot).await;
    bench.detach(&source(), SERVICE, "slot-1", slot.link).await;
    assert_eq!(bench.store.lost(SERVICE).await.unwrap().len(), 1);
    bench.store.delete(&source(), vec![1]).await.unwrap();
    let counts = bench.store.counts().await.unwrap().remove(0).1;
    assert_eq!((counts.waiting, counts.in_hand), (0, 0));
}

#[tokio::test]
async fn a_released_entry_waits_again_without_a_counted_delivery() {
    let bench = Bench::new(once());
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    bench.put(&source(), "r").await;
    let push = bench.pushed(&mut slot).await.remove(0);
    bench
        .store
        .set_closed(SERVICE, "slot-1", Closing::GiveLineBack)
        .await
        .unwrap();
    bench.store.release(SERVICE, push.clone()).await.unwrap();
    assert!(bench.pushed(&mut slot).await.is_empty());
    assert!(bench.finish(&push, "late").await.is_err());
    bench
        .store
        .set_closed(SERVICE, "slot-1", Closing::Open)
        .await
        .unwrap();
    assert_eq!(bench.pushed(&mut slot).await[0].attempt, 1);
}

#[tokio::test]
async fn a_draining_slot_works_its_line_off_and_then_may_go() {
    let bench = Bench::new(spec(ServiceKind::Async));
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 2).await;
    for request in ["a", "b", "c"] {
        bench.put(&source(), request).await;
    }
    bench
        .store
        .set_closed(SERVICE, "slot-1", Closing::FinishLine)
        .await
        .unwrap();
    for index in [1, 2] {
        assert_eq!(
            bench.store.detach_idle(SERVICE, "slot-1").await.unwrap(),
            Detached::Busy
        );
        let push = bench.pushed(&mut slot).await.remove(0);
        assert_eq!(push.index, index);
        bench.finish(&push, "done").await.unwrap();
    }
    assert!(bench.pushed(&mut slot).await.is_empty());
    assert_eq!(
        bench.store.detach_idle(SERVICE, "slot-1").await.unwrap(),
        Detached::Gone
    );
    assert_eq!(bench.indexes(&source()).await, [3]);
}

#[tokio::test]
async fn a_cancelled_job_that_waited_is_in_the_callers_hand_alone() {
    let bench = Bench::new(once());
    bench.put(&source(), "r").await;
    let job = JobKey {
        service: SERVICE.into(),
        index: 1,
    };
    let CancelledJob::Taken(taken) = bench.store.cancel(job.clone()).await.unwrap() else {
        panic!("it waited");
    };
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    assert!(bench.pushed(&mut slot).await.is_empty());
    assert!(
        bench.store.lost(SERVICE).await.unwrap().is_empty(),
        "it is not lost"
    );
    let mut finish = failed(&taken.0);
    finish.cancelled = true;
    bench.store.finish(SERVICE, finish).await.unwrap();
    let jobs = ended(&bench.store).await;
    assert_eq!((jobs.len(), jobs[0].state), (1, JobState::Cancelled));
    assert!(bench.store.cancel(job).await.is_err());
}

#[tokio::test]
async fn a_retried_job_keeps_its_request_through_pruning_and_a_restart() {
    let mut bench = Bench::with(once(), |options| options.retention.history_entries_max = 1);
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    let large = vec![7_u8; BLOB_THRESHOLD_BYTES as usize + 1];
    let mut blob = bench.store.blobs().create().unwrap();
    blob.write(&large).unwrap();
    let new = NewEntry {
        payload: Payload::Blob(blob.finish().unwrap()),
        ..entry("r")
    };
    bench.store.put(&source(), new).await.unwrap();
    let push = bench.pushed(&mut slot).await.remove(0);
    bench.store.finish(SERVICE, failed(&push)).await.unwrap();
    assert_eq!(bench.blob_files(), 1);
    let job = JobKey {
        service: SERVICE.into(),
        index: 1,
    };
    assert!(ended(&bench.store).await[0].retryable);
    bench.store.retry(job.clone()).await.unwrap();
    assert!(matches!(
        bench.store.retry(job).await,
        Err(QueueError::NotFound)
    ));
    bench.tick().await;
    bench.crash().await;
    let lost = bench.store.lost(SERVICE).await.unwrap();
    assert_eq!(lost[0].index, 2);
    assert_eq!(
        bench
            .store
            .load(&lost[0])
            .await
            .unwrap()
            .into_bytes()
            .unwrap(),
        large
    );
    bench
        .store
        .finish(SERVICE, done(&lost[0], "at last"))
        .await
        .unwrap();
    bench.store.counts().await.unwrap();
    assert_eq!(
        bench.blob_files(),
        0,
        "the request left with its last reference"
    );
}

#[tokio::test]
async fn history_is_kept_within_its_number_and_its_bytes() {
    let bench = Bench::with(once(), |options| {
        options.retention.history_entries_max = 3;
        options.retention.retry_bytes_max = 4;
    });
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    for request in ["aa", "bb", "cc", "dd", "ee"] {
        bench.put(&source(), request).await;
        let push = bench.pushed(&mut slot).await.remove(0);
        bench.store.finish(SERVICE, failed(&push)).await.unwrap();
    }
    bench.clock.pass(Duration::from_secs(120));
    bench.tick().await;
    let jobs = ended(&bench.store).await;
    let kept: Vec<(u64, bool)> = jobs.iter().map(|j| (j.key.index, j.retryable)).collect();
    assert_eq!(kept, [(5, true), (4, true), (3, false)]);
    assert_eq!(
        bench.number("SELECT count(*) FROM payload"),
        5 + 2,
        "5 results, 2 requests"
    );
    bench.clock.pass(Duration::from_secs(40 * 24 * 60 * 60));
    bench.tick().await;
    assert!(ended(&bench.store).await.is_empty());
    assert_eq!(
        bench.number("SELECT count(*) FROM payload"),
        0,
        "results are too old as well"
    );
}

#[tokio::test]
async fn entries_other_groups_still_need_stay_when_the_engine_is_done() {
    let bench = Bench::new(once());
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    let mut watcher = bench.attach(&source(), "other", "u", 1).await;
    bench.put(&source(), "r").await;
    let push = bench.pushed(&mut slot).await.remove(0);
    bench.finish(&push, "done").await.unwrap();
    assert_eq!(bench.indexes(&source()).await, [1]);
    assert_eq!(bench.pushed_indexes(&mut watcher).await, [1]);
    bench
        .store
        .commit(&source(), "other", vec![1])
        .await
        .unwrap();
    assert!(bench.indexes(&source()).await.is_empty());
}
