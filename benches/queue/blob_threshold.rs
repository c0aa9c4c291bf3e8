//! Rows against files for payloads of one size after the other.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use photog::{
    domain::Tags,
    queue::{BLOB_THRESHOLD_BYTES, NewEntry, Payload, QueueKey, Store},
};
use uuid::Uuid;

use crate::{
    Bench,
    fixture::{self, QUEUE_SERVICE},
    load::{Client, drive},
    payloads,
    report::{Report, median},
};

const KIB: usize = 1024;
const SIZES: [usize; 9] = [
    16 * KIB,
    32 * KIB,
    64 * KIB,
    128 * KIB,
    256 * KIB,
    512 * KIB,
    1024 * KIB,
    2048 * KIB,
    4096 * KIB,
];
const PRODUCERS: usize = 16;
/// Payload bytes that one checkpoint has to move; little enough for the log to reach it unfolded.
const CHECKPOINT_BYTES: usize = 8 * 1024 * KIB;

/// Where a payload lies.
#[derive(Debug, Clone, Copy)]
enum Place {
    Row,
    File,
}

impl Place {
    const BOTH: [Self; 2] = [Self::Row, Self::File];

    fn measures(self) -> [&'static str; 3] {
        match self {
            Self::Row => [
                "rows per second",
                "rows: checkpoint of 8 MiB ms",
                "ms a row",
            ],
            Self::File => [
                "files per second",
                "files: checkpoint of 8 MiB ms",
                "ms a file",
            ],
        }
    }
}

/// Asks `blob-threshold`.
pub async fn ask(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut wins = Vec::new();
    for &size in &SIZES[..bench.size(SIZES.len(), 2)] {
        let mut runs: [[Vec<f64>; 3]; 2] = Default::default();
        for _ in 0..bench.runs {
            for (place, [rates, checkpoints, costs]) in Place::BOTH.into_iter().zip(&mut runs) {
                let rate = rate(bench, place, size).await?;
                let checkpoint = checkpoint_ms(bench, place, size).await?;
                let share = size as f64 / CHECKPOINT_BYTES as f64;
                rates.push(rate);
                checkpoints.push(checkpoint);
                costs.push(1000.0 / rate + checkpoint * share);
            }
        }
        let [[.., row_costs], [.., file_costs]] = &runs;
        wins.push(median(file_costs) <= median(row_costs));
        for (place, columns) in Place::BOTH.into_iter().zip(runs) {
            for (measure, runs) in place.measures().into_iter().zip(columns) {
                report.record(title(size), measure, runs, None);
            }
        }
    }
    if !bench.is_smoke {
        report.note(crossover(&wins));
    }
    Ok(())
}

/// The size from which on files cost less throughout.
fn crossover(wins: &[bool]) -> String {
    let rows_up_to = wins
        .iter()
        .rposition(|wins| !wins)
        .map_or(0, |last| last + 1);
    let today = title(BLOB_THRESHOLD_BYTES as usize);
    match SIZES[..wins.len()].get(rows_up_to) {
        Some(size) => format!(
            "Files cost as little or less from {} on, checkpoints included; BLOB_THRESHOLD_BYTES is {today}.",
            title(*size)
        ),
        None => format!(
            "Rows cost less at the largest size, checkpoints included; BLOB_THRESHOLD_BYTES is {today}."
        ),
    }
}

fn title(size: usize) -> String {
    format!("{} KiB", size / KIB)
}

async fn rate(bench: &Bench, place: Place, size: usize) -> Result<f64> {
    let folder = bench.folder()?;
    let store = fixture::open(folder.path(), QUEUE_SERVICE)?;
    let client = Depositor::new(&store, place, size);
    let outcome = drive(bench.load, vec![client; PRODUCERS]).await;
    store.close().await;
    Ok(outcome?.per_second)
}

/// How long the store takes to close when it has to fold payloads of 8 MiB into the database.
async fn checkpoint_ms(bench: &Bench, place: Place, size: usize) -> Result<f64> {
    let folder = bench.folder()?;
    let store = fixture::open(folder.path(), QUEUE_SERVICE)?;
    let client = Depositor::new(&store, place, size);
    for _ in 0..CHECKPOINT_BYTES / size {
        client.put().await?;
    }
    let begun = Instant::now();
    store.close().await;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

/// Puts an entry and deletes it.
#[derive(Clone)]
struct Depositor {
    store: Store,
    queue: QueueKey,
    place: Place,
    payload: Bytes,
}

impl Depositor {
    fn new(store: &Store, place: Place, size: usize) -> Self {
        Self {
            store: store.clone(),
            queue: fixture::source(),
            place,
            payload: fixture::payload(size),
        }
    }

    async fn put(&self) -> Result<u64> {
        let payload = match self.place {
            Place::Row => Payload::Inline(self.payload.clone()),
            Place::File => {
                Payload::Blob(payloads::write(self.store.blobs(), &self.payload, 1).await?)
            }
        };
        let entry = NewEntry {
            request_id: Uuid::new_v4().to_string(),
            tags: Tags::default(),
            priority: 0,
            payload,
        };
        Ok(self.store.put(&self.queue, entry).await?.index)
    }
}

impl Client for Depositor {
    async fn operate(&mut self) -> Result<()> {
        let index = self.put().await?;
        self.store.delete(&self.queue, vec![index]).await?;
        Ok(())
    }
}
