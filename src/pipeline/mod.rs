//! What a job does, step by step: check, train, portrait, generate, echo.
//!
//! An [`Engine`] gets the bytes of one entry and a [`JobContext`] and returns an [`Answer`]. It
//! does not know queues, HTTP, or which slot it runs in.

mod check;
mod configure;
mod echo;
mod extras;
pub mod generate;
mod missing;
mod outputs;
mod picture_text;
pub mod portrait;
mod reply;
mod request;
pub mod train;

pub use check::{
    CheckEngine, FaceSource, Judgement, Observer, PhotoReport, PhotoSource, Verdict, judge_photos,
};
pub use echo::EchoEngine;
pub use extras::ExtrasEngine;
pub use missing::{Lack, lack_of};
pub use outputs::Outputs;
pub use picture_text::{PictureText, picture_text};
pub use reply::{Failure, failure_answer};
pub use request::RequestId;

use bytes::Bytes;

use crate::{
    domain::{Problem, Tags},
    job::JobContext,
};

/// One entry as an engine sees it.
#[derive(Debug, Clone)]
pub struct JobInput {
    /// The body of the entry.
    pub data: Bytes,
    /// Its tags, `requestId` among them.
    pub tags: Tags,
}

/// What an engine answers, like a model server would over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status of the answer; anything but 200 is a failure.
    pub status: u16,
    /// Body; an empty one writes nothing to the sink.
    pub body: Vec<u8>,
    /// Problem code of a failure, for the job's history.
    pub problem: Option<Problem>,
    /// One line for the job's history, without anything private.
    pub message: String,
}

impl Answer {
    /// A success with this body.
    pub fn ok(body: Vec<u8>) -> Self {
        Self {
            status: 200,
            body,
            problem: None,
            message: String::from("success"),
        }
    }
}

/// The work of one service. One engine value lives on one slot's thread and serves entry after entry.
pub trait Engine: Send {
    /// Works on one entry. Failures of the request are answers; only bugs panic.
    ///
    /// Long work calls [`JobContext::checkpoint`] often and returns its answer at once when that
    /// says to stop.
    fn run(&mut self, input: &JobInput, context: &JobContext) -> Answer;
}
