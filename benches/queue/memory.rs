//! Resident memory of processes that do nothing but hold a backlog.

use std::{
    io::{self, Write as _},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::Result;

use crate::{
    Bench,
    fixture::{self, QUEUE_SERVICE},
    machine,
    program::Program,
    report::{Goal, Report},
};

/// Entries of the backlog that an idle program is judged with.
pub const ENTRIES: usize = 100_000;
/// The same for a smoke run.
pub const SMOKE_ENTRIES: usize = 500;

const GOAL: Goal = Goal::AtMost(100.0);
const MEASURE: &str = "resident MB";
/// Line of a process that [`hold`]s a store.
const HELD: &str = "store held";
/// Time to give back what only the start needed.
const SETTLE: Duration = Duration::from_secs(2);

/// Asks `memory`.
pub async fn ask(bench: &Bench, report: &mut Report) -> Result<()> {
    let entries = bench.size(ENTRIES, SMOKE_ENTRIES);
    for count in [0, entries] {
        let folder = bench.folder()?;
        fixture::leave_backlog(folder.path(), count).await?;
        let mut alone = Vec::new();
        for _ in 0..bench.runs {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("--hold").arg(folder.path());
            alone.push(resident(bench, &Program::start(command, HELD)?).await?);
        }
        let case = format!("the store alone, {count} entries");
        report.record(case, MEASURE, alone, Some(GOAL));
    }
    for count in [0, entries] {
        let folder = bench.folder()?;
        fixture::leave_backlog(folder.path(), count).await?;
        let mut whole = Vec::new();
        for _ in 0..bench.runs {
            let program = Program::serve(bench, folder.path())?;
            whole.push(resident(bench, &program).await?);
            program.stop()?;
        }
        let case = format!("photog serve, {count} entries");
        report.record(case, MEASURE, whole, Some(GOAL));
    }
    Ok(())
}

async fn resident(bench: &Bench, program: &Program) -> Result<f64> {
    if !bench.is_smoke {
        tokio::time::sleep(SETTLE).await;
    }
    machine::memory_mb(&program.process(), "VmRSS")
}

/// What the child for "the store alone" does: opens the store of a folder and waits for the end of
/// standard input.
pub fn hold(folder: &Path) -> Result<()> {
    let _store = fixture::open(folder, QUEUE_SERVICE)?;
    writeln!(io::stdout(), "{HELD}")?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
