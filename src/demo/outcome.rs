//! What came of a demo.

use serde_json::{Map, Value, json};

use crate::{pack::Picture, people};

/// Everything that was done.
pub struct Outcome {
    /// The sample people, in the order of the pack.
    pub people: Vec<SamplePerson>,
    /// The sets of photos that were checked.
    pub checks: Vec<CheckedSet>,
    /// The portraits.
    pub portraits: Vec<PortraitMade>,
    /// How long it took.
    pub times: Times,
    /// What every result of these networks has to say.
    pub notice: Option<&'static str>,
    /// The device that was worked on.
    pub device: String,
}

/// Seconds of each stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// Until the appliance ran and it was known what to do.
    pub start: f64,
    /// Checks.
    pub check: f64,
    /// Trainings.
    pub train: f64,
    /// Portraits.
    pub portraits: f64,
    /// Comparing faces.
    pub compare: f64,
    /// Everything.
    pub total: f64,
}

/// A sample person.
pub struct SamplePerson {
    /// Their name.
    pub name: String,
    /// How many photos there are of them.
    pub photos: usize,
    /// A photo of them, as JPEG.
    pub reference: Vec<u8>,
    /// Their training; none for the stranger.
    pub training: Option<Training>,
}

/// A training that was done.
pub struct Training {
    /// The id that requests name the person by.
    pub model_id: String,
    /// Photos that were trained with.
    pub used_images: u32,
    /// Steps that were done.
    pub train_steps: u32,
    /// How long it took.
    pub seconds: f64,
    /// Likeness of its best validation picture.
    pub score: Option<f32>,
    /// The photo that it took as reference, as the file that it is.
    pub reference: Vec<u8>,
    /// The record that it left.
    pub record: people::Person,
    /// A small validation picture of each checkpoint, after its step, as JPEG.
    pub pictures: Vec<(u32, Vec<u8>)>,
}

/// Photos that were checked together.
pub struct CheckedSet {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// Whether all usable photos show one person.
    pub same_person: Option<bool>,
    /// How long it took.
    pub seconds: f64,
    /// The photos.
    pub photos: Vec<CheckedPhoto>,
}

/// A verdict on a photo.
pub struct CheckedPhoto {
    /// Name of its file.
    pub name: String,
    /// What was done to it, if it was spoilt.
    pub about: Option<&'static str>,
    /// The verdict's number.
    pub code: u8,
    /// The verdict in words.
    pub message: String,
    /// Whether it shows one face that looks to the camera.
    pub frontal: bool,
    /// Why, and what to do.
    pub reason: Option<String>,
    /// The number that was expected.
    pub expected: u8,
    /// A small copy as JPEG, of one that can be decoded.
    pub thumbnail: Option<Vec<u8>>,
}

/// A portrait.
pub struct PortraitMade {
    /// Name of its file.
    pub file: String,
    /// The template.
    pub template: Picture,
    /// The portrait itself.
    pub jpeg: Vec<u8>,
    /// How long it took.
    pub seconds: f64,
    /// Its seed, as far as the service tells.
    pub seed: Option<i64>,
    /// Its faces, from left to right.
    pub faces: Vec<PortraitFace>,
    /// What the service says to it.
    pub warnings: Vec<String>,
}

/// A face of a portrait.
#[derive(Debug, Clone, PartialEq)]
pub struct PortraitFace {
    /// Whose it is to be.
    pub model_id: String,
    /// Cosine to the mean face of each sample person's photos, by their names; nothing where the portrait
    /// has no such face.
    pub scores: Vec<(String, f32)>,
}

impl CheckedPhoto {
    /// Whether it is fit for training.
    pub fn is_usable(&self) -> bool {
        self.code == 1
    }
}

impl CheckedSet {
    /// How many photos are fit for training.
    pub fn usable(&self) -> usize {
        self.photos.iter().filter(|photo| photo.is_usable()).count()
    }

    /// The verdicts in one line, each with its number: `8 success`.
    pub fn summary(&self) -> String {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for photo in &self.photos {
            match counts
                .iter_mut()
                .find(|(message, _)| *message == photo.message)
            {
                Some((_, count)) => *count += 1,
                None => counts.push((&photo.message, 1)),
            }
        }
        let counts = counts
            .iter()
            .map(|(message, count)| format!("{count} {message}"));
        counts.collect::<Vec<_>>().join(", ")
    }
}

