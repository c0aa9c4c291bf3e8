//! Steps, decoding and whole pictures on a GPU, in half precision.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use photog::models::{
    backend::Device,
    diffusion::{Painter, Setting},
};
use serde_json::{Map, Value};

use super::memory;
use super::painting::{
    figures::{Row, time},
    note,
    runs::{GUIDANCE, Run, decode, euler, latents, texts},
    weights,
};

/// Steps of a run whose time is divided by them: a GPU goes on while the program prepares the next.
const STEPS: usize = 20;
/// Steps of a whole picture.
const PICTURE_STEPS: usize = 30;

/// All rows, and the memory in MiB that was in use after each group of them.
pub fn measure(folder: &Path, index: usize, rounds: usize) -> Result<(Vec<Row>, Value)> {
    let (mut rows, mut memories) = (Vec::new(), Map::new());
    let mut remember = |when: &str| {
        memories.insert(when.to_owned(), Value::from(memory(index)));
    };
    remember("before");
    let painter = Painter::open(
        *weights::open(folder)?,
        None,
        Setting::new(Device::Cuda(index)),
    )?;
    remember("loaded");
    let mut add = |row: Row| -> Result<()> {
        note(&row.line())?;
        rows.push(row);
        Ok(())
    };
    add(picture(&painter, rounds)?)?;
    let input = latents("decode", [1, painter.latent_channels(), 64, 64]);
    add(time("VAE decode, 512 x 512", 2 * rounds, || {
        std::hint::black_box(decode(&painter, &input)?);
        Ok(())
    })?)?;
    remember("one picture of 512 x 512");
    for (side, pixels) in [(64, 512), (96, 768)] {
        for batch in [1, 2, 8] {
            add(unet(&painter, side, batch, rounds)?)?;
            remember(&format!("UNet, batch {batch}, {pixels} x {pixels}"));
        }
    }
    Ok((rows, Value::Object(memories)))
}

/// A step with so many latents in one pass: one picture without guidance, or half as many with it.
fn unet(painter: &Painter, side: usize, batch: usize, rounds: usize) -> Result<Row> {
    let (pictures, guidance) = match batch {
        1 => (1, 1.0),
        _ => (batch / 2, GUIDANCE),
    };
    let texts = texts(painter)?;
    let run = Run {
        texts: &texts,
        sizes: [pictures, painter.latent_channels(), side, side],
        guidance,
        controls: &[],
    };
    let plan = euler(painter, STEPS)?;
    let mut times: Vec<Duration> = Vec::with_capacity(rounds);
    // The first one finds the kernels.
    for round in 0..=rounds {
        let start = Instant::now();
        run.sample(painter, &plan, &mut ())?;
        if round > 0 {
            times.push(start.elapsed() / STEPS as u32);
        }
    }
    let name = format!("UNet step, batch {batch}, latents {side} x {side}");
    Ok(Row::new(name, times))
}

/// Texts, steps with guidance, and decoding.
fn picture(painter: &Painter, rounds: usize) -> Result<Row> {
    let plan = euler(painter, PICTURE_STEPS)?;
    let name = format!("picture of 512 x 512, {PICTURE_STEPS} steps");
    time(&name, rounds, || {
        let texts = texts(painter)?;
        let run = Run {
            texts: &texts,
            sizes: [1, painter.latent_channels(), 64, 64],
            guidance: GUIDANCE,
            controls: &[],
        };
        let made = run.sample(painter, &plan, &mut ())?;
        std::hint::black_box(decode(painter, &made)?);
        Ok(())
    })
}
