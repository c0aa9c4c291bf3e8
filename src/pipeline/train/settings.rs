//! What a training is asked for: the options of `portrait-api` section 4.2 with their ranges and
//! defaults.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::prepare::Background;
use crate::{
    models::training::{Curve, Recipe},
    pack::Pack,
    pipeline::{configure::Configure, reply::Failure, request::invalid},
};

/// Longest text that is put before the caption, in bytes.
const PREFIX_BYTES_MAX: usize = 512;
/// Longest name of a checkpoint, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// Sides of training pictures are multiples of this: the UNet of Stable Diffusion halves a latent three
/// times, and a latent pixel stands for eight.
const SIDE_STEP: usize = 64;

/// The settings of a training, all decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Sides of the training pictures.
    pub resolution: usize,
    /// Steps for each usable photo.
    pub steps_per_photos: usize,
    /// Most steps.
    pub max_train_steps: usize,
    /// Steps from one checkpoint with its validation pictures to the next.
    pub val_and_checkpointing_steps: usize,
    /// Pictures that go through the networks at once.
    pub train_batch_size: usize,
    /// Such passes of a step.
    pub gradient_accumulation_steps: usize,
    /// Learning rate of the UNet.
    pub learning_rate: f64,
    /// Learning rate of the text encoder; 0 leaves it as it is.
    pub text_encoder_learning_rate: f64,
    /// `constant` or `cosine`.
    pub lr_scheduler: Curve,
    /// Inner size of the LoRA's factors.
    pub rank: usize,
    /// The LoRA counts `network_alpha / rank` times.
    pub network_alpha: f64,
    /// Limit of the signal-to-noise ratio in the weights of time steps; 0 weighs all alike.
    pub min_snr_gamma: f64,
    /// Share of noise that is the same for all pixels.
    pub noise_offset: f64,
    /// Whether validation pictures choose the checkpoints that are merged.
    pub validation: bool,
    /// How many times larger than the face a training picture is.
    pub crop_ratio: f64,
    /// What becomes of the background.
    pub background: Background,
    /// What is put before the caption.
    pub training_prefix_prompt: String,
    /// The words that the person is trained with, and is called by later.
    pub caption: String,
    /// What all choices follow from.
    pub seed: u64,
    /// Checkpoint to train for; none takes the first by name.
    pub sd_model_checkpoint: Option<String>,
}

impl Settings {
    /// The defaults for a checkpoint of Stable Diffusion 1.x (`portrait-api` 4.2), or for the networks
    /// of a pack.
    pub fn of(pack: Option<Pack>) -> Self {
        let recipe = Recipe::default();
        let usual = Self {
            resolution: 512,
            steps_per_photos: 200,
            max_train_steps: recipe.steps,
            val_and_checkpointing_steps: 100,
            train_batch_size: 1,
            gradient_accumulation_steps: recipe.pictures,
            learning_rate: recipe.unet_rate,
            text_encoder_learning_rate: recipe.text_rate.unwrap_or(0.0),
            lr_scheduler: recipe.curve,
            rank: recipe.rank,
            network_alpha: recipe.alpha,
            min_snr_gamma: 0.0,
            noise_offset: 0.0,
            validation: true,
            crop_ratio: 3.0,
            background: Background::White,
            training_prefix_prompt: String::new(),
            caption: String::from("photog_face, photog, 1person"),
            seed: recipe.seed,
            sd_model_checkpoint: None,
        };
        match pack {
            None => usual,
            // Small networks that learn at a high rate, and words that they know.
            Some(Pack::Demo) => Self {
                resolution: 256,
                steps_per_photos: 25,
                max_train_steps: 200,
                val_and_checkpointing_steps: 50,
                learning_rate: 2e-3,
                text_encoder_learning_rate: 1e-3,
                lr_scheduler: Curve::Cosine,
                rank: 32,
                network_alpha: 32.0,
                min_snr_gamma: 5.0,
                background: Background::Keep,
                caption: String::from("a portrait of a person"),
                ..usual
            },
        }
    }

