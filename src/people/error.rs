//! Why something could not be done with a person.

use crate::{domain::Problem, store::StoreError};

/// Why something could not be done with a person.
///
/// The texts name no person and no path, because errors reach the log.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// There is no trained person of that id.
    #[error("there is no trained person of this id; `photog people list` shows all")]
    NotFound,
    /// The person has no such picture.
    #[error("this person has no such picture; the record of the person names all")]
    NoPicture,
    /// There is something of that id already.
    #[error(
        "there is a trained person of this id, or files that bear it; choose another id, or train it \
         anew with `overwrite` (`--overwrite` on the command line)"
    )]
    AlreadyExists,
    /// Somebody works on that id.
    #[error("this person is in training; wait for the end of the job, or cancel it")]
    InTraining,
    /// There is a record and it cannot be used.
    #[error(
        "the record of this person is damaged, {0}; train the person anew with `overwrite`, or remove it"
    )]
    Damaged(String),
    /// What was to be published does not fit together: a fault of the trainer.
    #[error("the training cannot be published, {0}; this is a fault of photog")]
    Incomplete(&'static str),
    /// The disk or the file system failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PeopleError {
    /// The word by which results of jobs say it.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NotFound | Self::NoPicture | Self::Damaged(_) => Problem::ModelNotFound,
            Self::AlreadyExists | Self::InTraining => Problem::ModelAlreadyExists,
            Self::Incomplete(_) => Problem::TrainingFailed,
            Self::Store(_) => Problem::InternalError,
        }
    }
}

impl From<std::io::Error> for PeopleError {
    fn from(error: std::io::Error) -> Self {
        Self::Store(error.into())
    }
}
