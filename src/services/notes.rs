//! What became of each field: the record behind the effective view.

use serde::Serialize;
use serde_json::Value;

/// How a field is treated. The fourth treatment, refusal, is a
/// [`ServiceError`](super::ServiceError).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Class {
    /// It has its documented effect.
    Honour,
    /// It has an effect that fits one process.
    Map,
    /// It is kept and returned, and has no effect.
    Report,
}

/// One field with its value in effect.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectiveValue {
    /// Path of the field as it was written, or in the cloud's spelling when it was not given.
    pub field: String,
    /// Value as it was given, secrets masked; `null` when a default is in effect.
    pub given: Value,
    /// Value in effect after defaults, limits and mapping; `null` for a field without effect.
    pub effective: Value,
    /// How the field is treated.
    pub class: Class,
    /// Why the value in effect is what it is.
    pub reason: String,
}

/// A field that was given and has no effect.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NotApplicable {
    /// Path of the field as it was written.
    pub field: String,
    /// Value as it was given, secrets masked.
    pub value: Value,
    /// Why it has no effect.
    pub reason: String,
}

/// Collects what became of the fields while they are read.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub effective: Vec<EffectiveValue>,
    pub not_applicable: Vec<NotApplicable>,
    pub warnings: Vec<String>,
}

impl Notes {
    /// The field, or its default, has its documented effect.
    pub fn honour(
        &mut self,
        field: &str,
        given: Option<&Value>,
        effective: impl Into<Value>,
        reason: impl Into<String>,
    ) {
        self.push(Class::Honour, field, given, effective.into(), reason.into());
    }

    /// The field, or its default, has an effect that fits one process.
    pub fn map(
        &mut self,
        field: &str,
        given: Option<&Value>,
        effective: impl Into<Value>,
        reason: impl Into<String>,
    ) {
        self.push(Class::Map, field, given, effective.into(), reason.into());
    }

    /// The field has no effect.
    pub fn report(&mut self, field: &str, value: &Value, reason: impl Into<String>) {
        let reason = reason.into();
        self.not_applicable.push(NotApplicable {
            field: field.to_owned(),
            value: value.clone(),
            reason: reason.clone(),
        });
        self.push(Class::Report, field, Some(value), Value::Null, reason);
    }

    /// Something that the operator should know.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    fn push(
        &mut self,
        class: Class,
        field: &str,
        given: Option<&Value>,
        effective: Value,
        reason: String,
    ) {
        self.effective.push(EffectiveValue {
            field: field.to_owned(),
            given: given.cloned().unwrap_or_default(),
            effective,
            class,
            reason,
        });
    }
}
