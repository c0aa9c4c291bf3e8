//! Trainings that are broken off and gone on with.

use super::*;
use crate::{
    domain::Problem,
    job::{CancelReason, ProgressSink},
    pipeline::Failure,
};

/// A training that is broken off in this step.
fn broken_at(step_of_break: usize, reason: CancelReason) -> Wanted {
    let mut wanted = wanted(&MadeUp::default());
    let cancel = wanted.context.cancel.clone();
    wanted.models.happens = Arc::new(move |step, _| {
        if step == step_of_break {
            cancel.cancel(reason);
        }
        loss(1.0 / step as f64)
    });
    wanted
}

/// One that begins, and is broken off in step 7.
fn break_off(bench: &Bench) {
    let error = bench
        .train(&broken_at(7, CancelReason::Shutdown))
        .unwrap_err();
    assert!(matches!(error, TrainError::Stopped(CancelReason::Shutdown)));
    assert!(bench.is_unfinished());
}

/// What a training comes to that nobody breaks off.
fn whole() -> (Bench, Person) {
    let bench = Bench::new();
    let person = bench.train(&wanted(&MadeUp::default())).unwrap();
    (bench, person)
}

#[track_caller]
fn are_alike((bench, person): (&Bench, &Person), (whole_bench, whole): (&Bench, &Person)) {
    assert_eq!(bench.lora(person), whole_bench.lora(whole));
    assert_eq!(person.losses, whole.losses);
    assert_eq!(person.scores, whole.scores);
    assert_eq!(person.checkpoints, whole.checkpoints);
    assert_eq!(person.photos, whole.photos);
    assert_eq!(person.warnings, whole.warnings);
    assert_eq!(person.settings, whole.settings);
    assert_eq!(person.train_steps, whole.train_steps);
    let names = |bench: &Bench| -> Vec<PathBuf> {
        let below = |path: PathBuf| path.strip_prefix(bench.home.path()).unwrap().to_owned();
        bench.files().into_iter().map(below).collect()
    };
    assert_eq!(names(bench), names(whole_bench));
}

#[test]
fn a_training_that_is_broken_off_ends_as_it_would_have_ended() {
    let (whole_bench, whole) = whole();
    for reason in [CancelReason::Shutdown, CancelReason::Deadline] {
        // Between checkpoints, and in the very first step.
        for at in [1, 7, 19] {
            let bench = Bench::new();
            let error = bench.train(&broken_at(at, reason)).unwrap_err();
            assert!(matches!(error, TrainError::Stopped(found) if found == reason));
            assert!(bench.is_unfinished());
            assert!(bench.people.list().unwrap().people.is_empty());
            let models = MadeUp::default();
            let person = bench.train(&wanted(&models)).unwrap();
            assert_eq!(models.numbers_of_steps(), (at + 1..=20).collect::<Vec<_>>());
            are_alike((&bench, &person), (&whole_bench, &whole));
        }
    }
}

#[test]
fn a_training_that_is_broken_off_again_and_again_ends_as_it_would_have_ended() {
    let (whole_bench, whole) = whole();
    let bench = Bench::new();
    for at in [3, 4, 9, 16] {
        let wanted = broken_at(at, CancelReason::Shutdown);
        assert!(bench.train(&wanted).is_err());
    }
    let models = MadeUp::default();
    let person = bench.train(&wanted(&models)).unwrap();
    assert_eq!(models.numbers_of_steps(), [17, 18, 19, 20]);
    are_alike((&bench, &person), (&whole_bench, &whole));
}

#[test]
fn a_break_while_pictures_are_made_costs_the_steps_since_the_last_state() {
    let (whole_bench, whole) = whole();
    let bench = Bench::new();
    let mut first = wanted(&MadeUp::default());
    let cancel = first.context.cancel.clone();
    first.models.shows = Arc::new(move |step, _| {
        if step == 10 {
            cancel.cancel(CancelReason::Shutdown);
        }
        ANNA
    });
    assert!(bench.train(&first).is_err());
    let models = MadeUp::default();
    let person = bench.train(&wanted(&models)).unwrap();
    assert_eq!(models.numbers_of_steps(), (6..=20).collect::<Vec<_>>());
    are_alike((&bench, &person), (&whole_bench, &whole));
}

#[test]
fn lowered_rates_stay_low_after_a_break() {
    let diverges = |step: usize, share: f64| {
        loss(if step == 6 && share == 1.0 {
            f64::NAN
        } else {
            0.5
        })
    };
    let whole_bench = Bench::new();
    let whole = whole_bench.train(&wanted(&MadeUp::new(diverges))).unwrap();
    let bench = Bench::new();
    let mut first = wanted(&MadeUp::default());
    let cancel = first.context.cancel.clone();
    first.models.happens = Arc::new(move |step, share| {
        if share < 1.0 && step == 8 {
            cancel.cancel(CancelReason::Shutdown);
        }
        diverges(step, share)
    });
    assert!(bench.train(&first).is_err());
    let models = MadeUp::new(diverges);
    let person = bench.train(&wanted(&models)).unwrap();
    let rest: Vec<(usize, f64)> = (9..=20).map(|step| (step, 1.0 / 3.0)).collect();
    assert_eq!(models.steps(), rest);
    is_said(&person, "a third of the learning rate");
    are_alike((&bench, &person), (&whole_bench, &whole));
    // And it is not tried a third time.
    let bench = Bench::new();
    assert!(bench.train(&first_again(&first)).is_err());
    let error = bench
        .train(&wanted(&MadeUp::new(|_, _| loss(f64::NAN))))
        .unwrap_err();
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    bench.has_nothing();
}

