//! `GET /api/jobs` and what can be done with a job: look at its unfinished work, cancel it, try it again.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::{
        error::{ApiRefusal, Refusal},
        state::App,
    },
    queue::{Job, JobKey, JobState, JobsPage},
    workers::JobProgress,
};

use super::time_text;

const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 1000;

/// A job: one entry of a service's input queue and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobView {
    /// `<service>-<index>`.
    pub id: String,
    /// Name of the service.
    pub service: String,
    /// Index in the input queue.
    pub index: u64,
    /// Request id of the queue entry.
    pub request_id: String,
    /// `waiting`, `running`, `done`, `failed` or `cancelled`.
    pub state: String,
    /// How often it was handed to a slot.
    pub deliveries: u32,
    /// 0.0 to 1.0 while it runs, 1.0 once done.
    pub progress: Option<f64>,
    /// One line about the progress.
    pub note: Option<String>,
    /// Where it stands while it runs, if it is a training.
    pub training: Option<TrainingView>,
    /// When it was put.
    pub created: String,
    /// When the last attempt began.
    pub started: Option<String>,
    /// When it ended.
    pub finished: Option<String>,
    /// Seconds since it was put, or from put to end.
    pub age_seconds: f64,
    /// `OK` or a problem code once it ended.
    pub code: Option<String>,
    /// One line about the end.
    pub message: Option<String>,
    /// It can be tried again.
    pub retryable: bool,
}

/// Where a training stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrainingView {
    /// `preparing`, `training`, `validating` or `finishing`.
    pub phase: String,
    /// Steps that are done.
    pub step: u32,
    /// All steps; 0 as long as it is not known.
    pub steps: u32,
    /// Loss of the last step.
    pub loss: Option<f64>,
    /// Learning rate of the last step.
    pub rate: Option<f64>,
    /// About how many seconds it will go on, once that can be told.
    pub remaining_seconds: Option<f64>,
}

/// A page of jobs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobList {
    /// The jobs.
    pub jobs: Vec<JobView>,
    /// Value of `after` for the next page; null on the last one.
    pub next: Option<String>,
}

/// Jobs that wait, run or have ended, newest first.
#[utoipa::path(get, path = "/api/jobs", tag = "jobs",
    params(
        ("service" = Option<String>, Query, description = "Only this service"),
        ("state" = Option<String>, Query, description = "Only waiting, running, done, failed or cancelled jobs"),
        ("limit" = Option<u32>, Query, description = "Most jobs in the answer, 1 to 1000; 50 when absent"),
        ("after" = Option<String>, Query, description = "`next` of the page before")),
    responses(
        (status = 200, body = JobList),
        (status = 400, description = "A parameter is malformed"),
        (status = 401, description = "The token is missing or wrong")))]
pub async fn list(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<JobList>, ApiRefusal> {
    app.authorize(&headers)?;
    let mut page = read_page(query.as_deref().unwrap_or_default())?;
    let limit = page.limit;
    // One more than asked for tells whether there is a next page.
    page.limit += 1;
    let mut jobs = app.0.store.jobs(page).await?;
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    let last = jobs.last().filter(|_| more);
    let next = last.map(|job| format!("{}.{}.{}", job.created_ms, job.key.service, job.key.index));
    let jobs = jobs.into_iter().map(|job| view(&app, job)).collect();
    Ok(Json(JobList { jobs, next }))
}

/// One job.
#[utoipa::path(get, path = "/api/jobs/{job}", tag = "jobs",
    params(("job" = String, Path, description = "`<service>-<index>`")),
    responses(
        (status = 200, body = JobView),
        (status = 401, description = "The token is missing or wrong"),
        (status = 404, description = "There is no such job")))]
pub async fn one(
    State(app): State<App>,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Result<Json<JobView>, ApiRefusal> {
    app.authorize(&headers)?;
    let key = read_key(&job)?;
    let found = app
        .0
        .store
        .job(key)
        .await?
        .ok_or_else(|| no_such_job(&job))?;
    Ok(Json(view(&app, found)))
}

/// The latest picture of a running job's unfinished work: of a training, a validation picture of its
/// last checkpoint. Jobs that make pictures make previews for a few seconds after somebody asked, so
/// ask again.
#[utoipa::path(get, path = "/api/jobs/{job}/preview", tag = "jobs",
    params(("job" = String, Path, description = "`<service>-<index>`")),
    responses(
        (status = 200, description = "A small PNG", content_type = "image/png", body = Vec<u8>),
        (status = 401, description = "The token is missing or wrong"),
        (status = 404, description = "There is no such job, it does not run, or it has no picture yet")))]
