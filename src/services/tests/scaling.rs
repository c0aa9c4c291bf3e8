//! Which numbers of slots and which windows are in effect.

use std::time::Duration;

use super::*;
use crate::domain::{Metric, ScalingPolicy};

fn scaling(kind: &str, autoscaler: Value) -> ScalingPolicy {
    loaded(&with(kind, "autoscaler", autoscaler)).spec.scaling
}

fn seconds(policy: &ScalingPolicy) -> [u64; 3] {
    [
        policy.scale_up_window,
        policy.scale_down_window,
        policy.zero_grace,
    ]
    .map(|time| time.as_secs())
}

fn thresholds(policy: &ScalingPolicy) -> Vec<(Metric, f64)> {
    let pair = |strategy: &crate::domain::Strategy| (strategy.metric, strategy.threshold);
    policy.strategies.iter().map(pair).collect()
}

#[test]
fn async_without_autoscaler_keeps_its_instances_for_ever() {
    for (given, size) in [(json!(null), 1), (json!(3), 3), (json!("4"), 4)] {
        let spec = loaded(&with("Async", "metadata/instance", given)).spec;
        assert_eq!(spec.scaling, ScalingPolicy::fixed(size));
        assert_eq!(spec.instances, size);
    }
    assert_eq!(scaling("Async", json!({})), ScalingPolicy::fixed(1));
}

#[test]
fn async_with_autoscaler_fills_missing_behaviour_with_the_slow_defaults() {
    let policy = scaling(
        "Async",
        json!({"min": 0, "max": 9, "strategies": {"queue[backlog]": 3}}),
    );
    assert_eq!((policy.min, policy.max), (0, 9));
    assert_eq!(seconds(&policy), [0, 300, 600]);
    assert_eq!(policy.activation_replicas, 1);
    assert_eq!(thresholds(&policy), [(Metric::Backlog, 3.0)]);
}

#[test]
fn a_scalable_job_scales_without_being_asked() {
    let policy = loaded(&sample("ScalableJob")).spec.scaling;
    assert_eq!((policy.min, policy.max), (1, 10));
    assert_eq!(seconds(&policy), [0, 1, 60]);
    assert_eq!(thresholds(&policy), [(Metric::Waiting, 2.0)]);
}

#[test]
fn members_of_a_partial_autoscaler_replace_the_default_ones_one_by_one() {
    let policy = scaling("ScalableJob", json!({"max": 20}));
    assert_eq!((policy.min, policy.max), (1, 20));
    assert_eq!(thresholds(&policy), [(Metric::Waiting, 2.0)]);

    let window = json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}});
    let policy = scaling("ScalableJob", window);
    assert_eq!((policy.min, policy.max), (1, 10));
    assert_eq!(seconds(&policy), [0, 5, 60]);

    let zero = json!({"min": 0, "behavior": {"onZero":
        {"scaleDownGracePeriodSeconds": 120, "scaleUpActivationReplicas": 3}}});
    let policy = scaling("ScalableJob", zero);
    assert_eq!((policy.min, policy.max), (0, 10));
    assert_eq!(seconds(&policy), [0, 1, 120]);
    assert_eq!(policy.activation_replicas, 3);
}

#[test]
fn strategies_replace_the_default_ones_as_a_whole() {
    let policy = scaling(
        "ScalableJob",
        json!({"strategies": {"qps": 5, "queue[backlog]": 1}}),
    );
    assert_eq!(
        thresholds(&policy),
        [(Metric::PutRate, 5.0), (Metric::Backlog, 1.0)]
    );
}

#[test]
fn every_name_of_a_metric_is_known_and_the_rest_is_reported() {
    for (key, metric) in [
        ("queue[backlog]", Metric::Backlog),
        ("queue[avgbacklog]", Metric::Backlog),
        ("avg_waiting_length", Metric::Waiting),
        ("queue[avg_waiting_length]", Metric::Waiting),
        ("qps", Metric::PutRate),
    ] {
        let policy = scaling("ScalableJob", json!({"strategies": {key: 1.5}}));
        assert_eq!(thresholds(&policy), [(metric, 1.5)], "{key}");
    }
    for key in ["cpu", "gpu", "qps1k", "tokens"] {
        let strategies = json!({"strategies": {"qps": 1, key: 40}});
        let service = loaded(&with("ScalableJob", "autoscaler", strategies));
        assert_eq!(service.spec.scaling.strategies.len(), 1, "{key}");
        assert_reported(&service, &format!("autoscaler.strategies.{key}"));
    }
}

#[test]
fn of_two_names_of_one_metric_the_lower_threshold_counts() {
    let policy = scaling(
        "ScalableJob",
        json!({"strategies": {"queue[backlog]": 4, "queue[avgbacklog]": 3}}),
    );
    assert_eq!(thresholds(&policy), [(Metric::Backlog, 3.0)]);
}

#[test]
fn instances_start_inside_the_bounds() {
    let autoscaler = json!({"min": 2, "max": 4, "strategies": {"qps": 1}});
    for (given, instances) in [
        (json!(null), 2),
        (json!(0), 2),
        (json!(3), 3),
        (json!(9), 4),
    ] {
        let mut document = with("Async", "autoscaler", autoscaler.clone());
        document["metadata"]["instance"] = given;
        assert_eq!(loaded(&document).spec.instances, instances);
    }
}

