//! Other names of fields, dots inside names, `null`, numbers in quotes, and the text itself.

use std::time::Duration;

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;
use crate::services::{MAX_BYTES, check_set};

#[test]
fn a_field_is_found_nested_dotted_and_under_its_old_names() {
    let spellings = [
        json!({"metadata": {"rpc": {"worker_threads": 7}}}),
        json!({"metadata": {"rpc.worker_threads": 7}}),
        json!({"metadata.rpc.worker_threads": 7}),
        json!({"metadata.rpc": {"worker_threads": 7}}),
        json!({"rpc": {"worker_threads": 7}}),
        json!({"rpc.worker_threads": 7}),
        json!({"metadata": {"worker_threads": 7}}),
        json!({"metadata": {"workers": 7}}),
        json!({"metadata.workers": 7}),
    ];
    for mut document in spellings {
        document["metadata"]["type"] = json!("Async");
        document["name"] = json!("photog_check");
        assert_eq!(loaded(&document).spec.worker_threads, 7, "{document}");
    }
}

#[test]
fn the_grace_period_is_reported_in_each_of_its_spellings() {
    for (document, field) in [
        (
            with("Async", "metadata/eas.termination_grace_period", json!(30)),
            "metadata.eas.termination_grace_period",
        ),
        (
            with("Async", "metadata/eas/termination_grace_period", json!(30)),
            "metadata.eas.termination_grace_period",
        ),
        (
            with("Async", "runtime/termination_grace_period", json!(30)),
            "runtime.termination_grace_period",
        ),
    ] {
        let service = loaded(&document);
        assert_reported(&service, field);
        let reason = &entry(&service, field).reason;
        assert_eq!(reason, "not applied: work is never cut off by scale-in");
    }
}

#[test]
fn of_two_spellings_the_documented_one_wins_and_the_other_is_reported() {
    let mut document = with("Async", "metadata/rpc/keepalive", json!(1000));
    document["rpc"] = json!({"keepalive": 2000});
    document["name"] = json!("old_name");
    let service = loaded(&document);
    assert_eq!(service.spec.keepalive, Duration::from_secs(1));
    assert_eq!(service.spec.name, "photog_check");
    assert_reported(&service, "rpc.keepalive");
    assert_reported(&service, "name");

    let mut document = with("Async", "metadata/rpc.keepalive", json!(2000));
    document["metadata"]["rpc"] = json!({"keepalive": 1000});
    let service = loaded(&document);
    assert_eq!(service.spec.keepalive, Duration::from_secs(1));
    assert_eq!(service.not_applicable.len(), 1);
}

#[test]
fn an_autoscaler_in_metadata_is_read_but_never_mixed_with_another() {
    let autoscaler = json!({"min": 2, "max": 3, "strategies": {"qps": 4}});
    let alone = with("Async", "metadata/autoscaler", autoscaler.clone());
    assert_eq!(loaded(&alone).spec.scaling.max, 3);

    let mut both = with("ScalableJob", "metadata/autoscaler", autoscaler);
    both["autoscaler"] = json!({"max": 4});
    let service = loaded(&both);
    assert_eq!((service.spec.scaling.min, service.spec.scaling.max), (1, 4));
    let strategies = json!(service.view().autoscaler.strategies);
    assert_eq!(strategies, json!({"avg_waiting_length": 2.0}));
    for field in ["min", "max", "strategies.qps"] {
        assert_reported(&service, &format!("metadata.autoscaler.{field}"));
    }
}

#[test]
fn null_is_absent_everywhere() {
    let document = json!({
        "metadata": {"name": "photog_check", "type": "Async", "instance": null, "rpc": null},
        "queue": {"source": null, "memory": null},
        "autoscaler": {"min": null, "strategies": null},
        "storage": [null], "containers": null, "token": null, "cloud": {"computing": null},
        "features": null,
    });
    let plain = loaded(&sample("Async"));
    let service = loaded(&document);
    assert_eq!(service.spec, plain.spec);
    assert_eq!(service.effective, plain.effective);
}

#[test]
fn numbers_in_quotes_are_numbers() {
    let text = json!({
        "metadata": {"name": "photog_check", "type": "Async", "rpc": {"keepalive": " 64 "}},
        "autoscaler": {"min": "1", "max": "5.0", "strategies": {"qps": "2.5"}},
        "queue": {"sink": {"memory_ratio": "0.25"}},
    });
    let number = json!({
        "metadata": {"name": "photog_check", "type": "Async", "rpc": {"keepalive": 64}},
        "autoscaler": {"min": 1, "max": 5, "strategies": {"qps": 2.5}},
        "queue": {"sink": {"memory_ratio": 0.25}},
    });
    assert_eq!(loaded(&text).spec, loaded(&number).spec);
}

