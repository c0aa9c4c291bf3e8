//! What is there when a training has ended well.

use serde_json::Value;

use super::*;
use crate::pipeline::train::hash::sha256;
use crate::{
    imaging,
    job::{ProgressSink, TrainingProgress},
};

#[test]
fn a_person_appears_with_all_files_that_the_record_names() {
    let bench = Bench::new();
    let models = MadeUp::default();
    let person = bench.train(&wanted(&models)).unwrap();
    assert_eq!(bench.people.get(&anna()).unwrap(), person);
    let named = [&person.lora, &person.ref_image].into_iter();
    let named = named.chain(person.thumbnail.as_ref());
    let pictures = person.scores.iter().map(|score| &score.picture);
    let checkpoints = person.checkpoints.iter().map(|checkpoint| &checkpoint.file);
    for file in named.chain(pictures).chain(checkpoints) {
        assert!(bench.path(file).is_file(), "{file}");
    }
    assert_eq!((person.train_steps, person.used_images), (20, 2));
    let steps: Vec<u32> = person.checkpoints.iter().map(|one| one.step).collect();
    assert_eq!(steps, [5, 10, 15, 20]);
    let scored: Vec<u32> = person.scores.iter().map(|score| score.step).collect();
    assert_eq!(scored, [5, 5, 10, 10, 15, 15, 20, 20]);
    let losses: Vec<u32> = person.losses.iter().map(|loss| loss.0).collect();
    assert_eq!(losses, (1..=20).collect::<Vec<u32>>());
    assert_eq!((person.losses[3].1, person.losses[3].2), (0.25, 1e-4));
    assert_eq!(person.job.as_deref(), Some("job-1"));
    assert_eq!(person.base.name, "made-up");
    assert_eq!(person.settings["resolution"], SMALL);
    is_said(&person, "said of the request");
    is_said(&person, "only 2 photos are used");
    assert_eq!(bench.files().len(), {
        // Record, LoRA twice with its picture, reference photo, two training pictures, checkpoints,
        // validation pictures and the best of them.
        1 + 3 + 1 + 2 + 4 + 8 + 3
    });
    assert!(!bench.staged("").exists());
    let picture = |path: &str| {
        let bytes = fs::read(bench.path(path)).unwrap();
        imaging::decode(&bytes, &imaging::Limits::default()).unwrap()
    };
    assert_eq!(picture(&person.ref_image).width(), PHOTO_SIDE);
    assert_eq!(picture(&person.thumbnail.clone().unwrap()).width(), 64);
}

#[test]
fn the_lora_says_what_it_is_and_bears_its_hash() {
    let bench = Bench::new();
    let person = bench.train(&wanted(&MadeUp::default())).unwrap();
    let (about, numbers) = bench.lora(&person);
    assert_eq!(about["ss_output_name"], "anna");
    assert_eq!(about["ss_sd_model_name"], "made-up");
    assert_eq!(about["ss_steps"], "20");
    assert_eq!(about["ss_num_train_images"], "2");
    assert_eq!(about["ss_network_dim"], "2");
    assert_eq!(about["modelspec.trigger_phrase"], person.caption);
    assert_eq!(about["ss_new_sd_model_hash"], "ab".repeat(32));
    assert_eq!(numbers.len(), 3);
    let bytes = fs::read(bench.path(&person.lora)).unwrap();
    let head = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let hash = sha256(&bytes[8 + head..]);
    assert_eq!(about["sshs_model_hash"], hash);
    assert_eq!(about["modelspec.hash_sha256"], format!("0x{hash}"));
    let best = "photog/user_weights/anna/best_outputs/anna.safetensors";
    assert_eq!(fs::read(bench.path(best)).unwrap(), bytes);
}

