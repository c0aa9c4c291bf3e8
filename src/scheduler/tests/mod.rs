//! Tests of the autoscaler, with a bench that carries out decisions on a snapshot.

mod bench;
mod limits;
mod properties;
mod reports;
mod sharing;
mod windows;
mod worked_cases;

use proptest::test_runner::{Config, RngSeed};

/// The same cases in every run, and nothing written to disk.
fn repeatable(cases: u32) -> Config {
    Config {
        cases,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..Config::default()
    }
}
