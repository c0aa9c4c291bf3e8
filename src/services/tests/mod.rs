//! Promises of the whole module, by what they are about.

mod built_ins;
mod refusals;
mod scaling;
mod secrets;
mod spellings;
mod treatment;

use serde_json::{Value, json};

use super::{Class, EffectiveValue, Machine, Service, ServiceError, load};

/// A machine that limits nothing.
const ROOMY: Machine = Machine {
    store_bytes: 1 << 50,
    free_disk_bytes: 1 << 50,
    cores: 64,
    device_slots: None,
};

/// The least that loads.
fn sample(kind: &str) -> Value {
    json!({"metadata": {"name": "photog_check", "type": kind}})
}

/// A sample with one member set; the path's keys are separated by slashes, `~1` is a slash.
fn with(kind: &str, path: &str, value: Value) -> Value {
    let mut document = sample(kind);
    let mut place = &mut document;
    for key in path.split('/') {
        place = &mut place[key.replace("~1", "/")];
    }
    *place = value;
    document
}

fn loaded(document: &Value) -> Service {
    load(&document.to_string(), &ROOMY).unwrap_or_else(|error| panic!("{document}: {error}"))
}

fn refused(document: &Value) -> (String, String) {
    match load(&document.to_string(), &ROOMY) {
        Err(ServiceError::Field { field, reason }) => (field, reason),
        other => panic!("{document}: {other:?}"),
    }
}

fn entry<'a>(service: &'a Service, field: &str) -> &'a EffectiveValue {
    let mut matching = service
        .effective
        .iter()
        .filter(|entry| entry.field == field);
    let entry = matching
        .next()
        .unwrap_or_else(|| panic!("no entry for {field}"));
    assert_eq!(matching.next(), None, "{field} has two entries");
    entry
}

fn assert_reported(service: &Service, field: &str) {
    assert_eq!(entry(service, field).class, Class::Report, "{field}");
    let listed = service
        .not_applicable
        .iter()
        .find(|item| item.field == field);
    assert!(
        listed.is_some_and(|item| !item.reason.is_empty()),
        "{field}"
    );
}
