//! The service `photog_check`: says of each photo whether it is fit for training.
//!
//! Request and result are those of `portrait-api` section 3. One bad photo is a verdict and never a
//! failure of the request. The rules about faces (codes 5 to 9, `frontal`, `same_person`) need a
//! face detector; without one they are not applied, and every result says so in `warnings`.

mod judge;
mod request;
#[cfg(test)]
mod tests;

use std::time::Instant;

pub use judge::{PhotoReport, PhotoSource, Verdict, judge_photos};
use request::CheckRequest;
use serde::Serialize;

use super::{
    Answer, Engine, JobInput,
    reply::{Failure, cost_time, to_json},
    request::RequestId,
};
use crate::{fetch::Fetcher, job::JobContext};

/// Says what code 1 is worth as long as no face is looked for.
pub const NO_FACE_RULES: &str = "this version has no face detector: the rules about faces (codes \
                                 5 to 9) were not applied and `frontal` is always false; code 1 \
                                 means that the rules about the file and its size passed";

/// Judges the photos of one request after another.
#[derive(Debug, Clone)]
pub struct CheckEngine {
    fetcher: Fetcher,
}

impl CheckEngine {
    /// An engine that gets its photos through `fetcher`.
    pub fn new(fetcher: Fetcher) -> Self {
        Self { fetcher }
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
        let sources: Vec<_> = images
            .iter()
            .map(|address| PhotoSource::Address(address))
            .collect();
        let reports = judge_photos(&sources, &self.fetcher, context)?;
        warnings.push(NO_FACE_RULES.to_owned());
        if face_reconize {
            warnings.push(String::from(
                "`face_reconize` needs a face detector: `same_person` is null, not decided",
            ));
        }
        for (at, report) in reports.iter().enumerate() {
            warnings.extend(
                report
                    .detail
                    .iter()
                    .map(|detail| format!("images[{at}]: {detail}")),
            );
        }
        Ok(Answer::ok(to_json(&CheckResult {
            request_id,
            code: "OK",
            message: "success",
            check_results: images
                .iter()
                .zip(&reports)
                .map(|(url, report)| PhotoResult {
                    url,
                    code: report.verdict.code(),
                    frontal: report.frontal,
                    message: report.verdict.message(),
                })
                .collect(),
            images: &images,
            same_person: None,
            cost_time: cost_time(started),
            warnings,
        })))
    }
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
    images: &'a [String],
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
