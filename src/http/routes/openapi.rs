//! `GET /openapi.json`: the description of the whole HTTP interface.

use axum::Json;
use utoipa::OpenApi as _;

use super::{
    events, health,
    hosted::{at_once, jobs as hosted_jobs, train},
    jobs, metrics, people,
    sdapi::{files, lists, make, options, picture, progress, refused},
    services,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "photog",
        description = "A self-hosted AI-portrait studio: durable queues with the EAS protocol, and what an operator needs. With a token configured, send it in the header `Authorization`, as it is, as `Bearer <token>`, or as the password of `Basic`. What is tagged `hosted` wants the signature of an app instead."
    ),
    paths(
        put, get, commit, delete, put_path, put_sink, get_sink, commit_sink, delete_sink,
        services::list, jobs::list, jobs::one, jobs::preview, jobs::cancel, jobs::retry,
        people::list, people::one, people::remove, people::reference, people::thumbnail, people::validation,
        events::stream,
        at_once::check, train::train, at_once::create, hosted_jobs::one, hosted_jobs::look, hosted_jobs::batch,
        health::alive, health::ready, metrics::scrape, serve,
        make::txt2img, make::img2img, make::extra_single_image, make::extra_batch_images,
        picture::info, progress::progress, progress::task_progress, progress::interrupt,
        progress::skip, options::all, options::set, options::flags, lists::samplers,
        lists::schedulers, lists::upscalers, lists::latent_upscale_modes, lists::checkpoints,
        lists::vaes, lists::loras, lists::embeddings, lists::hypernetworks,
        lists::face_restorers, lists::realesrgan_models, lists::prompt_styles, lists::artists,
        lists::artist_categories, lists::scripts, lists::script_info, lists::extensions,
        files::memory, files::refresh_checkpoints, files::refresh_vae, files::refresh_loras,
        files::unload_checkpoint, files::reload_checkpoint, refused::interrogate,
        refused::create_embedding, refused::create_hypernetwork, refused::train_embedding,
        refused::train_hypernetwork, refused::server_kill, refused::server_restart,
        refused::server_stop
    ),
    tags(
        (name = "queue", description = "The EAS queue protocol"),
        (name = "services", description = "What runs"),
        (name = "jobs", description = "What is worked on"),
        (name = "people", description = "Who is trained"),
        (name = "hosted", description = "The hosted AI-portrait API. `Authorization` is `<appid>:<signature>`: hex of HMAC-SHA256 with the app's token over the lines method, hex MD5 of the body, path with its sorted query"),
        (name = "webui", description = "The API of the WebUI"),
        (name = "operation", description = "Probes, metrics, this document")
    )
)]
struct Document;

/// The OpenAPI document as pretty JSON, with a newline at its end.
pub fn document() -> String {
    // The document is made of constants; a test reads it, so it can be written.
    Document::openapi().to_pretty_json().unwrap_or_default() + "\n"
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "operation",
    responses((status = 200, description = "The OpenAPI document", body = Object)))]
pub async fn serve() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

// The queue routes are one handler for all verbs, because the query string chooses the verb. These
// functions only carry their descriptions.

/// Put an entry: the body is the data. Parameters that do not begin with `_` are tags.
#[utoipa::path(post, path = "/api/predict/{service}", tag = "queue",
    params(
        ("service" = String, Path, description = "Name of the service"),
        ("requestId" = Option<String>, Query, description = "Id by which the result is found; made by the server when absent"),
        ("_priority_" = Option<u8>, Query, description = "0 normal; higher goes first")),
    request_body(content_type = "application/octet-stream", description = "The data", content = Vec<u8>),
    responses(
        (status = 200, description = "The entry is on disk. Body: its index; header X-Eas-Queueservice-Request-Id: its request id", body = String),
        (status = 400, description = "Malformed parameter"), (status = 401, description = "Token missing or wrong"),
        (status = 404, description = "No such service"), (status = 408, description = "The body did not arrive in time"),
        (status = 413, description = "Larger than the queue accepts"), (status = 429, description = "Above the service's rate or concurrency limit"),
        (status = 450, description = "The queue is full"), (status = 503, description = "The program is stopping"),
        (status = 507, description = "The disk is nearly full")))]
#[expect(dead_code, reason = "describes a route for the document")]
fn put() {}

