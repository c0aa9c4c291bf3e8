//! `photog generate` with a tiny checkpoint of random weights.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::program::{Home, Run};

/// Small enough for any machine.
const SMALL: [&str; 6] = ["--width", "64", "--height", "64", "--steps", "2"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/fixtures/diffusion")
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// A folder whose data folder has the tiny networks.
fn studio() -> Home {
    let home = Home::new();
    let models = home.path("photog-data/webui/models");
    for (name, place) in [
        ("tiny", "Stable-diffusion/tiny"),
        ("tiny_lora_kohya.safetensors", "Lora/anna.safetensors"),
        ("tiny_controlnet", "ControlNet/edges"),
    ] {
        let to = models.join(place);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        copy(&fixtures().join(name), &to);
    }
    home
}

fn generate(home: &Home, more: &[&str]) -> Run {
    home.run(&[&["generate", "--device", "cpu"], &SMALL[..], more].concat())
}

fn picture(home: &Home, more: &[&str]) -> Vec<u8> {
    let run = generate(home, more);
    assert_eq!(run.code, Some(0), "{run:?}");
    fs::read(home.path(run.stdout.trim_end())).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_file_and_another_one_another() {
    let home = studio();
    let make = |seed: &str| {
        picture(
            &home,
            &["--prompt", "a cat", "--seed", seed, "-o", "cat.png"],
        )
    };
    let first = make("5");
    assert_eq!(first, make("5"));
    assert_ne!(first, make("6"));
    let image = image::load_from_memory(&first).unwrap();
    assert_eq!((image.width(), image.height()), (64, 64));
    let text = String::from_utf8_lossy(&first);
    assert!(
        text.contains("a cat\nSteps: 2, Sampler: DPM++ 2M"),
        "{text}"
    );
    assert!(text.contains("Seed: 5") && text.contains("Model: tiny"));
}

#[test]
fn a_lora_a_hint_and_a_picture_to_start_from_change_the_picture() {
    let home = studio();
    let base = ["--prompt", "a cat", "--seed", "5", "-o", "base.png"];
    let plain = picture(&home, &base);
    let with = |more: &[&str]| picture(&home, &[&base[..5], &["new.png"], more].concat());
    let mut seen = vec![plain];
    for more in [
        &["--lora", "anna:0.8"][..],
        &["--control", "edges:base.png:0.7"],
        &["--init", "base.png", "--strength", "0.5"],
        &["--sampler", "Euler a"],
        &["--cfg", "3"],
        &["--negative", "blurry"],
        &["--clip-skip", "2"],
    ] {
        let new = with(more);
        assert!(!seen.contains(&new), "{more:?} changed nothing");
        seen.push(new);
    }
}

#[test]
fn several_pictures_have_their_numbers_and_json_names_them() {
    let home = studio();
    let run = generate(
        &home,
        &[
            "--prompt", "a cat", "--seed", "5", "-n", "3", "--batch", "2", "-o", "cat.png",
            "--json",
        ],
    );
    assert_eq!(run.code, Some(0), "{run:?}");
    let json = run.json();
    let files = ["cat-1.png", "cat-2.png", "cat-3.png"];
    assert_eq!(json["files"], serde_json::json!(files));
    assert_eq!(json["info"]["all_seeds"][2], 7);
    // A picture does not depend on those beside it.
    let alone = picture(
        &home,
        &["--prompt", "a cat", "--seed", "6", "-o", "one.png"],
    );
    assert_eq!(fs::read(home.path(files[1])).unwrap(), alone);
}

#[test]
fn what_is_missing_or_wrong_is_one_line_that_says_what_to_do() {
    let bare = Home::new();
    let args = ["--prompt", "a cat", "-o", "cat.png"];
    let failure = generate(&bare, &args);
    assert!(
        failure.failure().contains("Stable-diffusion"),
        "{failure:?}"
    );
    let home = studio();
    for (more, said) in [
        (&["--sampler", "Eule"][..], "Sampler"),
        (&["--model", "nobody"], "nobody"),
        (&["--control", "edges"], "NAME:FILE"),
        (&["--init", "missing.png"], "missing.png"),
        (&["--vae", "nobody"], "nobody"),
    ] {
        let run = generate(&home, &[&args, more].concat());
        assert!(run.failure().contains(said), "{run:?}");
        assert!(!home.path("cat.png").exists());
    }
    let usage = generate(&home, &[&args[..], &["--mask", "m.png"]].concat());
    assert_eq!(usage.code, Some(2));
}
