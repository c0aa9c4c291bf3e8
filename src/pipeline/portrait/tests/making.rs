//! From a request to its answer.

use std::{path::Path, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    super::{PortraitEngine, Studio},
    fake::{Bag, Brush, Eyes, context, face, pattern},
};
use crate::{
    domain::{Problem, Tags, Words},
    fetch::{Fetcher, NetworkPolicy},
    imaging::{Limits, RgbImage, decode, png_text::write_png, write_jpeg, xmp::read_xmp},
    job::{CancelReason, CancelToken},
    people::{Base, People, Person},
    pipeline::{Answer, Engine, JobInput, outputs::Outputs},
    store::{DataFolder, Mounts},
};

const REFERENCE: (u32, u32) = (400, 401);

/// Writes somebody who was trained on this checkpoint.
pub fn train(home: &Path, name: &str, base: &str) {
    let person = Person {
        model_id: name.parse().unwrap(),
        job: None,
        created: String::from("2026-11-01T10:00:00Z"),
        seconds: 1.0,
        base: Base {
            name: base.to_owned(),
            sha256: None,
        },
        pack: None,
        lora: format!("webui/models/Lora/{name}/{name}.safetensors"),
        ref_image: format!("photog/user_images/{name}/ref_image.jpg"),
        thumbnail: None,
        caption: format!("photo of {name}"),
        train_steps: 1,
        used_images: 1,
        photos: Vec::new(),
        settings: serde_json::Map::new(),
        scores: Vec::new(),
        losses: Vec::new(),
        checkpoints: Vec::new(),
        warnings: Vec::new(),
    };
    let weights = home.join("photog/user_weights").join(name);
    let images = home.join("photog/user_images").join(name);
    for folder in [&weights, &images] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(weights.join("person.json"), person.to_json().unwrap()).unwrap();
    let photo = RgbImage::from_pixel(REFERENCE.0, REFERENCE.1, [200, 40, 10].into());
    std::fs::write(
        images.join("ref_image.jpg"),
        write_jpeg(&photo, 95).unwrap(),
    )
    .unwrap();
}

struct Home {
    folder: tempfile::TempDir,
    brush: Arc<Brush>,
    result_bytes_max: u64,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        train(folder.path(), "anna", "beta");
        train(folder.path(), "ben", "alpha");
        Self {
            folder,
            brush: Arc::new(Brush::default()),
            result_bytes_max: 1 << 20,
        }
    }

    fn run_with(&self, body: &Value, cancel: CancelToken) -> (Answer, Value) {
        let eyes = Eyes::default()
            .with((800, 700), &[face([400.0, 350.0], 150.0, 0.0)])
            .with(
                (1000, 600),
                &[
                    face([300.0, 300.0], 130.0, 0.0),
                    face([700.0, 300.0], 130.0, 0.0),
                ],
            )
            .with(REFERENCE, &[face([200.0, 200.0], 120.0, 0.0)]);
        let studio = Studio {
            people: People::new(DataFolder::at(self.folder.path())),
            faces: Arc::new(eyes),
            extras: Arc::new(Bag::default()),
            painting: self.brush.clone(),
            words: Words::default(),
        };
        let mut engine = PortraitEngine::new(
            studio,
            Fetcher::new(Mounts::default(), NetworkPolicy::default()),
            Outputs::at(self.folder.path().join(Outputs::NAME)),
            self.result_bytes_max,
        );
        let input = JobInput {
            data: Bytes::from(body.to_string()),
            tags: Tags::default(),
        };
        let answer = engine.run(&input, &context(Arc::new(()), cancel));
        let body = serde_json::from_slice(&answer.body).unwrap();
        (answer, body)
    }

    fn run(&self, body: &Value) -> (Answer, Value) {
        self.run_with(body, CancelToken::default())
    }
}

fn template(width: u32, height: u32) -> String {
    let file = write_png(&pattern(width, height), &[]).unwrap();
    format!("data:image/png;base64,{}", BASE64_STANDARD.encode(file))
}

fn picture_of(body: &Value) -> Vec<u8> {
    BASE64_STANDARD
        .decode(body["image"].as_str().unwrap())
        .unwrap()
}

#[test]
fn a_request_is_answered_with_the_picture_and_what_it_was_made_of() {
    let home = Home::new();
    let (answer, body) = home.run(&json!({
        "request_id": 90, "model_id": "anna", "template_image": template(800, 700),
        "configure": {
            "seed": 77, "display_score": true, "color_shift_middle": false,
            "color_shift_last": false,
        },
    }));
    assert_eq!(
        (answer.status, answer.problem),
        (200, None),
        "{}",
        answer.message
    );
    assert_eq!(body["request_id"], 90);
    assert_eq!(body["code"], "OK");
    assert_eq!(body["message"], "success");
    assert_eq!(body["seed"], 77);
    assert_eq!(body["model_ids"], json!(["anna"]));
    assert!(body["cost_time"].is_f64());
    assert_eq!(body["warnings"], json!(["painted by a brush"]));
    // The paint is nearly in the direction of the reference photo.
    let score = body["face_scores"][0].as_f64().unwrap();
    assert!(score > 0.9, "{score}");
    assert!(body.get("output_path").is_none());
    let file = picture_of(&body);
    assert_eq!(
        decode(&file, &Limits::default()).unwrap().dimensions(),
        (800, 700)
    );
    let said = read_xmp(&file).unwrap();
    for part in [
        "compositeWithTrainedAlgorithmicMedia",
        "photog ",
        "beta",
        "77",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("anna"), "{said}");
}

