//! The end of a training: which checkpoints become the LoRA, and what is written down.

use std::{collections::BTreeMap, fs, path::Path, time::SystemTime};

use serde_json::{Map, Value};

use super::{
    choice::{Scored, best, merge, weights},
    error::TrainError,
    kept::{Course, KeptPicture, Start},
    lora_file::lora_file,
    model::Base,
    run::Task,
};
use crate::{
    imaging::{self, Kernel, RgbImage, png_text::write_png, resize},
    models::{diffusion::DiffusionError, lora::KohyaFile, training::Recipe, weights::Container},
    people::{self, Checkpoint, Person, Score, Workplace},
    store::write_atomic,
};

/// Longest side of the picture beside the LoRA, and of those that are shown on the way.
const THUMBNAIL_SIDE: u32 = 512;
/// Most of the best validation pictures that are kept beside the LoRA.
const BEST_PICTURES_MAX: usize = 4;

/// What the steps came to.
pub(super) struct Outcome<'a> {
    pub(super) start: &'a Start,
    pub(super) base: &'a Base,
    pub(super) place: &'a Workplace,
    pub(super) course: Course,
    pub(super) recipe: Recipe,
    pub(super) steps_done: usize,
}

/// What is written down of a training that has ended well.
pub(super) struct Finished {
    start: Start,
    course: Course,
    steps_done: usize,
    scores: Vec<Score>,
    checkpoints: Vec<Checkpoint>,
    warnings: Vec<String>,
}

