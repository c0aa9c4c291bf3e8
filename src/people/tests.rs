//! What holds of people on disk whatever ends in between.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
};

use serde_json::json;
use tempfile::TempDir;

use super::{record::FILE_NAME, *};

/// An id that a test relies on.
pub(super) fn id(text: &str) -> PersonId {
    text.parse().unwrap()
}

/// A record with something in each member.
pub(super) fn person(name: &str) -> Person {
    let weights = format!("photog/user_weights/{name}");
    Person {
        model_id: id(name),
        job: Some(String::from("photog_train_pmml-7")),
        created: String::from("2026-01-02T03:04:05Z"),
        seconds: 12.5,
        base: Base {
            name: String::from("base"),
            sha256: Some("ab".repeat(32)),
        },
        pack: Some(String::from("demo")),
        lora: format!("webui/models/Lora/{name}/{name}.safetensors"),
        ref_image: format!("photog/user_images/{name}/ref_image.jpg"),
        thumbnail: Some(format!("webui/models/Lora/{name}/{name}.png")),
        caption: String::from("a portrait of a person"),
        train_steps: 200,
        used_images: 1,
        photos: vec![json!({"used": true})],
        settings: json!({"rank": 16}).as_object().unwrap().clone(),
        scores: vec![Score {
            step: 200,
            picture: format!("{weights}/validation/a_200_0.jpg"),
            score: Some(0.57),
            chosen: true,
        }],
        losses: vec![Loss(1, 0.25, 0.5), Loss(2, 0.125, 0.5)],
        checkpoints: vec![Checkpoint {
            step: 200,
            file: format!("{weights}/checkpoint-200.safetensors"),
            chosen: true,
        }],
        warnings: vec![String::from("only one photo")],
    }
}

/// Writes the files that [`person`] names and one more; all hold `text`.
fn fill(workplace: &Workplace, text: &str) {
    for path in [
        workplace.lora(),
        workplace.thumbnail(),
        workplace.reference_photo(),
        workplace.training_photos().join("1.jpg"),
        workplace.checkpoint(200),
        workplace.validation().join("a_200_0.jpg"),
        workplace.best_lora(),
        workplace.state().join("optimizer.safetensors"),
    ] {
        fs::write(path, text).unwrap();
    }
}

fn data() -> (TempDir, People) {
    let home = tempfile::tempdir().unwrap();
    let people = People::new(DataFolder::open(home.path()).unwrap());
    (home, people)
}

fn train(people: &People, name: &str, text: &str) -> Person {
    let workplace = people.begin(&id(name), true).unwrap();
    fill(&workplace, text);
    workplace.publish(person(name)).unwrap()
}

/// All files of the data folder with what they hold.
fn files(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(root).unwrap().to_owned(), text);
            }
        }
    }
    found
}

/// A crash before the step of this number. True in the second place once it has happened.
fn crash_before(number: usize) -> impl FnMut() -> Result<(), PeopleError> {
    let mut steps = 0..number;
    move || {
        let crash = PeopleError::Incomplete("the crash that the test wants");
        steps.next().map(drop).ok_or(crash)
    }
}

fn publish_until_crash(workplace: &Workplace, crash: usize) -> Result<(), PeopleError> {
    let mut before_step = crash_before(crash);
    let staging = workplace.staging();
    staging.decide_to_publish(&person("anna"), &mut before_step)?;
    staging.publish(&mut before_step)?;
    staging.leave(&mut before_step)
}

#[test]
fn a_published_person_lies_where_all_look_for_it() {
    let (home, people) = data();
    let workplace = people.begin(&id("anna"), false).unwrap();
    assert!(!workplace.is_resumed() && workplace.replaced().is_none());
    fill(&workplace, "one");
    let recorded = workplace.recorded(&workplace.lora()).unwrap();
    assert_eq!(recorded, person("anna").lora);
    assert_eq!(workplace.recorded(&workplace.state().join("a")), None);
    assert_eq!(workplace.recorded(home.path()), None);
    let published = workplace.publish(person("anna")).unwrap();
    assert_eq!(published, person("anna"));
    assert_eq!(people.get(&id("anna")).unwrap(), published);
    let files = files(home.path());
    let paths: Vec<&str> = files.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(
        paths,
        [
            "photog/user_images/anna/ref_image.jpg",
            "photog/user_images/anna/train/1.jpg",
            "photog/user_weights/anna/best_outputs/anna.safetensors",
            "photog/user_weights/anna/checkpoint-200.safetensors",
            "photog/user_weights/anna/person.json",
            "photog/user_weights/anna/validation/a_200_0.jpg",
            "webui/models/Lora/anna/anna.png",
            "webui/models/Lora/anna/anna.safetensors",
        ]
    );
    assert!(people.unfinished().unwrap().is_empty());
}

