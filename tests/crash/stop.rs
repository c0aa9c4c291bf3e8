//! SIGTERM under load.

use std::{thread, time::Duration};

use crate::{
    audit::{self, Work},
    kill::finish,
    load::{self, Stage},
    program::Setup,
    rng::Rng,
    rounds, seed,
};

const ROUNDS: u32 = 8;
const OPERATIONS_MAX: u64 = 300;
const ROUND_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_stop_in_good_order_under_load_cuts_nothing_off() {
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
            let operations = stage.ledger.book().acknowledgements() + rng.within(0, OPERATIONS_MAX);
            assert!(
                stage.ledger.wait_for(operations, ROUND_MAX),
                "the program stands still:\n{}",
                setup.log_tail()
            );
            program.terminate();
            assert!(
                program.wait().success(),
                "round {round}: the exit code of a stop in good order is 0; {hint}\n{}",
                setup.log_tail()
            );
            audit::check_folder(setup.data());
            audit::check_nothing_in_hand(setup.data());
            audit::report(&stage.ledger, &format!("round {round}, {hint}"));
        }
        finish(&setup, &stage, Work::IsFinished, &hint);
    });
}
