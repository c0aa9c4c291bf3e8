//! Drives one case: some clients, each sending its next request after the answer to the last one.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout_at};

use crate::peer::Peer;

/// How long a server may take until it answers the first request.
const START_MAX: Duration = Duration::from_secs(20);
const START_POLL: Duration = Duration::from_millis(20);
/// How often in a row a take may find nothing although the client itself has just put an entry.
const EMPTY_TAKES_MAX: u32 = 100_000;

/// What one operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// A put and its acknowledgement.
    Put,
    /// A put, a take and whatever makes the taken entry done, one after another.
    Cycle,
}

/// What is measured, the system apart.
#[derive(Debug, Clone)]
pub struct Case {
    /// What one operation is.
    pub workload: Workload,
    /// Clients, each with a connection of its own.
    pub clients: usize,
    /// Size of each entry.
    pub payload_bytes: usize,
    /// Time before the window, with the same load.
    pub warm_up: Duration,
    /// Operations that end in this time count.
    pub window: Duration,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Operations that ended in the window.
    pub operations: usize,
    /// Operations of the warm-up and the window, for counting syncs per operation.
    pub operations_with_warm_up: usize,
    /// Takes that found nothing and were repeated.
    pub empty_takes: u64,
    /// Operations per second.
    pub per_second: f64,
    /// Median time of one operation, microseconds.
    pub p50_us: u32,
    /// 99th percentile, microseconds.
    pub p99_us: u32,
    /// Longest, microseconds.
    pub max_us: u32,
}

/// Waits for the server, connects all clients, and lets them run until the window is over.
pub async fn measure<P: Peer>(address: SocketAddr, case: &Case) -> Result<Outcome> {
    wait_until_ready::<P>(address).await?;
    let mut peers = Vec::with_capacity(case.clients);
    for client in 0..case.clients {
        let peer = P::connect(address, client).await;
        peers.push(peer.with_context(|| format!("client {client} could not connect"))?);
    }
    let window_start = Instant::now() + case.warm_up;
    let window_end = window_start + case.window;
    let clients: Vec<_> = peers
        .into_iter()
        .map(|peer| tokio::spawn(run_client(peer, case.clone(), window_start, window_end)))
        .collect();
    let mut total = Tally::default();
    for client in clients {
        total.add(client.await??);
    }
    total.outcome(case.window)
}

async fn wait_until_ready<P: Peer>(address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + START_MAX;
    loop {
        match timeout_at(deadline, P::prepare(address)).await {
            Ok(Err(_)) if Instant::now() < deadline => sleep(START_POLL).await,
            Ok(result) => return result.context("the server does not get ready"),
            Err(_) => anyhow::bail!("the server does not answer"),
        }
    }
}

/// Runs one client; the operation that is under way at the end of the window is dropped.
async fn run_client<P: Peer>(
    mut peer: P,
    case: Case,
    window_start: Instant,
    window_end: Instant,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let load = repeat(&mut peer, &case, window_start, &mut tally);
    match timeout_at(window_end, load).await {
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(tally),
    }
}

async fn repeat<P: Peer>(
    peer: &mut P,
    case: &Case,
    window_start: Instant,
    tally: &mut Tally,
) -> Result<Infallible> {
    let payload = payload(case.payload_bytes);
    loop {
        let begun = Instant::now();
        peer.put(&payload).await?;
        if case.workload == Workload::Cycle {
            take_one(peer, &payload, tally).await?;
        }
        let ended = Instant::now();
        tally.operations += 1;
        if ended >= window_start {
            let micros = (ended - begun).as_micros();
            tally
                .latencies_us
                .push(u32::try_from(micros).unwrap_or(u32::MAX));
        }
    }
}

async fn take_one<P: Peer>(peer: &mut P, payload: &[u8], tally: &mut Tally) -> Result<()> {
    for _ in 0..EMPTY_TAKES_MAX {
        let Some(taken) = peer.take().await? else {
            tally.empty_takes += 1;
            continue;
        };
        ensure!(
            taken.payload == payload,
            "the queue gave back other bytes than it got"
        );
        return peer.done(taken.id).await;
    }
    anyhow::bail!("the queue stays empty although an entry was put")
}

/// Bytes that do not compress, the same for all clients and systems (xorshift64).
fn payload(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(length)
    .collect()
}

#[derive(Debug, Default)]
struct Tally {
    latencies_us: Vec<u32>,
    operations: usize,
    empty_takes: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.latencies_us.extend(other.latencies_us);
        self.operations += other.operations;
        self.empty_takes += other.empty_takes;
    }

    fn outcome(mut self, window: Duration) -> Result<Outcome> {
        self.latencies_us.sort_unstable();
        let operations = self.latencies_us.len();
        ensure!(operations > 0, "no operation ended in the window");
        // Nearest rank: the smallest value that is not below the wanted share of all values.
        let percentile = |percent: usize| {
            let rank = (operations * percent).div_ceil(100).max(1);
            self.latencies_us[rank - 1]
        };
        Ok(Outcome {
            operations,
            operations_with_warm_up: self.operations,
            empty_takes: self.empty_takes,
            per_second: operations as f64 / window.as_secs_f64(),
            p50_us: percentile(50),
            p99_us: percentile(99),
            max_us: percentile(100),
        })
    }
}
