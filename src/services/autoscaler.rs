//! `autoscaler` and `metadata.instance`: how many slots there are and when that changes.
//!
//! Defaults follow the table of the cloud's pages: an `Async` service does not scale unless it is
//! asked to; a `ScalableJob` always does, and what is given replaces its default block member by
//! member, `strategies` as a whole.

use std::time::Duration;

use super::{
    Machine,
    error::ServiceError,
    metadata::MOST_SECONDS,
    notes::Notes,
    reader::{Given, Section, Whole},
    view::word,
};
use crate::domain::{Metric, Role, ScalingPolicy, ServiceKind, Strategy};

/// Most slots that any service can declare, as in the cloud.
pub(super) const MOST_SLOTS: u32 = 1000;

const SCALE_UP: &str = "autoscaler.behavior.scaleUp.stabilizationWindowSeconds";
const SCALE_DOWN: &str = "autoscaler.behavior.scaleDown.stabilizationWindowSeconds";
const ZERO_GRACE: &str = "autoscaler.behavior.onZero.scaleDownGracePeriodSeconds";

/// How a service scales.
pub(super) struct Scaling {
    pub policy: ScalingPolicy,
    /// Slots at the start.
    pub instances: u32,
    /// Most slots as declared, before the machine's limit.
    pub declared_max: u32,
    /// Why `policy` has these bounds.
    pub reason: String,
}

/// The members that stand in for those that were not given.
struct Defaults {
    bounds: Option<(u64, u64)>,
    strategy: Option<Strategy>,
    scale_down_seconds: u64,
    zero_grace_seconds: u64,
}

const ASYNC: Defaults = Defaults {
    bounds: None,
    strategy: None,
    scale_down_seconds: 300,
    zero_grace_seconds: 600,
};

const SCALABLE_JOB: Defaults = Defaults {
    bounds: Some((1, 10)),
    strategy: Some(Strategy {
        metric: Metric::Waiting,
        threshold: 2.0,
    }),
    scale_down_seconds: 1,
    zero_grace_seconds: 60,
};

/// Most slots on this machine and the reason.
struct SlotLimit {
    most: u32,
    reason: String,
}

/// Reads `autoscaler` and `metadata.instance`. Without a role there is nobody to scale.
pub(super) fn read(
    kind: ServiceKind,
    role: Option<Role>,
    root: &mut Section,
    notes: &mut Notes,
    machine: &Machine,
) -> Result<Scaling, ServiceError> {
    let Some(role) = role else {
        return Ok(Scaling {
            policy: ScalingPolicy::fixed(0),
            instances: 0,
            declared_max: 0,
            reason: String::from("a `Queue` has no worker"),
        });
    };
    let limit = slot_limit(role, machine);
    let scaling = match kind {
        ServiceKind::ScalableJob => scaled(&SCALABLE_JOB, &limit, root, notes)?,
        _ if root.has_below("autoscaler") => scaled(&ASYNC, &limit, root, notes)?,
        _ => fixed(&limit, root, notes)?,
    };
    if scaling.policy.max == 0 {
        notes.warn(
            "the service never has a slot, so its entries will wait for ever; raise \
             `metadata.instance`, or `autoscaler.max` if there is one",
        );
    }
    Ok(scaling)
}

/// `echo` needs no device: its slots only wait.
fn slot_limit(role: Role, machine: &Machine) -> SlotLimit {
    let (most, giver) = match (role, machine.device_slots) {
        (Role::Echo, _) => (MOST_SLOTS, "one process"),
        (_, Some(most)) => (most, "device"),
        (_, None) => (machine.cores.max(1), "number of cores"),
    };
    let most = most.min(MOST_SLOTS);
    SlotLimit {
        most,
        reason: format!("{giver} allows {}", slots(most)),
    }
}

fn slots(count: u32) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} slot{plural}")
}

