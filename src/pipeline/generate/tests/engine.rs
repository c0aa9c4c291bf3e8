//! The engine, as a slot runs it.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    super::{GenerateEngine, GenerateTask, Keep, infotext},
    fake::Fake,
};
use crate::{
    domain::{Problem, Tags},
    imaging::{Limits, decode, png_text::read_texts},
    job::{CancelReason, CancelToken, Finish, FinishToken, JobContext, ProgressSink, Steps},
    pipeline::{Answer, Engine, JobInput},
};

#[derive(Default)]
struct Sink(Mutex<Vec<(f64, String)>>);

impl ProgressSink for Sink {
    fn report(&self, fraction: f64, note: &str) {
        self.0.lock().unwrap().push((fraction, note.to_owned()));
    }
}

fn context(progress: Arc<dyn ProgressSink>) -> JobContext {
    JobContext {
        cancel: CancelToken::default(),
        finish: FinishToken::default(),
        deadline: Instant::now() + Duration::from_secs(60),
        progress,
        device: String::from("cpu"),
    }
}

fn run(body: &Value, context: &JobContext, keep: Option<Keep>) -> (Answer, Value) {
    let mut engine = GenerateEngine::new(Arc::new(Fake::new()));
    if let Some(keep) = keep {
        engine = engine.keeping(keep);
    }
    let input = JobInput {
        data: Bytes::from(body.to_string()),
        tags: Tags::default(),
    };
    let answer = engine.run(&input, context);
    let body = serde_json::from_slice(&answer.body).unwrap();
    (answer, body)
}

fn request(payload: &Value) -> Value {
    json!({"task": "txt2img", "payload": payload, "options": {"sd_model_checkpoint": "beta"}})
}

#[test]
fn the_answer_is_the_web_uis() {
    let sink = Arc::new(Sink::default());
    let payload = json!({"prompt": "x", "steps": 20, "width": 64, "height": 64, "seed": 1});
    let (answer, body) = run(&request(&payload), &context(sink.clone()), None);
    assert_eq!(answer.status, 200);
    let names: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(names, ["images", "parameters", "info"]);
    let file = BASE64_STANDARD
        .decode(body["images"][0].as_str().unwrap())
        .unwrap();
    assert_eq!(
        decode(&file, &Limits::default()).unwrap().dimensions(),
        (64, 64)
    );
    let text = &read_texts(&file)[0];
    assert_eq!(text.key, infotext::KEY);
    assert!(text.text.contains("Seed: 1") && text.text.contains("Model: beta"));
    let info: Value = serde_json::from_str(body["info"].as_str().unwrap()).unwrap();
    assert_eq!(info["infotexts"][0], text.text);
    let heard = sink.0.lock().unwrap();
    assert!(
        heard.iter().any(|(_, note)| note == "step 3 of 20"),
        "{heard:?}"
    );
}

#[test]
fn pictures_are_sent_and_kept_as_the_request_says() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    let keep: Keep = Arc::new(move |seed, file: &[u8]| {
        keep.lock().unwrap().push((seed, file.len()));
        Err(String::from("the disk is full"))
    });
    let payload = json!({
        "steps": 1, "width": 64, "height": 64, "seed": 6, "n_iter": 2, "send_images": false,
        "save_images": true,
    });
    let (_, body) = run(&request(&payload), &context(Arc::new(())), Some(keep));
    assert_eq!(body["images"], json!([]));
    let seeds: Vec<i64> = kept.lock().unwrap().iter().map(|(seed, _)| *seed).collect();
    assert_eq!(seeds, [6, 7]);
    assert!(body["info"].as_str().unwrap().contains("the disk is full"));
    let (_, body) = run(&request(&payload), &context(Arc::new(())), None);
    assert!(
        body["info"]
            .as_str()
            .unwrap()
            .contains("nothing is kept here")
    );
}

#[test]
fn failures_have_the_web_uis_status_and_our_code() {
    for (body, status, problem) in [
        (json!({"payload": {}}), 422, Problem::InvalidJson),
        (
            json!({"task": "x", "payload": {}}),
            422,
            Problem::InvalidJson,
        ),
        (
            request(&json!({"sampler_name": "x"})),
            404,
            Problem::InvalidParameter,
        ),
        (
            request(&json!({"steps": 0})),
            422,
            Problem::InvalidParameter,
        ),
        (
            json!({"task": "img2img", "payload": {"init_images": ["AAAA"]}}),
            422,
            Problem::ImageDecodeFailed,
        ),
    ] {
        let (answer, body) = run(&body, &context(Arc::new(())), None);
        assert_eq!(
            (answer.status, answer.problem),
            (status, Some(problem)),
            "{body}"
        );
        assert_eq!(body["message"], answer.message);
    }
}

#[test]
fn a_cancelled_job_ends_with_its_reason() {
    let context = context(Arc::new(()));
    context.cancel.cancel(CancelReason::User);
    let (answer, _) = run(&request(&json!({})), &context, None);
    assert_eq!(
        (answer.status, answer.problem),
        (499, Some(Problem::Cancelled))
    );
}

#[test]
fn running_work_is_counted_and_ends_early_when_it_is_asked_to() {
    #[derive(Default)]
    struct Wishing(FinishToken, Mutex<Steps>);
    impl ProgressSink for Wishing {
        fn count(&self, steps: Steps) {
            *self.1.lock().unwrap() = steps;
        }

        fn report(&self, _fraction: f64, note: &str) {
            if note == "step 4 of 50" {
                let steps = *self.1.lock().unwrap();
                assert_eq!((steps.step, steps.steps, steps.rounds), (3, 50, 5));
                // The first wish leaves out the rest of this picture, the second all others.
                let wish = [Finish::Round, Finish::Round, Finish::All];
                self.0.ask(wish[steps.round as usize]);
            }
        }
    }
    let sink = Arc::new(Wishing::default());
    let mut engine = GenerateEngine::new(Arc::new(Fake::new()));
    let body = request(&json!({"width": 64, "height": 64, "n_iter": 5}));
    let input = JobInput {
        data: Bytes::from(body.to_string()),
        tags: Tags::default(),
    };
    let context = JobContext {
        finish: sink.0.clone(),
        ..context(sink.clone())
    };
    let answer = engine.run(&input, &context);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["images"].as_array().unwrap().len(), 3);
    assert!(body["info"].as_str().unwrap().contains("interrupted"));
}

#[test]
fn a_task_travels_as_json() {
    let body = request(&json!({"steps": 3}));
    let task: GenerateTask = serde_json::from_value(body.clone()).unwrap();
    assert_eq!(serde_json::to_value(&task).unwrap(), body);
    assert_eq!(task.check(), Ok(()));
    let wrong: GenerateTask = serde_json::from_value(request(&json!({"steps": "many"}))).unwrap();
    assert!(wrong.check().is_err());
}
