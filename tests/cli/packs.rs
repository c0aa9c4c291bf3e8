//! The demo pack on the command line: everything works without a model file.

use std::fs;

use serde_json::Value;

use crate::program::{Home, Run};

/// What every result says that was made with the pack.
const NOTICE: &str = "made with the demo pack";
/// Few steps, so that a processor is done soon.
const GENERATE: [&str; 8] = [
    "generate", "--device", "cpu", "--pack", "demo", "--steps", "2", "--prompt",
];
/// Its networks, as lists have them.
const NETWORKS: [&str; 3] = ["demo-detector", "demo-embedding", "demo"];

fn generate(home: &Home, more: &[&str]) -> Run {
    home.run(&[&GENERATE[..], more].concat())
}

/// A photo of a drawn person who comes with the pack.
fn photo(person: &str, name: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    format!("{root}/assets/demo/people/{person}/{name}.jpg")
}

fn listed(home: &Home, more: &[&str], name: &str) -> Value {
    let list = home.run(&[&["models", "list", "--json"], more].concat());
    let list = list.json();
    let mut models = list["models"].as_array().unwrap().iter();
    models.find(|model| model["name"] == name).unwrap().clone()
}

#[test]
fn a_picture_is_made_in_the_size_of_the_packs_checkpoint_and_says_where_it_is_from() {
    let home = Home::new();
    let make = |name: &str, more: &[&str]| {
        let run = generate(
            &home,
            &[&["a portrait", "--seed", "5", "-o", name], more].concat(),
        );
        assert_eq!(run.code, Some(0), "{run:?}");
        assert_eq!(run.stdout.trim_end(), name);
        assert!(run.stderr.contains(NOTICE), "{run:?}");
        fs::read(home.path(name)).unwrap()
    };
    let first = make("a.png", &[]);
    assert_eq!(make("b.png", &[]), first, "the same seed");
    let image = image::load_from_memory(&first).unwrap();
    assert!(image.width() == image.height() && image.width() < 512);
    let text = String::from_utf8_lossy(&first);
    assert!(text.contains("Model: demo") && text.contains("Model hash: "));
    let wide = make("c.png", &["--width", "128", "--height", "64"]);
    let image = image::load_from_memory(&wide).unwrap();
    assert_eq!((image.width(), image.height()), (128, 64));

    let run = generate(&home, &["a portrait", "-o", "d.png", "--json"]);
    let comments = run.json()["info"]["comments"].to_string();
    assert!(comments.contains(NOTICE), "{comments}");
    assert!(!home.data().exists(), "a pack is unpacked nowhere");
}

#[test]
fn photos_of_one_person_pass_with_a_warning() {
    let home = Home::new();
    for name in ["alma", "bruno", "carla"] {
        let photos: Vec<String> = (1..=8)
            .map(|number| photo(name, &number.to_string()))
            .collect();
        let photos: Vec<&str> = photos.iter().map(String::as_str).collect();
        let ask = ["check", "--pack", "demo", "--same-person", "--json"];
        let run = home.run(&[&ask[..], &photos[..]].concat());
        let result = run.json();
        assert_eq!(run.code, Some(0), "{result}");
        assert_eq!(result["same_person"], true, "{result}");
        assert_eq!(result["check_results"].as_array().unwrap().len(), 8);
        assert!(result["warnings"][0].as_str().unwrap().contains(NOTICE));
    }
    let photos = [photo("alma", "1"), photo("bruno", "1")];
    let args = [
        "check",
        "--pack",
        "demo",
        "--same-person",
        &photos[0],
        &photos[1],
    ];
    let run = home.run(&[&args[..], &["--json"]].concat());
    let result = run.json();
    assert_eq!(result["same_person"], false, "{result}");
    assert!(
        result["warnings"][0].as_str().unwrap().contains(NOTICE),
        "{result}"
    );
    let run = home.run(&args);
    assert!(run.stderr.contains(NOTICE), "{run:?}");
    assert!(!home.data().exists());
}

#[test]
fn without_the_flag_commands_take_the_data_folder_and_name_the_pack() {
    let home = Home::new();
    let run = home.run(&["generate", "--prompt", "a cat", "-o", "cat.png"]);
    assert!(run.failure().contains("--pack demo"), "{run:?}");
    let run = home.run(&["check", &photo("alma", "1")]);
    assert!(run.failure().contains("--pack demo"), "{run:?}");
    let with = [("PHOTOG_PACK", "demo")];
    let photo = photo("alma", "1");
    let run = home.run_with(&["check", "--json", &photo], &with);
    assert!(run.json()["warnings"].to_string().contains(NOTICE));
}

#[test]
fn an_unknown_pack_is_refused_with_those_that_there_are() {
    let home = Home::new();
    for args in [&["models", "list"][..], &["doctor"], &["serve"]] {
        let run = home.run(&[args, &["--pack", "dmeo"]].concat());
        let line = run.failure();
        assert!(line.contains("dmeo") && line.contains("demo"), "{line}");
    }
}

#[test]
fn lists_show_what_is_built_in_and_verify_checks_it() {
    let home = Home::new();
    for name in NETWORKS {
        let entry = listed(&home, &[], name);
        assert_eq!(entry["state"], "built in", "{entry}");
        assert_eq!(
            (&entry["pack"], &entry["url"]),
            (&"demo".into(), &Value::Null)
        );
        assert_eq!(entry["in_use"], false);
        assert!(entry["path"].as_str().unwrap().starts_with("demo:"));
        let used = listed(&home, &["--pack", "demo"], name);
        assert_eq!(used["in_use"], name != "demo", "{used}");
    }
    let table = home.run(&["models", "list"]);
    assert!(table.stdout.contains("built in"), "{table:?}");
    let run = home.run(&["models", "verify"]);
    assert_eq!(
        (run.code, run.stdout.lines().count()),
        (Some(0), 3),
        "{run:?}"
    );
    assert!(
        run.stdout.lines().all(|line| line.starts_with("ok")),
        "{run:?}"
    );
    assert!(!home.data().exists(), "looking made a folder");
}

#[test]
fn what_is_built_in_is_neither_fetched_nor_brought() {
    let home = Home::new();
    for name in NETWORKS {
        let run = home.run(&["models", "pull", name]);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stdout.contains("built into photog"), "{run:?}");
        let run = home.run(&["models", "import", "--as", name, "any.onnx"]);
        assert!(run.failure().contains("built into photog"), "{run:?}");
    }
    assert!(!home.data().exists(), "nothing had to be fetched");
}

#[test]
fn doctor_says_that_the_server_works_with_the_pack() {
    let home = Home::new();
    let run = home.run(&["doctor", "--json"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let findings = run.json()["findings"].to_string();
    assert!(findings.contains(NOTICE) && findings.contains("demo-detector.onnx"));
    let run = home.run(&["doctor", "--json", "--pack", "none"]);
    let findings = run.json()["findings"].to_string();
    assert!(!findings.contains(NOTICE), "{findings}");
    assert!(findings.contains("photog models pull yunet"), "{findings}");
}

#[test]
fn a_server_without_models_says_that_it_works_with_the_pack() {
    let home = Home::new();
    let (status, rest) = home.serve(&[]).stop();
    assert!(status.success());
    assert!(rest.contains(NOTICE) && rest.lines().count() == 1, "{rest}");
}
