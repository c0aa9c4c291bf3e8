//! How fast and how small is photog's own queue, and does it stay so with a backlog?
//!
//! A plain program that asks the [`Question`]s it is given, prints one Markdown table for each and
//! writes every single run as JSON. Commands, goals and results: `README.md`. How the queue compares
//! with other systems is asked by `peers/`.

#[path = "queue/backlog.rs"]
mod backlog;
#[path = "queue/blob_threshold.rs"]
mod blob_threshold;
#[path = "queue/fixture.rs"]
mod fixture;
#[path = "queue/http.rs"]
mod http;
#[path = "queue/load.rs"]
mod load;
#[path = "queue/machine.rs"]
mod machine;
#[path = "queue/memory.rs"]
mod memory;
#[path = "queue/payloads.rs"]
mod payloads;
#[path = "queue/program.rs"]
mod program;
#[path = "queue/ready.rs"]
mod ready;
#[path = "queue/report.rs"]
mod report;
#[path = "queue/throughput.rs"]
mod throughput;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use serde::Serialize;
use tempfile::TempDir;

use crate::{load::Load, report::Report};

/// Measures photog's queue on this machine and disk.
#[derive(Parser)]
#[command(name = "queue")]
struct Cli {
    /// What to ask; everything without one.
    questions: Vec<Question>,
    /// Ask everything at the smallest size, within seconds: shows that the bench works, no more.
    /// So it is when `cargo test` runs it.
    #[arg(long)]
    smoke: bool,
    /// Length of one measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Runs of each measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=99))]
    runs: u16,
    /// Parent of the data folders, on the disk to measure.
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    data: PathBuf,
    /// The program to measure.
    #[arg(long, value_name = "FILE", env = "PHOTOG_BIN", default_value = env!("CARGO_BIN_EXE_photog"))]
    photog: PathBuf,
    /// Open the store in this folder and keep it until standard input ends; see `memory`.
    #[arg(long, hide = true)]
    hold: Option<PathBuf>,
    /// Set by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be asked, in the order in which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Question {
    /// Peak memory with payloads of 20 MiB. First, because the process is fresh then.
    Payloads,
    /// Durable puts in the store.
    Puts,
    /// From put to result, and from put to get.
    Cycles,
    /// What a long backlog costs.
    Backlog,
    /// Rows or files for payloads.
    BlobThreshold,
    /// Resident memory while idle.
    Memory,
    /// From the start of the program to its first answer.
    Ready,
    /// Durable puts over HTTP.
    Http,
}

impl Question {
    fn text(self) -> &'static str {
        match self {
            Self::Payloads => "What do payloads of 20 MiB cost in time and memory?",
            Self::Puts => {
                "How many durable puts per second does the store take? (1 KiB, in process)"
            }
            Self::Cycles => {
                "How many full cycles per second does the store do? (1 KiB, in process)"
            }
            Self::Backlog => "Does a long backlog slow a single call down?",
            Self::BlobThreshold => "From which size on is a payload file faster than a row?",
            Self::Memory => "How much memory does an idle queue with a backlog need?",
            Self::Ready => "How long does the program take to get ready?",
            Self::Http => {
                "How many durable puts per second does the program take over HTTP? (1 KiB)"
            }
        }
    }
}

/// Everything that a question may use.
struct Bench {
    /// Parent of the data folders.
    data: PathBuf,
    /// The program photog.
    photog: PathBuf,
    /// How often each measurement is repeated.
    runs: usize,
    /// How long a measurement under load takes.
    load: Load,
    /// Numbers of clients that work at once.
    clients: &'static [usize],
    /// Smallest sizes only.
    is_smoke: bool,
}

impl Bench {
    fn new(cli: &Cli) -> Self {
        let is_smoke = cli.smoke || !cli.bench;
        let seconds = Duration::from_secs(cli.seconds);
        let load = if is_smoke {
            Load {
                warm_up: Duration::from_millis(10),
                window: Duration::from_millis(100),
            }
        } else {
            Load {
                warm_up: seconds / 5,
                window: seconds,
            }
        };
        Self {
            data: cli.data.clone(),
            photog: cli.photog.clone(),
            runs: if is_smoke { 1 } else { cli.runs.into() },
            load,
            clients: if is_smoke { &[4] } else { &[1, 16, 64] },
            is_smoke,
        }
    }

    /// `full`, or `smoke` when the smallest size is enough.
    fn size(&self, full: usize, smoke: usize) -> usize {
        if self.is_smoke { smoke } else { full }
    }

    /// A new empty folder on the disk under test; it goes away when dropped.
    fn folder(&self) -> Result<TempDir> {
        let folder = tempfile::Builder::new()
            .prefix("queue-bench-")
            .tempdir_in(&self.data);
        folder.with_context(|| format!("no folder could be made in {}", self.data.display()))
    }

    async fn ask(&self, question: Question, report: &mut Report) -> Result<()> {
        match question {
            Question::Payloads => payloads::ask(self, report).await,
            Question::Puts => throughput::ask_puts(self, report).await,
            Question::Cycles => throughput::ask_cycles(self, report).await,
            Question::Backlog => backlog::ask(self, report).await,
            Question::BlobThreshold => blob_threshold::ask(self, report).await,
            Question::Memory => memory::ask(self, report).await,
            Question::Ready => ready::ask(self, report).await,
            Question::Http => http::ask(self, report).await,
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut cli = Cli::parse();
    if let Some(folder) = &cli.hold {
        return memory::hold(folder);
    }
    if cli.questions.is_empty() {
        cli.questions = Question::value_variants().to_vec();
    }
    cli.questions.sort_unstable();
    cli.questions.dedup();

    let bench = Bench::new(&cli);
    fs::create_dir_all(&bench.data)
        .with_context(|| format!("{} could not be made", bench.data.display()))?;
    let mut report = Report::new(machine::facts(&bench)?, !bench.is_smoke);
    let mut failed = 0;
    for question in cli.questions {
        report.begin(question);
        if let Err(error) = bench.ask(question, &mut report).await {
            report.note(format!("Not measured: {error:#}"));
            failed += 1;
        }
    }
    report.fact("fdatasync of 1 KiB after", machine::sync_time(&bench)?);
    report.fact("load average after", machine::load_average());
    let json = write_json(&report)?;
    writeln!(
        io::stdout(),
        "{}\nEvery run: {}",
        report.markdown(),
        json.display()
    )?;
    ensure!(failed == 0, "{failed} of the questions got no full answer");
    Ok(())
}

fn write_json(report: &Report) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("queue-bench.json");
    fs::write(&path, serde_json::to_vec_pretty(report)?)
        .with_context(|| format!("{} could not be written", path.display()))?;
    Ok(path)
}
