//! The WebUI's options and flags.

use axum::{Json, body::Body, extract::State, http::HeaderMap};
use serde_json::{Value, json};

use super::{
    blocking,
    error::{Caller, Listed, SdError, SdRefusal},
    read_object,
};
use crate::http::{sd_options::OptionsError, state::App};

/// Largest body with options to set.
const BODY_BYTES_MAX: u64 = 512 * 1024;

/// All options with the values in effect.
#[utoipa::path(get, path = "/sdapi/v1/options", tag = "webui", responses(Listed))]
pub async fn all(State(app): State<App>, _caller: Caller) -> Result<Json<Value>, SdRefusal> {
    let options = blocking(move || app.0.sd.options.all(&*app.0.sd.models)).await?;
    Ok(Json(options.into()))
}

/// Sets some options, all of those given or none; null is the default. They are kept over a
/// restart, and jobs that wait already are not changed.
#[utoipa::path(post, path = "/sdapi/v1/options", tag = "webui",
    request_body(content_type = "application/json", description = "Names and values", content = Object),
    responses(
        (status = 200, description = "They are set and on disk"),
        (status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 404, description = "There is no such checkpoint", body = SdError),
        (status = 413, description = "More than is kept", body = SdError),
        (status = 422, description = "No JSON object, or a known option with a value of another type", body = SdError)))]
pub async fn set(
    State(app): State<App>,
    _caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, SdRefusal> {
    let given = read_object(&app, &headers, body, BODY_BYTES_MAX).await?;
    let set = blocking(move || app.0.sd.options.set(given, &*app.0.sd.models)).await?;
    set.map_err(|error| {
        let status = match &error {
            OptionsError::NoSuchModel(_) => 404,
            OptionsError::WrongType { .. } => 422,
            OptionsError::TooMuch => 413,
            OptionsError::Store(_) => 500,
        };
        SdRefusal::new(status, error.to_string())
    })?;
    Ok(Json(Value::Null))
}

/// The WebUI's flags, as far as they say something about this server.
#[utoipa::path(get, path = "/sdapi/v1/cmd-flags", tag = "webui", responses(Listed))]
pub async fn flags(_caller: Caller) -> Json<Value> {
    Json(json!({
        "api": true,
        "api_server_stop": false,
        "nowebui": true,
        "no_hashing": false,
        "no_download_sd_model": true,
        "skip_install": true,
        "share": false,
        "hide_ui_dir_config": true,
        "freeze_settings": false,
    }))
}
