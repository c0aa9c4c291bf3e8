//! Promises about tickets: the ends of jobs for callers who do not read the sink.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod queue_support;

use std::time::Duration;

use photog::{
    domain::ServiceKind,
    queue::{
        BLOB_THRESHOLD_BYTES, CancelledJob, Finish, JobKey, NewEntry, NewTicket, Payload, Push,
        QueueError, QueueKey, Retention, Ticket, TicketState,
    },
};
use queue_support::*;

const OWNER: &str = "app";

fn source() -> QueueKey {
    QueueKey::source(SERVICE)
}

fn once() -> photog::domain::ServiceSpec {
    let mut spec = spec(ServiceKind::ScalableJob);
    spec.queue.max_delivery = 1;
    spec
}

fn of_app() -> NewTicket {
    NewTicket {
        owner: OWNER.into(),
        model_id: "anna".into(),
    }
}

async fn put(bench: &Bench, request: &str) -> i32 {
    let put = bench
        .store
        .put_with_ticket(SERVICE, entry(request), of_app());
    put.await.unwrap()
}

async fn ticket(bench: &Bench, id: i32) -> Ticket {
    bench.store.ticket(id, OWNER).await.unwrap().unwrap()
}

fn result_of(ticket: Ticket) -> Option<String> {
    let bytes = ticket.result?.into_bytes().unwrap();
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

async fn in_hand(bench: &Bench) -> Push {
    let mut slot = bench.attach(&source(), SERVICE, "slot-1", 1).await;
    bench.pushed(&mut slot).await.remove(0)
}

async fn delete(bench: &Bench, index: u64) {
    let queue = source();
    let deleted = bench.store.delete(&queue, vec![index]);
    deleted.await.unwrap();
}

#[tokio::test]
async fn a_result_goes_to_the_ticket_and_to_no_sink() {
    let bench = Bench::new(once());
    let id = put(&bench, "r").await;
    let open = ticket(&bench, id).await;
    assert_eq!((open.id, open.state), (id, TicketState::Open));
    assert_eq!(
        (open.request_id.as_str(), open.model_id.as_str()),
        ("r", "anna")
    );
    let push = in_hand(&bench).await;
    assert_eq!(
        push.tags,
        tags(&[("requestId", "r"), ("job_id", &id.to_string())])
    );
    bench.finish(&push, "fine").await.unwrap();

    let done = ticket(&bench, id).await;
    assert_eq!(
        (done.state, done.message.as_str()),
        (TicketState::Done, "success")
    );
    assert_eq!(result_of(done).as_deref(), Some("fine"));
    assert!(bench.indexes(&QueueKey::sink(SERVICE)).await.is_empty());
    assert!(bench.indexes(&source()).await.is_empty());
}

#[tokio::test]
async fn a_failure_says_why() {
    let bench = Bench::new(once());
    let id = put(&bench, "r").await;
    let push = in_hand(&bench).await;
    let finish = Finish {
        message: "no photo is left".into(),
        ..failed(&push)
    };
    bench.store.finish(SERVICE, finish).await.unwrap();
    let ended = ticket(&bench, id).await;
    assert_eq!(
        (ended.state, ended.message.as_str()),
        (TicketState::Failed, "no photo is left")
    );
    assert_eq!(result_of(ended).as_deref(), Some("failed"));
}

#[tokio::test]
async fn a_ticket_is_for_its_owner_only() {
    let bench = Bench::new(once());
    let id = put(&bench, "r").await;
    assert!(bench.store.ticket(id, "other").await.unwrap().is_none());
    assert!(bench.store.ticket(id + 1, OWNER).await.unwrap().is_none());
}

#[tokio::test]
async fn ticket_and_entry_survive_a_crash_together() {
    let mut bench = Bench::new(once());
    let id = put(&bench, "r").await;
    bench.crash().await;
    assert_eq!(ticket(&bench, id).await.state, TicketState::Open);
    let push = in_hand(&bench).await;
    bench.finish(&push, "fine").await.unwrap();
    bench.crash().await;
    let done = ticket(&bench, id).await;
    assert_eq!(done.state, TicketState::Done);
    assert_eq!(result_of(done).as_deref(), Some("fine"));
    assert_eq!(put(&bench, "next").await, id + 1);
}

#[tokio::test]
async fn a_ticket_that_cannot_be_written_leaves_no_entry() {
    let bench = Bench::new(once());
    bench.break_table("ticket");
    let refused = bench
        .store
        .put_with_ticket(SERVICE, entry("r"), of_app())
        .await;
    assert!(matches!(refused, Err(QueueError::Storage(_))));
    bench.mend_table();
    bench.put_at_last(&source(), "other").await;
    let [frame] = &bench.get(&source()).await[..] else {
        panic!("one entry");
    };
    assert_eq!(frame.tags.get("requestId"), Some("other"));
}

#[tokio::test]
async fn a_deleted_job_ends_its_ticket() {
    let bench = Bench::new(once());
    let id = put(&bench, "r").await;
    delete(&bench, 1).await;
    let ended = ticket(&bench, id).await;
    assert_eq!(ended.state, TicketState::Failed);
    assert!(ended.message.contains("deleted"), "{}", ended.message);
    assert!(ended.result.is_none());
}

#[tokio::test]
async fn a_job_that_is_deleted_while_it_runs_still_brings_its_result() {
    let bench = Bench::new(once());
    let id = put(&bench, "r").await;
    let push = in_hand(&bench).await;
    delete(&bench, push.index).await;
    assert_eq!(ticket(&bench, id).await.state, TicketState::Open);
    bench.finish(&push, "fine").await.unwrap();
    assert_eq!(result_of(ticket(&bench, id).await).as_deref(), Some("fine"));
    assert!(bench.indexes(&QueueKey::sink(SERVICE)).await.is_empty());
}

#[tokio::test]
async fn no_ticket_stays_open_when_the_program_dies_over_a_deleted_job() {
    let mut bench = Bench::new(once());
    let id = put(&bench, "r").await;
    let push = in_hand(&bench).await;
    delete(&bench, push.index).await;
    bench.crash().await;
    assert_eq!(ticket(&bench, id).await.state, TicketState::Failed);
}

#[tokio::test]
async fn a_job_without_a_delivery_left_ends_its_ticket_as_interrupted() {
    let mut bench = Bench::new(once());
    let id = put(&bench, "r").await;
    let _push = in_hand(&bench).await;
    bench.crash().await;
    assert_eq!(ticket(&bench, id).await.state, TicketState::Open);
    let lost = bench.store.lost(SERVICE).await.unwrap().remove(0);
    bench.store.finish(SERVICE, failed(&lost)).await.unwrap();
    let ended = ticket(&bench, id).await;
    assert_eq!(
        (ended.state, ended.message.as_str()),
        (TicketState::Failed, "INTERRUPTED")
    );
}

#[tokio::test]
async fn a_job_that_is_tried_again_keeps_its_ticket() {
    let bench = Bench::new(once());
    let id = put(&bench, "r").await;
    let job = ticket(&bench, id).await.job;
    let CancelledJob::Taken(taken) = bench.store.cancel(job.clone()).await.unwrap() else {
        panic!("it waits");
    };
    let finish = Finish {
        cancelled: true,
        code: Some("CANCELLED".into()),
        ..done(&taken.0, "cancelled")
    };
    bench.store.finish(SERVICE, finish).await.unwrap();
    assert_eq!(ticket(&bench, id).await.state, TicketState::Failed);

    let index = bench.store.retry(job).await.unwrap().index;
    let again = ticket(&bench, id).await;
    let service = SERVICE.into();
    assert_eq!(again.state, TicketState::Open);
    assert_eq!(again.job, JobKey { service, index });
    assert!(again.result.is_none() && again.message.is_empty());
    let push = in_hand(&bench).await;
    bench.finish(&push, "fine").await.unwrap();
    assert_eq!(result_of(ticket(&bench, id).await).as_deref(), Some("fine"));
    // The first result, which nobody can ask for, takes up no room.
    assert_eq!(bench.number("SELECT count(*) FROM payload"), 1);
}

#[tokio::test]
async fn ended_tickets_leave_with_the_history_and_their_numbers_do_not_come_back() {
    let mut bench = Bench::with(once(), |options| {
        options.retention = Retention {
            history_age: Duration::from_secs(3600),
            ..Retention::default()
        };
    });
    let id = put(&bench, "r").await;
    let push = in_hand(&bench).await;
    let mut blob = bench.store.blobs().create().unwrap();
    blob.write(&vec![b' '; BLOB_THRESHOLD_BYTES as usize + 1])
        .unwrap();
    let finish = Finish {
        result: Some(Payload::Blob(blob.finish().unwrap())),
        ..done(&push, "")
    };
    bench.store.finish(SERVICE, finish).await.unwrap();
    let open = put(&bench, "waits").await;
    assert_eq!(
        ticket(&bench, id).await.result_bytes,
        BLOB_THRESHOLD_BYTES + 1
    );
    assert_eq!(bench.blob_files(), 1);

    bench.clock.pass(Duration::from_secs(7200));
    bench.tick().await;
    assert!(bench.store.ticket(id, OWNER).await.unwrap().is_none());
    assert_eq!(bench.blob_files(), 0);
    assert_eq!(ticket(&bench, open).await.state, TicketState::Open);
    bench.sql("DELETE FROM ticket");
    bench.crash().await;
    assert_eq!(put(&bench, "next").await, open + 1);
}

#[tokio::test]
async fn a_full_queue_gives_out_no_number() {
    let mut spec = once();
    spec.queue.source.max_entries = Some(1);
    let bench = Bench::new(spec);
    let id = put(&bench, "r").await;
    let new = NewEntry {
        request_id: "more".into(),
        ..entry("more")
    };
    let refused = bench.store.put_with_ticket(SERVICE, new, of_app()).await;
    assert!(matches!(refused, Err(QueueError::Full { .. })));
    delete(&bench, 1).await;
    assert_eq!(put(&bench, "r").await, id + 1);
}
