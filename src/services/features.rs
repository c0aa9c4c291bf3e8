//! `features`: switches with long names, of which one has an effect here.

use super::{
    Machine,
    error::{ServiceError, shortened},
    notes::Notes,
    reader::{Given, Section},
};
use crate::domain::{KIB, MIB};

const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;

/// Scratch space in bytes that the service asks for, at most what the disk has free.
pub(super) fn scratch_bytes(
    root: &mut Section,
    notes: &mut Notes,
    machine: &Machine,
) -> Result<Option<u64>, ServiceError> {
    const MEANING: &str = "bytes of scratch space on the disk of the data folder";
    let Some(given) = root.take("features.eas.aliyun.com/extra-ephemeral-storage") else {
        return Ok(None);
    };
    let asked = quantity(&given)?;
    let free = machine.free_disk_bytes;
    let bytes = asked.min(free);
    let reason = if bytes < asked {
        notes.warn(format!(
            "`{}` asks for {asked} bytes of disk and {free} are free; make room or ask for less",
            given.field
        ));
        format!("lowered to what is free; {MEANING}")
    } else {
        MEANING.to_owned()
    };
    notes.map(&given.field, Some(given.value), bytes, reason);
    Ok(Some(bytes))
}

/// Bytes of a quantity such as `100Gi`, `1.5Ti` or `1048576`. More than 64 bits hold saturates.
fn quantity(given: &Given) -> Result<u64, ServiceError> {
    const UNITS: [(&str, u64); 4] = [("Ki", KIB), ("Mi", MIB), ("Gi", GIB), ("Ti", TIB)];
    let Some(text) = given.value.as_str() else {
        return given.whole();
    };
    let text = text.trim();
    let (digits, unit) = UNITS
        .into_iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))
        .unwrap_or((text, 1));
    let is_plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let in_bytes = match digits.parse::<u64>() {
        Ok(whole) => Some(whole.saturating_mul(unit)),
        // The cast saturates.
        Err(_) => digits
            .parse()
            .ok()
            .map(|part: f64| (part * unit as f64) as u64),
    };
    // Rust's number parser also knows signs, exponents and infinities; a quantity has none.
    in_bytes.filter(|_| is_plain).ok_or_else(|| {
        let text = shortened(text);
        given.refuse(format!(
            "`{text}` is no quantity; write bytes, or a number with Ki, Mi, Gi or Ti"
        ))
    })
}
