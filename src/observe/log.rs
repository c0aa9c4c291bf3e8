//! The log: readable lines on a terminal, JSON lines otherwise, always on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt};

/// Starts the log. `verbose` 0 says what an operator wants to know, or only what failed where the
/// log is to be `quiet`; 1 and 2 say more. The environment variable `RUST_LOG` overrides all.
pub fn start_log(verbose: u8, quiet: bool) {
    let level = match verbose {
        0 if quiet => "error",
        0 => "photog=info,warn",
        1 => "photog=debug,info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let started = if std::io::stderr().is_terminal() {
        log.try_init()
    } else {
        log.json().flatten_event(true).try_init()
    };
    // A program that uses the library may have a log of its own, which then stays.
    drop(started);
}