#[test]
fn a_crash_at_any_point_of_a_publication_leaves_one_that_can_be_finished() {
    for replaces in [false, true] {
        let (whole, people) = data();
        train(&people, "anna", "new");
        let wanted = files(whole.path());
        let mut crashes = 0;
        for crash in 0.. {
            let mut is_done = false;
            // By training again, and by the next start of the server.
            for starts in [false, true] {
                let (home, people) = data();
                if replaces {
                    train(&people, "anna", "old");
                }
                let workplace = people.begin(&id("anna"), replaces).unwrap();
                assert_eq!(workplace.replaced().is_some(), replaces);
                fill(&workplace, "new");
                is_done = publish_until_crash(&workplace, crash).is_ok();
                drop(workplace);

                // Whoever looks now sees one person whole, or none.
                if let Ok(person) = people.get(&id("anna")) {
                    let read = |file| fs::read_to_string(home.path().join(file)).unwrap();
                    let seen: Vec<String> = person.files().map(read).collect();
                    assert!(
                        seen.iter().all(|text| *text == seen[0]),
                        "{crash}: {seen:?}"
                    );
                }
                if starts {
                    people.settle().unwrap();
                }
                let workplace = people.begin(&id("anna"), true).unwrap();
                if workplace.is_resumed() {
                    workplace.publish(person("anna")).unwrap();
                } else {
                    assert!(workplace.replaced().is_some(), "{crash}: it was finished");
                    workplace.discard().unwrap();
                }
                assert_eq!(files(home.path()), wanted, "crash before step {crash}");
                let left = fs::read_dir(home.path().join("photog/training")).unwrap();
                assert_eq!(left.count(), 0, "crash before step {crash}");
            }
            if is_done {
                break;
            }
            crashes += 1;
        }
        assert_eq!(crashes, if replaces { 10 } else { 7 });
    }
}

#[test]
fn a_crash_at_any_point_of_a_removal_leaves_nobody_trained_and_the_rest_goes_with_the_next_one() {
    let mut crashes = 0;
    for crash in 0.. {
        let mut is_done = false;
        for again in ["remove", "settle", "begin"] {
            let (home, people) = data();
            train(&people, "anna", "old");
            train(&people, "bruno", "other");
            let half = people.begin(&id("anna"), true).unwrap();
            fs::write(half.state().join("a"), "half").unwrap();
            drop(half);
            is_done = people
                .remove_with(&id("anna"), &mut crash_before(crash))
                .is_ok();
            // Before it was decided nothing has happened, and of the first steps only one is before.
            let is_listed = people.get(&id("anna")).is_ok();
            assert_eq!(is_listed, crash < 2, "crash before step {crash}");
            match again {
                "remove" => drop(people.remove(&id("anna")).unwrap()),
                "settle" if !is_listed => people.settle().unwrap(),
                "begin" if !is_listed => {
                    let workplace = people.begin(&id("anna"), false).unwrap();
                    assert!(!workplace.is_resumed());
                    workplace.discard().unwrap();
                }
                _ => assert!(people.remove(&id("anna")).unwrap()),
            }
            let left = files(home.path());
            assert!(left.values().all(|text| !text.contains("anna")), "{left:?}");
            assert!(left.keys().all(|path| !path.starts_with("photog/training")));
            let others = left
                .keys()
                .filter(|path| path.to_str().unwrap().contains("bruno"));
            assert_eq!(
                others.count(),
                left.len(),
                "crash before step {crash}: {left:?}"
            );
            assert_eq!(left.len(), 8);
            assert!(!people.remove(&id("anna")).unwrap());
        }
        if is_done {
            break;
        }
        crashes += 1;
    }
    assert_eq!(crashes, 7);
}

#[test]
fn no_folder_of_a_removed_person_is_left_either() {
    let (home, people) = data();
    train(&people, "anna", "one");
    assert!(people.remove(&id("anna")).unwrap());
    assert!(matches!(
        people.get(&id("anna")),
        Err(PeopleError::NotFound)
    ));
    let mut open = vec![home.path().to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            assert!(
                !path.to_str().unwrap().contains("anna"),
                "{}",
                path.display()
            );
            assert!(path.is_dir(), "{}", path.display());
            open.push(path);
        }
    }
}

#[test]
fn half_of_a_removed_folder_goes_with_the_next_removal() {
    let (home, people) = data();
    train(&people, "anna", "one");
    // A crash inside of a folder's removal: the record and one of the photos have gone.
    people
        .remove_with(&id("anna"), &mut crash_before(3))
        .unwrap_err();
    fs::remove_file(home.path().join("photog/user_images/anna/train/1.jpg")).unwrap();
    assert!(people.list().unwrap().people.is_empty());
    assert!(people.remove(&id("anna")).unwrap());
    assert!(files(home.path()).is_empty());
}

