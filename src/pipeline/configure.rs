//! Reads the member `configure` of portrait requests: numbers out of their range are moved into it,
//! and what is not known or not built is ignored, each with a warning.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::{
    reply::Failure,
    request::{Members, invalid},
};

/// Most unknown members that are named in warnings, so that a result stays small.
const UNKNOWN_NAMED_MAX: usize = 20;
/// Most characters that are repeated of the name of such a member.
const UNKNOWN_NAME_CHARS_MAX: usize = 100;

/// The members that nobody has read yet, and what was noticed on the way.
#[derive(Debug)]
pub(super) struct Configure {
    members: Members,
    warnings: Vec<String>,
}

impl Configure {
    /// All members, unread.
    pub(super) fn new(members: Members) -> Self {
        Self {
            members,
            warnings: Vec::new(),
        }
    }

    /// Adds a warning.
    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    /// A switch.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Failure> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(invalid(format!(
                "`configure.{name}` has to be true or false"
            ))),
        }
    }

    /// A text of at most `bytes` bytes.
    pub(super) fn text(&mut self, name: &str, bytes: usize) -> Result<Option<String>, Failure> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= bytes => Ok(Some(text)),
            Some(_) => Err(invalid(format!(
                "`configure.{name}` has to be a text of at most {bytes} bytes"
            ))),
        }
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(
        &mut self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let text = value.as_str();
        let found = words.iter().find(|(word, _)| Some(*word) == text);
        found.map(|(_, meaning)| Some(*meaning)).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            invalid(format!(
                "`configure.{name}` has to be one of {}",
                words.join(", ")
            ))
        })
    }

    /// A number.
    pub(super) fn number(
        &mut self,
        name: &str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, Failure> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.as_f64().filter(|number| number.is_finite());
        let number =
            number.ok_or_else(|| invalid(format!("`configure.{name}` has to be a number")))?;
        let within = number.clamp(*range.start(), *range.end());
        if within != number {
            self.warn(format!(
                "`configure.{name}` is {number} and was taken as {within}; it can be {} to {}",
                range.start(),
                range.end()
            ));
        }
        Ok(Some(within))
    }

    /// A whole number.
    pub(super) fn integer(
        &mut self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, Failure> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let whole = |number: f64| (number.fract() == 0.0).then_some(number as i64);
        let number = value.as_i64().or_else(|| whole(value.as_f64()?));
        let number = number
            .ok_or_else(|| invalid(format!("`configure.{name}` has to be a whole number")))?;
        let within = number.clamp(*range.start(), *range.end());
        if within != number {
            self.warn(format!(
                "`configure.{name}` is {number} and was taken as {within}; it can be {} to {}",
                range.start(),
                range.end()
            ));
        }
        Ok(Some(within))
    }

    /// A whole number that counts something.
    pub(super) fn count(
        &mut self,
        name: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, Failure> {
        let range = *range.start() as i64..=*range.end() as i64;
        Ok(self.integer(name, range)?.map(|number| number as usize))
    }

    /// Reads a member under another name too; what stands under `newer` counts more.
    pub(super) fn rename(&mut self, older: &str, newer: &str) {
        if let Some(value) = self.take(older) {
            self.offer(newer, value);
        }
    }

    /// Sets a member that is not there.
    pub(super) fn offer(&mut self, name: &str, value: Value) {
        if self.members.get(name).is_none_or(Value::is_null) {
            self.members.insert(name.to_owned(), value);
        }
    }

    /// A member that other systems know and that has no effect here, whatever it says.
    pub(super) fn ignore(&mut self, name: &str) {
        self.members.remove(name);
    }

    /// A switch that other systems know and that is not built: it may be off, and on it is ignored
    /// with a warning that says so.
    pub(super) fn not_built(&mut self, name: &str) {
        let is_on = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
        if self.members.remove(name).is_some_and(|value| is_on(&value)) {
            self.warn(format!(
                "`configure.{name}` is not supported and was ignored"
            ));
        }
    }

    /// All warnings, those about what nobody has read among them.
    pub(super) fn finish(mut self) -> Vec<String> {
        warn_of_unknown(&self.members, &mut self.warnings);
        self.warnings
    }
}

/// Warns of members that nobody knows.
pub(super) fn warn_of_unknown(members: &Members, warnings: &mut Vec<String>) {
    for name in members.keys().take(UNKNOWN_NAMED_MAX) {
        let shown: String = name.chars().take(UNKNOWN_NAME_CHARS_MAX).collect();
        let dots = if shown.len() < name.len() { "…" } else { "" };
        warnings.push(format!(
            "`configure.{shown}{dots}` is not known and was ignored"
        ));
    }
    let unnamed = members.len().saturating_sub(UNKNOWN_NAMED_MAX);
    if unnamed > 0 {
        warnings.push(format!(
            "{unnamed} more members of `configure` were ignored"
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn configure(value: Value) -> Configure {
        let Value::Object(members) = value else {
            panic!("the test has no object");
        };
        Configure::new(members)
    }

    #[test]
    fn numbers_out_of_range_are_moved_into_it_with_a_warning() {
        let mut read = configure(json!({"a": 3.0, "b": 900, "c": -1.5, "d": null}));
        assert_eq!(read.integer("a", 0..=10).unwrap(), Some(3));
        assert_eq!(read.count("b", 1..=64).unwrap(), Some(64));
        assert_eq!(read.number("c", 0.0..=1.0).unwrap(), Some(0.0));
        assert_eq!(read.number("d", 0.0..=1.0).unwrap(), None);
        let warnings = read.finish();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("`configure.b` is 900 and was taken as 64"));
    }

    #[test]
    fn wrong_types_are_refused_by_name() {
        let all = json!({"n": "3", "i": 1.5, "f": 1, "t": 5, "w": "other"});
        let mut read = configure(all);
        let refusals = [
            read.number("n", 0.0..=1.0).unwrap_err(),
            read.integer("i", 0..=9).unwrap_err(),
            read.flag("f").unwrap_err(),
            read.text("t", 9).unwrap_err(),
            read.word("w", &[("one", 1), ("two", 2)]).unwrap_err(),
        ];
        for (failure, name) in refusals.iter().zip(["n", "i", "f", "t", "w"]) {
            let named = failure.message.contains(&format!("`configure.{name}`"));
            assert!(named, "{failure}");
        }
    }

    #[test]
    fn what_is_unknown_or_not_built_is_ignored_and_named() {
        let mut read = configure(json!({"rl": true, "off": false, "workers": 16, "x": 1}));
        read.not_built("rl");
        read.not_built("off");
        read.ignore("workers");
        let warnings = read.finish();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("`configure.rl` is not supported"));
        assert!(warnings[1].contains("`configure.x` is not known"));
    }
}
