//! Requests for pictures in the form of the web UI.
//!
//! Every member that the web UI has is taken, as are unknown ones, which change nothing. Each has the
//! web UI's default. What would change the picture and is not built is refused by name, or named in the
//! result's comments where a client sends it without meaning it.

mod defaults;
mod fields;
mod units;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub(super) use fields::Fields;
pub use units::{Passes, Unit};

use super::{error::GenerateError, hires::HiresRequest};
use crate::{
    imaging::{GrayImage, RgbImage},
    models::sampling::{Method, Spacing},
};

/// Longest and shortest side of a picture, in pixels.
pub const SIDES: std::ops::RangeInclusive<u32> = 64..=2048;
/// Most steps of a pass.
pub const STEPS_MAX: u32 = 150;
/// Most pictures that are made at once.
pub const BATCH_MAX: u32 = 8;
/// Most batches of a request.
pub const BATCHES_MAX: u32 = 100;
/// Most that prompt and negative prompt are pulled apart.
pub const GUIDANCE_MAX: f64 = 30.0;
/// Pixels of which sides are whole multiples.
pub(super) const PIXELS: u32 = 8;

/// What both kinds of requests say.
#[derive(Debug, Clone, PartialEq)]
pub struct Common {
    /// What is to be seen.
    pub prompt: String,
    /// What is not to be seen.
    pub negative_prompt: String,
    /// The first seed; -1 is any.
    pub seed: i64,
    /// The first seed of the second noise; -1 is any.
    pub subseed: i64,
    /// How much of the second noise there is.
    pub subseed_strength: f64,
    /// Height and width in pixels of the picture whose composition is kept.
    pub resize_from: [i64; 2],
    /// The sampler.
    pub method: Method,
    /// Its levels of noise.
    pub spacing: Spacing,
    /// Pictures that are made at once.
    pub batch_size: usize,
    /// How many times that is done.
    pub batches: usize,
    /// Steps.
    pub steps: usize,
    /// How much prompt and negative prompt are pulled apart.
    pub guidance: f64,
    /// Width in pixels, a whole multiple of 8.
    pub width: u32,
    /// Height in pixels, a whole multiple of 8.
    pub height: u32,
    /// Fresh noise of samplers that add some.
    pub eta: Option<f64>,
    /// `s_churn`, `s_tmin`, `s_tmax` and `s_noise`, where they are given.
    pub churn: [Option<f64>; 4],
    /// Settings for this request.
    pub overrides: Map<String, Value>,
    /// Whether LoRA tags of the prompt mean something.
    pub uses_networks: bool,
    /// Networks that guide.
    pub units: Vec<Unit>,
    /// Whether the pictures are in the answer.
    pub sends_pictures: bool,
    /// Whether the pictures are kept on the server.
    pub saves_pictures: bool,
    /// What was not heard.
    pub warnings: Vec<String>,
}

/// A request for pictures from words.
#[derive(Debug, Clone, PartialEq)]
pub struct TextToImage {
    /// What both kinds say.
    pub common: Common,
    /// How much the second pass changes.
    pub strength: f64,
    /// The second pass over the enlarged picture.
    pub hires: Option<HiresRequest>,
}

/// A picture or a mask that a request comes with.
#[derive(Debug, Clone, PartialEq)]
pub enum Given<P> {
    /// A file in base64, as clients send it.
    Encoded(String),
    /// Its pixels.
    Ready(P),
}

/// A request for pictures from pictures.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "these are the switches that a request has"
)]
pub struct ImageToImage {
    /// What both kinds say.
    pub common: Common,
    /// The pictures: one, or one for each of the batch.
    pub init_images: Vec<Given<RgbImage>>,
    /// How much is changed.
    pub strength: f64,
    /// How pictures are brought to size: 0 stretches, 1 cuts, 2 fills, 3 stretches latent pictures.
    pub resize_mode: u32,
    /// What is made anew.
    pub mask: Option<Given<GrayImage>>,
    /// Another mask for the latent picture.
    pub latent_mask: Option<Given<GrayImage>>,
    /// The blur of the mask across and down, in pixels.
    pub mask_blur: [f64; 2],
    /// Whether masks are made black and white.
    pub rounds_mask: bool,
    /// Whether black is made anew instead of white.
    pub inverts_mask: bool,
    /// What stands under the mask at first.
    pub content: Content,
    /// Whether only the part around the mask is worked on.
    pub is_masked_area_only: bool,
    /// Pixels around the mask that are seen then.
    pub padding: u32,
    /// Factor on the first noise, if it is given.
    pub noise_multiplier: Option<f64>,
    /// Whether the answer repeats pictures and mask.
    pub repeats_pictures: bool,
}

