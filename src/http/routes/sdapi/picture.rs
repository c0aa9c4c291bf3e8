//! What a picture says of itself.

use axum::{Json, body::Body, extract::State, http::HeaderMap};
use serde_json::{Map, Value, json};

use super::{
    blocking,
    error::{Caller, SdError, SdRefusal},
    read_object,
};
use crate::{
    http::state::App,
    pipeline::{PictureText, picture_text},
};

/// Largest body with a picture.
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a picture was made of, as far as its file says.
#[utoipa::path(post, path = "/sdapi/v1/png-info", tag = "webui",
    request_body(content_type = "application/json", description = "`image`: a picture in base64 or as a `data:` URL", content = Object),
    responses(
        (status = 200, description = "`info`, `items` and `parameters`; `info` is empty if the file says nothing", body = Object),
        (status = 400, description = "`image` is no picture", body = SdError),
        (status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 413, description = "The body is too large", body = SdError),
        (status = 422, description = "The body is no JSON object, or has no `image`", body = SdError)))]
pub async fn info(
    State(app): State<App>,
    _caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, SdRefusal> {
    let mut given = read_object(&app, &headers, body, BODY_BYTES_MAX).await?;
    let Some(Value::String(image)) = given.remove("image") else {
        let text = "`image` is missing; give a picture in base64 or as a `data:` URL";
        return Err(SdRefusal::new(422, text));
    };
    let text = blocking(move || picture_text(&image)).await?;
    let PictureText {
        info,
        items,
        parameters,
    } = text.map_err(|failure| {
        let (problem, message) = (failure.problem, failure.message);
        SdRefusal::failed(problem.http_status(), problem.as_str(), message)
    })?;
    Ok(Json(json!({
        "info": info,
        "items": object(items),
        "parameters": object(parameters),
    })))
}

fn object(pairs: Vec<(String, String)>) -> Map<String, Value> {
    let values = pairs.into_iter();
    values
        .map(|(name, value)| (name, Value::from(value)))
        .collect()
}
