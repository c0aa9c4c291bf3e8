//! Trained persons on the command line.

use std::fs;

use photog::{
    people::{Base, People, Person, Score},
    store::DataFolder,
};
use serde_json::json;

use crate::program::Home;

fn people(home: &Home) -> People {
    People::new(DataFolder::open(home.data()).unwrap())
}

/// What a trainer would leave of a person.
fn train(people: &People, name: &str, created: &str) {
    let id = name.parse().unwrap();
    let workplace = people.begin(&id, false).unwrap();
    let picture = workplace.validation().join("a_100_0.jpg");
    for path in [
        workplace.lora(),
        workplace.reference_photo(),
        picture.clone(),
    ] {
        fs::write(path, b"bytes").unwrap();
    }
    let person = Person {
        model_id: id,
        job: None,
        created: created.to_owned(),
        seconds: 412.63,
        base: Base {
            name: String::from("a-base"),
            sha256: None,
        },
        pack: Some(String::from("demo")),
        lora: workplace.recorded(&workplace.lora()).unwrap(),
        ref_image: workplace.recorded(&workplace.reference_photo()).unwrap(),
        thumbnail: None,
        caption: String::from("a portrait"),
        train_steps: 800,
        used_images: 8,
        photos: vec![],
        settings: serde_json::Map::new(),
        scores: vec![Score {
            step: 100,
            picture: workplace.recorded(&picture).unwrap(),
            score: Some(0.57),
            chosen: true,
        }],
        losses: vec![],
        checkpoints: vec![],
        warnings: vec![String::from("few photos")],
    };
    workplace.publish(person).unwrap();
}

#[test]
fn people_are_listed_and_shown() {
    let home = Home::new();
    let people = people(&home);
    train(&people, "anna", "2026-01-02T03:04:05Z");
    train(&people, "bruno", "2026-01-03T03:04:05Z");
    let list = home.run(&["people", "list"]);
    assert_eq!(
        list.stdout,
        "ID     TRAINED               STEPS  PHOTOS  SCORE  BASE\n\
         bruno  2026-01-03T03:04:05Z  800    8       0.570  a-base\n\
         anna   2026-01-02T03:04:05Z  800    8       0.570  a-base\n"
    );
    let list = home.run(&["people", "list", "--json"]).json();
    assert_eq!(list["people"][1]["model_id"], "anna");
    assert_eq!(list["people"][1]["score"], 0.57);
    assert_eq!(
        list["people"][1]["base"],
        json!({"name": "a-base", "sha256": null})
    );
    assert_eq!(
        (&list["in_training"], &list["damaged"]),
        (&json!([]), &json!([]))
    );

    let shown = home.run(&["people", "show", "anna"]);
    assert_eq!(shown.code, Some(0));
    for part in [
        "412.6 s",
        "a-base (of the demo pack)",
        "few photos",
        "anna.safetensors",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    let record = home.run(&["people", "show", "anna", "--json"]).json();
    assert_eq!(
        (&record["version"], &record["seconds"]),
        (&json!(1), &json!(412.63))
    );
    assert_eq!(record["scores"][0]["score"], 0.57);
    let nobody = home.run(&["people", "show", "carla"]);
    assert!(
        nobody
            .failure()
            .contains("carla: there is no trained person")
    );
}

#[test]
fn what_is_not_done_or_damaged_is_listed_beside_them() {
    let home = Home::new();
    let people = people(&home);
    let work = |name: &str| {
        let workplace = people.begin(&name.parse().unwrap(), false).unwrap();
        fs::write(workplace.lora(), b"half").unwrap();
        workplace
    };
    let _now = work("anna");
    drop(work("bruno"));
    let damaged = home.data().join("photog/user_weights/carla");
    fs::create_dir(&damaged).unwrap();
    fs::write(damaged.join("person.json"), b"{}").unwrap();
    let list = home.run(&["people", "list"]);
    assert_eq!(list.code, Some(0));
    for part in [
        "no trained person",
        "In training: anna.",
        "Not done: bruno.",
        "The record of carla is damaged, ",
    ] {
        assert!(list.stdout.contains(part), "{part}: {list:?}");
    }
    let list = home.run(&["people", "list", "--json"]).json();
    assert_eq!(
        (&list["in_training"], &list["unfinished"]),
        (&json!(["anna"]), &json!(["bruno"]))
    );
    assert_eq!(list["damaged"][0]["model_id"], "carla");
    let shown = home.run(&["people", "show", "carla"]);
    assert!(shown.failure().contains("damaged"));
}

#[test]
fn a_removal_leaves_nothing_and_says_who_could_not_be_removed() {
    let home = Home::new();
    let people = people(&home);
    train(&people, "anna", "2026-01-02T03:04:05Z");
    train(&people, "bruno", "2026-01-02T03:04:05Z");
    let training = people.begin(&"bruno".parse().unwrap(), true).unwrap();
    let run = home.run(&["people", "rm", "bruno"]);
    assert!(run.failure().contains("bruno: this person is in training"));

    let run = home.run(&["people", "rm", "carla", "anna", "bruno"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), "removed anna\n"));
    let said = [
        "2 of 3",
        "carla: there is no",
        "bruno: this person is in training",
    ];
    assert!(said.iter().all(|part| run.stderr.contains(part)), "{run:?}");
    training.discard().unwrap();
    let run = home.run(&["people", "rm", "bruno", "--json"]);
    assert_eq!(run.code, Some(0));
    assert_eq!(
        run.json(),
        json!({"people": [{"model_id": "bruno", "removed": true, "reason": null}]})
    );
    let mut open = vec![home.data()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            assert!(path.is_dir(), "{}", path.display());
            open.push(path);
        }
    }
}

#[test]
fn looking_for_people_makes_no_data_folder() {
    let home = Home::new();
    assert!(
        home.run(&["people", "list"])
            .stdout
            .contains("no trained person")
    );
    assert!(
        home.run(&["people", "rm", "anna"])
            .failure()
            .contains("anna: there is no")
    );
    assert!(!home.data().exists());
    let wrong = home.run(&["people", "show", "../anna"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("128 letters"), "{wrong:?}");
}