/// What stands under a mask before it is made anew (`inpainting_fill`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The colours around it.
    Fill,
    /// The picture as it is.
    Original,
    /// Noise in the latent picture.
    LatentNoise,
    /// Nothing in the latent picture.
    LatentNothing,
}

impl Content {
    /// As the web UI calls it in the text of a picture; none for the usual.
    pub fn label(self) -> Option<&'static str> {
        match self {
            Self::Original => None,
            Self::Fill => Some("fill"),
            Self::LatentNoise => Some("latent noise"),
            Self::LatentNothing => Some("latent nothing"),
        }
    }
}

impl TextToImage {
    /// Reads the members of a request.
    pub fn read(members: &Map<String, Value>) -> Result<Self, GenerateError> {
        let defaults = defaults::text_to_image();
        let fields = Fields {
            given: members,
            defaults: &defaults,
            place: "",
        };
        let mut common = Common::read(fields)?;
        let hires = if fields.flag("enable_hr")? {
            Some(HiresRequest::read(fields, &mut common)?)
        } else {
            None
        };
        Ok(Self {
            strength: strength(fields)?,
            common,
            hires,
        })
    }

    /// The request as the web UI repeats it: with all defaults.
    pub fn echo(members: &Map<String, Value>) -> Map<String, Value> {
        defaults::echo(defaults::text_to_image(), members)
    }
}

impl ImageToImage {
    /// Reads the members of a request.
    pub fn read(members: &Map<String, Value>) -> Result<Self, GenerateError> {
        let defaults = defaults::image_to_image();
        let fields = Fields {
            given: members,
            defaults: &defaults,
            place: "",
        };
        let content = match fields.integer("inpainting_fill", 0..=3)? {
            0 => Content::Fill,
            1 => Content::Original,
            2 => Content::LatentNoise,
            _ => Content::LatentNothing,
        };
        Ok(Self {
            common: Common::read(fields)?,
            init_images: init_images(fields)?,
            strength: strength(fields)?,
            resize_mode: fields.count("resize_mode", 0..=3)? as u32,
            mask: fields.long_text("mask")?.map(encoded),
            latent_mask: fields.long_text("latent_mask")?.map(encoded),
            mask_blur: mask_blur(fields)?,
            rounds_mask: fields.flag("mask_round")?,
            inverts_mask: fields.flag("inpainting_mask_invert")?,
            content,
            is_masked_area_only: fields.flag("inpaint_full_res")?,
            padding: fields.count("inpaint_full_res_padding", 0..=4096)? as u32,
            noise_multiplier: fields.some_number("initial_noise_multiplier", 0.0..=10.0)?,
            repeats_pictures: fields.flag("include_init_images")?,
        })
    }

    /// A request with all defaults that begins from these pictures.
    pub fn of(pictures: Vec<RgbImage>) -> Result<Self, GenerateError> {
        let any = serde_json::json!([""]);
        let members = Map::from_iter([(String::from("init_images"), any)]);
        let mut request = Self::read(&members)?;
        request.common.batch_size = pictures.len();
        request.init_images = pictures.into_iter().map(Given::Ready).collect();
        Ok(request)
    }

    /// The request as the web UI repeats it: with all defaults, and with its pictures only where it asks
    /// for them.
    pub fn echo(members: &Map<String, Value>, repeats_pictures: bool) -> Map<String, Value> {
        let mut echo = defaults::echo(defaults::image_to_image(), members);
        if repeats_pictures {
            for name in ["init_images", "mask"] {
                if let Some(value) = members.get(name) {
                    echo.insert(name.to_owned(), value.clone());
                }
            }
        } else {
            echo.insert("init_images".to_owned(), Value::Null);
            echo.insert("mask".to_owned(), Value::Null);
        }
        echo
    }
}

