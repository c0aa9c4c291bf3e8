//! `photog portrait`: makes a portrait as the service `photog_pre_pmml` does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
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
    imaging::{self, RgbImage, png_text::write_png, xmp},
    job::{CancelToken, FinishToken, JobContext, ProgressSink},
    models::{
        diffusion::{NetworkLoader, Networks, Setting},
        shelf::Shelf,
    },
    people::People,
    pipeline::{
        Failure,
        portrait::{Fitting, Portrait, Settings as PortraitSettings, Studio, credentials, fitting},
    },
    store::{DataFolder, write_atomic},
};

/// Longest time for one portrait.
const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Largest template that is read, in bytes.
const TEMPLATE_BYTES_MAX: u64 = 256 << 20;
/// Parts of the work that the bar counts.
const PARTS: u64 = 100;

/// Flags of `photog portrait`.
#[derive(Debug, Args)]
pub struct PortraitArgs {
    /// Whom to show; give several in the order of their faces from left to right
    #[arg(long, required = true, value_name = "ID")]
    model_id: Vec<PersonId>,
    /// Picture whose faces become the persons
    #[arg(long, value_name = "FILE")]
    template: PathBuf,
    /// File of the portrait, .jpg or .png
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Seed [default: any]
    #[arg(long, value_name = "N")]
    seed: Option<i64>,
    /// Portraits that are made, of which the most like is kept
    #[arg(long, value_name = "N")]
    candidates: Option<u32>,
    /// Added to the prompt
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Checkpoint, by name, title or hash [default: that of the first person's training]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Another option, by its name in `configure` of the service; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

/// Makes the portrait.
pub fn run(args: &PortraitArgs, settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let config = settings.check()?;
    let started = Instant::now();
    let write = Format::of(&args.output)?;
    let device = device::choose(config.device).map_err(anyhow::Error::msg)?;
    let data = DataFolder::open(&config.data_dir)
        .with_context(|| format!("the data folder {}", config.data_dir.display()))?;
    let supply = packs::of_command(&config);
    let loader = NetworkLoader::new(Setting::new(device));
    let shelf = Shelf::new(supply.clone(), device);
    let studio = Studio {
        people: People::new(data),
        faces: Arc::new(shelf.clone()),
        extras: Arc::new(shelf),
        painting: Arc::new(Networks::new(supply, loader, u64::MAX)),
        words: config.words,
    };
    let template = template(&args.template)?;
    let cancel = CancelToken::default();
    signals::cancel_on_signal(&cancel)?;
    let shown = Arc::new(Shown(Mutex::new(Progress::new("painting", Unit::Percent))));
    let context = JobContext {
        cancel,
        finish: FinishToken::default(),
        deadline: started + TIME_MAX,
        progress: shown.clone(),
        device: device.to_string(),
    };
    let not_made = |failure: Failure| anyhow!("no portrait was made: {}", failure.message);
    let sitting = studio.prepare(&args.model_id, &members(args)?);
    let sitting = sitting.map_err(not_made)?;
    let settings = sitting.settings.clone();
    let made = sitting.portrait(&template, &context);
    shown.end();
    let portrait = made.map_err(not_made)?;
    let file = write.file(&portrait, &settings)?;
    write_atomic(&args.output, &file)
        .with_context(|| format!("{} was not written", args.output.display()))?;
    let seconds = started.elapsed().as_secs_f64();
    if as_json {
        out::json(&json!({
            "file": args.output,
            "seed": portrait.seed,
            "model": portrait.checkpoint,
            "model_ids": portrait.persons.iter().map(PersonId::as_str).collect::<Vec<_>>(),
            "face_scores": portrait.scores,
            "warnings": portrait.warnings,
            "seconds": seconds,
        }))?;
    } else {
        for warning in &portrait.warnings {
            packs::tell(Some(warning));
        }
        out::bytes(as_text(&portrait, &args.output, seconds).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Kinds of files that portraits are written to.
#[derive(Debug, Clone, Copy)]
enum Format {
    Jpeg,
    Png,
}

impl Format {
    fn of(path: &Path) -> anyhow::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new(""));
        if !folder.as_os_str().is_empty() && !folder.is_dir() {
            bail!(
                "there is no folder {}; make it, or choose another place with --output",
                folder.display()
            );
        }
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending.unwrap_or_default().to_ascii_lowercase().as_str() {
            "jpg" | "jpeg" => Ok(Self::Jpeg),
            "png" => Ok(Self::Png),
            _ => bail!(
                "{} does not end in .jpg or .png; portraits are written as one of these",
                path.display()
            ),
        }
    }

    fn file(self, portrait: &Portrait, settings: &PortraitSettings) -> anyhow::Result<Vec<u8>> {
        let has_credentials = settings.content_credentials;
        match self {
            Self::Jpeg => match fitting(portrait, has_credentials, u64::MAX)? {
                Fitting::Fits(file) | Fitting::TooLarge(file) => Ok(file),
            },
            Self::Png => {
                let packet = xmp::packet(&credentials(portrait));
                let texts = has_credentials.then(|| xmp::png_item(packet));
                Ok(write_png(&portrait.picture, texts.as_slice())?)
            }
        }
    }
}

fn template(path: &Path) -> anyhow::Result<RgbImage> {
    let about = fs::metadata(path);
    let about = about.with_context(|| format!("the template {} cannot be read", path.display()))?;
    if about.len() > TEMPLATE_BYTES_MAX {
        bail!(
            "the template {} has more than 256 MiB; use a smaller file",
            path.display()
        );
    }
    let bytes = fs::read(path);
    let bytes = bytes.with_context(|| format!("the template {} cannot be read", path.display()))?;
    imaging::decode(&bytes, &imaging::Limits::default())
        .with_context(|| format!("the template {} cannot be used", path.display()))
}

/// The options as a request has them.
fn members(args: &PortraitArgs) -> anyhow::Result<Map<String, Value>> {
    let mut options = options::read(&args.set)?;
    let flags = [
        ("seed", args.seed.map(Value::from)),
        ("candidates", args.candidates.map(Value::from)),
        ("additional_prompt", args.prompt.as_deref().map(Value::from)),
        (
            "sd_model_checkpoint",
            args.model.as_deref().map(Value::from),
        ),
    ];
    for (name, value) in flags {
        if let Some(value) = value {
            options.insert(name.to_owned(), value);
        }
    }
    Ok(options)
}

/// Shows how much is done.
struct Shown(Mutex<Progress>);

impl Shown {
    fn end(&self) {
        // What it shows is worth less than the work.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).end();
    }
}

impl ProgressSink for Shown {
    fn report(&self, fraction: f64, note: &str) {
        let mut bar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bar.rename(note);
        bar.set((fraction * PARTS as f64) as u64, Some(PARTS));
    }
}

fn as_text(portrait: &Portrait, file: &Path, seconds: f64) -> String {
    let faces = portrait.persons.iter().zip(&portrait.scores);
    let faces: Vec<String> = faces
        .map(|(person, score)| match score {
            Some(score) => format!("{person} {score:.2}"),
            None => person.to_string(),
        })
        .collect();
    format!(
        "portrait of {} with seed {}, {seconds:.1} s\n{}\n",
        faces.join(", "),
        portrait.seed,
        file.display()
    )
}