#[test]
fn scores_credentials_and_a_copy_on_the_server_are_as_asked() {
    let home = Home::new();
    let (_, body) = home.run(&json!({
        "model_id": "anna", "template_image": template(800, 700),
        "configure": {"content_credentials": false, "save_image": true},
    }));
    assert!(body.get("face_scores").is_none());
    let file = picture_of(&body);
    assert_eq!(read_xmp(&file), None);
    let kept = home
        .folder
        .path()
        .join(body["output_path"].as_str().unwrap());
    assert_eq!(std::fs::read(kept).unwrap(), file);
}

#[test]
fn the_checkpoint_is_that_of_the_training_unless_the_request_names_one() {
    let home = Home::new();
    let request = |configure: Value| {
        json!({
            "model_ids": ["anna", "ben"], "template_image": template(1000, 600),
            "configure": configure,
        })
    };
    assert_eq!(home.run(&request(json!({}))).0.status, 200);
    let named = home.run(&request(json!({"sd_model_checkpoint": "alpha"})));
    assert_eq!(named.0.status, 200);
    let seen = home.brush.seen.lock().unwrap();
    let (first, second) = seen.split_at(5);
    assert!(first.iter().all(|pass| pass.checkpoint == "beta"));
    assert!(second.iter().all(|pass| pass.checkpoint == "alpha"));
    drop(seen);
    let (answer, body) = home.run(&request(json!({"sd_model_checkpoint": "gamma"})));
    assert_eq!(answer.problem, Some(Problem::BaseModelMissing));
    assert_eq!(body["message"], "bring a checkpoint");
}

#[test]
fn each_failure_has_its_code_and_says_what_to_do() {
    let home = Home::new();
    let one = template(800, 700);
    for (request, problem, part) in [
        (
            json!({"model_id": "carla", "template_image": one}),
            Problem::ModelNotFound,
            "`carla` is trained; train the person first",
        ),
        (
            json!({"model_id": "anna", "template_image": template(800, 600)}),
            Problem::NoFaceInTemplate,
            "no face was found in the template",
        ),
        (
            json!({"model_ids": ["anna", "ben"], "template_image": one}),
            Problem::FaceCountMismatch,
            "shows 1 face and the request names 2 persons",
        ),
        (
            json!({"model_id": "anna", "template_image": template(800, 512)}),
            Problem::ImageTooSmall,
            "800 x 512 pixels",
        ),
        (
            json!({"model_id": "anna", "template_image": "data:image/png;base64,AAAA"}),
            Problem::ImageDecodeFailed,
            "`template_image`",
        ),
        (
            json!({"model_id": "anna", "template_image": "ftp://x/y.jpg"}),
            Problem::ImageDownloadFailed,
            "`template_image`",
        ),
        (
            json!({"template_image": one}),
            Problem::InvalidParameter,
            "`model_id` is missing",
        ),
    ] {
        let (answer, body) = home.run(&request);
        assert_eq!(answer.problem, Some(problem), "{}", answer.message);
        assert_eq!(body["code"], problem.as_str());
        assert!(answer.message.contains(part), "{}", answer.message);
    }
    assert!(home.brush.seen.lock().unwrap().is_empty());
    let cancel = CancelToken::default();
    cancel.cancel(CancelReason::User);
    let (answer, _) = home.run_with(&json!({"model_id": "anna", "template_image": one}), cancel);
    assert_eq!(answer.problem, Some(Problem::Cancelled));
}

#[test]
fn a_picture_is_made_to_fit_the_output_queue_or_kept_where_it_does_not() {
    let mut home = Home::new();
    let request = json!({"model_id": "anna", "template_image": template(800, 700)});
    let whole = picture_of(&home.run(&request).1).len() as u64;
    home.result_bytes_max = whole * 4 / 3;
    let (answer, body) = home.run(&request);
    assert_eq!(answer.status, 200, "{}", answer.message);
    assert!(answer.body.len() as u64 <= home.result_bytes_max);
    assert!((picture_of(&body).len() as u64) < whole);
    home.result_bytes_max = 50_000;
    let (answer, body) = home.run(&request);
    assert_eq!(answer.problem, Some(Problem::ResultTooLarge));
    let kept = home
        .folder
        .path()
        .join(body["output_path"].as_str().unwrap());
    let kept = decode(&std::fs::read(kept).unwrap(), &Limits::default()).unwrap();
    assert_eq!(kept.dimensions(), (800, 700));
}

#[test]
fn a_lora_that_somebody_brought_has_no_face_to_begin_with() {
    let mut home = Home::new();
    home.brush = Arc::new(Brush {
        loras: vec!["stranger"],
        ..Brush::default()
    });
    let (answer, body) = home.run(&json!({
        "model_id": "stranger", "template_image": template(800, 700),
        "configure": {"display_score": true},
    }));
    assert_eq!(answer.status, 200, "{}", answer.message);
    assert_eq!(body["face_scores"], json!([null]));
    let warnings = body["warnings"].to_string();
    assert!(warnings.contains("no reference photo"), "{warnings}");
    let seen = home.brush.seen.lock().unwrap();
    assert!(
        seen[0]
            .prompt
            .starts_with("easyphoto_face, easyphoto, 1person, <lora:stranger:0.9>")
    );
}