impl Common {
    fn read(fields: Fields<'_>) -> Result<Self, GenerateError> {
        let mut warnings = Vec::new();
        refuse_unbuilt(fields, &mut warnings)?;
        // Whoever queues the request uses it; here it only has to be a text.
        fields.text("force_task_id")?;
        let sampler = match fields.text("sampler_name")?.trim() {
            "" => fields.text("sampler_index")?,
            name => name,
        };
        let (method, spacing) = Method::parse(sampler, fields.text("scheduler")?)?;
        let scripts = fields.object("alwayson_scripts")?;
        let units = units::read(scripts, &mut warnings)?;
        Ok(Self {
            prompt: prompt(fields, "prompt")?,
            negative_prompt: prompt(fields, "negative_prompt")?,
            seed: fields.integer("seed", i64::MIN..=i64::MAX)?,
            subseed: fields.integer("subseed", i64::MIN..=i64::MAX)?,
            subseed_strength: fields.number("subseed_strength", 0.0..=1.0)?,
            resize_from: [
                fields.integer("seed_resize_from_h", -1..=8192)?,
                fields.integer("seed_resize_from_w", -1..=8192)?,
            ],
            method,
            spacing,
            batch_size: fields.count("batch_size", 1..=BATCH_MAX)?,
            batches: fields.count("n_iter", 1..=BATCHES_MAX)?,
            steps: fields.count("steps", 1..=STEPS_MAX)?,
            guidance: fields.number("cfg_scale", 0.0..=GUIDANCE_MAX)?,
            width: side(fields, "width", &mut warnings)?,
            height: side(fields, "height", &mut warnings)?,
            eta: fields.some_number("eta", 0.0..=10.0)?,
            churn: [
                fields.some_number("s_churn", 0.0..=1000.0)?,
                fields.some_number("s_tmin", 0.0..=1e6)?,
                fields.some_number("s_tmax", 0.0..=1e6)?,
                fields.some_number("s_noise", 0.0..=10.0)?,
            ],
            overrides: fields
                .object("override_settings")?
                .cloned()
                .unwrap_or_default(),
            uses_networks: !fields.flag("disable_extra_networks")?,
            units,
            sends_pictures: fields.flag("send_images")?,
            saves_pictures: fields.flag("save_images")?,
            warnings,
        })
    }
}

/// Refuses what would make another picture and is not there, and warns of what clients may send anyway.
fn refuse_unbuilt(fields: Fields<'_>, warnings: &mut Vec<String>) -> Result<(), GenerateError> {
    let is_named = |name: &str| {
        let text = fields.text(name)?.trim();
        Ok::<bool, GenerateError>(!text.is_empty() && !text.eq_ignore_ascii_case("none"))
    };
    if is_named("script_name")? {
        let reason = "names a script, and none is there; leave it out";
        return Err(fields.refuse("script_name", reason));
    }
    if is_named("refiner_checkpoint")? {
        let reason = "asks for a second model, which is not built; leave it out";
        return Err(fields.refuse("refiner_checkpoint", reason));
    }
    for (name, what) in [
        ("restore_faces", "faces are not restored"),
        ("tiling", "pictures do not tile"),
    ] {
        if fields.flag(name)? {
            warnings.push(format!("`{name}` is not built and was ignored: {what}"));
        }
    }
    if !fields.list("styles")?.is_empty() {
        warnings.push(String::from("`styles` are not built and were ignored"));
    }
    if !fields.text("infotext")?.is_empty() {
        warnings.push(String::from(
            "`infotext` was ignored; say what it says in members of the request",
        ));
    }
    if fields.number("s_min_uncond", 0.0..=1e6)? != 0.0 {
        warnings.push(String::from("`s_min_uncond` is not built and was ignored"));
    }
    Ok(())
}

pub(super) fn prompt(fields: Fields<'_>, name: &'static str) -> Result<String, GenerateError> {
    match fields.value(name) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(fields.refuse(name, "has to be a text")),
    }
}

fn side(fields: Fields<'_>, name: &str, warnings: &mut Vec<String>) -> Result<u32, GenerateError> {
    let asked = fields.count(name, SIDES)? as u32;
    let side = asked / PIXELS * PIXELS;
    if side != asked {
        warnings.push(format!(
            "`{name}` is no multiple of {PIXELS}; {side} was taken for {asked}"
        ));
    }
    Ok(side)
}

fn strength(fields: Fields<'_>) -> Result<f64, GenerateError> {
    fields.number("denoising_strength", 0.0..=1.0)
}

fn encoded<P>(text: &str) -> Given<P> {
    Given::Encoded(text.to_owned())
}

fn init_images(fields: Fields<'_>) -> Result<Vec<Given<RgbImage>>, GenerateError> {
    let images = fields.list("init_images")?;
    if images.is_empty() {
        return Err(GenerateError::NoInitImage);
    }
    if images.len() > BATCH_MAX as usize {
        let reason = format!("has {} pictures; send at most {BATCH_MAX}", images.len());
        return Err(fields.refuse("init_images", reason));
    }
    let texts = images.iter().map(|image| match image {
        Value::String(image) => Ok(encoded(image)),
        _ => Err(fields.refuse("init_images", "has to be a list of texts")),
    });
    texts.collect()
}

/// One number for both directions counts before one for each, as in the web UI.
fn mask_blur(fields: Fields<'_>) -> Result<[f64; 2], GenerateError> {
    const MAX: f64 = 100.0;
    if let Some(both) = fields.some_number("mask_blur", 0.0..=MAX)? {
        return Ok([both; 2]);
    }
    Ok([
        fields.number("mask_blur_x", 0.0..=MAX)?,
        fields.number("mask_blur_y", 0.0..=MAX)?,
    ])
}