pub async fn preview(
    State(app): State<App>,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiRefusal> {
    app.authorize(&headers)?;
    let key = read_key(&job)?;
    if let Some(preview) = app.0.scheduler.pool().preview(&key) {
        let head = [
            (header::CONTENT_TYPE, "image/png"),
            // Pictures of people stay in no cache.
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        return Ok((head, preview.png).into_response());
    }
    let found = app.0.store.job(key).await?;
    let found = found.ok_or_else(|| no_such_job(&job))?;
    let text = match found.state {
        JobState::Running => format!("job {job} has no picture of its work yet; ask again later"),
        state => format!(
            "job {job} is {}; only a running job has a picture of its unfinished work",
            state.as_str()
        ),
    };
    Err(Refusal::new(404, text).into())
}

/// Cancels a job: one that waits ends at once, one that runs is told to stop. With `keep=true` one that
/// runs is told to finish early and to succeed with what it has.
#[utoipa::path(post, path = "/api/jobs/{job}/cancel", tag = "jobs",
    params(
        ("job" = String, Path, description = "`<service>-<index>`"),
        ("keep" = Option<bool>, Query, description = "true: a training makes the person of what has been learned so far, and pictures that are done are the result; jobs that have no such parts go on as they were. false, and when absent: the job ends as cancelled")),
    responses(
        (status = 200, description = "The job as it stands now", body = JobView),
        (status = 400, description = "A parameter is malformed"),
        (status = 401, description = "The token is missing or wrong"),
        (status = 404, description = "There is no such job"),
        (status = 409, description = "The job has ended")))]
pub async fn cancel(
    State(app): State<App>,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<JobView>, ApiRefusal> {
    app.authorize(&headers)?;
    let key = read_key(&job)?;
    let keeps = read_keep(query.as_deref().unwrap_or_default())?;
    let before = app
        .0
        .store
        .job(key.clone())
        .await?
        .ok_or_else(|| no_such_job(&job))?;
    if before.finished_ms.is_some() {
        let text = format!(
            "job {job} has ended as {}; there is nothing to cancel",
            before.state.as_str()
        );
        return Err(Refusal::new(409, text).into());
    }
    let pool = app.0.scheduler.pool();
    if keeps {
        pool.cancel_and_keep(key.clone()).await?;
    } else {
        pool.cancel(key.clone()).await?;
    }
    let after = app
        .0
        .store
        .job(key)
        .await?
        .ok_or_else(|| no_such_job(&job))?;
    Ok(Json(view(&app, after)))
}

/// Puts the request of a failed or cancelled job into the line again, with its request id and tags.
#[utoipa::path(post, path = "/api/jobs/{job}/retry", tag = "jobs",
    params(("job" = String, Path, description = "`<service>-<index>`")),
    responses(
        (status = 200, description = "The new job", body = JobView),
        (status = 401, description = "The token is missing or wrong"),
        (status = 404, description = "There is no such job among those that have ended"),
        (status = 409, description = "It succeeded, or its request is not kept any longer"),
        (status = 450, description = "The queue is full"),
        (status = 503, description = "The program is stopping")))]
