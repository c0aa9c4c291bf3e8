//! Keeps every run and shows medians as Markdown, one table for each question.

use std::fmt;

use serde::Serialize;

use crate::{Question, load::Outcome};

/// What a measure should be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

/// All runs of one measure of one case.
#[derive(Debug, Serialize)]
struct Record {
    question: Question,
    case: String,
    /// What was measured, with its unit.
    measure: &'static str,
    runs: Vec<f64>,
    goal: Option<Goal>,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    facts: Vec<(&'static str, String)>,
    questions: Vec<Question>,
    records: Vec<Record>,
    notes: Vec<(Question, String)>,
    /// Goals are for the full size and the release profile.
    judges: bool,
}

impl Report {
    /// An empty report; `judges` says whether the figures may be held against the goals.
    pub fn new(facts: Vec<(&'static str, String)>, judges: bool) -> Self {
        Self {
            facts,
            questions: Vec::new(),
            records: Vec::new(),
            notes: Vec::new(),
            judges: judges && !cfg!(debug_assertions),
        }
    }

    /// Adds a line to the header.
    pub fn fact(&mut self, name: &'static str, value: String) {
        self.facts.push((name, value));
    }

    /// What is recorded from now on answers this question.
    pub fn begin(&mut self, question: Question) {
        eprintln!("{}", question.text());
        self.questions.push(question);
    }

    /// Keeps the runs of one measure.
    pub fn record(
        &mut self,
        case: impl Into<String>,
        measure: &'static str,
        runs: Vec<f64>,
        goal: Option<Goal>,
    ) {
        let record = Record {
            question: self.asked(),
            case: case.into(),
            measure,
            runs,
            goal,
        };
        eprintln!(
            "  {}, {measure}: {}",
            record.case,
            record
                .runs
                .iter()
                .map(|run| figure(*run))
                .collect::<Vec<_>>()
                .join("  ")
        );
        self.records.push(record);
    }

    /// Keeps the three measures of a case under load; the goal is for operations per second.
    pub fn record_load(&mut self, case: &str, outcomes: &[Outcome], goal: Option<Goal>) {
        let runs = |value: fn(&Outcome) -> f64| outcomes.iter().map(value).collect();
        self.record(case, "per second", runs(|run| run.per_second), goal);
        self.record(case, "p50 ms", runs(|run| run.p50_ms), None);
        self.record(case, "p99 ms", runs(|run| run.p99_ms), None);
    }

    /// A remark below the table.
    pub fn note(&mut self, text: String) {
        eprintln!("  {text}");
        self.notes.push((self.asked(), text));
    }

    fn asked(&self) -> Question {
        *self
            .questions
            .last()
            .expect("a question is begun before anything is recorded")
    }

    /// The header and all tables.
    pub fn markdown(&self) -> String {
        let facts = self.facts.iter();
        let facts: Vec<String> = facts
            .map(|(name, value)| format!("- {name}: {value}"))
            .collect();
        let sections = self
            .questions
            .iter()
            .map(|question| self.section(*question));
        let parts: Vec<String> = [facts.join("\n")].into_iter().chain(sections).collect();
        parts.join("\n\n")
    }

    fn section(&self, question: Question) -> String {
        let notes = self.notes.iter().filter(|(of, _)| *of == question);
        let notes = notes.map(|(_, note)| note.clone());
        let parts = [format!("### {}", question.text()), self.table(question)];
        let parts = parts.into_iter().chain(notes);
        let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
        parts.join("\n\n")
    }

    /// One row for each case, one column for each measure.
    fn table(&self, question: Question) -> String {
        let of_question = self.records.iter().filter(|r| r.question == question);
        let records: Vec<&Record> = of_question.collect();
        let (mut cases, mut measures) = (Vec::new(), Vec::new());
        for record in &records {
            push_new(&mut cases, &record.case);
            push_new(&mut measures, record.measure);
        }
        let mut rows = vec![
            row("case", measures.iter().copied().chain(["goal"])),
            row("---", measures.iter().map(|_| "---:").chain(["---"])),
        ];
        for case in cases {
            let of_case: Vec<&&Record> = records.iter().filter(|r| r.case == case).collect();
            let cells = measures.iter().map(|measure| {
                let record = of_case.iter().find(|record| record.measure == *measure);
                record.map_or(String::new(), |record| spread(&record.runs))
            });
            let goals: Vec<String> = of_case.iter().filter_map(|r| self.verdict(r)).collect();
            rows.push(row(case, cells.chain([goals.join("; ")])));
        }
        rows.join("\n")
    }

    fn verdict(&self, record: &Record) -> Option<String> {
        let (sign, bound, is_met) = match record.goal? {
            Goal::AtLeast(bound) => ("at least", bound, median(&record.runs) >= bound),
            Goal::AtMost(bound) => ("at most", bound, median(&record.runs) <= bound),
        };
        let verdict = match (self.judges, is_met) {
            (false, _) => "not judged",
            (true, true) => "met",
            (true, false) => "**missed**",
        };
        let bound = figure(bound);
        Some(format!("{} {sign} {bound}: {verdict}", record.measure))
    }
}

fn push_new<'a>(list: &mut Vec<&'a str>, item: &'a str) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn row<C: fmt::Display>(first: &str, cells: impl Iterator<Item = C>) -> String {
    let cells = cells.map(|cell| cell.to_string());
    let cells: Vec<String> = [first.to_owned()].into_iter().chain(cells).collect();
    format!("| {} |", cells.join(" | "))
}

/// Median, least and greatest.
fn spread(runs: &[f64]) -> String {
    let sorted = sorted(runs);
    let middle = figure(median(runs));
    match &sorted[..] {
        [least, .., greatest] => {
            format!("{middle} ({} to {})", figure(*least), figure(*greatest))
        }
        _ => middle,
    }
}

/// The middle value, or the mean of the two in the middle; of at least one value.
pub fn median(runs: &[f64]) -> f64 {
    let sorted = sorted(runs);
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

fn sorted(runs: &[f64]) -> Vec<f64> {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// About three digits, thousands apart.
fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    match text.len().checked_sub(3) {
        Some(at) if decimals == 0 && at > 0 => format!("{},{}", &text[..at], &text[at..]),
        _ => text,
    }
}
