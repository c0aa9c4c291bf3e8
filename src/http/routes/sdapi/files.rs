//! What is kept in memory and looked for on disk.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::{
    error::{Caller, Done, Listed, SdRefusal},
    with_models,
};
use crate::http::{sd_models::MemoryUse, state::App};

/// Memory of the machine and of the device, in bytes.
#[utoipa::path(get, path = "/sdapi/v1/memory", tag = "webui", responses(Listed))]
pub async fn memory(State(app): State<App>, _caller: Caller) -> Result<Json<Value>, SdRefusal> {
    let memory = with_models(&app, |models| models.memory()).await?;
    let view = |part: MemoryUse| json!({"free": part.free, "used": part.used, "total": part.total});
    let unknown = || json!({"error": "unavailable"});
    let ram = memory.ram.map_or_else(unknown, view);
    let cuda = memory.device.map_or_else(unknown, |device| {
        let (current, peak) = memory.networks.unwrap_or_default();
        let networks = json!({"current": current, "peak": peak});
        json!({
            "system": view(device),
            "active": networks,
            "allocated": networks,
            "reserved": networks,
            "inactive": {"current": 0, "peak": 0},
            "events": {"retries": 0, "oom": 0},
        })
    });
    Ok(Json(json!({"ram": ram, "cuda": cuda})))
}

/// Looks again which checkpoints there are.
#[utoipa::path(
    post,
    path = "/sdapi/v1/refresh-checkpoints",
    tag = "webui",
    responses(Done)
)]
pub async fn refresh_checkpoints(
    State(app): State<App>,
    _caller: Caller,
) -> Result<Json<Value>, SdRefusal> {
    refresh(&app).await
}

/// Looks again which VAEs there are.
#[utoipa::path(post, path = "/sdapi/v1/refresh-vae", tag = "webui", responses(Done))]
pub async fn refresh_vae(
    State(app): State<App>,
    _caller: Caller,
) -> Result<Json<Value>, SdRefusal> {
    refresh(&app).await
}

/// Looks again which LoRAs there are.
#[utoipa::path(post, path = "/sdapi/v1/refresh-loras", tag = "webui", responses(Done))]
pub async fn refresh_loras(
    State(app): State<App>,
    _caller: Caller,
) -> Result<Json<Value>, SdRefusal> {
    refresh(&app).await
}

async fn refresh(app: &App) -> Result<Json<Value>, SdRefusal> {
    with_models(app, |models| models.refresh()).await?;
    Ok(Json(Value::Null))
}

/// Lets go of the networks that no job holds.
#[utoipa::path(
    post,
    path = "/sdapi/v1/unload-checkpoint",
    tag = "webui",
    responses(Done)
)]
pub async fn unload_checkpoint(
    State(app): State<App>,
    _caller: Caller,
) -> Result<Json<Value>, SdRefusal> {
    with_models(&app, |models| models.unload()).await?;
    Ok(Json(json!({})))
}

/// Does nothing: the next job loads what it needs.
#[utoipa::path(
    post,
    path = "/sdapi/v1/reload-checkpoint",
    tag = "webui",
    responses(Done)
)]
pub async fn reload_checkpoint(_caller: Caller) -> Json<Value> {
    Json(json!({}))
}
