//! The request of `photog_check` (`portrait-api` section 3.1).

use serde_json::Value;

use crate::pipeline::{
    JobInput,
    reply::Failure,
    request::{self, Members, RequestId, invalid},
};

/// Most photos in one request.
const IMAGES_MAX: usize = 100;
/// Most members of `configure` that are named in warnings, so that a result stays small.
const UNKNOWN_NAMED_MAX: usize = 20;
/// Most characters that are repeated of the name of such a member.
const UNKNOWN_NAME_CHARS_MAX: usize = 100;

/// A request with everything checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CheckRequest {
    /// Addresses of the photos, 1 to 100.
    pub(super) images: Vec<String>,
    /// Whether to decide if all photos show the same person.
    pub(super) face_reconize: bool,
    /// What was ignored.
    pub(super) warnings: Vec<String>,
}

/// Reads a request, and its id for whatever answer follows.
pub(super) fn parse(input: &JobInput) -> (RequestId, Result<CheckRequest, Failure>) {
    let (id, members) = request::open(input);
    (id, members.and_then(check_request))
}

fn check_request(mut members: Members) -> Result<CheckRequest, Failure> {
    let images = images(&mut members)?;
    let mut options = request::configure(&mut members)?;
    let mut warnings = Vec::new();
    let face_reconize = face_reconize(&mut options, &mut warnings)?;
    warn_of_unknown(&options, &mut warnings);
    Ok(CheckRequest {
        images,
        face_reconize,
        warnings,
    })
}

fn images(members: &mut Members) -> Result<Vec<String>, Failure> {
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

/// The option in the vendor's spelling, which wins, or in the right one.
fn face_reconize(options: &mut Members, warnings: &mut Vec<String>) -> Result<bool, Failure> {
    let vendor = boolean(options, "face_reconize")?;
    let right = boolean(options, "face_recognize")?;
    if let (Some(vendor), Some(right)) = (vendor, right)
        && vendor != right
    {
        warnings.push(String::from(
            "`configure.face_reconize` and `configure.face_recognize` differ; the first one counts",
        ));
    }
    Ok(vendor.or(right).unwrap_or(false))
}

fn boolean(options: &mut Members, name: &str) -> Result<Option<bool>, Failure> {
    match options.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(_) => Err(invalid(format!(
            "`configure.{name}` has to be true or false"
        ))),
    }
}

fn warn_of_unknown(options: &Members, warnings: &mut Vec<String>) {
    for name in options.keys().take(UNKNOWN_NAMED_MAX) {
        let shown: String = name.chars().take(UNKNOWN_NAME_CHARS_MAX).collect();
        let dots = if shown.len() < name.len() { "…" } else { "" };
        warnings.push(format!(
            "`configure.{shown}{dots}` is not known and was ignored"
        ));
    }
    let unnamed = options.len().saturating_sub(UNKNOWN_NAMED_MAX);
    if unnamed > 0 {
        warnings.push(format!(
            "{unnamed} more members of `configure` were ignored"
        ));
    }
}
