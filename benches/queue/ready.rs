//! From the start of the real program to its first answer.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    Bench, fixture,
    http::Connection,
    memory::{ENTRIES, SMOKE_ENTRIES},
    program::Program,
    report::{Goal, Report},
};

const GOAL_MS: f64 = 1000.0;
/// Longest wait for `/readyz` after the announcement.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(1);

/// Asks `ready`.
pub async fn ask(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut empty = Vec::new();
    for _ in 0..bench.runs {
        let folder = bench.folder()?;
        empty.push(start(bench, folder.path()).await?);
    }
    record(report, "empty folder", &empty);

    let entries = bench.size(ENTRIES, SMOKE_ENTRIES);
    let folder = bench.folder()?;
    fixture::leave_backlog(folder.path(), entries).await?;
    let mut backlog = Vec::new();
    for _ in 0..bench.runs {
        backlog.push(start(bench, folder.path()).await?);
    }
    record(report, &format!("{entries} entries of 1 KiB"), &backlog);
    Ok(())
}

fn record(report: &mut Report, case: &str, starts: &[[Duration; 2]]) {
    let measures = ["start to announcement ms", "start to /readyz 200 ms"];
    for (at, measure) in measures.into_iter().enumerate() {
        let runs = starts.iter().map(|start| start[at].as_secs_f64() * 1000.0);
        report.record(case, measure, runs.collect(), Some(Goal::AtMost(GOAL_MS)));
    }
}

/// Time to the announcement and to the first 200 of `/readyz`.
async fn start(bench: &Bench, folder: &Path) -> Result<[Duration; 2]> {
    let begun = Instant::now();
    let program = Program::serve(bench, folder)?;
    let mut connection = Connection::open(program.address()?).await?;
    while connection.ask("GET", "/readyz", &[]).await? != 200 {
        let waited = begun.elapsed();
        ensure!(waited < PATIENCE, "/readyz is not 200 after {waited:?}");
        tokio::time::sleep(POLL).await;
    }
    let ready = begun.elapsed();
    let announced = program.took;
    program.stop()?;
    Ok([announced, ready])
}
