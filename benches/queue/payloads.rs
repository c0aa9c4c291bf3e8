//! The largest payloads: throughput, and the memory that they pass through.

use std::{io::Read as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use photog::{
    domain::{REQUEST_ID_TAG, Tags},
    queue::{
        BlobFolder, Filter, Get, NewEntry, Payload, PayloadData, PendingBlob, QueueKey, Store,
    },
};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::{
    Bench,
    fixture::{self, QUEUE_SERVICE},
    load::{Client, drive},
    machine,
    report::Report,
};

/// The largest payload that a queue takes unless it is told otherwise.
const PAYLOAD_BYTES: usize = 20 * 1024 * 1024;
/// Payloads arrive and leave in pieces of about this size.
const PIECE_BYTES: usize = 64 * 1024;

/// Asks `payloads`.
pub async fn ask(bench: &Bench, report: &mut Report) -> Result<()> {
    let bytes = bench.size(PAYLOAD_BYTES, PAYLOAD_BYTES / 20);
    let clients: &[usize] = if bench.is_smoke { &[1] } else { &[1, 4, 16] };
    for &count in clients {
        let (mut outcomes, mut peaks) = (Vec::new(), Vec::new());
        for _ in 0..bench.runs {
            let folder = bench.folder()?;
            let store = fixture::open(folder.path(), QUEUE_SERVICE)?;
            machine::reset_peak_memory()?;
            let before = machine::memory_mb("self", "VmRSS")?;
            let clients = (0..count).map(|_| Courier::new(&store, bytes)).collect();
            outcomes.push(drive(bench.load, clients).await?);
            peaks.push(machine::memory_mb("self", "VmHWM")? - before);
            store.close().await;
        }
        let case = format!("put and get, {count} clients");
        let megabytes = outcomes
            .iter()
            .map(|run| run.per_second * bytes as f64 / 1e6);
        let megabytes = megabytes.collect();
        report.record_load(&case, &outcomes, None);
        report.record(&*case, "MB per second", megabytes, None);
        report.record(case, "peak memory above start MB", peaks, None);
    }
    Ok(())
}

/// Puts a payload and gets it back.
struct Courier {
    store: Store,
    queue: QueueKey,
    piece: Bytes,
    pieces: usize,
}

impl Courier {
    fn new(store: &Store, bytes: usize) -> Self {
        Self {
            store: store.clone(),
            queue: fixture::source(),
            piece: fixture::payload(PIECE_BYTES),
            pieces: bytes / PIECE_BYTES,
        }
    }
}

impl Client for Courier {
    async fn operate(&mut self) -> Result<()> {
        let request_id = Uuid::new_v4().to_string();
        let get = Get {
            filter: Filter {
                from: Some(0),
                tags: [(REQUEST_ID_TAG, &*request_id)].into_iter().collect(),
            },
            length: 1,
            auto_delete: true,
            wait: false,
        };
        let blob = write(self.store.blobs(), &self.piece, self.pieces).await?;
        let size = blob.size();
        let entry = NewEntry {
            request_id,
            tags: Tags::default(),
            priority: 0,
            payload: Payload::Blob(blob),
        };
        self.store.put(&self.queue, entry).await?;
        let mut frames = self.store.get(&self.queue, get, Duration::ZERO).await?;
        let mut frame = frames.pop().context("an entry that was put is not found")?;
        let read = spawn_blocking(move || read_in_pieces(frame.take_data())).await??;
        ensure!(read == size, "{read} bytes came back of {size}");
        Ok(())
    }
}

/// Writes a payload file of equal pieces.
pub async fn write(folder: &BlobFolder, piece: &Bytes, pieces: usize) -> Result<PendingBlob> {
    let (folder, piece) = (folder.clone(), piece.clone());
    let written = spawn_blocking(move || {
        let mut file = folder.create()?;
        for _ in 0..pieces {
            file.write(&piece)?;
        }
        file.finish()
    });
    Ok(written.await??)
}

fn read_in_pieces(data: PayloadData) -> Result<u64> {
    let mut file = match data {
        PayloadData::Inline(bytes) => return Ok(bytes.len() as u64),
        PayloadData::File { file, .. } => file,
    };
    let mut piece = vec![0; PIECE_BYTES];
    let mut size = 0;
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(size),
            read => size += read as u64,
        }
    }
}
