//! From an entry in the queue to the answer.

use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use tokio::runtime::Handle;

use super::{
    blocking,
    error::SdRefusal,
    task::{Task, find_job},
};
use crate::{
    http::{
        routes::queue::answer::held,
        state::{App, ServiceEntry, until},
    },
    queue::{Filter, Frame, Get, JobKey, QueueError, QueueKey},
};

/// Names the job of a request.
const JOB_HEADER: HeaderName = HeaderName::from_static("x-photog-job");
/// The tag of a failed result: its status.
const STATUS_TAG: &str = "lastCode";
/// Shortest time between two looks whether a job is still there.
const REST: Duration = Duration::from_millis(250);

/// What engines say of a failure.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Failed {
    #[serde(alias = "error")]
    code: String,
    #[serde(alias = "detail")]
    message: String,
}

/// Waits for the result of a task, takes it out of the sink and answers with it.
pub(super) async fn answer(app: &App, entry: &ServiceEntry, task: Task) -> Response {
    let mut response = match take(app, entry, &task).await {
        Ok(response) => {
            if let Some(unattended) = task.unattended {
                unattended.has_been_answered();
            }
            response
        }
        Err(refusal) => refusal.into_response(),
    };
    let job = task.job.map(|job| format!("{}-{}", job.service, job.index));
    // The name of a service is plain text.
    if let Some(value) = job.and_then(|job| HeaderValue::from_str(&job).ok()) {
        response.headers_mut().insert(JOB_HEADER, value);
    }
    response
}

async fn take(app: &App, entry: &ServiceEntry, task: &Task) -> Result<Response, SdRefusal> {
    let store = &app.0.store;
    let frame = result(app, &entry.sink, &task.id, task.job.as_ref(), false).await?;
    let Some(mut frame) = frame else {
        app.check_running()?;
        let text = "the job was deleted before it was done; send the request again";
        return Err(SdRefusal::new(500, text));
    };
    let room = app.reserve_answer(frame.size()).await;
    let data = frame.take_data();
    let data = blocking(move || data.into_bytes()).await??;
    // Two clients that wait for one task both have it by now.
    store.delete(&entry.sink, vec![frame.index]).await?;
    app.0.sd.note_end(&task.id);
    if let Some(status) = frame.tags.get(STATUS_TAG) {
        let failed: Failed = serde_json::from_slice(&data).unwrap_or_default();
        let status = status.parse().unwrap_or(500);
        return Ok(SdRefusal::failed(status, failed.code, failed.message).into_response());
    }
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((kind, held(data, room)).into_response())
}

/// The result of a task. With a job it is waited for; `None` when that ends without one.
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

/// A task whose client may go away. Nobody else will ask for its result, so it goes with the client.
///
/// Made before the task is put, so that no moment is left in which a client can go unnoticed.
pub(super) struct Unattended {
    app: App,
    id: Option<String>,
}

impl Unattended {
    /// From now on the task of this id goes with its client.
    pub(super) fn new(app: &App, id: &str) -> Self {
        Self {
            app: app.clone(),
            id: Some(id.to_owned()),
        }
    }

    fn has_been_answered(mut self) {
        self.id = None;
    }
}

impl Drop for Unattended {
    fn drop(&mut self) {
        // Without a runtime the program has ended.
        let (Some(id), Ok(runtime)) = (self.id.take(), Handle::try_current()) else {
            return;
        };
        let app = self.app.clone();
        runtime.spawn(async move {
            // A store that has closed keeps the result until its time is over.
            let _ = forget(&app, &id).await;
        });
    }
}

/// Cancels a task and removes its result.
async fn forget(app: &App, id: &str) -> Result<(), SdRefusal> {
    let Some(entry) = app.sd_service() else {
        return Ok(());
    };
    let job = find_job(app, entry, id).await?;
    if let Some(job) = &job {
        let (service, index) = (&*job.service, job.index);
        tracing::info!(service, index, "a client went away; its job is cancelled");
        // One that has ended at this moment has a result, which is removed as well.
        let _ = app.0.scheduler.pool().cancel(job.clone()).await;
    }
    result(app, &entry.sink, id, job.as_ref(), true).await?;
    Ok(())
}
