//! What is there, and what is said, when a training ends otherwise.

use std::{io, os::unix::fs::symlink};

use super::*;
use crate::{
    domain::Problem,
    job::{CancelReason, Finish},
    people::PeopleError,
    pipeline::Failure,
    store::StoreError,
};

const NO_NUMBER: f64 = f64::NAN;

#[track_caller]
fn failure(result: Result<Person, TrainError>) -> Failure {
    match result {
        Ok(_) => panic!("there is a person"),
        Err(error) => error.into(),
    }
}

/// The reasons of the photos that a failure tells of.
fn reasons(failure: &Failure) -> Vec<String> {
    let fates = failure.members["photos"].as_array().unwrap();
    let reason = |fate: &serde_json::Value| fate["reason"].as_str().unwrap_or("none").to_owned();
    fates.iter().map(reason).collect()
}

#[test]
fn photos_without_a_face_end_it_with_the_fate_of_each() {
    let bench = Bench::new();
    let mut wanted = wanted(&MadeUp::default());
    wanted.photos = vec![photo(NOBODY, 1), samples::png(100, 100), b"x".to_vec()];
    let failure = failure(bench.train(&wanted));
    assert_eq!(failure.problem, Problem::NoUsableImage);
    assert_eq!(reasons(&failure), ["no_face", "too_small", "decode_failed"]);
    bench.has_nothing();
    assert!(wanted.models.log.lock().unwrap().trainings.is_empty());
}

#[test]
fn photos_of_two_persons_end_it_with_the_fate_of_each() {
    let bench = Bench::new();
    let mut wanted = wanted(&MadeUp::default());
    wanted.photos = (0..4)
        .map(|at| photo(if at % 2 == 0 { ANNA } else { BEN }, at))
        .collect();
    let failure = failure(bench.train(&wanted));
    assert_eq!(failure.problem, Problem::NoUsableImage);
    assert_eq!(reasons(&failure), ["another_person"; 4]);
    assert!(failure.message.contains("several persons"), "{failure}");
    bench.has_nothing();
}

#[test]
fn a_loss_that_is_no_number_is_tried_again_at_a_third_of_the_rate() {
    let bench = Bench::new();
    let models = MadeUp::new(|step, share| {
        loss(if step == 8 && share == 1.0 {
            NO_NUMBER
        } else {
            0.5
        })
    });
    let person = bench.train(&wanted(&models)).unwrap();
    let steps = models.steps();
    assert_eq!(steps.len(), 8 + 20);
    assert!(steps[..8].iter().all(|(_, share)| *share == 1.0));
    assert!(steps[8..].iter().all(|(_, share)| *share == 1.0 / 3.0));
    assert_eq!(steps[8].0, 1);
    is_said(
        &person,
        "at step 8, so the training was begun anew with a third of",
    );
    assert_eq!(person.losses.len(), 20);
    assert!(person.losses.iter().all(|loss| loss.2 < 1e-4 / 2.9));
    // Pictures and checkpoints are those of the second time.
    assert_eq!((person.scores.len(), person.checkpoints.len()), (8, 4));
}

#[test]
fn of_a_training_that_was_begun_anew_nothing_of_the_first_time_is_left() {
    let bench = Bench::new();
    let mut wanted = wanted(&MadeUp::default());
    let finish = wanted.context.finish.clone();
    wanted.models.happens = Arc::new(move |step, share| match step {
        8 if share == 1.0 => loss(NO_NUMBER),
        3 if share < 1.0 => {
            finish.ask(Finish::All);
            loss(0.5)
        }
        _ => loss(0.5),
    });
    let person = bench.train(&wanted).unwrap();
    assert_eq!(person.train_steps, 3);
    let names: Vec<String> = files_below(&bench.path("photog/user_weights/anna"))
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        names,
        [
            "anna.safetensors",
            "global_step_1_3_0.jpg",
            "checkpoint-3.safetensors",
            "person.json",
            "global_step_0_3_0.jpg",
            "global_step_1_3_0.jpg",
        ]
    );
}

#[test]
fn a_loss_that_is_no_number_twice_leaves_nothing() {
    let bench = Bench::new();
    let models = MadeUp::new(|step, share| {
        let last = if share == 1.0 { 8 } else { 12 };
        loss(if step == last { NO_NUMBER } else { 0.5 })
    });
    let failure = failure(bench.train(&wanted(&models)));
    assert_eq!(failure.problem, Problem::TrainingFailed);
    let told = "no number at step 8, and again at step 12 with a third";
    assert!(failure.message.contains(told), "{failure}");
    assert!(failure.message.contains("learning_rate"), "{failure}");
    assert_eq!(models.steps().len(), 8 + 12);
    bench.has_nothing();
}

#[test]
fn a_gradient_that_is_no_number_counts_as_such_a_loss() {
    let bench = Bench::new();
    let models = MadeUp::new(|_, _| {
        Ok(Found {
            loss: 0.5,
            gradient: f64::INFINITY,
        })
    });
    let error = bench.train(&wanted(&models)).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    assert_eq!(models.numbers_of_steps(), [1, 1]);
    bench.has_nothing();
}

