//! The members of requests with their defaults, and how a request is repeated in its answer.

use serde_json::{Map, Value, json};

/// Longest text that an answer repeats, in bytes: longer ones are pictures.
const ECHO_BYTES_MAX: usize = 64 << 10;

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// What both kinds of requests have.
fn common() -> Map<String, Value> {
    members(json!({
        "prompt": "", "negative_prompt": "", "styles": null,
        "seed": -1, "subseed": -1, "subseed_strength": 0,
        "seed_resize_from_h": -1, "seed_resize_from_w": -1,
        "sampler_name": null, "sampler_index": "Euler", "scheduler": null,
        "batch_size": 1, "n_iter": 1, "steps": 50, "cfg_scale": 7.0,
        "width": 512, "height": 512, "restore_faces": null, "tiling": null,
        "do_not_save_samples": false, "do_not_save_grid": false, "eta": null,
        "denoising_strength": 0.75,
        "s_min_uncond": null, "s_churn": null, "s_tmax": null, "s_tmin": null, "s_noise": null,
        "override_settings": null, "override_settings_restore_afterwards": true,
        "refiner_checkpoint": null, "refiner_switch_at": null,
        "disable_extra_networks": false, "comments": null,
        "script_name": null, "script_args": [],
        "send_images": true, "save_images": false, "alwayson_scripts": {},
        "force_task_id": null, "infotext": null,
    }))
}

/// The members of a request for pictures from words.
pub(super) fn text_to_image() -> Map<String, Value> {
    let mut all = common();
    all.extend(members(json!({
        "enable_hr": false, "firstphase_width": 0, "firstphase_height": 0,
        "hr_scale": 2.0, "hr_upscaler": null, "hr_second_pass_steps": 0,
        "hr_resize_x": 0, "hr_resize_y": 0, "hr_checkpoint_name": null,
        "hr_sampler_name": null, "hr_scheduler": null, "hr_prompt": "", "hr_negative_prompt": "",
    })));
    all
}

/// The members of a request for pictures from pictures.
pub(super) fn image_to_image() -> Map<String, Value> {
    let mut all = common();
    all.extend(members(json!({
        "init_images": null, "resize_mode": 0, "image_cfg_scale": null, "mask": null,
        "mask_blur": null, "mask_blur_x": 4, "mask_blur_y": 4, "mask_round": true,
        "inpainting_fill": 0, "inpaint_full_res": true, "inpaint_full_res_padding": 0,
        "inpainting_mask_invert": 0, "initial_noise_multiplier": null, "latent_mask": null,
        "include_init_images": false,
    })));
    all
}

/// Defaults with what a request gave laid over them, unknown members too. Long texts become null.
pub(super) fn echo(
    mut defaults: Map<String, Value>,
    given: &Map<String, Value>,
) -> Map<String, Value> {
    for (name, value) in given {
        defaults.insert(name.clone(), shortened(value));
    }
    defaults
}

/// The depth is bounded by that of the JSON reader.
fn shortened(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > ECHO_BYTES_MAX => Value::Null,
        Value::Array(values) => Value::Array(values.iter().map(shortened).collect()),
        Value::Object(members) => {
            let short = |(name, value): (&String, &Value)| (name.clone(), shortened(value));
            Value::Object(members.iter().map(short).collect())
        }
        other => other.clone(),
    }
}