pub async fn retry(
    State(app): State<App>,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Result<Json<JobView>, ApiRefusal> {
    app.authorize(&headers)?;
    app.check_running()?;
    let key = read_key(&job)?;
    let service = Arc::clone(&key.service);
    let done = app.0.store.retry(key).await.map_err(|error| match error {
        crate::queue::QueueError::NotFound => no_such_job(&job),
        other => other.into(),
    })?;
    let new = JobKey {
        service,
        index: done.index,
    };
    let found = app
        .0
        .store
        .job(new)
        .await?
        .ok_or_else(|| no_such_job(&job))?;
    Ok(Json(view(&app, found)))
}

pub(super) fn view(app: &App, job: Job) -> JobView {
    let progress = app.0.scheduler.pool().progress(&job.key);
    let fraction = match job.state {
        JobState::Done => Some(1.0),
        JobState::Running => Some(progress.as_ref().map_or(0.0, |progress| progress.fraction)),
        _ => None,
    };
    let now_ms = app.0.store.now_ms();
    let end_ms = job.finished_ms.unwrap_or(now_ms);
    JobView {
        id: format!("{}-{}", job.key.service, job.key.index),
        service: job.key.service.to_string(),
        index: job.key.index,
        request_id: job.request_id,
        state: job.state.as_str().to_owned(),
        deliveries: job.deliveries,
        progress: fraction,
        training: progress.as_ref().and_then(TrainingView::of),
        note: progress
            .map(|progress| progress.note)
            .filter(|note| !note.is_empty()),
        created: time_text(job.created_ms),
        started: job.started_ms.map(time_text),
        finished: job.finished_ms.map(time_text),
        age_seconds: (end_ms - job.created_ms).max(0) as f64 / 1000.0,
        code: job.code,
        message: job.message,
        retryable: job.retryable,
    }
}

impl TrainingView {
    /// That of a job's progress, if it is a training.
    pub(super) fn of(progress: &JobProgress) -> Option<Self> {
        let training = progress.training?;
        Some(Self {
            phase: training.phase.to_owned(),
            step: training.step,
            steps: training.steps,
            loss: training.loss,
            rate: training.rate,
            remaining_seconds: training.remaining.map(|left| left.as_secs_f64()),
        })
    }
}

fn read_keep(query: &str) -> Result<bool, Refusal> {
    let mut keeps = false;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if name == "keep" {
            keeps = value
                .parse()
                .map_err(|_| Refusal::bad_request("keep must be true or false"))?;
        }
    }
    Ok(keeps)
}

fn read_page(query: &str) -> Result<JobsPage, Refusal> {
    let mut page = JobsPage {
        limit: PAGE_DEFAULT,
        ..JobsPage::default()
    };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let malformed = |wanted: &str| Refusal::bad_request(format!("{name} must be {wanted}"));
        match &*name {
            "service" => page.service = Some(value.as_ref().into()),
            "state" => {
                let state = JobState::from_word(&value);
                page.state = Some(
                    state
                        .ok_or_else(|| malformed("waiting, running, done, failed or cancelled"))?,
                );
            }
            "limit" => {
                let limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=PAGE_MAX).contains(limit));
                page.limit = limit.ok_or_else(|| malformed("a number from 1 to 1000"))?;
            }
            "after" => {
                let before = read_cursor(&value);
                page.before = Some(before.ok_or_else(|| malformed("`next` of the page before"))?);
            }
            _ => {}
        }
    }
    Ok(page)
}

fn read_cursor(text: &str) -> Option<(i64, Arc<str>, u64)> {
    let (created, rest) = text.split_once('.')?;
    let (service, index) = rest.rsplit_once('.')?;
    Some((created.parse().ok()?, service.into(), index.parse().ok()?))
}

pub(super) fn read_key(text: &str) -> Result<JobKey, Refusal> {
    let parts = text
        .rsplit_once('-')
        .and_then(|(service, index)| Some((service, index.parse().ok()?)));
    let (service, index) = parts.ok_or_else(|| no_such_job(text))?;
    Ok(JobKey {
        service: service.into(),
        index,
    })
}

fn no_such_job(job: &str) -> Refusal {
    let shown: String = job.chars().take(100).collect();
    Refusal::new(
        404,
        format!("there is no job {shown:?}; GET /api/jobs lists them"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_cancelled_job_is_asked_for_in_so_many_words() {
        let read = |query: &str| read_keep(query).map_err(|refusal| refusal.status);
        assert_eq!(read(""), Ok(false));
        assert_eq!(read("keep=false"), Ok(false));
        assert_eq!(read("other=1&keep=true"), Ok(true));
        assert_eq!(read("keep=yes"), Err(400));
        assert_eq!(read("keep"), Err(400));
    }
}