#[test]
fn the_machine_lowers_bounds_and_says_so() {
    let one_slot = Machine {
        device_slots: Some(1),
        ..ROOMY
    };
    let document = with("ScalableJob", "autoscaler", json!({"min": 2, "max": 5}));
    let service = load(&document.to_string(), &one_slot).unwrap();
    let view = serde_json::to_value(service.view()).unwrap();
    assert_eq!(view["autoscaler"]["min"], 1);
    assert_eq!(view["autoscaler"]["max"], 1);
    assert_eq!(view["autoscaler"]["declared_max"], 5);
    assert_eq!(view["autoscaler"]["reason"], "device allows 1 slot");
    assert_eq!(entry(&service, "autoscaler.max").effective, 1);
    assert_eq!(service.spec.instances, 1);
    // The view says so where the bounds stand; it is no reason to worry.
    assert_eq!(service.warnings, [""; 0]);

    let fixed = with("Async", "metadata/instance", json!(5));
    let service = load(&fixed.to_string(), &one_slot).unwrap();
    assert_eq!(service.spec.scaling, ScalingPolicy::fixed(1));
    assert_eq!(service.declared_max, 5);
    assert_eq!(service.scaling_reason, "device allows 1 slot");
}

#[test]
fn cores_limit_slots_where_the_device_does_not_and_never_those_of_echo() {
    let small = Machine { cores: 2, ..ROOMY };
    let mut document = sample("ScalableJob");
    let service = load(&document.to_string(), &small).unwrap();
    assert_eq!((service.spec.scaling.max, service.declared_max), (2, 10));

    document["metadata"]["photog_role"] = json!("echo");
    let service = load(&document.to_string(), &small).unwrap();
    assert_eq!((service.spec.scaling.max, service.declared_max), (10, 10));
}

#[test]
fn numbers_that_no_machine_reaches_are_lowered() {
    let endless = json!(u64::MAX);
    let autoscaler = json!({"max": endless, "behavior": {
        "scaleDown": {"stabilizationWindowSeconds": endless},
        "onZero": {"scaleUpActivationReplicas": endless}}});
    let mut document = with("ScalableJob", "autoscaler", autoscaler);
    document["metadata"]["photog_role"] = json!("echo");
    let service = loaded(&document);
    assert_eq!(service.spec.scaling.max, 1000);
    assert_eq!(service.spec.scaling.activation_replicas, 1000);
    assert_eq!(
        service.spec.scaling.scale_down_window,
        Duration::from_hours(366 * 24)
    );
    assert_eq!(service.declared_max, u32::MAX);
    assert_eq!(service.warnings.len(), 2);
}

#[test]
fn a_service_without_any_slot_is_accepted_with_a_warning() {
    let service = loaded(&with("Async", "metadata/instance", json!(0)));
    assert_eq!(service.spec.scaling, ScalingPolicy::fixed(0));
    assert_eq!(service.warnings.len(), 1);
}

#[test]
fn a_queue_has_no_slots_and_no_role() {
    let mut document = with("Queue", "autoscaler", json!({"min": 1, "max": 5}));
    document["metadata"]["instance"] = json!(2);
    document["metadata"]["photog_role"] = json!("echo");
    document["containers"] = json!([{"image": "x:check.1"}]);
    let service = loaded(&document);
    assert_eq!(service.spec.role, None);
    assert_eq!(service.spec.instances, 0);
    assert_eq!(service.spec.scaling, ScalingPolicy::fixed(0));
    for field in [
        "autoscaler.min",
        "autoscaler.max",
        "metadata.instance",
        "metadata.photog_role",
        "containers",
    ] {
        assert_reported(&service, field);
    }
}

#[test]
fn the_worked_example_has_the_worked_view() {
    let document = json!({
        "metadata": {"name": "photog_pre_pmml", "type": "ScalableJob", "instance": 1,
                     "rpc": {"keepalive": 3_600_000, "worker_threads": 1}},
        "autoscaler": {"min": 0, "max": 2, "strategies": {"avg_waiting_length": 2},
                       "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5},
                                    "onZero": {"scaleDownGracePeriodSeconds": 120}}},
        "containers": [
            {"image": "example/portrait:infer.1.0.0", "script": "python app.py", "port": 7861},
            {"image": "example/stable-diffusion-webui:3.2", "port": 8000}]
    });
    let one_slot = Machine {
        device_slots: Some(1),
        ..ROOMY
    };
    let service = load(&document.to_string(), &one_slot).unwrap();
    let view = serde_json::to_value(service.view()).unwrap();
    assert_eq!(
        (&view["name"], &view["role"]),
        (&json!("photog_pre_pmml"), &json!("predict"))
    );
    let autoscaler = json!({"min": 0, "max": 1, "declared_max": 2,
        "reason": "device allows 1 slot", "strategies": {"avg_waiting_length": 2.0},
        "behavior": {"scaleUp": {"stabilizationWindowSeconds": 0},
            "scaleDown": {"stabilizationWindowSeconds": 5},
            "onZero": {"scaleDownGracePeriodSeconds": 120, "scaleUpActivationReplicas": 1}}});
    assert_eq!(view["autoscaler"], autoscaler);
    let not_applicable = json!([
        {"field": "containers[0].port", "value": 7861, "reason": "engine is built in"},
        {"field": "containers[1].port", "value": 8000, "reason": "engine is built in"}]);
    assert_eq!(view["not_applicable"], not_applicable);
    assert_eq!(view["warnings"], json!([]));
}
