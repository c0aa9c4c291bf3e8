//! Closed-loop load: some clients, each with its next operation after the answer to the last one.

use std::{convert::Infallible, time::Duration};

use anyhow::{Result, ensure};
use tokio::time::{Instant, timeout_at};

/// How long clients work.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Time before the window, with the same load.
    pub warm_up: Duration,
    /// Operations that end in this time count.
    pub window: Duration,
}

/// What one client does again and again.
pub trait Client: Send + 'static {
    /// One operation, up to its answer.
    fn operate(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// What came out of one run.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Operations that ended in the window.
    pub operations: usize,
    /// Operations per second of all clients together.
    pub per_second: f64,
    /// Median time of one operation in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile in milliseconds.
    pub p99_ms: f64,
}

/// Lets all clients work at once until the window is over. Operations that are under way then are
/// dropped.
pub async fn drive<C: Client>(load: Load, clients: Vec<C>) -> Result<Outcome> {
    let begin = Instant::now() + load.warm_up;
    let end = begin + load.window;
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(work(client, begin, end)))
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.append(&mut task.await??);
    }
    ensure!(!times.is_empty(), "no operation ended in the window");
    Ok(Outcome {
        operations: times.len(),
        per_second: times.len() as f64 / load.window.as_secs_f64(),
        p50_ms: percentile_ms(&mut times, 50),
        p99_ms: percentile_ms(&mut times, 99),
    })
}

async fn work<C: Client>(mut client: C, begin: Instant, end: Instant) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    match timeout_at(end, repeat(&mut client, begin, &mut times)).await {
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(times),
    }
}

async fn repeat<C: Client>(
    client: &mut C,
    begin: Instant,
    times: &mut Vec<Duration>,
) -> Result<Infallible> {
    loop {
        let asked = Instant::now();
        client.operate().await?;
        if Instant::now() >= begin {
            times.push(asked.elapsed());
        }
    }
}

/// The smallest time that is not below `percent` of all (nearest rank), in milliseconds. There must
/// be at least one.
pub fn percentile_ms(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times[rank - 1].as_secs_f64() * 1000.0
}
