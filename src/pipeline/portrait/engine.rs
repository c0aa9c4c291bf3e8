//! The service `photog_pre_pmml`: makes one portrait after another.

use std::time::Instant;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use super::{
    error::PortraitError,
    file::{Fitting, fitting},
    make::Studio,
    request::{self, PortraitRequest},
    run::Portrait,
    settings::Settings,
};
use crate::{
    domain::PersonId,
    fetch::{FetchError, FetchLimits, Fetcher},
    imaging::{self, RgbImage},
    job::JobContext,
    pipeline::{
        Answer, Engine, JobInput,
        outputs::Outputs,
        reply::{Failure, cost_time, to_json},
        request::RequestId,
    },
};

/// Makes portraits, one request after another.
#[derive(Clone)]
pub struct PortraitEngine {
    studio: Studio,
    fetcher: Fetcher,
    outputs: Outputs,
    /// Largest result in bytes.
    result_bytes_max: u64,
}

impl PortraitEngine {
    /// An engine that gets templates through `fetcher`, keeps portraits in `outputs` where requests ask for
    /// it, and answers with at most so many bytes.
    pub fn new(studio: Studio, fetcher: Fetcher, outputs: Outputs, result_bytes_max: u64) -> Self {
        Self {
            studio,
            fetcher,
            outputs,
            result_bytes_max,
        }
    }

    fn make(
        &self,
        request: &PortraitRequest,
        request_id: &RequestId,
        started: Instant,
        context: &JobContext,
    ) -> Result<Vec<u8>, Failure> {
        context.checkpoint()?;
        let sitting = self.studio.prepare(&request.persons, &request.options)?;
        let settings = sitting.settings.clone();
        let template = self.template(&request.template, context)?;
        let mut portrait = sitting.portrait(&template, context)?;
        drop(template);
        let mut result = PortraitResult {
            request_id,
            code: "OK",
            message: "success",
            image: String::new(),
            cost_time: 0.0,
            seed: portrait.seed,
            model_ids: portrait.persons.iter().map(PersonId::as_str).collect(),
            face_scores: settings.display_score.then_some(&*portrait.scores),
            output_path: None,
            warnings: std::mem::take(&mut portrait.warnings),
        };
        self.fill(&mut result, &portrait, &settings)?;
        result.cost_time = cost_time(started);
        Ok(to_json(&result))
    }

    /// Puts the picture into the result, and on the disk where that is asked for or it does not fit.
    fn fill(
        &self,
        result: &mut PortraitResult<'_>,
        portrait: &Portrait,
        settings: &Settings,
    ) -> Result<(), Failure> {
        // What else the result has, a path and the time included.
        let rest = to_json(result).len() as u64 + 512;
        let room = self.result_bytes_max.saturating_sub(rest) / 4 * 3;
        match fitting(portrait, settings.content_credentials, room)? {
            Fitting::Fits(file) => {
                if settings.save_image {
                    match self.outputs.keep(portrait.seed, "jpg", &file) {
                        Ok(path) => result.output_path = Some(path),
                        Err(reason) => result.warnings.push(reason),
                    }
                }
                result.image = BASE64_STANDARD.encode(file);
                Ok(())
            }
            Fitting::TooLarge(file) => {
                let kept = self.outputs.keep(portrait.seed, "jpg", &file);
                let error = |kept: String| PortraitError::TooLarge {
                    limit: self.result_bytes_max,
                    kept,
                };
                Err(match kept {
                    Ok(path) => Failure::from(error(String::from("kept as `output_path` says")))
                        .with("output_path", json!(path)),
                    Err(reason) => error(format!("lost, because {reason}")).into(),
                })
            }
        }
    }

    fn template(&self, address: &str, context: &JobContext) -> Result<RgbImage, PortraitError> {
        let limits = FetchLimits::default();
        let mut fetched = self.fetcher.fetch_all(&[address], &limits, context)?;
        let file: Result<Bytes, FetchError> = fetched.pop().unwrap_or(Err(FetchError::NoWorker));
        let file = file.map_err(PortraitError::NotFetched)?;
        imaging::decode(&file, &imaging::Limits::default()).map_err(PortraitError::NotDecoded)
    }
}

impl Engine for PortraitEngine {
    fn run(&mut self, input: &JobInput, context: &JobContext) -> Answer {
        let started = Instant::now();
        let (request_id, request) = request::parse(input);
        let made = request.and_then(|request| self.make(&request, &request_id, started, context));
        match made {
            Ok(body) => Answer::ok(body),
            Err(failure) => failure.into_answer(&request_id, started),
        }
    }
}

#[derive(Serialize)]
struct PortraitResult<'a> {
    request_id: &'a RequestId,
    code: &'a str,
    message: &'a str,
    image: String,
    cost_time: f64,
    seed: i64,
    model_ids: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    face_scores: Option<&'a [Option<f32>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_path: Option<String>,
    warnings: Vec<String>,
}
