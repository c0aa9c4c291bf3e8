//! Every named field has its treatment: honoured, mapped or reported.

use std::time::Duration;

use super::*;
use crate::domain::{DeadMessagePolicy, KIB, MIB, Role, ServiceKind};

#[test]
fn fields_without_effect_are_kept_and_listed_with_a_reason() {
    for path in [
        "cloud/computing/instance_type",
        "cloud/computing/instances",
        "cloud/networking/vpc_id",
        "cloud/networking/vswitch_id",
        "cloud/networking/security_group_id",
        "dockerAuth",
        "labels",
        "aimaster",
        "unit",
        "sinker",
        "confidential",
        "runtime",
        "processor",
        "processor_path",
        "model_path",
        "warm_up_data_path",
        "oss_endpoint",
        "front_end",
        "networking/vpc_id",
        "networking/gateway_policy/other",
        "features/eas.aliyun.com~1gpu-driver-version",
        "metadata/cpu",
        "metadata/gpu",
        "metadata/memory",
        "metadata/gpu_memory",
        "metadata/gpu_core_percentage",
        "metadata/cuda",
        "metadata/rdma",
        "metadata/qos",
        "metadata/resource",
        "metadata/workspace_id",
        "metadata/shm_size",
        "metadata/resource_burstable",
        "metadata/resource_rebalancing",
        "metadata/enable_grpc",
        "metadata/enable_webservice",
        "metadata/rolling_strategy/max_surge",
        "metadata/rolling_strategy/max_unavailable",
        "metadata/eas.termination_grace_period",
        "metadata/scheduling/spread/policy",
        "metadata/workload_type",
        "metadata/rpc/max_queue_size",
        "metadata/rpc/io_threads",
        "metadata/rpc/enable_sigterm",
        "metadata/rpc/batching",
        "metadata/rpc/max_batch_size",
        "metadata/rpc/max_batch_timeout",
        "metadata/rpc/disable_auto_queue_watch",
        "metadata/rpc/retries",
        "metadata/rpc/health_check_path",
        "metadata/rpc/health_check_port",
        "metadata/rpc/enable_service_hang_detect",
        "metadata/rpc/service_hang_detect_period",
        "metadata/photog_echo_ms",
        "metadata/surprise",
        "queue/cpu",
        "queue/min_replica",
        "queue/resource",
        "queue/source/memory_ratio",
        "autoscaler/behavior/onZero/interceptTraffic",
        "surprise",
        "",
    ] {
        // A type that fits none of them: what has no effect is not judged.
        let value = json!("any");
        let service = loaded(&with("ScalableJob", path, value.clone()));
        let field = path.replace('/', ".").replace("~1", "/");
        assert_reported(&service, &field);
        let listed = service
            .not_applicable
            .iter()
            .find(|item| item.field == field);
        let shown = if path == "dockerAuth" {
            json!("***")
        } else {
            value
        };
        assert_eq!(listed.unwrap().value, shown, "{field}");
        assert!(service.warnings.is_empty(), "{field}");
    }
}

#[test]
fn unknown_members_of_items_are_listed_with_their_place() {
    let mut document = with(
        "Async",
        "storage",
        json!([{"mount_path": "/a", "oss": {"path": "oss://b/", "endpoint": "e"},
                "properties": {"resource_type": "code"}, "nfs": {"path": "/"}, "new": 1}]),
    );
    document["containers"] = json!([{"prepare": {"pythonRequirements": ["x"]}, "new": 1}]);
    let service = loaded(&document);
    for field in [
        "storage[0].oss.endpoint",
        "storage[0].properties.resource_type",
        "storage[0].nfs",
        "storage[0].new",
        "containers[0].prepare",
        "containers[0].new",
    ] {
        assert_reported(&service, field);
    }
}

#[test]
fn absent_fields_get_the_documented_defaults_and_are_shown() {
    let service = loaded(&sample("Async"));
    let spec = &service.spec;
    assert_eq!(spec.keepalive, Duration::from_mins(10));
    assert_eq!(spec.worker_threads, 5);
    assert_eq!((spec.rate_limit, spec.concurrency_limit), (0, 0));
    assert_eq!(spec.queue.max_delivery, 5);
    assert_eq!(spec.queue.dead_message_policy, DeadMessagePolicy::Rear);
    assert_eq!(spec.queue.group_grace, Duration::from_secs(10));
    for side in [&spec.queue.source, &spec.queue.sink] {
        assert_eq!(side.max_payload_bytes, 20480 * KIB);
        assert_eq!(side.max_entries, None);
        assert_eq!(side.max_bytes, 2048 * MIB);
        assert!(!side.auto_evict);
    }
    assert_eq!(spec.echo, Duration::from_millis(20));
    assert_eq!(
        (spec.webui_data_dir.as_ref(), spec.scratch_bytes),
        (None, None)
    );
    for field in [
        "metadata.rpc.keepalive",
        "queue.memory",
        "queue.max_delivery",
    ] {
        assert_eq!(entry(&service, field).given, Value::Null, "{field}");
        assert_ne!(entry(&service, field).effective, Value::Null, "{field}");
    }
}

