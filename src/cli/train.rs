//! `photog train`: trains a person as the service `photog_train_pmml` does.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    device, options, out, packs,
    progress::{Progress, Unit},
    signals,
};
use crate::{
    config::Settings,
    domain::PersonId,
    fetch::Fetcher,
    job::{
        CancelReason, CancelToken, Finish, FinishToken, JobContext, ProgressSink, TrainingProgress,
    },
    models::{
        diffusion::{NetworkLoader, Networks, Setting},
        shelf::Shelf,
    },
    people::{People, Person},
    pipeline::{
        FaceSource as _, PhotoSource,
        train::{
            Means, Models as _, Resume, Settings as TrainSettings, Task, TrainError, templates,
            train,
        },
    },
    store::{DataFolder, Mounts},
};

/// Longest time for one training.
const TIME_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Flags of `photog train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Id of the person: letters, digits, `.`, `_` and `-` [default: a new one]
    #[arg(long, value_name = "ID")]
    model_id: Option<PersonId>,
    /// Photos of the person, 5 to 20 of them
    #[arg(required_unless_present = "resume", value_name = "PHOTO")]
    photos: Vec<PathBuf>,
    /// Go on with a training of this id that was stopped; its photos and options are kept
    #[arg(
        long,
        requires = "model_id",
        conflicts_with_all = ["photos", "overwrite", "model", "steps", "set"]
    )]
    resume: bool,
    /// Replace a person of this id, or an unfinished training
    #[arg(long)]
    overwrite: bool,
    /// When stopped (Ctrl-C), make the person of what has been learned so far
    #[arg(long)]
    keep_partial: bool,
    /// Checkpoint to train for, by name, title or hash [default: the first by name]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Most steps [default: 800, or what suits a pack]
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Another option, by its name in `configure` of the service; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

/// Trains the person.
pub fn run(args: &TrainArgs, settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let config = settings.check()?;
    let device = device::choose(config.device).map_err(anyhow::Error::msg)?;
    let data = DataFolder::open(&config.data_dir)
        .with_context(|| format!("the data folder {}", config.data_dir.display()))?;
    let supply = packs::of_command(&config);
    let faces = Shelf::new(supply.clone(), device)
        .observer()
        .context("photos cannot be judged")?;
    let networks = Networks::new(supply, NetworkLoader::new(Setting::new(device)), u64::MAX);
    let base = networks
        .base(args.model.as_deref())
        .map_err(TrainError::from)?;
    let options = members(args)?;
    let (settings, _, warnings) = TrainSettings::read(options, &TrainSettings::of(base.pack))
        .map_err(|failure| anyhow::anyhow!(failure.message))?;
    let id = args.model_id.clone();
    let id = id.unwrap_or_else(|| uuid::Uuid::new_v4().into());
    let people = People::new(data);
    let photos: Vec<PhotoSource<'_>> = args
        .photos
        .iter()
        .map(|path| PhotoSource::Path(path))
        .collect();
    let templates = templates(people.folder());
    let fetcher = Fetcher::new(Mounts::default(), config.network);
    let means = Means {
        people: &people,
        fetcher: &fetcher,
        faces: &*faces,
        models: &networks,
        templates: &templates,
    };
    let task = Task {
        id: id.clone(),
        photos: &photos,
        settings,
        // Whoever began what is gone on with was allowed to.
        overwrite: args.overwrite || args.resume,
        resume: match (args.resume, args.overwrite) {
            (true, _) => Resume::Always,
            (false, true) => Resume::Drop,
            (false, false) => Resume::Refuse,
        },
        job: None,
        warnings,
    };
    let (cancel, finish) = (CancelToken::default(), FinishToken::default());
    if args.keep_partial {
        let finish = finish.clone();
        signals::on_signal(move || finish.ask(Finish::All))?;
    } else {
        let cancel = cancel.clone();
        // As a stop of the process: what was done stays, and can be gone on with.
        signals::on_signal(move || cancel.cancel(CancelReason::Shutdown))?;
    }
    let shown = Arc::new(Shown::new());
    let context = JobContext {
        cancel,
        finish,
        deadline: Instant::now() + TIME_MAX,
        progress: shown.clone(),
        device: device.to_string(),
    };
    let trained = train(&task, &means, &context);
    shown.bar().end();
    let person = match trained {
        Err(TrainError::Stopped(_)) => {
            let pack = base.pack.map(|pack| format!(" --pack {pack}"));
            let pack = pack.unwrap_or_default();
            bail!(
                "the training was stopped; go on with `photog train{pack} --model-id {id} --resume`"
            )
        }
        Err(error) => bail!(
            "nobody was trained: {}",
            with_names(&error.to_string(), &args.photos)
        ),
        Ok(person) => person,
    };
    if as_json {
        out::json(&as_result(&person))?;
    } else {
        for warning in &person.warnings {
            packs::tell(Some(&with_names(warning, &args.photos)));
        }
        out::bytes(as_text(&person).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A text that names photos by their places in a request, with the names that the command line has.
fn with_names(text: &str, photos: &[PathBuf]) -> String {
    let named = |text: String, (at, path): (usize, &PathBuf)| {
        text.replace(&format!("images[{at}]"), &path.display().to_string())
    };
    photos.iter().enumerate().fold(text.to_owned(), named)
}

/// The options as a request has them.
fn members(args: &TrainArgs) -> anyhow::Result<Map<String, Value>> {
    let mut options = options::read(&args.set)?;
    if let Some(steps) = args.steps {
        options.insert("max_train_steps".into(), json!(steps));
    }
    if let Some(model) = &args.model {
        options.insert("sd_model_checkpoint".into(), json!(model));
    }
    Ok(options)
}

/// Shows the steps.
struct Shown {
    bar: Mutex<Progress>,
}

impl Shown {
    fn new() -> Self {
        Self {
            bar: Mutex::new(Progress::new("training, step", Unit::Count)),
        }
    }

    fn bar(&self) -> MutexGuard<'_, Progress> {
        // What it shows is worth less than the work.
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressSink for Shown {
    fn report(&self, _fraction: f64, _note: &str) {}

    fn training(&self, progress: TrainingProgress) {
        let name = match (progress.phase, progress.loss) {
            ("training", Some(loss)) => format!("training, loss {loss:.4}, step"),
            (phase, _) => format!("{phase}, step"),
        };
        let mut bar = self.bar();
        bar.rename(&name);
        let steps = Some(u64::from(progress.steps)).filter(|steps| *steps > 0);
        bar.set(u64::from(progress.step), steps);
    }
}

/// The members of a result of the service.
fn as_result(person: &Person) -> Value {
    json!({
        "code": "OK",
        "message": "success",
        "model_id": person.model_id.as_str(),
        "model_path": person.lora,
        "ref_image": person.ref_image,
        "used_images": person.used_images,
        "train_steps": person.train_steps,
        "score": person.best_score(),
        "photos": person.photos,
        "cost_time": person.seconds,
        "warnings": person.warnings,
    })
}

fn as_text(person: &Person) -> String {
    let score = person
        .best_score()
        .map(|score| format!(", best likeness {score:.2}"))
        .unwrap_or_default();
    format!(
        "trained {} with {} photos in {} steps, {:.0} s{score}\n{}\n",
        person.model_id, person.used_images, person.train_steps, person.seconds, person.lora
    )
}
