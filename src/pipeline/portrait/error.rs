//! Why there is no portrait.

use crate::{
    domain::{PersonId, Problem},
    fetch::FetchError,
    imaging::ImagingError,
    job::CancelReason,
    models::ModelError,
    people::PeopleError,
    pipeline::{Failure, generate::GenerateError, train::ModelTrouble},
};

/// Why there is no portrait. The texts say what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum PortraitError {
    /// There is no such person.
    #[error(
        "nobody of the id `{0}` is trained; train the person first, `photog people list` names all"
    )]
    NotTrained(PersonId),
    /// A person's record or photo cannot be used.
    #[error("the person `{id}` cannot be used: {source}")]
    Person {
        /// Whose.
        id: PersonId,
        /// Why.
        source: PeopleError,
    },
    /// The template could not be got.
    #[error("`template_image`: {0}")]
    NotFetched(FetchError),
    /// The template is no usable picture.
    #[error("`template_image`: {0}")]
    NotDecoded(ImagingError),
    /// The template has too few pixels.
    #[error(
        "the template has {width} x {height} pixels, and both sides need more than {least}; send a \
         larger picture"
    )]
    TooSmall {
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// What both sides have to be above.
        least: u32,
    },
    /// The template shows no face.
    #[error("no face was found in the template; send a picture with a face that is clearly seen")]
    NoFace,
    /// There are more or fewer faces than persons.
    #[error(
        "the template shows {faces} and the request names {persons}; send as many, or set \
         `configure.allow_face_count_mismatch`, with which faces are filled from the left and the \
         rest stays",
        faces = counted(*.faces, "face", "faces"),
        persons = counted(*.persons, "person", "persons")
    )]
    FaceCount {
        /// Faces of the template.
        faces: usize,
        /// Persons of the request.
        persons: usize,
    },
    /// The networks for faces are of no use.
    #[error("portraits cannot be made: {0}")]
    Faces(#[from] ModelError),
    /// The checkpoint is of no use.
    #[error(transparent)]
    Base(#[from] ModelTrouble),
    /// Painting failed.
    #[error(transparent)]
    Painting(#[from] GenerateError),
    /// The portrait could not be written.
    #[error("the portrait cannot be written: {0}")]
    NotWritten(String),
    /// The result would be larger than the output queue accepts.
    #[error(
        "the portrait is larger than the {limit} bytes that a result may have, also at the lowest \
         quality; it was {kept}"
    )]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
        /// Where it is now.
        kept: String,
    },
    /// The job has to stop.
    #[error("{}", Failure::from(*.0).message)]
    Stopped(CancelReason),
}

fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

impl From<CancelReason> for PortraitError {
    fn from(reason: CancelReason) -> Self {
        Self::Stopped(reason)
    }
}

impl PortraitError {
    fn problem(&self) -> Problem {
        match self {
            Self::NotTrained(_) => Problem::ModelNotFound,
            Self::Person { source, .. } => source.problem(),
            Self::NotFetched(_) => Problem::ImageDownloadFailed,
            Self::NotDecoded(_) => Problem::ImageDecodeFailed,
            Self::TooSmall { .. } => Problem::ImageTooSmall,
            Self::NoFace => Problem::NoFaceInTemplate,
            Self::FaceCount { .. } => Problem::FaceCountMismatch,
            Self::Faces(ModelError::Missing { .. }) => Problem::BaseModelMissing,
            Self::Base(trouble) => trouble.problem(Problem::InternalError),
            Self::Painting(error) => error.problem(),
            Self::TooLarge { .. } => Problem::ResultTooLarge,
            Self::Faces(_) | Self::NotWritten(_) | Self::Stopped(_) => Problem::InternalError,
        }
    }
}

impl From<PortraitError> for Failure {
    fn from(error: PortraitError) -> Self {
        match error {
            PortraitError::Stopped(reason)
            | PortraitError::Painting(GenerateError::Stopped(reason)) => reason.into(),
            error => Self::new(error.problem(), error.to_string()),
        }
    }
}
