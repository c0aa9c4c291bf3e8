//! Units of ControlNet in a request, in the form of the web UI's extension.

use serde_json::{Map, Value};

use super::fields::Fields;
use crate::pipeline::generate::{
    artist::ControlMode,
    error::GenerateError,
    hints::{Module, Preparation, ResizeMode},
};

/// Most units of a request.
const UNITS_MAX: usize = 10;
/// Names under which the extension is addressed.
const CONTROLNET: &str = "controlnet";

/// In which passes a unit guides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Passes {
    /// In all.
    #[default]
    Both,
    /// Not in that over the enlarged picture.
    First,
    /// In that only.
    Second,
}

/// A network that guides, as a request asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// The member in which it stands, for messages.
    pub place: String,
    /// Name of the network, perhaps with a hash in brackets behind it.
    pub model: String,
    /// The picture in base64; without one the picture that the request begins from.
    pub image: Option<String>,
    /// What is done to the picture.
    pub preparation: Preparation,
    /// How strongly it guides.
    pub weight: f64,
    /// The share of the steps from which on it guides.
    pub start: f64,
    /// The share of the steps up to which it guides.
    pub end: f64,
    /// What counts more.
    pub mode: ControlMode,
    /// In which passes it guides.
    pub passes: Passes,
    /// Whether its picture is cropped with that of the request.
    pub follows_crop: bool,
}

/// The units of `alwayson_scripts`. Other scripts are refused, unless they are switched off.
pub(super) fn read(
    scripts: Option<&Map<String, Value>>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Unit>, GenerateError> {
    let mut units = Vec::new();
    for (name, script) in scripts.into_iter().flatten() {
        let arguments = arguments(name, script)?;
        if name.eq_ignore_ascii_case(CONTROLNET) {
            for (at, unit) in arguments.iter().enumerate() {
                let place = format!("alwayson_scripts.{name}.args[{at}].");
                units.extend(unit_of(unit, &place, warnings)?);
            }
        } else if !arguments.iter().all(is_off) {
            return Err(GenerateError::field(
                "alwayson_scripts",
                format!(
                    "names the script \"{}\", which is not there; only ControlNet is",
                    short(name)
                ),
            ));
        }
    }
    if units.len() > UNITS_MAX {
        let reason = format!(
            "has {} units of ControlNet; give at most {UNITS_MAX}",
            units.len()
        );
        return Err(GenerateError::field("alwayson_scripts", reason));
    }
    Ok(units)
}

/// A name from outside, cut short for messages.
fn short(name: &str) -> String {
    name.chars().take(100).collect()
}

/// Arguments with which a script does nothing, as clients send them for scripts that they do not use.
fn is_off(argument: &Value) -> bool {
    matches!(argument, Value::Null | Value::Bool(false))
        || argument.get("enabled") == Some(&Value::Bool(false))
}

fn arguments<'a>(name: &str, script: &'a Value) -> Result<&'a [Value], GenerateError> {
    let arguments = match script {
        Value::Null => None,
        Value::Array(arguments) => Some(arguments),
        Value::Object(members) => match members.get("args") {
            None | Some(Value::Null) => None,
            Some(Value::Array(arguments)) => Some(arguments),
            Some(Value::Object(members)) if members.is_empty() => None,
            Some(_) => return Err(refused(name)),
        },
        _ => return Err(refused(name)),
    };
    Ok(arguments.map_or(&[], Vec::as_slice))
}

fn refused(name: &str) -> GenerateError {
    let reason = "has to be an object with a list `args`";
    GenerateError::field(format!("alwayson_scripts.{}", short(name)), reason)
}

/// What a unit is where it says nothing.
fn defaults() -> Map<String, Value> {
    let defaults = serde_json::json!({
        "enabled": true, "module": "none", "model": null, "weight": 1.0,
        "image": null, "input_image": null, "mask": null, "mask_image": null,
        "resize_mode": 1, "processor_res": -1, "threshold_a": -1, "threshold_b": -1,
        "guidance_start": 0.0, "guidance_end": 1.0, "control_mode": 0, "pixel_perfect": false,
        "hr_option": "Both", "inpaint_crop_input_image": true,
    });
    match defaults {
        Value::Object(defaults) => defaults,
        _ => Map::new(),
    }
}

