//! Promises about who may call, and where a request goes.

mod http;

use http::{Photog, QUEUE};

const TOKEN: (&str, &str) = ("PHOTOG_TOKEN", "sesame");
const OURS: &str = "Authorization: sesame";

#[test]
fn every_address_but_the_probes_and_the_document_needs_the_token() {
    let photog = Photog::start(QUEUE, &[TOKEN]);
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(photog.status("GET", path, &[]), 200, "{path}");
    }
    for (method, path) in [
        ("GET", "/api/services"),
        ("GET", "/api/jobs"),
        ("GET", "/api/jobs/queue_try-1"),
        ("GET", "/api/jobs/queue_try-1/preview"),
        ("POST", "/api/jobs/queue_try-1/cancel"),
        ("POST", "/api/jobs/queue_try-1/retry"),
        ("GET", "/api/events"),
        ("GET", "/metrics"),
        ("GET", "/api/predict/queue_try"),
        ("POST", "/api/predict/queue_try"),
        ("PUT", "/api/predict/queue_try?_indexes_=1"),
        ("DELETE", "/api/predict/queue_try?_indexes_=1"),
        ("HEAD", "/api/predict/queue_try"),
        ("OPTIONS", "/api/predict/queue_try"),
        ("GET", "/api/predict/queue_try?_watch_=true"),
        ("POST", "/api/predict/queue_try/"),
        ("POST", "/api/predict/queue%5ftry"),
        ("POST", "/api/predict/group.queue_try"),
        ("POST", "/api/predict/queue_try/a/path"),
        ("POST", "/api/predict/queue_try/sink"),
        ("POST", "/api/predict/queue_try/sink/"),
        ("POST", "/api/predict/no_such_service"),
    ] {
        let (status, text) = photog.ask(method, path, &[], b"");
        assert_eq!(status, 401, "{method} {path}: {text}");
        assert!(!text.contains("sesame"));
        let wrong = photog.status(method, path, &["Authorization: Sesame"]);
        assert_eq!(wrong, 401, "{method} {path}");
    }
    assert_eq!(photog.status("GET", "/api/services", &[OURS]), 200);
    assert_eq!(
        photog.status("POST", "/api/predict/no_such_service", &[OURS]),
        404
    );
}

#[test]
fn a_service_token_opens_only_its_own_queues() {
    let service = r#"{"metadata":{"name":"queue_try","type":"Queue","instance":1},"token":"own"}"#;
    let photog = Photog::start(service, &[TOKEN]);
    let own = ["Authorization: own"];
    assert_eq!(photog.status("POST", "/api/predict/queue_try", &own), 200);
    assert_eq!(
        photog.status("POST", "/api/predict/queue_try", &[OURS]),
        200
    );
    for path in ["/api/services", "/api/jobs", "/metrics", "/api/events"] {
        assert_eq!(photog.status("GET", path, &own), 401, "{path}");
    }
}

#[test]
fn a_slash_at_the_end_changes_no_queue() {
    let photog = Photog::start(QUEUE, &[]);
    for path in [
        "/api/predict/queue_try/sink/",
        "/api/predict/queue_try/sink",
    ] {
        assert_eq!(photog.status("POST", path, &[]), 200);
    }
    assert_eq!(
        photog.attribute("stream.length"),
        "0",
        "both are in the sink"
    );
    assert_eq!(photog.status("POST", "/api/predict/queue_try/", &[]), 200);
    assert_eq!(photog.attribute("stream.length"), "1");
}

#[test]
fn without_a_token_pages_of_other_sites_get_nothing() {
    let photog = Photog::start(QUEUE, &[]);
    let path = "/api/predict/queue_try";
    for fields in [["Host: evil.example:7860"], ["Sec-Fetch-Site: cross-site"]] {
        assert_eq!(photog.status("POST", path, &fields), 403, "{fields:?}");
        assert_eq!(
            photog.status("GET", "/api/jobs", &fields),
            403,
            "{fields:?}"
        );
    }
    for host in [
        "Host: localhost:7860",
        "Host: 127.0.0.1",
        "Host: [::1]:7860",
    ] {
        assert_eq!(photog.status("GET", "/api/jobs", &[host]), 200, "{host}");
    }
}
