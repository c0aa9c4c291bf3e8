//! The request of `photog_train_pmml` (`portrait-api` section 4.1).

use serde_json::Value;

use super::{hash::sha256, settings::Settings};
use crate::{
    domain::PersonId,
    pipeline::{
        JobInput,
        reply::Failure,
        request::{self, Members, RequestId, invalid},
    },
};

/// A request, read as far as that is possible without knowing the checkpoint.
#[derive(Debug, PartialEq)]
pub(super) struct TrainRequest {
    /// Addresses of the photos, 1 to 100.
    pub(super) images: Vec<String>,
    /// Whose LoRA it will be.
    pub(super) id: PersonId,
    /// The options, unread.
    pub(super) options: Members,
    /// Tells requests apart: one that comes again has the same.
    pub(super) print: String,
}

/// Reads a request, and its id for whatever answer follows.
pub(super) fn parse(input: &JobInput) -> (RequestId, Result<TrainRequest, Failure>) {
    let (id, members) = request::open(input);
    let job = input.tags.get("requestId");
    (id, members.and_then(|members| train_request(members, job)))
}

fn train_request(mut members: Members, job: Option<&str>) -> Result<TrainRequest, Failure> {
    let images = request::images(&mut members)?;
    let id = person_id(&mut members)?;
    let options = request::configure(&mut members)?;
    let name = id.as_ref().map(PersonId::as_str);
    let whole = serde_json::json!([images, name, options]).to_string();
    let print = sha256(whole.as_bytes());
    Ok(TrainRequest {
        images,
        id: id.unwrap_or_else(|| new_id(&print, job)),
        options,
        print,
    })
}

/// `model_id`, or `user_id` as the sibling calls it.
fn person_id(members: &mut Members) -> Result<Option<PersonId>, Failure> {
    for name in ["model_id", "user_id"] {
        match members.remove(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.is_empty() => {}
            Some(Value::String(text)) => {
                let id = text.parse::<PersonId>();
                return id
                    .map(Some)
                    .map_err(|error| invalid(format!("`{name}` cannot be used: {error}")));
            }
            Some(_) => return Err(invalid(format!("`{name}` has to be a text"))),
        }
    }
    Ok(None)
}

/// The id of a person whom a request does not name. A job that is handed out again has to find what it
/// has begun, so the same job always gives the same.
fn new_id(print: &str, job: Option<&str>) -> PersonId {
    let Some(job) = job else {
        return uuid::Uuid::new_v4().into();
    };
    let both = sha256(format!("{print} {job}").as_bytes());
    // 32 hexadecimal digits are the 128 bits of a UUID.
    let bits = u128::from_str_radix(&both[..32], 16).unwrap_or_default();
    uuid::Builder::from_random_bytes(bits.to_be_bytes())
        .into_uuid()
        .into()
}

impl TrainRequest {
    /// The checkpoint that the options name.
    pub(super) fn checkpoint(&self) -> Option<&str> {
        let name = self
            .options
            .get("sd_model_checkpoint")
            .and_then(Value::as_str);
        name.filter(|name| !name.is_empty())
    }

    /// The settings, by the defaults that go with the checkpoint, whether an earlier person of the id may
    /// be replaced, and warnings.
    pub(super) fn settings(
        &self,
        defaults: &Settings,
    ) -> Result<(Settings, bool, Vec<String>), Failure> {
        Settings::read(self.options.clone(), defaults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Problem, Tags};

    fn read(data: &str) -> Result<TrainRequest, Failure> {
        let input = JobInput {
            data: bytes::Bytes::copy_from_slice(data.as_bytes()),
            tags: Tags::default(),
        };
        parse(&input).1
    }

    #[test]
    fn the_person_is_named_by_either_word_or_gets_a_new_id() {
        let id = |data: &str| read(data).unwrap().id.to_string();
        assert_eq!(id(r#"{"images": ["a"], "model_id": "anna"}"#), "anna");
        assert_eq!(id(r#"{"images": ["a"], "user_id": "ben"}"#), "ben");
        assert_eq!(
            id(r#"{"images": ["a"], "model_id": "", "user_id": "c"}"#),
            "c"
        );
        let new = id(r#"{"images": ["a"]}"#);
        assert!(uuid::Uuid::parse_str(&new).is_ok(), "{new}");
        assert_ne!(new, id(r#"{"images": ["a"]}"#));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (data, name) in [
            (r#"{"model_id": "anna"}"#, "`images`"),
            (r#"{"images": [], "model_id": "anna"}"#, "`images`"),
            (r#"{"images": ["a"], "model_id": "../x"}"#, "`model_id`"),
            (r#"{"images": ["a"], "model_id": 5}"#, "`model_id`"),
            (r#"{"images": ["a"], "configure": 5}"#, "`configure`"),
        ] {
            let failure = read(data).unwrap_err();
            assert_eq!(failure.problem, Problem::InvalidParameter, "{data}");
            assert!(failure.message.contains(name), "{failure}");
        }
    }

    #[test]
    fn a_request_that_comes_again_is_known_by_its_print() {
        let print = |data: &str| read(data).unwrap().print;
        let one = print(r#"{"images": ["a"], "model_id": "x", "request_id": 1}"#);
        assert_eq!(
            one,
            print(r#"{"model_id": "x", "images": ["a"], "request_id": 2}"#)
        );
        assert_ne!(one, print(r#"{"images": ["b"], "model_id": "x"}"#));
    }
}