/// Sixty steps.
fn long(models: &MadeUp) -> Wanted {
    let mut wanted = wanted(models);
    wanted.settings.steps_per_photos = 30;
    wanted.settings.max_train_steps = 60;
    wanted.settings.val_and_checkpointing_steps = 30;
    wanted
}

#[test]
fn a_loss_that_runs_away_is_tried_again_and_twice_leaves_nothing() {
    let rises = |step: usize| loss(if step > 30 { 5.0 } else { 0.5 });
    let bench = Bench::new();
    let models = MadeUp::new(
        move |step, share| {
            if share == 1.0 { rises(step) } else { loss(0.5) }
        },
    );
    let person = bench.train(&long(&models)).unwrap();
    is_said(&person, "the loss ran away");
    let bench = Bench::new();
    let models = MadeUp::new(move |step, _| rises(step));
    let failure = failure(bench.train(&long(&models)));
    assert_eq!(failure.problem, Problem::TrainingFailed);
    assert!(failure.message.contains("ran away"), "{failure}");
    bench.has_nothing();
}

#[test]
fn a_loss_that_jumps_about_does_not_run_away() {
    let bench = Bench::new();
    let models = MadeUp::new(|step, _| loss(if step % 10 == 9 { 9.0 } else { 0.3 }));
    let person = bench.train(&long(&models)).unwrap();
    assert_eq!((person.train_steps, models.steps().len()), (60, 60));
}

#[test]
fn too_little_memory_is_named_and_the_request_goes_on_when_it_comes_again() {
    let bench = Bench::new();
    let models = MadeUp::new(|step, _| match step {
        8 => Err(DiffusionError::OutOfMemory {
            device: String::from("cuda:0"),
        }),
        _ => loss(0.5),
    });
    let failure = failure(bench.train(&wanted(&models)));
    assert_eq!(failure.problem, Problem::OutOfMemory);
    assert!(bench.is_unfinished());
    let models = MadeUp::default();
    bench.train(&wanted(&models)).unwrap();
    // What was done after the last checkpoint is done again.
    assert_eq!(models.numbers_of_steps(), (6..=20).collect::<Vec<_>>());
    assert!(!bench.is_unfinished());
}

#[test]
fn a_missing_checkpoint_is_named_before_anything_is_written() {
    let bench = Bench::new();
    let mut wanted = wanted(&MadeUp::default());
    wanted.settings.sd_model_checkpoint = Some(String::from("another"));
    let failure = failure(bench.train(&wanted));
    assert_eq!(failure.problem, Problem::BaseModelMissing);
    bench.has_nothing();
}

/// A file that no byte can be written to, as on a full disk.
fn fill_up(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink("/dev/full", path).unwrap();
}

#[test]
fn a_full_disk_is_named_and_costs_no_step() {
    let bench = Bench::new();
    let models = MadeUp::default();
    let mut first = wanted(&models);
    let best = bench.staged("weights/best_outputs/global_step_1_20_0.jpg");
    let full = best.clone();
    first.models.happens = Arc::new(move |step, _| {
        if step == 20 {
            fill_up(&full);
        }
        loss(0.5)
    });
    let failure = failure(bench.train(&first));
    assert_eq!(failure.problem, Problem::DiskFull);
    assert!(bench.is_unfinished());
    assert!(bench.people.list().unwrap().people.is_empty());
    fs::remove_file(best).unwrap();
    let person = bench.train(&wanted(&models)).unwrap();
    assert_eq!(person.train_steps, 20);
    assert_eq!(models.steps().len(), 20);
}

#[test]
fn a_full_disk_is_named_while_photos_are_prepared() {
    let bench = Bench::new();
    fill_up(&bench.staged("state/originals/0.jpg"));
    let failure = failure(bench.train(&wanted(&MadeUp::default())));
    assert_eq!(failure.problem, Problem::DiskFull, "{failure}");
}

#[test]
fn a_full_disk_is_known_from_every_error_of_the_system() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        let io = || io::Error::from(kind);
        let problem = |error: TrainError| Failure::from(error).problem;
        assert_eq!(problem(io().into()), Problem::DiskFull);
        assert_eq!(problem(StoreError::Io(io()).into()), Problem::DiskFull);
        let people = PeopleError::from(io());
        assert_eq!(problem(people.into()), Problem::DiskFull);
    }
    let other = TrainError::from(io::Error::from(io::ErrorKind::PermissionDenied));
    assert_eq!(Failure::from(other).problem, Problem::InternalError);
}

#[test]
fn a_file_that_cannot_be_written_ends_it_and_the_request_goes_on_when_it_can() {
    let bench = Bench::new();
    let mut first = wanted(&MadeUp::default());
    let path = bench.staged("weights/checkpoint-10.safetensors");
    let taken = path.clone();
    first.models.happens = Arc::new(move |step, _| {
        if step == 7 {
            fs::create_dir_all(taken.join("in the way")).unwrap();
        }
        loss(0.5)
    });
    let failure = failure(bench.train(&first));
    assert_eq!(failure.problem, Problem::InternalError);
    assert!(bench.is_unfinished());
    fs::remove_dir_all(path).unwrap();
    let models = MadeUp::default();
    bench.train(&wanted(&models)).unwrap();
    assert_eq!(models.numbers_of_steps(), (6..=20).collect::<Vec<_>>());
}

