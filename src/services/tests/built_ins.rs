//! The four services that are built in.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::Value;

use super::*;
use crate::{
    domain::{KIB, MIB, Metric, Mount, Role, ServiceKind, Strategy},
    services::{built_in, check_set},
};

fn services() -> [Service; 4] {
    built_in().map(|text| load(text, &ROOMY).unwrap())
}

#[test]
fn the_four_services_load_and_have_the_roles_of_their_images() {
    let services = services();
    let found: Vec<_> = services
        .iter()
        .map(|service| {
            (
                service.spec.name.as_str(),
                service.spec.kind,
                service.spec.role,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("photog_check", ServiceKind::Async, Some(Role::Check)),
            ("photog_train_pmml", ServiceKind::Async, Some(Role::Train)),
            (
                "photog_pre_pmml",
                ServiceKind::ScalableJob,
                Some(Role::Predict)
            ),
            ("photog_sd", ServiceKind::Async, Some(Role::Sd)),
        ]
    );
    assert_eq!(check_set(&services), Ok(()));
}

#[test]
fn all_share_one_mount_and_the_same_queue_rules() {
    for Service { spec, warnings, .. } in services() {
        let mount = Mount {
            mount_path: String::from("/photog_oss"),
            bucket: String::from("examplebucket"),
            prefix: String::new(),
            read_only: false,
        };
        assert_eq!(spec.mounts, [mount]);
        assert_eq!(spec.keepalive, Duration::from_hours(1));
        assert_eq!(spec.worker_threads, 1);
        assert_eq!(spec.queue.max_delivery, 1);
        // A batch of pictures is larger than one portrait.
        let payload_kib = if spec.role == Some(Role::Sd) {
            65536
        } else {
            20480
        };
        assert_eq!(spec.queue.source.max_payload_bytes, payload_kib * KIB);
        assert_eq!(spec.queue.sink.max_payload_bytes, payload_kib * KIB);
        assert_eq!(
            spec.queue.source.max_bytes + spec.queue.sink.max_bytes,
            64000 * MIB
        );
        assert_eq!(warnings, [""; 0]);
    }
}

#[test]
fn they_scale_as_their_page_says() {
    let [check, train, predict, sd] = services();
    assert_eq!((check.spec.scaling.min, check.spec.scaling.max), (1, 1));
    assert!(check.spec.scaling.strategies.is_empty());
    assert_eq!((sd.spec.scaling.min, sd.spec.scaling.max), (1, 1));

    assert_eq!((train.spec.scaling.min, train.spec.scaling.max), (1, 5));
    assert_eq!(train.spec.scaling.scale_down_window, Duration::from_mins(1));
    let backlog = Strategy {
        metric: Metric::Backlog,
        threshold: 1.0,
    };
    assert_eq!(train.spec.scaling.strategies, [backlog]);

    assert_eq!(
        (predict.spec.scaling.min, predict.spec.scaling.max),
        (1, 10)
    );
    let waiting = Strategy {
        metric: Metric::Waiting,
        threshold: 2.0,
    };
    assert_eq!(predict.spec.scaling.strategies, [waiting]);
    assert_eq!(
        predict.spec.scaling.scale_down_window,
        Duration::from_secs(1)
    );
    assert_eq!(predict.spec.scaling.zero_grace, Duration::from_mins(1));
}

#[test]
fn the_start_line_of_the_diffusion_container_names_the_model_folder() {
    let [_, _, predict, sd] = services();
    for service in [&predict, &sd] {
        let folder = service.spec.webui_data_dir.as_deref();
        assert_eq!(folder, Some("/photog_oss/webui"));
    }
    for (option, class) in [
        ("--data-dir", Class::Honour),
        ("--no-hashing", Class::Honour),
        ("--skip-install", Class::Honour),
        ("--skip-version-check", Class::Honour),
        ("--no-download-sd-model", Class::Honour),
        ("--listen", Class::Report),
        ("--port", Class::Report),
        ("--api", Class::Report),
        ("--filebrowser", Class::Report),
        ("--sd-dynamic-cache", Class::Report),
    ] {
        let field = format!("containers[1].script {option}");
        assert_eq!(entry(&predict, &field).class, class, "{option}");
    }
}

#[test]
fn what_is_given_is_returned_unchanged_but_for_secrets() {
    for (text, service) in built_in().iter().zip(services()) {
        let mut expected: Value = serde_json::from_str(text).unwrap();
        if let Some(secret) = expected.pointer_mut("/containers/0/env/1/value") {
            *secret = json!("***");
        }
        // As texts, so that the order of members counts too.
        assert_eq!(service.given.to_string(), expected.to_string());
    }
}

#[test]
fn the_view_has_the_members_that_the_page_reads() {
    let [_, _, predict, _] = services();
    let view = serde_json::to_value(predict.view()).unwrap();
    assert_eq!(view["name"], "photog_pre_pmml");
    assert_eq!(view["role"], "predict");
    assert_eq!(view["type"], "ScalableJob");
    assert_eq!(
        view["autoscaler"],
        json!({
            "min": 1, "max": 10, "declared_max": 10, "reason": "default of a Scalable Job",
            "strategies": {"avg_waiting_length": 2.0},
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0},
                "scaleDown": {"stabilizationWindowSeconds": 1},
                "onZero": {"scaleDownGracePeriodSeconds": 60, "scaleUpActivationReplicas": 1}
            }
        })
    );
    let port =
        json!({"field": "containers[1].port", "value": 8000, "reason": "engine is built in"});
    assert!(view["not_applicable"].as_array().unwrap().contains(&port));
    let keepalive = json!({
        "field": "metadata.rpc.keepalive", "given": 3_600_000, "effective": 3_600_000,
        "class": "HONOUR",
        "reason": "milliseconds of work on one entry, from the moment a slot takes it"
    });
    assert!(view["effective"].as_array().unwrap().contains(&keepalive));
    assert_eq!(view["warnings"], json!([]));
    assert_eq!(view["given"]["metadata"]["instance"], 1);
}

#[test]
fn they_are_word_for_word_those_of_the_source_document() {
    const DOCUMENT: &str = "000_fa178845c2dd668d.txt";
    let folder = std::env::var_os("PHOTOG_TEST_SPEC").unwrap_or_else(|| "../shared/spec".into());
    let path = PathBuf::from(folder).join(DOCUMENT);
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: there is no {}", path.display());
        return;
    };
    let built_ins: BTreeMap<String, Value> = built_in()
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .map(|value: Value| {
            (
                value["metadata"]["name"].as_str().unwrap().to_owned(),
                value,
            )
        })
        .collect();
    let mut seen = BTreeMap::new();
    for document in service_documents(&text) {
        let service = load(&document.to_string(), &ROOMY).unwrap();
        assert_eq!(built_ins[&service.spec.name], document);
        *seen.entry(service.spec.name).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

/// The JSONs in a text that have all parts of a service.
fn service_documents(text: &str) -> Vec<Value> {
    let starts = text.match_indices('{').map(|(start, _)| start);
    starts
        .filter_map(|start| {
            serde_json::Deserializer::from_str(&text[start..])
                .into_iter()
                .next()?
                .ok()
        })
        .filter(|value: &Value| {
            ["metadata", "queue", "containers"]
                .iter()
                .all(|key| value.get(key).is_some())
        })
        .collect()
}