#[test]
fn a_byte_order_mark_in_front_is_ignored() {
    let text = format!("\u{feff}{}", sample("Async"));
    assert!(load(&text, &ROOMY).is_ok());
}

#[test]
fn texts_that_are_no_service_json_are_refused_as_unreadable() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let twice = r#"{"metadata": {"name": "a", "name": "b", "type": "Async"}}"#;
    for text in ["", "[]", "7", "{", "{} {}", "{\"a\": 1e999}", &deep, twice] {
        let error = load(text, &ROOMY).unwrap_err();
        assert!(matches!(error, ServiceError::Unreadable(_)), "{error}");
    }
    let error = load(twice, &ROOMY).unwrap_err().to_string();
    assert!(error.contains("`name` twice at line 1"), "{error}");
}

#[test]
fn a_text_of_the_greatest_length_is_read_and_a_longer_one_is_not() {
    let text = sample("Async").to_string();
    let full = format!("{text}{}", " ".repeat(MAX_BYTES - text.len()));
    assert!(load(&full, &ROOMY).is_ok());
    let error = load(&format!("{full} "), &ROOMY).unwrap_err();
    assert!(matches!(error, ServiceError::TooLarge { .. }), "{error}");
}

#[test]
fn messages_stay_short_whatever_the_document_holds() {
    let long = "x".repeat(100_000);
    let documents = [
        with("Async", "metadata/name", json!(long)),
        with("Async", "metadata/photog_role", json!(long)),
        with("Async", "metadata/rpc/keepalive", json!([long])),
        with(
            "Async",
            "storage",
            json!([{"mount_path": long, "oss": {"path": "oss://b/"}}]),
        ),
        with(
            "Async",
            "autoscaler",
            json!({"min": 1, "max": 1, "strategies": {long: 1}}),
        ),
    ];
    for document in documents {
        let error = load(&document.to_string(), &ROOMY).unwrap_err().to_string();
        assert!(error.len() < 600, "{} bytes", error.len());
    }
}

#[test]
fn two_services_of_one_name_are_refused() {
    let service = loaded(&sample("Async"));
    let pair = [service.clone(), service];
    assert_eq!(check_set(&pair[..1]), Ok(()));
    let expected = ServiceError::SameName(String::from("photog_check"));
    assert_eq!(check_set(&pair), Err(expected));
}

/// Any JSON value that is not deep.
fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("18446744073709551616")),
        Just(json!("NaN")),
        Just(json!("Async")),
        Just(json!("oss://bucket/../x")),
        Just(json!("1e400Ti")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop_oneof![
            Just(String::from("min")),
            Just(String::from("name")),
            Just(String::from("path")),
            ".{0,6}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Places where a reader looks.
const PLACES: [&str; 24] = [
    "token",
    "name",
    "rpc",
    "metadata",
    "metadata/name",
    "metadata/type",
    "metadata/instance",
    "metadata/rpc",
    "metadata/rpc/keepalive",
    "metadata/rpc.worker_threads",
    "metadata/photog_role",
    "autoscaler",
    "autoscaler/min",
    "autoscaler/strategies",
    "autoscaler/behavior",
    "queue",
    "queue/memory",
    "queue/sink",
    "queue/sink/memory_ratio",
    "features/eas.aliyun.com~1extra-ephemeral-storage",
    "networking/gateway_policy",
    "storage",
    "containers",
    "cloud",
];

proptest! {
    // The same cases in every run.
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(20_240_401),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_value_at_any_place_makes_it_panic(
        place in prop::sample::select(&PLACES[..]),
        kind in prop::sample::select(&["Async", "ScalableJob", "Queue"][..]),
        value in any_json(),
    ) {
        let document = with(kind, place, value);
        if let Ok(service) = load(&document.to_string(), &ROOMY) {
            prop_assert!(service.spec.scaling.min <= service.spec.instances);
            prop_assert!(service.spec.instances <= service.spec.scaling.max);
            prop_assert!(serde_json::to_value(service.view()).is_ok());
        }
    }

    #[test]
    fn no_item_of_storage_or_containers_makes_it_panic(item in any_json(), inner in any_json()) {
        for document in [
            with("Async", "storage", json!([{"mount_path": item, "oss": inner}])),
            with("Async", "storage", json!([{"mount_path": "/a", "oss": {"path": inner}}, item])),
            with("Async", "containers", json!([{"image": inner, "env": [item]}, item])),
            with("Async", "containers", json!([{"script": inner, "port": item}, {"env": inner}])),
        ] {
            let _ = load(&document.to_string(), &ROOMY);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[{}\\[\\]\":,a-c0-9.\\\\ ]{0,60}") {
        prop_assert!(load(&text, &ROOMY).is_err());
    }
}