#[test]
fn a_trained_person_is_not_overwritten_by_accident() {
    let (home, people) = data();
    train(&people, "anna", "old");
    let before = files(home.path());
    let refused = people.begin(&id("anna"), false);
    assert!(matches!(refused, Err(PeopleError::AlreadyExists)));
    assert_eq!(files(home.path()), before);
    assert!(people.unfinished().unwrap().is_empty());

    let workplace = people.begin(&id("anna"), true).unwrap();
    assert_eq!(workplace.replaced(), Some(&person("anna")));
    fill(&workplace, "half");
    drop(workplace);
    // The training that ended too early can still be gone on with after the refusal.
    assert!(people.begin(&id("anna"), false).is_err());
    let workplace = people.begin(&id("anna"), true).unwrap();
    assert!(workplace.is_resumed());
    assert_eq!(fs::read_to_string(workplace.lora()).unwrap(), "half");
    workplace.discard().unwrap();
    assert_eq!(files(home.path()), before);
}

#[test]
fn folders_of_loras_that_are_nobodys_are_neither_overwritten_nor_removed() {
    let (home, people) = data();
    let own = home.path().join("webui/models/Lora/anna");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("anna.safetensors"), "mine").unwrap();
    let refused = people.begin(&id("anna"), false);
    assert!(matches!(refused, Err(PeopleError::AlreadyExists)));
    assert!(!people.remove(&id("anna")).unwrap());
    let workplace = people.begin(&id("anna"), true).unwrap();
    fill(&workplace, "half");
    drop(workplace);
    assert!(people.remove(&id("anna")).unwrap());
    let left = files(home.path());
    assert_eq!(left.len(), 1);
    assert!(left.values().all(|text| text == "mine"));
}

#[test]
fn one_at_a_time_trains_or_removes_a_person() {
    let (_home, people) = data();
    let workplace = people.begin(&id("anna"), false).unwrap();
    fill(&workplace, "half");
    let theirs = people.clone();
    let other = thread::spawn(move || {
        let in_training = |outcome| matches!(outcome, Err(PeopleError::InTraining));
        assert!(in_training(theirs.begin(&id("anna"), true).map(drop)));
        assert!(in_training(theirs.remove(&id("anna")).map(drop)));
        theirs.settle().unwrap();
        theirs
            .begin(&id("bruno"), false)
            .unwrap()
            .discard()
            .unwrap();
        theirs.unfinished().unwrap()
    });
    let unfinished = |in_training| {
        vec![Unfinished {
            model_id: id("anna"),
            in_training,
        }]
    };
    assert_eq!(other.join().unwrap(), unfinished(true));
    drop(workplace);
    assert_eq!(people.unfinished().unwrap(), unfinished(false));
    people.settle().unwrap();
    let mut workplace = people.begin(&id("anna"), false).unwrap();
    assert!(workplace.is_resumed());
    workplace.restart().unwrap();
    assert!(!workplace.is_resumed());
    assert!(workplace.training_photos().is_dir());
    drop(workplace);
    // An empty place is nothing to go on with.
    assert!(people.unfinished().unwrap().is_empty());
    assert!(!people.begin(&id("anna"), false).unwrap().is_resumed());
}

#[test]
fn looking_whether_a_person_is_in_training_fails_no_training() {
    let (_home, people) = data();
    let looker = people.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    drop(people.begin(&id("anna"), false).unwrap());
    let looking = thread::spawn(move || {
        while stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            looker.unfinished().unwrap();
        }
    });
    for _ in 0..50 {
        drop(people.begin(&id("anna"), false).unwrap());
    }
    drop(stop);
    looking.join().unwrap();
}

#[test]
fn a_record_that_names_what_is_not_there_is_not_published() {
    let (_home, people) = data();
    let refuse = |change: &dyn Fn(&mut Person)| {
        let workplace = people.begin(&id("anna"), false).unwrap();
        fill(&workplace, "one");
        let mut wrong = person("anna");
        change(&mut wrong);
        let error = workplace.publish(wrong).unwrap_err();
        assert!(matches!(error, PeopleError::Incomplete(_)), "{error}");
        assert!(people.list().unwrap().people.is_empty());
    };
    refuse(&|wrong| wrong.thumbnail = Some(wrong.lora.replace("safetensors", "jpg")));
    refuse(&|wrong| wrong.ref_image = String::from("photog/user_images/anna/train"));
    refuse(&|wrong| wrong.lora = String::from("webui/models/Lora/bruno/a.safetensors"));
    refuse(&|wrong| wrong.model_id = id("bruno"));
    refuse(&|wrong| wrong.warnings.push("x".repeat(5_000_000)));
    // The place has stayed, and the right record is taken.
    let workplace = people.begin(&id("anna"), false).unwrap();
    assert!(workplace.is_resumed());
    workplace.publish(person("anna")).unwrap();
}

