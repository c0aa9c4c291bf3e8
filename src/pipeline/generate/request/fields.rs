//! Reads members of a request with the patience that clients of the web UI are used to.
//!
//! `null` means the default, and so does an empty text where a number is wanted. Numbers may be texts,
//! whole numbers may be written with a point, and switches may be numbers.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::pipeline::generate::error::GenerateError;

/// Longest text of a member that is no picture and no prompt, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The members of an object, with defaults for those that are missing.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline::generate) struct Fields<'a> {
    pub(in crate::pipeline::generate) given: &'a Map<String, Value>,
    pub(in crate::pipeline::generate) defaults: &'a Map<String, Value>,
    /// What stands before a name in messages, such as `alwayson_scripts.ControlNet.args[0].`.
    pub(in crate::pipeline::generate) place: &'a str,
}

impl<'a> Fields<'a> {
    /// The value of a member, or its default; `None` where that is null.
    pub(in crate::pipeline::generate) fn value(self, name: &str) -> Option<&'a Value> {
        let given = self.given.get(name).filter(|value| !value.is_null());
        let value = given.or_else(|| self.defaults.get(name));
        value.filter(|value| !value.is_null())
    }

    /// A value that is not an empty text either.
    fn filled(self, name: &str) -> Option<&'a Value> {
        let is_filled = |value: &&Value| !value.as_str().is_some_and(|text| text.trim().is_empty());
        let given = self.given.get(name).filter(|value| !value.is_null());
        let value = given.filter(is_filled);
        value
            .or_else(|| self.defaults.get(name))
            .filter(|value| !value.is_null() && is_filled(value))
    }

    pub(in crate::pipeline::generate) fn refuse(
        self,
        name: &str,
        reason: impl Into<String>,
    ) -> GenerateError {
        GenerateError::field(format!("{}{name}", self.place), reason)
    }

    /// A text; empty where there is none.
    pub(in crate::pipeline::generate) fn text(self, name: &str) -> Result<&'a str, GenerateError> {
        match self.value(name) {
            None => Ok(""),
            Some(Value::String(text)) if text.len() <= TEXT_BYTES_MAX => Ok(text),
            Some(Value::String(_)) => {
                let reason = format!("has to be a text of at most {TEXT_BYTES_MAX} bytes");
                Err(self.refuse(name, reason))
            }
            Some(_) => Err(self.refuse(name, "has to be a text")),
        }
    }

    /// A text that may be long; `None` where it is missing or empty.
    pub(in crate::pipeline::generate) fn long_text(
        self,
        name: &str,
    ) -> Result<Option<&'a str>, GenerateError> {
        match self.filled(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.refuse(name, "has to be a text")),
        }
    }

    /// A number, where there is one.
    pub(in crate::pipeline::generate) fn some_number(
        self,
        name: &str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, GenerateError> {
        let Some(value) = self.filled(name) else {
            return Ok(None);
        };
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        let reason = || {
            let (least, most) = (range.start(), range.end());
            format!("has to be a number from {least} to {most}")
        };
        let number = number.ok_or_else(|| self.refuse(name, reason()))?;
        Ok(Some(number))
    }

    /// A number whose default is none of the two kinds of nothing; that would read as zero.
    pub(in crate::pipeline::generate) fn number(
        self,
        name: &str,
        range: RangeInclusive<f64>,
    ) -> Result<f64, GenerateError> {
        Ok(self.some_number(name, range)?.unwrap_or_default())
    }

    /// A whole number, where there is one.
    pub(in crate::pipeline::generate) fn some_integer(
        self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, GenerateError> {
        let Some(value) = self.filled(name) else {
            return Ok(None);
        };
        let number = match value {
            Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => {
                let text = text.trim();
                text.parse().ok().or_else(|| whole(text.parse().ok()?))
            }
            Value::Bool(flag) => Some(i64::from(*flag)),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        let reason = || {
            let (least, most) = (range.start(), range.end());
            format!("has to be a whole number from {least} to {most}")
        };
        let number = number.ok_or_else(|| self.refuse(name, reason()))?;
        Ok(Some(number))
    }

    /// A whole number; zero where there is no default either.
    pub(in crate::pipeline::generate) fn integer(
        self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<i64, GenerateError> {
        Ok(self.some_integer(name, range)?.unwrap_or_default())
    }

    /// A whole number that counts something.
    pub(in crate::pipeline::generate) fn count(
        self,
        name: &str,
        range: RangeInclusive<u32>,
    ) -> Result<usize, GenerateError> {
        let range = i64::from(*range.start())..=i64::from(*range.end());
        Ok(self.integer(name, range)? as usize)
    }

    /// A switch; off where there is no default either.
    pub(in crate::pipeline::generate) fn flag(self, name: &str) -> Result<bool, GenerateError> {
        let flag = match self.filled(name) {
            None => Some(false),
            Some(Value::Bool(flag)) => Some(*flag),
            Some(Value::Number(number)) if number.as_f64() == Some(0.0) => Some(false),
            Some(Value::Number(number)) if number.as_f64() == Some(1.0) => Some(true),
            Some(Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(true),
                "false" | "0" | "no" | "off" => Some(false),
                _ => None,
            },
            Some(_) => None,
        };
        flag.ok_or_else(|| self.refuse(name, "has to be true or false"))
    }

    /// The elements of a list; a missing one is empty.
    pub(in crate::pipeline::generate) fn list(
        self,
        name: &str,
    ) -> Result<&'a [Value], GenerateError> {
        match self.filled(name) {
            None => Ok(&[]),
            Some(Value::Array(values)) => Ok(values),
            Some(_) => Err(self.refuse(name, "has to be a list")),
        }
    }

    /// An object; `None` where it is missing.
    pub(in crate::pipeline::generate) fn object(
        self,
        name: &str,
    ) -> Result<Option<&'a Map<String, Value>>, GenerateError> {
        match self.filled(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members)),
            Some(_) => Err(self.refuse(name, "has to be an object")),
        }
    }
}