#[test]
fn fields_with_effect_reach_the_service() {
    let service = loaded(&json!({
        "metadata": {"name": "photog_check", "type": "Async", "photog_role": "echo",
            "photog_echo_ms": 5, "photog_slot_memory_mib": 6, "rpc": {"keepalive": 7, "worker_threads": 3, "rate_limit": 9}},
        "queue": {"max_delivery": 0, "dead_message_policy": "Drop", "group_grace_seconds": 0,
            "source": {"max_payload_size_kb": 1, "max_entries": 2, "auto_evict": true},
            "sink": {"max_payload_size_kb": 3, "max_entries": 4, "auto_evict": true}},
    }));
    let spec = &service.spec;
    assert_eq!(spec.role, Some(Role::Echo));
    assert_eq!(spec.echo, Duration::from_millis(5));
    assert_eq!(spec.slot_memory_bytes, 6 * MIB);
    assert_eq!(spec.keepalive, Duration::from_millis(7));
    assert_eq!((spec.worker_threads, spec.rate_limit), (3, 9));
    assert_eq!(spec.queue.max_delivery, 0);
    assert_eq!(spec.queue.dead_message_policy, DeadMessagePolicy::Drop);
    assert_eq!(spec.queue.group_grace, Duration::ZERO);
    assert_eq!(spec.queue.source.max_payload_bytes, KIB);
    assert_eq!(spec.queue.source.max_entries, Some(2));
    assert_eq!(spec.queue.sink.max_payload_bytes, 3 * KIB);
    assert_eq!(spec.queue.sink.max_entries, Some(4));
    // Only the sink evicts: an input entry that was not delivered is never dropped.
    assert!(!spec.queue.source.auto_evict && spec.queue.sink.auto_evict);
    assert_reported(&service, "queue.source.auto_evict");
    assert_eq!(
        entry(&service, "metadata.rpc.keepalive").class,
        Class::Honour
    );
    assert_eq!(entry(&service, "queue.memory").class, Class::Map);
}

#[test]
fn a_scalable_job_hands_out_one_entry_at_a_time() {
    let service = loaded(&with(
        "ScalableJob",
        "metadata/rpc/worker_threads",
        json!(5),
    ));
    assert_eq!(service.spec.worker_threads, 1);
    let shown = entry(&service, "metadata.rpc.worker_threads");
    assert_eq!((&shown.given, &shown.effective), (&json!(5), &json!(1)));
    assert_eq!(shown.class, Class::Map);
}

#[test]
fn an_elastic_job_is_treated_as_a_scalable_job() {
    let service = loaded(&with(
        "Async",
        "metadata/workload_type",
        json!("elasticjob"),
    ));
    assert_eq!(service.spec.kind, ServiceKind::ScalableJob);
    assert_eq!(service.spec.scaling.max, 10);
    assert_eq!(entry(&service, "metadata.type").effective, "ScalableJob");
    assert_eq!(service.warnings.len(), 1);
}

#[test]
fn the_store_bounds_both_queues_and_the_ratio_divides_them() {
    let store = |store_bytes| Machine {
        store_bytes,
        ..ROOMY
    };
    for (memory, ratio, store_bytes, source, sink) in [
        (json!(1000), json!(null), 1 << 50, 500 * MIB, 500 * MIB),
        (json!(1000), json!(0.25), 1 << 50, 750 * MIB, 250 * MIB),
        (json!(64000), json!(0.5), 100 * MIB, 50 * MIB, 50 * MIB),
        (json!(u64::MAX), json!(0.5), 100 * MIB, 50 * MIB, 50 * MIB),
        (json!(null), json!(0.75), 1 << 50, 1024 * MIB, 3072 * MIB),
    ] {
        let mut document = with("Async", "queue/memory", memory);
        document["queue"]["sink"]["memory_ratio"] = ratio;
        let service = load(&document.to_string(), &store(store_bytes)).unwrap();
        let queue = &service.spec.queue;
        assert_eq!(
            (queue.source.max_bytes, queue.sink.max_bytes),
            (source, sink),
            "{document}"
        );
        assert_eq!(entry(&service, "queue.memory").effective, source + sink);
    }
}

