//! How far a job is, and asking it to finish early.
//!
//! The WebUI has one job at a time. Here a client may say which one it means, by the id of its task
//! or the name of its job; without that it is the one that began first.

use axum::{
    Json,
    body::Body,
    extract::{RawQuery, State},
    http::HeaderMap,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    error::{Caller, Done, SdError, SdRefusal},
    read_object, task,
};
use crate::{
    domain::REQUEST_ID_TAG,
    http::{
        routes::{awaited, jobs::read_key},
        state::{App, ServiceEntry},
    },
    queue::JobKey,
    workers::{Preview, RunningJob},
};

/// Largest body that asks for progress.
const BODY_BYTES_MAX: u64 = 64 * 1024;
/// A job that has only begun shows this, so that it is not taken for none.
const BEGUN: f64 = 0.01;

/// How far a job is. Without a parameter it is the job that began first.
#[utoipa::path(get, path = "/sdapi/v1/progress", tag = "webui",
    params(
        ("id_task" = Option<String>, Query, description = "The task with this id"),
        ("job" = Option<String>, Query, description = "The job of this name, as in the header `X-Photog-Job`"),
        ("skip_current_image" = Option<bool>, Query, description = "Leave out the picture of the unfinished work")),
    responses(
        (status = 200, description = "`progress`, `eta_relative`, `state`, `current_image` and `textinfo`; zero while nothing runs", body = Object),
        (status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 404, description = "`job` is no name of a job", body = SdError)))]
pub async fn progress(
    State(app): State<App>,
    _caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, SdRefusal> {
    let (which, skip_image) = Which::read(query.as_deref().unwrap_or_default())?;
    let Some(entry) = app.sd_service() else {
        return Ok(Json(idle(None)));
    };
    let Some(job) = which.running(&app, entry) else {
        let waits = which.waiting(&app, entry).await?;
        return Ok(Json(match waits {
            Some(key) => idle(Some(&queued(&app, entry, &key).await)),
            None => idle(None),
        }));
    };
    let pool = app.0.scheduler.pool();
    let preview = if skip_image {
        None
    } else {
        pool.preview(&job.key)
    };
    let (progress, eta) = (fraction(&job), remaining(&job));
    Ok(Json(json!({
        "progress": progress,
        "eta_relative": eta,
        "state": state(&job),
        "current_image": preview.map(|preview| BASE64_STANDARD.encode(&preview.png)),
        "textinfo": Some(&job.progress.note).filter(|note| !note.is_empty()),
    })))
}

/// Which task a page of the WebUI asks for.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TaskProgressRequest {
    /// Id of the task.
    id_task: Option<String>,
    /// Number of the last preview that the page has.
    id_live_preview: Option<i64>,
}

/// How far a task is, as pages of the WebUI ask for it.
#[utoipa::path(post, path = "/internal/progress", tag = "webui",
    request_body = TaskProgressRequest,
    responses(
        (status = 200, description = "`active`, `queued`, `paused`, `completed`, `progress`, `eta`, `live_preview`, `id_live_preview` and `textinfo`", body = Object),
        (status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 422, description = "The body is no JSON object", body = SdError)))]
pub async fn task_progress(
    State(app): State<App>,
    _caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, SdRefusal> {
    let given = read_object(&app, &headers, body, BODY_BYTES_MAX).await?;
    let given: TaskProgressRequest = serde_json::from_value(given.into())
        .map_err(|error| SdRefusal::new(422, error.to_string()))?;
    let id = given.id_task.unwrap_or_default();
    let which = Which::Task(id.clone());
    let entry = app.sd_service();
    if let Some(job) = entry.and_then(|entry| which.running(&app, entry)) {
        let preview = app.0.scheduler.pool().preview(&job.key);
        let is_new = |preview: &Preview| Some(preview.number as i64) != given.id_live_preview;
        let number = preview.as_ref().map_or(-1, |preview| preview.number as i64);
        let picture = preview.filter(is_new).map(|preview| {
            let text = BASE64_STANDARD.encode(&preview.png);
            format!("data:image/png;base64,{text}")
        });
        let (progress, eta) = (fraction(&job), remaining(&job));
        return Ok(Json(json!({
            "active": true, "queued": false, "paused": false, "completed": false,
            "progress": progress, "eta": eta, "live_preview": picture, "id_live_preview": number,
            "textinfo": Some(&job.progress.note).filter(|note| !note.is_empty()),
        })));
    }
    let waiting = match entry {
        Some(entry) => which.waiting(&app, entry).await?,
        None => None,
    };
    let text = match (entry, &waiting) {
        (Some(entry), Some(key)) => queued(&app, entry, key).await,
        _ => String::from("Waiting..."),
    };
    Ok(Json(json!({
        "active": false, "queued": waiting.is_some(), "paused": false,
        "completed": app.0.sd.has_ended(&id), "progress": null, "eta": null,
        "live_preview": null, "id_live_preview": -1, "textinfo": text,
    })))
}

/// Ends a job early with the pictures that it has. Without a parameter all that run are meant; a
/// job that is named and has not begun is cancelled.
#[utoipa::path(post, path = "/sdapi/v1/interrupt", tag = "webui",
    params(
        ("id_task" = Option<String>, Query, description = "The task with this id"),
        ("job" = Option<String>, Query, description = "The job of this name")),
    responses(
        (status = 200, description = "It was told so, if there is one"),
        (status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 404, description = "There is no such task or job", body = SdError)))]
