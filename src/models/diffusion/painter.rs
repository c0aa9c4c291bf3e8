//! A checkpoint on its device, whichever that is.

use std::sync::Arc;

use burn::Dispatch;
use burn::backend::Flex;

use super::studio::{Files, Studio};
use super::text::FindVectors;
use super::{DiffusionError, Job, Latents, LoraUse, Previewer, Setting, Text, Watch, preview};
use crate::imaging::RgbImage;
use crate::models::clip::tokenizer::Tokenizer;
use crate::models::prompt::{Chunk, Emphasis};
use crate::models::sampling::{BetaCurve, Betas, Prediction, Schedule};
use crate::models::weights::{
    BetaSchedule, Checkpoint, Container, Part, PredictionType, TokenizerFiles, VaeConfig,
};

/// A checkpoint, ready to make pictures. Threads may share it; clones share its weights.
#[derive(Clone)]
pub struct Painter {
    pub(super) studio: OnDevice,
    tokenizer: Arc<Tokenizer>,
    schedule: Arc<Schedule>,
    prediction: Prediction,
    previewer: Option<Arc<Previewer>>,
    bytes: u64,
    /// The one that this was made of: while it is used, that one is.
    _base: Option<Arc<Painter>>,
}

#[derive(Clone)]
pub(super) enum OnDevice {
    Cpu(Box<Studio<Flex>>),
    General(Box<Studio<Dispatch>>),
}

impl Painter {
    /// Loads the networks of a checkpoint. `vae` takes the place of the checkpoint's own.
    pub fn open(
        checkpoint: Checkpoint,
        vae: Option<Part<VaeConfig>>,
        setting: Setting,
    ) -> Result<Self, DiffusionError> {
        check(&checkpoint, vae.as_ref())?;
        let tokenizer = tokenizer(checkpoint.tokenizer.as_ref())?;
        let schedule = schedule(&checkpoint)?;
        let prediction = match checkpoint.prediction_type() {
            PredictionType::Epsilon => Prediction::Epsilon,
            PredictionType::Velocity => Prediction::Velocity,
        };
        let mut bytes = setting.bytes_of(checkpoint.unet.container());
        // The networks of a folder have a file each, those of a single file share it.
        let same = |a: &Container, b: &Container| std::ptr::eq(a, b);
        let (unet, text) = (checkpoint.unet.container(), checkpoint.text.container());
        if !same(unet, text) {
            bytes += setting.bytes_of(text) + setting.bytes_of(checkpoint.vae.container());
        }
        if let Some(vae) = &vae {
            bytes += setting.bytes_of(vae.container());
        }
        let files = Files { checkpoint, vae };
        let name = setting.device.to_string();
        let studio = if setting.is_general() {
            OnDevice::General(Box::new(Studio::open(files, setting.general(), name)?))
        } else {
            OnDevice::Cpu(Box::new(Studio::open(files, setting.cpu(), name)?))
        };
        Ok(Self {
            studio,
            tokenizer,
            schedule: Arc::new(schedule),
            prediction,
            previewer: None,
            bytes,
            _base: None,
        })
    }

    /// The same checkpoint with LoRAs merged into it. What they do not touch is shared, and this one
    /// stays as it is.
    pub fn with_loras(&self, uses: &[LoraUse]) -> Result<Self, DiffusionError> {
        let studio = match &self.studio {
            OnDevice::Cpu(studio) => OnDevice::Cpu(Box::new(studio.with_loras(uses)?)),
            OnDevice::General(studio) => OnDevice::General(Box::new(studio.with_loras(uses)?)),
        };
        Ok(Self {
            studio,
            ..self.clone()
        })
    }

    /// The same checkpoint with a network for its previews.
    pub fn with_previewer(self: &Arc<Self>, previewer: Arc<Previewer>) -> Self {
        Self {
            previewer: Some(previewer),
            _base: Some(Arc::clone(self)),
            ..Self::clone(self)
        }
    }

