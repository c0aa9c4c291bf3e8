//! The reckoning: what callers know, what the program says and what lies on disk must agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::{
    client::{Client, REAR},
    ledger::{Acknowledged, Book, Ending, Known, Ledger, Put},
    load::{PLAIN, WORKING},
};

/// How often is looked whether all work is done, and how long between two looks.
const LOOKS_MAX: u32 = 600;
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const PAGE: usize = 1000;

/// A job as `GET /api/jobs` shows it.
#[derive(Debug)]
struct Job {
    request_id: String,
    state: String,
    deliveries: u64,
    code: String,
}

/// Whether the run may have cut work off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The program was killed: an entry without deliveries left ends as interrupted.
    MayBeCutOff,
    /// The program was never killed: nothing is interrupted.
    IsFinished,
}

/// Waits until no service has anything to do and every sink is empty.
pub fn wait_until_done(client: &mut Client, ledger: &Ledger) -> io::Result<()> {
    for _ in 0..LOOKS_MAX {
        let mut left = 0;
        for (service, _) in WORKING {
            left += length(client, service)? + length(client, &format!("{service}/sink"))?;
        }
        if left == 0 {
            return Ok(());
        }
        ledger.let_pass(LOOK_AGAIN);
    }
    Err(io::Error::other(
        "the program does not finish what it accepted",
    ))
}

/// Compares every put with its results, its job and the queues. Adds what is wrong to the faults.
pub fn check_puts(client: &mut Client, ledger: &Ledger, work: Work) -> io::Result<()> {
    for (service, max_delivery) in WORKING {
        let jobs = jobs(client, service)?;
        let book = &mut *ledger.book();
        check_indexes(book, service);
        check_strangers(book, service, &jobs);
        for (number, put) in puts_of(book, service) {
            if let Err(what) = check_put(&put, &jobs, max_delivery, work) {
                book.fault(format!("{service}: put {number} {what}: {put:?}"));
            }
        }
    }
    check_plain(client, ledger)
}

fn puts_of(book: &Book, service: &str) -> Vec<(usize, Put)> {
    let puts = book.puts.iter().enumerate();
    let ours = puts.filter(|(_, put)| put.service == service);
    ours.map(|(number, put)| (number, put.clone())).collect()
}

/// Indexes are given out once.
fn check_indexes(book: &mut Book, service: &str) {
    let mut seen = BTreeSet::new();
    for (number, put) in puts_of(book, service) {
        if let Known::Accepted { index, .. } = put.known
            && (index == 0 || !seen.insert(index))
        {
            book.fault(format!("{service}: put {number} got index {index} again"));
        }
    }
}

/// Every job is a put that was accepted, or one whose caller saw no answer.
fn check_strangers(book: &mut Book, service: &str, jobs: &BTreeMap<u64, Job>) {
    let puts = puts_of(book, service);
    let count =
        |wanted: fn(&Known) -> bool| puts.iter().filter(|(_, put)| wanted(&put.known)).count();
    let accepted = count(|known| matches!(known, Known::Accepted { .. }));
    let unknown = count(|known| *known == Known::Nothing);
    if jobs.len() < accepted || jobs.len() > accepted + unknown {
        let jobs = jobs.len();
        book.fault(format!(
            "{service}: {jobs} jobs for {accepted} accepted and {unknown} unanswered puts"
        ));
    }
}

fn check_put(
    put: &Put,
    jobs: &BTreeMap<u64, Job>,
    max_delivery: u32,
    work: Work,
) -> Result<(), String> {
    if put.results.len() > 1 {
        return Err(String::from("has more than one result"));
    }
    let ending = put.results.values().next().copied();
    let Known::Accepted { index, request_id } = &put.known else {
        return match (&put.known, ending) {
            (Known::Refused, Some(_)) => Err(String::from("was refused and has a result")),
            _ => Ok(()),
        };
    };
    let job = jobs.get(index).ok_or("has no job")?;
    if job.request_id != *request_id {
        return Err(format!("has the id of another: {job:?}"));
    }
    let expected = match (job.state.as_str(), job.code.as_str()) {
        ("done", "OK") if put.is_silent() => None,
        ("done", "OK") => Some(Ending::Success),
        ("failed", "INTERRUPTED") => Some(Ending::Interrupted),
        ("failed", "INTERNAL_ERROR") => Some(Ending::Failure),
        _ => return Err(format!("has not ended: {job:?}")),
    };
    if ending != expected {
        return Err(format!("ended as {ending:?}, its job is {job:?}"));
    }
    let interrupted = ending == Some(Ending::Interrupted);
    let most = u64::from(max_delivery);
    let handed_out = job.deliveries;
    if handed_out == 0 || handed_out > most || (interrupted && handed_out < most) {
        return Err(format!("was handed out {handed_out} times"));
    }
    if interrupted && work == Work::IsFinished {
        return Err(String::from("was interrupted although nothing was cut off"));
    }
    Ok(())
}