#[test]
fn the_largest_entry_never_exceeds_its_queue() {
    let mut document = with("Async", "queue/memory", json!(10));
    document["queue"]["source"]["max_payload_size_kb"] = json!(20480);
    let service = loaded(&document);
    assert_eq!(service.spec.queue.source.max_payload_bytes, 5 * MIB);
    assert_eq!(service.spec.queue.sink.max_payload_bytes, 5 * MIB);
    assert_eq!(
        entry(&service, "queue.source.max_payload_size_kb").effective,
        5 * KIB
    );
    assert_eq!(service.warnings.len(), 1);
}

#[test]
fn quantities_of_scratch_space_are_read_and_lowered_to_what_is_free() {
    const GIB: u64 = 1024 * MIB;
    for (given, bytes) in [
        (json!("100Gi"), 100 * GIB),
        (json!(" 7Ki "), 7 * KIB),
        (json!("7Mi"), 7 * MIB),
        (json!("2Ti"), 2048 * GIB),
        (json!("1.5Gi"), 1536 * MIB),
        (json!("1048576"), MIB),
        (json!(1_048_576), MIB),
        (json!("0"), 0),
        (json!("99999999999999999999Ti"), ROOMY.free_disk_bytes),
    ] {
        let path = "features/eas.aliyun.com~1extra-ephemeral-storage";
        let spec = loaded(&with("Async", path, given.clone())).spec;
        assert_eq!(spec.scratch_bytes, Some(bytes), "{given}");
    }
    let full = Machine {
        free_disk_bytes: GIB,
        ..ROOMY
    };
    let document = with(
        "Async",
        "features/eas.aliyun.com~1extra-ephemeral-storage",
        json!("2Gi"),
    );
    let service = load(&document.to_string(), &full).unwrap();
    assert_eq!(service.spec.scratch_bytes, Some(GIB));
    assert_eq!(service.warnings.len(), 1);
}

#[test]
fn mounts_are_taken_apart() {
    for (path, address, mount_path, bucket, prefix) in [
        (
            "/photog_oss",
            "oss://examplebucket/",
            "/photog_oss",
            "examplebucket",
            "",
        ),
        (
            "/photog_oss/",
            "oss://examplebucket",
            "/photog_oss",
            "examplebucket",
            "",
        ),
        ("/a/b", "oss://b-2/x/y/", "/a/b", "b-2", "x/y"),
        ("/肖像", "oss://b/肖像 1", "/肖像", "b", "肖像 1"),
        ("/a", "oss://b.oss-internal.example.com/x/", "/a", "b", "x"),
    ] {
        let storage = json!([{"mount_path": path, "oss": {"path": address, "readOnly": true}}]);
        let mounts = loaded(&with("Async", "storage", storage)).spec.mounts;
        let [mount] = &mounts[..] else {
            panic!("{mounts:?}");
        };
        assert_eq!(mount.mount_path, mount_path);
        assert_eq!(
            (mount.bucket.as_str(), mount.prefix.as_str()),
            (bucket, prefix)
        );
        assert!(mount.read_only);
    }
}

#[test]
fn a_mount_of_another_kind_is_reported_beside_one_that_works() {
    let service = loaded(&with(
        "Async",
        "storage",
        json!([{"mount_path": "/n", "nfs": {"path": "/"}},
               {"mount_path": "/a", "oss": {"path": "oss://b/"}}]),
    ));
    assert_eq!(service.spec.mounts.len(), 1);
    assert_reported(&service, "storage[0]");
}

#[test]
fn the_lower_limit_of_puts_counts_and_a_switched_off_one_does_not() {
    for (own, enable, limit, rate) in [
        (0, json!(true), json!(50), 50),
        (10, json!(true), json!(50), 10),
        (10, json!(true), json!(5), 5),
        (10, json!(false), json!(5), 10),
        (0, json!(null), json!(5), 5),
        (0, json!(true), json!(null), 0),
        (0, json!(true), json!(u64::MAX), u32::MAX),
    ] {
        let policy = json!({"enable": enable, "limit": limit});
        let mut document = with(
            "Async",
            "networking/gateway_policy/rate_limit",
            policy.clone(),
        );
        document["networking"]["gateway_policy"]["concurrency_limit"] = policy.clone();
        document["metadata"]["rpc"] = json!({"rate_limit": own});
        let service = loaded(&document);
        assert_eq!(service.spec.rate_limit, rate, "{own} {policy}");
        let is_without_limit = enable == true && limit.is_null();
        assert_eq!(!service.warnings.is_empty(), is_without_limit, "{policy}");
    }
    let policy = json!({"enable": true, "limit": 8});
    let document = with(
        "Async",
        "networking/gateway_policy/concurrency_limit",
        policy,
    );
    assert_eq!(loaded(&document).spec.concurrency_limit, 8);
}