#[test]
fn the_newest_are_listed_first_and_a_damaged_record_hides_nobody() {
    let (home, people) = data();
    assert_eq!(people.list().unwrap(), Listed::default());
    for (name, created) in [
        ("a", "2026-01-02T03:04:05Z"),
        ("c", "2026-01-02T03:04:05.5Z"),
        ("d", "2025-12-31T00:00:00Z"),
        ("b", "2026-01-02T03:04:05Z"),
    ] {
        let workplace = people.begin(&id(name), false).unwrap();
        fill(&workplace, "one");
        let created = created.to_owned();
        let person = Person {
            created,
            ..person(name)
        };
        workplace.publish(person).unwrap();
    }
    let weights = home.path().join("photog/user_weights");
    let damage = |name: &str, bytes: &[u8]| {
        fs::create_dir_all(weights.join(name)).unwrap();
        fs::write(weights.join(name).join(FILE_NAME), bytes).unwrap();
    };
    damage("broken", b"{");
    damage("copied", &person("a").to_json().unwrap());
    damage("huge", &vec![b' '; record::BYTES_MAX as usize + 1]);
    damage("not an id", b"{");
    fs::create_dir_all(weights.join("folder").join(FILE_NAME)).unwrap();
    fs::create_dir_all(weights.join("no-record")).unwrap();
    fs::write(weights.join("a-file"), b"").unwrap();
    std::os::unix::fs::symlink(weights.join("a"), weights.join("link")).unwrap();

    let listed = people.list().unwrap();
    let names: Vec<&str> = listed
        .people
        .iter()
        .map(|summary| summary.model_id.as_str())
        .collect();
    assert_eq!(names, ["c", "a", "b", "d"]);
    assert_eq!(listed.people[0].best_score, Some(0.57));
    let damaged: Vec<&str> = listed
        .damaged
        .iter()
        .map(|damage| damage.model_id.as_str())
        .collect();
    assert_eq!(damaged, ["broken", "copied", "folder", "huge", "link"]);
    // It can be removed and trained again.
    assert!(matches!(
        people.begin(&id("broken"), false),
        Err(PeopleError::AlreadyExists)
    ));
    assert!(
        people
            .begin(&id("broken"), true)
            .unwrap()
            .replaced()
            .is_none()
    );
    assert!(people.remove(&id("broken")).unwrap());
    assert!(people.remove(&id("link")).unwrap());
    assert!(people.get(&id("a")).is_ok(), "what a link leads to stays");
}

#[test]
fn only_pictures_that_the_record_names_are_opened() {
    let (home, people) = data();
    train(&people, "anna", "one");
    let validation = home.path().join("photog/user_weights/anna/validation");
    fs::write(validation.join("other.jpg"), "secret").unwrap();
    let anna = id("anna");
    for picture in [
        Picture::Reference,
        Picture::Thumbnail,
        Picture::Validation("a_200_0.jpg"),
    ] {
        let file = people.open_picture(&anna, picture).unwrap();
        assert_eq!(read_bounded(file, 10).unwrap(), b"one");
    }
    for name in ["other.jpg", "../person.json", "", "validation/a_200_0.jpg"] {
        let refused = people.open_picture(&anna, Picture::Validation(name));
        assert!(matches!(refused, Err(PeopleError::NoPicture)), "{name}");
    }
    // Nor what a link in its place leads to.
    fs::remove_file(validation.join("a_200_0.jpg")).unwrap();
    std::os::unix::fs::symlink("other.jpg", validation.join("a_200_0.jpg")).unwrap();
    let refused = people.open_picture(&anna, Picture::Validation("a_200_0.jpg"));
    assert!(matches!(refused, Err(PeopleError::NoPicture)));
    let refused = people.open_picture(&id("bruno"), Picture::Reference);
    assert!(matches!(refused, Err(PeopleError::NotFound)));
}

#[test]
fn loras_may_lie_on_another_disk() {
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
        println!("skipped: there is no second file system at /dev/shm");
        return;
    };
    let (home, people) = data();
    let folder = home.path().join("webui/models/Lora");
    fs::remove_dir(&folder).unwrap();
    std::os::unix::fs::symlink(other.path(), &folder).unwrap();
    for text in ["old", "new"] {
        train(&people, "anna", text);
        let lora = folder.join("anna/anna.safetensors");
        assert_eq!(fs::read_to_string(lora).unwrap(), text);
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    }
    assert!(people.remove(&id("anna")).unwrap());
    assert!(files(home.path()).is_empty());
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
}