/// What a LoRA file says of itself (`portrait-pipeline` section 12.2).
pub(super) fn about(
    id: &str,
    start: &Start,
    base: &Base,
    recipe: &Recipe,
    step: usize,
) -> BTreeMap<String, String> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let settings = &start.settings;
    let side = settings.resolution;
    let version = env!("CARGO_PKG_VERSION");
    let text_rate = recipe.text_rate.unwrap_or(0.0);
    let mut about = BTreeMap::from(
        [
            ("ss_output_name", id.to_owned()),
            ("ss_sd_model_name", base.name.clone()),
            ("ss_learning_rate", recipe.unet_rate.to_string()),
            ("ss_unet_lr", recipe.unet_rate.to_string()),
            ("ss_text_encoder_lr", text_rate.to_string()),
            (
                "ss_lr_scheduler",
                format!("{:?}", recipe.curve).to_lowercase(),
            ),
            ("ss_optimizer", String::from("AdamW")),
            ("ss_steps", step.to_string()),
            ("ss_max_train_steps", recipe.steps.to_string()),
            ("ss_num_train_images", start.pictures.len().to_string()),
            ("ss_total_batch_size", recipe.pictures.to_string()),
            ("ss_resolution", format!("({side}, {side})")),
            ("ss_seed", recipe.seed.to_string()),
            ("ss_clip_skip", String::from("None")),
            ("ss_noise_offset", recipe.noise_offset.to_string()),
            ("ss_training_comment", settings.whole_caption()),
            ("modelspec.title", id.to_owned()),
            ("modelspec.implementation", String::from("diffusers")),
            ("modelspec.resolution", format!("{side}x{side}")),
            ("modelspec.date", now),
            ("modelspec.trigger_phrase", settings.whole_caption()),
            ("photog_version", version.to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    if let Some(limit) = recipe.min_snr {
        about.insert("ss_min_snr_gamma".into(), limit.to_string());
    }
    if let Some(hash) = &base.sha256 {
        about.insert("ss_new_sd_model_hash".into(), hash.clone());
    }
    about
}

/// Chooses and merges the checkpoints and writes the LoRA with its pictures.
pub(super) fn finish(outcome: Outcome<'_>) -> Result<Finished, TrainError> {
    let Outcome {
        start,
        base,
        place,
        course,
        recipe,
        steps_done,
    } = outcome;
    let mut pictures = course.pictures.clone();
    pictures.sort_by_key(|picture| picture.step);
    let scored: Vec<Scored> = pictures
        .iter()
        .map(|KeptPicture { step, score, .. }| Scored {
            step: *step,
            score: *score,
        })
        .collect();
    let best = best(&scored);
    let mut chosen = weights(&scored, &best);
    let mut warnings = Vec::new();
    if chosen.is_empty() {
        chosen.insert(steps_done as u32, 1);
        if !pictures.is_empty() {
            warnings.push(String::from(
                "no validation picture shows a face that could be compared with the person, so the last \
                 checkpoint was taken",
            ));
        }
    }
    if steps_done < recipe.steps {
        warnings.push(format!(
            "the training was asked to finish early, after {steps_done} of {} steps",
            recipe.steps
        ));
    }
    if let Some((what, step)) = &course.lowered {
        warnings.push(format!(
            "{what} at step {step}, so the training was begun anew with a third of the learning rate"
        ));
    }
    let open = |step: &u32| Container::open(&place.checkpoint(*step)).map_err(DiffusionError::from);
    let files = chosen.keys().map(open).collect::<Result<Vec<_>, _>>()?;
    let weighted: Vec<(&Container, usize)> = files.iter().zip(chosen.values().copied()).collect();
    let tensors = merge(&weighted).ok_or_else(|| {
        TrainError::Unfinished(String::from(
            "the checkpoints of this training do not fit each other; begin it anew",
        ))
    })?;
    let mut metadata = files[0].metadata().clone();
    metadata.retain(|key, _| !key.contains("hash"));
    metadata.extend(about(place.id().as_str(), start, base, &recipe, steps_done));
    let lora = lora_file(KohyaFile { tensors, metadata })?;
    write_atomic(&place.best_lora(), &lora)?;
    if let Some(folder) = place.lora().parent() {
        fs::create_dir_all(folder)?;
    }
    write_atomic(&place.lora(), &lora)?;
    write_pictures(place, &pictures, &best)?;
    let recorded = |path: &Path| place.recorded(path).unwrap_or_default();
    let scores = pictures.iter().enumerate().map(|(at, picture)| Score {
        step: picture.step,
        picture: recorded(&place.validation().join(&picture.file)),
        score: picture.score,
        chosen: best.contains(&at),
    });
    let steps = steps_with_checkpoints(start, steps_done);
    let checkpoints = steps.map(|step| Checkpoint {
        step,
        file: recorded(&place.checkpoint(step)),
        chosen: chosen.contains_key(&step),
    });
    Ok(Finished {
        scores: scores.collect(),
        checkpoints: checkpoints.collect(),
        start: start.clone(),
        course,
        steps_done,
        warnings,
    })
}

/// The steps after which checkpoints were written.
fn steps_with_checkpoints(start: &Start, steps_done: usize) -> impl Iterator<Item = u32> {
    let every = start.settings.val_and_checkpointing_steps;
    let last = (!steps_done.is_multiple_of(every)).then_some(steps_done);
    let regular = (every..=steps_done).step_by(every);
    regular.chain(last).map(|step| step as u32)
}

/// Copies the best pictures beside the LoRA, and makes the picture that lists show for it.
fn write_pictures(
    place: &Workplace,
    pictures: &[KeptPicture],
    best: &[usize],
) -> Result<(), TrainError> {
    for at in best.iter().take(BEST_PICTURES_MAX) {
        let file = &pictures[*at].file;
        fs::copy(
            place.validation().join(file),
            place.best_outputs().join(file),
        )?;
    }
    let first = best
        .first()
        .map(|at| place.validation().join(&pictures[*at].file));
    let bytes = fs::read(first.unwrap_or_else(|| place.reference_photo()))?;
    let picture = imaging::decode(&bytes, &imaging::Limits::default())?;
    Ok(write_atomic(&place.thumbnail(), &small_png(&picture)?)?)
}

/// A picture to be shown beside others, as PNG.
pub(super) fn small_png(picture: &RgbImage) -> Result<Vec<u8>, TrainError> {
    let (width, height) = picture.dimensions();
    let scale = f64::from(THUMBNAIL_SIDE) / f64::from(width.max(height));
    let side = |side: u32| ((f64::from(side) * scale.min(1.0)).round() as u32).max(1);
    let small = resize(picture, side(width), side(height), Kernel::Box);
    write_png(&small, &[]).map_err(|error| TrainError::Files(error.to_string()))
}

/// The record of the person.
pub(super) fn record(
    task: &Task<'_>,
    base: &Base,
    place: &Workplace,
    finished: Finished,
) -> Result<Person, TrainError> {
    let Finished {
        start,
        course,
        steps_done,
        scores,
        checkpoints,
        warnings,
    } = finished;
    let missing = || TrainError::Files(String::from("a file of the person has no place"));
    let recorded = |path: &Path| place.recorded(path).ok_or_else(missing);
    let settings = match serde_json::to_value(&start.settings) {
        Ok(Value::Object(settings)) => settings,
        _ => Map::new(),
    };
    Ok(Person {
        model_id: task.id.clone(),
        job: task.job.clone(),
        created: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        seconds: (course.seconds.max(0.0) * 1000.0).round() / 1000.0,
        base: people::Base {
            name: base.name.clone(),
            sha256: base.sha256.clone(),
        },
        pack: base.pack.map(|pack| pack.as_str().to_owned()),
        lora: recorded(&place.lora())?,
        ref_image: recorded(&place.reference_photo())?,
        thumbnail: Some(recorded(&place.thumbnail())?),
        caption: start.settings.whole_caption(),
        train_steps: steps_done as u32,
        used_images: start.pictures.len() as u32,
        photos: start.fates,
        settings,
        scores,
        losses: course.losses,
        checkpoints,
        warnings: start.warnings.into_iter().chain(warnings).collect(),
    })
}
