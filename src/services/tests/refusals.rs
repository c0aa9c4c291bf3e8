//! Every refusal names the field and says what to write instead.

use super::*;

/// Kind, place of one member in an otherwise plain document, its JSON, and the field that is
/// refused unless it is that place.
const CASES: &str = r#"
Async | metadata | []
Async | metadata/rpc | 5
Async | rpc | true
Async | queue | "8"
Async | queue/source | []
Async | autoscaler | true
Async | autoscaler/behavior | 1
Async | features | []
Async | networking | 1
Async | containers | {}
Async | containers | [7] | containers[0]
Async | storage | {}
Async | storage | ["x"] | storage[0]
Async | token | 5
Async | token | "two words"
Async | metadata/name | null
Async | metadata/name | 7
Async | metadata/name | ""
Async | metadata/name | "Photog"
Async | metadata/name | "a-b"
Async | metadata/name | "../x"
Async | metadata/type | null
Async | metadata/type | []
Async | metadata/instance | -1
Async | metadata/instance | 1.5
Async | metadata/instance | "many"
Async | metadata/workload_type | 5
Async | metadata/photog_role | "paint"
Async | metadata/photog_role | 1
Async | metadata/rpc/keepalive | 0
Async | metadata/rpc/keepalive | -5
Async | metadata/rpc/keepalive | {}
Async | metadata/rpc/worker_threads | 0
ScalableJob | metadata/rpc/worker_threads | 0
ScalableJob | metadata/rpc/worker_threads | []
Async | metadata/rpc/rate_limit | -1
Async | queue/memory | 0
Async | queue/memory | -64
Async | queue/max_delivery | -1
Async | queue/max_delivery | "NaN"
Async | queue/group_grace_seconds | -1
Async | queue/dead_message_policy | "rear"
Async | queue/dead_message_policy | 3
Async | queue/source/max_payload_size_kb | 0
Async | queue/sink/max_payload_size_kb | -1
Async | queue/source/max_entries | 0
Async | queue/sink/max_entries | "x"
Async | queue/source/auto_evict | 1
Async | queue/sink/auto_evict | "true"
Async | queue/sink/memory_ratio | 0
Async | queue/sink/memory_ratio | 1
Async | queue/sink/memory_ratio | "inf"
Async | features/eas.aliyun.com~1extra-ephemeral-storage | "100G"
Async | features/eas.aliyun.com~1extra-ephemeral-storage | "-1Gi"
Async | features/eas.aliyun.com~1extra-ephemeral-storage | "Gi"
Async | features/eas.aliyun.com~1extra-ephemeral-storage | "1e9"
Async | features/eas.aliyun.com~1extra-ephemeral-storage | "infGi"
Async | features/eas.aliyun.com~1extra-ephemeral-storage | -1
Async | networking/gateway_policy/rate_limit/enable | "yes"
Async | networking/gateway_policy/rate_limit/limit | -1
Async | networking/gateway_policy/concurrency_limit/limit | []
Async | storage | [{"mount_path": "/a", "nfs": {"path": "/"}}]
Async | storage | [{"mount_path": "/a"}]
Async | storage | [{"oss": {"path": "oss://b/"}}] | storage[0].mount_path
Async | storage | [{"mount_path": "/a", "oss": {"readOnly": true}}] | storage[0].oss.path
Async | storage | [{"mount_path": "/a", "oss": {"path": "oss://b/", "readOnly": "no"}}] | storage[0].oss.readOnly
Async | storage | [{"mount_path": "/a", "oss": {"path": "oss://b/"}}, {"mount_path": "/a/", "oss": {"path": "oss://c/"}}] | storage[1]
Async | containers | [{"image": 5}] | containers[0].image
Async | containers | [{"script": ["a"]}] | containers[0].script
Async | containers | [{"command": 1}] | containers[0].command
Async | containers | [{"env": {}}] | containers[0].env
Async | containers | [{"env": [5]}] | containers[0].env[0]
Async | containers | [{"env": [{"value": "x"}]}] | containers[0].env[0]
Async | containers | [{"image": "a:check.1"}, {"image": "a:train.1"}] | containers[1].image
Async | metadata/name | "portraits" | metadata.photog_role
Async | autoscaler | {"max": 5, "strategies": {"qps": 1}} | autoscaler.min
Async | autoscaler | {"min": 1, "strategies": {"qps": 1}} | autoscaler.max
Async | autoscaler | {"min": 1, "max": 5} | autoscaler.strategies
Async | autoscaler | {"min": 1, "max": 5, "strategies": {}} | autoscaler.strategies
Async | autoscaler | {"min": 1, "max": 5, "strategies": {"cpu": 50, "qps1k": 1, "x": 1}} | autoscaler.strategies
Async | autoscaler | {"min": 6, "max": 5, "strategies": {"qps": 1}} | autoscaler.min
Async | autoscaler | {"min": -1, "max": 5, "strategies": {"qps": 1}} | autoscaler.min
Async | autoscaler | {"min": 1, "max": [5], "strategies": {"qps": 1}} | autoscaler.max
Async | autoscaler | {"min": 1, "max": 5, "strategies": {"qps": 0}} | autoscaler.strategies.qps
Async | autoscaler | {"min": 1, "max": 5, "strategies": {"queue[backlog]": -1}} | autoscaler.strategies.queue[backlog]
Async | autoscaler | {"min": 1, "max": 5, "strategies": {"qps": {}}} | autoscaler.strategies.qps
Async | autoscaler | {"min": 1, "max": 5, "strategies": [1]} | autoscaler.strategies
ScalableJob | autoscaler | {"strategies": {}} | autoscaler.strategies
ScalableJob | autoscaler | {"strategies": {"gpu": 40}} | autoscaler.strategies
ScalableJob | autoscaler | {"min": 11} | autoscaler.min
ScalableJob | autoscaler | {"max": 0} | autoscaler.max
ScalableJob | autoscaler/behavior/scaleUp/stabilizationWindowSeconds | -1
ScalableJob | autoscaler/behavior/scaleDown/stabilizationWindowSeconds | 0.5
ScalableJob | autoscaler/behavior/onZero/scaleDownGracePeriodSeconds | true
ScalableJob | autoscaler/behavior/onZero/scaleUpActivationReplicas | 0
"#;

