//! How good are the networks of the demo pack?
//!
//! Runs them as the services do, on people that their training never saw:
//!
//! - `--faces DIR`: the detector and the embedding, on pictures that `forge.measure.faces` has drawn;
//! - `--vae DIR`: the round trip of such pictures through the autoencoder;
//! - `--people`: the sample people trained with the default settings, how long that takes, and how like
//!   each of them pictures are with and without what was learned;
//! - `--pictures`: pictures made from the captions beside this file, how many faces they show, whether
//!   hair, glasses and background are as asked, and how long that takes.
//!
//! Commands, goals and results: `README.md` here and in `assets/demo`.

mod faces;
mod judge;
mod people;
mod pictures;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use photog::models::{
    catalog::{Catalog, Entry},
    place::Place,
};

/// Measures the networks of the demo pack.
#[derive(Parser)]
#[command(name = "demo")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each flag of a command line is one"
)]
struct Cli {
    /// Measure detector and embedding on the pictures of this folder, made by `forge.measure.faces`
    #[arg(long, value_name = "DIR")]
    faces: Option<PathBuf>,
    /// Measure the autoencoder on the pictures of 256 x 256 of this folder
    #[arg(long, value_name = "DIR")]
    vae: Option<PathBuf>,
    /// Make pictures and count the faces in them
    #[arg(long)]
    pictures: bool,
    /// Train the sample people and compare pictures of them
    #[arg(long)]
    people: bool,
    /// How many pictures are made, of captions or of each person
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// Steps of each
    #[arg(long, default_value_t = 20)]
    steps: u32,
    /// How much the caption is preferred
    #[arg(long, default_value_t = 7.0)]
    cfg: f64,
    /// Folder that keeps the pictures
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Two pictures of two steps: shows that the bench works, no more
    #[arg(long)]
    smoke: bool,
    /// Given by cargo; without it everything is as with `--smoke`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode> {
    let mut cli = Cli::parse();
    if cli.smoke || !cli.bench {
        (cli.pictures, cli.count, cli.steps) = (true, 2, 2);
    }
    if cli.faces.is_none() && cli.vae.is_none() && !cli.pictures && !cli.people {
        bail!("nothing was asked; give --faces DIR, --vae DIR, --people or --pictures");
    }
    if let Some(folder) = &cli.faces {
        faces::measure(folder)?;
    }
    if let Some(folder) = &cli.vae {
        pictures::round_trip(folder)?;
    }
    if cli.pictures {
        pictures::make(cli.count, cli.steps, cli.cfg, cli.keep.as_deref())?;
    }
    if cli.people {
        people::train_and_compare(cli.count.min(12), cli.keep.as_deref())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A line on standard output: a figure or a result.
fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// What the list says of a network of the pack, and where it is.
fn network(name: &str) -> Result<(Entry, Place)> {
    let catalog = Catalog::built_in();
    let entry = catalog.find(name).context("the pack has no such network")?;
    // A network of a pack is in no folder.
    Ok((entry.clone(), entry.place(Path::new(""))))
}