#[test]
fn the_checkpoints_whose_pictures_are_most_like_the_person_become_the_lora() {
    let bench = Bench::new();
    let models = MadeUp::showing(|step, at| match (step, at) {
        (10, _) => ANNA,
        (15, 1) => [200, 60],
        (20, _) => NOBODY,
        _ => BEN,
    });
    let person = bench.train(&wanted(&models)).unwrap();
    // Three of eight pictures count: 10 of 32.
    let chosen = person.scores.iter().filter(|score| score.chosen);
    let chosen: Vec<(u32, &str)> = chosen
        .map(|score| (score.step, score.picture.rsplit('/').next().unwrap()))
        .collect();
    assert_eq!(
        chosen,
        [
            (10, "global_step_0_10_0.jpg"),
            (10, "global_step_1_10_0.jpg"),
            (15, "global_step_1_15_0.jpg"),
        ]
    );
    let chosen = person.checkpoints.iter().filter(|one| one.chosen);
    assert_eq!(chosen.map(|one| one.step).collect::<Vec<_>>(), [10, 15]);
    assert!(person.best_score().unwrap() > 0.9999);
    assert!(person.scores[6].score.is_none() && person.scores[7].score.is_none());
    let of_step = |at: usize| {
        let path = bench.path(&person.checkpoints[at].file);
        numbers(&Container::open(&path).unwrap())
    };
    let (ten, fifteen) = (of_step(1), of_step(2));
    for (name, merged) in bench.lora(&person).1 {
        for (at, number) in merged.iter().enumerate() {
            let mean = (2.0 * ten[&name][at] + fifteen[&name][at]) / 3.0;
            // What 16 bits hold of it.
            assert!((number - mean).abs() <= mean.abs() / 1024.0, "{name}");
        }
    }
    let best = files_below(&bench.path("photog/user_weights/anna/best_outputs"));
    assert_eq!(best.len(), 4);
}

#[test]
fn without_a_face_in_any_picture_the_last_checkpoint_is_taken_and_that_is_said() {
    let bench = Bench::new();
    let models = MadeUp::showing(|_, _| NOBODY);
    let person = bench.train(&wanted(&models)).unwrap();
    is_said(&person, "so the last checkpoint was taken");
    let chosen: Vec<bool> = person.checkpoints.iter().map(|one| one.chosen).collect();
    assert_eq!(chosen, [false, false, false, true]);
    let path = bench.path(&person.checkpoints[3].file);
    let last = numbers(&Container::open(&path).unwrap());
    assert_eq!(bench.lora(&person).1, last);
    assert_eq!(person.best_score(), None);
    // The picture beside the LoRA is the reference photo then.
    assert!(bench.path(&person.thumbnail.unwrap()).is_file());
}

#[test]
fn without_validation_no_picture_is_made() {
    let bench = Bench::new();
    let mut wanted = wanted(&MadeUp::default());
    wanted.settings.validation = false;
    // The last checkpoint comes after the last step, be it in the rhythm or not.
    wanted.settings.val_and_checkpointing_steps = 7;
    let person = bench.train(&wanted).unwrap();
    assert!(person.scores.is_empty());
    assert!(wanted.models.log.lock().unwrap().pictures.is_empty());
    let steps: Vec<(u32, bool)> = person
        .checkpoints
        .iter()
        .map(|one| (one.step, one.chosen))
        .collect();
    assert_eq!(steps, [(7, false), (14, false), (20, true)]);
    let told: Vec<&String> = person.warnings.iter().collect();
    assert!(
        told.iter().all(|text| !text.contains("checkpoint")),
        "{told:?}"
    );
}

#[test]
fn the_faces_of_templates_are_made_anew_and_templates_without_one_are_passed_over() {
    let bench = Bench::new();
    let mut wanted = wanted(&MadeUp::default());
    let showing = |whom| picture(whom, 300);
    wanted.templates = [BEN, NOBODY, ANNA, BEN].map(showing).to_vec();
    let person = bench.train(&wanted).unwrap();
    assert_eq!(person.scores.len(), 3 * 4);
    let pictures = wanted.models.log.lock().unwrap().pictures.clone();
    assert_eq!(pictures, [(5, 3), (10, 3), (15, 3), (20, 3)]);
}

