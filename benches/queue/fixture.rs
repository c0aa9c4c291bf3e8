//! Stores, services and entries to measure with.

use std::path::Path;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use photog::{
    domain::{ServiceSpec, Tags},
    queue::{NewEntry, Payload, QueueKey, Store, StoreOptions},
    services::{self, Machine},
};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Name of the only service.
pub const SERVICE: &str = "bench";
/// Two queues without a worker, as a service JSON.
pub const QUEUE_SERVICE: &str = r#"{"metadata": {"name": "bench", "type": "Queue"}}"#;
/// The same with slots of an engine that take one entry at a time.
pub const ENGINE_SERVICE: &str = r#"{"metadata":
    {"name": "bench", "type": "ScalableJob", "instance": 1, "photog_role": "echo"}}"#;

/// Bytes of an ordinary entry.
pub const ENTRY_BYTES: usize = 1024;

/// Puts under way while a backlog is made: enough to share commits well.
const FILLERS: u64 = 256;

/// Opens the store in a data folder, with one service. Blocks.
pub fn open(folder: &Path, service: &str) -> Result<Store> {
    Store::open(StoreOptions::below(folder), &[spec(service)?]).context("the store did not open")
}

fn spec(service: &str) -> Result<ServiceSpec> {
    let machine = Machine {
        store_bytes: u64::MAX,
        free_disk_bytes: u64::MAX,
        cores: 1024,
        device_slots: None,
    };
    Ok(services::load(service, &machine)?.spec)
}

/// The input queue.
pub fn source() -> QueueKey {
    QueueKey::source(SERVICE)
}

/// An entry with a request id of its own.
pub fn entry(payload: &Bytes) -> NewEntry {
    new_entry(Uuid::new_v4(), payload)
}

/// The entry that [`fill`] puts under this number, or would.
pub fn numbered_entry(number: u64, payload: &Bytes) -> NewEntry {
    new_entry(request_id(number), payload)
}

fn new_entry(id: Uuid, payload: &Bytes) -> NewEntry {
    NewEntry {
        request_id: id.to_string(),
        tags: Tags::default(),
        priority: 0,
        payload: Payload::Inline(payload.clone()),
    }
}

/// Request id of a numbered entry. Neighbours have ids far apart, as random ones are.
pub fn request_id(number: u64) -> Uuid {
    // Knuth's multiplicative hash, The Art of Computer Programming 6.4.
    Uuid::from_u64_pair(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number)
}

/// Puts entries with the numbers from 0 to `count`.
pub async fn fill(store: &Store, count: usize, payload: &Bytes) -> Result<()> {
    let count = count as u64;
    let mut fillers = JoinSet::new();
    for first in 0..FILLERS {
        let (store, payload) = (store.clone(), payload.clone());
        fillers.spawn(async move {
            for number in (first..count).step_by(FILLERS as usize) {
                let entry = numbered_entry(number, &payload);
                store.put(&source(), entry).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(filler) = fillers.join_next().await {
        filler??;
    }
    Ok(())
}

/// Leaves a folder with a backlog of ordinary entries, as a program that has stopped would.
pub async fn leave_backlog(folder: &Path, count: usize) -> Result<()> {
    let store = open(folder, QUEUE_SERVICE)?;
    fill(&store, count, &payload(ENTRY_BYTES)).await?;
    store.close().await;
    Ok(())
}

/// Bytes that do not compress, the same in every run (xorshift64).
pub fn payload(length: usize) -> Bytes {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    bytes.take(length).collect()
}
