//! Calls that are answered with their result: checks of photos, and portraits.

use axum::{
    extract::{Request, State},
    response::Response,
};

use super::{
    call::{self, Asked, Task},
    envelope::{self, Data, Envelope, Refused},
};
use crate::{
    domain::Problem,
    http::{
        routes::awaited::{self, Unattended},
        state::App,
    },
};

/// Judges photos.
///
/// The answer comes when all photos are judged, and is `OK` whatever the verdicts are. A client that
/// goes away before that takes the job with it.
#[utoipa::path(post, path = "/api/v1/aigc_images/check", tag = "hosted",
    request_body(content_type = "application/json", description = "`images`; `action` AIGCImageCheck, `model_name` and `configure` may be left out", content = Object),
    responses(
        (status = 200, description = "`data` has `check_results`, and what else the service says", body = Envelope),
        (status = 400, description = "The body is no JSON object, or something in it cannot be used", body = Envelope),
        (status = 401, description = "The app is not known (`APPID_NOT_FOUND`), or the signature is missing or wrong (`SIGN_ERROR`)", body = Envelope),
        (status = 404, description = "`model_name` names no service for this", body = Envelope),
        (status = 408, description = "The body did not arrive in time, or the work took longer than `keepalive`", body = Envelope),
        (status = 413, description = "Larger than the service accepts", body = Envelope),
        (status = 429, description = "Above the service's rate or concurrency limit", body = Envelope),
        (status = 450, description = "The queue is full", body = Envelope),
        (status = 503, description = "Something is missing that `message` names, or the program is stopping", body = Envelope),
        (status = 507, description = "The disk is nearly full", body = Envelope)))]
pub async fn check(State(app): State<App>, request: Request) -> Response {
    answer(&app, request, Task::Check).await
}

/// Makes a portrait of one or several trained persons.
///
/// The answer comes when the portrait is made. A client that goes away before that takes the job with
/// it.
#[utoipa::path(post, path = "/api/v1/aigc_images/create", tag = "hosted",
    request_body(content_type = "application/json", description = "`model_id` or `model_ids`, and `template_image`; `action` AIGCImageCreate, `model_name` and `configure` may be left out", content = Object),
    responses(
        (status = 200, description = "`data` has `image` in base64, `cost_time`, and what else the service says", body = Envelope),
        (status = 400, description = "The body is no JSON object, or something in it cannot be used", body = Envelope),
        (status = 401, description = "The app is not known (`APPID_NOT_FOUND`), or the signature is missing or wrong (`SIGN_ERROR`)", body = Envelope),
        (status = 404, description = "Nobody of that id is trained, or `model_name` names no service for this", body = Envelope),
        (status = 408, description = "The body did not arrive in time, or the work took longer than `keepalive`", body = Envelope),
        (status = 413, description = "Larger than the service accepts, or than its result may be", body = Envelope),
        (status = 422, description = "The template shows no face, or another number of faces than ids were given", body = Envelope),
        (status = 429, description = "Above the service's rate or concurrency limit", body = Envelope),
        (status = 450, description = "The queue is full", body = Envelope),
        (status = 503, description = "Something is missing that `message` names, or the program is stopping", body = Envelope),
        (status = 507, description = "The disk is nearly full", body = Envelope)))]
pub async fn create(State(app): State<App>, request: Request) -> Response {
    answer(&app, request, Task::Create).await
}

async fn answer(app: &App, request: Request, task: Task) -> Response {
    let id = call::new_id();
    let done = run(app, request, task, &id).await;
    envelope::answer(&id, done)
}

async fn run(app: &App, request: Request, task: Task, id: &str) -> Result<Data, Refused> {
    let asked = Asked::receive(app, request, task, id).await?;
    let entry = call::service(app, task, &asked.model_name)?;
    app.check_running()?;
    let _place = entry.enter()?;
    entry.count_put()?;
    let payload = asked.payload(app).await?;
    let unattended = Unattended::new(app, entry, id);
    let job = awaited::put(app, entry, id, call::tags(), payload).await?;
    let keepalive = entry.spec().keepalive;
    let taken = tokio::time::timeout(keepalive, awaited::take(app, entry, id, Some(&job)));
    let taken = taken.await.map_err(|_| {
        let text = "waiting and work together took longer than the service's keepalive, and the job \
                    was cancelled; try again later, or raise `metadata.rpc.keepalive`";
        Refused::problem(Problem::Timeout, text)
    })??;
    unattended.has_been_answered();
    Data::of_result(taken).await
}