pub async fn interrupt(
    State(app): State<App>,
    _caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, SdRefusal> {
    let (which, _) = Which::read(query.as_deref().unwrap_or_default())?;
    let pool = app.0.scheduler.pool();
    let Some(entry) = app.sd_service() else {
        return Ok(Json(json!({})));
    };
    let running = which.all_running(&app, entry);
    for job in &running {
        pool.interrupt(&job.key);
    }
    if running.is_empty() && !matches!(which, Which::First) {
        let waiting = which.waiting(&app, entry).await?.ok_or_else(no_such_task)?;
        pool.cancel(waiting).await?;
    }
    Ok(Json(json!({})))
}

/// Ends the present round of a job early and goes on with the next. Without a parameter all that
/// run are meant.
#[utoipa::path(post, path = "/sdapi/v1/skip", tag = "webui",
    params(
        ("id_task" = Option<String>, Query, description = "The task with this id"),
        ("job" = Option<String>, Query, description = "The job of this name")),
    responses(Done, (status = 404, description = "There is no such task or job that runs", body = SdError)))]
pub async fn skip(
    State(app): State<App>,
    _caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, SdRefusal> {
    let (which, _) = Which::read(query.as_deref().unwrap_or_default())?;
    let running = app.sd_service().map(|entry| which.all_running(&app, entry));
    let running = running.unwrap_or_default();
    if running.is_empty() && !matches!(which, Which::First) {
        return Err(no_such_task());
    }
    for job in running {
        app.0.scheduler.pool().skip(&job.key);
    }
    Ok(Json(Value::Null))
}

/// Which job a client means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Which {
    /// Whatever runs, first the one that began first.
    First,
    /// The one of this task.
    Task(String),
    /// This one.
    Job(JobKey),
}

impl Which {
    /// Reads a query, and whether it wants no picture.
    fn read(query: &str) -> Result<(Self, bool), SdRefusal> {
        let (mut which, mut skip_image) = (Self::First, false);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "id_task" if !value.is_empty() => which = Self::Task(value.into_owned()),
                "job" if !value.is_empty() => which = Self::Job(read_key(&value)?),
                "skip_current_image" => {
                    let word = value.to_ascii_lowercase();
                    skip_image = matches!(&*word, "true" | "1" | "yes" | "on");
                }
                _ => {}
            }
        }
        Ok((which, skip_image))
    }

    fn all_running(&self, app: &App, entry: &ServiceEntry) -> Vec<RunningJob> {
        let mut jobs = app.0.scheduler.pool().running_of(&entry.spec().name);
        jobs.retain(|job| match self {
            Self::First => true,
            Self::Task(id) => job.tags.get(REQUEST_ID_TAG) == Some(id),
            Self::Job(key) => job.key == *key,
        });
        jobs
    }

    fn running(&self, app: &App, entry: &ServiceEntry) -> Option<RunningJob> {
        self.all_running(app, entry).into_iter().next()
    }

    /// The job that is named and has not begun.
    async fn waiting(&self, app: &App, entry: &ServiceEntry) -> Result<Option<JobKey>, SdRefusal> {
        match self {
            Self::First => Ok(None),
            Self::Task(id) => Ok(awaited::find_job(app, entry, id).await?),
            Self::Job(key) => {
                let job = app.0.store.job(key.clone()).await?;
                let ours = *key.service == *entry.spec().name;
                let waits = job.is_some_and(|job| job.finished_ms.is_none());
                Ok((ours && waits).then(|| key.clone()))
            }
        }
    }
}