fn fixed(
    limit: &SlotLimit,
    root: &mut Section,
    notes: &mut Notes,
) -> Result<Scaling, ServiceError> {
    let given = root.take("metadata.instance");
    let asked = given.as_ref().map_or(Ok(1), Given::whole)?;
    let size = asked.min(u64::from(limit.most)) as u32;
    let reason = if u64::from(size) < asked {
        limit.reason.clone()
    } else {
        String::from("no `autoscaler`, so the number of slots is fixed")
    };
    note_instances(given.as_ref(), size, &reason, notes);
    Ok(Scaling {
        policy: ScalingPolicy::fixed(size),
        instances: size,
        declared_max: u32::try_from(asked).unwrap_or(u32::MAX),
        reason,
    })
}

fn scaled(
    defaults: &Defaults,
    limit: &SlotLimit,
    root: &mut Section,
    notes: &mut Notes,
) -> Result<Scaling, ServiceError> {
    let is_default = !root.has_below("autoscaler");
    let (min, max) = declared_bounds(defaults, root)?;
    let declared_max = max.count;
    let policy = ScalingPolicy {
        min: min.lowered(limit, notes),
        max: max.lowered(limit, notes),
        strategies: strategies(defaults, root, notes)?,
        scale_up_window: seconds(
            SCALE_UP,
            0,
            "seconds that the need lasts before growing",
            root,
            notes,
        )?,
        scale_down_window: seconds(
            SCALE_DOWN,
            defaults.scale_down_seconds,
            "seconds that the surplus lasts before shrinking",
            root,
            notes,
        )?,
        zero_grace: seconds(
            ZERO_GRACE,
            defaults.zero_grace_seconds,
            "seconds without a request before the last slot goes",
            root,
            notes,
        )?,
        activation_replicas: activation_replicas(root, notes)?,
    };
    let reason = match (u64::from(policy.max) < declared_max, is_default) {
        (true, _) => limit.reason.clone(),
        (false, true) => String::from("default of a Scalable Job"),
        (false, false) => String::from("as given"),
    };
    Ok(Scaling {
        instances: initial(&policy, root, notes)?,
        policy,
        declared_max: u32::try_from(declared_max).unwrap_or(u32::MAX),
        reason,
    })
}

/// `min` or `max` as declared.
struct Bound<'a> {
    path: &'static str,
    given: Option<Given<'a>>,
    count: u64,
}

impl<'a> Bound<'a> {
    fn read(
        path: &'static str,
        default: Option<u64>,
        root: &mut Section<'a>,
    ) -> Result<Self, ServiceError> {
        let given = root.take(path);
        let count = match (&given, default) {
            (Some(given), _) => given.whole()?,
            (None, Some(default)) => default,
            (None, None) => {
                let reason = "it is missing; write `min`, `max` and `strategies`, or leave out \
                              `autoscaler` for a fixed number of slots";
                return Err(ServiceError::field(path, reason));
            }
        };
        Ok(Self { path, given, count })
    }

    /// The bound in effect, recorded.
    fn lowered(&self, limit: &SlotLimit, notes: &mut Notes) -> u32 {
        let count = self.count.min(u64::from(limit.most)) as u32;
        let field = self.field();
        let reason = if u64::from(count) < self.count {
            limit.reason.as_str()
        } else if self.given.is_none() {
            "default of a Scalable Job"
        } else {
            "slots"
        };
        let value = self.given.as_ref().map(|given| given.value);
        notes.honour(field, value, count, reason);
        count
    }

    fn field(&self) -> &str {
        self.given
            .as_ref()
            .map_or(self.path, |given| given.field.as_str())
    }

    fn origin(&self) -> &'static str {
        if self.given.is_some() {
            ""
        } else {
            " (the default)"
        }
    }
}

