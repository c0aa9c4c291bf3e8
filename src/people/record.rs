//! The record of a trained person: how it was trained, and which files belong to it.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{PeopleError, place::Part};
use crate::domain::{MIB, PersonId};

/// Name of the record's file.
pub(super) const FILE_NAME: &str = "person.json";
/// Largest record that is written or read. One with 100 photos and all points of its losses has
/// about 200 KB.
pub(super) const BYTES_MAX: u64 = 4 * MIB;
/// Version of the form that is written here.
const VERSION: u32 = 1;
/// Most points of the losses that are kept: more than a chart has pixels.
const LOSSES_MAX: usize = 2000;

/// A trained person, as `person.json` has it.
///
/// All paths are relative to the data folder, with forward slashes, and lie in the person's own
/// folders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// The person's id.
    #[serde(with = "id_as_text")]
    pub model_id: PersonId,
    /// The job that trained it, so that the same job, handed out again after a crash, knows that
    /// it is done.
    #[serde(default)]
    pub job: Option<String>,
    /// When the training was done, as RFC 3339 text.
    pub created: String,
    /// How long the training took.
    #[serde(default)]
    pub seconds: f64,
    /// The checkpoint that was trained on.
    pub base: Base,
    /// The pack that networks were taken from.
    #[serde(default)]
    pub pack: Option<String>,
    /// The LoRA.
    pub lora: String,
    /// The reference photo.
    pub ref_image: String,
    /// The picture beside the LoRA.
    #[serde(default)]
    pub thumbnail: Option<String>,
    /// The words that the person was trained with and is called by.
    pub caption: String,
    /// Steps that were done.
    pub train_steps: u32,
    /// Photos that were trained with.
    pub used_images: u32,
    /// What became of each photo, as the trainer tells it.
    #[serde(default)]
    pub photos: Vec<Value>,
    /// The settings of the training, as the trainer tells them.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// The pictures that checkpoints were judged by.
    #[serde(default)]
    pub scores: Vec<Score>,
    /// Loss and learning rate over the steps.
    #[serde(default)]
    pub losses: Vec<Loss>,
    /// The checkpoints that are kept.
    #[serde(default)]
    pub checkpoints: Vec<Checkpoint>,
    /// What is to be known about the result.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The checkpoint that a person was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Its name, as requests have it.
    pub name: String,
    /// The hash of its file, if it is one file and was hashed.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// A validation picture and how like the person it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The step after which it was made.
    pub step: u32,
    /// The picture.
    pub picture: String,
    /// Its likeness; `None` when it shows no face.
    #[serde(default)]
    pub score: Option<f32>,
    /// It is among the best.
    #[serde(default)]
    pub chosen: bool,
}

/// A point of the losses: step, loss, learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Loss(pub u32, pub f32, pub f32);

/// A checkpoint that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The step after which it was written.
    pub step: u32,
    /// Its file.
    pub file: String,
    /// The LoRA was made from it.
    #[serde(default)]
    pub chosen: bool,
}

/// What is written before everything else.
#[derive(Serialize)]
struct Versioned<'a> {
    version: u32,
    #[serde(flatten)]
    person: &'a Person,
}

/// What is read before everything else.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Person {
    /// The best score of all pictures.
    pub fn best_score(&self) -> Option<f32> {
        let scores = self.scores.iter().filter_map(|score| score.score);
        scores.max_by(f32::total_cmp)
    }

    /// The record as `person.json` has it.
    pub fn to_json(&self) -> Result<Vec<u8>, PeopleError> {
        let versioned = Versioned {
            version: VERSION,
            person: self,
        };
        // Numbers that JSON lacks become `null`, so this is about maps with keys that are no text.
        let mut text = serde_json::to_vec_pretty(&versioned)
            .map_err(|_| PeopleError::Incomplete("its record has no form in JSON"))?;
        text.push(b'\n');
        Ok(text)
    }

    /// The record that these bytes hold, if it is one of that person's; otherwise why not.
    pub(super) fn read(bytes: &[u8], id: &PersonId) -> Result<Self, String> {
        // The library's texts repeat what they found, which may be long.
        let place = |error: &serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            format!("it is not as it should be at line {line}, column {column}")
        };
        let Version { version } = serde_json::from_slice(bytes).map_err(|error| place(&error))?;
        if version > VERSION {
            return Err(format!(
                "its version {version} is newer than this photog, which knows {VERSION}"
            ));
        }
        let person: Self = serde_json::from_slice(bytes).map_err(|error| place(&error))?;
        person.check(id).map_err(str::to_owned)?;
        Ok(person)
    }

    /// What every record keeps to.
    pub(super) fn check(&self, id: &PersonId) -> Result<(), &'static str> {
        if self.model_id != *id {
            return Err("it is the record of another person");
        }
        if self.created_time().is_none() {
            return Err("it does not say when the training was done");
        }
        if self.files().any(|file| Part::locate(id, file).is_none()) {
            return Err("it names a file that lies outside of the person's folders");
        }
        Ok(())
    }

    /// Every file that the record names.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        let named = [
            Some(&self.lora),
            Some(&self.ref_image),
            self.thumbnail.as_ref(),
        ];
        let pictures = self.scores.iter().map(|score| &score.picture);
        let checkpoints = self.checkpoints.iter().map(|checkpoint| &checkpoint.file);
        let all = named.into_iter().flatten().chain(pictures);
        all.chain(checkpoints).map(String::as_str)
    }

    pub(super) fn created_time(&self) -> Option<SystemTime> {
        humantime::parse_rfc3339(&self.created).ok()
    }

    /// The record without what JSON cannot hold and without more points than a chart can show.
    ///
    /// A training that took an hour is not lost for a loss that is no number.
    pub(super) fn bounded(mut self) -> Self {
        if !self.seconds.is_finite() {
            self.seconds = 0.0;
        }
        for score in &mut self.scores {
            score.score = score.score.filter(|score| score.is_finite());
        }
        self.losses
            .retain(|Loss(_, loss, rate)| loss.is_finite() && rate.is_finite());
        let last = self.losses.len().saturating_sub(1);
        if last >= LOSSES_MAX {
            let kept = (0..LOSSES_MAX).map(|at| self.losses[at * last / (LOSSES_MAX - 1)]);
            self.losses = kept.collect();
        }
        self
    }
}

