//! The machine, its disk and what this process needs of it.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::Command,
    time::{Instant, SystemTime},
};

use anyhow::{Context as _, Result};

use crate::{Bench, load::percentile_ms};

/// What one has to know in order to read the figures.
pub fn facts(bench: &Bench) -> Result<Vec<(&'static str, String)>> {
    let date = humantime::format_rfc3339_seconds(SystemTime::now());
    let settings = if bench.is_smoke {
        String::from("smoke: smallest sizes, figures without meaning")
    } else {
        let (window, runs) = (bench.load.window.as_secs(), bench.runs);
        format!("{runs} runs, {window} s each under load; median (least to greatest)")
    };
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    Ok(vec![
        ("date", date.to_string()),
        ("commit", commit()),
        ("profile", profile.to_owned()),
        ("settings", settings),
        ("processor", processor()),
        ("kernel", line_of("/proc/sys/kernel/osrelease")),
        ("file system", file_system(&bench.data)?),
        ("fdatasync of 1 KiB before", sync_time(bench)?),
        ("load average before", load_average()),
    ])
}

/// Load of the whole machine over 1, 5 and 15 minutes.
pub fn load_average() -> String {
    let line = line_of("/proc/loadavg");
    line.split(' ').take(3).collect::<Vec<_>>().join(", ")
}

/// A line such as `VmRSS` (now) or `VmHWM` (peak) of `/proc/PID/status`, in megabytes of 10^6.
pub fn memory_mb(process: &str, name: &str) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("{path} could not be read"))?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.trim().strip_suffix(" kB"))
        .with_context(|| format!("{path} has no {name}"))?;
    Ok(value.parse::<f64>()? * 1024.0 / 1e6)
}

/// Lets the peak of this process (`VmHWM`) begin anew from what it needs now; see proc(5).
pub fn reset_peak_memory() -> Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("the peak memory could not be reset")
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{model}, {cores} cores")
}

fn line_of(path: &str) -> String {
    fs::read_to_string(path).map_or(String::from("unknown"), |text| text.trim().to_owned())
}

fn commit() -> String {
    let git = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    match git {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => String::from("unknown"),
    }
}

/// Type and options of the mount that holds a folder; the fields are explained in proc(5).
fn file_system(folder: &Path) -> Result<String> {
    let folder = folder.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let best = mounts
        .lines()
        .filter_map(|line| {
            let (mount, system) = line.split_once(" - ")?;
            let point = mount.split(' ').nth(4)?;
            let mut system = system.split(' ');
            let (kind, options) = (system.next()?, system.nth(1)?);
            let is_above = folder.starts_with(point);
            is_above.then(|| (point.len(), format!("{kind} ({options})")))
        })
        // Of two mounts on one point the later one is seen.
        .max_by_key(|(length, _)| *length);
    Ok(best.map_or(String::from("unknown"), |(_, text)| text))
}

/// Appends 1 KiB and syncs, again and again.
pub fn sync_time(bench: &Bench) -> Result<String> {
    let folder = bench.folder()?;
    let mut file = File::create_new(folder.path().join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..bench.size(500, 20) {
        file.write_all(&[0x5a; 1024])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    let (p50, p99) = (percentile_ms(&mut times, 50), percentile_ms(&mut times, 99));
    Ok(format!("p50 {p50:.3} ms, p99 {p99:.3} ms"))
}