impl PortraitFace {
    /// Who it is most like.
    pub fn nearest(&self) -> Option<&str> {
        let best = self
            .scores
            .iter()
            .max_by(|one, other| one.1.total_cmp(&other.1));
        best.map(|(name, _)| &**name)
    }

    /// Whether it is most like whom it is to be.
    pub fn is_right(&self) -> bool {
        self.nearest() == Some(&self.model_id)
    }

    /// How like whom it is to be it is.
    pub fn own_score(&self) -> Option<f32> {
        let own = self.scores.iter().find(|(name, _)| *name == self.model_id);
        own.map(|(_, score)| *score)
    }
}

impl PortraitMade {
    /// Whether all its faces are most like whom they are to be.
    pub fn is_right(&self) -> bool {
        self.faces.iter().all(PortraitFace::is_right)
    }
}

impl Outcome {
    /// How many portraits are most like their people.
    pub fn right(&self) -> usize {
        self.portraits
            .iter()
            .filter(|portrait| portrait.is_right())
            .count()
    }

    /// What is not as it should be; nothing when all is.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for set in &self.checks {
            let wrong = set
                .photos
                .iter()
                .filter(|photo| photo.code != photo.expected);
            faults.extend(wrong.map(|photo| {
                format!(
                    "the verdict on {} of the set {} is {} ({}) instead of {}",
                    photo.name, set.name, photo.code, photo.message, photo.expected
                )
            }));
        }
        for portrait in &self.portraits {
            let wrong = portrait.faces.iter().filter(|face| !face.is_right());
            faults.extend(wrong.map(|face| match face.nearest() {
                Some(other) => format!(
                    "a face of {} is more like {other} than like {}",
                    portrait.file, face.model_id
                ),
                None => format!("{} shows no face of {}", portrait.file, face.model_id),
            }));
        }
        faults
    }

    /// The outcome without its pictures, as one document.
    pub fn to_json(&self) -> Value {
        json!({
            "people": self.people.iter().map(SamplePerson::to_json).collect::<Vec<_>>(),
            "checks": self.checks.iter().map(CheckedSet::to_json).collect::<Vec<_>>(),
            "portraits": self.portraits.iter().map(PortraitMade::to_json).collect::<Vec<_>>(),
            "seconds": rounded(self.times.total, 1),
            "warnings": self.notice.iter().collect::<Vec<_>>(),
        })
    }
}

impl SamplePerson {
    fn to_json(&self) -> Value {
        let training = self.training.as_ref();
        json!({
            "name": self.name,
            "model_id": training.map(|training| &training.model_id),
            "photos": self.photos,
            "used_images": training.map(|training| training.used_images),
            "train_steps": training.map(|training| training.train_steps),
            "seconds": training.map(|training| rounded(training.seconds, 1)),
            "score": training.and_then(|training| training.score).map(cosine),
        })
    }
}

impl CheckedSet {
    fn to_json(&self) -> Value {
        let image = |photo: &CheckedPhoto| {
            json!({
                "name": photo.name,
                "code": photo.code,
                "message": photo.message,
                "frontal": photo.frontal,
                "reason": photo.reason,
            })
        };
        json!({
            "set": self.name,
            "photos": self.photos.len(),
            "usable": self.usable(),
            "verdicts": self.summary(),
            "same_person": self.same_person,
            "seconds": rounded(self.seconds, 2),
            "images": self.photos.iter().map(image).collect::<Vec<_>>(),
        })
    }
}

impl PortraitMade {
    fn to_json(&self) -> Value {
        let face = |face: &PortraitFace| {
            let scores = face.scores.iter();
            let scores: Map<String, Value> = scores
                .map(|(name, score)| (name.clone(), json!(cosine(*score))))
                .collect();
            json!({"model_id": face.model_id, "scores": scores})
        };
        json!({
            "file": self.file,
            "template": self.template.name,
            "seconds": rounded(self.seconds, 2),
            "faces": self.faces.iter().map(face).collect::<Vec<_>>(),
        })
    }
}

