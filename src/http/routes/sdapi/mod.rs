//! `/sdapi/v1`: the API of the WebUI, as jobs of the service that makes pictures.
//!
//! A request that makes a picture becomes an entry of that service's input queue, is worked on like
//! every other entry, and is answered with the result, which leaves the sink by that. So progress,
//! cancelling and the job list work as for everybody else.
//!
//! - `task`: from a request to its entry; `wait`: from the entry to the answer;
//! - `progress`: how far a job is, and asking it to finish early;
//! - `options`, `lists`, `files`: what can be chosen; `picture`: what a picture says of itself;
//! - `refused`: what is not done here; `error`: refusals in the WebUI's form.

pub(super) mod error;
pub(super) mod files;
pub(super) mod lists;
pub(super) mod make;
pub(super) mod options;
pub(super) mod picture;
pub(super) mod progress;
pub(super) mod refused;
mod task;
mod wait;

use std::time::Instant;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use serde_json::{Map, Value};

use crate::http::{
    routes::{blocking, read_whole},
    sd_models::SdModels,
    state::App,
};

use error::SdRefusal;

/// Seconds from a request to its answer.
const PROCESS_TIME_HEADER: HeaderName = HeaderName::from_static("x-process-time");

/// The routes. `tests/openapi.rs` holds this list against the OpenAPI document.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/sdapi/v1/txt2img", post(make::txt2img))
        .route("/sdapi/v1/img2img", post(make::img2img))
        .route(
            "/sdapi/v1/extra-single-image",
            post(make::extra_single_image),
        )
        .route(
            "/sdapi/v1/extra-batch-images",
            post(make::extra_batch_images),
        )
        .route("/sdapi/v1/png-info", post(picture::info))
        .route("/sdapi/v1/progress", get(progress::progress))
        .route("/internal/progress", post(progress::task_progress))
        .route("/sdapi/v1/interrupt", post(progress::interrupt))
        .route("/sdapi/v1/skip", post(progress::skip))
        .route("/sdapi/v1/options", get(options::all).post(options::set))
        .route("/sdapi/v1/cmd-flags", get(options::flags))
        .route("/sdapi/v1/samplers", get(lists::samplers))
        .route("/sdapi/v1/schedulers", get(lists::schedulers))
        .route("/sdapi/v1/upscalers", get(lists::upscalers))
        .route(
            "/sdapi/v1/latent-upscale-modes",
            get(lists::latent_upscale_modes),
        )
        .route("/sdapi/v1/sd-models", get(lists::checkpoints))
        .route("/sdapi/v1/sd-vae", get(lists::vaes))
        .route("/sdapi/v1/loras", get(lists::loras))
        .route("/sdapi/v1/embeddings", get(lists::embeddings))
        .route("/sdapi/v1/hypernetworks", get(lists::hypernetworks))
        .route("/sdapi/v1/face-restorers", get(lists::face_restorers))
        .route("/sdapi/v1/realesrgan-models", get(lists::realesrgan_models))
        .route("/sdapi/v1/prompt-styles", get(lists::prompt_styles))
        .route("/sdapi/v1/artists", get(lists::artists))
        .route("/sdapi/v1/artist-categories", get(lists::artist_categories))
        .route("/sdapi/v1/scripts", get(lists::scripts))
        .route("/sdapi/v1/script-info", get(lists::script_info))
        .route("/sdapi/v1/extensions", get(lists::extensions))
        .route("/sdapi/v1/memory", get(files::memory))
        .route(
            "/sdapi/v1/refresh-checkpoints",
            post(files::refresh_checkpoints),
        )
        .route("/sdapi/v1/refresh-vae", post(files::refresh_vae))
        .route("/sdapi/v1/refresh-loras", post(files::refresh_loras))
        .route(
            "/sdapi/v1/unload-checkpoint",
            post(files::unload_checkpoint),
        )
        .route(
            "/sdapi/v1/reload-checkpoint",
            post(files::reload_checkpoint),
        )
        .route("/sdapi/v1/interrogate", post(refused::interrogate))
        .route(
            "/sdapi/v1/create/embedding",
            post(refused::create_embedding),
        )
        .route(
            "/sdapi/v1/create/hypernetwork",
            post(refused::create_hypernetwork),
        )
        .route("/sdapi/v1/train/embedding", post(refused::train_embedding))
        .route(
            "/sdapi/v1/train/hypernetwork",
            post(refused::train_hypernetwork),
        )
        .route("/sdapi/v1/server-kill", post(refused::server_kill))
        .route("/sdapi/v1/server-restart", post(refused::server_restart))
        .route("/sdapi/v1/server-stop", post(refused::server_stop))
        .route_layer(middleware::from_fn(tell_process_time))
}

async fn tell_process_time(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let mut response = next.run(request).await;
    let seconds = format!("{:.4}", began.elapsed().as_secs_f64());
    if let Ok(value) = HeaderValue::from_str(&seconds) {
        response.headers_mut().insert(PROCESS_TIME_HEADER, value);
    }
    response
}

/// Asks something of the files of networks.
async fn with_models<T: Send + 'static>(
    app: &App,
    ask: impl FnOnce(&dyn SdModels) -> T + Send + 'static,
) -> Result<T, SdRefusal> {
    let models = app.0.sd.models.clone();
    Ok(blocking(move || ask(&*models)).await?)
}

/// Reads a body that has to be a JSON object.
async fn read_object(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    limit: u64,
) -> Result<Map<String, Value>, SdRefusal> {
    let (bytes, _room) = read_whole(app, headers, body, limit).await?;
    let read = blocking(move || serde_json::from_slice(&bytes)).await?;
    read.map_err(|error| not_an_object(&error))
}

fn not_an_object(error: &serde_json::Error) -> SdRefusal {
    let (line, column) = (error.line(), error.column());
    let text = format!("the body is no JSON object (line {line}, column {column}); send one");
    SdRefusal::new(422, text)
}
