//! A training from photos to a person.
//!
//! ```text
//!   begin --> photos prepared? --no--> prepare, keep start.json
//!                 | yes                     |
//!                 v                         v
//!             state saved? --yes--> restore, go on
//!                 | no
//!                 v
//!          step ... step, checkpoint, pictures, state ... --> finish: choose, merge, publish
//! ```

use std::{
    fmt, fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    error::{TrainError, is_full},
    finish::{self, Finished},
    kept::{self, Course, KeptPicture, Start},
    lora_file::lora_file,
    model::{Base, Model, Models, Training},
    portraits::{Portraits, Style},
    prepare::{Options, Prepared, left_out, prepare},
    settings::Settings,
};
use crate::{
    domain::PersonId,
    fetch::Fetcher,
    imaging::{self, RgbImage, write_jpeg},
    job::{CancelReason, Finish, JobContext, TrainingProgress},
    models::{
        diffusion::{DiffusionError, Lesson},
        face::Embedding,
        lora::write_kohya,
        training::{Found, Recipe},
        weights::Container,
    },
    people::{Loss, People, Person, Workplace},
    pipeline::{Observer, PhotoSource},
    store::write_atomic,
};

/// Longest time between two saved states.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// Quality of the JPEG files of training pictures.
const QUALITY: u8 = 95;
/// What learning rates are multiplied with after a training came to nothing.
const LOWER_RATE: f64 = 1.0 / 3.0;
/// Steps over which a loss is averaged to see whether it runs away.
const WINDOW: usize = 20;
/// How many times the first average a later one may be. The loss of a training that learns stays near
/// its first value; one that runs away is beyond the square of the noise, ten and more times of it.
const RUNAWAY: f64 = 4.0;
/// Parts of the whole at which the phases end, in the progress.
const PREPARED: f64 = 0.08;
const TRAINED: f64 = 0.97;

/// Whom to train.
pub struct Task<'a> {
    /// The id of the person.
    pub id: PersonId,
    /// The photos; none when an unfinished training is gone on with.
    pub photos: &'a [PhotoSource<'a>],
    /// The settings.
    pub settings: Settings,
    /// Whether an earlier person of this id may be replaced.
    pub overwrite: bool,
    /// What an unfinished training of this id means.
    pub resume: Resume<'a>,
    /// The job, for the record.
    pub job: Option<String>,
    /// What is already to be said of the request.
    pub warnings: Vec<String>,
}

/// What an unfinished training of the same id means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume<'a> {
    /// It is gone on with when it came of a request with this print, and dropped otherwise.
    Same(&'a str),
    /// It is gone on with; without one the task fails.
    Always,
    /// It makes the task fail, so that its work is not lost by accident.
    Refuse,
    /// It is dropped.
    Drop,
}

/// What a training works with.
pub struct Means<'a> {
    /// Where persons are.
    pub people: &'a People,
    /// Gets photos.
    pub fetcher: &'a Fetcher,
    /// Looks at faces.
    pub faces: &'a dyn Observer,
    /// The checkpoints.
    pub models: &'a dyn Models,
    /// Pictures to judge checkpoints by.
    pub templates: &'a [RgbImage],
}

/// Trains a person.
pub fn train(
    task: &Task<'_>,
    means: &Means<'_>,
    context: &JobContext,
) -> Result<Person, TrainError> {
    context.checkpoint()?;
    let mut place = means.people.begin(&task.id, task.overwrite)?;
    let run = begun(task, means, &mut place, context).and_then(|(start, base)| {
        let model = means.models.open(&base)?;
        let finished = Run::new(&start, &base, &*model, means, &place, context)?.work()?;
        finish::record(task, &base, &place, finished)
    });
    match run {
        Ok(person) => Ok(place.publish(person)?),
        Err(error) => {
            if !is_worth_keeping(&error) || Start::read(&place).is_none() {
                place.discard()?;
            }
            Err(error)
        }
    }
}

/// Whether what was done can be gone on with after this.
fn is_worth_keeping(error: &TrainError) -> bool {
    match error {
        TrainError::Stopped(reason) => *reason != CancelReason::User,
        TrainError::DiskFull
        | TrainError::Files(_)
        | TrainError::Model(_)
        | TrainError::Unfinished(_) => true,
        TrainError::Photos(_) | TrainError::People(_) | TrainError::Diverged { .. } => false,
    }
}

