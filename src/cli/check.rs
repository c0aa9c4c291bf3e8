//! `photog check`: the verdicts of the service `photog_check` for local files.

use std::{
    borrow::Cow,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use crate::{
    config::Settings,
    fetch::Fetcher,
    job::{CancelToken, FinishToken, JobContext, ProgressSink},
    models::{face::Face, shelf::Shelf},
    pipeline::{FaceSource as _, Judgement, PhotoReport, PhotoSource, judge_photos},
    store::Mounts,
};

use super::{
    device, out, packs,
    progress::{Progress, Unit},
};

/// Longest time for all photos of one call.
const TIME_MAX: Duration = Duration::from_secs(60 * 60);
/// What stands in a cell for which nothing is known.
const NOTHING: &str = "-";

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
    let observer = Shelf::new(packs::of_command(&config), device)
        .observer()
        .context("photos cannot be judged")?;
    if args.same_person
        && let Err(missing) = observer.same_person()
    {
        anyhow::bail!("--same-person compares persons, and {missing}");
    }
    let sources: Vec<PhotoSource<'_>> = args
        .photos
        .iter()
        .map(|path| PhotoSource::Path(path))
        .collect();
    let shown = Arc::new(Shown::new(sources.len()));
    let context = JobContext {
        cancel: CancelToken::default(),
        finish: FinishToken::default(),
        deadline: started + TIME_MAX,
        progress: shown.clone(),
        device: device.to_string(),
    };
    let fetcher = Fetcher::new(Mounts::default(), config.network);
    let judged = judge_photos(&sources, args.same_person, &fetcher, &*observer, &context);
    shown.progress().end();
    let judgement = judged.map_err(|_| {
        anyhow::anyhow!("the photos took longer than {TIME_MAX:?}; check fewer at once")
    })?;
    let names: Vec<_> = args
        .photos
        .iter()
        .map(|path| path.to_string_lossy())
        .collect();
    if as_json {
        out::json(&as_result(&names, &judgement, started.elapsed()))?;
    } else {
        packs::tell(judgement.notice);
        out::bytes(as_table(&names, &judgement).as_bytes())?;
        if args.same_person {
            out::line(same_person(judgement.same_person))?;
        }
    }
    let reports = &judgement.reports;
    match reports.iter().filter(|report| !report.is_usable()).count() {
        0 => Ok(ExitCode::SUCCESS),
        count => anyhow::bail!(
            "{count} of {} photos cannot be used; the list says why and what to do",
            reports.len()
        ),
    }
}

/// Shows how many of the photos are judged.
struct Shown {
    photos: usize,
    progress: Mutex<Progress>,
}

