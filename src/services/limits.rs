//! Limits at the door: puts per second and requests at once.

use super::{
    error::ServiceError,
    notes::Notes,
    reader::{Section, Whole},
};

/// Most that a limit can be; anything above is as good as no limit.
const MOST: u64 = u32::MAX as u64;

/// Puts per second for the whole service, 0 for no limit: the lower one of the program's and the
/// gateway's.
pub(super) fn rate(root: &mut Section, notes: &mut Notes) -> Result<u32, ServiceError> {
    let rule = Whole {
        path: "metadata.rpc.rate_limit",
        range: 0..=MOST,
        default: 0,
        meaning: "puts per second, 0 is off; all slots share one queue, so it counts per service",
    };
    let own = root.whole(&rule, notes)? as u32;
    let gateway = gateway_limit("rate_limit", "puts per second", root, notes)?;
    Ok(match (own, gateway) {
        (0, limit) | (limit, 0) => limit,
        (own, gateway) => own.min(gateway),
    })
}

/// Requests at once on the service's routes, 0 for no limit.
pub(super) fn concurrency(root: &mut Section, notes: &mut Notes) -> Result<u32, ServiceError> {
    gateway_limit("concurrency_limit", "requests at once", root, notes)
}

/// A limit counts unless it is switched off: whoever writes one wants one.
fn gateway_limit(
    name: &str,
    meaning: &str,
    root: &mut Section,
    notes: &mut Notes,
) -> Result<u32, ServiceError> {
    let base = format!("networking.gateway_policy.{name}");
    let switch = root.take(&format!("{base}.enable"));
    let is_on = match &switch {
        Some(given) => {
            let is_on = given.flag()?;
            notes.honour(&given.field, Some(given.value), is_on, "switches the limit");
            is_on
        }
        None => true,
    };
    let Some(given) = root.take(&format!("{base}.limit")) else {
        if let Some(switch) = switch.filter(|_| is_on) {
            notes.warn(format!(
                "`{}` is `true`, but there is no `{base}.limit`: nothing is limited",
                switch.field
            ));
        }
        return Ok(0);
    };
    let asked = given.whole()?;
    let limit = if is_on { asked.min(MOST) as u32 } else { 0 };
    let reason = if is_on {
        format!("{meaning}, 0 is off")
    } else {
        String::from("switched off")
    };
    notes.honour(&given.field, Some(given.value), limit, reason);
    Ok(limit)
}