#[test]
fn one_photo_is_enough_and_gives_as_many_steps_as_one_is_worth() {
    let bench = Bench::new();
    let mut wanted = wanted(&MadeUp::default());
    wanted.photos = photos(1);
    let person = bench.train(&wanted).unwrap();
    assert_eq!((person.train_steps, person.used_images), (10, 1));
    assert_eq!(wanted.models.numbers_of_steps().len(), 10);
    is_said(&person, "only 1 photo is used");
}

#[test]
fn of_a_hundred_photos_the_best_are_used_and_each_has_its_fate() {
    let bench = Bench::new();
    let mut wanted = wanted(&MadeUp::default());
    wanted.photos = (0..100)
        .map(|at| photo([200, 20 + at as u8 % 10], at))
        .collect();
    let person = bench.train(&wanted).unwrap();
    assert_eq!(person.used_images as usize, KEPT_MAX);
    assert_eq!(person.photos.len(), 100);
    let used = person.photos.iter().filter(|fate| fate["fate"] == "used");
    assert_eq!(used.count(), KEPT_MAX);
    let log = wanted.models.log.lock().unwrap();
    let (lessons, recipe) = &log.trainings[0];
    assert_eq!((*lessons, recipe.steps), (KEPT_MAX, 20));
    is_said(&person, "100 photos were sent");
}

#[test]
fn photos_that_are_left_out_are_named_with_their_reasons() {
    let bench = Bench::new();
    let mut wanted = wanted(&MadeUp::default());
    wanted.photos = photos(3);
    wanted.photos.push(photo(ANNA, 0));
    wanted.photos.push(photo(BEN, 7));
    wanted.photos.push(photo(NOBODY, 8));
    wanted.photos.push(b"no picture".to_vec());
    let person = bench.train(&wanted).unwrap();
    assert_eq!(person.used_images, 3);
    let reasons: Vec<&Value> = person.photos.iter().map(|fate| &fate["reason"]).collect();
    let none = &Value::Null;
    assert_eq!(&reasons[..3], [none, none, none]);
    assert_eq!(
        reasons[3..],
        ["same_shot", "another_person", "no_face", "decode_failed"]
    );
    for at in 3..7 {
        is_said(&person, &format!("images[{at}] is left out"));
    }
    let references = person
        .photos
        .iter()
        .filter(|fate| fate["reference"] == true);
    assert_eq!(references.count(), 1);
}

/// What a sink was told.
#[derive(Default)]
struct Told {
    fractions: Mutex<Vec<f64>>,
    places: Mutex<Vec<TrainingProgress>>,
    previews: Mutex<usize>,
}

impl ProgressSink for Told {
    fn report(&self, fraction: f64, _note: &str) {
        self.fractions.lock().unwrap().push(fraction);
    }

    fn training(&self, progress: TrainingProgress) {
        self.places.lock().unwrap().push(progress);
    }

    fn preview(&self, _png: bytes::Bytes) {
        *self.previews.lock().unwrap() += 1;
    }
}

#[test]
fn progress_never_goes_back_and_tells_steps_and_losses() {
    let bench = Bench::new();
    let told = Arc::new(Told::default());
    let mut wanted = wanted(&MadeUp::default());
    wanted.context.progress = told.clone();
    bench.train(&wanted).unwrap();
    let fractions = told.fractions.lock().unwrap();
    assert!(fractions.is_sorted(), "{fractions:?}");
    assert!(*fractions.last().unwrap() <= 1.0);
    let places = told.places.lock().unwrap();
    assert_eq!(places[0].phase, "preparing");
    let steps: Vec<&TrainingProgress> = places
        .iter()
        .filter(|place| place.phase == "training")
        .collect();
    assert_eq!(steps.len(), 20);
    assert_eq!((steps[3].step, steps[3].steps), (4, 20));
    assert_eq!(steps[3].loss, Some(0.25));
    assert_eq!(steps[19].remaining, Some(Duration::ZERO));
    let validations = places.iter().filter(|place| place.phase == "validating");
    assert_eq!(validations.count(), 4);
    assert_eq!(*told.previews.lock().unwrap(), 4);
}
