//! The OpenAPI document tells the truth.

mod http;

use http::{Photog, QUEUE};

#[test]
fn every_address_of_the_document_is_served() {
    let photog = Photog::start(QUEUE, &[]);
    let (status, text) = photog.ask("GET", "/openapi.json", &[], b"");
    assert_eq!(status, 200);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 10, "{paths:?}");
    for (path, methods) in paths.iter().filter(|(path, _)| *path != "/api/events") {
        for method in methods.as_object().unwrap().keys() {
            let example = path
                .replace("{service}", "queue_try")
                .replace("{path}", "a/path")
                .replace("{job}", "queue_try-1")
                .replace("{person}", "anna")
                .replace("{picture}", "a.jpg")
                .replace("{batch}", "1");
            let (status, text) = photog.ask(&method.to_uppercase(), &example, &[], b"");
            assert_ne!(status, 405, "{method} {path}");
            assert!(!text.contains("nothing at this address"), "{method} {path}");
            let known = &methods[method]["responses"][status.to_string()];
            assert!(known.is_object(), "{method} {path} answers {status}");
        }
    }
}
