//! Reads what the requests of all portrait services have in common: a JSON object, the caller's
//! `request_id`, `configure`, and the tag `taskType`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{JobInput, reply::Failure};
use crate::domain::Problem;

/// The tag that says what kind of task an entry is.
const TASK_TYPE_TAG: &str = "taskType";
/// Longest text taken as a request id, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 1024;

/// Most photos in one request.
const IMAGES_MAX: usize = 100;

/// The caller's own id, returned with the JSON type that it came with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum RequestId {
    /// An integer of any size up to 128 bits.
    Integer(i128),
    /// A text.
    Text(String),
}

impl RequestId {
    /// A new id, for requests without one.
    pub fn generate() -> Self {
        Self::Text(uuid::Uuid::new_v4().to_string())
    }
}

/// The members of a request object.
pub(super) type Members = Map<String, Value>;

/// Reads the request: its id, for whatever answer follows, and its members or why there are none.
///
/// Without a usable id in the request the id is a generated one.
pub(super) fn open(input: &JobInput) -> (RequestId, Result<Members, Failure>) {
    let members = match serde_json::from_slice(&input.data) {
        Ok(Value::Object(members)) => members,
        Ok(_) => return (RequestId::generate(), Err(not_an_object(""))),
        Err(error) => {
            let place = format!(" (line {}, column {})", error.line(), error.column());
            return (RequestId::generate(), Err(not_an_object(&place)));
        }
    };
    let id = match request_id(&members, &input.data) {
        Ok(id) => id,
        Err(failure) => return (RequestId::generate(), Err(failure)),
    };
    let members = supported_task(input).map(|()| members);
    (id, members)
}

/// The member `configure`; absent and null mean that nothing is set.
pub(super) fn configure(members: &mut Members) -> Result<Members, Failure> {
    match members.remove("configure") {
        None | Some(Value::Null) => Ok(Members::new()),
        Some(Value::Object(options)) => Ok(options),
        Some(_) => Err(invalid("`configure` has to be an object")),
    }
}

/// The addresses of photos, 1 to 100 of them.
pub(super) fn images(members: &mut Members) -> Result<Vec<String>, Failure> {
    let Some(Value::Array(images)) = members.remove("images") else {
        return Err(invalid(
            "`images` is missing or no array; give the addresses of the photos as an array of \
             texts",
        ));
    };
    if images.is_empty() || images.len() > IMAGES_MAX {
        return Err(invalid(format!(
            "`images` has {} elements; give 1 to {IMAGES_MAX}",
            images.len()
        )));
    }
    let text = |(at, image)| match image {
        Value::String(address) => Ok(address),
        _ => Err(invalid(format!("`images[{at}]` has to be a text"))),
    };
    images.into_iter().enumerate().map(text).collect()
}

/// A failure that blames a member of the request.
pub(super) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Problem::InvalidParameter, message)
}

fn not_an_object(place: &str) -> Failure {
    Failure::new(
        Problem::InvalidJson,
        format!("the request is not a JSON object{place}; send one, in UTF-8"),
    )
}

fn supported_task(input: &JobInput) -> Result<(), Failure> {
    match input.tags.get(TASK_TYPE_TAG) {
        None | Some("query") => Ok(()),
        Some(_) => Err(Failure::new(
            Problem::UnsupportedTaskType,
            "the tag `taskType` asks for a kind of task that is not done here; leave it out or \
             set it to `query`",
        )),
    }
}

fn request_id(members: &Members, data: &[u8]) -> Result<RequestId, Failure> {
    let refused = || invalid("`request_id` has to be a text or an integer");
    match members.get("request_id") {
        None | Some(Value::Null) => Ok(RequestId::generate()),
        Some(Value::String(text)) if text.len() <= REQUEST_ID_BYTES_MAX => {
            Ok(RequestId::Text(text.clone()))
        }
        Some(Value::String(_)) => Err(invalid(format!(
            "`request_id` is longer than {REQUEST_ID_BYTES_MAX} bytes; use a shorter one"
        ))),
        Some(Value::Number(number)) => number
            .as_i128()
            .or_else(|| exact_integer(data))
            .map(RequestId::Integer)
            .ok_or_else(refused),
        Some(_) => Err(refused()),
    }
}

