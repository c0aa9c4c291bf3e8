//! The one mapping from errors to HTTP statuses.
//!
//! A refusal has a text for the caller; what only the operator should see goes to the log. Queue
//! routes answer in plain text, as their clients expect; our own API answers in JSON.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{people::PeopleError, queue::QueueError};

/// The status by which EAS says that a queue is full.
pub(super) const STATUS_QUEUE_FULL: u16 = 450;

/// A refusal of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// What happened, what it means, what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal with this status and text.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// The request itself is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// The word by which programs know the kind of refusal.
    pub(super) fn code(&self) -> &'static str {
        match self.status {
            400 => "BAD_REQUEST",
            401 => "UNAUTHORIZED",
            403 => "FORBIDDEN",
            404 => "NOT_FOUND",
            405 => "METHOD_NOT_ALLOWED",
            409 => "CONFLICT",
            408 => "TIMEOUT",
            413 => "TOO_LARGE",
            422 => "INVALID_PARAMETER",
            429 => "RATE_LIMITED",
            STATUS_QUEUE_FULL => "QUEUE_FULL",
            501 => "NOT_IMPLEMENTED",
            503 => "UNAVAILABLE",
            507 => "DISK_FULL",
            _ => "INTERNAL_ERROR",
        }
    }

    pub(super) fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<QueueError> for Refusal {
    fn from(error: QueueError) -> Self {
        let status = match &error {
            QueueError::Full { .. } => STATUS_QUEUE_FULL,
            QueueError::TooLarge { .. } => 413,
            QueueError::NotFound => 404,
            QueueError::UserActive { .. } | QueueError::Conflict(_) => 409,
            QueueError::DiskFull { .. } => 507,
            QueueError::Closed => 503,
            QueueError::Storage(_)
            | QueueError::Damaged { .. }
            | QueueError::Newer { .. }
            | QueueError::Foreign { .. }
            | QueueError::InUse(_) => {
                tracing::error!(%error, "a request failed");
                let text = "the store failed and the outcome of this request is unknown; the \
                            operator finds the reason in the log. Try again";
                return Self::new(500, text);
            }
        };
        Self::new(status, error.to_string())
    }
}

impl From<PeopleError> for Refusal {
    fn from(error: PeopleError) -> Self {
        let status = match &error {
            PeopleError::NotFound | PeopleError::NoPicture => 404,
            PeopleError::AlreadyExists | PeopleError::InTraining => 409,
            PeopleError::Damaged(_) => 500,
            PeopleError::Incomplete(_) | PeopleError::Store(_) => {
                tracing::error!(%error, "a request about people failed");
                let text = "the data folder failed; the operator finds the reason in the log. Try \
                            again, which also finishes a removal that was begun";
                return Self::new(500, text);
            }
        };
        Self::new(status, error.to_string())
    }
}

/// Plain text, for the queue routes.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status_code(), self.message).into_response()
    }
}

/// JSON, for our own API.
pub struct ApiRefusal(pub Refusal);

impl<E: Into<Refusal>> From<E> for ApiRefusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ApiRefusal {
    fn into_response(self) -> Response {
        let body = json!({"code": self.0.code(), "message": self.0.message});
        (self.0.status_code(), Json(body)).into_response()
    }
}
