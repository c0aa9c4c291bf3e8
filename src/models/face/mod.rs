//! Faces: where they are in a photo, whose they are, and how good they look.
//!
//! ```text
//!   photo --> FaceDetector --> Face --> align --> crop of 112 x 112 --> FaceEmbedder --> Embedding
//!                               |                     |---> FaceQuality --> 0 to 1
//!                               v                     v
//!                              Pose                 Quality
//! ```
//!
//! [`FaceDetector`], [`FaceEmbedder`] and [`FaceQuality`] run networks from files; [`align`],
//! [`Pose`], [`Quality`] and [`Fingerprint`] are arithmetic and need none. Files come from outside,
//! so their inputs and outputs are held against their role when they are opened, and what a network
//! gives is held against what it may mean each time: whatever it is, nothing here panics, and no
//! number that is not finite leaves this module.
//!
//! All coordinates are pixels of the upright photo, from its left upper corner. "Left" and "right"
//! are those of the picture and not of the person.

mod align;
mod bounds;
mod detector;
mod duplicates;
mod embedding;
mod input;
mod pose;
mod quality;
mod rating;
mod scrfd;
mod suppress;
#[cfg(test)]
mod tests;
mod yunet;

use std::path::{Path, PathBuf};

pub use align::{ALIGNED_SIDE, align, fit_points};
pub use bounds::{Bounds, Face, Points};
pub use detector::FaceDetector;
pub use duplicates::Fingerprint;
pub use embedding::{Embedding, FaceEmbedder};
pub use pose::Pose;
pub use quality::{Flaw, Quality};
pub use rating::FaceQuality;

use super::ModelError;
use super::backend::Device;
use super::catalog::{Catalog, Entry, Role, how_to_get};

/// The face networks of a data folder. They may be shared by threads.
pub struct FaceModels {
    /// Finds faces; nothing works without it.
    pub detector: FaceDetector,
    /// Tells persons apart, where its file is there.
    pub embedder: Option<FaceEmbedder>,
    /// Rates faces, where its file is there.
    pub quality: Option<FaceQuality>,
}

impl FaceModels {
    /// Opens the first network of each role whose file is in the data folder.
    ///
    /// [`ModelError::Missing`] when there is no detector. A file that is there and cannot be used
    /// is an error too, even that of a role which may be left out: somebody put it there.
    pub fn open(catalog: &Catalog, folder: &Path, device: Device) -> Result<Self, ModelError> {
        let file_of = |role| catalog.present(role, folder);
        let (entry, path) = file_of(Role::FaceDetector).ok_or_else(|| ModelError::Missing {
            role: Role::FaceDetector,
            hint: how_to_get(Role::FaceDetector),
        })?;
        Ok(Self {
            detector: FaceDetector::open(&path, entry, device)?,
            embedder: file_of(Role::FaceEmbedding)
                .map(|(entry, path)| FaceEmbedder::open(&path, entry, device))
                .transpose()?,
            quality: file_of(Role::FaceQuality)
                .map(|(entry, path): (&Entry, PathBuf)| FaceQuality::open(&path, entry, device))
                .transpose()?,
        })
    }
}
