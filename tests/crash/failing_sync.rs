//! A disk that refuses to sync for a while.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use crate::{
    audit::{self, Work},
    client::Client,
    kill::finish,
    ledger::{Content, Ledger},
    load::{self, PLAIN, Stage, WORKING},
    program::{Photog, Setup},
    rng::Rng,
    rounds, seed,
};

const ROUNDS: u32 = 6;
const OPERATIONS_MAX: u64 = 200;
const ROUND_MAX: Duration = Duration::from_secs(60);
const SHIM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/fsync_fault.c");
/// How often is looked whether the program is ready again, and how long between two looks.
const LOOKS_MAX: u32 = 600;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[test]
fn while_syncs_fail_nothing_is_accepted_and_afterwards_everything_ends() {
    let (seed, hint) = seed();
    let (setup, fault) = setup_with_fault();
    let stage = Stage::default();
    thread::scope(|scope| {
        let _curtain = stage.curtain();
        stage.populate(scope, seed);
        let mut rng = Rng::new(seed);
        let mut program = setup.start();
        stage.opens_at(program.address());
        for round in 1..=rounds(ROUNDS) {
            let hint = format!("round {round}, {hint}");
            fail_for_a_while(&program, &stage, &fault, &mut rng)
                .unwrap_or_else(|what| panic!("{what}; {hint}\n{}", setup.log_tail()));
            audit::report(&stage.ledger, &hint);
        }
        program.terminate();
        assert!(program.wait().success(), "{}", setup.log_tail());
        finish(&setup, &stage, Work::IsFinished, &hint);
    });
}

#[test]
fn a_kill_right_after_failing_syncs_loses_nothing() {
    let (seed, hint) = seed();
    let (setup, fault) = setup_with_fault();
    let stage = Stage::default();
    thread::scope(|scope| {
        let _curtain = stage.curtain();
        stage.populate(scope, seed);
        let mut rng = Rng::new(seed);
        for round in 1..=rounds(ROUNDS) {
            let mut program = setup.start();
            stage.opens_at(program.address());
            let hint = format!("round {round}, {hint}");
            wait_for_load(&stage, &mut rng);
            fs::write(&fault, "").expect("the control file can be written");
            let mut client = Client::new(program.address());
            refused(&stage.ledger, &mut client)
                .unwrap_or_else(|what| panic!("{what}; {hint}\n{}", setup.log_tail()));
            if rng.once_in(2) {
                fs::remove_file(&fault).expect("the control file can be removed");
            }
            program.kill();
            // The fault is over, whether the program has seen that or not.
            let _ = fs::remove_file(&fault);
            audit::report(&stage.ledger, &hint);
        }
        finish(&setup, &stage, Work::MayBeCutOff, &hint);
    });
}

/// A program whose syncs fail while the returned file exists.
fn setup_with_fault() -> (Setup, PathBuf) {
    let setup = Setup::new(&load::services()).with("PHOTOG_DISK_RESERVE_MIB", "0");
    let library = setup.folder().join("fsync_fault.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .args([SHIM, "-ldl"])
        .status()
        .expect("a C compiler, which building this program needs too");
    assert!(built.success(), "the shim does not build");
    let fault = setup.folder().join("syncs-fail");
    let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
    let setup = setup
        .with("LD_PRELOAD", text(&library))
        .with("FSYNC_FAULT_FILE", text(&fault));
    (setup, fault)
}

fn fail_for_a_while(
    program: &Photog,
    stage: &Stage,
    fault: &Path,
    rng: &mut Rng,
) -> Result<(), String> {
    wait_for_load(stage, rng);
    let mut client = Client::new(program.address());
    fs::write(fault, "").expect("the control file can be written");
    let refused = refused(&stage.ledger, &mut client);
    let during = status(&mut client, "/readyz");
    fs::remove_file(fault).expect("the control file can be removed");
    refused?;
    if during != Ok(503) {
        return Err(format!("/readyz said {during:?} while syncs failed"));
    }
    for _ in 0..LOOKS_MAX {
        if status(&mut client, "/readyz") == Ok(200) {
            return accepted(&stage.ledger, &mut client);
        }
        stage.ledger.let_pass(LOOK_AGAIN);
    }
    Err(String::from(
        "the program does not recover after the fault has ended",
    ))
}

fn wait_for_load(stage: &Stage, rng: &mut Rng) {
    let operations = stage.ledger.book().acknowledgements() + rng.within(20, OPERATIONS_MAX);
    assert!(
        stage.ledger.wait_for(operations, ROUND_MAX),
        "the program stands still"
    );
}

/// Puts of every kind, each of which has to fail.
fn refused(ledger: &Ledger, client: &mut Client) -> Result<(), String> {
    for status in put_each_kind(ledger, client) {
        if status != Ok(500) {
            return Err(format!("a put got {status:?} while syncs failed"));
        }
    }
    Ok(())
}

/// Puts of every kind, each of which has to succeed.
fn accepted(ledger: &Ledger, client: &mut Client) -> Result<(), String> {
    for status in put_each_kind(ledger, client) {
        if status != Ok(200) {
            return Err(format!("a put got {status:?} after the fault"));
        }
    }
    Ok(())
}

fn put_each_kind(ledger: &Ledger, client: &mut Client) -> Vec<Result<u16, String>> {
    let mut statuses = Vec::new();
    for service in WORKING.map(|(name, _)| name).into_iter().chain([PLAIN]) {
        for size in [0, 100, 300 * 1024] {
            let answer = ledger.put(client, service, Content::Bytes(size), false);
            statuses.push(
                answer
                    .map(|answer| answer.status)
                    .map_err(|error| told(&error)),
            );
        }
    }
    statuses
}

fn status(client: &mut Client, target: &str) -> Result<u16, String> {
    let answer = client.get(target);
    answer
        .map(|answer| answer.status)
        .map_err(|error| told(&error))
}

fn told(error: &io::Error) -> String {
    error.to_string()
}
