//! Where a training stands, asked for by the number of its job.

use axum::{
    extract::{Path, Request, State},
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{
    call::{self, QUESTION_BYTES_MAX},
    envelope::{self, Data, Envelope, Refused},
};
use crate::{
    http::{routes::blocking, state::App},
    queue::{Ticket, TicketState},
};

/// Copies of a result that an answer holds: the two members, and the text around them.
const COPIES: u64 = 4;

/// Where a training stands.
///
/// `state` of `data.job` is 1 while it waits or runs, 2 after a success and 3 after any other end.
/// `Result`, and the same as `result`, is the result of the service as a JSON text, empty before
/// the end. An app sees its own jobs only. Ended ones are known for as long as the job list keeps
/// them.
#[utoipa::path(post, path = "/api/v1/async_jobs/{job}", tag = "hosted",
    params(("job" = String, Path, description = "`job_id` of the training")),
    responses(
        (status = 200, description = "`data` has `job`", body = Envelope),
        (status = 401, description = "The app is not known (`APPID_NOT_FOUND`), or the signature is missing or wrong (`SIGN_ERROR`)", body = Envelope),
        (status = 404, description = "This app has no such job (`JOB_NOT_FOUND`)", body = Envelope),
        (status = 413, description = "The body is larger than a question", body = Envelope)))]
pub async fn one(State(app): State<App>, Path(job): Path<String>, request: Request) -> Response {
    let id = call::new_id();
    let done = run(&app, &job, request).await;
    envelope::answer(&id, done)
}

/// Where a training stands: the same as with POST, which all clients use.
#[utoipa::path(get, path = "/api/v1/async_jobs/{job}", tag = "hosted",
    params(("job" = String, Path, description = "`job_id` of the training")),
    responses(
        (status = 200, description = "`data` has `job`", body = Envelope),
        (status = 401, description = "The app is not known (`APPID_NOT_FOUND`), or the signature is missing or wrong (`SIGN_ERROR`)", body = Envelope),
        (status = 404, description = "This app has no such job (`JOB_NOT_FOUND`)", body = Envelope)))]
pub async fn look(state: State<App>, job: Path<String>, request: Request) -> Response {
    one(state, job, request).await
}

/// A batch of jobs; no call of this server makes one.
#[utoipa::path(get, path = "/api/v1/batch_jobs/{batch}", tag = "hosted",
    params(("batch" = String, Path, description = "Number of the batch")),
    responses(
        (status = 401, description = "The app is not known (`APPID_NOT_FOUND`), or the signature is missing or wrong (`SIGN_ERROR`)", body = Envelope),
        (status = 404, description = "There is no such batch (`BATCH_NOT_FOUND`)", body = Envelope)))]
pub async fn batch(State(app): State<App>, request: Request) -> Response {
    let received = call::receive(&app, request, QUESTION_BYTES_MAX).await;
    let text = "no call of this server makes a batch; ask for each job at /api/v1/async_jobs/<id>";
    let none = received.and(Err(Refused::new(404, "BATCH_NOT_FOUND", text)));
    envelope::answer(&call::new_id(), none)
}

async fn run(app: &App, job: &str, request: Request) -> Result<Data, Refused> {
    let call = call::receive(app, request, QUESTION_BYTES_MAX).await?;
    // A number that no job can have is that of no job.
    let number: i32 = job.parse().unwrap_or(0);
    let found = app.0.store.ticket(number, &call.app_id).await?;
    let Some(mut ticket) = found else {
        let text = "this app has no such job; its number is `job_id` in the answer to the training";
        return Err(Refused::new(404, "JOB_NOT_FOUND", text));
    };
    let room = app.reserve_answer(ticket.result_bytes * COPIES).await;
    let result = match ticket.result.take() {
        Some(result) => blocking(move || result.into_bytes()).await??,
        None => bytes::Bytes::new(),
    };
    let result = String::from_utf8_lossy(&result);
    let job = view(&ticket, &call.app_id, &progress(app, &ticket), &result);
    let data: Map<String, Value> = [(String::from("job"), job)].into_iter().collect();
    Ok(Data::held_in(data, room))
}

/// How it ended, or whether it has begun.
fn progress(app: &App, ticket: &Ticket) -> String {
    if ticket.state != TicketState::Open {
        return ticket.message.clone();
    }
    let runs = app.0.scheduler.pool().progress(&ticket.job).is_some();
    String::from(if runs { "running" } else { "waiting" })
}

fn view(ticket: &Ticket, app_id: &str, message: &str, result: &str) -> Value {
    json!({
        "id": ticket.id,
        "app_id": app_id,
        "model_id": ticket.model_id,
        "state": ticket.state.number(),
        "message": message,
        "request_id": ticket.request_id,
        // Clients differ in the spelling.
        "Result": result,
        "result": result,
    })
}