impl Shown {
    fn new(photos: usize) -> Self {
        let progress = Progress::new("checking photos", Unit::Count);
        Self {
            photos,
            progress: Mutex::new(progress),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // What it shows is worth less than the work.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressSink for Shown {
    fn report(&self, fraction: f64, _note: &str) {
        let done = (fraction * self.photos as f64).round() as u64;
        self.progress().set(done, Some(self.photos as u64));
    }
}

/// The members of a result of the service, and what else is known of each photo.
fn as_result(names: &[Cow<'_, str>], judgement: &Judgement, took: Duration) -> Value {
    let result = |(url, report): (&Cow<'_, str>, &PhotoReport)| {
        json!({
            "url": url,
            "code": report.verdict.code(),
            "frontal": report.frontal,
            "message": report.verdict.message(),
            "detail": report.detail,
            "width": report.size.map(|(width, _)| width),
            "height": report.size.map(|(_, height)| height),
            "faces": report.faces.as_deref().map(faces),
            "roll": report.pose.map(|pose| pose.roll.round()),
            "yaw": report.pose.map(|pose| pose.yaw.round()),
            "pitch": report.pose.map(|pose| pose.pitch.round()),
        })
    };
    let results = names.iter().zip(&judgement.reports).map(result);
    json!({
        "code": "OK",
        "message": "success",
        "images": names,
        "check_results": results.collect::<Vec<_>>(),
        "same_person": judgement.same_person,
        "cost_time": (took.as_secs_f64() * 1000.0).round() / 1000.0,
        "warnings": judgement.warnings("images"),
    })
}

/// Score, sides and points of each face, with no more digits than mean something.
fn faces(faces: &[Face]) -> Vec<Value> {
    let tenths = |number: f32| (f64::from(number) * 10.0).round() / 10.0;
    let face = |face: &Face| {
        let bounds = face.bounds;
        let sides = [bounds.left, bounds.top, bounds.right, bounds.bottom];
        json!({
            "score": (f64::from(face.score) * 1000.0).round() / 1000.0,
            "box": (sides.map(tenths)),
            "points": (face.points.map(|point| point.map(tenths))),
        })
    };
    faces.iter().map(face).collect()
}

/// One line for each photo.
fn as_table(names: &[Cow<'_, str>], judgement: &Judgement) -> String {
    let titles = [
        "CODE", "VERDICT", "SIZE", "FACES", "FRONTAL", "PHOTO", "DETAIL",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for (at, (name, report)) in names.iter().zip(&judgement.reports).enumerate() {
        let size = report
            .size
            .map(|(width, height)| format!("{width}x{height}"));
        let frontal = report
            .pose
            .map(|_| if report.frontal { "yes" } else { "no" });
        let copy = judgement.same_shots.iter().find(|(copy, _)| *copy == at);
        let copy = copy.map(|(_, first)| format!("the same shot as {}", names[*first]));
        let details: Vec<String> = report.detail.iter().cloned().chain(copy).collect();
        rows.push(vec![
            report.verdict.code().to_string(),
            report.verdict.message().to_owned(),
            size.unwrap_or_else(|| NOTHING.to_owned()),
            report
                .faces
                .as_deref()
                .map_or_else(|| NOTHING.to_owned(), count_of),
            frontal.unwrap_or(NOTHING).to_owned(),
            name.clone().into_owned(),
            details.join("; "),
        ]);
    }
    out::table(&rows)
}

/// How many faces there are, and of how many pixels the largest is.
fn count_of(faces: &[Face]) -> String {
    let Some(largest) = faces.first() else {
        return String::from("0");
    };
    let of = if faces.len() == 1 { "" } else { "largest " };
    let (width, height) = (largest.bounds.width(), largest.bounds.height());
    format!("{} ({of}{width:.0}x{height:.0})", faces.len())
}

const fn same_person(answer: Option<bool>) -> &'static str {
    match answer {
        Some(true) => "same person: yes",
        Some(false) => "same person: no",
        None => "same person: not decided, fewer than two photos are usable",
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        models::face::{Bounds, Pose},
        pipeline::Verdict,
    };

    use super::*;

    fn face(width: f32, height: f32) -> Face {
        Face {
            score: 0.912_34,
            bounds: Bounds {
                left: 10.0,
                top: 20.0,
                right: 10.0 + width,
                bottom: 20.0 + height,
            },
            points: [[0.0; 2]; 5],
        }
    }

    fn report(verdict: Verdict, faces: Option<Vec<Face>>) -> PhotoReport {
        let pose = Pose {
            yaw: 12.3,
            ..Pose::default()
        };
        let is_usable = verdict == Verdict::Success;
        PhotoReport {
            verdict,
            frontal: is_usable,
            detail: (!is_usable).then(|| String::from("a reason")),
            size: faces.as_ref().map(|_| (640, 800)),
            pose: faces
                .as_ref()
                .filter(|faces| faces.len() == 1)
                .map(|_| pose),
            faces,
        }
    }

    fn judgement() -> Judgement {
        Judgement {
            reports: vec![
                report(Verdict::Success, Some(vec![face(100.0, 120.4)])),
                report(Verdict::SeveralFaces, Some(vec![face(90.0, 90.0); 3])),
                report(Verdict::DecodeFailed, None),
                report(Verdict::Success, Some(vec![face(100.0, 120.4)])),
            ],
            same_person: Some(true),
            same_shots: vec![(3, 0)],
            notice: None,
        }
    }

    #[test]
    fn the_table_says_what_was_found_and_why() {
        let names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"].map(Cow::Borrowed);
        assert_eq!(
            as_table(&names, &judgement()),
            "CODE  VERDICT                  SIZE     FACES              FRONTAL  PHOTO  DETAIL\n\
             1     success                  640x800  1 (100x120)        yes      a.jpg\n\
             6     multiple faces detected  640x800  3 (largest 90x90)  -        b.jpg  a reason\n\
             3     image decode failed      -        -                  -        c.jpg  a reason\n\
             1     success                  640x800  1 (100x120)        yes      d.jpg  \
             the same shot as a.jpg\n"
        );
        assert_eq!(count_of(&[]), "0");
    }

    #[test]
    fn the_document_has_the_members_of_a_result_and_the_faces() {
        let names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"].map(Cow::Borrowed);
        let result = as_result(&names, &judgement(), Duration::from_millis(1500));
        assert_eq!(result["cost_time"], 1.5);
        assert_eq!(result["same_person"], true);
        assert_eq!(result["warnings"].as_array().unwrap().len(), 3);
        let [first, _, third, _] = result["check_results"].as_array().unwrap().as_slice() else {
            panic!("{result}");
        };
        assert_eq!(
            (&first["url"], &first["yaw"]),
            (&json!("a.jpg"), &json!(12.0))
        );
        assert_eq!(first["faces"][0]["score"], 0.912);
        assert_eq!(first["faces"][0]["box"], json!([10.0, 20.0, 110.0, 140.4]));
        assert_eq!(
            (&third["faces"], &third["width"]),
            (&Value::Null, &Value::Null)
        );
    }
}
