//! What goes into a run and comes out of it, in ordinary memory.

use std::sync::Arc;

use crate::imaging::RgbImage;

use super::{Control, Guide};
use crate::models::sampling::{NoiseSource, Plan};

/// Latents of some pictures, in the scale of the UNet.
#[derive(Clone, Debug, PartialEq)]
pub struct Latents {
    /// Pictures, channels, rows and columns.
    pub sizes: [usize; 4],
    /// `[pictures, channels, rows, columns]`
    pub numbers: Vec<f32>,
}

/// What the UNet attends to for one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// How many tokens there are.
    pub tokens: usize,
    /// How many numbers a token has.
    pub width: usize,
    /// `[tokens, width]`
    pub numbers: Arc<[f32]>,
}

/// The prompt of one picture over all steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompted {
    /// For each stretch of steps the last of them, counted from 0, and the texts that hold in it, each
    /// with its weight. The last stretch holds to the end.
    pub stretches: Vec<(usize, Vec<(Text, f64)>)>,
}

impl Prompted {
    /// One text for all steps.
    pub fn always(text: Text) -> Self {
        Self {
            stretches: vec![(usize::MAX, vec![(text, 1.0)])],
        }
    }

    /// The texts of a step, counted from 0.
    pub(super) fn at(&self, step: usize) -> &[(Text, f64)] {
        let found = self.stretches.iter().find(|(end, _)| step <= *end);
        let found = found.or(self.stretches.last());
        found.map_or(&[], |(_, texts)| texts.as_slice())
    }
}

/// Which part of a picture is made anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    /// For each pixel of the latent 1 where it is new, and 0 where it stays: `[rows, columns]`.
    pub new: Vec<f32>,
    /// What stays.
    pub original: Latents,
}

/// One run of the sampler, with networks of the kind `G` that guide it.
pub struct Job<'a, G = Guide> {
    /// Levels of noise, and how samples follow from answers.
    pub plan: &'a Plan,
    /// Noise of the start and of later steps.
    pub noise: &'a mut NoiseSource,
    /// Pictures, channels, rows and columns of the latents.
    pub sizes: [usize; 4],
    /// What to start from instead of noise alone, of these sizes.
    pub start: Option<&'a Latents>,
    /// What each picture shall show.
    pub positive: &'a [Prompted],
    /// What each picture shall not show.
    pub negative: &'a [Prompted],
    /// How much the first is preferred to the second; 1 asks the first alone.
    pub guidance: f64,
    /// Which part is new; without it all of it.
    pub mask: Option<&'a Mask>,
    /// Hint pictures and the networks that look at them.
    pub controls: &'a [Control<G>],
}

/// What a run does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Pictures become latents.
    Encode,
    /// Noise becomes less.
    Sample,
    /// Latents become pictures.
    Decode,
}

/// What a run is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Go,
    /// Leave the other steps out and give what there is.
    Finish,
    /// Stop; nobody wants the result.
    Stop,
}

/// Looks on while a run goes on, and may end it.
pub trait Watch {
    /// Called before each step or tile, with how many are done of how many.
    fn step(&mut self, stage: Stage, done: usize, total: usize) -> Flow;

    /// Whether a preview shall be made of the next step's estimate.
    fn wants_preview(&mut self) -> bool {
        false
    }

    /// A preview, smaller than the picture.
    fn preview(&mut self, pictures: Vec<RgbImage>) {
        drop(pictures);
    }
}

/// Nobody looks on.
impl Watch for () {
    fn step(&mut self, _stage: Stage, _done: usize, _total: usize) -> Flow {
        Flow::Go
    }
}
