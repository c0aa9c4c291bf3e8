//! Why a demo did not come to its end.

use std::path::PathBuf;

use crate::{imaging::ImagingError, models::ModelError, store::StoreError};

/// What to do about things that cannot happen with an appliance of the same program.
const BUG: &str = "this is a bug, please report it with the output of `photog demo -v`";

/// Why a demo did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Somebody stopped it.
    #[error("the demo was stopped before it was done; run it again, it takes a few minutes")]
    Stopped,
    /// The appliance did not answer as it should.
    #[error("{what} failed, {reason}; {BUG}")]
    Server {
        /// What was asked of it.
        what: String,
        /// What was wrong with the answer.
        reason: String,
    },
    /// A service took an entry and could not do what it asks for.
    #[error("{what} failed with {code}: {message}")]
    Failed {
        /// What was asked for.
        what: String,
        /// The problem code of the result.
        code: String,
        /// What the result says to it, and what to do.
        message: String,
    },
    /// The pack lacks what a demo needs.
    #[error("the demo cannot begin, {0}; {BUG}")]
    Pack(&'static str),
    /// Faces cannot be looked at.
    #[error("faces could not be compared: {0}")]
    Faces(#[from] ModelError),
    /// A picture cannot be read or written.
    #[error("{what} cannot be used: {error}; {BUG}")]
    Picture {
        /// Which one.
        what: String,
        /// Why.
        error: ImagingError,
    },
    /// A file of the results cannot be written.
    #[error("{} could not be written: {error}; choose another folder with --out", file.display())]
    Write {
        /// Which one.
        file: PathBuf,
        /// Why.
        error: StoreError,
    },
}

impl DemoError {
    /// A picture cannot be read or written.
    pub(super) fn picture(what: &str) -> impl FnOnce(ImagingError) -> Self {
        let what = what.to_owned();
        move |error| Self::Picture { what, error }
    }
}
