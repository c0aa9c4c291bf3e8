//! The service as its clients meet it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::{Problem, Tags},
    job::CancelReason,
    pipeline::{Answer, Engine as _, JobInput},
};

fn address(photo: &[u8]) -> String {
    format!("data:image/png;base64,{}", BASE64_STANDARD.encode(photo))
}

/// A request with few steps.
fn request(photos: &[Vec<u8>]) -> Value {
    json!({
        "request_id": 12,
        "images": photos.iter().map(|photo| address(photo)).collect::<Vec<_>>(),
        "model_id": "anna",
        "configure": {
            "resolution": SMALL, "max_train_steps": 4, "val_and_checkpointing_steps": 2,
            "background": "keep",
        },
    })
}

fn answer_in(
    context: &JobContext,
    bench: &Bench,
    models: &MadeUp,
    job: &str,
    request: &Value,
) -> (Answer, Value) {
    let input = JobInput {
        data: request.to_string().into(),
        tags: [("taskType", "query"), ("requestId", job)]
            .into_iter()
            .collect::<Tags>(),
    };
    let models = Arc::new(models.clone());
    let people = bench.people.clone();
    let mut engine = TrainEngine::new(fetcher(), Arc::new(Eyes), models, people);
    let answer = engine.run(&input, context);
    let body = serde_json::from_slice(&answer.body).unwrap();
    (answer, body)
}

fn answer(bench: &Bench, models: &MadeUp, job: &str, request: &Value) -> (Answer, Value) {
    answer_in(&context(), bench, models, job, request)
}

#[test]
fn a_result_has_the_members_of_the_interface() {
    let bench = Bench::new();
    let request = request(&photos(2));
    let (answer, body) = answer(&bench, &MadeUp::default(), "job-1", &request);
    assert_eq!((answer.status, answer.problem), (200, None));
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    let known = [
        "request_id",
        "code",
        "message",
        "model_id",
        "images",
        "model_path",
        "ref_image",
        "used_images",
        "train_steps",
        "score",
        "photos",
        "cost_time",
        "warnings",
    ];
    assert_eq!(members, known);
    assert_eq!(body["request_id"], 12);
    assert_eq!(
        (&body["code"], &body["message"]),
        (&json!("OK"), &json!("success"))
    );
    assert_eq!(body["model_id"], "anna");
    // Addresses that hold a whole picture are not sent back in full.
    let images = body["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    assert!(
        images
            .iter()
            .all(|image| image.as_str().unwrap().len() < 1000)
    );
    for (member, below) in [
        ("model_path", "webui/models/Lora/anna/anna.safetensors"),
        ("ref_image", "photog/user_images/anna/ref_image.jpg"),
    ] {
        assert_eq!(body[member], below);
        assert!(bench.path(below).is_file());
    }
    assert_eq!(
        (&body["used_images"], &body["train_steps"]),
        (&json!(2), &json!(4))
    );
    assert!(body["score"].as_f64().unwrap() > 0.999);
    assert_eq!(body["photos"].as_array().unwrap().len(), 2);
    assert!(body["cost_time"].as_f64().unwrap() >= 0.0);
    assert!(body["warnings"].to_string().contains("only 2 photos"));
}

#[test]
fn a_job_that_is_handed_out_again_after_it_was_done_answers_with_the_same_person() {
    let bench = Bench::new();
    let models = MadeUp::default();
    let request = request(&photos(2));
    let (_, mut first) = answer(&bench, &models, "job-1", &request);
    let (again, mut second) = answer(&bench, &models, "job-1", &request);
    assert_eq!(again.status, 200);
    for body in [&mut first, &mut second] {
        body["cost_time"].take();
    }
    assert_eq!(first, second);
    assert_eq!(models.log.lock().unwrap().trainings.len(), 1);
    // Another job with the same request is not it.
    let (other, body) = answer(&bench, &models, "job-2", &request);
    assert_eq!(other.problem, Some(Problem::ModelAlreadyExists));
    assert_eq!(body["code"], "MODEL_ALREADY_EXISTS");
}

#[test]
fn a_job_that_is_handed_out_again_after_a_stop_goes_on() {
    let bench = Bench::new();
    let request = request(&photos(2));
    let context = context();
    let cancel = context.cancel.clone();
    let stopped = MadeUp::new(move |step, _| {
        if step == 3 {
            cancel.cancel(CancelReason::Shutdown);
        }
        loss(0.5)
    });
    let (first, _) = answer_in(&context, &bench, &stopped, "job-1", &request);
    assert_eq!(first.problem, Some(Problem::Interrupted));
    let models = MadeUp::default();
    // The id of a request is its sender's affair.
    let mut again = request.clone();
    again["request_id"] = json!("another");
    let (second, body) = answer(&bench, &models, "job-1", &again);
    assert_eq!(second.status, 200);
    assert_eq!(
        (&body["train_steps"], models.numbers_of_steps()),
        (&json!(4), vec![4])
    );
}