/// What the training begins with, that of an earlier one or prepared photos, and its checkpoint.
fn begun(
    task: &Task<'_>,
    means: &Means<'_>,
    place: &mut Workplace,
    context: &JobContext,
) -> Result<(Start, Base), TrainError> {
    let earlier = place.is_resumed().then(|| Start::read(place)).flatten();
    let wanted = match (task.resume, &earlier) {
        (Resume::Always, Some(earlier)) => Some(earlier.base.as_str()),
        _ => task.settings.sd_model_checkpoint.as_deref(),
    };
    let base = means.models.base(wanted)?;
    let unfinished = |text: &str| Err(TrainError::Unfinished(text.to_owned()));
    match (task.resume, earlier) {
        (Resume::Same(print), Some(earlier))
            if earlier.print == print && earlier.base == base.name =>
        {
            return Ok((earlier, base));
        }
        (Resume::Always, Some(earlier)) => return Ok((earlier, base)),
        (Resume::Always, None) => {
            return unfinished(
                "there is no unfinished training of this person that could be gone on with; send the \
                 photos",
            );
        }
        (Resume::Refuse, Some(_)) => {
            return unfinished(
                "there is an unfinished training of this person; go on with it by --resume, or begin \
                 anew by --overwrite",
            );
        }
        _ => {}
    }
    if place.is_resumed() {
        place.restart()?;
    }
    let start = prepared(task, means, place, &base, context)?;
    Ok((start, base))
}

/// Prepares the photos and keeps what came of them.
fn prepared(
    task: &Task<'_>,
    means: &Means<'_>,
    place: &Workplace,
    base: &Base,
    context: &JobContext,
) -> Result<Start, TrainError> {
    let settings = &task.settings;
    let options = Options {
        side: settings.resolution as u32,
        crop_ratio: settings.crop_ratio,
        background: settings.background,
    };
    context.progress.training(TrainingProgress {
        phase: "preparing",
        step: 0,
        steps: 0,
        loss: None,
        rate: None,
        remaining: None,
    });
    context.progress.report(0.0, "the photos are looked at");
    let originals = place.state().join("originals");
    fs::create_dir_all(&originals)?;
    let original = |at: usize| originals.join(format!("{at}.jpg"));
    let mut is_disk_full = false;
    let mut keep = |at: usize, photo: &RgbImage| -> Result<(), String> {
        let file = write_jpeg(photo, QUALITY).map_err(|error| error.to_string())?;
        fs::write(original(at), file).map_err(|error| {
            is_disk_full = is_full(&error);
            error.to_string()
        })
    };
    let inner = JobContext {
        progress: Arc::new(Part(Arc::clone(&context.progress))),
        ..context.clone()
    };
    let made = prepare(
        task.photos,
        &options,
        means.fetcher,
        means.faces,
        &mut keep,
        &inner,
    );
    if is_disk_full {
        return Err(TrainError::DiskFull);
    }
    let Prepared {
        fates,
        pictures,
        reference,
        centre,
        warnings,
    } = made?;
    fs::rename(original(reference), place.reference_photo())?;
    fs::remove_dir_all(&originals)?;
    let mut files = Vec::with_capacity(pictures.len());
    for (at, picture) in pictures.iter().enumerate() {
        let name = format!("{}.jpg", at + 1);
        let file = write_jpeg(&picture.picture, QUALITY)?;
        write_atomic(&place.training_photos().join(&name), &file)?;
        files.push(name);
    }
    let mut all = task.warnings.clone();
    all.extend(warnings);
    all.extend(left_out(&fates, "images"));
    let start = Start {
        print: match task.resume {
            Resume::Same(print) => print.to_owned(),
            _ => String::new(),
        },
        settings: settings.clone(),
        base: base.name.clone(),
        pictures: files,
        centre: centre.map(|centre| centre.as_slice().to_vec()),
        fates: fates.iter().map(|fate| json!(fate)).collect::<Vec<Value>>(),
        warnings: all,
    };
    start.write(place)?;
    Ok(start)
}

/// Progress of a part of the whole, at its beginning.
struct Part(Arc<dyn crate::job::ProgressSink>);

impl crate::job::ProgressSink for Part {
    fn report(&self, fraction: f64, note: &str) {
        self.0.report(fraction * PREPARED, note);
    }
}

/// The steps of a training.
struct Run<'a> {
    start: &'a Start,
    base: &'a Base,
    model: &'a dyn Model,
    means: &'a Means<'a>,
    place: &'a Workplace,
    context: &'a JobContext,
    recipe: Recipe,
    lessons: Vec<Lesson>,
    tokens: Vec<u32>,
    portraits: Option<Portraits>,
    person: Option<Embedding>,
    course: Course,
    began: Instant,
    saved: Instant,
    /// Steps that were made since the training began or went on, and the time that they took.
    made: (u32, Duration),
}

