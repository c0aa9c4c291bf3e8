//! What is measured on the faces of a photo, and who measures it.

use std::sync::Arc;

use crate::{
    imaging::RgbImage,
    models::{
        ModelError,
        face::{Embedding, Face, FaceModels, Flaw, Pose, Quality, align},
        shelf::Shelf,
        supply,
    },
};

/// A face that stands alone in its photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Portrait {
    /// Where it is.
    pub face: Face,
    /// Where it looks.
    pub pose: Pose,
    /// What speaks against it.
    pub flaw: Option<Defect>,
}

/// What speaks against a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Defect {
    /// Something that can be measured on its pixels.
    Measured(Flaw),
    /// A network rates it below its threshold: the rating and the threshold, 0 to 1.
    Rated(f32, f32),
}

/// The faces of one photo.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// There is exactly one, and it was measured.
    Portrait(Portrait),
    /// There are none or several, the largest first.
    Faces(Vec<Face>),
}

impl Observation {
    /// The faces, the largest first.
    pub fn faces(&self) -> &[Face] {
        match self {
            Self::Portrait(portrait) => std::slice::from_ref(&portrait.face),
            Self::Faces(faces) => faces,
        }
    }
}

/// Looks at photos.
pub trait Observer: Send + Sync {
    /// Finds the faces of an upright photo and measures a single one.
    fn observe(&self, photo: &RgbImage) -> Result<Observation, ModelError>;

    /// Describes a face of the photo, so that it can be compared with others.
    fn embed(&self, photo: &RgbImage, face: &Face) -> Result<Embedding, ModelError>;

    /// Least cosine between two faces of one person, or why persons cannot be told apart.
    fn same_person(&self) -> Result<f32, ModelError>;

    /// What every result has to say of the networks, if there is something.
    fn notice(&self) -> Option<&'static str> {
        None
    }
}

/// Gives an observer when there is something to look at.
pub trait FaceSource: Send + Sync {
    /// The observer, or why there is none.
    fn observer(&self) -> Result<Arc<dyn Observer>, ModelError>;
}

impl FaceSource for Shelf {
    fn observer(&self) -> Result<Arc<dyn Observer>, ModelError> {
        Ok(self.faces()?)
    }
}

impl Observer for FaceModels {
    fn observe(&self, photo: &RgbImage) -> Result<Observation, ModelError> {
        let faces = self.detector.detect(photo)?;
        let [face] = faces[..] else {
            return Ok(Observation::Faces(faces));
        };
        let crop = align(photo, &face.points);
        let mut flaw = Quality::of(&crop, &face.bounds)
            .flaw()
            .map(Defect::Measured);
        if let (None, Some(network)) = (flaw, &self.quality) {
            let rating = network.score(&crop)?;
            flaw = (rating < network.least()).then(|| Defect::Rated(rating, network.least()));
        }
        Ok(Observation::Portrait(Portrait {
            face,
            pose: Pose::of(&face.points),
            flaw,
        }))
    }

    fn embed(&self, photo: &RgbImage, face: &Face) -> Result<Embedding, ModelError> {
        self.embedder()?.embed(photo, face)
    }

    fn same_person(&self) -> Result<f32, ModelError> {
        Ok(self.embedder()?.same_person())
    }

    fn notice(&self) -> Option<&'static str> {
        self.pack.map(supply::notice)
    }
}
