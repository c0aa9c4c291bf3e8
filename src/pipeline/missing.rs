//! What services lack, and answers for those whose base model is not in the data folder.
//!
//! Such a service starts and takes entries all the same: each ends in a failure that names the
//! missing file and what to do, instead of waiting for ever.

use std::time::Instant;

use super::{Answer, Engine, JobInput, reply::Failure, request};
use crate::{
    domain::{Problem, Role},
    job::JobContext,
    models::{catalog, library, shelf::Shelf},
};

/// Where a base checkpoint has to lie, below the data folder.
const BASE_MODEL_FOLDER: &str = "webui/models/Stable-diffusion";

/// Refuses every request of a service that cannot work without a base model.
#[derive(Debug, Clone)]
pub struct MissingModelEngine {
    message: String,
}

impl MissingModelEngine {
    /// An engine for a service of this role; `role` is one that needs a base model, such as
    /// [`Role::Train`] or [`Role::Predict`].
    pub fn new(role: Role, shelf: &Shelf) -> Self {
        // A role that lacks nothing has no such engine; the text then says just that.
        let lack = lack_of(role, shelf);
        Self {
            message: lack.map_or_else(|| String::from("nothing is missing"), |lack| lack.text),
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
    let purpose = match role {
        Role::Echo => return None,
        Role::Check => return lack_of_check(shelf),
        Role::Train => "training a person",
        Role::Predict => "making a portrait",
        Role::Sd => return lack_of_pictures(shelf),
    };
    let lack = if has_base_model(shelf) {
        String::from(":")
    } else {
        format!(
            " needs a base model, and there is no `.safetensors` file in `{BASE_MODEL_FOLDER}` of the \
             data folder;"
        )
    };
    Some(Lack {
        able: false,
        text: format!(
            "{purpose}{lack} this version of photog has no engine for it yet, so the request cannot \
             succeed"
        ),
    })
}

fn has_base_model(shelf: &Shelf) -> bool {
    !library::listed(shelf.supply(), library::Kind::Checkpoint).is_empty()
}

fn lack_of_pictures(shelf: &Shelf) -> Option<Lack> {
    (!has_base_model(shelf)).then(|| Lack {
        able: false,
        text: format!(
            "making pictures needs a checkpoint of Stable Diffusion 1.x; put its `.safetensors` file, \
             or its folder as diffusers has it, into `{BASE_MODEL_FOLDER}` of the data folder{}",
            catalog::Catalog::built_in().without_one(catalog::Role::Checkpoint)
        ),
    })
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

    fn run(role: Role, data: &'static str, tags: Tags) -> (Answer, Value) {
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
        let answer = MissingModelEngine::new(role, &shelf).run(&input, &context);
        let body = serde_json::from_slice(&answer.body).unwrap();
        (answer, body)
    }

    #[test]
    fn the_answer_names_the_place_of_the_missing_file_and_echoes_the_id() {
        for role in [Role::Train, Role::Predict] {
            let (answer, body) = run(role, "{\"request_id\": 91}", Tags::default());
            assert_eq!(answer.status, 503);
            assert_eq!(answer.problem, Some(Problem::BaseModelMissing));
            assert_eq!(body["request_id"], 91);
            assert_eq!(body["code"], "BASE_MODEL_MISSING");
            assert_eq!(body["message"], answer.message);
            assert!(answer.message.contains(BASE_MODEL_FOLDER));
            assert!(body["cost_time"].is_f64());
            assert_eq!(body.as_object().unwrap().len(), 4);
        }
    }

    #[test]
    fn a_check_lacks_first_its_detector_and_then_the_network_that_compares() {
        let home = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(home.path(), Device::Cpu);
        let bring = |name: &str| {
            let path = catalog::Catalog::built_in()
                .find(name)
                .unwrap()
                .path(home.path());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"not looked at").unwrap();
        };
        let lack = lack_of(Role::Check, &shelf).unwrap();
        assert!(
            !lack.able && lack.text.contains("face-detector"),
            "{lack:?}"
        );
        bring("yunet");
        let lack = lack_of(Role::Check, &shelf).unwrap();
        assert!(lack.able && lack.text.contains("face_reconize"), "{lack:?}");
        bring("mobilefacenet");
        assert_eq!(lack_of(Role::Check, &shelf), None);
        assert_eq!(lack_of(Role::Echo, &shelf), None);
    }

    #[test]
    fn with_a_pack_only_engines_are_missing() {
        let home = tempfile::tempdir().unwrap();
        let supply = Supply::new(home.path(), PackRule::Always(Pack::Demo));
        let shelf = Shelf::new(supply, Device::Cpu);
        for role in [Role::Check, Role::Sd, Role::Echo] {
            assert_eq!(lack_of(role, &shelf), None);
        }
        let lack = lack_of(Role::Train, &shelf).unwrap();
        assert!(!lack.text.contains(BASE_MODEL_FOLDER), "{lack:?}");
        let lack = lack_of(Role::Sd, &Shelf::new(home.path(), Device::Cpu)).unwrap();
        assert!(lack.text.contains("--pack demo"), "{lack:?}");
    }

    #[test]
    fn a_request_that_is_wrong_anyway_hears_that_first() {
        let (answer, _) = run(Role::Train, "[]", Tags::default());
        assert_eq!(answer.problem, Some(Problem::InvalidJson));
        let tags = Tags::default().with("taskType", "command");
        let (answer, body) = run(Role::Predict, "{\"request_id\": \"a\"}", tags);
        assert_eq!(answer.problem, Some(Problem::UnsupportedTaskType));
        assert_eq!(body["request_id"], "a");
    }
}
