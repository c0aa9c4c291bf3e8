//! `metadata`: who the service is and by which rules it runs.

use std::time::Duration;

use super::{
    error::{ServiceError, shortened},
    notes::Notes,
    reader::{Section, Whole},
};
use crate::domain::{MIB, Role, ServiceKind};

/// Longest time that a setting may ask for. It keeps sums of times far from overflow.
pub(super) const MOST_SECONDS: u64 = 366 * 24 * 60 * 60;

const MOST_NAME_CHARACTERS: usize = 63;

/// Deepest private line of a slot; more has no use, since a slot works on one entry at a time.
const MOST_WORKER_THREADS: u64 = 1024;

/// Fields of a service with workers that mean nothing for a `Queue`.
const WORKER_FIELDS: [&str; 8] = [
    "metadata.instance",
    "metadata.photog_role",
    "metadata.photog_echo_ms",
    "metadata.photog_slot_memory_mib",
    "metadata.rpc.keepalive",
    "metadata.rpc.worker_threads",
    "autoscaler",
    "containers",
];

/// The unique name of the service.
pub(super) fn name(root: &mut Section, notes: &mut Notes) -> Result<String, ServiceError> {
    let Some(given) = root.take("metadata.name") else {
        let reason = "it is missing; give the service a name such as `photog_check`";
        return Err(ServiceError::field("metadata.name", reason));
    };
    let name = given.text()?;
    let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if name.is_empty() || name.len() > MOST_NAME_CHARACTERS || !name.bytes().all(is_allowed) {
        return Err(given.refuse(format!(
            "`{}` is no name; write 1 to {MOST_NAME_CHARACTERS} of a-z, 0-9 and _",
            shortened(name)
        )));
    }
    let reason = "name and last part of the address";
    notes.honour(&given.field, Some(given.value), name, reason);
    Ok(name.to_owned())
}

/// The service type, after `workload_type`.
pub(super) fn kind(root: &mut Section, notes: &mut Notes) -> Result<ServiceKind, ServiceError> {
    const CHOICE: &str = "write `Async`, `ScalableJob` or `Queue`";
    let Some(given) = root.take("metadata.type") else {
        let reason = format!("it is missing, which means `Standard` in the cloud; {CHOICE}");
        return Err(ServiceError::field("metadata.type", reason));
    };
    let declared = match given.text()? {
        "Async" => ServiceKind::Async,
        "ScalableJob" => ServiceKind::ScalableJob,
        "Queue" => ServiceKind::Queue,
        other => {
            let other = shortened(other);
            return Err(given.refuse(format!("the type `{other}` does not run here; {CHOICE}")));
        }
    };
    let kind = workload(declared, root, notes)?;
    let (value, word) = (Some(given.value), kind.as_str());
    if kind == declared {
        notes.honour(&given.field, value, word, "service type");
    } else {
        notes.map(&given.field, value, word, "`workload_type` is `elasticjob`");
    }
    Ok(kind)
}

fn workload(
    kind: ServiceKind,
    root: &mut Section,
    notes: &mut Notes,
) -> Result<ServiceKind, ServiceError> {
    const ELASTIC_JOB: &str = "elasticjob";
    let Some(given) = root.take("metadata.workload_type") else {
        return Ok(kind);
    };
    if kind != ServiceKind::Async || given.text()? != ELASTIC_JOB {
        let reason = "only `elasticjob` together with the type `Async` has an effect";
        notes.report(&given.field, given.value, reason);
        return Ok(kind);
    }
    let reason = "the service is treated as a `ScalableJob`";
    notes.map(&given.field, Some(given.value), ELASTIC_JOB, reason);
    notes.warn(format!("`{}` is `{ELASTIC_JOB}`: {reason}", given.field));
    Ok(ServiceKind::ScalableJob)
}

/// Reports what only a worker would use, for a `Queue`.
pub(super) fn set_worker_fields_aside(root: &mut Section, notes: &mut Notes) {
    for path in WORKER_FIELDS {
        root.report(path, "a `Queue` has no worker", notes);
    }
}

/// The role that is asked for by name, if any.
pub(super) fn explicit_role(
    root: &mut Section,
    notes: &mut Notes,
) -> Result<Option<Role>, ServiceError> {
    const ROLES: [Role; 5] = [
        Role::Check,
        Role::Train,
        Role::Predict,
        Role::Sd,
        Role::Echo,
    ];
    let Some(given) = root.take("metadata.photog_role") else {
        return Ok(None);
    };
    let word = given.text()?;
    let Some(role) = ROLES.into_iter().find(|role| role.as_str() == word) else {
        let word = shortened(word);
        return Err(given.refuse(format!(
            "there is no role `{word}`; write `check`, `train`, `predict`, `sd` or `echo`"
        )));
    };
    let reason = "chooses the engine, whatever image and name say";
    notes.honour(&given.field, Some(given.value), word, reason);
    Ok(Some(role))
}

/// How long the engine `echo` works on an entry; reported for every other engine.
pub(super) fn echo(
    role: Option<Role>,
    root: &mut Section,
    notes: &mut Notes,
) -> Result<Duration, ServiceError> {
    const DEFAULT_MS: u64 = 20;
    const PATH: &str = "metadata.photog_echo_ms";
    if role != Some(Role::Echo) {
        root.report(PATH, "only the engine `echo` uses it", notes);
        return Ok(Duration::from_millis(DEFAULT_MS));
    }
    let work = Whole {
        path: PATH,
        range: 0..=MOST_SECONDS * 1000,
        default: DEFAULT_MS,
        meaning: "milliseconds of work on one entry",
    };
    root.whole(&work, notes).map(Duration::from_millis)
}

/// Bytes of device memory that each slot reserves.
pub(super) fn slot_memory(root: &mut Section, notes: &mut Notes) -> Result<u64, ServiceError> {
    let rule = Whole {
        path: "metadata.photog_slot_memory_mib",
        range: 0..=1 << 30,
        default: 0,
        meaning: "MiB of `device_memory_mib` that each slot reserves; 0 reserves none",
    };
    Ok(root.whole(&rule, notes)? * MIB)
}

/// Longest work on one entry.
pub(super) fn keepalive(root: &mut Section, notes: &mut Notes) -> Result<Duration, ServiceError> {
    let rule = Whole {
        path: "metadata.rpc.keepalive",
        range: 1..=MOST_SECONDS * 1000,
        default: 600_000,
        meaning: "milliseconds of work on one entry, from the moment a slot takes it",
    };
    root.whole(&rule, notes).map(Duration::from_millis)
}

/// How many entries a slot holds at once.
pub(super) fn worker_threads(
    kind: ServiceKind,
    root: &mut Section,
    notes: &mut Notes,
) -> Result<u32, ServiceError> {
    const PATH: &str = "metadata.rpc.worker_threads";
    if kind == ServiceKind::ScalableJob {
        let given = root.take(PATH);
        if let Some(given) = &given
            && given.whole()? == 0
        {
            return Err(given.refuse("0 is too small; write 1 or more"));
        }
        let field = given.as_ref().map_or(PATH, |given| &given.field);
        let reason = "a Scalable Job hands an entry to an idle slot only, one at a time";
        notes.map(field, given.as_ref().map(|given| given.value), 1, reason);
        return Ok(1);
    }
    let rule = Whole {
        path: PATH,
        range: 1..=MOST_WORKER_THREADS,
        default: 5,
        meaning: "entries that one slot holds; it works on one at a time, the others wait for it",
    };
    Ok(root.whole(&rule, notes)? as u32)
}
