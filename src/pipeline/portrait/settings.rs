//! What a portrait is asked for: the options of `portrait-api` section 5.2 with their ranges, defaults
//! and other names.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::{
    pack::Pack,
    pipeline::{configure::Configure, reply::Failure},
};

/// Longest text that is added to a prompt, in bytes.
const PROMPT_BYTES_MAX: usize = 4096;
/// Longest name of a checkpoint, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// Most portraits of which the best is chosen: they are painted at once.
const CANDIDATES_MAX: usize = 8;
/// Seeds that are drawn for -1 are below this, as in the sibling.
const DRAWN_BELOW: u128 = 1 << 16;

/// One pass of painting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// Steps of the sampler, of which the strength takes a part.
    pub steps: usize,
    /// How much changes, 0 to 1.
    pub strength: f64,
}

/// The settings of a portrait, all decided.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "these are the switches that a request has"
)]
pub struct Settings {
    /// Shorter side of the part that is worked on, in pixels: what the checkpoint was trained at.
    pub side: u32,
    /// Added to the prompt.
    pub additional_prompt: String,
    /// Added to the negative prompt.
    pub additional_neg_prompt: String,
    /// The seed that is used.
    pub seed: i64,
    /// How much the persons' LoRAs count.
    pub lora_weights: f64,
    /// How much prompt and negative prompt are pulled apart.
    pub guidance: f64,
    /// Whether painting begins with the face of the reference photo.
    pub apply_face_fusion_before: bool,
    /// The share of its skin.
    pub before_face_fusion_ratio: f64,
    /// Whether a network for face fusion, where there is one, works on the face once more after the first
    /// pass.
    pub apply_face_fusion_after: bool,
    /// The share of the skin that it makes then.
    pub after_face_fusion_ratio: f64,
    /// The first pass, which makes the face anew.
    pub first: Pass,
    /// The second pass, over its line, eyes and lips; none leaves them.
    pub second: Option<Pass>,
    /// Whether the part around the face is worked on, and not the whole picture.
    pub crop_face_preprocess: bool,
    /// Whether the first pass gets the template's colours.
    pub color_shift_middle: bool,
    /// Whether the second does.
    pub color_shift_last: bool,
    /// Strength of a pass over the surroundings, if there is one.
    pub background_restore: Option<f64>,
    /// Whether a network, where there is one, makes the portrait twice as wide and high at last.
    pub super_resolution: bool,
    /// Its share, 0 to 1; the rest is interpolated.
    pub super_resolution_ratio: f64,
    /// Size of what is made anew over that of the face's box.
    pub mask_ratio: f64,
    /// Whether the result has the likeness of each face.
    pub display_score: bool,
    /// Portraits that are made, of which the most like is the result.
    pub candidates: usize,
    /// Whether numbers of faces and persons may differ.
    pub allow_face_count_mismatch: bool,
    /// Whether the file says that it was generated, and how.
    pub content_credentials: bool,
    /// Whether the portrait is also kept on the server.
    pub save_image: bool,
    /// Checkpoint; none takes that which the first person was trained for.
    pub sd_model_checkpoint: Option<String>,
}

/// What numbers can be.
struct Ranges {
    steps: RangeInclusive<usize>,
    first_strength: RangeInclusive<f64>,
    second_strength: RangeInclusive<f64>,
    fusion: RangeInclusive<f64>,
}

impl Ranges {
    fn of(pack: Option<Pack>) -> Self {
        match pack {
            None => Self {
                steps: 15..=50,
                first_strength: 0.30..=0.60,
                second_strength: 0.20..=0.40,
                fusion: 0.2..=0.8,
            },
            // Whoever tries a pack may try everything.
            Some(Pack::Demo) => Self {
                steps: 1..=50,
                first_strength: 0.0..=1.0,
                second_strength: 0.0..=1.0,
                fusion: 0.0..=1.0,
            },
        }
    }
}

impl Settings {
    /// The defaults for a checkpoint of Stable Diffusion 1.x (`portrait-api` 5.2), or for the networks of
    /// a pack. The seed is any.
    pub fn of(pack: Option<Pack>) -> Self {
        let usual = Self {
            side: 512,
            additional_prompt: String::new(),
            additional_neg_prompt: String::new(),
            seed: -1,
            lora_weights: 0.9,
            guidance: 7.0,
            apply_face_fusion_before: true,
            before_face_fusion_ratio: 0.5,
            apply_face_fusion_after: true,
            after_face_fusion_ratio: 0.5,
            first: Pass {
                steps: 50,
                strength: 0.45,
            },
            second: Some(Pass {
                steps: 20,
                strength: 0.35,
            }),
            crop_face_preprocess: true,
            color_shift_middle: true,
            color_shift_last: true,
            background_restore: None,
            super_resolution: false,
            super_resolution_ratio: 0.5,
            mask_ratio: 1.15,
            display_score: false,
            candidates: 1,
            allow_face_count_mismatch: false,
            content_credentials: true,
            save_image: false,
            sd_model_checkpoint: None,
        };
        match pack {
            None => usual,
            Some(Pack::Demo) => Self {
                side: 256,
                lora_weights: 1.0,
                guidance: 4.0,
                before_face_fusion_ratio: 0.9,
                first: Pass {
                    steps: 20,
                    strength: 0.5,
                },
                second: Some(Pass {
                    steps: 15,
                    strength: 0.35,
                }),
                color_shift_middle: false,
                color_shift_last: false,
                // A drawn person is known by the hair as much as by the face.
                mask_ratio: 1.7,
                ..usual
            },
        }
    }

