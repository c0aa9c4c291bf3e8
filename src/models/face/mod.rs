//! Faces: where they are in a photo, whose they are, and how good they look.
//!
//! ```text
//!   photo --> FaceDetector --> Face --> align --> crop of 112 x 112 --> FaceEmbedder --> Embedding
//!                               |                     |---> FaceQuality --> 0 to 1
//!                               v                     v
//!                              Pose                 Quality
//! ```
//!
//! Two more finish portraits: [`FaceParser`] says which pixels are skin, eyes or hair, and [`FaceFusion`]
//! gives a face the features of a person.
//!
//! [`FaceDetector`], [`FaceEmbedder`], [`FaceQuality`], [`FaceParser`] and [`FaceFusion`] run networks
//! from files; [`align`],
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
mod fusion;
mod parsing;
mod pose;
mod quality;
mod rating;
mod scrfd;
mod suppress;
#[cfg(test)]
mod tests;
mod yunet;

use std::path::Path;

pub use align::{ALIGNED_SIDE, align, fit_points};
pub use bounds::{Bounds, Face, Points};
pub use detector::FaceDetector;
pub use duplicates::Fingerprint;
pub use embedding::{Embedding, FaceEmbedder};
pub use fusion::FaceFusion;
pub use parsing::{Classes, FaceParser, FacePart};
pub use pose::Pose;
pub use quality::{Flaw, Quality};
pub use rating::FaceQuality;

use super::ModelError;
use super::backend::Device;
use super::catalog::{Catalog, Entry, Role};
use super::check::present;
use super::place::Place;
use crate::pack::Pack;

/// The face networks of a data folder or of a pack. They may be shared by threads.
pub struct FaceModels {
    /// Finds faces; nothing works without it.
    pub detector: FaceDetector,
    /// Tells persons apart, where its file is there.
    embedder: Option<FaceEmbedder>,
    /// How to get a network that tells persons apart.
    embedder_hint: String,
    /// Rates faces, where its file is there.
    pub quality: Option<FaceQuality>,
    /// Where they come from, if from a pack.
    pub pack: Option<Pack>,
}

impl FaceModels {
    /// Opens the first network of each role whose file is in the data folder, or if a pack is named
    /// the first that is in it.
    ///
    /// [`ModelError::Missing`] when there is no detector. A file that is there and cannot be used
    /// is an error too, even that of a role which may be left out: somebody put it there.
    pub fn open(
        catalog: &Catalog,
        folder: &Path,
        pack: Option<Pack>,
        device: Device,
    ) -> Result<Self, ModelError> {
        let present = |role| present(catalog, role, folder, pack);
        let detector = present(Role::FaceDetector)?
            .ok_or_else(|| ModelError::missing(catalog, Role::FaceDetector))?;
        let embedder = present(Role::FaceEmbedding)?;
        let quality = present(Role::FaceQuality)?;
        Ok(Self {
            detector: FaceDetector::open(&detector.1, detector.0, device)?,
            embedder: embedder
                .map(|(entry, place)| FaceEmbedder::open(&place, entry, device))
                .transpose()?,
            embedder_hint: catalog.how_to_get(Role::FaceEmbedding),
            quality: quality
                .map(|(entry, place)| FaceQuality::open(&place, entry, device))
                .transpose()?,
            pack,
        })
    }

    /// What tells persons apart, or why there is nothing.
    pub fn embedder(&self) -> Result<&FaceEmbedder, ModelError> {
        self.embedder.as_ref().ok_or_else(|| ModelError::Missing {
            role: Role::FaceEmbedding,
            hint: self.embedder_hint.clone(),
        })
    }
}

/// Opens a file as the face network of an entry, on the CPU: what this refuses, a service refuses
/// too.
pub fn check_network(entry: &Entry, place: &Place) -> Result<(), ModelError> {
    match entry.role {
        Role::FaceDetector => FaceDetector::open(place, entry, Device::Cpu).map(drop),
        Role::FaceEmbedding => FaceEmbedder::open(place, entry, Device::Cpu).map(drop),
        Role::FaceQuality => FaceQuality::open(place, entry, Device::Cpu).map(drop),
        Role::FaceParsing => FaceParser::open(place, entry, Device::Cpu).map(drop),
        Role::FaceFusion => FaceFusion::open(place, entry, Device::Cpu).map(drop),
        role => Err(ModelError::Refused {
            file: entry.file.clone(),
            reason: format!("the list of networks has it as a {role}, which sees no faces"),
        }),
    }
}