/// `domain` knows no wire forms, so this stands here.
mod id_as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::domain::PersonId;

    pub(super) fn serialize<S: Serializer>(id: &PersonId, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(id.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PersonId, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::people::tests::{id, person};

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        let person = person("anna");
        let text = person.to_json().unwrap();
        assert_eq!(Person::read(&text, &id("anna")).unwrap(), person);
        let value: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["version"], 1);
        assert_eq!(value["model_id"], "anna");
        assert_eq!(value["losses"][0], json!([1, 0.25, 0.5]));
        assert!(text.ends_with(b"}\n"));
    }

    #[test]
    fn members_of_later_versions_are_passed_over_and_absent_lists_are_empty() {
        let text = json!({
            "version": 1, "later": {"a": [1]}, "model_id": "anna",
            "created": "2026-01-02T03:04:05Z", "base": {"name": "base", "later": 1},
            "lora": "webui/models/Lora/anna/anna.safetensors",
            "ref_image": "photog/user_images/anna/ref_image.jpg",
            "caption": "a person", "train_steps": 800, "used_images": 8,
        });
        let read = Person::read(text.to_string().as_bytes(), &id("anna")).unwrap();
        assert!(read.scores.is_empty() && read.thumbnail.is_none());
        assert_eq!(read.best_score(), None);
    }

    #[test]
    fn a_record_that_cannot_be_used_says_why_and_repeats_nothing_of_it() {
        let good: Value = serde_json::from_slice(&person("anna").to_json().unwrap()).unwrap();
        let changed = |name: &str, value: Value| {
            let mut record = good.clone();
            record[name] = value;
            Person::read(record.to_string().as_bytes(), &id("anna")).unwrap_err()
        };
        let elsewhere = changed("ref_image", json!("photog/user_images/bruno/ref_image.jpg"));
        assert!(elsewhere.contains("outside"), "{elsewhere}");
        assert!(changed("lora", json!("../a.safetensors")).contains("outside"));
        assert!(changed("model_id", json!("bruno")).contains("another person"));
        assert!(changed("created", json!("yesterday")).contains("when"));
        assert!(changed("version", json!(2)).contains("newer"));
        let odd = changed("train_steps", json!("a secret"));
        assert!(odd.contains("line") && !odd.contains("secret"), "{odd}");
        for text in ["", "{", "[]", "null"] {
            assert!(
                Person::read(text.as_bytes(), &id("anna")).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn what_json_cannot_hold_and_what_no_chart_shows_is_left_out() {
        let mut long = person("anna");
        long.seconds = f64::NAN;
        long.scores[0].score = Some(f32::NAN);
        long.losses = (0..100_000).map(|at| Loss(at, 1.0, 0.1)).collect();
        long.losses[7].1 = f32::INFINITY;
        let bounded = long.bounded();
        assert_eq!((bounded.seconds, bounded.scores[0].score), (0.0, None));
        let steps: Vec<u32> = bounded.losses.iter().map(|loss| loss.0).collect();
        assert_eq!(steps.len(), LOSSES_MAX);
        assert_eq!((steps[0], steps[LOSSES_MAX - 1]), (0, 99_999));
        assert!(steps.is_sorted());
        let text = bounded.to_json().unwrap();
        assert_eq!(Person::read(&text, &id("anna")).unwrap(), bounded);
        assert_eq!(person("anna").bounded(), person("anna"));
    }
}
