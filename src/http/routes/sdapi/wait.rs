//! From an entry in the queue to the answer.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;

use super::{error::SdRefusal, task::Task};
use crate::http::{
    routes::{awaited, queue::answer::held},
    state::{App, ServiceEntry},
};

/// Names the job of a request.
const JOB_HEADER: HeaderName = HeaderName::from_static("x-photog-job");

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
    let taken = awaited::take(app, entry, &task.id, task.job.as_ref()).await?;
    app.0.sd.note_end(&task.id);
    if let Some(status) = taken.failed {
        let failed: Failed = serde_json::from_slice(&taken.data).unwrap_or_default();
        return Ok(SdRefusal::failed(status, failed.code, failed.message).into_response());
    }
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((kind, held(taken.data, taken.room)).into_response())
}
