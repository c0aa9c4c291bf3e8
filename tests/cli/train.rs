//! `photog train` on the command line, with the demo pack and few steps of small pictures.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use photog::models::weights::Container;
use rustix::process::{Pid, Signal, kill_process};

use crate::program::{Home, Run};

/// What every result says that was made with the pack.
const NOTICE: &str = "made with the demo pack";
/// Small enough that a processor is done in seconds.
const TRAIN: [&str; 13] = [
    "train",
    "--pack",
    "demo",
    "--device",
    "cpu",
    "--set",
    "resolution=64",
    "--set",
    "rank=4",
    "--set",
    "gradient_accumulation_steps=1",
    "--set",
    "val_and_checkpointing_steps=2",
];
/// Steps of a training that is interrupted. It goes on for a second or two after the first are saved.
const STEPS: &str = "40";
/// A saved state that does not come has hung.
const TIME_MAX: Duration = Duration::from_secs(60);

fn photo(person: &str, number: u32) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    format!("{root}/assets/demo/people/{person}/{number}.jpg")
}

/// Trains a person with two photos.
fn train(home: &Home, id: &str, more: &[&str]) -> Run {
    let photos = [photo("alma", 1), photo("alma", 2)];
    let photos = [photos[0].as_str(), photos[1].as_str()];
    home.run(&[&TRAIN[..], &["--model-id", id], more, &photos].concat())
}

/// The arguments of a training of many steps.
fn long(id: &str) -> Vec<String> {
    let steps = format!("steps_per_photos={STEPS}");
    let more = [
        "--model-id",
        id,
        "--steps",
        STEPS,
        "--set",
        &steps,
        "--set",
        "validation=false",
    ];
    let photos = [photo("alma", 1), photo("alma", 2)];
    let all = TRAIN.iter().chain(&more).map(|word| (*word).to_owned());
    all.chain(photos).collect()
}

