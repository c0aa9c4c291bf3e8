//! Reads the fields of a JSON object, each with its bounds; errors name the field.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::super::shown;
use super::{LEVELS_MAX, WIDTH_MAX};

/// The fields of a configuration. A field that is not there, or is `null`, has its default.
pub struct Fields(Map<String, Value>);

/// Why a field cannot be used: as it is nonsense, or as it asks for what is not built.
#[derive(Debug)]
pub enum FieldError {
    Wrong(String),
    NotBuilt(String),
}

impl Fields {
    pub fn new(object: Map<String, Value>) -> Self {
        Self(object)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Whether a field is there and `null`.
    pub(super) fn is_null(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(Value::is_null)
    }

    /// An object inside of this one, if there is one.
    pub(super) fn inner(&self, name: &str) -> Option<Self> {
        self.get(name)?.as_object().cloned().map(Self)
    }

    /// A whole number from 1 to `max`.
    pub(super) fn size(&self, name: &str, default: usize, max: usize) -> Result<usize, FieldError> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => {
                size(value, max).ok_or_else(|| self.wrong(name, &format!("from 1 to {max}")))
            }
        }
    }

    /// The same where the number only advises: one that cannot be used counts as none.
    pub(super) fn hint(&self, name: &str, default: usize, max: usize) -> usize {
        let given = self.get(name).and_then(|value| size(value, max));
        given.unwrap_or(default)
    }

    /// A list of 1 to [`LEVELS_MAX`] widths.
    pub(super) fn widths(&self, name: &str, default: &[usize]) -> Result<Vec<usize>, FieldError> {
        let Some(value) = self.get(name) else {
            return Ok(default.to_vec());
        };
        let items = value.as_array().filter(|items| !items.is_empty());
        let widths: Option<Vec<usize>> = items
            .filter(|items| items.len() <= LEVELS_MAX)
            .and_then(|items| items.iter().map(|item| size(item, WIDTH_MAX)).collect());
        widths.ok_or_else(|| {
            self.wrong(
                name,
                &format!("1 to {LEVELS_MAX} sizes from 1 to {WIDTH_MAX}"),
            )
        })
    }

    /// A list of `count` whole numbers, or one number that stands for all.
    pub(super) fn each(
        &self,
        name: &str,
        default: &[usize],
        count: usize,
    ) -> Result<Vec<usize>, FieldError> {
        let sizes = match self.get(name) {
            None => Some(default.to_vec()),
            Some(Value::Array(items)) if items.len() == count => {
                items.iter().map(|item| size(item, WIDTH_MAX)).collect()
            }
            Some(value) => size(value, WIDTH_MAX).map(|one| vec![one; count]),
        };
        let sizes = sizes.filter(|sizes| sizes.len() == count);
        sizes.ok_or_else(|| self.wrong(name, &format!("a size, or {count} sizes")))
    }

    /// A number in a range.
    pub(super) fn number(
        &self,
        name: &str,
        default: f64,
        range: RangeInclusive<f64>,
    ) -> Result<f64, FieldError> {
        let number = match self.get(name) {
            None => Some(default),
            Some(value) => value.as_f64(),
        };
        let number = number.filter(|number| range.contains(number));
        number
            .ok_or_else(|| self.wrong(name, &format!("from {} to {}", range.start(), range.end())))
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, FieldError> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, FieldError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "a text")),
        }
    }

    /// The texts of a list; `None` when it is not there.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<&str>>, FieldError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let items = value.as_array().filter(|items| items.len() <= LEVELS_MAX);
        let texts = items.and_then(|items| items.iter().map(Value::as_str).collect());
        let texts: Option<Vec<&str>> = texts;
        match texts {
            Some(texts) => Ok(Some(texts)),
            None => Err(self.wrong(name, &format!("at most {LEVELS_MAX} texts"))),
        }
    }

    /// That each of these fields has the one value that is built, or is not there.
    pub(super) fn built(&self, only: &[(&str, Value)]) -> Result<(), FieldError> {
        for (name, built) in only {
            let value = self.0.get(*name).unwrap_or(built);
            let is_equal = match (value.as_f64(), built.as_f64()) {
                (Some(value), Some(built)) => value == built,
                _ => value == built,
            };
            // `null` is how newer versions spell a feature that is off.
            if !is_equal && !value.is_null() {
                return Err(self.not_built(name, &built.to_string()));
            }
        }
        Ok(())
    }

    /// That a field's value is not one of those that are understood, which are `built`.
    pub(super) fn not_built(&self, name: &str, built: &str) -> FieldError {
        FieldError::NotBuilt(format!(
            "`{name}` is {} in its configuration, and photog runs {built} only",
            self.shown(name)
        ))
    }

    /// That a field's value is nonsense.
    pub(super) fn wrong(&self, name: &str, wanted: &str) -> FieldError {
        FieldError::Wrong(format!(
            "`{name}` is {} in its configuration and has to be {wanted}",
            self.shown(name)
        ))
    }

    fn shown(&self, name: &str) -> String {
        shown(&self.0.get(name).unwrap_or(&Value::Null).to_string())
    }
}

impl From<String> for FieldError {
    fn from(reason: String) -> Self {
        Self::Wrong(reason)
    }
}

fn size(value: &Value, max: usize) -> Option<usize> {
    let size = usize::try_from(value.as_u64()?).ok()?;
    (1..=max).contains(&size).then_some(size)
}
