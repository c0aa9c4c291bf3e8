//! How long a new process takes to its first step.

use std::{path::Path, process::Command, time::Instant};

use anyhow::{Context as _, Result, ensure};
use photog::models::{
    backend::Device,
    diffusion::{Painter, Setting},
};
use serde_json::{Value, json};

use super::Caches;
use super::painting::{
    runs::{GUIDANCE, Run, euler, texts},
    say, weights,
};

/// Starts this program once more, with these caches, and lets it take two steps.
pub fn measure(folder: &Path, device: Device, caches: &Caches) -> Result<Value> {
    let start = Instant::now();
    let output = Command::new(std::env::current_exe()?)
        .arg("--begin")
        .arg(folder)
        .args(["--device", &device.to_string()])
        .current_dir(caches.path())
        // The driver keeps what it made of kernels too.
        .env("CUDA_CACHE_PATH", caches.path().join("driver"))
        .output()?;
    let whole = start.elapsed().as_secs_f64();
    ensure!(
        output.status.success(),
        "the measured process failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rfind(|line| line.starts_with('{'));
    let mut figures: Value =
        serde_json::from_str(line.context("the measured process said nothing")?)?;
    figures["process_seconds"] = json!(rounded(whole));
    Ok(figures)
}

/// What the started program does. The files were read a moment ago, so the disk does not count.
pub fn begin(folder: &Path, device: Device) -> Result<()> {
    let start = Instant::now();
    let painter = Painter::open(*weights::open(folder)?, None, Setting::new(device))?;
    let load = start.elapsed().as_secs_f64();
    let texts = texts(&painter)?;
    let run = Run {
        texts: &texts,
        sizes: [1, painter.latent_channels(), 64, 64],
        guidance: GUIDANCE,
        controls: &[],
    };
    let plan = euler(&painter, 1)?;
    let step = || -> Result<f64> {
        let start = Instant::now();
        run.sample(&painter, &plan, &mut ())?;
        Ok(start.elapsed().as_secs_f64())
    };
    let first = step()?;
    let until_first = start.elapsed().as_secs_f64();
    let second = step()?;
    let figures = json!({
        "load_seconds": rounded(load),
        "first_step_seconds": rounded(first),
        "load_texts_and_first_step_seconds": rounded(until_first),
        "second_step_seconds": rounded(second),
    });
    say(&figures.to_string())
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}
