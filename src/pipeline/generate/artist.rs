//! What making pictures needs of the networks: which files there are, and what a loaded one does.
//!
//! Everything here is on host memory; no tensor and no device is known to this side. Whoever has the
//! networks implements [`Artist`] and [`Painter`], and tests paint with a fake.

use std::sync::Arc;

use crate::{
    imaging::RgbImage,
    models::{
        clip::tokenizer::Tokenizer,
        prompt::{Chunk, Emphasis},
        sampling::Schedule,
    },
};

pub use crate::models::library::Kind;

pub use crate::models::diffusion::{
    Control, ControlMode, Flow, Job, Latents, LoraUse, Mask, Prompted, Stage, Text, Vectors, Watch,
};

/// What is said of a file in results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The name without its ending, as the web UI's `model_name`.
    pub name: String,
    /// The name of the file.
    pub file_name: String,
    /// The SHA-256 of the file in hexadecimal digits, where it is known.
    pub sha256: Option<String>,
    /// What every result has to say of it, if there is something.
    pub notice: Option<&'static str>,
}

impl About {
    /// The first digits of the hash, as many as the web UI shows for this kind of file.
    pub fn short_hash(&self, digits: usize) -> Option<&str> {
        self.sha256.as_deref().and_then(|hash| hash.get(..digits))
    }
}

/// Knows which files there are and makes painters of them.
pub trait Artist: Send + Sync {
    /// A file in the list.
    type File: Clone;
    /// A loaded network that guides.
    type Guide: Send + Sync;
    /// A loaded LoRA.
    type Lora: Send + Sync;
    /// A loaded model.
    type Painter: Painter<Guide = Self::Guide, Lora = Self::Lora>;

    /// All files of a kind, in the order of their names.
    fn list(&self, kind: Kind) -> Vec<Self::File>;
    /// The file that a request names: by name, file name or, for a checkpoint, title or hash. A LoRA
    /// is also found by the name that it has in its metadata.
    fn find(&self, kind: Kind, name: &str) -> Option<Self::File>;
    /// The name of the file without its ending, as in [`About`]; nothing is read for it.
    fn name<'f>(&self, file: &'f Self::File) -> &'f str;
    /// What results say of the file.
    fn about(&self, file: &Self::File) -> About;
    /// The model of a checkpoint, with another VAE than its own if there is one.
    fn painter(
        &self,
        checkpoint: &Self::File,
        vae: Option<&Self::File>,
    ) -> Result<Arc<Self::Painter>, ArtistError>;
    /// A network that guides.
    fn guide(&self, file: &Self::File) -> Result<Arc<Self::Guide>, ArtistError>;
    /// A LoRA.
    fn lora(&self, file: &Self::File) -> Result<Arc<Self::Lora>, ArtistError>;
    /// The vectors of an embedding.
    fn embedding(&self, file: &Self::File) -> Result<Arc<Vectors>, ArtistError>;
}

/// A model that is loaded.
pub trait Painter: Send + Sync + Sized {
    /// A loaded network that guides.
    type Guide: Send + Sync;
    /// A loaded LoRA.
    type Lora: Send + Sync;

    /// The same model with these LoRAs applied.
    fn with_loras(&self, loras: &[LoraUse<Self::Lora>]) -> Result<Self, ArtistError>;
    /// What cuts texts into tokens.
    fn tokenizer(&self) -> &Tokenizer;
    /// The noise that the model was trained with.
    fn schedule(&self) -> &Schedule;
    /// Channels of a latent picture.
    fn latent_channels(&self) -> usize;
    /// Pixels of a picture along each side of a latent pixel.
    fn factor(&self) -> usize;
    /// What the model attends to for the chunks of one text. `clip_skip` is 1 for the last layer of
    /// the encoder, 2 for the one before.
    fn encode_text(
        &self,
        chunks: &[Chunk],
        embeddings: &dyn Fn(&str) -> Option<Arc<Vectors>>,
        clip_skip: usize,
        emphasis: Emphasis,
    ) -> Result<Text, ArtistError>;
    /// Goes through the plan. All positive texts have the same number of tokens and so have all
    /// negative ones, but these two numbers may differ: then they have to be asked about apart.
    fn sample(
        &self,
        job: Job<'_, Self::Guide>,
        watch: &mut dyn Watch,
    ) -> Result<Latents, ArtistError>;
    /// Latent pictures of pictures, whose sides are whole multiples of [`factor`](Self::factor).
    /// Without noise they are the means.
    fn encode(
        &self,
        pictures: &[RgbImage],
        posterior_noise: Option<&Latents>,
        watch: &mut dyn Watch,
    ) -> Result<Latents, ArtistError>;
    /// Pictures of latent pictures.
    fn decode(
        &self,
        latents: &Latents,
        watch: &mut dyn Watch,
    ) -> Result<Vec<RgbImage>, ArtistError>;
}

/// Why a model did not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArtistError {
    /// A file cannot be used.
    #[error("{0}")]
    Weights(String),
    /// A LoRA cannot be applied.
    #[error("the LoRA \"{name}\" cannot be applied: {reason}")]
    Lora {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The model cannot do what it is asked for.
    #[error("{0}")]
    Request(String),
    /// The device has too little memory.
    #[error("{0}")]
    OutOfMemory(String),
    /// The watch said to stop.
    #[error("the work was stopped")]
    Stopped,
    /// The device failed.
    #[error("{0}")]
    Device(String),
}