impl<'a> Run<'a> {
    fn new(
        start: &'a Start,
        base: &'a Base,
        model: &'a dyn Model,
        means: &'a Means<'a>,
        place: &'a Workplace,
        context: &'a JobContext,
    ) -> Result<Self, TrainError> {
        let settings = &start.settings;
        let lesson = |name: &String| {
            let bytes = fs::read(place.training_photos().join(name))?;
            let picture = imaging::decode(&bytes, &imaging::Limits::default())?;
            let caption = 0;
            Ok(Lesson { picture, caption })
        };
        let lessons = start.pictures.iter().map(lesson);
        let caption = settings.whole_caption();
        let portraits = settings.validation.then(|| {
            let style = Style::of(base.pack, &caption, settings.resolution as u32);
            Portraits::new(style, means.templates, means.faces)
        });
        let now = Instant::now();
        Ok(Self {
            recipe: settings.recipe(start.pictures.len()),
            lessons: lessons.collect::<Result<_, TrainError>>()?,
            tokens: model.tokens(&caption)?,
            portraits,
            person: start.centre.clone().and_then(Embedding::new),
            course: Course {
                rate_share: 1.0,
                ..Course::default()
            },
            start,
            base,
            model,
            means,
            place,
            context,
            began: now,
            saved: now,
            made: (0, Duration::ZERO),
        })
    }

    /// All steps, a second time at lower rates where they came to nothing, and what follows.
    fn work(mut self) -> Result<Finished, TrainError> {
        loop {
            let mut training = self.training()?;
            match self.steps(&mut *training)? {
                None => {
                    if self.context.cancel.reason() == Some(CancelReason::User) {
                        return Err(CancelReason::User.into());
                    }
                    let done = training.steps_done();
                    self.tell("finishing", done);
                    return finish::finish(self.outcome(done));
                }
                Some(lost) => {
                    drop(training);
                    self.lower(lost)?;
                }
            }
        }
    }

    /// The training as it begins, or where its saved state ends.
    fn training(&mut self) -> Result<Box<dyn Training>, TrainError> {
        self.tell("preparing", self.course.losses.len());
        let captions = std::slice::from_ref(&self.tokens);
        let mut training = self.model.train(&self.lessons, captions, &self.recipe)?;
        let path = kept::state_file(self.place);
        if path.is_file() {
            let damaged = |error: &dyn fmt::Display| {
                TrainError::Unfinished(format!(
                    "the saved state of the training is damaged: {error}; begin it anew"
                ))
            };
            let file = Container::open(&path).map_err(|error| damaged(&error))?;
            let note = training.restore(&file)?;
            self.course = serde_json::from_str(&note).map_err(|error| damaged(&error))?;
        }
        Ok(training)
    }

    /// Makes steps until all are made or no more are wanted. What is lost comes back.
    fn steps(&mut self, training: &mut dyn Training) -> Result<Option<Lost>, TrainError> {
        while training.steps_done() < self.recipe.steps {
            if let Err(reason) = self.context.checkpoint() {
                if reason != CancelReason::User {
                    self.save(training)?;
                }
                return Err(reason.into());
            }
            let began = Instant::now();
            let found = training.step(self.course.rate_share)?;
            self.made.0 += 1;
            self.made.1 += began.elapsed();
            let step = training.steps_done();
            if let Some(lost) = self.note(found, step) {
                return Ok(Some(lost));
            }
            let is_last = step == self.recipe.steps || self.is_enough();
            let every = self.start.settings.val_and_checkpointing_steps;
            if is_last || step.is_multiple_of(every) {
                self.checkpoint(training)?;
                self.save(training)?;
            } else if self.saved.elapsed() >= SAVE_EVERY {
                self.save(training)?;
            }
            if is_last {
                break;
            }
        }
        Ok(None)
    }

    /// Whether somebody asked to finish with what is there.
    fn is_enough(&self) -> bool {
        self.context.finish.asked() == Some(Finish::All)
    }

    /// Writes down a step and tells of it. What is lost comes back.
    fn note(&mut self, found: Found, step: usize) -> Option<Lost> {
        if !found.is_number() {
            let what = "the loss or its gradient was no number";
            // The step is not done.
            let step = step + 1;
            return Some(Lost { what, step });
        }
        let share = self.recipe.curve.share(step - 1, self.recipe.steps);
        let rate = self.recipe.unet_rate * share * self.course.rate_share;
        let loss = Loss(step as u32, found.loss as f32, rate as f32);
        self.course.losses.push(loss);
        if runs_away(&self.course.losses) {
            let what = "the loss ran away";
            return Some(Lost { what, step });
        }
        self.tell("training", step);
        None
    }

