//! `photog check`: the verdicts of the service `photog_check` for local files.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;

use crate::{
    config::Settings,
    fetch::Fetcher,
    job::{CancelToken, JobContext},
    models::{ModelError, catalog::Role, shelf::Shelf},
    pipeline::{FaceSource as _, Judgement, PhotoReport, PhotoSource, judge_photos},
    store::Mounts,
};

use super::{device, out};

/// Longest time for all photos of one call.
const TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// Flags of `photog check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Photos to judge
    #[arg(required = true, value_name = "PHOTO")]
    photos: Vec<PathBuf>,
    /// Also decide whether all photos show the same person
    #[arg(long)]
    same_person: bool,
}

/// Judges the photos. Exit code 1 when one of them is not usable.
pub fn run(args: &CheckArgs, settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let config = settings.check()?;
    let started = Instant::now();
    let device = device::choose(config.device).map_err(anyhow::Error::msg)?;
    let observer = Shelf::new(&config.data_dir, device).observer()?;
    if args.same_person && observer.same_person().is_none() {
        let missing = ModelError::missing(Role::FaceEmbedding);
        anyhow::bail!("--same-person compares persons, and {missing}");
    }
    let sources: Vec<PhotoSource<'_>> = args
        .photos
        .iter()
        .map(|path| PhotoSource::Path(path))
        .collect();
    let context = JobContext {
        cancel: CancelToken::default(),
        deadline: started + TIME_MAX,
        progress: Arc::new(()),
        device: device.to_string(),
    };
    let fetcher = Fetcher::new(Mounts::default(), config.network);
    let judged = judge_photos(&sources, args.same_person, &fetcher, &*observer, &context);
    let judgement = judged.map_err(|_| {
        anyhow::anyhow!("the photos took longer than {TIME_MAX:?}; check fewer at once")
    })?;
    if as_json {
        print_json(args, &judgement, started.elapsed())?;
    } else {
        print_text(args, &judgement)?;
    }
    let usable = judgement.reports.iter().all(PhotoReport::is_usable);
    Ok(if usable {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The same members as a result of the service.
fn print_json(args: &CheckArgs, judgement: &Judgement, took: Duration) -> anyhow::Result<()> {
    let photos = || {
        args.photos
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
    };
    let results: Vec<_> = photos()
        .zip(&judgement.reports)
        .map(|(url, report)| {
            json!({
                "url": url,
                "code": report.verdict.code(),
                "frontal": report.frontal,
                "message": report.verdict.message(),
                "detail": report.detail,
                "width": report.size.map(|(width, _)| width),
                "height": report.size.map(|(_, height)| height),
                "faces": report.faces,
                "roll": report.pose.map(|pose| pose.roll.round()),
                "yaw": report.pose.map(|pose| pose.yaw.round()),
                "pitch": report.pose.map(|pose| pose.pitch.round()),
            })
        })
        .collect();
    out::json(&json!({
        "code": "OK",
        "message": "success",
        "images": photos().collect::<Vec<_>>(),
        "check_results": results,
        "same_person": judgement.same_person,
        "cost_time": (took.as_secs_f64() * 1000.0).round() / 1000.0,
        "warnings": judgement.warnings("images"),
    }))?;
    Ok(())
}

fn print_text(args: &CheckArgs, judgement: &Judgement) -> anyhow::Result<()> {
    let titles = ["CODE", "VERDICT", "FRONTAL", "SIZE", "PHOTO", "DETAIL"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for (at, (path, report)) in args.photos.iter().zip(&judgement.reports).enumerate() {
        let size = report.size.map_or_else(
            || String::from("-"),
            |(width, height)| format!("{width}x{height}"),
        );
        let frontal = match (report.pose, report.frontal) {
            (None, _) => "-",
            (Some(_), true) => "yes",
            (Some(_), false) => "no",
        };
        let copy = judgement.same_shots.iter().find(|(copy, _)| *copy == at);
        let copy = copy.map(|(_, first)| {
            format!("the same shot as {}", args.photos[*first].to_string_lossy())
        });
        let details: Vec<String> = report.detail.iter().cloned().chain(copy).collect();
        rows.push(vec![
            report.verdict.code().to_string(),
            report.verdict.message().to_owned(),
            frontal.to_owned(),
            size,
            path.to_string_lossy().into_owned(),
            details.join("; "),
        ]);
    }
    out::bytes(out::table(&rows).as_bytes())?;
    if args.same_person {
        let answer = match judgement.same_person {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not decided: fewer than two photos are usable",
        };
        out::line(&format!("same person: {answer}"))?;
    }
    Ok(())
}
