//! What services lack, and the answers of the one that has no engine yet.
//!
//! Both start and take entries all the same: each ends in a failure that names what is missing and
//! what to do, instead of waiting for ever.

use std::time::Instant;

use super::{Answer, Engine, JobInput, reply::Failure, request};
use crate::{
    domain::{Problem, Role},
    job::JobContext,
    models::{catalog, library, shelf::Shelf},
};

/// Where a base checkpoint has to lie, below the data folder.
const BASE_MODEL_FOLDER: &str = "webui/models/Stable-diffusion";

/// Refuses every request of a service of [`Role::Predict`], which has no other engine yet.
#[derive(Debug, Clone)]
pub struct MissingModelEngine {
    message: String,
}

impl MissingModelEngine {
    /// An engine that names what is missing now.
    pub fn new(shelf: &Shelf) -> Self {
        Self {
            message: lack_of_portraits(shelf).text,
        }
    }
}

/// Something that a service lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// Whether the service works all the same, only without a part of what it offers.
    pub able: bool,
    /// What is missing and what to do about it.
    pub text: String,
}

/// What a service of this role lacks; `None` when it can do everything.
///
/// Looks at the data folder, and so may take a few milliseconds, but loads nothing.
pub fn lack_of(role: Role, shelf: &Shelf) -> Option<Lack> {
    match role {
        Role::Echo => None,
        Role::Check => lack_of_check(shelf),
        Role::Train => lack_of_training(shelf),
        Role::Predict => Some(lack_of_portraits(shelf)),
        Role::Sd => lack_of_checkpoint("making pictures", shelf),
    }
}

fn lack_of_portraits(shelf: &Shelf) -> Lack {
    let lack = if has_base_model(shelf) {
        String::from(":")
    } else {
        format!(
            " needs a base model, and there is no `.safetensors` file in `{BASE_MODEL_FOLDER}` of the \
             data folder;"
        )
    };
    Lack {
        able: false,
        text: format!(
            "making a portrait{lack} this version of photog has no engine for it yet, so the request \
             cannot succeed"
        ),
    }
}

fn has_base_model(shelf: &Shelf) -> bool {
    !library::listed(shelf.supply(), library::Kind::Checkpoint).is_empty()
}

fn lack_of_checkpoint(purpose: &str, shelf: &Shelf) -> Option<Lack> {
    (!has_base_model(shelf)).then(|| Lack {
        able: false,
        text: format!(
            "{purpose} needs a checkpoint of Stable Diffusion 1.x; put its `.safetensors` file, \
             or its folder as diffusers has it, into `{BASE_MODEL_FOLDER}` of the data folder{}",
            catalog::Catalog::built_in().without_one(catalog::Role::Checkpoint)
        ),
    })
}

fn lack_of_training(shelf: &Shelf) -> Option<Lack> {
    let lack = |able, text| Lack { able, text };
    let detector = shelf.entry(catalog::Role::FaceDetector).err();
    let detector = detector.map(|error| {
        let text = format!("training a person needs faces to be found: {error}");
        lack(false, text)
    });
    let embedding = || {
        let error = shelf.entry(catalog::Role::FaceEmbedding).err()?;
        let text = format!(
            "persons are trained, but photos of somebody else among theirs are not noticed, and no \
             picture says which checkpoint is most like them: {error}"
        );
        Some(lack(true, text))
    };
    detector
        .or_else(|| lack_of_checkpoint("training a person", shelf))
        .or_else(embedding)
}

fn lack_of_check(shelf: &Shelf) -> Option<Lack> {
    let lack = |able, text| Some(Lack { able, text });
    if let Err(error) = shelf.entry(catalog::Role::FaceDetector) {
        return lack(false, format!("photos cannot be judged: {error}"));
    }
    if let Err(error) = shelf.entry(catalog::Role::FaceEmbedding) {
        let text = format!(
            "photos are judged, but requests with `face_reconize` cannot be answered: {error}"
        );
        return lack(true, text);
    }
    None
}

