//! Why no picture was made.

use crate::models::weights::WeightsError;

/// Why no picture was made, by what the caller can do. The texts say what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DiffusionError {
    /// The files of a network cannot be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A LoRA cannot be used.
    #[error("the LoRA {name} cannot be used: {reason}")]
    Lora {
        /// Its name.
        name: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// What was asked for does not fit the networks or itself.
    #[error("{0}")]
    Request(String),
    /// The device has not enough memory, even after what was not needed had been given back.
    #[error(
        "the device {device} has not enough memory for this; take smaller pictures or fewer at once, or \
         unload other models"
    )]
    OutOfMemory {
        /// Its name.
        device: String,
    },
    /// The device has less memory than what was asked for needs, which was seen before it began.
    #[error("{0}")]
    TooMuch(String),
    /// The caller asked to stop.
    #[error("the work was stopped")]
    Stopped,
    /// The device failed.
    #[error("the device {device} failed: {reason}; if this happens again, run `photog doctor`")]
    Device {
        /// Its name.
        device: String,
        /// What it said.
        reason: String,
    },
}
