//! What can be chosen in requests: samplers, networks, and lists that are always empty here.

use axum::{Json, extract::State};
use serde_json::{Map, Value, json};

use super::{
    error::{Caller, Listed, SdRefusal},
    with_models,
};
use crate::{
    http::{sd_models::SdUpscaler, state::App},
    models::sampling::{METHODS, Method, SPACINGS, Spacing},
    pipeline::generate::{UPSCALERS, Upscaler},
};

/// What these and networks of no stated scale are listed with.
const SCALE: f64 = 4.0;

/// Names of the upscalers of unfinished work, or of those of pictures that need no network.
fn upscaler_names(of_latents: bool) -> impl Iterator<Item = &'static str> {
    UPSCALERS
        .into_iter()
        .filter(move |(_, way)| matches!(way, Upscaler::Latent(_)) == of_latents)
        .map(|(name, _)| name)
}

/// Samplers.
#[utoipa::path(get, path = "/sdapi/v1/samplers", tag = "webui", responses(Listed))]
pub async fn samplers(_caller: Caller) -> Json<Value> {
    let view = |method: Method| {
        let options = method.options().iter();
        let options: Map<String, Value> = options
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
            .collect();
        json!({"name": method.name(), "aliases": method.aliases(), "options": options})
    };
    Json(METHODS.into_iter().map(view).collect())
}

/// Schedule types.
#[utoipa::path(get, path = "/sdapi/v1/schedulers", tag = "webui", responses(Listed))]
pub async fn schedulers(_caller: Caller) -> Json<Value> {
    let view = |spacing: Spacing| {
        let aliases = Some(spacing.aliases()).filter(|aliases| !aliases.is_empty());
        json!({
            "name": spacing.name(),
            "label": spacing.label(),
            "aliases": aliases,
            "default_rho": spacing.default_rho(),
            "need_inner_model": spacing.needs_levels(),
        })
    };
    Json(SPACINGS.into_iter().map(view).collect())
}

/// Upscalers of finished pictures.
#[utoipa::path(get, path = "/sdapi/v1/upscalers", tag = "webui", responses(Listed))]
pub async fn upscalers(State(app): State<App>, _caller: Caller) -> Result<Json<Value>, SdRefusal> {
    let networks = with_models(&app, |models| models.upscalers()).await?;
    let plain = upscaler_names(false).map(|name| SdUpscaler {
        name: name.to_owned(),
        model_path: None,
        scale: SCALE,
    });
    let view = |upscaler: SdUpscaler| {
        let model_name = upscaler.model_path.as_ref().map(|_| &upscaler.name);
        json!({
            "name": upscaler.name,
            "model_name": model_name,
            "model_path": upscaler.model_path,
            "model_url": null,
            "scale": upscaler.scale,
        })
    };
    Ok(Json(plain.chain(networks).map(view).collect()))
}

/// Upscalers of the unfinished work.
#[utoipa::path(
    get,
    path = "/sdapi/v1/latent-upscale-modes",
    tag = "webui",
    responses(Listed)
)]
pub async fn latent_upscale_modes(_caller: Caller) -> Json<Value> {
    let names = upscaler_names(true);
    Json(names.map(|name| json!({ "name": name })).collect())
}

/// Checkpoints.
#[utoipa::path(get, path = "/sdapi/v1/sd-models", tag = "webui", responses(Listed))]
pub async fn checkpoints(
    State(app): State<App>,
    _caller: Caller,
) -> Result<Json<Value>, SdRefusal> {
    let models = with_models(&app, |models| models.checkpoints()).await?;
    let views = models.into_iter().map(|model| {
        json!({
            "title": model.title,
            "model_name": model.model_name,
            "hash": model.hash,
            "sha256": model.sha256,
            "filename": model.filename,
            "config": model.config,
        })
    });
    Ok(Json(views.collect()))
}

/// VAEs that are files of their own.
#[utoipa::path(get, path = "/sdapi/v1/sd-vae", tag = "webui", responses(Listed))]
pub async fn vaes(State(app): State<App>, _caller: Caller) -> Result<Json<Value>, SdRefusal> {
    let vaes = with_models(&app, |models| models.vaes()).await?;
    let views = vaes
        .into_iter()
        .map(|vae| json!({"model_name": vae.model_name, "filename": vae.filename}));
    Ok(Json(views.collect()))
}

