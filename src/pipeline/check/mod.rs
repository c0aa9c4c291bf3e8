//! The service `photog_check`: says of each photo whether it is fit for training.
//!
//! Request and result are those of `portrait-api` section 3. One bad photo is a verdict and never a
//! failure of the request. Rules about one photo are in [`judge`], those about all of them here:
//! whether they show one person ([`people`]), and which are the same shot.

mod judge;
mod observe;
mod people;
mod request;
#[cfg(test)]
mod tests;
mod verdict;

use std::{borrow::Cow, sync::Arc, time::Instant};

pub use judge::PhotoSource;
pub(super) use judge::{Judged, judge_each};
pub use observe::{FaceSource, Observer};
#[cfg(test)]
pub(super) use observe::{Observation, Portrait};
pub(super) use people::of_the_person;
use request::CheckRequest;
use serde::Serialize;
pub use verdict::{PhotoReport, Verdict};

use super::{
    Answer, Engine, JobInput,
    reply::{Failure, cost_time, to_json},
    request::RequestId,
};
use crate::{
    domain::Problem,
    fetch::Fetcher,
    imaging::RgbImage,
    job::{CancelReason, JobContext},
    models::{ModelError, catalog::MODEL_FOLDER, face::Fingerprint},
};

/// Longest address in bytes that a result repeats whole. A picture may be its own address, and a
/// result that repeats pictures of many megabytes fits into no queue.
const ECHO_BYTES_MAX: usize = 4096;
/// How many characters of a longer one are repeated: enough to tell what kind it is.
const ECHO_CHARS: usize = 64;

/// What is said of a photo that shows somebody else.
pub(super) const ANOTHER_PERSON: &str = "the face is not that of the person in most of the other \
                                         photos; send photos of one person only";

/// What was found out about all photos of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// One for each photo, in their order.
    pub reports: Vec<PhotoReport>,
    /// Whether all usable photos show one person; none when it was not asked, or when fewer than
    /// two are usable.
    pub same_person: Option<bool>,
    /// Pairs of photos that are the same shot, the later one first, each later one once.
    pub same_shots: Vec<(usize, usize)>,
    /// What is to be said of the networks.
    pub notice: Option<&'static str>,
}