/// Networks that stop their job in this step.
fn stopping(at: usize, reason: CancelReason) -> Wanted {
    let mut wanted = wanted(&MadeUp::default());
    let cancel = wanted.context.cancel.clone();
    wanted.models.happens = Arc::new(move |step, _| {
        if step == at {
            cancel.cancel(reason);
        }
        loss(0.5)
    });
    wanted
}

#[test]
fn a_user_who_cancels_is_heard_within_one_step_and_nothing_is_left() {
    // Within the rhythm of the checkpoints, at one, and at the end.
    for (at, validation) in [(1, true), (7, true), (10, true), (20, true), (20, false)] {
        let bench = Bench::new();
        let mut wanted = stopping(at, CancelReason::User);
        wanted.settings.validation = validation;
        let failure = failure(bench.train(&wanted));
        assert_eq!(failure.problem, Problem::Cancelled, "{at}");
        assert_eq!(wanted.models.steps().len(), at);
        bench.has_nothing();
    }
}

#[test]
fn a_user_who_cancels_before_it_begins_is_heard_at_once() {
    let bench = Bench::new();
    let wanted = wanted(&MadeUp::default());
    wanted.context.cancel.cancel(CancelReason::User);
    assert_eq!(failure(bench.train(&wanted)).problem, Problem::Cancelled);
    bench.has_nothing();
}

#[test]
fn who_asks_to_finish_gets_what_is_there_after_the_step() {
    for at in [3, 12] {
        let bench = Bench::new();
        let mut wanted = wanted(&MadeUp::default());
        let finish = wanted.context.finish.clone();
        wanted.models.happens = Arc::new(move |step, _| {
            if step == at {
                finish.ask(Finish::All);
            }
            loss(0.5)
        });
        let person = bench.train(&wanted).unwrap();
        assert_eq!(person.train_steps as usize, at);
        assert_eq!(wanted.models.steps().len(), at);
        let last = person.checkpoints.last().unwrap();
        assert_eq!(last.step as usize, at);
        assert!(bench.path(&last.file).is_file());
        is_said(&person, "asked to finish early");
        assert_eq!(bench.lora(&person).0["ss_steps"], at.to_string());
    }
}

#[test]
fn who_asks_to_leave_out_a_round_is_not_meant() {
    let bench = Bench::new();
    let wanted = wanted(&MadeUp::default());
    wanted.context.finish.ask(Finish::Round);
    assert_eq!(bench.train(&wanted).unwrap().train_steps, 20);
}

#[test]
fn a_person_of_that_id_stays_unless_it_may_be_overwritten() {
    let bench = Bench::new();
    let models = MadeUp::default();
    let first = bench.train(&wanted(&models)).unwrap();
    let before = bench.files();
    let failure = failure(bench.train(&wanted(&models)));
    assert_eq!(failure.problem, Problem::ModelAlreadyExists);
    assert_eq!(bench.files(), before);
    assert_eq!(models.log.lock().unwrap().trainings.len(), 1);
    let mut again = wanted(&models);
    again.overwrite = true;
    again.settings.max_train_steps = 10;
    let second = bench.train(&again).unwrap();
    assert_eq!((first.train_steps, second.train_steps), (20, 10));
    assert_eq!(bench.people.get(&anna()).unwrap(), second);
    // No file of the first one is left.
    assert_eq!(second.checkpoints.len(), 2);
    let weights = files_below(&bench.path("photog/user_weights/anna"));
    let checkpoints = weights
        .iter()
        .filter(|path| path.to_string_lossy().contains("checkpoint-"));
    assert_eq!(checkpoints.count(), 2);
}

#[test]
fn a_person_who_was_to_be_overwritten_stays_when_the_training_fails() {
    let bench = Bench::new();
    let first = bench.train(&wanted(&MadeUp::default())).unwrap();
    let before = bench.files();
    for mut again in [
        wanted(&MadeUp::new(|_, _| loss(NO_NUMBER))),
        stopping(7, CancelReason::User),
        Wanted {
            photos: vec![photo(NOBODY, 1)],
            ..wanted(&MadeUp::default())
        },
    ] {
        again.overwrite = true;
        assert!(bench.train(&again).is_err());
        assert_eq!(bench.people.get(&anna()).unwrap(), first);
        assert_eq!(bench.files(), before);
    }
}

#[test]
fn a_person_in_training_is_not_trained_by_another() {
    let bench = Bench::new();
    let _place = bench.people.begin(&anna(), false).unwrap();
    let failure = failure(bench.train(&wanted(&MadeUp::default())));
    assert_eq!(failure.problem, Problem::ModelAlreadyExists);
    assert!(failure.message.contains("in training"), "{failure}");
}