fn declared_bounds<'a>(
    defaults: &Defaults,
    root: &mut Section<'a>,
) -> Result<(Bound<'a>, Bound<'a>), ServiceError> {
    let min = Bound::read("autoscaler.min", defaults.bounds.map(|(min, _)| min), root)?;
    let max = Bound::read("autoscaler.max", defaults.bounds.map(|(_, max)| max), root)?;
    if min.count > max.count {
        return Err(ServiceError::field(
            if min.given.is_some() {
                min.field()
            } else {
                max.field()
            },
            format!(
                "`min` is {}{} and `max` is {}{}, so no number of slots fits; raise `max` or lower \
                 `min`",
                min.count,
                min.origin(),
                max.count,
                max.origin(),
            ),
        ));
    }
    Ok((min, max))
}

fn seconds(
    path: &'static str,
    default: u64,
    meaning: &'static str,
    root: &mut Section,
    notes: &mut Notes,
) -> Result<Duration, ServiceError> {
    let rule = Whole {
        path,
        range: 0..=MOST_SECONDS,
        default,
        meaning,
    };
    root.whole(&rule, notes).map(Duration::from_secs)
}

fn activation_replicas(root: &mut Section, notes: &mut Notes) -> Result<u32, ServiceError> {
    let rule = Whole {
        path: "autoscaler.behavior.onZero.scaleUpActivationReplicas",
        range: 1..=u64::from(MOST_SLOTS),
        default: 1,
        meaning: "slots made at once when leaving zero, as far as `max` allows",
    };
    Ok(root.whole(&rule, notes)? as u32)
}

/// Slots at the start: what is declared, inside the bounds.
fn initial(
    policy: &ScalingPolicy,
    root: &mut Section,
    notes: &mut Notes,
) -> Result<u32, ServiceError> {
    let given = root.take("metadata.instance");
    let asked = given.as_ref().map_or(Ok(1), Given::whole)?;
    let count = asked.clamp(policy.min.into(), policy.max.into()) as u32;
    note_instances(given.as_ref(), count, "inside `min` and `max`", notes);
    Ok(count)
}

fn note_instances(given: Option<&Given>, count: u32, reason: &str, notes: &mut Notes) {
    notes.map(
        given.map_or("metadata.instance", |given| &given.field),
        given.map(|given| given.value),
        count,
        format!("slots at the start; {reason}"),
    );
}

/// The strategies that are given, or the default one if there are none. At most one for each
/// metric stays: the one with the lower threshold, since the largest target counts.
fn strategies(
    defaults: &Defaults,
    root: &mut Section,
    notes: &mut Notes,
) -> Result<Vec<Strategy>, ServiceError> {
    const PATH: &str = "autoscaler.strategies";
    let empty_object = root.take(PATH);
    let given = root.take_below(PATH);
    if let (true, None, Some(strategy)) = (given.is_empty(), empty_object, defaults.strategy) {
        let field = format!("{PATH}.{}", word(strategy.metric));
        notes.honour(
            &field,
            None,
            strategy.threshold,
            "default of a Scalable Job",
        );
        return Ok(vec![strategy]);
    }
    let mut strategies: Vec<Strategy> = Vec::new();
    for (key, given) in given {
        let Some(metric) = metric(&key) else {
            notes.report(&given.field, given.value, "no such metric is measured here");
            continue;
        };
        let threshold = given.number()?;
        if threshold <= 0.0 {
            return Err(given.refuse(format!("{threshold} is no threshold; write one above 0")));
        }
        let reason = "wanted value per slot";
        notes.honour(&given.field, Some(given.value), threshold, reason);
        match strategies.iter_mut().find(|known| known.metric == metric) {
            Some(known) => known.threshold = known.threshold.min(threshold),
            None => strategies.push(Strategy { metric, threshold }),
        }
    }
    if strategies.is_empty() {
        let reason = "no usable metric; write `queue[backlog]`, `avg_waiting_length` or `qps`";
        return Err(ServiceError::field(PATH, reason));
    }
    Ok(strategies)
}

fn metric(key: &str) -> Option<Metric> {
    match key {
        "queue[backlog]" | "queue[avgbacklog]" => Some(Metric::Backlog),
        "avg_waiting_length" | "queue[avg_waiting_length]" => Some(Metric::Waiting),
        "qps" => Some(Metric::PutRate),
        _ => None,
    }
}
