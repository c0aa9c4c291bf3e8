//! SIGKILL at random moments.

use std::{thread, time::Duration};

use crate::{
    audit::{self, Work},
    client::Client,
    load::{self, Stage},
    program::{Photog, Setup},
    rng::Rng,
    rounds, seed,
};

const ROUNDS: u32 = 20;
/// Most operations between two kills; most are far fewer, so that many kills hit a fresh start.
const OPERATIONS_MAX: u64 = 500;
/// Longest time for that many operations; a tiny part of it is used.
const ROUND_MAX: Duration = Duration::from_secs(60);
/// Longest time between the last operation that was counted and the kill.
const AIM_MAX_US: u64 = 4_000;
/// Longest life of a program that is killed while it starts.
const START_MAX_US: u64 = 150_000;

#[test]
fn a_kill_at_any_moment_loses_nothing_and_repeats_nothing() {
    let (seed, hint) = seed();
    let setup = Setup::new(&load::services()).with("PHOTOG_DISK_RESERVE_MIB", "0");
    let stage = Stage::default();
    thread::scope(|scope| {
        let _curtain = stage.curtain();
        stage.populate(scope, seed);
        let mut rng = Rng::new(seed);
        for round in 1..=rounds(ROUNDS) {
            let mut program = setup.start();
            stage.opens_at(program.address());
            kill(&mut program, &stage, &setup, &mut rng);
            while rng.once_in(5) {
                let mut program = setup.launch();
                let life = rng.within(0, START_MAX_US);
                stage.ledger.let_pass(Duration::from_micros(life));
                program.kill();
            }
            audit::report(&stage.ledger, &format!("round {round}, {hint}"));
        }
        finish(&setup, &stage, Work::MayBeCutOff, &hint);
    });
}

/// Kills the program a random number of acknowledged operations from now.
fn kill(program: &mut Photog, stage: &Stage, setup: &Setup, rng: &mut Rng) {
    let most = rng.pick(&[1, 20, 100, OPERATIONS_MAX]);
    let operations = stage.ledger.book().acknowledgements() + rng.within(0, most);
    assert!(
        stage.ledger.wait_for(operations, ROUND_MAX),
        "the program stands still:\n{}",
        setup.log_tail()
    );
    let aim = rng.within(0, AIM_MAX_US);
    stage.ledger.let_pass(Duration::from_micros(aim));
    program.kill();
}

/// Lets the program finish everything, stops it and settles all accounts.
pub fn finish(setup: &Setup, stage: &Stage, work: Work, hint: &str) {
    let mut program = setup.start();
    stage.stop_puts();
    stage.opens_at(program.address());
    let mut client = Client::new(program.address());
    let done = audit::wait_until_done(&mut client, &stage.ledger);
    let jobs = client
        .get("/api/jobs?limit=5&state=running")
        .map(|jobs| jobs.text());
    assert!(
        done.is_ok(),
        "{done:?}; {hint}\n{jobs:?}\n{}",
        setup.log_tail()
    );
    audit::check_puts(&mut client, &stage.ledger, work).expect("the program answers");
    program.terminate();
    assert!(program.wait().success(), "the program stops in good order");
    audit::check_folder(setup.data());
    audit::report(&stage.ledger, hint);
    tell(stage);
}

/// Says how much was tried, so that a run that tried nothing can be seen.
fn tell(stage: &Stage) {
    use crate::ledger::{Ending, Known};
    let book = stage.ledger.book();
    let count = |wanted: &dyn Fn(&crate::ledger::Put) -> bool| {
        book.puts.iter().filter(|put| wanted(put)).count()
    };
    let accepted = count(&|put| matches!(put.known, Known::Accepted { .. }));
    let unanswered = count(&|put| put.known == Known::Nothing);
    let interrupted = count(&|put| put.results.values().any(|e| *e == Ending::Interrupted));
    eprintln!("{accepted} puts accepted, {unanswered} unanswered, {interrupted} interrupted");
    assert!(accepted > 0, "nothing was tried");
}