#[test]
fn wrong_types_and_contradictions_are_refused_by_the_path_of_the_field() {
    const WHAT_TO_DO: [&str; 8] = [
        "write",
        "give",
        "add",
        "leave",
        "raise",
        "deploy",
        "token has",
        "token is",
    ];
    for case in CASES.lines().filter(|line| !line.is_empty()) {
        let parts: Vec<&str> = case.split(" | ").collect();
        let place = parts[1].replace('/', ".").replace("~1", "/");
        let expected = parts.get(3).copied().unwrap_or(&place);
        let document = with(parts[0], parts[1], serde_json::from_str(parts[2]).unwrap());
        let (field, reason) = refused(&document);
        assert_eq!(field, expected, "{document}: {reason}");
        let says_what_to_do = WHAT_TO_DO.iter().any(|word| reason.contains(word));
        assert!(says_what_to_do, "{field}: {reason}");
    }
}

#[test]
fn lists_longer_than_any_real_one_are_refused() {
    for field in ["containers", "storage"] {
        let list = |length| with("Async", field, json!(vec![Value::Null; length]));
        loaded(&list(1000));
        assert_eq!(refused(&list(1001)).0, field);
    }
}

#[test]
fn types_that_run_elsewhere_are_refused() {
    for kind in [
        "Standard",
        "ScalableJobService",
        "LLM",
        "RAG",
        "Serverless",
        "LLMGatewayService",
        "OfflineTask",
        "SDCluster",
        "AssistantJob",
        "async",
        "",
    ] {
        let (field, reason) = refused(&sample(kind));
        assert_eq!(field, "metadata.type");
        assert!(
            reason.contains("`Async`, `ScalableJob` or `Queue`"),
            "{reason}"
        );
    }
}

#[test]
fn names_are_refused_one_character_above_the_limit_and_not_at_it() {
    let mut document = with("Queue", "metadata/name", json!("a".repeat(63)));
    assert_eq!(loaded(&document).spec.name.len(), 63);
    document["metadata"]["name"] = json!("a".repeat(64));
    assert_eq!(refused(&document).0, "metadata.name");
}

#[test]
fn mount_paths_that_could_lead_elsewhere_are_refused() {
    for path in [
        "",
        "/",
        "//",
        "photog_oss",
        "/..",
        "/a/../b",
        "/a/./b",
        "/a//b",
        "/a/..",
        "/a\\b",
        "/a\0",
        "/a\nb",
        "/%2e%2e",
        "/a:b",
        "/ a",
        "/a /b",
        "//a",
        "/a//",
        "/a?b",
        "/a#b",
    ] {
        let mount = json!([{"mount_path": path, "oss": {"path": "oss://b/"}}]);
        let (field, reason) = refused(&with("Async", "storage", mount));
        assert_eq!(field, "storage[0].mount_path", "{path:?}: {reason}");
    }
}

#[test]
fn bucket_addresses_that_could_lead_elsewhere_are_refused() {
    for path in [
        "",
        "examplebucket",
        "oss:/b/",
        "oss://",
        "oss:///a",
        "OSS://b/",
        "s3://b/",
        "oss://../a",
        "oss://b/../a",
        "oss://b//a",
        "oss://b/a//",
        "oss://b/./a",
        "oss://B/",
        "oss://user@b/",
        "oss://b:80/",
        "oss://b\\c/",
        "oss://-b/",
        "oss://b/%2e%2e/",
        "oss://b/a\0",
        "file:///etc",
    ] {
        let mount = json!([{"mount_path": "/a", "oss": {"path": path}}]);
        let (field, reason) = refused(&with("Async", "storage", mount));
        assert_eq!(field, "storage[0].oss.path", "{path:?}: {reason}");
    }
}
