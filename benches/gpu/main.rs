//! Do the networks of Stable Diffusion give on a GPU what they give on the CPU, and how fast?
//!
//! A plain program: built once, it runs on a machine without a toolchain and without any file beside
//! it. `../peers/gpu.py` measures diffusers with the same names of steps. Commands and results:
//! `../README.md`.

// The bench on the CPU uses the rest.
#[allow(dead_code)]
#[path = "../painting/mod.rs"]
mod painting;
mod parity;
mod speed;
mod start;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use photog::models::backend::{Device, cuda_devices};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::painting::{figures::HEAD, note, say, weights};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Question {
    /// Whether the results are those of the CPU
    Parity,
    /// Steps, decoding, whole pictures, and memory
    Speed,
    /// The first step of a new process, without and with what an earlier one found out
    Start,
}

/// Compares the networks on a GPU with those on the CPU, and measures them.
#[derive(Parser)]
#[command(name = "gpu")]
struct Cli {
    /// The GPU, such as cuda:0
    #[arg(long, default_value = "cuda:0", value_parser = number)]
    device: usize,
    /// Ask this alone; it may be given more than once
    #[arg(long)]
    only: Vec<Question>,
    /// Folder that keeps the random weights, which peers/gpu.py reads too (2.9 GB); without it they
    /// are deleted
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Runs of each step
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Compare Burn's own operations on the CPU with the CPU's kernels, on a tiny checkpoint: shows
    /// that the bench works, and needs no GPU
    #[arg(long)]
    smoke: bool,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// Only load the weights of this folder and take two steps; for the measurement of the start
    #[arg(long, hide = true)]
    begin: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// The number of `cuda:N`.
fn number(text: &str) -> Result<usize, String> {
    let number = match text.strip_prefix("cuda") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|rest| rest.parse().ok()),
        None => None,
    };
    number.ok_or_else(|| String::from("name cuda or cuda:N"))
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    if cli.smoke {
        return smoke(&cli);
    }
    if let Some(folder) = &cli.begin {
        start::begin(folder, Device::Cuda(cli.device))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (folder, _kept) = painting::folder(cli.weights.as_deref())?;
    let caches = Caches::new()?;
    // Burn looks for its settings once, when it is first used.
    caches.enter()?;
    let lack = match cuda_devices() {
        Ok(count) if cli.device < count => return ask(&cli, &folder, &caches),
        Ok(count) => format!("there are {count} GPUs, counted from 0"),
        Err(reason) => reason,
    };
    note(&format!("nothing was done: {lack}"))?;
    Ok(ExitCode::FAILURE)
}

fn smoke(cli: &Cli) -> Result<ExitCode> {
    if let Err(reason) = cuda_devices() {
        note(&format!(
            "no GPU: {reason}; Burn's own operations are run on the CPU"
        ))?;
    }
    let checks = parity::on_the_cpu()?;
    report(
        cli,
        &json!({"device": "cpu, Burn's own operations"}),
        &checks,
        &[],
    )?;
    Ok(exit_code(&checks))
}

fn ask(cli: &Cli, folder: &Path, caches: &Caches) -> Result<ExitCode> {
    let device = Device::Cuda(cli.device);
    let asked = |question| cli.only.is_empty() || cli.only.contains(&question);
    note(&format!("weights in {}", folder.display()))?;
    weights::write(folder, true)?;
    let mut about = json!({
        "device": device.to_string(),
        "gpu": smi(cli.device, "name,driver_version,memory.total"),
        "machine": painting::machine(),
        "commit": painting::commit(),
        "profile": painting::profile(),
    });
    let (mut checks, mut rows) = (Vec::new(), Vec::new());
    // First, while no kernel has been tuned.
    if asked(Question::Start) {
        for name in ["cold", "warm"] {
            note(&format!("{name} start"))?;
            about[format!("start_{name}")] = start::measure(folder, device, caches)?;
        }
    }
    if asked(Question::Parity) {
        checks = parity::on_a_gpu(device, folder)?;
    }
    if asked(Question::Speed) {
        let (measured, memory) = speed::measure(folder, cli.device, cli.rounds.max(1))?;
        rows = measured;
        about["memory_mib"] = memory;
    }
    report(cli, &about, &checks, &rows)?;
    Ok(exit_code(&checks))
}

fn exit_code(checks: &[parity::Check]) -> ExitCode {
    if checks.iter().all(|check| check.holds) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn report(
    cli: &Cli,
    about: &Value,
    checks: &[parity::Check],
    rows: &[painting::figures::Row],
) -> Result<()> {
    if cli.json {
        let mut all = about.clone();
        all["parity"] = checks.iter().map(parity::Check::json).collect();
        all["rows"] = rows.iter().map(painting::figures::Row::json).collect();
        return say(&serde_json::to_string_pretty(&all)?);
    }
    for (name, value) in about.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        say(&format!("- {}: {value}", name.replace('_', " ")))?;
    }
    if !checks.is_empty() {
        say(&format!("\n{}", parity::HEAD))?;
        checks.iter().try_for_each(|check| say(&check.line()))?;
    }
    if !rows.is_empty() {
        say(&format!("\n{HEAD}"))?;
        rows.iter().try_for_each(|row| say(&row.line()))?;
    }
    Ok(())
}

/// Where kernels are kept that were compiled and tuned, apart from all that other programs have found.
struct Caches {
    folder: TempDir,
}

impl Caches {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let kernels = folder.path().join("kernels");
        fs::create_dir(&kernels)?;
        let kernels = serde_json::to_string(&kernels)?;
        // CubeCL looks for this in the working folder.
        let settings = format!(
            "[autotune]\ncache = {{ file = {kernels} }}\n\n[compilation]\ncache = {{ file = {kernels} }}\n"
        );
        fs::write(folder.path().join("cubecl.toml"), settings)?;
        Ok(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// For the rest of this process.
    fn enter(&self) -> Result<()> {
        std::env::set_current_dir(self.path()).context("the folder of the caches is gone")
    }
}

/// What `nvidia-smi` says of a GPU; nothing where it is not there.
fn smi(index: usize, query: &str) -> Option<String> {
    let output = Command::new("nvidia-smi")
        .args([
            format!("--id={index}"),
            format!("--query-gpu={query}"),
            String::from("--format=csv,noheader,nounits"),
        ])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// Memory in use on a GPU, in MiB, by all processes. Burn's pools keep what they have had, so this is
/// the most that was needed so far.
fn memory(index: usize) -> Option<f64> {
    smi(index, "memory.used")?.parse().ok()
}
