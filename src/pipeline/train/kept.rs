//! What a training keeps on the disk to go on after a break: once what it begins with, and again and
//! again what it has come to. What it has come to travels inside the file with the weights, so that both
//! are of the same step.

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{error::TrainError, settings::Settings};
use crate::{
    domain::MIB,
    people::{Loss, Workplace},
    store::write_atomic,
};

/// What a training begins with.
const START_FILE: &str = "start.json";
/// Weights, and what the training has come to.
const STATE_FILE: &str = "training.safetensors";
/// Largest file of what a training begins with.
const START_BYTES_MAX: u64 = 4 * MIB;

/// What a training begins with, once its photos are prepared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Start {
    /// Tells requests apart.
    pub(super) print: String,
    /// The settings.
    pub(super) settings: Settings,
    /// The checkpoint.
    pub(super) base: String,
    /// The files of the training pictures, in their order, in the folder of training photos.
    pub(super) pictures: Vec<String>,
    /// The mean of the person's faces.
    pub(super) centre: Option<Vec<f32>>,
    /// What became of each photo.
    pub(super) fates: Vec<Value>,
    /// What is to be said of the photos and of the request.
    pub(super) warnings: Vec<String>,
}

/// What a training has come to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Course {
    /// Share of the learning rates, less than 1 after they were lowered.
    pub(super) rate_share: f64,
    /// Why and at which step they were lowered.
    pub(super) lowered: Option<(String, usize)>,
    /// Loss and rate of each step.
    pub(super) losses: Vec<Loss>,
    /// The pictures of the checkpoints.
    pub(super) pictures: Vec<KeptPicture>,
    /// Seconds of work before the break.
    pub(super) seconds: f64,
}

/// A validation picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptPicture {
    /// The step after which it was made.
    pub(super) step: u32,
    /// Name of its file in the folder of validation pictures.
    pub(super) file: String,
    /// How like the person it is.
    pub(super) score: Option<f32>,
}

impl Start {
    /// What an earlier training in this place began with, if it came that far and can be read.
    pub(super) fn read(place: &Workplace) -> Option<Self> {
        let path = place.state().join(START_FILE);
        let bytes = path
            .metadata()
            .ok()
            .filter(|about| about.len() <= START_BYTES_MAX);
        serde_json::from_slice(&fs::read(bytes.map(|_| path)?).ok()?).ok()
    }

    /// Keeps it.
    pub(super) fn write(&self, place: &Workplace) -> Result<(), TrainError> {
        let text =
            serde_json::to_vec(self).map_err(|error| TrainError::Files(error.to_string()))?;
        Ok(write_atomic(&place.state().join(START_FILE), &text)?)
    }
}

/// Where the file with the weights is.
pub(super) fn state_file(place: &Workplace) -> PathBuf {
    place.state().join(STATE_FILE)
}
