//! How long does a portrait take, and which part of the work takes how much of it?
//!
//! Commands, goals and results: `README.md`.

// Other benches use the rest.
#[allow(dead_code)]
mod painting;

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::{Parser, ValueEnum};
use photog::{
    domain::{PersonId, Words},
    fetch::{Fetcher, NetworkPolicy},
    imaging::{Limits, RgbImage, decode},
    job::{CancelToken, FinishToken, JobContext, ProgressSink},
    models::{
        backend::Device,
        diffusion::{NetworkLoader, Networks, Setting},
        shelf::Shelf,
        supply::{PackRule, Supply},
    },
    pack::Pack,
    people::People,
    pipeline::{
        FaceSource, Failure, PhotoSource,
        portrait::{Studio, fitting},
        train::{Means, Models as _, Resume, Settings, Task, train},
    },
    store::{DataFolder, Mounts},
};
use serde_json::{Map, Value, json};

use self::painting::{note, say, weights};

/// With which networks portraits are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Base {
    /// Those of the demo pack
    Demo,
    /// Networks of the sizes of Stable Diffusion 1.5 with random weights, in pictures of 512 x 512
    Sd15,
}

/// Measures portraits of one person.
#[derive(Parser)]
#[command(name = "portrait")]
struct Cli {
    /// The networks
    #[arg(long, default_value = "demo")]
    base: Base,
    /// Device: `cpu`, or `cuda:N`
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Portraits that are measured, after one that is not
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Folder that keeps the random weights for the next time (2.1 GB); without it they are deleted
    #[arg(long)]
    weights: Option<PathBuf>,
    /// One portrait in a few steps: shows that the bench works, no more
    #[arg(long)]
    smoke: bool,
    /// Given by cargo; without it everything is as with `--smoke`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode> {
    let mut cli = Cli::parse();
    cli.smoke |= !cli.bench;
    ensure!(cli.rounds > 0, "at least one round is needed");
    let device = Device::named(&cli.device).context("--device is cpu or cuda:N")?;
    let home = tempfile::tempdir()?;
    let mut kept = None;
    let supply = match cli.base {
        Base::Demo => Supply::new(home.path(), PackRule::Always(Pack::Demo)),
        Base::Sd15 => {
            let (folder, fresh) = painting::folder(cli.weights.as_deref())?;
            kept = fresh;
            note(&format!("weights in {}", folder.display()))?;
            weights::write(&folder, false)?;
            let models = home.path().join("webui/models/Stable-diffusion");
            fs::create_dir_all(&models)?;
            std::os::unix::fs::symlink(&folder, models.join("random"))?;
            Supply::new(home.path(), PackRule::Never)
        }
    };
    let people = People::new(DataFolder::at(home.path()));
    // Networks for faces are those of the demo pack, also for random weights: they see drawn people.
    let faces = Shelf::new(
        Supply::new(home.path(), PackRule::Always(Pack::Demo)),
        device,
    );
    let networks = Networks::new(supply, NetworkLoader::new(Setting::new(device)), u64::MAX);
    let id: PersonId = "alma".parse().map_err(|error| anyhow!("{error}"))?;
    person(&id, &people, &faces, &networks)?;
    let studio = Studio {
        people,
        extras: Arc::new(faces.clone()),
        faces: Arc::new(faces),
        painting: Arc::new(networks),
        words: Words::default(),
    };
    let template = template("one.jpg")?;
    let (options, rounds) = if cli.smoke {
        let few = json!({"first_diffusion_steps": 2, "second_diffusion_steps": 2, "seed": 1});
        (few, 1)
    } else {
        say(&format!(
            "{}, commit {}, {} profile, {} threads, {}",
            painting::machine(),
            painting::commit(),
            painting::profile(),
            rayon::current_num_threads(),
            cli.device,
        ))?;
        (json!({"seed": 1}), cli.rounds)
    };
    let options = options.as_object().cloned().unwrap_or_default();
    let first = measured(&studio, &id, &template, &options)?;
    if cli.smoke {
        return report(&[first]);
    }
    note(&format!("the first: {:.2} s", first.all.as_secs_f64()))?;
    let runs = (0..rounds).map(|_| measured(&studio, &id, &template, &options));
    let runs = runs.collect::<Result<Vec<_>>>()?;
    drop(kept);
    report(&runs)
}