/// LoRAs.
#[utoipa::path(get, path = "/sdapi/v1/loras", tag = "webui", responses(Listed))]
pub async fn loras(State(app): State<App>, _caller: Caller) -> Result<Json<Value>, SdRefusal> {
    let loras = with_models(&app, |models| models.loras()).await?;
    let views = loras.into_iter().map(|lora| {
        json!({
            "name": lora.name,
            "alias": lora.alias,
            "path": lora.path,
            "metadata": lora.metadata,
        })
    });
    Ok(Json(views.collect()))
}

/// Textual inversions, those that fit the present checkpoint apart from the rest.
#[utoipa::path(get, path = "/sdapi/v1/embeddings", tag = "webui", responses(Listed))]
pub async fn embeddings(State(app): State<App>, _caller: Caller) -> Result<Json<Value>, SdRefusal> {
    let embeddings = with_models(&app, |models| models.embeddings()).await?;
    let (mut loaded, mut skipped) = (Map::new(), Map::new());
    for embedding in embeddings {
        let view = json!({
            "step": null,
            "sd_checkpoint": null,
            "sd_checkpoint_name": null,
            "shape": embedding.shape,
            "vectors": embedding.vectors,
        });
        let list = if embedding.fits {
            &mut loaded
        } else {
            &mut skipped
        };
        list.insert(embedding.name, view);
    }
    Ok(Json(json!({"loaded": loaded, "skipped": skipped})))
}

/// Scripts: there are none, but `alwayson_scripts` may ask for ControlNet.
#[utoipa::path(get, path = "/sdapi/v1/scripts", tag = "webui", responses(Listed))]
pub async fn scripts(_caller: Caller) -> Json<Value> {
    Json(json!({"txt2img": [], "img2img": []}))
}

/// Arguments of scripts: there are none.
#[utoipa::path(get, path = "/sdapi/v1/script-info", tag = "webui", responses(Listed))]
pub async fn script_info(_caller: Caller) -> Json<Value> {
    Json(json!([]))
}

/// Extensions: there are none.
#[utoipa::path(get, path = "/sdapi/v1/extensions", tag = "webui", responses(Listed))]
pub async fn extensions(_caller: Caller) -> Json<Value> {
    Json(json!([]))
}

/// Hypernetworks: there are none.
#[utoipa::path(
    get,
    path = "/sdapi/v1/hypernetworks",
    tag = "webui",
    responses(Listed)
)]
pub async fn hypernetworks(_caller: Caller) -> Json<Value> {
    Json(json!([]))
}

/// Face restorers: there are none.
#[utoipa::path(
    get,
    path = "/sdapi/v1/face-restorers",
    tag = "webui",
    responses(Listed)
)]
pub async fn face_restorers(_caller: Caller) -> Json<Value> {
    Json(json!([]))
}

/// Real-ESRGAN networks: there are none.
#[utoipa::path(
    get,
    path = "/sdapi/v1/realesrgan-models",
    tag = "webui",
    responses(Listed)
)]
pub async fn realesrgan_models(_caller: Caller) -> Json<Value> {
    Json(json!([]))
}

/// Styles of prompts: there are none.
#[utoipa::path(
    get,
    path = "/sdapi/v1/prompt-styles",
    tag = "webui",
    responses(Listed)
)]
pub async fn prompt_styles(_caller: Caller) -> Json<Value> {
    Json(json!([]))
}

/// Names of artists: there are none.
#[utoipa::path(get, path = "/sdapi/v1/artists", tag = "webui", responses(Listed))]
pub async fn artists(_caller: Caller) -> Json<Value> {
    Json(json!([]))
}

/// Kinds of artists: there are none.
#[utoipa::path(
    get,
    path = "/sdapi/v1/artist-categories",
    tag = "webui",
    responses(Listed)
)]
pub async fn artist_categories(_caller: Caller) -> Json<Value> {
    Json(json!([]))
}
