//! The request of `photog_check` (`portrait-api` section 3.1).

use serde_json::Value;

use crate::pipeline::{
    JobInput,
    configure::warn_of_unknown,
    reply::Failure,
    request::{self, Members, RequestId, invalid},
};

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
    let images = request::images(&mut members)?;
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
