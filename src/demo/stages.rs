//! The three stages that the appliance works on: entries are put, and their results awaited.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    CheckedPhoto, CheckedSet, DemoError, Onlooker, PortraitFace, PortraitMade, SamplePerson,
    Training,
    answers::{Checked, Job, Made, Trained, document, result},
    client::{Client, Entry},
    plan::{PhotoSet, Plan},
    thumbnail::thumbnail,
};
use crate::{pack::Person, people};

/// The built-in services.
const CHECK: &str = "photog_check";
const TRAIN: &str = "photog_train_pmml";
const PORTRAIT: &str = "photog_pre_pmml";
/// Seed of the first portrait; the next ones count up. Any would do, and with a fixed one the same
/// program makes the same portraits.
const SEED: u64 = 1;
/// Portraits of which the most like the person is taken. The small networks of a pack paint many that
/// are not.
const CANDIDATES: u32 = 4;
/// Longest side of the small pictures of the report, in pixels.
const SMALL_SIDE: u32 = 240;
/// The same of reference photos.
const REFERENCE_SIDE: u32 = 480;

/// Does one stage after another.
pub(super) struct Stages<'a> {
    client: &'a Client,
    plan: &'a Plan,
    onlooker: &'a mut dyn Onlooker,
}

impl<'a> Stages<'a> {
    pub(super) fn new(client: &'a Client, plan: &'a Plan, onlooker: &'a mut dyn Onlooker) -> Self {
        Self {
            client,
            plan,
            onlooker,
        }
    }

    /// Has all sets of photos judged.
    pub(super) fn check(&mut self) -> Result<Vec<CheckedSet>, DemoError> {
        let mut entries = Vec::new();
        for set in &self.plan.sets {
            let request = json!({
                "request_id": set.name,
                "images": set.photos.iter().map(|photo| data_url(&photo.file)).collect::<Vec<_>>(),
                "configure": {"face_reconize": true},
            });
            let what = format!("the check of {}", set.about);
            entries.push(self.client.put(CHECK, &set.name, &what, &request)?);
        }
        let results = self.results("checking", &entries)?;
        let sets = self.plan.sets.iter().zip(entries.iter().zip(results));
        sets.map(|(set, (entry, body))| checked(set, &entry.what, &body))
            .collect()
    }

    /// Has all people trained but the last, and says of all who they are.
    pub(super) fn train(&mut self) -> Result<Vec<SamplePerson>, DemoError> {
        let mut entries = Vec::new();
        for person in self.plan.trained() {
            let photos = person.photos.iter().map(|photo| data_url(photo.bytes));
            let request = json!({
                "request_id": person.name,
                "model_id": person.name,
                "images": photos.collect::<Vec<_>>(),
            });
            let what = format!("the training of {}", person.name);
            entries.push(self.client.put(TRAIN, &person.name, &what, &request)?);
        }
        let results = self.results("training", &entries)?;
        let mut trainings = Vec::new();
        for (entry, body) in entries.iter().zip(results) {
            trainings.push(self.training(&entry.what, &body)?);
        }
        let mut trainings = trainings.into_iter();
        let people = self.plan.people.iter();
        people
            .map(|person| sample(person, trainings.next()))
            .collect()
    }

    /// Has the portraits made.
    pub(super) fn portraits(&mut self) -> Result<Vec<PortraitMade>, DemoError> {
        let mut entries = Vec::new();
        for (order, seed) in self.plan.portraits.iter().zip(SEED..) {
            let request = json!({
                "request_id": order.file,
                "model_ids": order.people,
                "template_image": data_url(order.template.bytes),
                "configure": {"display_score": true, "seed": seed, "candidates": CANDIDATES},
            });
            let people = order.people.join(" and ");
            let what = format!("the portrait of {people} in {}", order.template.name);
            entries.push(self.client.put(PORTRAIT, &order.file, &what, &request)?);
        }
        let results = self.results("making portraits", &entries)?;
        let orders = self.plan.portraits.iter().zip(entries.iter().zip(results));
        let portrait = |(order, (entry, body)): (&super::plan::Order, (&Entry, Vec<u8>))| {
            let made: Made = result(&entry.what, &body)?;
            let jpeg = STANDARD.decode(made.image);
            let jpeg = jpeg.map_err(|error| DemoError::Server {
                what: entry.what.clone(),
                reason: format!("the picture of its answer is no base64: {error}"),
            })?;
            let face = |model_id: &String| PortraitFace {
                model_id: model_id.clone(),
                scores: Vec::new(),
            };
            Ok(PortraitMade {
                file: order.file.clone(),
                template: order.template.clone(),
                jpeg,
                seconds: made.cost_time,
                seed: made.seed,
                faces: order.people.iter().map(face).collect(),
                warnings: made.warnings,
            })
        };
        orders.map(portrait).collect()
    }

