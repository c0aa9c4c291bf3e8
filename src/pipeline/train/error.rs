//! Why a training ended without a person.

use std::io;

use serde_json::json;

use super::{
    model::ModelTrouble,
    prepare::{Fate, PrepareError},
};
use crate::{
    domain::Problem, imaging::ImagingError, job::CancelReason, models::diffusion::DiffusionError,
    people::PeopleError, pipeline::Failure, store::StoreError,
};

/// Why a training ended without a person. The texts say what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The photos are of no use.
    #[error(transparent)]
    Photos(#[from] PrepareError),
    /// The place where the person is trained cannot be used.
    #[error(transparent)]
    People(PeopleError),
    /// The checkpoint is of no use, or the device failed.
    #[error(transparent)]
    Model(#[from] ModelTrouble),
    /// Nothing was learned, also at a lower rate.
    #[error(
        "the training came to nothing: {what} at step {step}, and again at step {again} with a third of \
         the rate; lower `learning_rate`, or raise `train_batch_size`"
    )]
    Diverged {
        /// What happened.
        what: &'static str,
        /// The step at which it happened first.
        step: usize,
        /// The step at which it happened again.
        again: usize,
    },
    /// A file could not be written or read.
    #[error("a file of the training could not be written: {0}")]
    Files(String),
    /// The disk is full.
    #[error(
        "the disk with the data folder is full; free some space and send the request again, it goes on \
         where the last state was saved"
    )]
    DiskFull,
    /// What is left of an earlier training cannot be gone on with.
    #[error("{0}")]
    Unfinished(String),
    /// The job has to stop.
    #[error("{}", Failure::from(*.0).message)]
    Stopped(CancelReason),
}

impl From<CancelReason> for TrainError {
    fn from(reason: CancelReason) -> Self {
        Self::Stopped(reason)
    }
}

impl From<DiffusionError> for TrainError {
    fn from(error: DiffusionError) -> Self {
        Self::Model(error.into())
    }
}

impl From<StoreError> for TrainError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io(error) => error.into(),
            other => Self::Files(other.to_string()),
        }
    }
}

impl From<PeopleError> for TrainError {
    fn from(error: PeopleError) -> Self {
        match error {
            PeopleError::Store(StoreError::Io(error)) if is_full(&error) => Self::DiskFull,
            other => Self::People(other),
        }
    }
}

impl From<io::Error> for TrainError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) {
            return Self::DiskFull;
        }
        Self::Files(format!(
            "{error}; check free space and permissions of the data folder"
        ))
    }
}

/// Whether there is no room for what was to be written.
pub(super) fn is_full(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    kinds.contains(&error.kind())
}

impl From<ImagingError> for TrainError {
    fn from(error: ImagingError) -> Self {
        Self::Files(error.to_string())
    }
}

impl TrainError {
    /// What became of each photo, as far as that is why it failed.
    pub fn fates(&self) -> &[Fate] {
        match self {
            Self::Photos(error) => error.fates(),
            _ => &[],
        }
    }

    fn problem(&self) -> Problem {
        match self {
            Self::People(error) => error.problem(),
            Self::Model(trouble) => trouble.problem(Problem::TrainingFailed),
            Self::Diverged { .. } => Problem::TrainingFailed,
            Self::DiskFull => Problem::DiskFull,
            Self::Unfinished(_) => Problem::InvalidParameter,
            Self::Photos(_) | Self::Files(_) | Self::Stopped(_) => Problem::InternalError,
        }
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        let fates = json!(error.fates());
        let failure = match error {
            TrainError::Photos(error) => Self::from(error),
            TrainError::Stopped(reason) => reason.into(),
            error => Self::new(error.problem(), error.to_string()),
        };
        match fates.as_array() {
            Some(fates) if !fates.is_empty() => failure.with("photos", fates.clone().into()),
            _ => failure,
        }
    }
}
