//! Why no pictures are made.

use super::artist::ArtistError;
use crate::{
    domain::Problem,
    job::CancelReason,
    models::{prompt::PromptError, sampling::SamplingError},
    pipeline::reply::Failure,
};

/// Why a request for pictures fails. Texts name members of the request and limits.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GenerateError {
    /// The request is no JSON of the right form.
    #[error("the request cannot be read: {0}")]
    Form(String),
    /// A member is of a wrong type or out of its limits.
    #[error("`{field}` {reason}")]
    Field {
        /// Its name.
        field: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// There is no such sampler. The first words are those of the web UI.
    #[error("Sampler not found: {0}")]
    Sampler(SamplingError),
    /// The numbers of a request cannot be sampled with.
    #[error("{0}")]
    Sampling(SamplingError),
    /// A prompt cannot be read.
    #[error("`{field}`: {source}")]
    Prompt {
        /// Which.
        field: &'static str,
        /// Why.
        source: PromptError,
    },
    /// A picture of the request cannot be read.
    #[error("`{field}`: {reason}")]
    Picture {
        /// The member that holds it.
        field: String,
        /// Why.
        reason: String,
    },
    /// The web UI answers 404 to a request without a picture to begin from.
    #[error("Init image not found: send at least one picture in `init_images`")]
    NoInitImage,
    /// A file that the request names is not there.
    #[error(
        "there is no {what} \"{name}\" in the data folder; the lists of the interface name those that are"
    )]
    Unknown {
        /// What it is.
        what: &'static str,
        /// As it was named.
        name: String,
    },
    /// There is no model at all.
    #[error(
        "there is no model in `webui/models/Stable-diffusion` of the data folder; put a checkpoint \
         there, or add `--pack demo` to try photog without one"
    )]
    NoCheckpoint,
    /// A model failed.
    #[error("{0}")]
    Artist(#[from] ArtistError),
    /// The job has to stop.
    #[error("{}", Failure::from(*.0).message)]
    Stopped(CancelReason),
    /// A fault of this program.
    #[error("{0}")]
    Fault(String),
}

impl GenerateError {
    /// A member that is wrong.
    pub(super) fn field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Field {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// The HTTP status that the web UI's interface answers.
    pub fn status(&self) -> u16 {
        match self {
            Self::Sampler(_) | Self::NoInitImage => 404,
            Self::Form(_)
            | Self::Field { .. }
            | Self::Sampling(_)
            | Self::Prompt { .. }
            | Self::Picture { .. }
            | Self::Unknown { .. }
            | Self::Artist(ArtistError::Request(_) | ArtistError::Lora { .. }) => 422,
            _ => self.problem().http_status(),
        }
    }

    /// The code for results and for the job's history.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Form(_) => Problem::InvalidJson,
            Self::Field { .. }
            | Self::Sampler(_)
            | Self::Sampling(_)
            | Self::Prompt { .. }
            | Self::NoInitImage
            | Self::Unknown { .. } => Problem::InvalidParameter,
            Self::Picture { .. } => Problem::ImageDecodeFailed,
            Self::NoCheckpoint => Problem::BaseModelMissing,
            Self::Artist(error) => match error {
                ArtistError::Weights(_) => Problem::BaseModelMissing,
                ArtistError::Request(_) | ArtistError::Lora { .. } => Problem::InvalidParameter,
                ArtistError::OutOfMemory(_) => Problem::OutOfMemory,
                ArtistError::Stopped => Problem::Interrupted,
                ArtistError::Device(_) => Problem::InternalError,
            },
            Self::Stopped(reason) => Failure::from(*reason).problem,
            Self::Fault(_) => Problem::InternalError,
        }
    }
}

impl From<SamplingError> for GenerateError {
    fn from(error: SamplingError) -> Self {
        match error {
            SamplingError::Method(_) => Self::Sampler(error),
            error => Self::Sampling(error),
        }
    }
}

impl From<GenerateError> for Failure {
    fn from(error: GenerateError) -> Self {
        Self::new(error.problem(), error.to_string())
    }
}
