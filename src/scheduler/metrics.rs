//! From load to a recommended number of slots.
//!
//! The formula of the cloud: current number times value over threshold, rounded up, with a band
//! of 10 % around the threshold in which nothing changes. It knows neither past nor devices.

use std::time::Duration;

use super::snapshot::ServiceSnapshot;
use crate::domain::{Metric, Strategy};

/// Relative distance from the threshold within which nothing changes.
const TOLERANCE: f64 = 0.1;

/// Guard against rounding: 1.1 - 1 is not exactly 0.1, 3 * (1/3) not always exactly 1.
const ROUNDING: f64 = 1e-9;

/// The slots that the load of this moment asks for, before any limit, with `active` slots that
/// are not draining. The largest target of all strategies counts; without any, the size is fixed.
pub(super) fn target(service: &ServiceSnapshot, active: u32) -> u32 {
    let policy = &service.policy;
    if policy.strategies.is_empty() {
        return policy.min;
    }
    if active == 0 {
        return if has_work(service) {
            policy.activation_replicas.max(1)
        } else {
            0
        };
    }
    policy
        .strategies
        .iter()
        .map(|strategy| target_of(service, *strategy, active))
        .max()
        .unwrap_or(0)
}

/// True when the last slot has to stay because the zero grace is not over.
pub(super) fn holds_last_slot(service: &ServiceSnapshot, now: Duration) -> bool {
    let grace_is_over = service
        .quiet_since
        .is_some_and(|since| since.saturating_add(service.policy.zero_grace) <= now);
    has_work(service) || !grace_is_over
}

fn has_work(service: &ServiceSnapshot) -> bool {
    service.waiting > 0 || service.in_hand > 0
}

fn target_of(service: &ServiceSnapshot, strategy: Strategy, active: u32) -> u32 {
    let total = match strategy.metric {
        Metric::Backlog => service.waiting.saturating_add(service.in_hand) as f64,
        Metric::Waiting => service.waiting as f64,
        Metric::PutRate => service.puts_per_second,
    };
    let ratio = total / f64::from(active) / strategy.threshold;
    if (ratio - 1.0).abs() <= TOLERANCE + ROUNDING {
        return active;
    }
    // Float to integer saturates, and what is not a number becomes 0.
    (f64::from(active) * ratio - ROUNDING).ceil() as u32
}
