//! What may be wrong with a request for pictures, as far as sampling goes.

use super::method::{METHODS, Method};
use super::schedule::Betas;
use super::spacing::{SPACINGS, Spacing};

/// Why nothing can be planned or drawn. The texts say what to change.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// A sampler that is not there; the WebUI answers 404.
    #[error("there is no sampler \"{name}\"; the samplers are {all}", name = .0, all = list(METHODS.map(Method::name)))]
    Method(String),
    /// A schedule type that is not there.
    #[error("there is no schedule type \"{name}\"; the types are {all}", name = .0, all = list(SPACINGS.map(Spacing::label)))]
    Spacing(String),
    /// A number of the request that is out of its range.
    #[error("{name} is {value}, which cannot be sampled with; it has to be from {least} to {most}")]
    Setting {
        /// What it is, in words.
        name: &'static str,
        /// What was asked for.
        value: f64,
        /// Least value that is taken.
        least: f64,
        /// Most that is taken.
        most: f64,
    },
    /// A batch of noise that is empty or too large to make.
    #[error(
        "noise for {pictures} pictures of {values} values each cannot be made; ask for at least one and for {most} values in all"
    )]
    NoiseSize {
        /// Pictures asked for.
        pictures: usize,
        /// Values of each, as far as they can be counted.
        values: usize,
        /// Most values that are taken.
        most: usize,
    },
    /// A model's configuration asks for a curve of noise that is not known.
    #[error(
        "the model's noise follows the curve \"{0}\", which is not known; models with \"scaled_linear\" and \"linear\" can be used"
    )]
    BetaCurve(String),
    /// A model's configuration says that its network predicts something that is not known.
    #[error(
        "the model predicts \"{0}\", which is not known; models with \"epsilon\" and \"v_prediction\" can be used"
    )]
    Prediction(String),
    /// A model's configuration gives betas that are no noise.
    #[error("the model's noise cannot be used: beta from {} to {} over {} time steps; beta has to grow within 0 and 1, over 2 to 10000 steps, and leave some of the picture", .0.start, .0.end, .0.train_steps)]
    Betas(Betas),
}

fn list<const N: usize>(names: [&str; N]) -> String {
    names.join(", ")
}
