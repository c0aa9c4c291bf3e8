//! How fast is a step of training a LoRA, and how much memory does it need?
//!
//! `peers/training.py` does the same with PyTorch, diffusers and PEFT, with the same names of
//! measurements. Commands, goals and results: `README.md`.

// Other benches use the rest.
#[allow(dead_code)]
mod painting;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use burn::backend::Flex;
use burn::backend::flex::FlexDevice;
use burn::tensor::TensorData;
use burn::{Dispatch, Tensor};
use clap::{Parser, ValueEnum};
use photog::{
    models::{
        backend::Device,
        diffusion::Setting,
        nn::{BackKernels, Place, Precision},
        place::Place as File,
        sampling::{Betas, Philox, Prediction, Schedule},
        training::{Learner, Photo, Recipe, Session},
        weights::{Checkpoint, Files},
    },
    pack::Pack,
};
use serde_json::{Value, json};

use self::painting::{
    figures::{Row, time, watched},
    note, say, weights,
};

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Base {
    /// The checkpoint of the demo pack: 4 pictures, rank 16
    Demo,
    /// Networks of the sizes of Stable Diffusion 1.5 with random weights: 1 picture, rank 128
    Sd15,
}

/// Measures steps of training a LoRA.
#[derive(Parser)]
#[command(name = "training")]
struct Cli {
    /// Train this alone
    #[arg(long)]
    base: Option<Base>,
    /// Side of the latents of `sd15`: 64 for pictures of 512 x 512, 32 for 256 x 256
    #[arg(long, default_value_t = 32)]
    latent: usize,
    /// Device: `cpu`, or `cuda:N` with weights in 16 bits
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Threads; as many as cores without it
    #[arg(long)]
    threads: Option<usize>,
    /// Steps of each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Folder that keeps the weights for the next time (2.1 GB); without it they are deleted
    #[arg(long)]
    weights: Option<PathBuf>,
    /// One step with a tiny checkpoint: shows that the bench works, no more
    #[arg(long)]
    smoke: bool,
    /// Given by cargo; without it everything is as with `--smoke`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode> {
    let mut cli = Cli::parse();
    cli.smoke |= !cli.bench;
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = cli.threads {
        pool = pool.num_threads(threads);
    }
    pool.build_global()?;
    if cli.smoke {
        let tiny = weights::tiny()?;
        let recipe = recipe(2, 4);
        let (row, _) = measure("a tiny checkpoint", &tiny, 8, &recipe, (1, Device::Cpu))?;
        say(&row.line())?;
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(cli.rounds > 0, "at least one round is needed");
    let how = (cli.rounds, device(&cli.device)?);
    say(&format!(
        "{}, commit {}, {} profile, {} threads",
        painting::machine(),
        painting::commit(),
        painting::profile(),
        rayon::current_num_threads()
    ))?;
    let asked = |base| cli.base.is_none_or(|only| only == base);
    if asked(Base::Demo) {
        let file = File::Pack(Pack::Demo, String::from("Stable-diffusion/demo"));
        let Files::Checkpoint(checkpoint) = Files::at(&file)? else {
            bail!("the demo pack has no checkpoint");
        };
        report("demo pack", &checkpoint, 32, &recipe(4, 16), how)?;
    }
    if asked(Base::Sd15) {
        let (folder, kept) = painting::folder(cli.weights.as_deref())?;
        note(&format!("weights in {}", folder.display()))?;
        weights::write(&folder, false)?;
        let checkpoint = weights::open(&folder)?;
        drop(kept);
        report("SD 1.5", &checkpoint, cli.latent, &recipe(1, 128), how)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn device(name: &str) -> Result<Device> {
    Device::named(name).context("--device is cpu or cuda:N")
}

fn recipe(pictures: usize, rank: usize) -> Recipe {
    Recipe {
        rank,
        alpha: rank as f64 / 2.0,
        pictures,
        at_once: pictures,
        ..Recipe::default()
    }
}

fn report(
    name: &str,
    checkpoint: &Checkpoint,
    side: usize,
    recipe: &Recipe,
    how: (usize, Device),
) -> Result<()> {
    let name = format!(
        "LoRA step, {name}, latents {side} x {side}, batch {}, rank {}",
        recipe.pictures, recipe.rank
    );
    let (row, peak) = measure(&name, checkpoint, side, recipe, how)?;
    let result: Value = json!({
        "name": row.name,
        "ms_per_step": row.median,
        "min_ms": row.least,
        "iterations": row.runs,
        "peak_memory_bytes": (peak * 1e6) as u64,
    });
    say(&result.to_string())
}

/// Times steps; the time of one, and the most memory of the process in megabytes. What a GPU has given
/// away, its own tools tell.
fn measure(
    name: &str,
    checkpoint: &Checkpoint,
    side: usize,
    recipe: &Recipe,
    (rounds, device): (usize, Device),
) -> Result<(Row, f64)> {
    let (row, peak) = watched(|| match device {
        Device::Cpu => {
            let place = Place {
                device: FlexDevice,
                precision: Precision::Full,
            };
            steps::<Flex>(name, &place, checkpoint, side, recipe, rounds)
        }
        Device::Cuda(_) => {
            let place = Setting::new(device).general();
            steps::<Dispatch>(name, &place, checkpoint, side, recipe, rounds)
        }
    });
    Ok((row?, peak.resident))
}

fn steps<B: BackKernels>(
    name: &str,
    place: &Place<B>,
    checkpoint: &Checkpoint,
    side: usize,
    recipe: &Recipe,
    rounds: usize,
) -> Result<Row> {
    let mut session = session(place, checkpoint, side, recipe)?;
    time(name, rounds, || {
        let found = session.step(1.0).map_err(anyhow::Error::msg)?;
        ensure!(found.is_number(), "the step found no number");
        Ok(())
    })
}

fn session<B: BackKernels>(
    place: &Place<B>,
    checkpoint: &Checkpoint,
    side: usize,
    recipe: &Recipe,
) -> Result<Session<B>> {
    let positions = checkpoint.text.config.max_position_embeddings;
    let vocabulary = checkpoint.text.config.vocab_size as u32;
    let caption = (0..positions as u32).map(|at| at * 17 % vocabulary);
    let learner = Learner::open(
        checkpoint,
        place,
        Schedule::new(Betas::default())?,
        Prediction::Epsilon,
        vec![caption.collect()],
        recipe,
    )
    .context("the networks cannot be loaded")?;
    let channels = checkpoint.unet.config.in_channels;
    let sizes = [1, side, side, channels];
    let maps = |seed: i64, scale: f64| {
        let numbers = Philox::new(seed).normals(sizes.iter().product());
        Tensor::<B, 4>::from_data(TensorData::new(numbers, sizes), &place.device) * scale
    };
    let photo = |seed: i64| Photo {
        means: [maps(seed, 1.0), maps(seed + 1, 1.0)],
        deviations: [maps(seed, 0.0), maps(seed, 0.0)],
        caption: 0,
    };
    Ok(Session::new(
        learner,
        (0..4).map(|at| photo(2 * at)).collect(),
        recipe.clone(),
    ))
}