fn as_texts(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// Starts a long training and sends it a signal once a state was saved.
fn interrupt(home: &Home, args: &[&str], id: &str, signal: Signal) -> Run {
    let child = home.command(args).spawn().unwrap();
    let state = format!("photog/training/{id}/state/training.safetensors");
    let state = home.data().join(state);
    let began = Instant::now();
    while !state.exists() {
        assert!(began.elapsed() < TIME_MAX, "no state was saved");
        thread::sleep(Duration::from_millis(2));
    }
    kill_process(Pid::from_child(&child), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn lora(home: &Home, id: &str) -> Container {
    let path = format!("webui/models/Lora/{id}/{id}.safetensors");
    Container::open(&home.data().join(path)).unwrap()
}

/// The largest difference of two LoRAs with the same tensors.
fn difference(one: &Container, other: &Container) -> f32 {
    let names: Vec<&str> = one.names().collect();
    assert!(!names.is_empty() && names.iter().copied().eq(other.names()));
    let numbers = |file: &Container, name| file.get(name).unwrap().to_f32().unwrap();
    let pairs = names
        .into_iter()
        .flat_map(|name| numbers(one, name).into_iter().zip(numbers(other, name)));
    pairs.fold(0.0, |most, (one, other)| (one - other).abs().max(most))
}

#[test]
fn a_person_is_trained_and_what_came_of_it_is_told_in_text_and_in_json() {
    let home = Home::new();
    let run = train(&home, "anna", &["--steps", "2"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let path = "webui/models/Lora/anna/anna.safetensors";
    assert!(
        run.stdout
            .starts_with("trained anna with 2 photos in 2 steps, ")
            && run.stdout.ends_with(&format!("\n{path}\n")),
        "{run:?}"
    );
    assert!(
        run.stderr.contains(NOTICE) && run.stderr.contains("only 2 photos"),
        "{run:?}"
    );
    assert!(home.data().join(path).is_file());
    let list = home.run(&["people", "list", "--json"]).json();
    assert_eq!(list["people"][0]["model_id"], "anna");

    let run = train(&home, "bruno", &["--steps", "1", "--json"]);
    let result = run.json();
    assert_eq!(
        (run.code, &result["code"]),
        (Some(0), &"OK".into()),
        "{result}"
    );
    assert_eq!(result["model_id"], "bruno");
    assert_eq!(
        (&result["used_images"], &result["train_steps"]),
        (&2.into(), &1.into())
    );
    assert_eq!(result["photos"].as_array().unwrap().len(), 2);
    assert!(result["warnings"][0].as_str().unwrap().contains(NOTICE));
    let reference = result["ref_image"].as_str().unwrap();
    assert!(home.data().join(reference).is_file());
}

#[test]
fn a_person_of_that_id_is_replaced_only_when_that_is_wanted() {
    let home = Home::new();
    let steps = ["--steps", "1", "--set", "validation=false"];
    assert_eq!(train(&home, "anna", &steps).code, Some(0));
    let run = train(&home, "anna", &steps);
    assert!(run.failure().contains("--overwrite"), "{run:?}");
    let more = [&steps[..], &["--overwrite", "--set", "seed=7"]].concat();
    let before = lora(&home, "anna");
    assert_eq!(train(&home, "anna", &more).code, Some(0));
    assert!(difference(&before, &lora(&home, "anna")) > 0.0);
}

#[test]
fn what_cannot_be_trained_is_said_and_leaves_nothing() {
    let home = Home::new();
    let fails = |args: &[&str], said: &str| {
        let run = home.run(&[&TRAIN[..], args].concat());
        assert!(run.failure().contains(said), "{run:?}");
        let list = home.run(&["people", "list", "--json"]).json();
        assert!(list["unfinished"].as_array().unwrap().is_empty(), "{list}");
        let left = fs::read_dir(home.data().join("photog/training"));
        assert_eq!(left.map_or(0, Iterator::count), 0, "{args:?}");
    };
    let photo = photo("alma", 1);
    fails(&["missing.jpg"], "could not be read");
    let text = home.file("text.jpg", "no picture");
    fails(&["missing.jpg", &text], "none of the 2 photos");
    fails(&["--set", "rank=x", &photo], "configure.rank");
    fails(&["--set", "rank", &photo], "NAME=VALUE");
    fails(&["--model", "other", &photo], "no checkpoint `other`");
    let resume = ["train", "--pack", "demo", "--model-id", "anna", "--resume"];
    let run = home.run(&resume);
    assert!(run.failure().contains("no unfinished training"), "{run:?}");
    let left = fs::read_dir(home.data().join("photog/training"));
    assert_eq!(left.map_or(0, Iterator::count), 0);
    for wrong in [
        &["train"][..],
        &["train", "--resume"],
        &["train", "--model-id", "../anna", &photo],
        &["train", "--model-id", "anna", "--resume", &photo],
        &["train", "--model-id", "anna", "--resume", "--set", "rank=4"],
    ] {
        assert_eq!(home.run(wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn photos_that_are_left_out_are_named_as_they_were_given() {
    let home = Home::new();
    let one = ["--model-id", "anna", "--steps", "1"];
    let text = home.file("text.jpg", "no picture");
    let (photo, copy) = (photo("alma", 1), home.path("copy.jpg"));
    fs::copy(&photo, &copy).unwrap();
    let photos = [&photo, copy.to_str().unwrap(), &text];
    let run = home.run(&[&TRAIN[..], &one, &photos].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.stderr.contains("text.jpg is left out: ")
            && run.stderr.contains("copy.jpg is left out: ")
            && run.stderr.contains(&format!("same shot as {photo}")),
        "{run:?}"
    );
    assert!(!run.stderr.contains("images["), "{run:?}");
}

#[test]
fn a_training_that_was_killed_goes_on_to_the_same_lora() {
    let home = Home::new();
    let args = long("whole");
    let whole = home.run(&as_texts(&args));
    assert_eq!(whole.code, Some(0), "{whole:?}");

    let args = long("broken");
    let run = interrupt(&home, &as_texts(&args), "broken", Signal::KILL);
    assert_eq!(run.code, None, "it was done before it was killed: {run:?}");
    let list = home.run(&["people", "list", "--json"]).json();
    assert_eq!(list["unfinished"][0], "broken");
    let run = home.run(&as_texts(&args));
    assert!(run.failure().contains("--resume"), "{run:?}");
    let resume = ["train", "--pack", "demo", "--device", "cpu", "--resume"];
    let run = home.run(&[&resume[..], &["--model-id", "broken", "--json"]].concat());
    let result = run.json();
    assert_eq!((run.code, &result["code"]), (Some(0), &"OK".into()));
    assert_eq!(result["train_steps"].to_string(), STEPS);
    let found = difference(&lora(&home, "whole"), &lora(&home, "broken"));
    assert!(found <= 1e-6, "{found}");
    let list = home.run(&["people", "list", "--json"]).json();
    assert_eq!(list["unfinished"].as_array().unwrap().len(), 0);
}

#[test]
fn a_stop_says_how_to_go_on_and_an_earlier_person_stays_until_then() {
    let home = Home::new();
    let steps = ["--steps", "1", "--set", "validation=false"];
    assert_eq!(train(&home, "anna", &steps).code, Some(0));
    let before = lora(&home, "anna");
    let mut args = long("anna");
    args.insert(1, String::from("--overwrite"));
    let run = interrupt(&home, &as_texts(&args), "anna", Signal::INT);
    assert_eq!(run.code, Some(1), "{run:?}");
    let said = "go on with `photog train --pack demo --model-id anna --resume`";
    assert!(run.stderr.contains(said), "{run:?}");
    assert!(difference(&before, &lora(&home, "anna")) <= 0.0);
    let resume = ["train", "--pack", "demo", "--device", "cpu", "--resume"];
    let run = home.run(&[&resume[..], &["--model-id", "anna"]].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(difference(&before, &lora(&home, "anna")) > 0.0);
}

#[test]
fn a_stop_that_keeps_makes_the_person_of_what_was_learned() {
    let home = Home::new();
    let mut args = long("anna");
    args.insert(1, String::from("--keep-partial"));
    let run = interrupt(&home, &as_texts(&args), "anna", Signal::INT);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("asked to finish early"), "{run:?}");
    let record = home.run(&["people", "show", "anna", "--json"]).json();
    let steps = record["train_steps"].as_u64().unwrap();
    assert!((2..40).contains(&steps), "{steps}");
}
