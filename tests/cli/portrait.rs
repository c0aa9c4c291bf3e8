//! `photog portrait` on the command line, with the demo pack and few steps.

use std::fs;

use photog::imaging::{Limits, decode, xmp::read_xmp};

use crate::program::{Home, Run};

/// What every result says that was made with the pack.
const NOTICE: &str = "made with the demo pack";
const PORTRAIT: [&str; 9] = [
    "portrait",
    "--pack",
    "demo",
    "--device",
    "cpu",
    "--set",
    "first_diffusion_steps=3",
    "--set",
    "second_diffusion_steps=2",
];

fn asset(path: &str) -> String {
    format!("{}/assets/demo/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// Trains somebody in two steps.
fn train(home: &Home, id: &str) {
    let photos = [1, 2].map(|number| asset(&format!("people/{id}/{number}.jpg")));
    let trained = home.run(&[
        "train",
        "--pack",
        "demo",
        "--device",
        "cpu",
        "--set",
        "resolution=64",
        "--set",
        "validation=false",
        "--steps",
        "2",
        "--model-id",
        id,
        &photos[0],
        &photos[1],
    ]);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
}

fn portrait(home: &Home, template: &str, more: &[&str]) -> Run {
    let template = asset(&format!("templates/{template}"));
    home.run(&[&PORTRAIT[..], &["--template", &template], more].concat())
}

#[test]
fn a_portrait_is_written_and_says_what_it_is() {
    let home = Home::new();
    train(&home, "alma");
    let run = portrait(
        &home,
        "one.jpg",
        &["--model-id", "alma", "-o", "a.jpg", "--seed", "4"],
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.starts_with("portrait of alma"), "{}", run.stdout);
    assert!(run.stdout.contains("with seed 4") && run.stdout.ends_with("a.jpg\n"));
    assert!(run.stderr.contains(NOTICE), "{}", run.stderr);
    let file = fs::read(home.path("a.jpg")).unwrap();
    let picture = decode(&file, &Limits::default()).unwrap();
    assert_eq!(picture.dimensions(), (768, 768));
    let said = read_xmp(&file).unwrap();
    assert!(
        said.contains("compositeWithTrainedAlgorithmicMedia"),
        "{said}"
    );

    let more = ["--model-id", "alma", "-o", "a.png", "--seed", "4", "--json"];
    let told = portrait(&home, "one.jpg", &more).json();
    assert_eq!(told["file"], "a.png");
    assert_eq!(
        (told["seed"].as_i64(), &told["model"]),
        (Some(4), &"demo".into())
    );
    assert_eq!(told["model_ids"], serde_json::json!(["alma"]));
    assert_eq!(told["face_scores"].as_array().unwrap().len(), 1);
    assert!(told["warnings"][0].as_str().unwrap().contains(NOTICE));
    let file = fs::read(home.path("a.png")).unwrap();
    assert_eq!(read_xmp(&file), Some(said));
    let exact = decode(&file, &Limits::default()).unwrap();
    let template = fs::read(asset("templates/one.jpg")).unwrap();
    let template = decode(&template, &Limits::default()).unwrap();
    // The corner is out of reach of any mask.
    for (x, y) in [(0, 0), (20, 5), (760, 8)] {
        assert_eq!(exact.get_pixel(x, y), template.get_pixel(x, y));
    }
    assert_ne!(exact.get_pixel(355, 390), template.get_pixel(355, 390));

    let more = ["--model-id", "alma", "-o", "b.png", "--seed", "4", "--set"];
    let plain = portrait(
        &home,
        "one.jpg",
        &[&more[..], &["content_credentials=false"]].concat(),
    );
    assert_eq!(plain.code, Some(0), "{}", plain.stderr);
    let file = fs::read(home.path("b.png")).unwrap();
    assert_eq!(read_xmp(&file), None);
    assert_eq!(decode(&file, &Limits::default()).unwrap(), exact);
}

#[test]
fn two_people_take_the_faces_from_left_to_right() {
    let home = Home::new();
    train(&home, "alma");
    train(&home, "bruno");
    let both = [
        "--model-id",
        "bruno",
        "--model-id",
        "alma",
        "-o",
        "two.jpg",
        "--json",
    ];
    let told = portrait(&home, "two.jpg", &both).json();
    assert_eq!(told["model_ids"], serde_json::json!(["bruno", "alma"]));
    assert_eq!(told["face_scores"].as_array().unwrap().len(), 2);
    let one = ["--model-id", "alma", "-o", "x.jpg"];
    let refused = portrait(&home, "two.jpg", &one);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused
            .stderr
            .contains("shows 2 faces and the request names 1 person"),
        "{}",
        refused.stderr
    );
}

#[test]
fn what_is_wrong_is_said_before_any_work() {
    let home = Home::new();
    let text = home.file("note.txt", "no picture");
    for (args, part) in [
        (
            vec!["--model-id", "nobody", "-o", "a.jpg"],
            "nobody of the id `nobody` is trained",
        ),
        (
            vec!["--model-id", "nobody", "-o", "a.gif"],
            "does not end in .jpg or .png",
        ),
        (
            vec!["--model-id", "nobody", "-o", "no/a.jpg"],
            "there is no folder no",
        ),
        (
            vec!["--model-id", "nobody", "-o", "a.jpg", "--set", "seed"],
            "write NAME=VALUE",
        ),
    ] {
        let run = portrait(&home, "one.jpg", &args);
        assert_eq!(run.code, Some(1), "{args:?}");
        assert!(run.stderr.contains(part), "{args:?}: {}", run.stderr);
        assert_eq!(run.stdout, "");
    }
    for (template, part) in [("no.jpg", "cannot be read"), (&*text, "cannot be used")] {
        let more = [
            "--model-id",
            "nobody",
            "--template",
            template,
            "-o",
            "a.jpg",
        ];
        let run = home.run(&[&PORTRAIT[..], &more].concat());
        assert_eq!(run.code, Some(1));
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
    let run = home.run(&["portrait", "--model-id", "a", "-o", "a.jpg"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
}
