//! Text to JSON, with bounds.
//!
//! Promises: at most [`MAX_BYTES`] are looked at, nesting is bounded by `serde_json` (128 levels),
//! the order of members is kept, and no object has one member twice. Twice the same member is an
//! error here, because JSON libraries keep either value and nobody can know which was meant.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::{ServiceError, shortened};

/// Longest service JSON in bytes. Real ones have a few thousand.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Reads a text that may start with a byte order mark. The result is always an object.
pub(super) fn parse(text: &str) -> Result<Value, ServiceError> {
    if text.len() > MAX_BYTES {
        return Err(ServiceError::TooLarge {
            size: text.len(),
            limit: MAX_BYTES,
        });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Unique(value) = serde_json::from_str(text)
        .map_err(|error| ServiceError::Unreadable(shortened(&error.to_string())))?;
    if !value.is_object() {
        let reason = "it is not a JSON object in braces";
        return Err(ServiceError::Unreadable(reason.to_owned()));
    }
    Ok(value)
}

/// A JSON value in which no object has one member twice.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                let name = shortened(&name);
                return Err(A::Error::custom(format!(
                    "an object has the member `{name}` twice"
                )));
            }
            let Unique(value) = members.next_value()?;
            object.insert(name, value);
        }
        Ok(object.into())
    }
}