impl Engine for MissingModelEngine {
    fn run(&mut self, input: &JobInput, _context: &JobContext) -> Answer {
        let started = Instant::now();
        let (request_id, members) = request::open(input);
        let failure = match members {
            Ok(_) => Failure::new(Problem::BaseModelMissing, self.message.clone()),
            Err(failure) => failure,
        };
        failure.into_answer(&request_id, started)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use serde_json::Value;

    use super::*;
    use crate::{
        domain::Tags,
        job::{CancelToken, FinishToken},
        models::{
            backend::Device,
            supply::{PackRule, Supply},
        },
        pack::Pack,
    };

    fn run(data: &'static str, tags: Tags) -> (Answer, Value) {
        let input = JobInput {
            data: bytes::Bytes::from_static(data.as_bytes()),
            tags,
        };
        let context = JobContext {
            cancel: CancelToken::default(),
            finish: FinishToken::default(),
            deadline: Instant::now() + Duration::from_secs(60),
            progress: Arc::new(()),
            device: String::from("cpu"),
        };
        let home = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(home.path(), Device::Cpu);
        let answer = MissingModelEngine::new(&shelf).run(&input, &context);
        let body = serde_json::from_slice(&answer.body).unwrap();
        (answer, body)
    }

    #[test]
    fn the_answer_names_the_place_of_the_missing_file_and_echoes_the_id() {
        let (answer, body) = run("{\"request_id\": 91}", Tags::default());
        assert_eq!(answer.status, 503);
        assert_eq!(answer.problem, Some(Problem::BaseModelMissing));
        assert_eq!(body["request_id"], 91);
        assert_eq!(body["code"], "BASE_MODEL_MISSING");
        assert_eq!(body["message"], answer.message);
        assert!(answer.message.contains(BASE_MODEL_FOLDER));
        assert!(body["cost_time"].is_f64());
        assert_eq!(body.as_object().unwrap().len(), 4);
    }

    /// Puts a file where a network is looked for.
    fn bring(home: &std::path::Path, name: &str) {
        let built_in = catalog::Catalog::built_in();
        let path = built_in.find(name).unwrap().path(home);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"not looked at").unwrap();
    }

    #[test]
    fn a_training_lacks_what_finds_faces_then_a_checkpoint_then_what_compares() {
        let home = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(home.path(), Device::Cpu);
        let lack = || lack_of(Role::Train, &shelf);
        let found = lack().unwrap();
        assert!(
            !found.able && found.text.contains("face-detector"),
            "{found:?}"
        );
        bring(home.path(), "yunet");
        let found = lack().unwrap();
        assert!(
            !found.able && found.text.contains(BASE_MODEL_FOLDER),
            "{found:?}"
        );
        assert!(found.text.contains("--pack demo"), "{found:?}");
        let folder = home.path().join(BASE_MODEL_FOLDER);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a.safetensors"), b"not looked at").unwrap();
        let found = lack().unwrap();
        assert!(
            found.able && found.text.contains("face-embedding"),
            "{found:?}"
        );
        bring(home.path(), "mobilefacenet");
        assert_eq!(lack(), None);
    }

    #[test]
    fn a_check_lacks_first_its_detector_and_then_the_network_that_compares() {
        let home = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(home.path(), Device::Cpu);
        let lack = lack_of(Role::Check, &shelf).unwrap();
        assert!(
            !lack.able && lack.text.contains("face-detector"),
            "{lack:?}"
        );
        bring(home.path(), "yunet");
        let lack = lack_of(Role::Check, &shelf).unwrap();
        assert!(lack.able && lack.text.contains("face_reconize"), "{lack:?}");
        bring(home.path(), "mobilefacenet");
        assert_eq!(lack_of(Role::Check, &shelf), None);
        assert_eq!(lack_of(Role::Echo, &shelf), None);
    }

    #[test]
    fn with_a_pack_only_engines_are_missing() {
        let home = tempfile::tempdir().unwrap();
        let supply = Supply::new(home.path(), PackRule::Always(Pack::Demo));
        let shelf = Shelf::new(supply, Device::Cpu);
        for role in [Role::Check, Role::Train, Role::Sd, Role::Echo] {
            assert_eq!(lack_of(role, &shelf), None);
        }
        let lack = lack_of(Role::Predict, &shelf).unwrap();
        assert!(!lack.text.contains(BASE_MODEL_FOLDER), "{lack:?}");
        let lack = lack_of(Role::Sd, &Shelf::new(home.path(), Device::Cpu)).unwrap();
        assert!(lack.text.contains("--pack demo"), "{lack:?}");
    }

    #[test]
    fn a_request_that_is_wrong_anyway_hears_that_first() {
        let (answer, _) = run("[]", Tags::default());
        assert_eq!(answer.problem, Some(Problem::InvalidJson));
        let tags = Tags::default().with("taskType", "command");
        let (answer, body) = run("{\"request_id\": \"a\"}", tags);
        assert_eq!(answer.problem, Some(Problem::UnsupportedTaskType));
        assert_eq!(body["request_id"], "a");
    }
}
