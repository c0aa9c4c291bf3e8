//! The settings of the web UI that change pictures, as they are when a request is taken.

use serde_json::{Map, Value};

use super::{error::GenerateError, request::Fields};
use crate::models::prompt::Emphasis;

/// Settings for one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Which checkpoint; the first there is if it is empty.
    pub checkpoint: String,
    /// Which VAE: a name, `Automatic` or `None`.
    pub vae: String,
    /// Which layer of the text encoder is the last: 1 is all of them.
    pub clip_skip: usize,
    /// Added to seeds for all noise but the first.
    pub seed_delta: i64,
    /// Fresh noise of samplers that add some.
    pub eta_ancestral: Option<f64>,
    /// Fresh noise of DDIM.
    pub eta_ddim: Option<f64>,
    /// Noise that Euler adds: `s_churn`, `s_tmin`, `s_tmax` and `s_noise`.
    pub churn: [f64; 4],
    /// What brackets in prompts do.
    pub emphasis: Emphasis,
    /// How far back a comma may be at which a prompt is cut.
    pub comma_backtrack: usize,
    /// Whether as many steps are run from a picture as the request says.
    pub fixes_steps: bool,
    /// Factor on the first noise from a picture.
    pub noise_multiplier: f64,
    /// What was not understood.
    pub warnings: Vec<String>,
}

/// Settings that a request may come with: all that photog knows.
fn defaults() -> Map<String, Value> {
    let defaults = serde_json::json!({
        "sd_model_checkpoint": null, "sd_vae": "Automatic", "CLIP_stop_at_last_layers": 1,
        "eta_noise_seed_delta": 0, "eta_ancestral": null, "eta_ddim": null,
        "s_churn": 0.0, "s_tmin": 0.0, "s_tmax": 0.0, "s_noise": 1.0,
        "emphasis": "Original", "comma_padding_backtrack": 20,
        "img2img_fix_steps": false, "initial_noise_multiplier": 1.0,
        "img2img_color_correction": false, "samples_format": "png",
    });
    match defaults {
        Value::Object(defaults) => defaults,
        _ => Map::new(),
    }
}

impl Options {
    /// The settings, with those that the request overrides. Others are not heard.
    pub fn read(
        settings: &Map<String, Value>,
        overrides: &Map<String, Value>,
    ) -> Result<Self, GenerateError> {
        let mut merged = defaults();
        for (name, value) in settings.iter().chain(overrides) {
            if let Some(known) = merged.get_mut(name) {
                known.clone_from(value);
            }
        }
        let defaults = defaults();
        let fields = Fields {
            given: &merged,
            defaults: &defaults,
            place: "override_settings.",
        };
        let mut warnings = Vec::new();
        let emphasis = fields.text("emphasis")?;
        let emphasis = Emphasis::named(emphasis).ok_or_else(|| {
            let reason = "has to be \"None\", \"Ignore\", \"Original\" or \"No norm\"";
            fields.refuse("emphasis", reason)
        })?;
        if fields.flag("img2img_color_correction")? {
            warnings.push(String::from(
                "`img2img_color_correction` is not built and was ignored",
            ));
        }
        let format = fields.text("samples_format")?;
        if !format.is_empty() && !format.eq_ignore_ascii_case("png") {
            warnings.push(String::from(
                "`samples_format` can be png only; that is what was sent",
            ));
        }
        Ok(Self {
            checkpoint: fields.text("sd_model_checkpoint")?.trim().to_owned(),
            vae: fields.text("sd_vae")?.trim().to_owned(),
            clip_skip: fields.count("CLIP_stop_at_last_layers", 1..=12)?,
            seed_delta: fields.integer("eta_noise_seed_delta", -(1 << 40)..=1 << 40)?,
            eta_ancestral: fields.some_number("eta_ancestral", 0.0..=10.0)?,
            eta_ddim: fields.some_number("eta_ddim", 0.0..=10.0)?,
            churn: [
                fields.number("s_churn", 0.0..=1000.0)?,
                fields.number("s_tmin", 0.0..=1e6)?,
                fields.number("s_tmax", 0.0..=1e6)?,
                fields.number("s_noise", 0.0..=10.0)?,
            ],
            emphasis,
            comma_backtrack: fields.count("comma_padding_backtrack", 0..=75)?,
            fixes_steps: fields.flag("img2img_fix_steps")?,
            noise_multiplier: fields.number("initial_noise_multiplier", 0.0..=10.0)?,
            warnings,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(settings: &Value, overrides: &Value) -> Result<Options, GenerateError> {
        Options::read(
            settings.as_object().unwrap(),
            overrides.as_object().unwrap(),
        )
    }

    #[test]
    fn a_request_overrides_settings_and_both_may_name_unknown_ones() {
        let options = read(
            &json!({"sd_model_checkpoint": "one", "CLIP_stop_at_last_layers": 2, "sd_vae": null}),
            &json!({"sd_model_checkpoint": "two", "grid_save": true, "emphasis": "No norm"}),
        )
        .unwrap();
        assert_eq!(options.checkpoint, "two");
        assert_eq!(options.clip_skip, 2);
        assert_eq!(options.vae, "Automatic");
        assert_eq!(options.emphasis, Emphasis::NoNorm);
        assert_eq!(options.warnings, [""; 0]);
    }

    #[test]
    fn what_is_not_built_is_said_and_what_is_wrong_refused() {
        let options = read(
            &json!({"img2img_color_correction": 1}),
            &json!({"samples_format": "webp"}),
        );
        assert_eq!(options.unwrap().warnings.len(), 2);
        let error = read(&json!({}), &json!({"CLIP_stop_at_last_layers": 13})).unwrap_err();
        let text =
            "`override_settings.CLIP_stop_at_last_layers` has to be a whole number from 1 to 12";
        assert_eq!(error.to_string(), text);
    }
}