    /// Reads the options of a request. Warnings say what was ignored or moved into its range.
    pub fn read(
        options: Map<String, Value>,
        defaults: &Self,
    ) -> Result<(Self, bool, Vec<String>), Failure> {
        let mut read = Configure::new(options);
        let mut settings = defaults.clone();
        macro_rules! set {
            ($name:ident, $value:expr) => {
                if let Some(value) = $value {
                    settings.$name = value;
                }
            };
        }
        set!(resolution, read.count("resolution", 64..=1024)?);
        set!(
            steps_per_photos,
            read.count("steps_per_photos", 1..=10_000)?
        );
        set!(max_train_steps, read.count("max_train_steps", 1..=100_000)?);
        set!(
            val_and_checkpointing_steps,
            read.count("val_and_checkpointing_steps", 1..=100_000)?
        );
        set!(train_batch_size, read.count("train_batch_size", 1..=64)?);
        set!(
            gradient_accumulation_steps,
            read.count("gradient_accumulation_steps", 1..=64)?
        );
        let half = settings.text_encoder_learning_rate / settings.learning_rate;
        if let Some(rate) = read.number("learning_rate", 1e-7..=1e-1)? {
            settings.learning_rate = rate;
            settings.text_encoder_learning_rate = rate * half;
        }
        set!(
            text_encoder_learning_rate,
            read.number("text_encoder_learning_rate", 0.0..=1e-1)?
        );
        let curves = [("constant", Curve::Constant), ("cosine", Curve::Cosine)];
        set!(lr_scheduler, read.word("lr_scheduler", &curves)?);
        set!(rank, read.count("rank", 1..=1024)?);
        settings.network_alpha = match read.number("network_alpha", 1e-3..=1024.0)? {
            Some(alpha) => alpha,
            // The scale of the defaults stays with another rank.
            None => defaults.network_alpha * settings.rank as f64 / defaults.rank as f64,
        };
        if settings.network_alpha > settings.rank as f64 {
            return Err(invalid(format!(
                "`configure.network_alpha` is {} and `configure.rank` {}; alpha can be at most the rank",
                settings.network_alpha, settings.rank
            )));
        }
        set!(min_snr_gamma, read.number("min_snr_gamma", 0.0..=100.0)?);
        set!(noise_offset, read.number("noise_offset", 0.0..=1.0)?);
        set!(validation, read.flag("validation")?);
        set!(crop_ratio, read.number("crop_ratio", 1.0..=8.0)?);
        let backgrounds = [("white", Background::White), ("keep", Background::Keep)];
        set!(background, read.word("background", &backgrounds)?);
        set!(
            training_prefix_prompt,
            read.text("training_prefix_prompt", PREFIX_BYTES_MAX)?
        );
        set!(
            seed,
            read.integer("seed", 0..=i64::MAX)?.map(|seed| seed as u64)
        );
        let base = read.text("sd_model_checkpoint", NAME_BYTES_MAX)?;
        settings.sd_model_checkpoint = base.filter(|name| !name.is_empty());
        let overwrite = read.flag("overwrite")?.unwrap_or(false);
        if !settings.resolution.is_multiple_of(SIDE_STEP) {
            let side = settings.resolution / SIDE_STEP * SIDE_STEP;
            read.warn(format!(
                "`configure.resolution` is {} and was taken as {side}; it has to be a multiple of \
                 {SIDE_STEP}",
                settings.resolution
            ));
            settings.resolution = side;
        }
        read.ignore("dataloader_num_workers");
        read.ignore("max_rl_time");
        read.ignore("timestep_fraction");
        for name in ["enable_rl", "skin_retouching_bool"] {
            read.not_built(name);
        }
        Ok((settings, overwrite, read.finish()))
    }

    /// The caption with what is put before it.
    pub fn whole_caption(&self) -> String {
        match self.training_prefix_prompt.trim() {
            "" => self.caption.clone(),
            prefix => format!("{prefix}, {}", self.caption),
        }
    }

    /// How many steps are made with so many usable photos.
    pub fn steps(&self, photos: usize) -> usize {
        (photos * self.steps_per_photos).min(self.max_train_steps)
    }

    /// The recipe for so many usable photos. All pictures of a step go through the networks together;
    /// where memory does not allow that, fewer do, with the same result.
    pub fn recipe(&self, photos: usize) -> Recipe {
        let pictures = self.train_batch_size * self.gradient_accumulation_steps;
        let above_zero = |number: f64| Some(number).filter(|number| *number > 0.0);
        Recipe {
            rank: self.rank,
            alpha: self.network_alpha,
            unet_rate: self.learning_rate,
            text_rate: above_zero(self.text_encoder_learning_rate),
            curve: self.lr_scheduler,
            min_snr: above_zero(self.min_snr_gamma),
            noise_offset: self.noise_offset,
            steps: self.steps(photos),
            pictures,
            at_once: pictures,
            seed: self.seed,
            ..Recipe::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(options: Value) -> Result<(Settings, bool, Vec<String>), Failure> {
        let Value::Object(options) = options else {
            panic!("the test has no object");
        };
        Settings::read(options, &Settings::of(None))
    }

    #[test]
    fn defaults_are_those_of_the_trainers_that_clients_know() {
        let (settings, overwrite, warnings) = read(json!({})).unwrap();
        assert_eq!(settings, Settings::of(None));
        assert!(!overwrite && warnings.is_empty());
        let recipe = settings.recipe(5);
        assert_eq!((recipe.rank, recipe.alpha), (128, 64.0));
        assert_eq!((recipe.unet_rate, recipe.text_rate), (1e-4, Some(5e-5)));
        assert_eq!((recipe.steps, recipe.pictures), (800, 4));
        assert_eq!(settings.recipe(2).steps, 400);
    }

    #[test]
    fn options_are_taken_and_what_follows_from_others_follows() {
        let (settings, overwrite, warnings) = read(json!({
            "learning_rate": 2e-4, "rank": 32, "max_train_steps": 600, "overwrite": true,
            "lr_scheduler": "cosine", "min_snr_gamma": 5, "background": "keep",
            "resolution": 500, "dataloader_num_workers": 4, "enable_rl": true, "strange": 1,
        }))
        .unwrap();
        assert_eq!(settings.text_encoder_learning_rate, 1e-4);
        assert_eq!(settings.network_alpha, 16.0);
        assert_eq!(settings.resolution, 448);
        assert_eq!(settings.background, Background::Keep);
        assert!(overwrite);
        let recipe = settings.recipe(20);
        assert_eq!((recipe.steps, recipe.min_snr), (600, Some(5.0)));
        assert_eq!(recipe.curve, Curve::Cosine);
        assert_eq!(warnings.len(), 3, "{warnings:?}");
    }

    #[test]
    fn a_text_encoder_without_a_rate_stays_as_it_is() {
        let (settings, ..) = read(json!({"text_encoder_learning_rate": 0})).unwrap();
        assert_eq!(settings.recipe(5).text_rate, None);
    }

    #[test]
    fn an_alpha_above_the_rank_is_refused() {
        let failure = read(json!({"rank": 8, "network_alpha": 16})).unwrap_err();
        assert!(failure.message.contains("network_alpha"), "{failure}");
    }
}
