//! A service as the JSON API shows it. Holds no secret.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use serde_json::Value;

use super::{
    Service,
    notes::{EffectiveValue, NotApplicable},
};
use crate::domain::{Metric, Role, ScalingPolicy, Strategy};

/// One item of `GET /api/services`, without its slots, which only the scheduler knows.
#[derive(Debug, Serialize)]
pub struct ServiceView<'a> {
    /// Name and last part of the address.
    pub name: &'a str,
    /// Engine; `null` for a `Queue`.
    pub role: Option<&'static str>,
    /// Service type in effect.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Scaling in effect.
    pub autoscaler: AutoscalerView<'a>,
    /// The JSON as it was given, secrets masked.
    pub given: &'a Value,
    /// Every known field with its value in effect.
    pub effective: &'a [EffectiveValue],
    /// Fields that were given and have no effect.
    pub not_applicable: &'a [NotApplicable],
    /// What the operator should know.
    pub warnings: &'a [String],
}

/// Scaling in effect.
#[derive(Debug, Serialize)]
pub struct AutoscalerView<'a> {
    /// Fewest slots.
    pub min: u32,
    /// Most slots on this machine.
    pub max: u32,
    /// Most slots as declared.
    pub declared_max: u32,
    /// Why `max` is what it is.
    pub reason: &'a str,
    /// Metric to threshold per slot; empty for a fixed number of slots.
    pub strategies: BTreeMap<&'static str, f64>,
    /// Windows and steps, in the form of the service JSON.
    pub behavior: BehaviorView,
}

/// `autoscaler.behavior` in effect.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BehaviorView {
    /// Growing.
    pub scale_up: WindowView,
    /// Shrinking.
    pub scale_down: WindowView,
    /// Going to zero and leaving it.
    pub on_zero: ZeroView,
}

/// How long a recommendation has to last.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowView {
    /// Seconds.
    pub stabilization_window_seconds: u64,
}

/// Going to zero and leaving it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ZeroView {
    /// Seconds without a request before the last slot goes.
    pub scale_down_grace_period_seconds: u64,
    /// Slots made at once when leaving zero.
    pub scale_up_activation_replicas: u32,
}

impl<'a> ServiceView<'a> {
    pub(super) fn of(service: &'a Service) -> Self {
        let spec = &service.spec;
        Self {
            name: &spec.name,
            role: spec.role.map(Role::as_str),
            kind: spec.kind.as_str(),
            autoscaler: AutoscalerView {
                min: spec.scaling.min,
                max: spec.scaling.max,
                declared_max: service.declared_max,
                reason: &service.scaling_reason,
                strategies: strategies(&spec.scaling),
                behavior: behavior(&spec.scaling),
            },
            given: &service.given,
            effective: &service.effective,
            not_applicable: &service.not_applicable,
            warnings: &service.warnings,
        }
    }
}

fn strategies(policy: &ScalingPolicy) -> BTreeMap<&'static str, f64> {
    let shown = |strategy: &Strategy| (word(strategy.metric), strategy.threshold);
    policy.strategies.iter().map(shown).collect()
}

/// The key of a metric in `strategies`.
pub(super) const fn word(metric: Metric) -> &'static str {
    match metric {
        Metric::Backlog => "queue[backlog]",
        Metric::Waiting => "avg_waiting_length",
        Metric::PutRate => "qps",
    }
}

fn behavior(policy: &ScalingPolicy) -> BehaviorView {
    let window = |length: Duration| WindowView {
        stabilization_window_seconds: length.as_secs(),
    };
    BehaviorView {
        scale_up: window(policy.scale_up_window),
        scale_down: window(policy.scale_down_window),
        on_zero: ZeroView {
            scale_down_grace_period_seconds: policy.zero_grace.as_secs(),
            scale_up_activation_replicas: policy.activation_replicas,
        },
    }
}
