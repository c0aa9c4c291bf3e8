//! What single calls cost with a long backlog, beside an empty queue.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use photog::{
    domain::{REQUEST_ID_TAG, Tags},
    queue::{Filter, Get, QueueKey, Store},
};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::{
    Bench,
    fixture::{self, QUEUE_SERVICE},
    load::percentile_ms,
    report::{Goal, Report},
};

const ENTRIES: usize = 1_000_000;
const SMOKE_ENTRIES: usize = 2_000;
const ENTRY_BYTES: usize = 100;
/// Enough entries for the database's log to reach its full size. While it grows, each sync has to
/// record the new length as well, which would make the empty queue look slow.
const LOG_FILLING_ENTRIES: usize = 100_000;

/// What is timed, in the order of [`Times`].
const MEASURES: [&str; 4] = [
    "put p50 ms",
    "look by request id p50 ms",
    "get by request id p50 ms",
    "get first p50 ms",
];
/// Medians of one run, in milliseconds.
type Times = [f64; MEASURES.len()];

/// Asks `backlog`.
pub async fn ask(bench: &Bench, report: &mut Report) -> Result<()> {
    let (empty_folder, long_folder) = (bench.folder()?, bench.folder()?);
    let entries = bench.size(ENTRIES, SMOKE_ENTRIES);
    let samples = bench.size(300, 10);
    let mut empty = Line::new(fixture::open(empty_folder.path(), QUEUE_SERVICE)?, 0);
    let mut long = Line::new(fixture::open(long_folder.path(), QUEUE_SERVICE)?, entries);
    fixture::fill(&long.store, entries, &long.payload).await?;
    let passing = entries.min(LOG_FILLING_ENTRIES);
    fixture::fill(&empty.store, passing, &empty.payload).await?;
    empty.store.truncate(&empty.queue, u64::MAX).await?;

    let (mut empty_runs, mut long_runs) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        let (mut empty_times, mut long_times) = (Samples::default(), Samples::default());
        for _ in 0..samples {
            // Turn about, so that a slow moment of the machine falls on both.
            empty_times.add(empty.round().await?);
            long_times.add(long.round().await?);
        }
        empty_runs.push(empty_times.medians());
        long_runs.push(long_times.medians());
    }
    let case = format!("{entries} entries");
    for (at, measure) in MEASURES.into_iter().enumerate() {
        let column = |runs: &[Times]| runs.iter().map(|run| run[at]).collect::<Vec<f64>>();
        let (before, after) = (column(&empty_runs), column(&long_runs));
        let ratios = before.iter().zip(&after).map(|(empty, long)| long / empty);
        let ratios = ratios.collect();
        report.record("empty", measure, before, None);
        report.record(&*case, measure, after, None);
        report.record("ratio", measure, ratios, Some(Goal::AtMost(2.0)));
    }

    empty.store.close().await;
    long.store.close().await;
    let mut seconds = Vec::new();
    for _ in 0..bench.runs {
        let folder = long_folder.path().to_owned();
        let begun = Instant::now();
        let store = spawn_blocking(move || fixture::open(&folder, QUEUE_SERVICE)).await??;
        seconds.push(begun.elapsed().as_secs_f64());
        let stored = store.attributes(&fixture::source()).await?.length;
        ensure!(
            stored == entries as u64,
            "{stored} entries are stored of {entries}"
        );
        store.close().await;
    }
    report.record(case, "open s", seconds, None);
    Ok(())
}

/// The times of one run.
#[derive(Default)]
struct Samples([Vec<Duration>; MEASURES.len()]);

impl Samples {
    fn add(&mut self, round: [Duration; MEASURES.len()]) {
        for (times, time) in self.0.iter_mut().zip(round) {
            times.push(time);
        }
    }

    fn medians(self) -> Times {
        self.0.map(|mut times| percentile_ms(&mut times, 50))
    }
}

/// A queue that has as many entries after each round as before.
struct Line {
    store: Store,
    queue: QueueKey,
    payload: Bytes,
    /// Entries at the beginning, numbered from 0.
    length: u64,
    /// Rounds so far.
    rounds: u64,
}

impl Line {
    fn new(store: Store, length: usize) -> Self {
        Self {
            store,
            queue: fixture::source(),
            payload: fixture::payload(ENTRY_BYTES),
            length: length as u64,
            rounds: 0,
        }
    }

    async fn round(&mut self) -> Result<[Duration; MEASURES.len()]> {
        let added = self.length + 2 * self.rounds;
        let wanted = fixture::request_id(self.inner_entry().unwrap_or(added));
        self.rounds += 1;
        let put = self.put(added).await?;
        let look = self.get(by_id(wanted), false).await?;
        let get = self.get(by_id(wanted), true).await?;
        self.put(added + 1).await?;
        let first = self.get(Tags::default(), true).await?;
        Ok([put, look, get, first])
    }

    /// An entry far from both ends, another in each round; `None` without a backlog. The first
    /// entries go to `get first`, so only the later half is drawn from.
    fn inner_entry(&self) -> Option<u64> {
        // A prime, so that no entry is drawn twice.
        const STRIDE: u64 = 7919;
        let half = self.length / 2;
        (half > 0).then(|| half + (self.rounds * STRIDE) % half)
    }

    async fn put(&self, number: u64) -> Result<Duration> {
        let entry = fixture::numbered_entry(number, &self.payload);
        let begun = Instant::now();
        self.store.put(&self.queue, entry).await?;
        Ok(begun.elapsed())
    }

    async fn get(&self, tags: Tags, auto_delete: bool) -> Result<Duration> {
        let get = Get {
            filter: Filter {
                from: Some(0),
                tags,
            },
            length: 1,
            auto_delete,
            wait: false,
        };
        let begun = Instant::now();
        let frames = self.store.get(&self.queue, get, Duration::ZERO).await?;
        let time = begun.elapsed();
        ensure!(frames.len() == 1, "an entry that was put is not found");
        Ok(time)
    }
}

fn by_id(id: Uuid) -> Tags {
    [(REQUEST_ID_TAG, id.to_string())].into_iter().collect()
}
