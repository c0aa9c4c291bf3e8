//! The main job from end to end, on the people of a pack: what `photog demo` does with an appliance
//! that runs.
//!
//! It is a client like any other. Entries go by HTTP into the input queues of the built-in services, and
//! results come from their sinks:
//!
//! ```text
//!   plan --> check --> train --> portraits --> compare --> files
//! ```
//!
//! All sample people are checked, and beside them a set of spoilt photos, each of which has to be refused
//! for its own reason. All but the last person are trained; the last is the stranger whom portraits are
//! held against. What came of it is an [`Outcome`], and a folder with the portraits, a contact sheet, and
//! a report that needs nothing but a browser.

mod answers;
mod canvas;
mod client;
mod compare;
mod error;
mod font;
mod outcome;
mod plan;
mod report;
mod sheet;
mod spoil;
mod stages;
mod thumbnail;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Instant};

use crate::{
    job::CancelToken,
    pack::Pack,
    pipeline::Observer,
    store::{StoreError, write_atomic},
};

use client::Client;
use compare::Likeness;
use plan::Plan;
use stages::Stages;

pub use error::DemoError;
pub use outcome::{
    CheckedPhoto, CheckedSet, Outcome, PortraitFace, PortraitMade, SamplePerson, Times, Training,
};

/// Name of the report in the folder of the results.
pub const REPORT: &str = "report.html";
/// Name of the contact sheet.
pub const SHEET: &str = "contact-sheet.jpg";

/// What a demo works with.
pub struct Task<'a> {
    /// Where the appliance listens; without a token, on this machine.
    pub address: SocketAddr,
    /// Whose people and templates these are. The appliance has to work with its networks.
    pub pack: Pack,
    /// Looks at templates and portraits.
    pub faces: Arc<dyn Observer>,
    /// The device, for the report.
    pub device: String,
    /// Folder of the results, which has to exist. Files of the same names are replaced, others stay.
    pub out: &'a Path,
    /// When everything began.
    pub started: Instant,
    /// Ends the demo within a second or so.
    pub cancel: CancelToken,
}

/// Somebody who is told how far a demo is.
pub trait Onlooker {
    /// So much of a stage is done, 0.0 to 1.0. `stage` stays the same from its begin to its end; `note`
    /// says in one line what is done now.
    fn see(&mut self, stage: &str, note: &str, fraction: f64);
}

/// Does everything and writes the files.
///
/// Portraits that are like the wrong person, and verdicts that were not expected, are no error: they are
/// [faults](Outcome::faults) of the outcome, and the files are written all the same.
pub fn run(task: &Task<'_>, onlooker: &mut dyn Onlooker) -> Result<Outcome, DemoError> {
    let client = Client::new(task.address, task.cancel.clone());
    let plan = Plan::of(task.pack, &*task.faces)?;
    let mut stages = Stages::new(&client, &plan, onlooker);
    let start_seconds = task.started.elapsed().as_secs_f64();
    let (checks, check_seconds) = timed(|| stages.check())?;
    let (people, train_seconds) = timed(|| stages.train())?;
    let (mut portraits, portrait_seconds) = timed(|| stages.portraits())?;
    let begun = Instant::now();
    let likeness = Likeness::of(&plan.people, &*task.faces)?;
    for (done, portrait) in portraits.iter_mut().enumerate() {
        client.checkpoint()?;
        let note = format!("comparing {}", portrait.file);
        onlooker.see(
            "comparing",
            &note,
            done as f64 / plan.portraits.len() as f64,
        );
        likeness.compare(portrait, &*task.faces)?;
    }
    let outcome = Outcome {
        checks,
        people,
        portraits,
        times: Times {
            start: start_seconds,
            check: check_seconds,
            train: train_seconds,
            portraits: portrait_seconds,
            compare: begun.elapsed().as_secs_f64(),
            total: task.started.elapsed().as_secs_f64(),
        },
        notice: task.faces.notice(),
        device: task.device.clone(),
    };
    write(task.out, &outcome)?;
    Ok(outcome)
}

fn timed<T>(work: impl FnOnce() -> Result<T, DemoError>) -> Result<(T, f64), DemoError> {
    let begun = Instant::now();
    Ok((work()?, begun.elapsed().as_secs_f64()))
}

/// Writes portraits, contact sheet and report.
fn write(out: &Path, outcome: &Outcome) -> Result<(), DemoError> {
    let sheet = sheet::draw(outcome)?;
    let report = report::page(outcome)?;
    let file = |name: &str, bytes: &[u8]| {
        let failed = |error: StoreError| DemoError::Write {
            file: out.join(name),
            error,
        };
        write_atomic(&out.join(name), bytes).map_err(failed)
    };
    for portrait in &outcome.portraits {
        file(&portrait.file, &portrait.jpeg)?;
    }
    file(SHEET, &sheet)?;
    file(REPORT, report.as_bytes())
}
