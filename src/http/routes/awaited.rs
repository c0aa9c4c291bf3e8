//! A request that becomes an entry of a service and is answered with its result, which leaves the
//! sink by that.
//!
//! So such requests are as durable, listed, cancelled and scaled as every other entry. A client that
//! goes away takes its entry with it, if nobody else can ask for the result ([`Unattended`]).

use std::time::Duration;

use bytes::Bytes;
use tokio::{runtime::Handle, sync::OwnedSemaphorePermit};

use crate::{
    domain::Tags,
    http::{
        error::Refusal,
        state::{App, ServiceEntry, until},
    },
    queue::{
        BLOB_THRESHOLD_BYTES, BlobFolder, Filter, Frame, Get, JobKey, NewEntry, Payload,
        QueueError, QueueKey,
    },
};

use super::blocking;

/// The tag of a failed result: its status.
const STATUS_TAG: &str = "lastCode";
/// Shortest time between two looks whether a job is still there.
const REST: Duration = Duration::from_millis(250);

/// Stores an entry under an id by which its result is waited for.
pub(super) async fn put(
    app: &App,
    entry: &ServiceEntry,
    id: &str,
    tags: Tags,
    payload: Payload,
) -> Result<JobKey, QueueError> {
    let new = NewEntry {
        request_id: id.to_owned(),
        tags,
        priority: 0,
        payload,
    };
    let done = app.0.store.put(&entry.source, new).await?;
    Ok(key(entry, done.index))
}

/// A payload of these parts, one after another; a large one goes to a file. Blocks.
pub(super) fn payload(parts: &[&[u8]], blobs: &BlobFolder) -> Result<Payload, QueueError> {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    if size as u64 <= BLOB_THRESHOLD_BYTES {
        return Ok(Payload::Inline(parts.concat().into()));
    }
    let mut blob = blobs.create()?;
    for part in parts {
        blob.write(part)?;
    }
    Ok(Payload::Blob(blob.finish()?))
}

/// The job of an id that waits or runs.
pub(super) async fn find_job(
    app: &App,
    entry: &ServiceEntry,
    id: &str,
) -> Result<Option<JobKey>, QueueError> {
    let Some(frame) = look(app, &entry.source, id).await? else {
        return Ok(None);
    };
    let job = key(entry, frame.index);
    // An entry that is done stays for as long as another group watches.
    let known = app.0.store.job(job.clone()).await?;
    Ok(known
        .is_some_and(|known| known.finished_ms.is_none())
        .then_some(job))
}

/// The job of an entry of the input queue.
pub(super) fn key(entry: &ServiceEntry, index: u64) -> JobKey {
    JobKey {
        service: entry.spec().name.as_str().into(),
        index,
    }
}

/// The entry of an id, which stays where it is.
pub(super) async fn look(
    app: &App,
    queue: &QueueKey,
    id: &str,
) -> Result<Option<Frame>, QueueError> {
    let get = Get {
        filter: Filter::from(id),
        length: 1,
        auto_delete: false,
        wait: false,
    };
    Ok(app.0.store.get(queue, get, Duration::ZERO).await?.pop())
}

/// A result that was taken.
pub(super) struct Taken {
    /// The status of a failure; `None` for a success.
    pub(super) failed: Option<u16>,
    /// What the engine answered.
    pub(super) data: Bytes,
    /// Room in memory for it; to be kept for as long as it is.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// Waits for the result of an id and takes it out of the sink. Without a job it is not waited for.
pub(super) async fn take(
    app: &App,
    entry: &ServiceEntry,
    id: &str,
    job: Option<&JobKey>,
) -> Result<Taken, Refusal> {
    let frame = result(app, &entry.sink, id, job, false).await?;
    let Some(mut frame) = frame else {
        app.check_running()?;
        let text = "the job was deleted before it was done; send the request again";
        return Err(Refusal::new(500, text));
    };
    let room = app.reserve_answer(frame.size()).await;
    let data = frame.take_data();
    let data = blocking(move || data.into_bytes()).await??;
    // Two clients that wait for one id both have it by now.
    app.0.store.delete(&entry.sink, vec![frame.index]).await?;
    let status = frame.tags.get(STATUS_TAG);
    Ok(Taken {
        failed: status.map(|status| status.parse().unwrap_or(500)),
        data,
        room,
    })
}

/// The result of an id. With a job it is waited for; `None` when that ends without one.
async fn result(
    app: &App,
    sink: &QueueKey,
    id: &str,
    job: Option<&JobKey>,
    auto_delete: bool,
) -> Result<Option<Frame>, QueueError> {
    let get = Get {
        filter: Filter::from(id),
        length: 1,
        auto_delete,
        wait: job.is_some(),
    };
    let end = async {
        if let Some(job) = job {
            without_a_result(app, job).await;
        }
    };
    Ok(app.0.store.get_until(sink, get, end).await?.pop())
}

/// Returns when a job will have no result: somebody deleted its entry, or the program stops before
/// it has begun.
async fn without_a_result(app: &App, job: &JobKey) {
    let pool = app.0.scheduler.pool();
    let source = QueueKey::source(job.service.clone());
    let mut stopping = app.stopping();
    loop {
        let changed = app.0.changed.notified();
        let found = app
            .0
            .store
            .search(&source, job.index, &job.service, "")
            .await;
        let stops = app.check_running().is_err();
        if found.is_err() || (stops && pool.progress(job).is_none()) {
            return;
        }
        tokio::select! {
            () = changed => {}
            () = until(&mut stopping), if !stops => {}
        }
        tokio::time::sleep(REST).await;
    }
}

/// An entry whose client may go away. Nobody else will ask for its result, so it goes with the
/// client.
///
/// Made before the entry is put, so that no moment is left in which a client can go unnoticed.
pub(super) struct Unattended {
    app: App,
    service: String,
    id: Option<String>,
}

impl Unattended {
    /// From now on the entry of this id goes with its client.
    pub(super) fn new(app: &App, entry: &ServiceEntry, id: &str) -> Self {
        Self {
            app: app.clone(),
            service: entry.spec().name.clone(),
            id: Some(id.to_owned()),
        }
    }

    /// The client has its answer.
    pub(super) fn has_been_answered(mut self) {
        self.id = None;
    }
}

impl Drop for Unattended {
    fn drop(&mut self) {
        // Without a runtime the program has ended.
        let (Some(id), Ok(runtime)) = (self.id.take(), Handle::try_current()) else {
            return;
        };
        let (app, service) = (self.app.clone(), std::mem::take(&mut self.service));
        runtime.spawn(async move {
            // A store that has closed keeps the result until its time is over.
            let _ = forget(&app, &service, &id).await;
        });
    }
}

/// Cancels a job and removes its result.
async fn forget(app: &App, service: &str, id: &str) -> Result<(), Refusal> {
    let entry = app.service(service)?;
    let job = find_job(app, entry, id).await?;
    if let Some(job) = &job {
        let (service, index) = (&*job.service, job.index);
        tracing::info!(
            service,
            index,
            "nobody waits for the result any more; the job is cancelled"
        );
        // One that has ended at this moment has a result, which is removed as well.
        let _ = app.0.scheduler.pool().cancel(job.clone()).await;
    }
    result(app, &entry.sink, id, job.as_ref(), true).await?;
    Ok(())
}
