//! Trainings: put, and answered with the number by which to ask for their end.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::json;
use uuid::Uuid;

use super::{
    call::{self, Asked, Task},
    envelope::{self, Data, Envelope, Refused},
};
use crate::{
    http::state::App,
    queue::{NewEntry, NewTicket},
};

/// Trains a person.
///
/// The answer comes at once, when the request and the number of its job are on disk; ask for the job at
/// `/api/v1/async_jobs/{job}`. A person who is trained has the id `model_id` from then on.
#[utoipa::path(post, path = "/api/v1/aigc_images/train", tag = "hosted",
    request_body(content_type = "application/json", description = "`images`; `action` AIGCImageTrain, `model_name` and `configure` may be left out", content = Object),
    responses(
        (status = 200, description = "`data` has `job_id`, a number of at most 31 bits, and `model_id`", body = Envelope),
        (status = 400, description = "The body is no JSON object, or something in it cannot be used", body = Envelope),
        (status = 401, description = "The app is not known (`APPID_NOT_FOUND`), or the signature is missing or wrong (`SIGN_ERROR`)", body = Envelope),
        (status = 404, description = "`model_name` names no service for this", body = Envelope),
        (status = 408, description = "The body did not arrive in time", body = Envelope),
        (status = 413, description = "Larger than the service accepts", body = Envelope),
        (status = 429, description = "Above the service's rate or concurrency limit", body = Envelope),
        (status = 450, description = "The queue is full", body = Envelope),
        (status = 503, description = "The program is stopping", body = Envelope),
        (status = 507, description = "The disk is nearly full", body = Envelope)))]
pub async fn train(State(app): State<App>, request: Request) -> Response {
    let id = call::new_id();
    let done = run(&app, request, &id).await;
    envelope::answer(&id, done)
}

async fn run(app: &App, request: Request, id: &str) -> Result<Data, Refused> {
    let asked = Asked::receive(app, request, Task::Train, id).await?;
    let entry = call::service(app, Task::Train, &asked.model_name)?;
    app.check_running()?;
    let _place = entry.enter()?;
    entry.count_put()?;
    let model_id = Uuid::new_v4().as_hyphenated().to_string();
    let ticket = NewTicket {
        owner: asked.app_id.clone(),
        model_id: model_id.clone(),
    };
    let asked = asked.with("model_id", &model_id);
    let new = NewEntry {
        request_id: id.to_owned(),
        tags: call::tags().with("model_id", &model_id),
        priority: 0,
        payload: asked.payload(app).await?,
    };
    let service = &entry.spec().name;
    let job_id = app.0.store.put_with_ticket(service, new, ticket).await?;
    let data = [
        (String::from("job_id"), json!(job_id)),
        (String::from("model_id"), json!(model_id)),
    ];
    Ok(Data::from(
        data.into_iter().collect::<serde_json::Map<_, _>>(),
    ))
}
