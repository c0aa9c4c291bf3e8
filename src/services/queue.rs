//! `queue`: rules and limits of the two queues of a service.

use std::time::Duration;

use super::{
    Machine,
    error::{ServiceError, shortened},
    metadata::MOST_SECONDS,
    notes::Notes,
    reader::{Given, Section, Whole},
};
use crate::domain::{DeadMessagePolicy, KIB, MIB, QueueSettings, SideSettings};

/// The cloud gives a queue 4 GB.
const DEFAULT_MEMORY_MB: u64 = 4096;
const DEFAULT_SINK_RATIO: f64 = 0.5;

/// Largest entry by default. The cloud's 8 KB would hold no picture.
const DEFAULT_PAYLOAD_KB: u64 = 20480;

/// Reads `queue`.
pub(super) fn read(
    root: &mut Section,
    notes: &mut Notes,
    machine: &Machine,
) -> Result<QueueSettings, ServiceError> {
    let max_delivery = Whole {
        path: "queue.max_delivery",
        range: 0..=u64::from(u32::MAX),
        default: 5,
        meaning: "how often one entry is handed out, 0 is without limit",
    };
    let group_grace = Whole {
        path: "queue.group_grace_seconds",
        range: 0..=MOST_SECONDS,
        default: 10,
        meaning: "seconds that a group is remembered after its last consumer left",
    };
    let (source_bytes, sink_bytes) = store_bytes(root, notes, machine)?;
    Ok(QueueSettings {
        max_delivery: root.whole(&max_delivery, notes)? as u32,
        dead_message_policy: dead_message_policy(root, notes)?,
        group_grace: Duration::from_secs(root.whole(&group_grace, notes)?),
        source: source(source_bytes, root, notes)?,
        sink: sink(sink_bytes, root, notes)?,
    })
}

/// Payload bytes that the input queue and the sink may hold.
fn store_bytes(
    root: &mut Section,
    notes: &mut Notes,
    machine: &Machine,
) -> Result<(u64, u64), ServiceError> {
    const PATH: &str = "queue.memory";
    let given = root.take(PATH);
    let asked_mb = match &given {
        None => DEFAULT_MEMORY_MB,
        Some(given) => match given.whole()? {
            0 => return Err(given.refuse("0 leaves no room for entries; write 1 or more (MB)")),
            asked => asked,
        },
    };
    let asked = asked_mb.saturating_mul(MIB);
    let total = asked.min(machine.store_bytes);
    let reason = if total < asked {
        format!("payload bytes of both queues; {asked_mb} MB is above this program's own limit")
    } else {
        format!("payload bytes of both queues, {asked_mb} MB")
    };
    let field = given.as_ref().map_or(PATH, |given| &given.field);
    notes.map(
        field,
        given.as_ref().map(|given| given.value),
        total,
        reason,
    );

    let sink = (total as f64 * sink_ratio(root, notes)?) as u64;
    let sink = sink.min(total);
    Ok((total - sink, sink))
}

fn sink_ratio(root: &mut Section, notes: &mut Notes) -> Result<f64, ServiceError> {
    const PATH: &str = "queue.sink.memory_ratio";
    const MEANING: &str = "the sink's share of the payload bytes of both queues";
    let Some(given) = root.take(PATH) else {
        let reason = format!("default; {MEANING}");
        notes.map(PATH, None, DEFAULT_SINK_RATIO, reason);
        return Ok(DEFAULT_SINK_RATIO);
    };
    let ratio = given.number()?;
    if ratio <= 0.0 || ratio >= 1.0 {
        return Err(given.refuse(format!(
            "{ratio} leaves one of the two queues without room; write a number between 0 and 1"
        )));
    }
    notes.map(&given.field, Some(given.value), ratio, MEANING);
    Ok(ratio)
}

fn dead_message_policy(
    root: &mut Section,
    notes: &mut Notes,
) -> Result<DeadMessagePolicy, ServiceError> {
    const PATH: &str = "queue.dead_message_policy";
    const MEANING: &str = "what becomes of an entry that was handed out too often";
    let Some(given) = root.take(PATH) else {
        notes.honour(PATH, None, "Rear", format!("default; {MEANING}"));
        return Ok(DeadMessagePolicy::Rear);
    };
    let word = given.text()?;
    let policy = match word {
        "Rear" => DeadMessagePolicy::Rear,
        "Drop" => DeadMessagePolicy::Drop,
        other => {
            let other = shortened(other);
            return Err(given.refuse(format!("`{other}` is unknown; write `Rear` or `Drop`")));
        }
    };
    notes.honour(&given.field, Some(given.value), word, MEANING);
    Ok(policy)
}

fn source(
    max_bytes: u64,
    root: &mut Section,
    notes: &mut Notes,
) -> Result<SideSettings, ServiceError> {
    if let Some(given) = root.take("queue.source.auto_evict") {
        given.flag()?;
        let reason = "an input entry that was not delivered is never dropped";
        notes.report(&given.field, given.value, reason);
    }
    let payload = "queue.source.max_payload_size_kb";
    Ok(SideSettings {
        max_payload_bytes: payload_bytes(payload, max_bytes, root, notes)?,
        max_entries: max_entries("queue.source.max_entries", root, notes)?,
        max_bytes,
        auto_evict: false,
    })
}

fn sink(
    max_bytes: u64,
    root: &mut Section,
    notes: &mut Notes,
) -> Result<SideSettings, ServiceError> {
    const EVICT: &str = "queue.sink.auto_evict";
    let given = root.take(EVICT);
    let auto_evict = given.as_ref().map_or(Ok(false), Given::flag)?;
    notes.honour(
        given.as_ref().map_or(EVICT, |given| &given.field),
        given.as_ref().map(|given| given.value),
        auto_evict,
        "whether a full sink drops its oldest entry for a new one",
    );
    let payload = "queue.sink.max_payload_size_kb";
    Ok(SideSettings {
        max_payload_bytes: payload_bytes(payload, max_bytes, root, notes)?,
        max_entries: max_entries("queue.sink.max_entries", root, notes)?,
        max_bytes,
        auto_evict,
    })
}

/// Largest entry in bytes, never more than its queue may hold.
fn payload_bytes(
    path: &'static str,
    max_bytes: u64,
    root: &mut Section,
    notes: &mut Notes,
) -> Result<u64, ServiceError> {
    let most_kb = (max_bytes / KIB).max(1);
    let rule = Whole {
        path,
        range: 1..=most_kb,
        default: DEFAULT_PAYLOAD_KB.min(most_kb),
        meaning: "largest entry in KB of 1024 bytes; exactly this much is accepted",
    };
    Ok((root.whole(&rule, notes)? * KIB).min(max_bytes))
}

fn max_entries(
    path: &'static str,
    root: &mut Section,
    notes: &mut Notes,
) -> Result<Option<u64>, ServiceError> {
    const MEANING: &str = "most entries in this queue";
    let Some(given) = root.take(path) else {
        let reason = format!("default, without limit; {MEANING}");
        notes.honour(path, None, serde_json::Value::Null, reason);
        return Ok(None);
    };
    let most = given.whole()?;
    if most == 0 {
        return Err(given.refuse("0 lets no entry in; write 1 or more, or leave it out"));
    }
    notes.honour(&given.field, Some(given.value), most, MEANING);
    Ok(Some(most))
}