/// Judges photos, and their persons if `same_person` is asked. `Err` when the job has to stop.
///
/// Without a network that tells persons apart, the question stays open; a service refuses it before.
pub fn judge_photos(
    photos: &[PhotoSource<'_>],
    same_person: bool,
    fetcher: &Fetcher,
    observer: &dyn Observer,
    context: &JobContext,
) -> Result<Judgement, CancelReason> {
    let threshold = same_person.then(|| observer.same_person().ok()).flatten();
    let compared = threshold.is_some();
    let unseen = |_, _: &RgbImage, _: &Judged| Ok::<_, CancelReason>(());
    let mut judged = judge_each(photos, fetcher, observer, compared, context, unseen)?;
    let same_person = threshold.and_then(|threshold| compare_persons(&mut judged, threshold));
    let same_shots = same_shots(&judged);
    Ok(Judgement {
        reports: judged.into_iter().map(|judged| judged.report).collect(),
        same_person,
        same_shots,
        notice: observer.notice(),
    })
}

/// Gives the verdict 9 to those who are somebody else.
fn compare_persons(judged: &mut [Judged], threshold: f32) -> Option<bool> {
    let faces: Vec<_> = judged
        .iter()
        .filter_map(|photo| photo.embedding.as_ref())
        .collect();
    if faces.len() < 2 {
        return None;
    }
    let same = of_the_person(&faces, threshold);
    let photos = judged.iter_mut().filter(|photo| photo.embedding.is_some());
    for (photo, _) in photos.zip(&same).filter(|(_, same)| !**same) {
        photo.report.verdict = Verdict::AnotherPerson;
        photo.report.detail = Some(ANOTHER_PERSON.to_owned());
    }
    Some(same.iter().all(|same| *same))
}

/// The earliest photo of which each photo is a copy.
fn same_shots(judged: &[Judged]) -> Vec<(usize, usize)> {
    let prints: Vec<(usize, &Fingerprint)> = judged
        .iter()
        .enumerate()
        .filter_map(|(at, photo)| Some((at, photo.fingerprint.as_ref()?)))
        .collect();
    let mut copies = Vec::new();
    for (i, (at, print)) in prints.iter().enumerate() {
        let mut earlier = prints[..i].iter();
        if let Some((first, _)) = earlier.find(|(_, other)| other.is_same_shot(print)) {
            copies.push((*at, *first));
        }
    }
    copies
}

/// Judges the photos of one request after another.
#[derive(Clone)]
pub struct CheckEngine {
    fetcher: Fetcher,
    faces: Arc<dyn FaceSource>,
}

impl CheckEngine {
    /// An engine that gets its photos through `fetcher` and looks at them through `faces`.
    pub fn new(fetcher: Fetcher, faces: Arc<dyn FaceSource>) -> Self {
        Self { fetcher, faces }
    }

    fn check(
        &self,
        request: CheckRequest,
        request_id: &RequestId,
        context: &JobContext,
        started: Instant,
    ) -> Result<Answer, Failure> {
        let CheckRequest {
            images,
            face_reconize,
            mut warnings,
        } = request;
        context.checkpoint()?;
        // Before anything is fetched: without networks no photo gets a verdict that is worth it.
        let observer = self.faces.observer().map_err(|error| no_network(&error))?;
        if face_reconize && let Err(missing) = observer.same_person() {
            let text = format!("`face_reconize` compares persons, and {missing}");
            return Err(Failure::new(Problem::BaseModelMissing, text));
        }
        let sources: Vec<_> = images
            .iter()
            .map(|address| PhotoSource::Address(address))
            .collect();
        let judgement = judge_photos(&sources, face_reconize, &self.fetcher, &*observer, context)?;
        warnings.extend(judgement.warnings("images"));
        let images: Vec<_> = images.iter().map(|address| echo(address)).collect();
        Ok(Answer::ok(to_json(&CheckResult {
            request_id,
            code: "OK",
            message: "success",
            check_results: images
                .iter()
                .zip(&judgement.reports)
                .map(|(url, report)| PhotoResult {
                    url,
                    code: report.verdict.code(),
                    frontal: report.frontal,
                    message: report.verdict.message(),
                })
                .collect(),
            images: &images,
            same_person: judgement.same_person,
            cost_time: cost_time(started),
            warnings,
        })))
    }
}

impl Judgement {
    /// What is to be said of the networks, and what speaks against single photos, each named by its
    /// place in the list `name`.
    pub fn warnings(&self, name: &str) -> Vec<String> {
        let details = self.reports.iter().enumerate().filter_map(|(at, report)| {
            let detail = report.detail.as_ref()?;
            Some(format!("{name}[{at}]: {detail}"))
        });
        let copies = self.same_shots.iter().map(|(at, first)| {
            format!(
                "{name}[{at}] is the same shot as {name}[{first}]; it adds nothing to a training, \
                 send another photo instead"
            )
        });
        let notice = self.notice.map(str::to_owned).into_iter();
        notice.chain(details).chain(copies).collect()
    }
}

/// An address as results repeat it.
pub(super) fn echo(address: &str) -> Cow<'_, str> {
    if address.len() <= ECHO_BYTES_MAX {
        return Cow::Borrowed(address);
    }
    let start: String = address.chars().take(ECHO_CHARS).collect();
    Cow::Owned(start + "…")
}

pub(super) fn no_network(error: &ModelError) -> Failure {
    let text = match error {
        ModelError::Missing { .. } | ModelError::List(_) => error.to_string(),
        _ => format!(
            "{error}; `photog models verify` tells more and how to get the file again, and without it \
             in {MODEL_FOLDER} in the data folder the next network of its purpose is taken"
        ),
    };
    Failure::new(
        Problem::BaseModelMissing,
        format!("photos cannot be judged: {text}"),
    )
}

impl Engine for CheckEngine {
    fn run(&mut self, input: &JobInput, context: &JobContext) -> Answer {
        let started = Instant::now();
        let (request_id, request) = request::parse(input);
        request
            .and_then(|request| self.check(request, &request_id, context, started))
            .unwrap_or_else(|failure| failure.into_answer(&request_id, started))
    }
}

#[derive(Serialize)]
struct CheckResult<'a> {
    request_id: &'a RequestId,
    code: &'a str,
    message: &'a str,
    images: &'a [Cow<'a, str>],
    check_results: Vec<PhotoResult<'a>>,
    same_person: Option<bool>,
    cost_time: f64,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct PhotoResult<'a> {
    url: &'a str,
    code: u8,
    frontal: bool,
    message: &'a str,
}
