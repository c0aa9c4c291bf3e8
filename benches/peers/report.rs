//! Turns the records of all cases into Markdown tables and one JSON document.

use std::{collections::BTreeMap, fmt::Write};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::measure::{Outcome, Workload};

/// A system under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// photog, taking with automatic deletion.
    Photog,
    /// photog, taking by watch and commit.
    PhotogWatch,
    /// beanstalkd.
    Beanstalkd,
    /// A table in PostgreSQL.
    Postgres,
    /// Redis streams.
    Redis,
    /// NATS JetStream.
    Nats,
}

impl System {
    /// Its name in the tables.
    fn title(self) -> &'static str {
        match self {
            Self::Photog => "photog",
            Self::PhotogWatch => "photog, watch and commit",
            Self::Beanstalkd => "beanstalkd",
            Self::Postgres => "PostgreSQL, SKIP LOCKED",
            Self::Redis => "Redis streams",
            Self::Nats => "NATS JetStream",
        }
    }
}

/// One run of one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Who was measured.
    pub system: System,
    /// What one operation was.
    pub workload: Workload,
    /// Bytes per entry.
    pub payload_bytes: usize,
    /// Clients at once.
    pub clients: usize,
    /// Number of the run, from 1.
    pub run: u32,
    /// The figures.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Everything that a comparison found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Machine, versions and settings, in the order given.
    pub facts: Vec<(String, String)>,
    /// Systems of which figures are missing, and why.
    pub missing: Vec<(System, String)>,
    /// A remark beside a system's figures.
    pub remarks: Vec<(System, String)>,
    /// All runs.
    pub records: Vec<Record>,
}

/// The runs of one system in one table, by number of clients.
type Row = BTreeMap<usize, Vec<Outcome>>;

impl Report {
    /// The header and one table for each workload and payload size.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.facts {
            line(&mut text, &format!("- {name}: {value}"));
        }
        let mut tables: BTreeMap<(Workload, usize), BTreeMap<System, Row>> = BTreeMap::new();
        for record in &self.records {
            tables
                .entry((record.workload, record.payload_bytes))
                .or_default()
                .entry(record.system)
                .or_default()
                .entry(record.clients)
                .or_default()
                .push(record.outcome.clone());
        }
        for ((workload, payload_bytes), systems) in &tables {
            self.table(&mut text, *workload, *payload_bytes, systems);
        }
        if tables.is_empty() {
            self.missing_lines(&mut text);
        }
        for (number, (_, remark)) in self.remarks.iter().enumerate() {
            line(&mut text, &format!("\n[{}] {remark}", number + 1));
        }
        text
    }

    fn table(
        &self,
        text: &mut String,
        workload: Workload,
        payload_bytes: usize,
        systems: &BTreeMap<System, Row>,
    ) {
        let what = match workload {
            Workload::Put => "Durable puts",
            Workload::Cycle => "Full cycles (put, take, done)",
        };
        line(text, &format!("\n### {what}, {payload_bytes} bytes\n"));
        line(
            text,
            "| system | clients | per second, median (min to max) | p50 ms | p99 ms | photog / system |",
        );
        line(text, "| --- | ---: | ---: | ---: | ---: | ---: |");
        for (system, row) in systems {
            for (clients, runs) in row {
                let photog = systems
                    .get(&System::Photog)
                    .and_then(|row| row.get(clients));
                let ratio = photog.map_or("no figure".to_owned(), |photog| {
                    format!("{:.2}", median_rate(photog) / median_rate(runs))
                });
                let name = self.name(*system);
                line(
                    text,
                    &format!("| {name} | {clients} | {} | {ratio} |", figures(runs)),
                );
            }
        }
        self.missing_lines(text);
    }

    fn missing_lines(&self, text: &mut String) {
        for (system, reason) in &self.missing {
            line(
                text,
                &format!("| {} | | {reason} | | | |", self.name(*system)),
            );
        }
    }

    /// The title, with the number of the remark if there is one.
    fn name(&self, system: System) -> String {
        match self.remarks.iter().position(|(of, _)| *of == system) {
            Some(number) => format!("{} [{}]", system.title(), number + 1),
            None => system.title().to_owned(),
        }
    }
}

/// The three columns of figures.
fn figures(runs: &[Outcome]) -> String {
    let rates = sorted(runs, |run| run.per_second);
    let milliseconds =
        |of: fn(&Outcome) -> u32| median(&sorted(runs, |run| f64::from(of(run)))) / 1000.0;
    format!(
        "{:.0} ({:.0} to {:.0}) | {:.2} | {:.2}",
        median(&rates),
        rates[0],
        rates[rates.len() - 1],
        milliseconds(|run| run.p50_us),
        milliseconds(|run| run.p99_us)
    )
}

fn median_rate(runs: &[Outcome]) -> f64 {
    median(&sorted(runs, |run| run.per_second))
}

fn sorted(runs: &[Outcome], value: impl Fn(&Outcome) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = runs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle value, or the mean of the two in the middle; there is always at least one run.
fn median(sorted: &[f64]) -> f64 {
    let upper = sorted.len() / 2;
    let lower = (sorted.len() - 1) / 2;
    f64::midpoint(sorted[lower], sorted[upper])
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a String does not fail");
}