/// A cosine with four digits.
fn cosine(value: f32) -> f64 {
    rounded(f64::from(value), 4)
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A small outcome in which everything is right.
    pub(in crate::demo) fn outcome() -> Outcome {
        let jpeg = picture();
        let record = json!({
            "model_id": "alma", "created": "2026-01-02T03:04:05Z", "base": {"name": "demo"},
            "lora": "l", "ref_image": "r", "caption": "a person", "train_steps": 200,
            "used_images": 8, "losses": [[1, 0.25, 0.1], [2, 0.2, 0.1], [3, 0.15, 0.1]],
            "scores": [{"step": 100, "picture": "a.jpg", "score": 0.5, "chosen": false},
                {"step": 200, "picture": "b.jpg", "score": 0.75, "chosen": true}],
        });
        let training = Training {
            model_id: String::from("alma"),
            used_images: 8,
            train_steps: 200,
            seconds: 48.04,
            score: Some(0.75),
            reference: jpeg.clone(),
            record: serde_json::from_value(record).unwrap(),
            pictures: vec![(100, jpeg.clone()), (200, jpeg.clone())],
        };
        let person = |name: &str, training| SamplePerson {
            name: name.to_owned(),
            photos: 8,
            reference: picture(),
            training,
        };
        let photo = |name: &str, code, message: &str, reason: Option<&str>| CheckedPhoto {
            name: name.to_owned(),
            about: None,
            code,
            message: message.to_owned(),
            frontal: code == 1,
            reason: reason.map(str::to_owned),
            expected: code,
            thumbnail: Some(picture()),
        };
        Outcome {
            people: vec![person("alma", Some(training)), person("carla", None)],
            checks: vec![CheckedSet {
                name: String::from("spoilt"),
                about: String::from("spoilt photos"),
                same_person: Some(true),
                seconds: 1.234,
                photos: vec![
                    photo("1.jpg", 1, "success", None),
                    photo("dark.jpg", 8, "face quality too low", Some("too dark")),
                ],
            }],
            portraits: vec![PortraitMade {
                file: String::from("alma-one.jpg"),
                template: Picture {
                    name: String::from("one.jpg"),
                    bytes: jpeg.leak(),
                },
                jpeg: picture(),
                seconds: 3.456,
                seed: Some(1),
                faces: vec![PortraitFace {
                    model_id: String::from("alma"),
                    scores: vec![
                        (String::from("alma"), 0.812_34),
                        (String::from("carla"), -0.1),
                    ],
                }],
                warnings: Vec::new(),
            }],
            times: Times {
                start: 0.5,
                check: 2.0,
                train: 96.0,
                portraits: 10.0,
                compare: 1.0,
                total: 109.54,
            },
            notice: Some("made with the demo pack"),
            device: String::from("cpu"),
        }
    }

    fn picture() -> Vec<u8> {
        let picture = crate::imaging::RgbImage::from_pixel(32, 24, [90, 120, 150].into());
        crate::imaging::write_jpeg(&picture, 90).unwrap()
    }

    #[test]
    fn the_document_has_people_checks_portraits_and_seconds() {
        let json = outcome().to_json();
        assert_eq!(json["seconds"], 109.5);
        assert_eq!(json["warnings"], json!(["made with the demo pack"]));
        assert_eq!(
            json["people"][0],
            json!({"name": "alma", "model_id": "alma", "photos": 8, "used_images": 8,
                "train_steps": 200, "seconds": 48.0, "score": 0.75})
        );
        assert_eq!(json["people"][1]["model_id"], Value::Null);
        assert_eq!(
            json["portraits"],
            json!([{"file": "alma-one.jpg", "template": "one.jpg", "seconds": 3.46,
                "faces": [{"model_id": "alma", "scores": {"alma": 0.8123, "carla": -0.1}}]}])
        );
        let set = &json["checks"][0];
        assert_eq!(set["usable"], 1);
        assert_eq!(set["verdicts"], "1 success, 1 face quality too low");
        assert_eq!(set["images"][1]["reason"], "too dark");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file() {
        let mut outcome = outcome();
        assert!(outcome.faults().is_empty() && outcome.right() == 1);
        outcome.checks[0].photos[1].expected = 5;
        outcome.portraits[0].faces[0].scores[1].1 = 0.9;
        let missing = PortraitFace {
            model_id: String::from("bruno"),
            scores: Vec::new(),
        };
        outcome.portraits[0].faces.push(missing);
        assert_eq!(
            outcome.faults(),
            [
                "the verdict on dark.jpg of the set spoilt is 8 (face quality too low) instead of 5",
                "a face of alma-one.jpg is more like carla than like alma",
                "alma-one.jpg shows no face of bruno",
            ]
        );
        assert_eq!(outcome.right(), 0);
    }
}
