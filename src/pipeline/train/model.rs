//! What a training needs of the networks that make pictures. No tensor is known on this side, and
//! tests train with a fake.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    domain::Problem,
    imaging::{GrayImage, RgbImage},
    models::{
        diffusion::{DiffusionError, Lesson},
        lora::{Layer, Update},
        training::{Found, Recipe},
        weights::Container,
    },
    pack::Pack,
};

/// A checkpoint that can be trained for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Its name, as requests have it.
    pub name: String,
    /// The hash of its file, where it is known.
    pub sha256: Option<String>,
    /// The pack that it comes from.
    pub pack: Option<Pack>,
}

/// Knows the checkpoints.
pub trait Models: Send + Sync {
    /// The checkpoint that a request means; without a name the first.
    fn base(&self, name: Option<&str>) -> Result<Base, ModelTrouble>;
    /// A checkpoint, loaded.
    fn open(&self, base: &Base) -> Result<Arc<dyn Model>, ModelTrouble>;
}

/// Why a checkpoint is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ModelTrouble {
    /// There is none, or none of this name. The text says what to do.
    #[error("{0}")]
    Missing(String),
    /// It, or its device, failed.
    #[error(transparent)]
    Failed(#[from] DiffusionError),
}

impl ModelTrouble {
    /// The code, which is `otherwise` where the device failed.
    pub fn problem(&self, otherwise: Problem) -> Problem {
        match self {
            Self::Missing(_) | Self::Failed(DiffusionError::Weights(_)) => {
                Problem::BaseModelMissing
            }
            Self::Failed(DiffusionError::OutOfMemory { .. } | DiffusionError::TooMuch(_)) => {
                Problem::OutOfMemory
            }
            Self::Failed(DiffusionError::Request(_)) => Problem::InvalidParameter,
            Self::Failed(_) => otherwise,
        }
    }
}

/// A checkpoint that is loaded.
pub trait Model: Send + Sync {
    /// The tokens of a caption, as many as the text encoder takes at a time. A longer caption loses its
    /// end.
    fn tokens(&self, caption: &str) -> Result<Vec<u32>, DiffusionError>;

    /// Prepares a training.
    fn train(
        &self,
        lessons: &[Lesson],
        captions: &[Vec<u32>],
        recipe: &Recipe,
    ) -> Result<Box<dyn Training>, DiffusionError>;

    /// Makes pictures, one after another, with a LoRA if there is one. `stop` is asked between steps.
    fn pictures(
        &self,
        lora: Option<&Arc<Container>>,
        orders: &[Order<'_>],
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<RgbImage>, DiffusionError>;
}

/// A training under way. It belongs to the thread that works on it.
pub trait Training {
    /// Steps that are done.
    fn steps_done(&self) -> usize;
    /// Makes the next step, at this share of the recipe's rates. Where it found no number, nothing was
    /// learned and the step is not done.
    fn step(&mut self, rate_share: f64) -> Result<Found, DiffusionError>;
    /// What has been learned so far.
    fn updates(&self) -> Result<BTreeMap<Layer, Update>, DiffusionError>;
    /// The file from which it can go on, with a note in it.
    fn state(&self, note: &str) -> Result<Vec<u8>, DiffusionError>;
    /// Goes on from a saved state, and gives the note that is in it.
    fn restore(&mut self, file: &Container) -> Result<String, DiffusionError>;
}

/// A picture that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// What it shall show.
    pub prompt: &'a str,
    /// What it shall not show.
    pub negative: &'a str,
    /// Sides in pixels, without a picture to begin with.
    pub side: u32,
    /// A picture to begin with, and what of it is made anew.
    pub repaint: Option<&'a Repaint>,
    /// Steps of the sampler.
    pub steps: usize,
    /// How much the prompt is preferred to the negative one.
    pub guidance: f64,
    /// Chooses the noise.
    pub seed: i64,
}

/// A part of a picture that is made anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Repaint {
    /// The picture, with sides that are multiples of 64.
    pub picture: RgbImage,
    /// White where it is made anew.
    pub mask: GrayImage,
    /// How much changes there, 0 to 1.
    pub strength: f64,
}
