//! Figures: times of runs, memory of the process.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::{Value, json};

/// Median and least time of a step.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was timed; peers use the same names.
    pub name: String,
    /// In milliseconds.
    pub median: f64,
    /// In milliseconds.
    pub least: f64,
    /// How often.
    pub runs: usize,
}

impl Row {
    /// From the times of some runs.
    pub fn new(name: impl Into<String>, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let ms = |time: Option<&Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
        Self {
            name: name.into(),
            median: ms(times.get(times.len() / 2)),
            least: ms(times.first()),
            runs: times.len(),
        }
    }

    /// As a line of a table.
    pub fn line(&self) -> String {
        let Self {
            name,
            median,
            least,
            runs,
        } = self;
        format!("| {name} | {median:.2} | {least:.2} | {runs} |")
    }

    /// For other programs.
    pub fn json(&self) -> Value {
        json!({
            "name": self.name, "median_ms": self.median, "min_ms": self.least, "iterations": self.runs,
        })
    }
}

/// The head of a table of rows.
pub const HEAD: &str = "| step | median ms | least ms | runs |\n| --- | ---: | ---: | ---: |";

/// Times some runs of an action after one that does not count.
pub fn time(name: &str, runs: usize, mut action: impl FnMut() -> Result<()>) -> Result<Row> {
    action()?;
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let start = Instant::now();
        action()?;
        times.push(start.elapsed());
    }
    Ok(Row::new(name, times))
}

/// A field of this process's status, in megabytes of 10^6 bytes; 0 where the system has none.
pub fn memory(field: &str) -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
    let kib: f64 = kib.and_then(|kib| kib.parse().ok()).unwrap_or(0.0);
    kib * 1024.0 / 1e6
}

/// Memory while something ran, in megabytes of 10^6 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// Largest resident memory, with what is read from mapped files.
    pub resident: f64,
    /// Largest memory of the process's own, without mapped files. Looked at every millisecond.
    pub own: f64,
    /// Memory of its own afterwards.
    pub after: f64,
}

/// Runs an action and watches the memory. What was there before counts too.
pub fn watched<T>(action: impl FnOnce() -> T) -> (T, Peak) {
    // Sets the largest resident memory back to the present one; older systems cannot.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let (done, most) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let watcher = {
        let (done, most) = (Arc::clone(&done), Arc::clone(&most));
        thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let kilobytes = (memory("RssAnon") * 1e3) as u64;
                most.fetch_max(kilobytes, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
        })
    };
    let result = action();
    let after = memory("RssAnon");
    done.store(true, Ordering::Relaxed);
    // It cannot panic, and its figure is in `most` already.
    let _ = watcher.join();
    let own = (most.load(Ordering::Relaxed) as f64 / 1e3).max(after);
    let resident = memory("VmHWM");
    let peak = Peak {
        resident,
        own,
        after,
    };
    (result, peak)
}