/// Reads the id once more, as an integer only: in a [`Value`] an integer above 64 bits has become
/// a rounded number.
fn exact_integer(data: &[u8]) -> Option<i128> {
    #[derive(Deserialize)]
    struct OnlyId {
        request_id: i128,
    }
    let only: OnlyId = serde_json::from_slice(data).ok()?;
    Some(only.request_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Tags;

    fn input(data: &str, task_type: Option<&str>) -> JobInput {
        JobInput {
            data: bytes::Bytes::copy_from_slice(data.as_bytes()),
            tags: task_type
                .map(|kind| ("taskType", kind))
                .into_iter()
                .collect::<Tags>(),
        }
    }

    #[test]
    fn the_id_comes_back_with_its_json_type() {
        for id in [
            "7001",
            "0",
            "-5",
            "18446744073709551615",
            "18446744073709551616",
            "123456789012345678901234567890",
            "-99999999999999999999",
            "\"tr-18\"",
            "\"7001\"",
            "\"\"",
            "\"ä\\n\"",
        ] {
            let (read, members) = open(&input(&format!("{{\"request_id\": {id}}}"), None));
            assert_eq!(serde_json::to_string(&read).unwrap(), id);
            assert!(members.is_ok());
        }
    }

    #[test]
    fn a_missing_id_is_generated_and_differs_each_time() {
        for data in ["{}", "{\"request_id\": null}"] {
            let (RequestId::Text(first), Ok(_)) = open(&input(data, None)) else {
                panic!("no text id for {data}");
            };
            assert!(uuid::Uuid::parse_str(&first).is_ok());
            assert_ne!(open(&input(data, None)).0, RequestId::Text(first));
        }
    }

    #[test]
    fn an_id_of_another_type_is_refused() {
        for id in ["1.5", "1.0", "1e3", "true", "[1]", "{}", "1e400"] {
            let (_, members) = open(&input(&format!("{{\"request_id\": {id}}}"), None));
            let problem = members.unwrap_err().problem;
            // The last one is no number that JSON readers accept.
            let expected = if id == "1e400" {
                Problem::InvalidJson
            } else {
                Problem::InvalidParameter
            };
            assert_eq!(problem, expected, "{id}");
        }
        let long = format!("{{\"request_id\": \"{}\"}}", "x".repeat(1025));
        assert!(open(&input(&long, None)).1.is_err());
    }

    #[test]
    fn what_is_no_json_object_is_invalid_json() {
        for data in ["", "[]", "1", "\"x\"", "null", "{", "{} x", "\u{feff}{}"] {
            let (_, members) = open(&input(data, None));
            assert_eq!(members.unwrap_err().problem, Problem::InvalidJson, "{data}");
        }
        let nested = "[".repeat(100_000);
        assert!(open(&input(&nested, None)).1.is_err());
        let not_utf8 = JobInput {
            data: bytes::Bytes::from_static(b"{\"a\": \"\xff\"}"),
            tags: Tags::default(),
        };
        assert!(open(&not_utf8).1.is_err());
    }

    #[test]
    fn only_queries_are_done_and_the_id_is_kept_for_the_refusal() {
        let data = "{\"request_id\": 3}";
        assert!(open(&input(data, Some("query"))).1.is_ok());
        for other in ["command", "QUERY", ""] {
            let (id, members) = open(&input(data, Some(other)));
            assert_eq!(id, RequestId::Integer(3));
            let problem = members.unwrap_err().problem;
            assert_eq!(problem, Problem::UnsupportedTaskType, "{other}");
        }
    }

    #[test]
    fn configure_may_be_absent_null_or_an_object() {
        let read = |text: &str| {
            let mut members: Members = serde_json::from_str(text).unwrap();
            configure(&mut members).map(|options| options.len())
        };
        assert_eq!(read("{}"), Ok(0));
        assert_eq!(read("{\"configure\": null}"), Ok(0));
        assert_eq!(read("{\"configure\": {\"a\": 1}}"), Ok(1));
        assert!(read("{\"configure\": []}").is_err());
    }
}
