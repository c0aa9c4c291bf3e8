//! Builds the failure answers of all engines, in the one form that `portrait-api` section 6 gives
//! them: `request_id`, `code`, `message`, `cost_time`, and what a service adds.

use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Answer, JobInput,
    request::{self, RequestId},
};
use crate::{domain::Problem, job::CancelReason};

/// Why a request fails, with a text for its caller.
///
/// The text also goes to the job's history, so it names members and limits, never their values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}: {message}")]
pub struct Failure {
    /// The code.
    pub problem: Problem,
    /// What happened, what it means, what to do.
    pub message: String,
    /// What else the caller hears, by the names of the answer's members.
    pub members: Map<String, Value>,
}

impl Failure {
    /// A failure with this code and text.
    pub fn new(problem: Problem, message: impl Into<String>) -> Self {
        Self {
            problem,
            message: message.into(),
            members: Map::new(),
        }
    }

    /// The same with another member in its answer.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    /// The answer that tells the caller.
    pub fn into_answer(self, request_id: &RequestId, started: Instant) -> Answer {
        let body = to_json(&FailureBody {
            request_id,
            code: self.problem.as_str(),
            message: &self.message,
            cost_time: cost_time(started),
            members: &self.members,
        });
        Answer {
            status: self.problem.http_status(),
            body,
            problem: Some(self.problem),
            message: self.message,
        }
    }
}

impl From<CancelReason> for Failure {
    fn from(reason: CancelReason) -> Self {
        match reason {
            CancelReason::User => Self::new(Problem::Cancelled, "the job was cancelled"),
            CancelReason::Deadline => Self::new(
                Problem::Timeout,
                "the job took longer than the service allows; send less at once or raise \
                 `metadata.rpc.keepalive`",
            ),
            CancelReason::Shutdown => Self::new(
                Problem::Interrupted,
                "the program was stopped before the job was done; send it again",
            ),
        }
    }
}

/// The answer to an entry that somebody else than its engine has to end, with the caller's own
/// `request_id` if the request can be read.
pub fn failure_answer(input: &JobInput, failure: Failure, started: Instant) -> Answer {
    let (request_id, _) = request::open(input);
    failure.into_answer(&request_id, started)
}

#[derive(Serialize)]
struct FailureBody<'a> {
    request_id: &'a RequestId,
    code: &'a str,
    message: &'a str,
    cost_time: f64,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

/// Seconds since `started`, to the millisecond, as results state them.
pub(super) fn cost_time(started: Instant) -> f64 {
    (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}

/// The JSON bytes of a result.
pub(super) fn to_json(result: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(result).expect("results have string keys only, so they always serialize")
}
