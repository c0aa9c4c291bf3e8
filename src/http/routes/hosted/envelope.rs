//! What every call is answered with: `request_id`, `code`, `message` and `data`.

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use crate::{
    domain::Problem,
    http::{
        error::Refusal,
        routes::{awaited::Taken, blocking, queue::answer::held},
    },
};

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Envelope {
    /// Id of this call.
    pub request_id: String,
    /// `OK`, or a word for the kind of failure.
    pub code: String,
    /// `success`, or what happened, what it means, what to do.
    pub message: String,
    /// What was asked for; empty for a failure.
    #[schema(value_type = Object)]
    pub data: Map<String, Value>,
}

/// A call that is refused, or whose job failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) message: String,
}

impl Refused {
    /// A refusal with this status, word and text.
    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
        }
    }

    /// A problem with its own status.
    pub(super) fn problem(problem: Problem, message: impl Into<String>) -> Self {
        Self::new(problem.http_status(), problem.as_str(), message)
    }

    /// A member of the request that cannot be used.
    pub(super) fn parameter(message: impl Into<String>) -> Self {
        Self::problem(Problem::InvalidParameter, message)
    }

    /// What an engine says of a failure. A code that is known has its own status.
    fn failed(status: u16, said: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Said {
            code: String,
            message: String,
        }
        let said: Said = serde_json::from_slice(said).unwrap_or_default();
        if let Ok(problem) = said.code.parse::<Problem>() {
            return Self::problem(problem, said.message);
        }
        let status = if (400..600).contains(&status) {
            status
        } else {
            500
        };
        Self::from(Refusal::new(status, said.message))
    }
}

impl<E: Into<Refusal>> From<E> for Refused {
    fn from(error: E) -> Self {
        let refusal = error.into();
        let code = match refusal.status {
            400 => Problem::InvalidParameter.as_str(),
            _ => refusal.code(),
        };
        Self::new(refusal.status, code, refusal.message)
    }
}

/// The members of `data`, with the room in memory that they take up.
pub(super) struct Data {
    members: Map<String, Value>,
    room: Option<OwnedSemaphorePermit>,
}

impl From<Map<String, Value>> for Data {
    fn from(members: Map<String, Value>) -> Self {
        Self {
            members,
            room: None,
        }
    }
}

impl Data {
    /// Data that is held in this room.
    pub(super) fn held_in(members: Map<String, Value>, room: Option<OwnedSemaphorePermit>) -> Self {
        Self { members, room }
    }

    /// The result of a service, without what the envelope says already. Its `request_id` becomes a
    /// text, as clients read it.
    pub(super) async fn of_result(taken: Taken) -> Result<Self, Refused> {
        let Taken { failed, data, room } = taken;
        if let Some(status) = failed {
            return Err(Refused::failed(status, &data));
        }
        let members = blocking(move || members(&data)).await??;
        Ok(Self { members, room })
    }
}

fn members(result: &[u8]) -> Result<Map<String, Value>, Refused> {
    let read: Result<Map<String, Value>, _> = serde_json::from_slice(result);
    let mut members = read.map_err(|_| {
        let text = "the service answered with something that is no JSON object; this is a fault \
                    of the service";
        Refused::problem(Problem::InternalError, text)
    })?;
    for of_envelope in ["code", "message"] {
        members.shift_remove(of_envelope);
    }
    if let Some(id) = members.get_mut("request_id")
        && !id.is_string()
    {
        *id = Value::String(id.to_string());
    }
    Ok(members)
}

/// Answers a call.
pub(super) fn answer(request_id: &str, done: Result<Data, Refused>) -> Response {
    let request_id = request_id.to_owned();
    match done {
        Ok(Data { members, room }) => {
            let envelope = Envelope {
                request_id,
                code: String::from("OK"),
                message: String::from("success"),
                data: members,
            };
            // Members have text keys only, so an envelope always serializes.
            let bytes = serde_json::to_vec(&envelope).unwrap_or_default();
            let kind = [(header::CONTENT_TYPE, "application/json")];
            (kind, held(bytes.into(), room)).into_response()
        }
        Err(refused) => {
            let status =
                StatusCode::from_u16(refused.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let envelope = Envelope {
                request_id,
                code: refused.code,
                message: refused.message,
                data: Map::new(),
            };
            (status, Json(envelope)).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    async fn told(failed: Option<u16>, said: &str) -> (u16, Value) {
        let taken = Taken {
            failed,
            data: Bytes::copy_from_slice(said.as_bytes()),
            room: None,
        };
        let response = answer("call", Data::of_result(taken).await);
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        (status, serde_json::from_slice(&body.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn a_result_becomes_data_and_says_nothing_twice() {
        let said = r#"{"request_id": 7, "code": "OK", "message": "success", "image": "abc",
                       "seed": 3, "cost_time": 0.5}"#;
        let expected = json!({
            "request_id": "call", "code": "OK", "message": "success",
            "data": {"request_id": "7", "image": "abc", "seed": 3, "cost_time": 0.5}
        });
        assert_eq!(told(None, said).await, (200, expected));
    }

    #[tokio::test]
    async fn a_failure_has_the_status_of_its_code() {
        for (failed, said, status, code) in [
            (
                404,
                r#"{"code": "MODEL_NOT_FOUND"}"#,
                404,
                "MODEL_NOT_FOUND",
            ),
            (
                500,
                r#"{"code": "FACE_COUNT_MISMATCH"}"#,
                422,
                "FACE_COUNT_MISMATCH",
            ),
            (
                503,
                r#"{"code": "BASE_MODEL_MISSING"}"#,
                503,
                "BASE_MODEL_MISSING",
            ),
            (408, r#"{"code": "TIMEOUT"}"#, 408, "TIMEOUT"),
            (499, r#"{"code": "CANCELLED"}"#, 499, "CANCELLED"),
            (503, "failed", 503, "UNAVAILABLE"),
            (200, "", 500, "INTERNAL_ERROR"),
        ] {
            let (told_status, envelope) = told(Some(failed), said).await;
            assert_eq!((told_status, &envelope["code"]), (status, &json!(code)));
            assert_eq!(envelope["data"], json!({}), "{said}");
        }
        let said = r#"{"code": "OUT_OF_MEMORY", "message": "use less"}"#;
        let (_, envelope) = told(Some(503), said).await;
        assert_eq!(envelope["message"], "use less");
    }

    #[tokio::test]
    async fn a_result_that_is_no_object_is_a_fault() {
        let (status, envelope) = told(None, "[]").await;
        assert_eq!((status, &envelope["code"]), (500, &json!("INTERNAL_ERROR")));
    }

    #[test]
    fn refusals_of_the_queue_have_the_words_of_the_services() {
        for (status, code) in [
            (400, "INVALID_PARAMETER"),
            (408, "TIMEOUT"),
            (413, "TOO_LARGE"),
            (429, "RATE_LIMITED"),
            (450, "QUEUE_FULL"),
            (503, "UNAVAILABLE"),
            (507, "DISK_FULL"),
            (500, "INTERNAL_ERROR"),
        ] {
            let refused = Refused::from(Refusal::new(status, "why"));
            assert_eq!(refused, Refused::new(status, code, "why"));
        }
    }
}
