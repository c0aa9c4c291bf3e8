//! The HTTP interface as it was last agreed on. A change shows up as a change of the committed
//! document, in the same commit as the code:
//!
//! ```sh
//! PHOTOG_TEST_UPDATE=1 cargo test --test openapi
//! ```

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

#[test]
fn the_committed_document_is_the_one_that_the_program_serves() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/openapi.json");
    let served = photog::http::openapi_document();
    if std::env::var_os("PHOTOG_TEST_UPDATE").is_some() {
        fs::write(&path, &served).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = served
        .lines()
        .zip(committed.lines())
        .position(|(ours, theirs)| ours != theirs);
    assert!(
        served == committed,
        "assets/openapi.json is not what the program serves (first difference: line {}); if the \
         change is meant, run `PHOTOG_TEST_UPDATE=1 cargo test --test openapi` and commit the file",
        differs.map_or_else(|| String::from("at the end"), |line| (line + 1).to_string())
    );
}

#[test]
fn every_route_is_described_and_every_described_path_is_a_route() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/routes");
    let read = |file| fs::read_to_string(folder.join(file)).unwrap();
    let code = read("mod.rs") + &read("sdapi/mod.rs") + &read("hosted/mod.rs");
    let routes: BTreeSet<String> = code
        .split(".route(")
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(1))
        // The same address with a slash at its end is an alias and no path of its own.
        .map(|route| route.trim_end_matches('/').replace("{*", "{"))
        .collect();
    let document: Value = serde_json::from_str(&photog::http::openapi_document()).unwrap();
    let described: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(routes, described);
}