/// The whole number that a number is, if it is one; all up to 2^53 are exact.
fn whole(number: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T>(
        given: &Value,
        read: impl FnOnce(Fields<'_>) -> Result<T, GenerateError>,
    ) -> Result<T, String> {
        let defaults = json!({"n": 7, "t": "word", "f": true});
        read(Fields {
            given: given.as_object().unwrap(),
            defaults: defaults.as_object().unwrap(),
            place: "here.",
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_are_read_in_all_spellings() {
        for value in [json!(12), json!(12.0), json!("12"), json!(" 12.0 ")] {
            let given = json!({"n": value});
            assert_eq!(read(&given, |fields| fields.integer("n", 0..=20)), Ok(12));
            assert_eq!(
                read(&given, |fields| fields.number("n", 0.0..=20.0)),
                Ok(12.0)
            );
        }
        for value in [json!(null), json!(""), json!(" ")] {
            let given = json!({"n": value});
            assert_eq!(read(&given, |fields| fields.integer("n", 0..=20)), Ok(7));
        }
        assert_eq!(
            read(&json!({}), |fields| fields.some_integer("x", 0..=1)),
            Ok(None)
        );
    }

    #[test]
    fn what_is_no_number_or_out_of_range_is_refused_by_name() {
        for value in [
            json!(21),
            json!(1.5),
            json!("x"),
            json!([]),
            json!(1e300),
            json!("nan"),
        ] {
            let got = read(&json!({"n": value}), |fields| fields.integer("n", 0..=20));
            let text = "`here.n` has to be a whole number from 0 to 20";
            assert_eq!(got, Err(text.to_owned()), "{value}");
        }
        let got = read(&json!({"n": "nan"}), |fields| fields.number("n", 0.0..=2.5));
        assert_eq!(
            got,
            Err("`here.n` has to be a number from 0 to 2.5".to_owned())
        );
    }

    #[test]
    fn switches_and_texts_are_read() {
        for (value, flag) in [
            (json!(1), true),
            (json!("False"), false),
            (json!(null), true),
        ] {
            assert_eq!(
                read(&json!({"f": value}), |fields| fields.flag("f")),
                Ok(flag)
            );
        }
        assert!(read(&json!({"f": 2}), |fields| fields.flag("f")).is_err());
        assert_eq!(
            read(&json!({"t": ""}), |f| f.text("t").map(str::to_owned)),
            Ok(String::new())
        );
        assert!(read(&json!({"t": 1}), |f| f.text("t").map(str::to_owned)).is_err());
    }
}
