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
        sampling::{NoiseSource, Plan, Schedule},
    },
};

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole model.
    Checkpoint,
    /// A change of a model.
    Lora,
    /// A decoder and encoder of latent pictures.
    Vae,
    /// A network that guides by a picture.
    ControlNet,
    /// Vectors that stand for a word.
    Embedding,
}

/// What is said of a file in results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The name without its ending, as the web UI's `model_name`.
    pub name: String,
    /// The name of the file.
    pub file_name: String,
    /// The SHA-256 of the file in hexadecimal digits, where it is known.
    pub sha256: Option<String>,
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

/// Latent pictures, in the scale that the network sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Latents {
    /// Pictures, channels, rows, columns.
    pub sizes: [usize; 4],
    /// All values in this order.
    pub numbers: Vec<f32>,
}

/// What a model attends to for one text, `[tokens, width]`; tokens are a multiple of 77.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// Tokens.
    pub tokens: usize,
    /// Values of each.
    pub width: usize,
    /// All values.
    pub numbers: Arc<[f32]>,
}

/// The prompt of one picture over the steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompted {
    /// For each stretch of steps the last of them, counted from 0, and the texts that hold in it, each
    /// with its weight. The last stretch holds to the end.
    pub stretches: Vec<(usize, Vec<(Text, f64)>)>,
}

/// The vectors of an embedding, `[count, width]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// How many there are.
    pub count: usize,
    /// Values of each.
    pub width: usize,
    /// All values.
    pub numbers: Vec<f32>,
}

/// A LoRA and how strongly it is applied.
#[derive(Debug, Clone)]
pub struct LoraUse<L> {
    /// The LoRA.
    pub file: Arc<L>,
    /// Its name, for messages.
    pub name: String,
    /// Factor on its change of the text encoder.
    pub text_weight: f64,
    /// Factor on its change of the UNet.
    pub unet_weight: f64,
}

/// Whether work goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It goes on.
    Go,
    /// It ends with what is there.
    Finish,
    /// It ends with nothing; the one who said so knows why.
    Stop,
}

/// What a model is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It makes latent pictures of pictures.
    Encode,
    /// It removes noise.
    Sample,
    /// It makes pictures of latent pictures.
    Decode,
}

/// Is asked between the steps of a model.
pub trait Watch {
    /// Before each step and each tile: how many are done of how many.
    fn step(&mut self, stage: Stage, done: usize, total: usize) -> Flow;
    /// Whether a preview of the next step's estimate is wanted.
    fn wants_preview(&mut self) -> bool {
        false
    }
    /// The preview that was wanted, one for each picture.
    fn preview(&mut self, _pictures: Vec<RgbImage>) {}
}

/// What counts more where the prompt and the guiding picture differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ControlMode {
    /// Both.
    #[default]
    Balanced,
    /// "My prompt is more important".
    Prompt,
    /// "ControlNet is more important".
    Control,
}

/// A network that guides, and by what.
#[derive(Debug)]
pub struct Control<G> {
    /// The network.
    pub net: Arc<G>,
    /// What it looks at, of the picture's size.
    pub hint: RgbImage,
    /// How strongly it guides.
    pub weight: f64,
    /// The share of the steps from which on it guides.
    pub start: f64,
    /// The share of the steps up to which it guides.
    pub end: f64,
    /// What counts more.
    pub mode: ControlMode,
}

/// What of a picture is made anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    /// The share of each latent pixel, row by row: 1 is new.
    pub new: Vec<f32>,
    /// What is kept elsewhere.
    pub original: Latents,
}

/// One way through a plan.
#[derive(Debug)]
pub struct Job<'a, G> {
    /// The steps.
    pub plan: &'a Plan,
    /// The noise of the batch.
    pub noise: &'a mut NoiseSource,
    /// Pictures, channels, rows, columns.
    pub sizes: [usize; 4],
    /// What is started from besides noise.
    pub start: Option<&'a Latents>,
    /// What is to be seen, for each picture.
    pub positive: &'a [Prompted],
    /// What is not to be seen, for each picture.
    pub negative: &'a [Prompted],
    /// How much the two are pulled apart (`cfg_scale`).
    pub guidance: f64,
    /// What is made anew; everything without one.
    pub mask: Option<&'a Mask>,
    /// Networks that guide.
    pub controls: &'a [Control<G>],
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
