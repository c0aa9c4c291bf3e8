//! `photog demo`: the main job from end to end on drawn people, from this program alone.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, bail};
use clap::Args;

use super::{
    Common,
    appliance::{Appliance, CUT_OFF_MAX},
    device, out, packs,
    progress::{Progress, Unit},
    signals::StopSignals,
};
use crate::{
    config::{Config, Settings},
    demo::{self, DemoError, Onlooker, Outcome, REPORT, Task},
    job::{CancelReason, CancelToken},
    models::{
        backend::Device,
        shelf::Shelf,
        supply::{PackRule, Supply},
    },
    pack::Pack,
    pipeline::{FaceSource as _, Observer},
    store::create_private,
};

/// Whose people and networks it works with.
const PACK: Pack = Pack::Demo;
/// What stands in a cell for which nothing is known.
const NOTHING: &str = "-";

/// Flags of `photog demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder of portraits, contact sheet and report; files of the same names are replaced
    #[arg(long, value_name = "DIR", default_value = "photog-demo")]
    out: PathBuf,
    /// Leave the server running until Ctrl-C, and keep its data folder
    #[arg(long)]
    keep: bool,
}

/// Runs the demo. Exit code 1 when something is not as it should be, even if all files are written.
pub fn run(args: &DemoArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let home = TemporaryFolder::new()?;
    let config = settings(common, &home.path)?.check()?;
    let is_new = !args.out.exists();
    fs::create_dir_all(&args.out).with_context(|| {
        format!(
            "the folder {} cannot be made; choose another with --out",
            args.out.display()
        )
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("photog-io")
        .build()
        .context("the runtime could not be started")?;
    let ended = runtime.block_on(perform(args, common.json, config, started, &home));
    runtime.shutdown_timeout(CUT_OFF_MAX);
    if is_new && ended.is_err() {
        // One that has files stays.
        let _ = fs::remove_dir(&args.out);
    }
    if args.keep {
        let kept = home.keep();
        tell(&format!("the data folder stays: {}", kept.display()));
    }
    ended
}

/// The settings of the demo. Neither a file nor the environment has a say, so that it is the same
/// everywhere.
fn settings(common: &Common, home: &Path) -> anyhow::Result<Settings> {
    if common.data_dir.is_some() || common.config.is_some() || common.pack.is_some() {
        bail!(
            "the demo has a data folder, settings and networks of its own; leave out --data-dir, \
             --config and --pack"
        );
    }
    // Its networks are so small that a GPU would be busy with being prepared for them.
    let device = common.device.as_deref().unwrap_or("cpu");
    let flags = [
        ("data_dir", &*home.to_string_lossy()),
        ("listen", "127.0.0.1:0"),
        ("pack", PACK.as_str()),
        ("device", device),
    ];
    let flags = flags.map(|(name, value)| (name, vec![value.to_owned()]));
    Ok(Settings::collect(None, [], flags)?)
}

async fn perform(
    args: &DemoArgs,
    as_json: bool,
    config: Config,
    started: Instant,
    home: &TemporaryFolder,
) -> anyhow::Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    let device = device::choose(config.device).map_err(anyhow::Error::msg)?;
    let mut appliance = Appliance::start(&config).await?;
    let cancel = CancelToken::default();
    let work = Work {
        address: appliance.address(),
        faces: faces(&home.path)?,
        device: device_name(device),
        out: args.out.clone(),
        started,
        cancel: cancel.clone(),
    };
    let mut work = tokio::task::spawn_blocking(move || work.run());
    let outcome = tokio::select! {
        outcome = &mut work => outcome.context("the demo failed; this is a bug")?,
        () = stop.next() => {
            cancel.cancel(CancelReason::User);
            appliance.stop_at_once().await?;
            return Err(DemoError::Stopped.into());
        }
        failure = appliance.failure() => return Err(failure),
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            appliance.stop_at_once().await?;
            return Err(error.into());
        }
    };
    say(&outcome, &args.out, as_json)?;
    if args.keep {
        tell(&format!(
            "photog listens on http://{}, with {} as its data folder; Ctrl-C stops it",
            appliance.address(),
            home.path.display()
        ));
        tokio::select! {
            () = stop.next() => {}
            failure = appliance.failure() => return Err(failure),
        }
    }
    appliance.stop_in_good_order(&mut stop).await?;
    let faults = outcome.faults();
    if faults.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!(
        "not all is as it should be: {}; {} has the pictures, please report this",
        faults.join("; "),
        args.out.join(REPORT).display()
    )
}

/// What looks at templates and portraits: the networks of the pack, wherever the appliance works.
fn faces(folder: &Path) -> anyhow::Result<Arc<dyn Observer>> {
    let supply = Supply::new(folder, PackRule::Always(PACK));
    Ok(Shelf::new(supply, Device::Cpu).observer()?)
}

/// A device in words.
fn device_name(device: Device) -> String {
    match device {
        Device::Cpu => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            format!("{cores} cores")
        }
        gpu @ Device::Cuda(_) => gpu.to_string(),
    }
}

