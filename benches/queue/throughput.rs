//! Durable puts and full cycles per second, in process.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use photog::{
    domain::Tags,
    queue::{Attach, Filter, Finish, Get, Payload, Push, QueueKey, Store},
};
use tokio::sync::mpsc;

use crate::{
    Bench,
    fixture::{self, ENGINE_SERVICE, ENTRY_BYTES, QUEUE_SERVICE, SERVICE},
    load::{Client, Outcome, drive},
    report::{Goal, Report},
};

/// Asks `puts`.
pub async fn ask_puts(bench: &Bench, report: &mut Report) -> Result<()> {
    for &count in bench.clients {
        let mut outcomes = Vec::new();
        for _ in 0..bench.runs {
            let folder = bench.folder()?;
            let make = async |store: &Store, _| Ok(Producer::new(store));
            let outcome = run(bench, folder.path(), QUEUE_SERVICE, count, make).await?;
            check_stored(folder.path(), outcome.operations).await?;
            outcomes.push(outcome);
        }
        let goal = (count == 64).then_some(Goal::AtLeast(20_000.0));
        report.record_load(&format!("{count} producers"), &outcomes, goal);
    }
    Ok(())
}

/// Asks `cycles`.
pub async fn ask_cycles(bench: &Bench, report: &mut Report) -> Result<()> {
    for &count in bench.clients {
        let mut outcomes = Vec::new();
        for _ in 0..bench.runs {
            let (folder, make) = (bench.folder()?, EngineClient::attach);
            outcomes.push(run(bench, folder.path(), ENGINE_SERVICE, count, make).await?);
        }
        let case = format!("put, claim, load, finish; {count} clients");
        report.record_load(&case, &outcomes, None);
    }
    for &count in bench.clients {
        let mut outcomes = Vec::new();
        for _ in 0..bench.runs {
            let folder = bench.folder()?;
            let make = async |store: &Store, _| Ok(TakingClient(Producer::new(store)));
            outcomes.push(run(bench, folder.path(), QUEUE_SERVICE, count, make).await?);
        }
        let case = format!("put, get with removal; {count} clients");
        report.record_load(&case, &outcomes, None);
    }
    Ok(())
}

/// One run on a fresh store in an empty folder.
async fn run<C: Client>(
    bench: &Bench,
    folder: &Path,
    service: &str,
    count: usize,
    make: impl AsyncFn(&Store, usize) -> Result<C>,
) -> Result<Outcome> {
    let store = fixture::open(folder, service)?;
    let mut clients = Vec::with_capacity(count);
    for number in 0..count {
        clients.push(make(&store, number).await?);
    }
    let outcome = drive(bench.load, clients).await;
    store.close().await;
    outcome
}

/// What was counted must be in the file.
async fn check_stored(folder: &Path, operations: usize) -> Result<()> {
    let store = fixture::open(folder, QUEUE_SERVICE)?;
    let stored = store.attributes(&fixture::source()).await?.length;
    store.close().await;
    ensure!(
        stored >= operations as u64,
        "{operations} puts were answered, {stored} entries are stored"
    );
    Ok(())
}

/// Puts.
struct Producer {
    store: Store,
    queue: QueueKey,
    payload: Bytes,
}

impl Producer {
    fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            queue: fixture::source(),
            payload: fixture::payload(ENTRY_BYTES),
        }
    }
}

impl Client for Producer {
    async fn operate(&mut self) -> Result<()> {
        let entry = fixture::entry(&self.payload);
        self.store.put(&self.queue, entry).await?;
        Ok(())
    }
}

/// Puts, then takes the first entry of the queue out of it.
struct TakingClient(Producer);

impl Client for TakingClient {
    async fn operate(&mut self) -> Result<()> {
        self.0.operate().await?;
        let first = Get {
            filter: Filter {
                from: Some(0),
                tags: Tags::default(),
            },
            length: 1,
            auto_delete: true,
            wait: false,
        };
        let got = self.0.store.get(&self.0.queue, first, Duration::ZERO);
        ensure!(got.await?.len() == 1, "the queue is empty after a put");
        Ok(())
    }
}

/// Puts, and as a slot of the engine finishes the next entry that it is handed, its own or not.
struct EngineClient {
    producer: Producer,
    pushes: mpsc::UnboundedReceiver<Push>,
}

impl EngineClient {
    async fn attach(store: &Store, number: usize) -> Result<Self> {
        let producer = Producer::new(store);
        let slot = Attach {
            group: SERVICE.into(),
            user: format!("slot-{number}").into(),
            start: Some(0),
            tags: Tags::default(),
            window: 1,
            auto_commit: false,
        };
        let attached = store.attach(&producer.queue, slot).await?;
        Ok(Self {
            producer,
            pushes: attached.pushes,
        })
    }
}

impl Client for EngineClient {
    async fn operate(&mut self) -> Result<()> {
        self.producer.operate().await?;
        let store = &self.producer.store;
        let push = self.pushes.recv().await.context("the store has closed")?;
        let request = store.load(&push).await?.into_bytes()?;
        let finish = Finish {
            push,
            code: None,
            message: String::new(),
            cancelled: false,
            result: Some(Payload::Inline(request)),
            status: 200,
        };
        store.finish(SERVICE, finish).await?;
        Ok(())
    }
}
