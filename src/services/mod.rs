//! EAS service JSON in, checked [`ServiceSpec`] and the view of it out.
//!
//! Promises:
//! - a JSON that the cloud's console would produce loads; what has no effect here is listed with
//!   the reason;
//! - wrong types and contradictions are refused with the path of the field and what to write;
//! - every value in effect is recorded with its class and reason ([`Service::effective`]);
//! - what the machine cannot give is lowered and recorded, not refused;
//! - no secret is in any part of a [`Service`] but [`ServiceSpec::token`].
//!
//! It does no I/O: texts and the numbers of the machine come from the caller.
//!
//! The readers (`metadata`, `limits`, `queue`, `storage`, `containers`, `autoscaler`, `features`)
//! take their fields out of one `reader::Section`; `fields` has all names.

mod autoscaler;
mod builtin;
mod containers;
mod engine;
mod error;
mod features;
mod fields;
mod json;
mod limits;
mod metadata;
mod notes;
mod paths;
mod queue;
mod reader;
mod secrets;
mod start_line;
mod storage;
#[cfg(test)]
mod tests;
mod view;

use std::collections::HashSet;

use serde_json::Value;

pub use builtin::built_in;
pub use error::ServiceError;
pub use json::MAX_BYTES;
pub use notes::{Class, EffectiveValue, NotApplicable};
pub use view::{AutoscalerView, BehaviorView, ServiceView, WindowView, ZeroView};

use self::{notes::Notes, reader::Section};
use crate::domain::{Secret, ServiceKind, ServiceSpec};

/// What the machine can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Most payload bytes that the program keeps for the two queues of one service.
    pub store_bytes: u64,
    /// Free bytes on the disk of the data folder.
    pub free_disk_bytes: u64,
    /// Cores; they limit the slots of a service where `device_slots` does not.
    pub cores: u32,
    /// Most slots of one service on the device, if that is known or configured.
    pub device_slots: Option<u32>,
}

/// A service that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// The values in effect.
    pub spec: ServiceSpec,
    /// The JSON as it was given, members in their order, secrets masked.
    pub given: Value,
    /// Every known field with its value in effect, class and reason.
    pub effective: Vec<EffectiveValue>,
    /// Fields that were given and have no effect.
    pub not_applicable: Vec<NotApplicable>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// Most slots as declared, before the machine's limit.
    pub declared_max: u32,
    /// Why the bounds of [`ServiceSpec::scaling`] are what they are.
    pub scaling_reason: String,
}

impl Service {
    /// The service as the JSON API shows it.
    pub fn view(&self) -> ServiceView<'_> {
        ServiceView::of(self)
    }
}

/// Reads one service JSON of at most [`MAX_BYTES`], which may start with a byte order mark.
pub fn load(text: &str, machine: &Machine) -> Result<Service, ServiceError> {
    let document = json::parse(text)?;
    let given = secrets::redact(&document);
    let mut notes = Notes::default();
    let mut root = Section::root(&given, &mut notes)?;
    let token = token(&document, &mut root, &mut notes)?;

    let name = metadata::name(&mut root, &mut notes)?;
    let kind = metadata::kind(&mut root, &mut notes)?;
    if kind == ServiceKind::Queue {
        metadata::set_worker_fields_aside(&mut root, &mut notes);
    }
    let mounts = storage::read(&mut root, &mut notes)?;
    let explicit_role = metadata::explicit_role(&mut root, &mut notes)?;
    let containers = containers::read(&mut root, &mut notes, &mounts)?;
    let role = match kind {
        ServiceKind::Queue => None,
        _ => Some(engine::choose(
            explicit_role,
            &containers.images,
            &name,
            &mut notes,
        )?),
    };
    let scaling = autoscaler::read(kind, role, &mut root, &mut notes, machine)?;
    let spec = ServiceSpec {
        name,
        kind,
        role,
        token,
        keepalive: metadata::keepalive(&mut root, &mut notes)?,
        worker_threads: metadata::worker_threads(kind, &mut root, &mut notes)?,
        rate_limit: limits::rate(&mut root, &mut notes)?,
        concurrency_limit: limits::concurrency(&mut root, &mut notes)?,
        instances: scaling.instances,
        queue: queue::read(&mut root, &mut notes, machine)?,
        scaling: scaling.policy,
        mounts,
        echo: metadata::echo(role, &mut root, &mut notes)?,
        slot_memory_bytes: metadata::slot_memory(&mut root, &mut notes)?,
        webui_data_dir: containers.webui_data_dir,
        scratch_bytes: features::scratch_bytes(&mut root, &mut notes, machine)?,
    };
    root.finish(&mut notes);
    Ok(Service {
        spec,
        given,
        effective: notes.effective,
        not_applicable: notes.not_applicable,
        warnings: notes.warnings,
        declared_max: scaling.declared_max,
        scaling_reason: scaling.reason,
    })
}

/// Checks what no service can check alone: two services cannot have one name.
pub fn check_set(services: &[Service]) -> Result<(), ServiceError> {
    let mut names = HashSet::new();
    for service in services {
        if !names.insert(service.spec.name.as_str()) {
            return Err(ServiceError::SameName(service.spec.name.clone()));
        }
    }
    Ok(())
}

/// The service's own token, recorded without its value.
fn token(
    document: &Value,
    root: &mut Section,
    notes: &mut Notes,
) -> Result<Option<Secret>, ServiceError> {
    let token = secrets::token(document)?;
    if let Some(given) = root.take("token") {
        let (effective, reason) = match token {
            Some(_) => (given.value.clone(), "callers of this service show it"),
            None => (Value::Null, "empty, so the service has no token of its own"),
        };
        notes.honour(&given.field, Some(given.value), effective, reason);
    }
    Ok(token)
}