    /// Reads the options of a request, by the defaults and ranges that go with the networks. Warnings
    /// say what was ignored or moved into its range.
    pub fn read(
        options: Map<String, Value>,
        pack: Option<Pack>,
    ) -> Result<(Self, Vec<String>), Failure> {
        let mut read = Configure::new(options);
        let mut settings = Self::of(pack);
        let ranges = Ranges::of(pack);
        older_names(&mut read)?;
        macro_rules! set {
            ($name:ident, $value:expr) => {
                if let Some(value) = $value {
                    settings.$name = value;
                }
            };
        }
        set!(
            additional_prompt,
            read.text("additional_prompt", PROMPT_BYTES_MAX)?
        );
        set!(
            additional_neg_prompt,
            read.text("additional_neg_prompt", PROMPT_BYTES_MAX)?
        );
        set!(seed, read.integer("seed", -1..=i64::from(u32::MAX))?);
        set!(lora_weights, read.number("lora_weights", 0.0..=1.3)?);
        set!(guidance, read.number("cfg_scale", 1.0..=30.0)?);
        set!(
            apply_face_fusion_before,
            read.flag("apply_face_fusion_before")?
        );
        set!(
            before_face_fusion_ratio,
            read.number("before_face_fusion_ratio", ranges.fusion.clone())?
        );
        set!(
            apply_face_fusion_after,
            read.flag("apply_face_fusion_after")?
        );
        set!(
            after_face_fusion_ratio,
            read.number("after_face_fusion_ratio", ranges.fusion)?
        );
        settings.first = pass(
            &mut read,
            settings.first,
            ["first_diffusion_steps", "first_denoising_strength"],
            &ranges.steps,
            ranges.first_strength,
        )?;
        let second = pass(
            &mut read,
            settings.second.unwrap_or(settings.first),
            ["second_diffusion_steps", "second_denoising_strength"],
            &ranges.steps,
            ranges.second_strength,
        )?;
        let has_second = read.flag("enable_second_diffusion")?.unwrap_or(true);
        settings.second = has_second.then_some(second);
        set!(crop_face_preprocess, read.flag("crop_face_preprocess")?);
        set!(color_shift_middle, read.flag("color_shift_middle")?);
        set!(color_shift_last, read.flag("color_shift_last")?);
        let strength = read.number("background_restore_denoising_strength", 0.10..=0.60)?;
        if read.flag("background_restore")?.unwrap_or(false) {
            settings.background_restore = Some(strength.unwrap_or(0.35));
        }
        set!(super_resolution, read.flag("super_resolution")?);
        set!(
            super_resolution_ratio,
            read.number("super_resolution_ratio", 0.0..=1.0)?
        );
        set!(mask_ratio, read.number("mask_ratio", 0.5..=3.0)?);
        set!(display_score, read.flag("display_score")?);
        set!(candidates, read.count("candidates", 1..=CANDIDATES_MAX)?);
        set!(
            allow_face_count_mismatch,
            read.flag("allow_face_count_mismatch")?
        );
        set!(content_credentials, read.flag("content_credentials")?);
        set!(save_image, read.flag("save_image")?);
        let base = read.text("sd_model_checkpoint", NAME_BYTES_MAX)?;
        settings.sd_model_checkpoint = base.filter(|name| !name.is_empty());
        without_effect(&mut read)?;
        if settings.seed == -1 {
            settings.seed = (uuid::Uuid::new_v4().as_u128() % DRAWN_BELOW) as i64;
        }
        Ok((settings, read.finish()))
    }
}

fn pass(
    read: &mut Configure,
    default: Pass,
    [steps, strength]: [&str; 2],
    steps_range: &RangeInclusive<usize>,
    strengths: RangeInclusive<f64>,
) -> Result<Pass, Failure> {
    let steps = read.count(steps, steps_range.clone())?;
    let strength = read.number(strength, strengths)?;
    Ok(Pass {
        steps: steps.unwrap_or(default.steps),
        strength: strength.unwrap_or(default.strength),
    })
}

/// The names of an older inference of the same family (`portrait-api` section 5.2). A newer name that is
/// there as well counts more.
fn older_names(read: &mut Configure) -> Result<(), Failure> {
    for (older, newer) in [
        ("append_pos_prompt", "additional_prompt"),
        ("use_fusion_before", "apply_face_fusion_before"),
        ("use_fusion_after", "apply_face_fusion_after"),
    ] {
        read.rename(older, newer);
    }
    // The older number is the share of what was painted, the newer one that of the fused face.
    if let Some(painted) = read.number("final_fusion_ratio", 0.0..=1.0)? {
        read.offer("after_face_fusion_ratio", (1.0 - painted).into());
    }
    for name in ["first_control_weight", "second_control_weight"] {
        read.not_built(name);
    }
    Ok(())
}

/// What is known and changes nothing here.
fn without_effect(read: &mut Configure) -> Result<(), Failure> {
    for name in [
        "skin_retouching_bool",
        "makeup_transfer",
        "face_shape_match",
        "lcm_accelerate",
    ] {
        read.not_built(name);
    }
    for name in ["super_resolution_method", "makeup_transfer_ratio"] {
        read.ignore(name);
    }
    if read
        .count("batch_size", 1..=1)?
        .is_some_and(|size| size > 1)
    {
        read.warn(
            "`configure.batch_size` was ignored; `candidates` makes several and takes the best",
        );
    }
    Ok(())
}