/// Look for entries; with `_attrs_`, `_search_`, `_count_` or `_watch_` ask for attributes, the place
/// of an entry, a number, or a subscription over WebSocket (or length-prefixed chunks).
#[utoipa::path(get, path = "/api/predict/{service}", tag = "queue",
    params(
        ("service" = String, Path, description = "Name of the service"),
        ("_index_" = Option<i64>, Query, description = "First index; 0 the head, -1 the newest"),
        ("_length_" = Option<u64>, Query, description = "Most entries, 1 when absent"),
        ("_timeout_" = Option<String>, Query, description = "How long to wait, such as 5s; at most 60s"),
        ("_auto_delete_" = Option<bool>, Query, description = "Take the entries out; true when absent"),
        ("_raw_" = Option<bool>, Query, description = "false: the wrapped form even for one entry"),
        ("requestId" = Option<String>, Query, description = "Only entries of this request; other tags likewise"),
        ("_attrs_" = Option<bool>, Query, description = "Attributes of the queue"),
        ("_search_" = Option<bool>, Query, description = "Place of the entry `_index_`"),
        ("_count_" = Option<bool>, Query, description = "Number of entries"),
        ("_watch_" = Option<bool>, Query, description = "Subscribe; with `_window_`, `_index_only_`, `_auto_commit_`")),
    responses(
        (status = 200, description = "Entries as protobuf (Accept: application/vnd.google.protobuf), JSON, or the bare data", body = Object),
        (status = 204, description = "Nothing found in time"), (status = 400, description = "Malformed parameter"),
        (status = 401, description = "Token missing or wrong"), (status = 404, description = "No such service or entry"),
        (status = 409, description = "The user id is watching already")))]
#[expect(dead_code, reason = "describes a route for the document")]
fn get() {}

/// Commit entries (`_indexes_`), or hand them back with `_negative_=true`.
#[utoipa::path(put, path = "/api/predict/{service}", tag = "queue",
    params(("service" = String, Path, description = "Name of the service"),
        ("_indexes_" = String, Query, description = "Indexes joined by commas"),
        ("_negative_" = Option<bool>, Query, description = "Hand back instead")),
    responses((status = 200, description = "OK; entries that are gone are no error", body = String),
        (status = 400, description = "Malformed parameter"), (status = 401, description = "Token missing or wrong")))]
#[expect(dead_code, reason = "describes a route for the document")]
fn commit() {}

/// Delete entries (`_indexes_`), or all below an index (`_trunc_=true&_index_=n`).
#[utoipa::path(delete, path = "/api/predict/{service}", tag = "queue",
    params(("service" = String, Path, description = "Name of the service"),
        ("_indexes_" = Option<String>, Query, description = "Indexes joined by commas"),
        ("_trunc_" = Option<bool>, Query, description = "Delete everything below `_index_`"),
        ("_index_" = Option<u64>, Query, description = "With `_trunc_`")),
    responses((status = 200, description = "OK; entries that are gone are no error", body = String),
        (status = 400, description = "Malformed parameter"), (status = 401, description = "Token missing or wrong")))]
#[expect(dead_code, reason = "describes a route for the document")]
fn delete() {}

/// Put an entry with a path for the model, which has no effect on the built-in engines.
#[utoipa::path(post, path = "/api/predict/{service}/{path}", tag = "queue",
    params(("service" = String, Path, description = "Name of the service"),
        ("path" = String, Path, description = "Anything but `sink`")),
    responses((status = 200, description = "As for a put without a path", body = String)))]
#[expect(dead_code, reason = "describes a route for the document")]
fn put_path() {}

/// Put into the output queue.
#[utoipa::path(post, path = "/api/predict/{service}/sink", tag = "queue",
    params(("service" = String, Path, description = "Name of the service")),
    responses((status = 200, description = "As for the input queue", body = String),
        (status = 400, description = "Malformed parameter"), (status = 401, description = "Token missing or wrong")))]
#[expect(dead_code, reason = "describes a route for the document")]
fn put_sink() {}

/// Look for results; all that the input queue knows works here.
#[utoipa::path(get, path = "/api/predict/{service}/sink", tag = "queue",
    params(("service" = String, Path, description = "Name of the service")),
    responses((status = 200, description = "As for the input queue", body = Object), (status = 204, description = "No result yet")))]
#[expect(dead_code, reason = "describes a route for the document")]
fn get_sink() {}

/// Commit results.
#[utoipa::path(put, path = "/api/predict/{service}/sink", tag = "queue",
    params(("service" = String, Path, description = "Name of the service")),
    responses((status = 200, description = "As for the input queue", body = String),
        (status = 400, description = "Malformed parameter"), (status = 401, description = "Token missing or wrong")))]
#[expect(dead_code, reason = "describes a route for the document")]
fn commit_sink() {}

/// Delete results.
#[utoipa::path(delete, path = "/api/predict/{service}/sink", tag = "queue",
    params(("service" = String, Path, description = "Name of the service")),
    responses((status = 200, description = "As for the input queue", body = String),
        (status = 400, description = "Malformed parameter"), (status = 401, description = "Token missing or wrong")))]
#[expect(dead_code, reason = "describes a route for the document")]
fn delete_sink() {}
