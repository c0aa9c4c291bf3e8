//! Keeps secrets out of everything that can be shown.
//!
//! The readers of this module's siblings work on the output of [`redact`] alone, so no message,
//! view or warning can hold a secret. Only [`token`] looks at the document as it was given.

use serde_json::{Map, Value};

use super::{error::ServiceError, notes::Notes, reader::Section};
use crate::domain::Secret;

/// Stands in every view where a secret stood.
const MASK: &str = "***";

/// A member, variable or option with one of these in its name holds a secret.
const SECRET_WORDS: [&str; 7] = [
    "token",
    "auth",
    "password",
    "passwd",
    "secret",
    "access_key",
    "api_key",
];

/// The document with the value of every secret replaced, `null` left alone.
pub(super) fn redact(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(redact_members(members)),
        Value::Array(items) => items.iter().map(redact).collect(),
        other => other.clone(),
    }
}

fn redact_members(members: &Map<String, Value>) -> Map<String, Value> {
    // An environment variable is an object with the members `name` and `value`.
    let is_secret_variable = members
        .get("name")
        .and_then(Value::as_str)
        .is_some_and(is_secret);
    members
        .iter()
        .map(|(name, value)| {
            let is_hidden = is_secret(name) || (is_secret_variable && name == "value");
            let shown = match value {
                Value::Null => Value::Null,
                _ if is_hidden => MASK.into(),
                Value::String(line) if name == "script" || name == "command" => {
                    redact_line(line).into()
                }
                other => redact(other),
            };
            (name.clone(), shown)
        })
        .collect()
}

/// A start line with the values of secret options and assignments replaced.
fn redact_line(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut is_value = false;
    for piece in line.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let gap = &piece[word.len()..];
        match word.split_once('=') {
            _ if word.is_empty() => {}
            _ if is_value => shown.push_str(MASK),
            Some((name, _)) if is_secret(name) => shown.extend([name, "=", MASK]),
            _ => shown.push_str(word),
        }
        if !word.is_empty() {
            is_value = word.starts_with("--") && !word.contains('=') && is_secret(word);
        }
        shown.push_str(gap);
    }
    shown
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// The service's own token. An empty one counts as absent: it would protect nothing.
pub(super) fn token(document: &Value) -> Result<Option<Secret>, ServiceError> {
    let mut root = Section::root(document, &mut Notes::default())?;
    let Some(given) = root.take("token") else {
        return Ok(None);
    };
    let Some(text) = given.value.as_str() else {
        return Err(given.refuse("a token is a text in quotes"));
    };
    // It travels in the header `Authorization`.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(given.refuse("a token has only visible ASCII characters and no spaces"));
    }
    Ok((!text.is_empty()).then(|| Secret::new(text)))
}