fn no_such_task() -> SdRefusal {
    SdRefusal::new(404, "there is no such task among those that wait or run")
}

/// A line about a job that has not begun.
async fn queued(app: &App, entry: &ServiceEntry, key: &JobKey) -> String {
    let name = &entry.spec().name;
    let found = app.0.store.search(&entry.source, key.index, name, "").await;
    // One that began or ended at this moment has nothing before it.
    let before = found.map_or(0, |found| found.wait_count);
    format!("Queued, {before} before it")
}

fn idle(text: Option<&str>) -> Value {
    json!({
        "progress": 0.0,
        "eta_relative": 0.0,
        "state": {
            "skipped": false, "interrupted": false, "stopping_generation": false, "job": "",
            "job_count": 0, "job_timestamp": "0", "job_no": 0, "sampling_step": 0,
            "sampling_steps": 0,
        },
        "current_image": null,
        "textinfo": text,
    })
}

fn state(job: &RunningJob) -> Value {
    let steps = job.steps.unwrap_or_default();
    json!({
        "skipped": job.skipped,
        "interrupted": job.interrupted,
        "stopping_generation": false,
        "job": format!("scripts_{}", job.tags.get(task::TASK_TAG).unwrap_or("unknown")),
        "job_count": steps.rounds.max(1),
        "job_timestamp": timestamp(job.began_ms),
        "job_no": steps.round,
        "sampling_step": steps.step,
        "sampling_steps": steps.steps,
    })
}

/// How much is done, above 0 and at most 1.
fn fraction(job: &RunningJob) -> f64 {
    let done = job.steps.map_or(job.progress.fraction, |steps| {
        let of_round = f64::from(steps.step) / f64::from(steps.steps.max(1));
        (f64::from(steps.round) + of_round) / f64::from(steps.rounds.max(1))
    });
    (BEGUN + done).min(1.0)
}

/// Seconds that are left, if the rest goes as what is done.
fn remaining(job: &RunningJob) -> f64 {
    let worked = job.worked.as_secs_f64();
    worked / fraction(job) - worked
}

/// A time as `YYYYMMDDhhmmss`, in UTC.
fn timestamp(ms: i64) -> String {
    let text = crate::http::routes::time_text(ms);
    text.chars().filter(char::is_ascii_digit).take(14).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{domain::Tags, workers::JobProgress};

    fn job() -> RunningJob {
        RunningJob {
            key: JobKey {
                service: "photog_sd".into(),
                index: 3,
            },
            tags: Tags::default().with("task", "txt2img"),
            began_ms: 1_767_225_600_123,
            worked: Duration::from_secs(6),
            progress: JobProgress {
                fraction: 0.29,
                note: String::new(),
                training: None,
            },
            steps: None,
            skipped: false,
            interrupted: true,
        }
    }

    #[test]
    fn progress_is_that_of_the_steps_and_tells_the_time_left() {
        let mut job = job();
        assert!((fraction(&job) - 0.3).abs() < 1e-9);
        assert!((remaining(&job) - 14.0).abs() < 1e-9);
        let state = state(&job);
        assert_eq!(state["job"], "scripts_txt2img");
        assert_eq!(state["job_count"], 1);
        assert_eq!(state["interrupted"], true);
        assert_eq!(state["job_timestamp"], "20260101000000");
        job.progress.fraction = 1.0;
        assert_eq!(fraction(&job), 1.0);
    }

    #[test]
    fn a_query_names_a_task_or_a_job_or_neither() {
        let read = |query| Which::read(query).unwrap();
        assert_eq!(read(""), (Which::First, false));
        assert_eq!(read("skip_current_image=True"), (Which::First, true));
        let task = Which::Task(String::from("task(a b)"));
        assert_eq!(read("id_task=task%28a+b%29&other=1"), (task, false));
        assert_eq!(read("job=photog_sd-3").0, Which::Job(job().key));
        assert!(Which::read("job=3").is_err());
    }
}
