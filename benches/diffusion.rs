//! How fast are a step of the UNet, a decoding and an encoding of text of Stable Diffusion 1.5 on the
//! CPU?
//!
//! Weights are made on the spot, in the real widths; speed does not depend on their values.
//! `peers/diffusion.py` does the same with PyTorch, with the same names of steps. Commands, goals and
//! results: `README.md`.

// The bench on a GPU uses the rest.
#[allow(dead_code)]
mod painting;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Result, ensure};
use burn::Tensor;
use burn::backend::Flex;
use burn::tensor::TensorData;
use clap::{Parser, ValueEnum};
use photog::models::{
    backend::Device,
    diffusion::{Painter, Setting},
    nn::{Kernels as _, Tokens},
};
use serde_json::{Value, json};

use self::painting::{
    figures::{HEAD, Peak, Row, memory, time, watched},
    note,
    runs::{Clock, GUIDANCE, Run, chunks, encode, euler, latents, texts},
    say, weights,
};

/// Most memory of its own that loading may need, as a multiple of the weights.
const LOADING_GOAL: f64 = 1.2;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Question {
    /// A step of the UNet
    Unet,
    /// Latents to a picture
    Decode,
    /// A prompt to what the UNet attends to
    Text,
    /// Attention by itself
    Attention,
}

/// Measures the networks of Stable Diffusion 1.5 on the CPU.
#[derive(Parser)]
#[command(name = "diffusion")]
struct Cli {
    /// Threads; as many as cores without it
    #[arg(long)]
    threads: Option<usize>,
    /// Side of the latents: 64 for pictures of 512 x 512, 32 for 256 x 256
    #[arg(long, default_value_t = 64, value_parser = side)]
    latent: usize,
    /// Runs of each step
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Ask this alone
    #[arg(long)]
    only: Option<Question>,
    /// Folder that keeps the weights for the next time (2.1 GB); without it they are deleted
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Everything once with a tiny checkpoint: shows that the bench works, no more
    #[arg(long)]
    smoke: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Given by cargo; without it everything is as with `--smoke`
    #[arg(long, hide = true)]
    bench: bool,
}

/// A side that both this bench and its peer measure.
fn side(text: &str) -> Result<usize, String> {
    match text {
        "32" => Ok(32),
        "64" => Ok(64),
        _ => Err(String::from("take 32 or 64")),
    }
}

