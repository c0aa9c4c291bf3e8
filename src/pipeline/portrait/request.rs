//! The request of `photog_pre_pmml` (`portrait-api` section 5.1).

use serde_json::Value;

use crate::{
    domain::PersonId,
    pipeline::{
        JobInput,
        reply::Failure,
        request::{self, Members, RequestId, invalid},
    },
};

/// Most persons of a portrait.
const PERSONS_MAX: usize = 16;

/// A request, read as far as that is possible without knowing the checkpoint.
#[derive(Debug, PartialEq)]
pub(super) struct PortraitRequest {
    /// Who the faces become, from left to right; at least one.
    pub(super) persons: Vec<PersonId>,
    /// Address of the template.
    pub(super) template: String,
    /// The options, unread.
    pub(super) options: Members,
}

/// Reads a request, and its id for whatever answer follows.
pub(super) fn parse(input: &JobInput) -> (RequestId, Result<PortraitRequest, Failure>) {
    let (id, members) = request::open(input);
    (id, members.and_then(portrait_request))
}

fn portrait_request(mut members: Members) -> Result<PortraitRequest, Failure> {
    // If both hold values, the plural counts.
    let mut persons = ids(&mut members, "model_ids")?;
    if persons.is_empty() {
        persons = ids(&mut members, "model_id")?;
    }
    if persons.is_empty() {
        return Err(invalid(
            "`model_id` is missing; name the person, or several in `model_ids` in the order of their \
             faces from left to right",
        ));
    }
    let template = match members.remove("template_image") {
        Some(Value::String(address)) if !address.is_empty() => address,
        None | Some(Value::Null | Value::String(_)) => {
            return Err(invalid(
                "`template_image` is missing; give the address of the picture whose faces become \
                 the persons",
            ));
        }
        Some(_) => return Err(invalid("`template_image` has to be a text")),
    };
    Ok(PortraitRequest {
        persons,
        template,
        options: request::configure(&mut members)?,
    })
}

/// One id or several; none where the member is absent, null or empty.
fn ids(members: &mut Members, name: &str) -> Result<Vec<PersonId>, Failure> {
    let given = match members.remove(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(text)) if text.is_empty() => return Ok(Vec::new()),
        Some(Value::Array(given)) => given,
        Some(one) => vec![one],
    };
    if given.len() > PERSONS_MAX {
        return Err(invalid(format!(
            "`{name}` has {} elements; give at most {PERSONS_MAX}",
            given.len()
        )));
    }
    let id = |value: Value| match value {
        Value::String(text) => text
            .parse()
            .map_err(|error| invalid(format!("`{name}` cannot be used: {error}"))),
        _ => Err(invalid(format!(
            "`{name}` has to be a text or a list of texts"
        ))),
    };
    given.into_iter().map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Problem, Tags};

    fn read(data: &str) -> Result<PortraitRequest, Failure> {
        let input = JobInput {
            data: bytes::Bytes::copy_from_slice(data.as_bytes()),
            tags: Tags::default(),
        };
        parse(&input).1
    }

    #[test]
    fn persons_come_as_a_text_or_a_list_under_either_name() {
        for (members, persons) in [
            (r#""model_id": "anna""#, vec!["anna"]),
            (r#""model_id": ["anna", "ben"]"#, vec!["anna", "ben"]),
            (
                r#""model_ids": ["ben", "anna"], "model_id": "carl""#,
                vec!["ben", "anna"],
            ),
            (r#""model_ids": null, "model_id": "carl""#, vec!["carl"]),
            (r#""model_ids": [], "model_id": "carl""#, vec!["carl"]),
            (r#""model_ids": ["anna"], "model_id": """#, vec!["anna"]),
        ] {
            let request = read(&format!(r#"{{{members}, "template_image": "x"}}"#)).unwrap();
            let found: Vec<_> = request.persons.iter().map(PersonId::as_str).collect();
            assert_eq!(found, persons, "{members}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let many =
            serde_json::json!({"model_ids": vec!["a"; 17], "template_image": "x"}).to_string();
        for (data, name) in [
            (r#"{"template_image": "x"}"#, "`model_id`"),
            (r#"{"model_id": "", "template_image": "x"}"#, "`model_id`"),
            (r#"{"model_id": 5, "template_image": "x"}"#, "`model_id`"),
            (
                r#"{"model_ids": ["a", 5], "template_image": "x"}"#,
                "`model_ids`",
            ),
            (
                r#"{"model_id": "../x", "template_image": "x"}"#,
                "`model_id`",
            ),
            (&*many, "`model_ids`"),
            (r#"{"model_id": "a"}"#, "`template_image`"),
            (
                r#"{"model_id": "a", "template_image": ["x"]}"#,
                "`template_image`",
            ),
            (
                r#"{"model_id": "a", "template_image": "x", "configure": 1}"#,
                "`configure`",
            ),
        ] {
            let failure = read(data).unwrap_err();
            assert_eq!(failure.problem, Problem::InvalidParameter, "{data}");
            assert!(failure.message.contains(name), "{failure}");
        }
    }
}