#[test]
fn the_role_comes_from_the_field_then_the_images_then_the_name() {
    let infer = json!([{"image": "registry/g/photog_pub:infer.1.0.0.pub"},
                       {"image": "registry/pai-eas/stable-diffusion-webui:3.2"}]);
    for (name, role, containers, expected) in [
        ("photog_check", json!("sd"), infer.clone(), Role::Sd),
        ("photog_check", json!(null), infer.clone(), Role::Predict),
        ("any", json!(null), infer, Role::Predict),
        (
            "photog_check",
            json!(null),
            json!([{"image": "python:3.12"}]),
            Role::Check,
        ),
        ("photog_train_pmml", json!(null), json!([]), Role::Train),
        ("photog_pre_pmml", json!(null), json!(null), Role::Predict),
        ("any", json!("echo"), json!(null), Role::Echo),
        (
            "any",
            json!("train"),
            json!([{"image": "a:check.1"}, {"image": "a:infer.1"}]),
            Role::Train,
        ),
    ] {
        let mut document = with("Async", "metadata/name", json!(name));
        document["metadata"]["photog_role"] = role;
        document["containers"] = containers;
        assert_eq!(loaded(&document).spec.role, Some(expected), "{document}");
    }
}

#[test]
fn reserved_ports_and_foreign_addresses_give_a_warning() {
    for (containers, warnings) in [
        (json!([{"port": 7860}]), 0),
        (json!([{"port": 8080}]), 1),
        (json!([{"port": "9090"}]), 1),
        (
            json!([{"env": [{"name": "URL", "value": "http://127.0.0.1:8000"}]}, {"port": 8000}]),
            0,
        ),
        (
            json!([{"env": [{"name": "URL", "value": "http://localhost"}]}, {"port": 80}]),
            0,
        ),
        (
            json!([{"env": [{"name": "URL", "value": "http://127.0.0.1:8001"}]}, {"port": 8000}]),
            1,
        ),
        (
            json!([{"env": [{"name": "URL", "value": "http://127.0.0.1:8000"}], "port": 8000}]),
            1,
        ),
        (
            json!([{"env": [{"name": "URL", "value": "http://10.0.0.1:8000"}]}, {"port": 8000}]),
            1,
        ),
        (json!([{"env": [{"name": "URL"}]}]), 1),
        (json!([{"env": [{"name": "OTHER", "value": "x"}]}]), 0),
        (json!([{"script": "python 'app.py"}]), 1),
    ] {
        let service = loaded(&with("Async", "containers", containers.clone()));
        assert_eq!(
            service.warnings.len(),
            warnings,
            "{containers}: {:?}",
            service.warnings
        );
    }
}

#[test]
fn the_model_folder_must_be_a_plain_path_below_a_mount() {
    for (line, expected) in [
        ("./webui.sh --data-dir /m/webui/", Some("/m/webui")),
        ("./webui.sh --data-dir=/m", Some("/m")),
        (
            "cd /x\n./webui.sh --api \\\n --data-dir \"/m/a b\"",
            Some("/m/a b"),
        ),
        ("./webui.sh --data-dir /m/a --data-dir /m/b", Some("/m/b")),
        ("./webui.sh # --data-dir /m/a", None),
        ("./webui.sh --data-dir /m/../etc", None),
        ("./webui.sh --data-dir /mount", None),
        ("./webui.sh --data-dir m", None),
        ("./webui.sh --data-dir /m/$X", None),
        ("./webui.sh --data-dir", None),
        ("./webui.sh --data-dir --api", None),
    ] {
        let mut document = with(
            "Async",
            "containers",
            json!([
                {"image": "stable-diffusion-webui", "script": line}
            ]),
        );
        document["storage"] = json!([{"mount_path": "/m", "oss": {"path": "oss://b/"}}]);
        let service = loaded(&document);
        assert_eq!(service.spec.webui_data_dir.as_deref(), expected, "{line}");
        let is_asked = line.contains("--data-dir") && !line.contains('#');
        assert_eq!(
            service.warnings.is_empty(),
            expected.is_some() || !is_asked,
            "{line}"
        );
    }
    let mut document = with(
        "Async",
        "containers",
        json!([{"script": "app --data-dir /m"}]),
    );
    document["storage"] = json!([{"mount_path": "/m", "oss": {"path": "oss://b/"}}]);
    assert_eq!(loaded(&document).spec.webui_data_dir, None);
}
