//! What the benches of Stable Diffusion share: weights made on the spot, runs of the sampler, figures.

pub mod figures;
pub mod runs;
pub mod weights;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// A line on standard error: how far the bench is.
pub fn note(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "{line}")?)
}

/// A line on standard output: a figure or a result.
pub fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// A folder for weights: the one that was named, made if it is not there, or a fresh one on the disk
/// that cargo builds on. A fresh one is deleted with the second value.
pub fn folder(named: Option<&Path>) -> Result<(PathBuf, Option<TempDir>)> {
    if let Some(named) = named {
        fs::create_dir_all(named).with_context(|| format!("{} cannot be made", named.display()))?;
        return Ok((named.canonicalize()?, None));
    }
    // The program may run on a machine on which it was not built.
    let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let fresh = if built.is_dir() {
        tempfile::tempdir_in(built)?
    } else {
        tempfile::tempdir()?
    };
    Ok((fresh.path().to_owned(), Some(fresh)))
}

/// Processor and number of cores of this machine.
pub fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{name}, {cores} cores")
}

/// The commit that is checked out, with a mark where files differ from it.
pub fn commit() -> String {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude=*"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => String::from("unknown"),
    }
}

/// `debug` figures mean nothing.
pub fn profile() -> &'static str {
    if cfg!(debug_assertions) {
        "debug, figures without meaning"
    } else {
        "release"
    }
}
