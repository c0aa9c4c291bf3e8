//! Pictures made with the pack, and the round trip through its autoencoder.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use photog::{
    imaging::RgbImage,
    models::{
        backend::Device,
        diffusion::{NetworkLoader, Networks, Painter, Setting},
        face::FaceDetector,
        supply::{PackRule, Supply},
    },
    pack::Pack,
    pipeline::generate::{Audience, GenerateTask, Progress, Task, Wish, generate},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    faces::{Truth, open},
    judge::{Agreement, Judge, Looks},
    network, say,
};

/// Captions of people that training never saw, and what they name.
const CAPTIONS: &str = include_str!("captions.json");
const SEED: i64 = 1000;
const SIDE: u32 = 256;
/// As `photog generate` has it where nothing else is asked for.
const SAMPLER: &str = "DPM++ 2M";
const SCHEDULER: &str = "automatic";

/// A caption, and what it says of looks.
#[derive(Deserialize)]
struct Caption {
    text: String,
    #[serde(flatten)]
    looks: Looks,
}

struct Nobody;

impl Audience for Nobody {
    fn report(&mut self, _progress: &Progress) -> Wish {
        Wish::Go
    }
}

/// Makes a picture of each of the first captions, and prints how long one takes, how many show exactly one
/// face, and how many look as asked.
pub fn make(count: usize, steps: u32, cfg: f64, keep: Option<&Path>) -> Result<()> {
    let captions: Vec<Caption> = serde_json::from_str(CAPTIONS)?;
    ensure!(
        (1..=captions.len()).contains(&count),
        "there are {} captions; ask for 1 picture to so many",
        captions.len()
    );
    if let Some(folder) = keep {
        fs::create_dir_all(folder)?;
        ensure!(
            fs::read_dir(folder)?.next().is_none(),
            "{} is not empty; keep the pictures in a new folder",
            folder.display()
        );
    }
    let networks = networks()?;
    let (entry, place) = network("demo-detector")?;
    let detector = FaceDetector::open(&place, &entry, Device::Cpu)?;
    let judge = Judge::open()?;
    let (mut times, mut asked, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    let mut with_one_face = 0;
    for (number, caption) in captions.into_iter().take(count).enumerate() {
        let started = Instant::now();
        let picture = picture(&networks.1, &caption.text, SEED + number as i64, steps, cfg)?;
        times.push(started.elapsed());
        if let Some(folder) = keep {
            picture.save(folder.join(format!("{number:03}.png")))?;
        }
        with_one_face += usize::from(detector.detect(&picture)?.len() == 1);
        seen.push(judge.look(&picture)?);
        asked.push(caption.looks);
    }
    times.sort_unstable();
    let [least, median, most] =
        [0, count / 2, count - 1].map(|at| times.get(at).map_or(f64::NAN, Duration::as_secs_f64));
    say(&format!(
        "{count} pictures of {SIDE} x {SIDE}, {steps} steps of {SAMPLER}, guidance {cfg}: {median:.2} s each ({least:.2} to {most:.2})"
    ))?;
    say(&format!("exactly one face: {with_one_face} of {count}"))?;
    say(&Agreement::of(&asked, &seen).to_string())
}

/// The pack with an empty data folder, which goes when the first value does.
fn networks() -> Result<(tempfile::TempDir, Networks)> {
    let home = tempfile::tempdir()?;
    let supply = Supply::new(home.path(), PackRule::Always(Pack::Demo));
    let loader = NetworkLoader::new(Setting::new(Device::Cpu));
    let networks = Networks::new(supply, loader, u64::MAX);
    Ok((home, networks))
}

fn picture(networks: &Networks, prompt: &str, seed: i64, steps: u32, cfg: f64) -> Result<RgbImage> {
    let Value::Object(payload) = json!({
        "prompt": prompt, "seed": seed, "steps": steps, "cfg_scale": cfg, "width": SIDE, "height": SIDE,
        "sampler_name": SAMPLER, "scheduler": SCHEDULER,
    }) else {
        unreachable!("the request was written as an object");
    };
    let task = GenerateTask {
        task: Task::Txt2img,
        payload,
        options: Map::new(),
    };
    let made = generate(&task, networks, &mut Nobody)?;
    let first = made.pictures.into_iter().next();
    Ok(first.context("no picture came")?.0)
}

/// Prints how near pictures come back through the autoencoder, as the mean of their peak signal-to-noise
/// ratios in decibels.
pub fn round_trip(folder: &Path) -> Result<()> {
    let truth = Truth::of(folder)?;
    let (_home, networks) = networks()?;
    let found = networks.find_checkpoint(None)?;
    let painter = networks.painter(&found.listed, None)?;
    let mut ratios = Vec::new();
    for picture in truth.pictures.iter().filter(|p| p.set == "photos-256") {
        ratios.push(ratio(&painter, &open(folder, picture)?)?);
    }
    ratios.sort_by(f64::total_cmp);
    ensure!(!ratios.is_empty(), "there is no picture of 256 x 256");
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    say(&format!(
        "autoencoder: {} pictures, {mean:.2} dB in the mean, least {:.2}",
        ratios.len(),
        ratios[0]
    ))
}

/// 10 log10 of 255 squared by the mean squared difference.
fn ratio(painter: &Painter, picture: &RgbImage) -> Result<f64> {
    let latents = painter.encode(std::slice::from_ref(picture), None, &mut ())?;
    let back = painter.decode(&latents, &mut ())?;
    let back = back.first().context("no picture came back")?;
    let pairs = picture.as_raw().iter().zip(back.as_raw());
    let squares = pairs.map(|(one, other)| (f64::from(*one) - f64::from(*other)).powi(2));
    let mean = squares.sum::<f64>() / picture.as_raw().len() as f64;
    Ok(10.0 * (255.0 * 255.0 / mean).log10())
}