    fn tell(&self, phase: &'static str, step: usize) {
        let steps = self.recipe.steps;
        let latest = self.course.losses.last();
        let left = (steps - step.min(steps)) as u32;
        let remaining = (self.made.0 > 0).then(|| self.made.1 / self.made.0 * left);
        self.context.progress.training(TrainingProgress {
            phase,
            step: step as u32,
            steps: steps as u32,
            loss: latest.map(|Loss(_, loss, _)| f64::from(*loss)),
            rate: latest.map(|Loss(_, _, rate)| f64::from(*rate)),
            remaining,
        });
        let done = step as f64 / steps.max(1) as f64;
        let note = match (phase, latest) {
            ("training", Some(Loss(_, loss, _))) => {
                format!("step {step} of {steps}, loss {loss:.4}")
            }
            _ => format!("{phase}, step {step} of {steps}"),
        };
        let fraction = PREPARED + (TRAINED - PREPARED) * done;
        self.context.progress.report(fraction, &note);
    }

    /// Writes what has been learned, and makes and judges pictures with it.
    fn checkpoint(&mut self, training: &dyn Training) -> Result<(), TrainError> {
        let step = training.steps_done();
        let path = self.place.checkpoint(step as u32);
        let updates = training.updates()?;
        let id = self.place.id().as_str();
        let about = finish::about(id, self.start, self.base, &self.recipe, step);
        write_atomic(&path, &lora_file(write_kohya(&updates, about))?)?;
        let Some(portraits) = &self.portraits else {
            return Ok(());
        };
        self.tell("validating", step);
        let lora = Arc::new(Container::open(&path).map_err(DiffusionError::from)?);
        let stop = || self.context.checkpoint().is_err();
        let person = self.person.as_ref();
        let judged = portraits.make(self.model, Some(&lora), person, self.means.faces, &stop);
        let judged = match judged {
            Err(DiffusionError::Stopped) => {
                self.context.checkpoint()?;
                return Err(DiffusionError::Stopped.into());
            }
            judged => judged?,
        };
        for (at, one) in judged.iter().enumerate() {
            let file = format!("global_step_{at}_{step}_0.jpg");
            let bytes = write_jpeg(&one.picture, QUALITY)?;
            write_atomic(&self.place.validation().join(&file), &bytes)?;
            let step = step as u32;
            // A step that is made again after a break replaces its pictures.
            self.course.pictures.retain(|kept| kept.file != file);
            let score = one.score;
            self.course.pictures.push(KeptPicture { step, file, score });
        }
        if let Some(first) = judged.first()
            && let Ok(png) = finish::small_png(&first.picture)
        {
            self.context.progress.preview(png.into());
        }
        Ok(())
    }

    /// Keeps everything that is needed to go on from here.
    fn save(&mut self, training: &dyn Training) -> Result<(), TrainError> {
        let mut course = self.course.clone();
        course.seconds += self.began.elapsed().as_secs_f64();
        let note =
            serde_json::to_string(&course).map_err(|error| TrainError::Files(error.to_string()))?;
        write_atomic(&kept::state_file(self.place), &training.state(&note)?)?;
        self.saved = Instant::now();
        Ok(())
    }

    /// Begins anew at lower rates, once.
    fn lower(&mut self, Lost { what, step }: Lost) -> Result<(), TrainError> {
        if let Some((_, first)) = self.course.lowered {
            return Err(TrainError::Diverged {
                what,
                step: first,
                again: step,
            });
        }
        let state = kept::state_file(self.place);
        if state.is_file() {
            fs::remove_file(state)?;
        }
        for folder in [self.place.weights(), self.place.validation()] {
            remove_files(&folder)?;
        }
        self.course = Course {
            rate_share: LOWER_RATE,
            lowered: Some((what.to_owned(), step)),
            seconds: self.course.seconds,
            ..Course::default()
        };
        Ok(())
    }

    fn outcome(self, steps_done: usize) -> finish::Outcome<'a> {
        finish::Outcome {
            start: self.start,
            base: self.base,
            place: self.place,
            course: Course {
                seconds: self.course.seconds + self.began.elapsed().as_secs_f64(),
                ..self.course
            },
            recipe: self.recipe,
            steps_done,
        }
    }
}

/// Removes what lies in a folder, but no folder in it.
fn remove_files(folder: &Path) -> Result<(), TrainError> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Why what was learned is lost, and at which step.
#[derive(Debug, Clone, Copy)]
struct Lost {
    what: &'static str,
    step: usize,
}

/// Whether the loss has left the place where a training keeps it.
fn runs_away(losses: &[Loss]) -> bool {
    if losses.len() < 2 * WINDOW {
        return false;
    }
    let mean = |losses: &[Loss]| losses.iter().map(|Loss(_, loss, _)| loss).sum::<f32>();
    let (first, last) = (&losses[..WINDOW], &losses[losses.len() - WINDOW..]);
    f64::from(mean(last)) > RUNAWAY * f64::from(mean(first))
}
