//! `/api/v1`: the form of the hosted AI-portrait API, whose clients sign what they send.
//!
//! Checking photos and making a portrait answer with the result: the request is an entry of the
//! service's queue, and its result is waited for. A training answers with the number of a job, which
//! is a ticket of the store, and is asked for until it has ended.
//!
//! - `apps`: who may call; `signature`: what they sign;
//! - `call`: from an HTTP request to what is asked of which service; `envelope`: what is answered;
//! - `at_once`: checks and portraits; `train`, `jobs`: trainings.

mod apps;
pub(super) mod at_once;
mod call;
mod envelope;
pub(super) mod jobs;
mod signature;
pub(super) mod train;

use axum::{
    Router,
    routing::{get, post},
};

pub use apps::HostedApps;

use crate::http::state::App;

/// The routes. `tests/openapi.rs` holds this list against the OpenAPI document.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/aigc_images/check", post(at_once::check))
        .route("/api/v1/aigc_images/create", post(at_once::create))
        .route("/api/v1/aigc_images/train", post(train::train))
        .route("/api/v1/async_jobs/{job}", get(jobs::look).post(jobs::one))
        .route("/api/v1/batch_jobs/{batch}", get(jobs::batch))
}