/// The same with a job that nobody has stopped yet.
fn first_again(first: &Wanted) -> Wanted {
    let mut again = wanted(&first.models);
    let cancel = again.context.cancel.clone();
    again.models.happens = Arc::new(move |step, share| {
        if share < 1.0 && step == 8 {
            cancel.cancel(CancelReason::Shutdown);
        }
        loss(if step == 6 && share == 1.0 {
            f64::NAN
        } else {
            0.5
        })
    });
    again
}

#[test]
fn whoever_goes_on_needs_no_photos() {
    let (whole_bench, whole) = whole();
    for resume in [Resume::Same("print"), Resume::Always] {
        let bench = Bench::new();
        break_off(&bench);
        let mut later = wanted(&MadeUp::default());
        later.photos.clear();
        later.resume = resume;
        // What it began with decides, not what comes later.
        later.settings.max_train_steps = 3;
        let person = bench.train(&later).unwrap();
        assert_eq!(later.models.numbers_of_steps()[0], 8);
        are_alike((&bench, &person), (&whole_bench, &whole));
    }
}

#[test]
fn another_request_begins_anew() {
    for resume in [Resume::Same("another print"), Resume::Drop] {
        let bench = Bench::new();
        break_off(&bench);
        let mut other = wanted(&MadeUp::default());
        other.resume = resume;
        other.settings.max_train_steps = 10;
        other.photos = photos(3);
        let person = bench.train(&other).unwrap();
        assert_eq!(
            other.models.numbers_of_steps(),
            (1..=10).collect::<Vec<_>>()
        );
        assert_eq!((person.train_steps, person.used_images), (10, 3));
        // Nothing of what was dropped is among the files.
        let weights = files_below(&bench.path("photog/user_weights/anna"));
        let checkpoints = weights
            .iter()
            .filter(|path| path.to_string_lossy().contains("checkpoint-"));
        assert_eq!(checkpoints.count(), 2);
    }
}

#[test]
fn work_is_not_lost_by_accident() {
    let bench = Bench::new();
    break_off(&bench);
    let before = bench.files();
    let mut careful = wanted(&MadeUp::default());
    careful.resume = Resume::Refuse;
    let error = bench.train(&careful).unwrap_err();
    assert!(matches!(error, TrainError::Unfinished(_)), "{error}");
    assert!(error.to_string().contains("--resume"), "{error}");
    assert_eq!(bench.files(), before);
    // Nor when it was begun with another checkpoint.
    careful.settings.sd_model_checkpoint = Some(String::from("other"));
    assert!(bench.train(&careful).is_err());
    assert_eq!(bench.files(), before);
    // Who goes on, goes on with the checkpoint that it was begun with.
    careful.resume = Resume::Always;
    let person = bench.train(&careful).unwrap();
    assert_eq!(person.base.name, "made-up");
    assert_eq!(careful.models.numbers_of_steps()[0], 8);
    assert_eq!(person.train_steps, 20);
}

#[test]
fn nothing_to_go_on_with_is_said_and_without_it_refusing_trains() {
    let bench = Bench::new();
    let mut wanted = wanted(&MadeUp::default());
    wanted.resume = Resume::Always;
    let error = bench.train(&wanted).unwrap_err();
    assert!(matches!(error, TrainError::Unfinished(_)), "{error}");
    assert!(!bench.is_unfinished());
    wanted.resume = Resume::Refuse;
    assert_eq!(bench.train(&wanted).unwrap().train_steps, 20);
}

/// Breaks off the job after its first photo.
struct Stops(CancelToken);

impl ProgressSink for Stops {
    fn report(&self, _fraction: f64, note: &str) {
        if note.starts_with("photo 1") {
            self.0.cancel(CancelReason::Shutdown);
        }
    }
}

#[test]
fn a_break_while_photos_are_prepared_costs_only_those() {
    let bench = Bench::new();
    let first = wanted(&MadeUp::default());
    let context = JobContext {
        progress: Arc::new(Stops(first.context.cancel.clone())),
        ..first.context.clone()
    };
    let first = Wanted { context, ..first };
    let failure = Failure::from(bench.train(&first).unwrap_err());
    assert_eq!(failure.problem, Problem::Interrupted);
    assert!(first.models.steps().is_empty());
    let models = MadeUp::default();
    assert_eq!(bench.train(&wanted(&models)).unwrap().train_steps, 20);
}

#[test]
fn a_damaged_beginning_is_dropped_and_a_damaged_state_is_told_of() {
    let bench = Bench::new();
    break_off(&bench);
    fs::write(bench.staged("state/start.json"), "{").unwrap();
    let models = MadeUp::default();
    bench.train(&wanted(&models)).unwrap();
    assert_eq!(models.numbers_of_steps()[0], 1);

    let bench = Bench::new();
    break_off(&bench);
    fs::write(bench.staged("state/training.safetensors"), "nonsense").unwrap();
    let error = bench.train(&wanted(&MadeUp::default())).unwrap_err();
    assert!(!error.to_string().is_empty());
    // It can be begun anew.
    let mut anew = wanted(&MadeUp::default());
    anew.resume = Resume::Drop;
    assert_eq!(bench.train(&anew).unwrap().train_steps, 20);
}
