//! A disk that is full.
//!
//! The data folder lies on a small file system in memory, which only an administrator can mount;
//! elsewhere these tests are skipped and say so.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use crate::{
    audit::{self, Work},
    client::Client,
    kill::finish,
    ledger::{Content, Known, Ledger},
    load::{self, PLAIN, Stage},
    program::Setup,
    rng::Rng,
    seed,
};

const MIB: u64 = 1024 * 1024;
const DISK_MIB: u64 = 24;
const RESERVE_MIB: u32 = 8;
/// Small enough to lie in the database.
const SMALL: Content = Content::Bytes(60 * 1024);
/// Large enough to lie in a file.
const LARGE: Content = Content::Bytes(300 * 1024);
/// More puts than the disk has room for.
const PUTS_MAX: usize = 2_000;
const ROUND_MAX: Duration = Duration::from_secs(60);
/// How often is tried whether puts work again, and how long between two tries.
const TRIES_MAX: u32 = 200;
const TRY_AGAIN: Duration = Duration::from_millis(50);

#[test]
fn work_goes_on_after_somebody_else_has_filled_the_disk() {
    let Some(disk) = Disk::mount() else { return };
    let (seed, hint) = seed();
    let setup = setup_on(&disk, 0);
    let stage = Stage::default();
    thread::scope(|scope| {
        let _curtain = stage.curtain();
        stage.populate(scope, seed);
        let mut rng = Rng::new(seed);
        for round in 1..=4 {
            let mut program = setup.start();
            stage.opens_at(program.address());
            let operations = stage.ledger.book().acknowledgements() + rng.within(50, 200);
            assert!(
                stage.ledger.wait_for(operations, ROUND_MAX),
                "the program stands still:\n{}",
                setup.log_tail()
            );
            let mut client = Client::new(program.address());
            disk.fill();
            let refusal = fill(&stage.ledger, &mut client, SMALL);
            disk.free();
            assert_refused(refusal, &setup);
            assert_accepts_again(&stage.ledger, &mut client, &setup);
            if round % 2 == 0 {
                program.terminate();
                assert!(program.wait().success(), "{}", setup.log_tail());
            } else {
                program.kill();
            }
            audit::report(&stage.ledger, &hint);
        }
        finish(&setup, &stage, Work::MayBeCutOff, &hint);
    });
}

/// SQLite may need room to read its log after a crash, so the program need not come up; then it
/// says why.
#[test]
fn a_start_on_a_full_disk_works_or_says_why_and_nothing_is_lost() {
    let Some(disk) = Disk::mount() else { return };
    let (seed, hint) = seed();
    let setup = setup_on(&disk, 0);
    let stage = Stage::default();
    thread::scope(|scope| {
        let _curtain = stage.curtain();
        stage.populate(scope, seed);
        let mut program = setup.start();
        stage.opens_at(program.address());
        assert!(
            stage.ledger.wait_for(100, ROUND_MAX),
            "{}",
            setup.log_tail()
        );
        program.kill();
        disk.fill();
        let started = setup.try_start();
        disk.free();
        match started {
            Ok(mut program) => {
                let mut client = Client::new(program.address());
                assert_accepts_again(&stage.ledger, &mut client, &setup);
                program.kill();
            }
            Err(code) => {
                let log = setup.log_tail();
                let says_why = log.contains("disk is full") && log.contains("check the disk");
                assert!(code == Some(1) && says_why, "{code:?}: {log}");
            }
        }
        finish(&setup, &stage, Work::MayBeCutOff, &hint);
    });
}

#[test]
fn with_a_reserve_puts_work_again_when_large_entries_were_taken_from_a_full_disk() {
    fill_and_empty(LARGE);
}

#[test]
fn with_a_reserve_puts_work_again_when_small_entries_were_taken_from_a_full_disk() {
    fill_and_empty(SMALL);
}

fn fill_and_empty(content: Content) {
    let Some(disk) = Disk::mount() else { return };
    let setup = setup_on(&disk, RESERVE_MIB);
    let ledger = Ledger::default();
    let mut program = setup.start();
    let mut client = Client::new(program.address());
    let refusal = fill(&ledger, &mut client, content);
    assert_eq!(refusal, Some(507), "{}", setup.log_tail());
    empty(&ledger, &mut client);
    assert_accepts_again(&ledger, &mut client, &setup);
    program.terminate();
    assert!(program.wait().success(), "{}", setup.log_tail());
    audit::check_folder(setup.data());
    let program = setup.start();
    let mut client = Client::new(program.address());
    assert_accepts_again(&ledger, &mut client, &setup);
    audit::check_puts(&mut client, &ledger, Work::IsFinished).expect("the program answers");
    audit::report(&ledger, "");
}

fn setup_on(disk: &Disk, reserve_mib: u32) -> Setup {
    Setup::new(&load::services())
        .with_data(disk.folder().join("data"))
        .with("PHOTOG_DISK_RESERVE_MIB", reserve_mib.to_string())
}

/// Puts until one is not accepted; the status of that one.
fn fill(ledger: &Ledger, client: &mut Client, content: Content) -> Option<u16> {
    let mut statuses = (0..PUTS_MAX).map(|_| {
        let answer = ledger.put(client, PLAIN, content, false);
        answer.map_or(0, |answer| answer.status)
    });
    statuses.find(|status| *status != 200)
}

fn assert_refused(status: Option<u16>, setup: &Setup) {
    assert!(
        matches!(status, Some(500 | 507)),
        "a put on a full disk got {status:?}:\n{}",
        setup.log_tail()
    );
}

fn assert_accepts_again(ledger: &Ledger, client: &mut Client, setup: &Setup) {
    let mut last = None;
    for _ in 0..TRIES_MAX {
        let answer = ledger.put(client, PLAIN, LARGE, false);
        let answer = answer.expect("the program answers");
        if answer.status == 200 {
            return;
        }
        last = Some(answer.text());
        ledger.let_pass(TRY_AGAIN);
    }
    panic!("puts stay refused: {last:?}\n{}", setup.log_tail());
}

/// Takes everything out of the plain queue.
fn empty(ledger: &Ledger, client: &mut Client) {
    let accepted = |put: &crate::ledger::Put| match &put.known {
        Known::Accepted { index, .. } => Some(*index),
        _ => None,
    };
    let indexes: Vec<u64> = ledger.book().puts.iter().filter_map(accepted).collect();
    for some in indexes.chunks(10) {
        client
            .delete(PLAIN, some)
            .expect("entries can be deleted from a full disk");
    }
    ledger.forget_accepted();
}

/// A small file system of its own, unmounted when it is dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// `None`, with a line that says why, where mounting is not permitted.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let size = format!("size={DISK_MIB}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "photog-test"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { folder }),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                eprintln!("skipped: a file system cannot be mounted: {}", why.trim());
                None
            }
            Err(error) => {
                eprintln!("skipped: there is no mount command: {error}");
                None
            }
        }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.folder().join("filler")
    }

    /// Takes all room that is left.
    fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file can be made");
        for size in [64 * 1024, 4096] {
            let block = vec![1; size];
            while file.write_all(&block).is_ok() {}
        }
        let size = file.metadata().map_or(0, |data| data.len());
        assert!(size < DISK_MIB * MIB, "the file system has no bound");
    }

    /// Gives the room back that [`Self::fill`] took.
    fn free(&self) {
        fs::remove_file(self.filler()).expect("the file can be removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.folder()).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.folder().display());
        }
    }
}