/// The part of the demo that waits, on a thread that may.
struct Work {
    address: std::net::SocketAddr,
    faces: Arc<dyn Observer>,
    device: String,
    out: PathBuf,
    started: Instant,
    cancel: CancelToken,
}

impl Work {
    fn run(self) -> Result<Outcome, DemoError> {
        let mut shown = Shown::default();
        let task = Task {
            address: self.address,
            pack: PACK,
            faces: self.faces,
            device: self.device,
            out: &self.out,
            started: self.started,
            cancel: self.cancel,
        };
        let outcome = demo::run(&task, &mut shown);
        shown.end();
        outcome
    }
}

/// A bar for each stage.
#[derive(Default)]
struct Shown {
    stage: String,
    bar: Option<Progress>,
}

impl Shown {
    fn end(&mut self) {
        if let Some(mut bar) = self.bar.take() {
            bar.end();
        }
    }
}

impl Onlooker for Shown {
    fn see(&mut self, stage: &str, note: &str, fraction: f64) {
        if self.stage != stage {
            self.end();
            stage.clone_into(&mut self.stage);
        }
        let bar = self
            .bar
            .get_or_insert_with(|| Progress::new(stage, Unit::Percent));
        bar.rename(note);
        bar.set((fraction * 100.0).round() as u64, Some(100));
    }
}

/// Prints what came of it.
fn say(outcome: &Outcome, out: &Path, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return Ok(out::json(&outcome.to_json())?);
    }
    packs::tell(outcome.notice);
    let text = format!(
        "{}\n{}\n{}\n{} of {} portraits are nearest to their person; {:.0} s in all\n{}\n",
        out::table(&checks(outcome)),
        out::table(&people(outcome)),
        out::table(&portraits(outcome)),
        outcome.right(),
        outcome.portraits.len(),
        outcome.times.total,
        out.join(REPORT).display()
    );
    Ok(out::bytes(text.as_bytes())?)
}

fn head<const N: usize>(titles: [&str; N]) -> Vec<String> {
    titles.map(str::to_owned).to_vec()
}

fn checks(outcome: &Outcome) -> Vec<Vec<String>> {
    let mut rows = vec![head(["CHECKED", "USABLE", "VERDICTS"])];
    rows.extend(outcome.checks.iter().map(|set| {
        let usable = format!("{} of {}", set.usable(), set.photos.len());
        vec![set.name.clone(), usable, set.summary()]
    }));
    rows
}

fn people(outcome: &Outcome) -> Vec<Vec<String>> {
    let mut rows = vec![head(["PERSON", "PHOTOS", "STEPS", "SECONDS", "LIKENESS"])];
    rows.extend(outcome.people.iter().map(|person| match &person.training {
        None => vec![
            person.name.clone(),
            person.photos.to_string(),
            String::from("not trained"),
        ],
        Some(training) => vec![
            person.name.clone(),
            training.used_images.to_string(),
            training.train_steps.to_string(),
            format!("{:.0}", training.seconds),
            training.score.map_or(NOTHING.into(), |score| format!("{score:.2}")),
        ],
    }));
    rows
}

fn portraits(outcome: &Outcome) -> Vec<Vec<String>> {
    let mut rows = vec![head(["PORTRAIT", "SECONDS", "FACE"])];
    rows[0].extend(
        outcome
            .people
            .iter()
            .map(|person| person.name.to_uppercase()),
    );
    rows[0].push(String::from("NEAREST"));
    for portrait in &outcome.portraits {
        for (at, face) in portrait.faces.iter().enumerate() {
            let (file, seconds) = match at {
                0 => (portrait.file.clone(), format!("{:.1}", portrait.seconds)),
                _ => (String::new(), String::new()),
            };
            let mut row = vec![file, seconds, face.model_id.clone()];
            row.extend(outcome.people.iter().map(|person| {
                let mut scores = face.scores.iter();
                let score = scores.find(|(name, _)| *name == person.name);
                score.map_or(NOTHING.into(), |(_, score)| format!("{score:.2}"))
            }));
            row.push(face.nearest().unwrap_or(NOTHING).to_owned());
            rows.push(row);
        }
    }
    rows
}

/// Says something that is no result.
fn tell(text: &str) {
    // Who closed standard error does not want to read it.
    let _ = writeln!(std::io::stderr(), "photog: {text}");
}

/// A data folder that goes when it is not needed any more.
struct TemporaryFolder {
    path: PathBuf,
    is_kept: bool,
}

impl TemporaryFolder {
    fn new() -> anyhow::Result<Self> {
        let name = format!("photog-demo-{}", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        create_private(&path).with_context(|| {
            format!(
                "the temporary folder {} cannot be made; set TMPDIR to a folder with some free space",
                path.display()
            )
        })?;
        Ok(Self {
            path,
            is_kept: false,
        })
    }

    /// Lets it stay, and says where it is.
    fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        self.path.clone()
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if !self.is_kept && fs::remove_dir_all(&self.path).is_err() {
            tell(&format!(
                "the temporary folder {} could not be removed; delete it",
                self.path.display()
            ));
        }
    }
}
