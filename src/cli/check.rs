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
    pipeline::{NO_FACE_RULES, PhotoReport, PhotoSource, Verdict, judge_photos},
    store::Mounts,
};

use super::out;

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
    let sources: Vec<PhotoSource<'_>> = args
        .photos
        .iter()
        .map(|path| PhotoSource::Path(path))
        .collect();
    let context = JobContext {
        cancel: CancelToken::default(),
        deadline: started + TIME_MAX,
        progress: Arc::new(()),
        device: String::from("cpu"),
    };
    let fetcher = Fetcher::new(Mounts::default(), config.network);
    let reports = judge_photos(&sources, &fetcher, &context).map_err(|_| {
        anyhow::anyhow!("the photos took longer than {TIME_MAX:?}; check fewer at once")
    })?;
    let mut warnings = vec![NO_FACE_RULES.to_owned()];
    if args.same_person {
        let text =
            "--same-person needs a face detector, which this version does not have: not decided";
        warnings.push(text.to_owned());
    }
    if as_json {
        print_json(args, &reports, &warnings, started.elapsed())?;
    } else {
        print_table(args, &reports)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
    }
    let usable = reports
        .iter()
        .all(|report| report.verdict == Verdict::Success);
    Ok(if usable {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The same members as a result of the service.
fn print_json(
    args: &CheckArgs,
    reports: &[PhotoReport],
    warnings: &[String],
    took: Duration,
) -> anyhow::Result<()> {
    let photos = || {
        args.photos
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
    };
    let results: Vec<_> = photos()
        .zip(reports)
        .map(|(url, report)| {
            json!({
                "url": url,
                "code": report.verdict.code(),
                "frontal": report.frontal,
                "message": report.verdict.message(),
                "detail": report.detail,
                "width": report.size.map(|(width, _)| width),
                "height": report.size.map(|(_, height)| height),
            })
        })
        .collect();
    out::json(&json!({
        "code": "OK",
        "message": "success",
        "images": photos().collect::<Vec<_>>(),
        "check_results": results,
        "same_person": null,
        "cost_time": (took.as_secs_f64() * 1000.0).round() / 1000.0,
        "warnings": warnings,
    }))?;
    Ok(())
}

fn print_table(args: &CheckArgs, reports: &[PhotoReport]) -> anyhow::Result<()> {
    let mut rows = vec![
        ["CODE", "VERDICT", "SIZE", "PHOTO", "DETAIL"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (path, report) in args.photos.iter().zip(reports) {
        let size = report.size.map_or_else(
            || String::from("-"),
            |(width, height)| format!("{width}x{height}"),
        );
        rows.push(vec![
            report.verdict.code().to_string(),
            report.verdict.message().to_owned(),
            size,
            path.to_string_lossy().into_owned(),
            report.detail.clone().unwrap_or_default(),
        ]);
    }
    Ok(out::bytes(out::table(&rows).as_bytes())?)
}