fn main() -> Result<ExitCode> {
    let mut cli = Cli::parse();
    cli.smoke |= !cli.bench;
    ensure!(cli.rounds > 0, "at least one round is needed");
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = cli.threads {
        pool = pool.num_threads(threads);
    }
    pool.build_global()?;
    let loaded = load(&cli)?;
    let rows = measure(&cli, &loaded.painter)?;
    report(&cli, &loaded, &rows)?;
    Ok(if cli.smoke || loaded.ratio() <= LOADING_GOAL {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A checkpoint, and what its loading took.
struct Loaded {
    painter: Painter,
    peak: Peak,
    seconds: f64,
}

impl Loaded {
    /// Memory of the weights as 32-bit floats, in megabytes.
    fn weights(&self) -> f64 {
        self.painter.bytes() as f64 / 1e6
    }

    /// The most memory of its own while it was loaded, as a multiple of the weights.
    fn ratio(&self) -> f64 {
        self.peak.own / self.weights()
    }
}

fn load(cli: &Cli) -> Result<Loaded> {
    let setting = Setting::new(Device::Cpu);
    let (folder, kept) = if cli.smoke {
        (PathBuf::new(), None)
    } else {
        let (folder, kept) = painting::folder(cli.weights.as_deref())?;
        note(&format!("weights in {}", folder.display()))?;
        weights::write(&folder, false)?;
        (folder, kept)
    };
    let open = || -> Result<Painter> {
        let checkpoint = if cli.smoke {
            weights::tiny()?
        } else {
            weights::open(&folder)?
        };
        Ok(Painter::open(*checkpoint, None, setting)?)
    };
    let start = Instant::now();
    let (painter, peak) = watched(open);
    let seconds = start.elapsed().as_secs_f64();
    // What is mapped stays readable when the files are gone.
    drop(kept);
    Ok(Loaded {
        painter: painter?,
        peak,
        seconds,
    })
}

fn measure(cli: &Cli, painter: &Painter) -> Result<Vec<Row>> {
    let asked = |question| cli.only.is_none_or(|only| only == question);
    let (side, rounds) = if cli.smoke {
        (8, 1)
    } else {
        (cli.latent, cli.rounds)
    };
    let mut rows = Vec::new();
    let mut add = |row: Row| -> Result<()> {
        note(&row.line())?;
        rows.push(row);
        Ok(())
    };
    if asked(Question::Unet) {
        for (batch, guidance) in [(1, 1.0), (2, GUIDANCE)] {
            add(unet(painter, side, (batch, guidance), rounds)?)?;
        }
    }
    if asked(Question::Decode) {
        let latents = latents("decode", [1, painter.latent_channels(), side, side]);
        let pixels = side * painter.factor();
        let name = format!("VAE decode, {pixels} x {pixels}");
        add(time(&name, rounds, || {
            std::hint::black_box(painter.decode(&latents, &mut ())?);
            Ok(())
        })?)?;
    }
    if asked(Question::Text) {
        let [chunks, _] = chunks(painter)?;
        add(time("text encoding, 77 tokens", 4 * rounds, || {
            std::hint::black_box(encode(painter, &chunks)?);
            Ok(())
        })?)?;
    }
    if asked(Question::Attention) {
        let sizes = if cli.smoke {
            vec![(64, 40)]
        } else {
            vec![(4096, 40), (1024, 80)]
        };
        for (tokens, head) in sizes {
            add(attention(tokens, head, 4 * rounds)?)?;
        }
    }
    Ok(rows)
}

/// Steps of a run; a batch of two is one picture with guidance.
fn unet(
    painter: &Painter,
    side: usize,
    (batch, guidance): (usize, f64),
    rounds: usize,
) -> Result<Row> {
    let texts = texts(painter)?;
    let run = Run {
        texts: &texts,
        sizes: [1, painter.latent_channels(), side, side],
        guidance,
        controls: &[],
    };
    let mut clock = Clock::default();
    run.sample(painter, &euler(painter, rounds + 1)?, &mut clock)?;
    let name = format!("UNet step, batch {batch}, latents {side} x {side}");
    Ok(Row::new(name, clock.steps()))
}

/// Attention of eight heads over a picture's tokens, with the CPU's kernel.
fn attention(tokens: usize, head: usize, rounds: usize) -> Result<Row> {
    const HEADS: usize = 8;
    let channels = HEADS * head;
    let input = |name: &str| -> Tokens<Flex> {
        let numbers = latents(name, [1, 1, tokens, channels]).numbers;
        let data = TensorData::new(numbers, [1, tokens, channels]);
        Tensor::from_data(data, &burn::backend::flex::FlexDevice)
    };
    let [query, key, value] = ["query", "key", "value"].map(input);
    let name = format!("attention, {HEADS} heads x {tokens} x {head}");
    time(&name, rounds, || {
        let (query, key, value) = (query.clone(), key.clone(), value.clone());
        std::hint::black_box(Flex::attend(query, key, value, HEADS, false));
        Ok(())
    })
}

fn report(cli: &Cli, loaded: &Loaded, rows: &[Row]) -> Result<()> {
    let Peak {
        resident,
        own,
        after,
    } = loaded.peak;
    let about = json!({
        "machine": painting::machine(),
        "threads": rayon::current_num_threads(),
        "commit": painting::commit(),
        "profile": painting::profile(),
        "checkpoint": if cli.smoke { "tiny, figures without meaning" } else { "random, widths of SD 1.5" },
        "precision": "32-bit floats",
        "weights_mb": rounded(loaded.weights()),
        "load_seconds": rounded(loaded.seconds),
        "load_peak_own_mb": rounded(own),
        "load_peak_resident_mb": rounded(resident),
        "load_after_mb": rounded(after),
        "load_peak_by_weights": rounded(loaded.ratio()),
        "load_peak_by_weights_goal": LOADING_GOAL,
        "peak_resident_mb": rounded(memory("VmHWM")),
    });
    if cli.json {
        let mut all = about;
        all["rows"] = rows.iter().map(Row::json).collect();
        return say(&serde_json::to_string_pretty(&all)?);
    }
    for (name, value) in about.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        say(&format!("- {}: {value}", name.replace('_', " ")))?;
    }
    say(&format!("\n{HEAD}"))?;
    rows.iter().try_for_each(|row| say(&row.line()))
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
