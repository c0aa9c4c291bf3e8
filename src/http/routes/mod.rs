//! The addresses, one file per family.

mod awaited;
pub(super) mod events;
pub(super) mod health;
pub(super) mod hosted;
pub(super) mod jobs;
pub(super) mod metrics;
pub mod openapi;
pub(super) mod people;
pub(super) mod queue;
pub(super) mod sdapi;
pub(super) mod services;
pub(super) mod watch;

use axum::{
    Router,
    body::Body,
    http::HeaderMap,
    routing::{any, get, post},
};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    body::{self, content_length},
    error::{ApiRefusal, Refusal},
    state::App,
};

/// Every route. `tests/openapi.rs` holds this list against the OpenAPI document.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/api/predict/{service}", any(queue::source))
        .route("/api/predict/{service}/", any(queue::source))
        .route("/api/predict/{service}/sink", any(queue::sink))
        .route("/api/predict/{service}/sink/", any(queue::sink))
        .route(
            "/api/predict/{service}/{*path}",
            any(queue::source_with_path),
        )
        .route("/api/services", get(services::list))
        .route("/api/jobs", get(jobs::list))
        .route("/api/jobs/{job}", get(jobs::one))
        .route("/api/jobs/{job}/preview", get(jobs::preview))
        .route("/api/jobs/{job}/cancel", post(jobs::cancel))
        .route("/api/jobs/{job}/retry", post(jobs::retry))
        .route("/api/people", get(people::list))
        .route(
            "/api/people/{person}",
            get(people::one).delete(people::remove),
        )
        .route("/api/people/{person}/reference", get(people::reference))
        .route("/api/people/{person}/thumbnail", get(people::thumbnail))
        .route(
            "/api/people/{person}/validation/{picture}",
            get(people::validation),
        )
        .route("/api/events", get(events::stream))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::scrape))
        .route("/openapi.json", get(openapi::serve))
        .merge(sdapi::routes())
        .merge(hosted::routes())
        .fallback(not_found)
        .with_state(app)
}

/// What connections above the limit get.
pub fn refusing_router() -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .fallback(too_many_connections)
}

async fn too_many_connections() -> ApiRefusal {
    ApiRefusal(Refusal::new(
        503,
        "this server has as many connections as it may have; close some, or raise connections_max",
    ))
}

async fn not_found() -> ApiRefusal {
    ApiRefusal(Refusal::new(
        404,
        "there is nothing at this address; GET /openapi.json lists all",
    ))
}

/// A time as RFC 3339 text.
fn time_text(ms: i64) -> String {
    let since = std::time::Duration::from_millis(ms.max(0) as u64);
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string()
}

/// Runs what may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Refusal::new(500, "a fault of this program ended the request; try again"))
}

/// Reads a body as a whole, with the room in memory to be kept for as long as it is.
async fn read_whole(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    limit: u64,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
    let declared = content_length(headers).unwrap_or(limit).min(limit);
    let room = app.reserve_upload(declared).await;
    let bytes = body::whole(headers, body, limit, app.0.body_idle).await?;
    Ok((bytes, room))
}
