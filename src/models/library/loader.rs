//! What the library asks of those who put models on a device.

use std::fmt;

use super::listed::Kind;
use crate::models::{place::Place, weights::WeightsError};

/// Opens models on a device. The library calls it from many threads, but for one load at a time.
pub trait Loader: Send + Sync + 'static {
    /// A checkpoint, ready for use.
    type Painter: Send + Sync + 'static;
    /// A ControlNet, ready for use.
    type Guide: Send + Sync + 'static;
    /// A small VAE for previews, ready for use.
    type Previewer: Send + Sync + 'static;
    /// Why one cannot be opened.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Opens a checkpoint, with another VAE than its own if one is given.
    fn painter(
        &self,
        checkpoint: &Place,
        vae: Option<&Place>,
    ) -> Result<Self::Painter, Self::Error>;

    /// Opens a ControlNet.
    fn guide(&self, place: &Place) -> Result<Self::Guide, Self::Error>;

    /// Opens a small VAE.
    fn previewer(&self, place: &Place) -> Result<Self::Previewer, Self::Error>;

    /// Memory that a checkpoint takes, in bytes.
    fn painter_bytes(&self, painter: &Self::Painter) -> u64;

    /// Memory that a ControlNet takes, in bytes.
    fn guide_bytes(&self, guide: &Self::Guide) -> u64;

    /// Memory that a small VAE takes, in bytes.
    fn previewer_bytes(&self, previewer: &Self::Previewer) -> u64;

    /// How much memory a file of this kind will take, as a multiple of its size.
    fn factor(&self, _kind: Kind) -> f64 {
        1.0
    }

    /// Whether the load may succeed with more free memory. Then all that nobody uses is dropped,
    /// and the load is tried once more.
    fn is_out_of_memory(&self, _error: &Self::Error) -> bool {
        false
    }

    /// Told of what the operator should know; nothing failed.
    fn notice(&self, _notice: &Notice) {}
}

/// What the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A model is loaded although it does not fit: everything else is in use.
    OverLimit {
        /// The model.
        file_name: String,
        /// What it will take, in bytes, as far as can be told before.
        expected: u64,
        /// What is in use, in bytes.
        held: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A load failed for want of memory; it is tried again with all that nobody uses dropped.
    TriedAgain {
        /// The model.
        file_name: String,
        /// Why it failed.
        reason: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverLimit {
                file_name,
                expected,
                held,
                limit,
            } => write!(
                f,
                "{file_name} takes about {expected} bytes and models in use take {held}, more than \
                 the limit of {limit} together; it is loaded all the same, and memory may run out. \
                 Raise the limit, or let fewer jobs run at once"
            ),
            Self::TriedAgain { file_name, reason } => write!(
                f,
                "{file_name} did not fit ({reason}); all models that nobody uses were dropped for it. \
                 Lower the limit, so that this is done before"
            ),
        }
    }
}

/// Why a model is not there to be used. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError<E: std::error::Error + 'static> {
    /// The file is not there any more, or cannot be looked at.
    #[error("{file} cannot be read, {reason}; it may have been moved since it was listed")]
    Gone {
        /// Path of the file.
        file: String,
        /// What the system says.
        reason: std::io::Error,
    },
    /// It is of another kind than is asked for.
    #[error("{file} is a {given}, and a {wanted} is needed; name one of that kind")]
    Kind {
        /// Path of the file below its kind's folder.
        file: String,
        /// What it is.
        given: Kind,
        /// What it should be.
        wanted: Kind,
    },
    /// The loader could not open it.
    #[error(transparent)]
    Loader(E),
    /// The file is no LoRA or embedding that can be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}