    /// Makes tokens of prompts.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The noise that it was trained with.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// What its answers mean.
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }

    /// Channels of its latents.
    pub fn latent_channels(&self) -> usize {
        self.vae().config.latent_channels
    }

    /// How many times larger a picture is than its latent.
    pub fn factor(&self) -> usize {
        self.vae().config.downscale()
    }

    /// Memory of its weights.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Encodes the chunks of one prompt. `find` knows the learned words that the chunks name.
    /// `clip_skip` counts as the WebUI does: 1 takes all layers.
    pub fn encode_text(
        &self,
        chunks: &[Chunk],
        find: FindVectors<'_>,
        clip_skip: usize,
        emphasis: Emphasis,
    ) -> Result<Text, DiffusionError> {
        match &self.studio {
            OnDevice::Cpu(studio) => studio.encode_text(chunks, find, clip_skip, emphasis),
            OnDevice::General(studio) => studio.encode_text(chunks, find, clip_skip, emphasis),
        }
    }

    /// Runs a sampler. When `watch` says to finish, the latest estimate is given.
    pub fn sample(
        &self,
        mut job: Job<'_>,
        watch: &mut dyn Watch,
    ) -> Result<Latents, DiffusionError> {
        job.check(self.latent_channels(), self.factor())?;
        let preview = |latents: &Latents| match &self.previewer {
            Some(previewer) => previewer.pictures(latents),
            None => Ok(preview::cheap(latents).unwrap_or_default()),
        };
        match &self.studio {
            OnDevice::Cpu(studio) => studio.sample(&mut job, self.prediction, watch, &preview),
            OnDevice::General(studio) => studio.sample(&mut job, self.prediction, watch, &preview),
        }
    }

    /// Pictures of one size, in multiples of [`factor`](Self::factor), to latents: the most probable
    /// ones, or those that normal noise of the latents' sizes chooses.
    pub fn encode(
        &self,
        pictures: &[RgbImage],
        noise: Option<&Latents>,
        watch: &mut dyn Watch,
    ) -> Result<Latents, DiffusionError> {
        let factor = self.factor() as u32;
        let size = pictures.first().map(RgbImage::dimensions);
        let fits = |picture: &RgbImage| Some(picture.dimensions()) == size;
        let whole = size.is_some_and(|(width, height)| {
            width > 0 && height > 0 && width % factor == 0 && height % factor == 0
        });
        if !whole || !pictures.iter().all(fits) {
            return Err(DiffusionError::Request(format!(
                "pictures of one size are needed, with sides that are multiples of {factor}"
            )));
        }
        match &self.studio {
            OnDevice::Cpu(studio) => studio.encode(pictures, noise, watch),
            OnDevice::General(studio) => studio.encode(pictures, noise, watch),
        }
    }

    /// Latents to pictures.
    pub fn decode(
        &self,
        latents: &Latents,
        watch: &mut dyn Watch,
    ) -> Result<Vec<RgbImage>, DiffusionError> {
        match &self.studio {
            OnDevice::Cpu(studio) => studio.decode(latents, watch),
            OnDevice::General(studio) => studio.decode(latents, watch),
        }
    }

    /// The files that its networks were made from.
    pub(super) fn files(&self) -> &Files {
        match &self.studio {
            OnDevice::Cpu(studio) => studio.files(),
            OnDevice::General(studio) => studio.files(),
        }
    }

    fn vae(&self) -> &Part<VaeConfig> {
        let files = self.files();
        files.vae.as_ref().unwrap_or(&files.checkpoint.vae)
    }
}

/// That the networks of a checkpoint fit each other.
fn check(checkpoint: &Checkpoint, vae: Option<&Part<VaeConfig>>) -> Result<(), DiffusionError> {
    let refuse = |text: String| Err(DiffusionError::Request(text));
    let unet = &checkpoint.unet.config;
    let latents = vae.unwrap_or(&checkpoint.vae).config.latent_channels;
    if unet.in_channels == 9 && latents == 4 {
        return refuse(String::from(
            "this checkpoint was made for inpainting alone (its UNet takes 9 channels), which is not \
             built; take an ordinary one, any can inpaint",
        ));
    }
    if unet.in_channels != latents || unet.out_channels != latents {
        return refuse(format!(
            "the UNet takes {} channels and gives {}, and the VAE has {latents}: they are of \
             different models",
            unet.in_channels, unet.out_channels
        ));
    }
    let text = checkpoint.text.config.hidden_size;
    if unet.cross_attention_dim != text {
        return refuse(format!(
            "the UNet takes texts of width {}, and the text encoder makes {text}: they are of \
             different models",
            unet.cross_attention_dim
        ));
    }
    Ok(())
}

fn tokenizer(files: Option<&TokenizerFiles>) -> Result<Arc<Tokenizer>, DiffusionError> {
    let Some(files) = files else {
        return Ok(Tokenizer::standard());
    };
    Tokenizer::from_files(files.vocab.as_bytes(), files.merges.as_bytes(), None)
        .map(Arc::new)
        .map_err(|error| DiffusionError::Request(error.to_string()))
}

fn schedule(checkpoint: &Checkpoint) -> Result<Schedule, DiffusionError> {
    let scheduler = &checkpoint.scheduler;
    let betas = Betas {
        curve: match scheduler.beta_schedule {
            BetaSchedule::ScaledLinear => BetaCurve::ScaledLinear,
            BetaSchedule::Linear => BetaCurve::Linear,
        },
        start: scheduler.beta_start,
        end: scheduler.beta_end,
        train_steps: scheduler.num_train_timesteps,
    };
    if scheduler.rescale_betas_zero_snr {
        return Err(DiffusionError::Request(String::from(
            "this checkpoint was trained with a rescaled schedule (zero terminal SNR), which is not \
             built; take another one",
        )));
    }
    Schedule::new(betas).map_err(|error| DiffusionError::Request(error.to_string()))
}

impl Job<'_> {
    /// That all sizes fit each other.
    fn check(&self, channels: usize, factor: usize) -> Result<(), DiffusionError> {
        let refuse = |text: String| Err(DiffusionError::Request(text));
        let [pictures, depth, height, width] = self.sizes;
        if depth != channels || pictures * height * width == 0 {
            return refuse(format!(
                "latents of {depth} channels do not fit a model with {channels}"
            ));
        }
        if self.positive.len() != pictures || self.negative.len() != pictures {
            return refuse(format!(
                "each of the {pictures} pictures needs a prompt and a negative prompt"
            ));
        }
        if self.start.is_some_and(|start| start.sizes != self.sizes) {
            return refuse(String::from(
                "the picture to start from has another size than the new one",
            ));
        }
        if let Some(mask) = self.mask
            && (mask.original.sizes != self.sizes || mask.new.len() != height * width)
        {
            return refuse(String::from("the mask has another size than the picture"));
        }
        let size = ((width * factor) as u32, (height * factor) as u32);
        let hints = self.controls.iter();
        if hints
            .map(|control| control.hint.dimensions())
            .any(|hint| hint != size)
        {
            return refuse(String::from(
                "a hint picture has another size than the picture",
            ));
        }
        Ok(())
    }
}
