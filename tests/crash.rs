//! The program is killed, its disk filled, its syncs broken and its work stopped, and what it has
//! promised is held against it.
//!
//! Every test drives the real program over HTTP. Callers note what was acknowledged and what came
//! out; at the end each accepted entry must have exactly one result, with its content and tags,
//! and the data folder must be whole. Random moments come from a seed that is printed:
//! `PHOTOG_TEST_CRASH_SEED` repeats it (thread timing stays the machine's), `PHOTOG_TEST_CRASH_ROUNDS` says
//! how often each random test strikes.

#[path = "crash/audit.rs"]
mod audit;
#[path = "crash/client.rs"]
mod client;
#[path = "crash/failing_sync.rs"]
mod failing_sync;
#[path = "crash/full_disk.rs"]
mod full_disk;
#[path = "crash/kill.rs"]
mod kill;
#[path = "crash/ledger.rs"]
mod ledger;
#[path = "crash/load.rs"]
mod load;
#[path = "crash/program.rs"]
mod program;
#[path = "scheduler_sim/rng.rs"]
mod rng;
#[path = "crash/stop.rs"]
mod stop;

use std::{
    env,
    time::{SystemTime, UNIX_EPOCH},
};

/// The seed of this run, and what to tell about it.
fn seed() -> (u64, String) {
    let given = env::var("PHOTOG_TEST_CRASH_SEED").ok();
    let seed = given.map_or_else(
        || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.map_or(0, |passed| passed.as_nanos() as u64)
        },
        |text| text.parse().expect("PHOTOG_TEST_CRASH_SEED is a number"),
    );
    let hint = format!("PHOTOG_TEST_CRASH_SEED={seed} repeats these moments");
    eprintln!("{hint}");
    (seed, hint)
}

/// How often a test strikes.
fn rounds(default: u32) -> u32 {
    env::var("PHOTOG_TEST_CRASH_ROUNDS").map_or(default, |text| {
        text.parse().expect("PHOTOG_TEST_CRASH_ROUNDS is a number")
    })
}
