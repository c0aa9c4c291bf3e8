//! Requests that make a picture.

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};

use super::{
    error::{Caller, SdError, SdRefusal},
    task, wait,
};
use crate::http::{
    body,
    state::{App, ServiceEntry},
};

/// A body that nobody can use is read and thrown away up to about this size.
const UNUSED_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Makes pictures from a text.
///
/// The answer comes when the job is done; its header `X-Photog-Job` names the job. A client that
/// goes away before that takes its job with it, unless it gave the task an id with `force_task_id`:
/// then the job goes on, and a later request with that id gets its answer, whatever else is in it.
/// An id can be used again once its answer was taken.
#[utoipa::path(post, path = "/sdapi/v1/txt2img", tag = "webui",
    request_body(content_type = "application/json", description = "The WebUI's members, all of which may be left out", content = Object),
    responses(
        (status = 200, description = "`images`, `parameters` and `info`", body = Object),
        (status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 408, description = "The body did not arrive in time, or the work took too long", body = SdError),
        (status = 413, description = "Larger than the service accepts", body = SdError),
        (status = 422, description = "The body is no JSON object, or something in it cannot be used", body = SdError),
        (status = 429, description = "Above the service's rate or concurrency limit", body = SdError),
        (status = 499, description = "The job was cancelled", body = SdError),
        (status = 503, description = "No service makes pictures, a file is missing, the queue is full, or the program is stopping", body = SdError)))]
pub async fn txt2img(
    State(app): State<App>,
    _caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, SdRefusal> {
    run(&app, "txt2img", &headers, body).await
}

/// Makes pictures from pictures.
///
/// Answers and ids are as for `txt2img`.
#[utoipa::path(post, path = "/sdapi/v1/img2img", tag = "webui",
    request_body(content_type = "application/json", description = "The WebUI's members; `init_images` has to be there", content = Object),
    responses(
        (status = 200, description = "`images`, `parameters` and `info`", body = Object),
        (status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 413, description = "Larger than the service accepts", body = SdError),
        (status = 422, description = "The body is no JSON object, or something in it cannot be used", body = SdError),
        (status = 503, description = "As for `txt2img`", body = SdError)))]
pub async fn img2img(
    State(app): State<App>,
    _caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, SdRefusal> {
    run(&app, "img2img", &headers, body).await
}

/// Changes the size of a picture.
#[utoipa::path(post, path = "/sdapi/v1/extra-single-image", tag = "webui",
    request_body(content_type = "application/json", description = "The WebUI's members; `image` has to be there", content = Object),
    responses(
        (status = 200, description = "`image` and `html_info`", body = Object),
        (status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 413, description = "Larger than the service accepts", body = SdError),
        (status = 422, description = "The body is no JSON object, or something in it cannot be used", body = SdError),
        (status = 503, description = "As for `txt2img`", body = SdError)))]
pub async fn extra_single_image(
    State(app): State<App>,
    _caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, SdRefusal> {
    run(&app, "extra-single-image", &headers, body).await
}

/// Changes the size of several pictures.
#[utoipa::path(post, path = "/sdapi/v1/extra-batch-images", tag = "webui",
    request_body(content_type = "application/json", description = "The WebUI's members; `imageList` has to be there", content = Object),
    responses(
        (status = 200, description = "`images` and `html_info`", body = Object),
        (status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 413, description = "Larger than the service accepts", body = SdError),
        (status = 422, description = "The body is no JSON object, or something in it cannot be used", body = SdError),
        (status = 503, description = "As for `txt2img`", body = SdError)))]
pub async fn extra_batch_images(
    State(app): State<App>,
    _caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, SdRefusal> {
    run(&app, "extra-batch-images", &headers, body).await
}

async fn run(
    app: &App,
    name: &'static str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, SdRefusal> {
    let idle = app.0.body_idle;
    let Some(entry) = app.sd_service() else {
        let refusal = no_service();
        return Err(body::refuse(headers, body, UNUSED_BYTES_MAX, idle, refusal)
            .await
            .into());
    };
    let _place = entry.enter()?;
    if let Err(refusal) = admit(app, entry) {
        let limit = entry.spec().queue.source.max_payload_bytes;
        return Err(body::refuse(headers, body, limit, idle, refusal)
            .await
            .into());
    }
    let task = task::put(app, entry, name, headers, body).await?;
    Ok(wait::answer(app, entry, task).await)
}

fn admit(app: &App, entry: &ServiceEntry) -> Result<(), crate::http::error::Refusal> {
    app.check_running()?;
    entry.count_put()
}

fn no_service() -> crate::http::error::Refusal {
    crate::http::error::Refusal::new(
        503,
        "no service makes pictures: photog_sd, or another one with `metadata.photog_role` `sd`, is \
         missing; add its JSON with --service",
    )
}