fn template(name: &str) -> Result<RgbImage> {
    let mut all = Pack::Demo.templates().into_iter();
    let file = all.find(|file| file.name == name);
    let file = file.with_context(|| format!("the demo pack has no template {name}"))?;
    Ok(decode(file.bytes, &Limits::default())?)
}

/// Trains somebody in one step: a LoRA of the usual rank, a record and a reference photo.
fn person(id: &PersonId, people: &People, faces: &Shelf, networks: &Networks) -> Result<()> {
    let drawn = Pack::Demo.people();
    let drawn = drawn.first().context("the demo pack has no people")?;
    let photos: Vec<PhotoSource<'_>> = drawn.photos[..2]
        .iter()
        .map(|photo| PhotoSource::Bytes(photo.bytes))
        .collect();
    let base = networks.base(None)?;
    let settings = Settings {
        resolution: 64,
        max_train_steps: 1,
        gradient_accumulation_steps: 1,
        validation: false,
        ..Settings::of(base.pack)
    };
    let observer = faces.observer()?;
    let means = Means {
        people,
        fetcher: &Fetcher::new(Mounts::default(), NetworkPolicy::default()),
        faces: &*observer,
        models: networks,
        templates: &[],
    };
    let task = Task {
        id: id.clone(),
        photos: &photos,
        settings,
        overwrite: false,
        resume: Resume::Drop,
        job: None,
        warnings: Vec::new(),
    };
    train(&task, &means, &context(Arc::new(())))?;
    Ok(())
}

fn context(progress: Arc<dyn ProgressSink>) -> JobContext {
    JobContext {
        cancel: CancelToken::default(),
        finish: FinishToken::default(),
        deadline: Instant::now() + Duration::from_secs(24 * 60 * 60),
        progress,
        device: String::from("bench"),
    }
}

/// Parts of the work, in their order.
const PARTS: [&str; 8] = [
    "person, networks",
    "faces, masks, colours, paste",
    "finding the model",
    "LoRA and prompts",
    "encoding",
    "sampling",
    "decoding",
    "file",
];

/// Where time went.
struct Run {
    all: Duration,
    parts: [Duration; PARTS.len()],
}

/// Gives the time since the last note to what that note said.
struct Clock(Mutex<(Instant, usize, [Duration; PARTS.len()])>);

impl Clock {
    fn next(&self, part: usize) {
        let mut clock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, current, parts) = &mut *clock;
        parts[*current] += since.elapsed();
        *since = Instant::now();
        *current = part;
    }
}

impl ProgressSink for Clock {
    fn report(&self, _fraction: f64, text: &str) {
        // A note tells what has begun, and of steps those that are done.
        self.next(match text {
            _ if text.ends_with("done") => 1,
            _ if text.ends_with("loading the model") => 2,
            _ if text.ends_with("reading the prompt") => 3,
            _ if text.ends_with("reading the picture") => 4,
            _ if text.ends_with("painting the picture") => 6,
            _ => 5,
        });
    }
}

fn measured(
    studio: &Studio,
    id: &PersonId,
    template: &RgbImage,
    options: &Map<String, Value>,
) -> Result<Run> {
    let started = Instant::now();
    let clock = Arc::new(Clock(Mutex::new((
        started,
        0,
        [Duration::ZERO; PARTS.len()],
    ))));
    let failed = |failure: Failure| anyhow!("{failure}");
    let sitting = studio
        .prepare(std::slice::from_ref(id), options)
        .map_err(failed)?;
    clock.next(1);
    let portrait = sitting
        .portrait(template, &context(clock.clone()))
        .map_err(failed)?;
    clock.next(PARTS.len() - 1);
    fitting(&portrait, true, u64::MAX)?;
    clock.next(0);
    let parts = clock.0.lock().unwrap_or_else(PoisonError::into_inner).2;
    Ok(Run {
        all: started.elapsed(),
        parts,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn report(runs: &[Run]) -> Result<ExitCode> {
    let all = median(runs.iter().map(|run| run.all.as_secs_f64()).collect());
    say(&format!("{:<30} {all:>8.3} s", "portrait, median"))?;
    for (part, name) in PARTS.iter().enumerate() {
        let seconds = median(
            runs.iter()
                .map(|run| run.parts[part].as_secs_f64())
                .collect(),
        );
        say(&format!(
            "{name:<30} {seconds:>8.3} s {:>5.1} %",
            100.0 * seconds / all
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