#[test]
fn a_failure_that_photos_are_to_blame_for_tells_of_each() {
    let bench = Bench::new();
    let request = request(&[photo(NOBODY, 1), samples::png(20, 20)]);
    let (answer, body) = answer(&bench, &MadeUp::default(), "job-1", &request);
    assert_eq!(answer.problem, Some(Problem::NoUsableImage));
    assert_eq!(body["code"], "NO_USABLE_IMAGE");
    assert_eq!(body["request_id"], 12);
    let photos = body["photos"].as_array().unwrap();
    assert_eq!(
        (&photos[0]["fate"], &photos[0]["reason"]),
        (&json!("left_out"), &json!("no_face"))
    );
    assert_eq!(photos[1]["reason"], "too_small");
    assert_eq!(photos[1]["photo"], 1);
    bench.has_nothing();
}

#[test]
fn a_failure_of_the_steps_has_a_code_and_says_what_to_do() {
    let bench = Bench::new();
    let models = MadeUp::new(|_, _| loss(f64::NAN));
    let (answer, body) = answer(&bench, &models, "job-1", &request(&photos(2)));
    assert_eq!(answer.problem, Some(Problem::TrainingFailed));
    assert!(body["message"].as_str().unwrap().contains("learning_rate"));
    assert_eq!(body.get("photos"), None);
    bench.has_nothing();
}

#[test]
fn options_that_cannot_be_used_are_named_before_a_photo_is_looked_at() {
    let bench = Bench::new();
    let mut request = request(&[]);
    request["images"] = json!(["http://nowhere.invalid/a.jpg"]);
    request["configure"]["rank"] = json!("many");
    let (answer, body) = answer(&bench, &MadeUp::default(), "job-1", &request);
    assert_eq!(answer.problem, Some(Problem::InvalidParameter));
    assert!(body["message"].as_str().unwrap().contains("rank"));
    bench.has_nothing();
}

#[test]
fn a_checkpoint_that_is_not_there_is_named() {
    let bench = Bench::new();
    let mut request = request(&photos(1));
    request["configure"]["sd_model_checkpoint"] = json!("another");
    let (answer, _) = answer(&bench, &MadeUp::default(), "job-1", &request);
    assert_eq!(answer.problem, Some(Problem::BaseModelMissing));
    bench.has_nothing();
}

#[test]
fn overwriting_is_asked_for_in_the_options() {
    let bench = Bench::new();
    let models = MadeUp::default();
    let mut request = request(&photos(1));
    assert_eq!(answer(&bench, &models, "job-1", &request).0.status, 200);
    request["configure"]["overwrite"] = json!(true);
    request["configure"]["max_train_steps"] = json!(2);
    let (answer, body) = answer(&bench, &models, "job-2", &request);
    assert_eq!((answer.status, &body["train_steps"]), (200, &json!(2)));
    assert_eq!(
        bench.people.get(&anna()).unwrap().job.as_deref(),
        Some("job-2")
    );
}

#[test]
fn templates_of_the_operator_are_taken_from_their_folder() {
    let bench = Bench::new();
    let folder = bench.path("photog/templates");
    fs::create_dir_all(&folder).unwrap();
    for name in ["a.png", "b.png", "c.png"] {
        fs::write(folder.join(name), photo(BEN, 5)).unwrap();
    }
    fs::write(folder.join("notes.txt"), "no picture").unwrap();
    let models = MadeUp::default();
    answer(&bench, &models, "job-1", &request(&photos(1)));
    let pictures = models.log.lock().unwrap().pictures.clone();
    assert_eq!(pictures, [(2, 3), (4, 3)]);
}

#[test]
fn who_names_nobody_gets_a_new_person_and_the_same_job_the_same_one() {
    let bench = Bench::new();
    let mut request = request(&photos(1));
    request.as_object_mut().unwrap().remove("model_id");
    let models = MadeUp::default();
    let id = |job: &str| {
        let (_, body) = answer(&bench, &models, job, &request);
        body["model_id"].as_str().unwrap().to_owned()
    };
    let first = id("job-1");
    assert!(uuid::Uuid::parse_str(&first).is_ok(), "{first}");
    assert_eq!(id("job-1"), first);
    assert_ne!(id("job-2"), first);
    assert_eq!(bench.people.list().unwrap().people.len(), 2);
    assert_eq!(models.log.lock().unwrap().trainings.len(), 2);
}
