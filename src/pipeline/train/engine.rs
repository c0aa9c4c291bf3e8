//! The service `photog_train_pmml`: trains one person after another.

use std::{sync::Arc, time::Instant};

use serde::Serialize;
use serde_json::Value;

use super::{
    error::TrainError,
    model::Models,
    request::{self, TrainRequest},
    run::{Means, Resume, Task, train},
    settings::Settings,
    templates::templates,
};
use crate::{
    fetch::Fetcher,
    job::JobContext,
    people::{People, Person},
    pipeline::{
        Answer, Engine, FaceSource, JobInput, PhotoSource,
        check::{echo, no_network},
        reply::{Failure, cost_time, to_json},
        request::RequestId,
    },
};

/// Trains persons, one request after another.
#[derive(Clone)]
pub struct TrainEngine {
    fetcher: Fetcher,
    faces: Arc<dyn FaceSource>,
    models: Arc<dyn Models>,
    people: People,
}

impl TrainEngine {
    /// An engine that gets photos through `fetcher`, looks at them through `faces`, trains with `models`
    /// and leaves what it has trained with `people`.
    pub fn new(
        fetcher: Fetcher,
        faces: Arc<dyn FaceSource>,
        models: Arc<dyn Models>,
        people: People,
    ) -> Self {
        Self {
            fetcher,
            faces,
            models,
            people,
        }
    }

    fn train(
        &self,
        request: &TrainRequest,
        job: Option<&str>,
        context: &JobContext,
    ) -> Result<Person, Failure> {
        let faces = self.faces.observer().map_err(|error| no_network(&error))?;
        // The first look says whose defaults hold; a checkpoint that the request names is found with it.
        let wanted = request.checkpoint();
        let base = self.models.base(wanted).map_err(TrainError::from)?;
        let (settings, overwrite, warnings) = request.settings(&Settings::of(base.pack))?;
        // Handed out again after it was done and before that was told. Callers choose ids of requests and
        // may use one twice, so whoever wants the person anew gets a new one.
        if let Ok(person) = self.people.get(&request.id)
            && !overwrite
            && job.is_some()
            && person.job.as_deref() == job
        {
            return Ok(person);
        }
        let photos: Vec<PhotoSource<'_>> = request
            .images
            .iter()
            .map(|address| PhotoSource::Address(address))
            .collect();
        let templates = templates(self.people.folder());
        let means = Means {
            people: &self.people,
            fetcher: &self.fetcher,
            faces: &*faces,
            models: &*self.models,
            templates: &templates,
        };
        let task = Task {
            id: request.id.clone(),
            photos: &photos,
            settings,
            overwrite,
            resume: Resume::Same(&request.print),
            job: job.map(str::to_owned),
            warnings,
        };
        Ok(train(&task, &means, context)?)
    }
}

impl Engine for TrainEngine {
    fn run(&mut self, input: &JobInput, context: &JobContext) -> Answer {
        let started = Instant::now();
        let (request_id, request) = request::parse(input);
        let job = input.tags.get("requestId").map(str::to_owned);
        let trained = request.and_then(|request| {
            let person = self.train(&request, job.as_deref(), context)?;
            Ok((request, person))
        });
        match trained {
            Ok((request, person)) => Answer::ok(result(&request_id, &request, &person, started)),
            Err(failure) => failure.into_answer(&request_id, started),
        }
    }
}

fn result(
    request_id: &RequestId,
    request: &TrainRequest,
    person: &Person,
    started: Instant,
) -> Vec<u8> {
    let images: Vec<_> = request.images.iter().map(|address| echo(address)).collect();
    to_json(&TrainResult {
        request_id,
        code: "OK",
        message: "success",
        model_id: person.model_id.as_str(),
        images: images.iter().map(AsRef::as_ref).collect(),
        model_path: &person.lora,
        ref_image: &person.ref_image,
        used_images: person.used_images,
        train_steps: person.train_steps,
        score: person.best_score(),
        photos: &person.photos,
        cost_time: cost_time(started),
        warnings: &person.warnings,
    })
}

#[derive(Serialize)]
struct TrainResult<'a> {
    request_id: &'a RequestId,
    code: &'a str,
    message: &'a str,
    model_id: &'a str,
    images: Vec<&'a str>,
    model_path: &'a str,
    ref_image: &'a str,
    used_images: u32,
    train_steps: u32,
    score: Option<f32>,
    photos: &'a [Value],
    cost_time: f64,
    warnings: &'a [String],
}