/// The unit, unless it is switched off.
fn unit_of(
    unit: &Value,
    place: &str,
    warnings: &mut Vec<String>,
) -> Result<Option<Unit>, GenerateError> {
    let Value::Object(given) = unit else {
        if is_off(unit) {
            return Ok(None);
        }
        let name = place.trim_end_matches('.');
        return Err(GenerateError::field(name, "has to be an object"));
    };
    let defaults = defaults();
    let fields = Fields {
        given,
        defaults: &defaults,
        place,
    };
    let weight = fields.number("weight", 0.0..=2.0)?;
    if !fields.flag("enabled")? || weight == 0.0 {
        return Ok(None);
    }
    let model = fields.text("model")?.trim().to_owned();
    if model.is_empty() || model.eq_ignore_ascii_case("none") {
        let reason = "is missing; name a network that is in `models/ControlNet`";
        return Err(fields.refuse("model", reason));
    }
    let (image, mask) = pictures(fields)?;
    if mask {
        warnings.push(format!("`{place}mask` is not used"));
    }
    let module = fields.text("module")?;
    let module = Module::parse(module).map_err(|reason| fields.refuse("module", reason))?;
    if module == Module::TileColourFix {
        warnings.push(format!(
            "`{place}module` corrects no colours here; the network still guides by the picture"
        ));
    }
    let preparation = Preparation {
        module,
        resolution: fields.integer("processor_res", -1..=16_384)?,
        thresholds: [
            fields.number("threshold_a", -1.0..=1e6)?,
            fields.number("threshold_b", -1.0..=1e6)?,
        ],
        resize: resize_mode(fields)?,
        is_pixel_perfect: fields.flag("pixel_perfect")?,
    };
    let unit = Unit {
        model,
        image,
        preparation,
        weight,
        start: fields.number("guidance_start", 0.0..=1.0)?,
        end: fields.number("guidance_end", 0.0..=1.0)?,
        mode: control_mode(fields)?,
        passes: passes(fields)?,
        follows_crop: fields.flag("inpaint_crop_input_image")?,
        place: place.to_owned(),
    };
    Ok(Some(unit))
}

/// The picture, under one of its names or as an object with a mask, and whether there is a mask.
fn pictures(fields: Fields<'_>) -> Result<(Option<String>, bool), GenerateError> {
    let mut mask = fields.value("mask").is_some_and(|mask| !mask.is_null())
        || fields.value("mask_image").is_some();
    for name in ["image", "input_image"] {
        let image = match fields.value(name) {
            Some(Value::Object(both)) => {
                mask |= both.get("mask").is_some_and(Value::is_string);
                both.get("image").and_then(Value::as_str)
            }
            _ => fields.long_text(name)?,
        };
        if let Some(image) = image.filter(|image| !image.trim().is_empty()) {
            return Ok((Some(image.to_owned()), mask));
        }
    }
    Ok((None, mask))
}

fn resize_mode(fields: Fields<'_>) -> Result<ResizeMode, GenerateError> {
    if let Some(Value::String(text)) = fields.value("resize_mode")
        && let Some(mode) = ResizeMode::named(text)
    {
        return Ok(mode);
    }
    Ok(match fields.integer("resize_mode", 0..=2)? {
        0 => ResizeMode::Just,
        1 => ResizeMode::Crop,
        _ => ResizeMode::Fill,
    })
}

fn control_mode(fields: Fields<'_>) -> Result<ControlMode, GenerateError> {
    if let Some(Value::String(text)) = fields.value("control_mode") {
        match text.trim() {
            "Balanced" => return Ok(ControlMode::Balanced),
            "My prompt is more important" => return Ok(ControlMode::Prompt),
            "ControlNet is more important" => return Ok(ControlMode::Control),
            _ => {}
        }
    }
    Ok(match fields.integer("control_mode", 0..=2)? {
        0 => ControlMode::Balanced,
        1 => ControlMode::Prompt,
        _ => ControlMode::Control,
    })
}

fn passes(fields: Fields<'_>) -> Result<Passes, GenerateError> {
    match fields.text("hr_option")?.trim() {
        "" | "Both" => Ok(Passes::Both),
        "Low res only" => Ok(Passes::First),
        "High res only" => Ok(Passes::Second),
        _ => {
            let reason = "has to be \"Both\", \"Low res only\" or \"High res only\"";
            Err(fields.refuse("hr_option", reason))
        }
    }
}