    /// Waits for the results of a stage's entries.
    fn results(&mut self, stage: &str, entries: &[Entry]) -> Result<Vec<Vec<u8>>, DemoError> {
        let onlooker = &mut *self.onlooker;
        self.client.results(entries, |jobs| {
            onlooker.see(stage, &note(stage, jobs), fraction(jobs, entries.len()));
        })
    }

    /// What is known of a training that is done.
    fn training(&self, what: &str, body: &[u8]) -> Result<Training, DemoError> {
        let trained: Trained = result(what, body)?;
        let id = &trained.model_id;
        let record = self.client.get(what, &format!("/api/people/{id}"))?;
        let record: people::Person = document(what, &record)?;
        let mut pictures = Vec::new();
        for score in &record.scores {
            if pictures.iter().any(|(step, _)| *step == score.step) {
                continue;
            }
            let name = score.picture.rsplit('/').next().unwrap_or_default();
            let picture = self
                .client
                .get(what, &format!("/api/people/{id}/validation/{name}"))?;
            pictures.push((score.step, thumbnail(what, &picture, SMALL_SIDE)?));
        }
        Ok(Training {
            reference: self
                .client
                .get(what, &format!("/api/people/{id}/reference"))?,
            model_id: trained.model_id,
            used_images: trained.used_images,
            train_steps: trained.train_steps,
            seconds: trained.cost_time,
            score: trained.score,
            record,
            pictures,
        })
    }
}

/// A sample person, with the training if there was one.
fn sample(person: &Person, training: Option<Training>) -> Result<SamplePerson, DemoError> {
    let first = person.photos.first().map(|photo| photo.bytes);
    let reference = training.as_ref().map(|training| &*training.reference);
    let what = format!("the reference photo of {}", person.name);
    let photo = reference.or(first).unwrap_or_default();
    Ok(SamplePerson {
        name: person.name.clone(),
        photos: person.photos.len(),
        reference: thumbnail(&what, photo, REFERENCE_SIDE)?,
        training,
    })
}

/// What of the jobs is worked on now.
fn note(stage: &str, jobs: &[Job]) -> String {
    let running = jobs.iter().filter(|job| job.state == "running");
    let one = |job: &Job| {
        let loss = job.training.as_ref().and_then(|steps| steps.loss);
        let loss = loss.map(|loss| format!(" (loss {loss:.3})"));
        format!("{}{}", job.request_id, loss.unwrap_or_default())
    };
    // The list has the newest first.
    let running: Vec<String> = running.rev().map(one).collect();
    format!("{stage} {}", running.join(", "))
        .trim_end()
        .to_owned()
}

/// How much of so many jobs is done.
fn fraction(jobs: &[Job], count: usize) -> f64 {
    let done = jobs.iter().filter_map(|job| job.progress).sum::<f64>();
    done / count.max(1) as f64
}

fn checked(set: &PhotoSet, what: &str, body: &[u8]) -> Result<CheckedSet, DemoError> {
    let answer: Checked = result(what, body)?;
    if answer.check_results.len() != set.photos.len() {
        return Err(DemoError::Server {
            what: what.to_owned(),
            reason: String::from("its answer has not one verdict for each photo"),
        });
    }
    let photos = set.photos.iter().zip(&answer.check_results).enumerate();
    let photos = photos.map(|(at, (photo, verdict))| CheckedPhoto {
        name: photo.name.clone(),
        about: photo.about,
        code: verdict.code,
        message: verdict.message.clone(),
        frontal: verdict.frontal,
        reason: answer.reason(at).map(str::to_owned),
        expected: photo.expected.code(),
        // What cannot be decoded has none.
        thumbnail: thumbnail(&photo.name, &photo.file, SMALL_SIDE).ok(),
    });
    Ok(CheckedSet {
        name: set.name.clone(),
        about: set.about.clone(),
        same_person: answer.same_person,
        seconds: answer.cost_time,
        photos: photos.collect(),
    })
}

/// The address of a JPEG that holds the file itself.
fn data_url(file: &[u8]) -> Value {
    json!(format!("data:image/jpeg;base64,{}", STANDARD.encode(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str, state: &str, progress: Option<f64>, loss: Option<f64>) -> Job {
        let training = loss.map(|loss| json!({"loss": loss}));
        let job =
            json!({"request_id": id, "state": state, "progress": progress, "training": training});
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn those_in_work_are_named_in_the_order_of_their_entries() {
        let jobs = [
            job("bruno", "running", Some(0.25), None),
            job("alma", "running", Some(0.5), Some(0.07125)),
        ];
        assert_eq!(note("training", &jobs), "training alma (loss 0.071), bruno");
        assert_eq!(
            note("training", &[job("alma", "done", Some(1.0), None)]),
            "training"
        );
    }

    #[test]
    fn a_stage_is_as_far_as_its_jobs_together() {
        let jobs = [
            job("c", "waiting", None, None),
            job("b", "running", Some(0.5), None),
            job("a", "done", Some(1.0), None),
        ];
        assert_eq!(fraction(&jobs, 3), 0.5);
        assert_eq!(fraction(&[], 0), 0.0);
    }
}