/// What was put into a queue without a worker is there, or its consumer has committed it. A commit
/// that comes after its consumer's link has ended may find the entry among the dead letters; it
/// stays there, and nothing is lost.
fn check_plain(client: &mut Client, ledger: &Ledger) -> io::Result<()> {
    let waiting = client.look(PLAIN, 100_000, "")?;
    let dead = client.look(PLAIN, 100_000, REAR)?;
    let book = &mut *ledger.book();
    let (waiting, dead) = (
        book.count_kept(PLAIN, &waiting),
        book.count_kept(PLAIN, &dead),
    );
    check_indexes(book, PLAIN);
    for (number, put) in puts_of(book, PLAIN) {
        let count = |found: &BTreeMap<usize, u32>| found.get(&number).copied().unwrap_or(0);
        let there = (count(&waiting), count(&dead));
        let right = match (&put.known, put.committed) {
            (Known::Refused, _) => there == (0, 0),
            (_, Some(Acknowledged::Yes)) => there.0 == 0 && there.1 <= 1,
            (Known::Nothing, _) | (_, Some(Acknowledged::Unknown)) => there.0 + there.1 <= 1,
            (Known::Accepted { .. }, None) => there.0 + there.1 == 1,
        };
        if !right {
            book.fault(format!(
                "{PLAIN}: put {number} is there {there:?} times: {put:?}"
            ));
        }
    }
    Ok(())
}

/// The jobs of a service by index.
fn jobs(client: &mut Client, service: &str) -> io::Result<BTreeMap<u64, Job>> {
    let mut jobs = BTreeMap::new();
    let mut after = String::new();
    loop {
        let target = format!("/api/jobs?service={service}&limit={PAGE}{after}");
        let page: Value = serde_json::from_slice(&client.get(&target)?.body)?;
        for job in page["jobs"].as_array().into_iter().flatten() {
            let text = |name: &str| job[name].as_str().unwrap_or_default().to_owned();
            let found = Job {
                request_id: text("request_id"),
                state: text("state"),
                deliveries: job["deliveries"].as_u64().unwrap_or(0),
                code: text("code"),
            };
            jobs.insert(job["index"].as_u64().unwrap_or(0), found);
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(jobs),
        }
    }
}

/// Entries in a queue.
fn length(client: &mut Client, queue: &str) -> io::Result<u64> {
    let answer = client.get(&format!("/api/predict/{queue}?_count_=true"))?;
    // A store that fails for a moment answers later.
    Ok(answer.text().parse().unwrap_or(u64::MAX / 16))
}

/// Checks the data folder of a program that has stopped: the database is whole, and its payload
/// files are exactly those that it names.
pub fn check_folder(data: &Path) {
    let texts = |sql| texts(data, sql);
    assert_eq!(texts("PRAGMA integrity_check"), ["ok"]);
    assert!(texts("PRAGMA foreign_key_check").is_empty());
    let orphans = "SELECT format('%d', id) FROM payload WHERE id NOT IN (SELECT payload FROM entry)
                   AND id NOT IN (SELECT payload FROM history WHERE payload IS NOT NULL)";
    assert!(texts(orphans).is_empty(), "payloads that nothing names");
    let missing = "SELECT format('%d', payload) FROM entry
                   WHERE payload NOT IN (SELECT id FROM payload)";
    assert!(texts(missing).is_empty(), "entries without their payload");
    let named: BTreeSet<String> = texts("SELECT file FROM payload WHERE file IS NOT NULL")
        .into_iter()
        .collect();
    let files = fs::read_dir(data.join("blobs")).expect("the folder of payload files");
    let there: BTreeSet<String> = files
        .map(|file| file.expect("a file").file_name().into_string())
        .collect::<Result<_, _>>()
        .expect("a plain name");
    assert_eq!(there, named, "payload files and their rows");
}

/// Checks that a program which has stopped in good order left no work unfinished.
pub fn check_nothing_in_hand(data: &Path) {
    let held = "SELECT format('%s has %d of %s', holder, idx, grp) FROM delivery
                WHERE holder IS NOT NULL";
    assert_eq!(texts(data, held), [""; 0], "entries in somebody's hand");
}

fn texts(data: &Path, sql: &str) -> Vec<String> {
    let file = data.join("photog.db");
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the database can be opened");
    let mut statement = connection.prepare(sql).expect("the database can be read");
    let rows = statement.query_map([], |row| row.get(0));
    let rows = rows.expect("the database can be read");
    rows.collect::<Result<_, _>>().expect("a text")
}

/// Fails with everything that was found wrong.
pub fn report(ledger: &Ledger, hint: &str) {
    let book = ledger.book();
    let shown: Vec<&str> = book.faults.iter().take(20).map(String::as_str).collect();
    assert!(
        shown.is_empty(),
        "{} broken promises; {hint}\n{}",
        book.faults.len(),
        shown.join("\n")
    );
}
