//! How does photog's durable queue compare with others under the same load on the same disk?
//!
//! The load generator for `run.sh`, which starts the servers and calls this program once for each
//! case. One program for all systems, so that the client side costs the same for each. What the
//! systems promise and what a cycle does in each: `README.md` and the head of each client's file.
//!
//! The entry in `Cargo.toml`:
//!
//! ```toml
//! [[bench]]
//! name = "peers"
//! path = "benches/peers/main.rs"
//! harness = false
//! ```

mod beanstalkd;
mod disk;
mod measure;
mod nats;
mod peer;
mod photog;
mod photog_watch;
mod postgres;
mod redis;
mod report;
mod wire;

use std::{
    fs,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    measure::{Case, Outcome, Workload, measure},
    report::{Record, Report, System},
};

#[derive(Parser)]
struct Cli {
    /// Set by `cargo bench`; has no effect.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Print a TCP port that is free on the loopback address.
    FreePort,
    /// Print how long one sync takes in a folder.
    SyncTime {
        /// The folder, on the disk to measure.
        folder: PathBuf,
    },
    /// Measure one case against a running server and print the record as one JSON line.
    Measure(MeasureArgs),
    /// Print the tables and write the JSON document.
    Report(ReportArgs),
}

#[derive(Args)]
struct MeasureArgs {
    #[arg(long)]
    system: System,
    #[arg(long)]
    workload: Workload,
    #[arg(long)]
    address: SocketAddr,
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_000))]
    payload_bytes: u32,
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=600))]
    warm_up_seconds: u64,
    #[arg(long, default_value_t = 1)]
    run: u32,
}

#[derive(Args)]
struct ReportArgs {
    /// File with the lines that `measure` printed.
    #[arg(long)]
    records: PathBuf,
    /// The JSON document to write.
    #[arg(long)]
    json: PathBuf,
    /// A line of the header, `NAME=VALUE`; repeatable.
    #[arg(long, value_parser = pair::<String>)]
    fact: Vec<(String, String)>,
    /// A system of which figures are missing, `SYSTEM=REASON`; repeatable.
    #[arg(long, value_parser = pair::<Named>)]
    missing: Vec<(Named, String)>,
    /// A remark beside a system's figures, `SYSTEM=TEXT`; repeatable.
    #[arg(long, value_parser = pair::<Named>)]
    remark: Vec<(Named, String)>,
}

fn main() -> Result<()> {
    let mut out = io::stdout().lock();
    match Cli::parse().command {
        None => writeln!(
            out,
            "nothing measured: the comparison is benches/peers/run.sh"
        )?,
        Some(Command::FreePort) => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            writeln!(out, "{}", listener.local_addr()?.port())?;
        }
        Some(Command::SyncTime { folder }) => writeln!(out, "{}", disk::sync_time(&folder)?)?,
        Some(Command::Measure(args)) => {
            writeln!(out, "{}", serde_json::to_string(&record(&args)?)?)?;
        }
        Some(Command::Report(args)) => out.write_all(write_report(args)?.as_bytes())?,
    }
    Ok(())
}

#[tokio::main]
async fn record(args: &MeasureArgs) -> Result<Record> {
    let case = Case {
        workload: args.workload,
        clients: args.clients.into(),
        payload_bytes: args.payload_bytes as usize,
        warm_up: Duration::from_secs(args.warm_up_seconds),
        window: Duration::from_secs(args.seconds),
    };
    Ok(Record {
        system: args.system,
        workload: case.workload,
        payload_bytes: case.payload_bytes,
        clients: case.clients,
        run: args.run,
        outcome: measure_system(args.system, args.address, &case).await?,
    })
}

async fn measure_system(system: System, address: SocketAddr, case: &Case) -> Result<Outcome> {
    match system {
        System::Photog => measure::<photog::Client>(address, case).await,
        System::PhotogWatch => measure::<photog_watch::Client>(address, case).await,
        System::Beanstalkd => measure::<beanstalkd::Client>(address, case).await,
        System::Postgres => measure::<postgres::Client>(address, case).await,
        System::Redis => measure::<redis::Client>(address, case).await,
        System::Nats => measure::<nats::Client>(address, case).await,
    }
}

fn write_report(args: ReportArgs) -> Result<String> {
    let named =
        |pairs: Vec<(Named, String)>| pairs.into_iter().map(|(Named(s), t)| (s, t)).collect();
    let report = Report {
        facts: args.fact,
        missing: named(args.missing),
        remarks: named(args.remark),
        records: read_records(&args.records)?,
    };
    fs::write(&args.json, serde_json::to_string_pretty(&report)?)
        .with_context(|| format!("cannot write {}", args.json.display()))?;
    Ok(report.markdown())
}

fn read_records(path: &Path) -> Result<Vec<Record>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("not a record: {line}")))
        .collect()
}

/// A system by its name on the command line.
#[derive(Clone)]
struct Named(System);

impl FromStr for Named {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        System::from_str(name, false).map(Self)
    }
}

fn pair<K: FromStr>(text: &str) -> Result<(K, String), String> {
    let (name, value) = text.split_once('=').ok_or("there is no `=` in it")?;
    let key = name.parse().map_err(|_| format!("{name:?} is not known"))?;
    Ok((key, value.to_owned()))
}
