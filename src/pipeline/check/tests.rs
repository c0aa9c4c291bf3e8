mod faces;
mod labelled;

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    observe::{Observation, Portrait},
    *,
};
use crate::{
    domain::{Problem, Tags},
    fetch::NetworkPolicy,
    imaging::{RgbImage, samples},
    job::{CancelReason, CancelToken, FinishToken, ProgressSink},
    models::{
        catalog::{Catalog, Role},
        face::{Bounds, Embedding, Face, Pose},
    },
    store::Mounts,
};

fn fetcher() -> Fetcher {
    Fetcher::new(Mounts::default(), NetworkPolicy::default())
}

fn context() -> JobContext {
    JobContext {
        cancel: CancelToken::default(),
        finish: FinishToken::default(),
        deadline: Instant::now() + Duration::from_secs(600),
        progress: Arc::new(()),
        device: String::from("cpu"),
    }
}

/// Finds in every photo what it was told.
#[derive(Clone)]
struct Told {
    seen: Observation,
    same_person: Option<f32>,
}

impl Observer for Told {
    fn observe(&self, _photo: &RgbImage) -> Result<Observation, ModelError> {
        Ok(self.seen.clone())
    }

    fn embed(&self, _photo: &RgbImage, _face: &Face) -> Result<Embedding, ModelError> {
        Ok(Embedding::new(vec![1.0, 0.0]).unwrap())
    }

    fn same_person(&self) -> Result<f32, ModelError> {
        self.same_person
            .ok_or_else(|| ModelError::missing(&Catalog::built_in(), Role::FaceEmbedding))
    }
}

impl FaceSource for Told {
    fn observer(&self) -> Result<Arc<dyn Observer>, ModelError> {
        Ok(Arc::new(self.clone()))
    }
}

/// One good face that fills every photo.
fn told() -> Told {
    let points = [
        [240.0, 250.0],
        [330.0, 250.0],
        [285.0, 300.0],
        [250.0, 350.0],
        [320.0, 350.0],
    ];
    let portrait = Portrait {
        face: Face {
            score: 0.9,
            bounds: Bounds {
                left: 0.0,
                top: 0.0,
                right: 4000.0,
                bottom: 4000.0,
            },
            points,
        },
        pose: Pose::of(&points),
        flaw: None,
    };
    Told {
        seen: Observation::Portrait(portrait),
        same_person: Some(0.5),
    }
}

fn run_with(faces: impl FaceSource + 'static, request: &Value) -> (Answer, Value) {
    run_of(faces, &context(), request)
}

fn run_in(context: &JobContext, request: &Value) -> (Answer, Value) {
    run_of(told(), context, request)
}

fn run_of(
    faces: impl FaceSource + 'static,
    context: &JobContext,
    request: &Value,
) -> (Answer, Value) {
    let input = JobInput {
        data: request.to_string().into(),
        tags: [("taskType", "query"), ("requestId", "q-1")]
            .into_iter()
            .collect::<Tags>(),
    };
    let answer = CheckEngine::new(fetcher(), Arc::new(faces)).run(&input, context);
    let body = serde_json::from_slice(&answer.body).unwrap();
    (answer, body)
}

fn run(request: &Value) -> (Answer, Value) {
    run_in(&context(), request)
}

fn data_url(bytes: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(bytes))
}

/// A file of few bytes, large enough to be judged.
fn plain_png() -> Vec<u8> {
    let picture = image::GrayImage::from_pixel(513, 513, [150].into());
    samples::encode(picture, image::ImageFormat::Png)
}

fn codes(body: &Value) -> Vec<u64> {
    body["check_results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["code"].as_u64().unwrap())
        .collect()
}

#[test]
fn each_photo_gets_its_verdict_in_order() {
    let jpeg = samples::jpeg(520, 600);
    let images = [
        data_url(&samples::png(513, 513)),
        data_url(&samples::jpeg(512, 900)),
        data_url(&jpeg[..jpeg.len() / 2]),
        String::from("http://127.0.0.1:1/a.jpg"),
        BASE64_STANDARD.encode(&jpeg),
        String::from("data:image/png;base64,"),
        String::from("nonsense"),
    ];
    let (answer, body) = run(&json!({"request_id": 7001, "images": images}));
    assert_eq!((answer.status, answer.problem), (200, None));
    assert_eq!(codes(&body), [1, 4, 3, 2, 1, 3, 2]);
    let told: Vec<_> = images.iter().map(|image| echo(image)).collect();
    assert_eq!(body["images"], json!(told));
    for (result, image) in body["check_results"].as_array().unwrap().iter().zip(&told) {
        assert_eq!(result["url"], **image);
        assert_eq!(result["frontal"], result["code"] == 1);
        assert_eq!(result.as_object().unwrap().len(), 4);
    }
}

#[test]
fn a_result_has_exactly_the_members_of_the_specification() {
    let image = data_url(&plain_png());
    assert!(image.len() < ECHO_BYTES_MAX);
    let (_, mut body) = run(&json!({"request_id": 7001, "images": [image]}));
    assert!(body["cost_time"].as_f64().unwrap() >= 0.0);
    body["cost_time"] = json!(0.0);
    assert_eq!(
        body,
        json!({
            "request_id": 7001,
            "code": "OK",
            "message": "success",
            "images": [image],
            "check_results": [
                {"url": image, "code": 1, "frontal": true, "message": "success"}],
            "same_person": null,
            "cost_time": 0.0,
            "warnings": [],
        })
    );
}

#[test]
fn pictures_that_are_their_own_address_are_not_repeated_whole() {
    let noise = RgbImage::from_fn(1300, 1300, |x, y| {
        let bits = (x * 7919 + y * 104_729).wrapping_mul(2_654_435_761) >> 8;
        [bits as u8, (bits >> 8) as u8, (bits >> 16) as u8].into()
    });
    let photo = data_url(&samples::encode(noise, image::ImageFormat::Png));
    let longest = "a".repeat(ECHO_BYTES_MAX);
    assert!(photo.len() > 5_000_000);
    let (answer, body) = run(&json!({"images": [photo, longest, photo]}));
    // Both places together have to fit into a sink of 20 MiB.
    assert!(answer.body.len() < 20_000, "{}", answer.body.len());
    assert_eq!(codes(&body), [1, 2, 1]);
    let told = body["images"][0].as_str().unwrap();
    assert!(told.starts_with("data:image/jpeg;base64,iVBOR") && told.ends_with('…'));
    assert_eq!(body["images"][1], longest);
    for (result, image) in std::iter::zip(
        body["check_results"].as_array().unwrap(),
        body["images"].as_array().unwrap(),
    ) {
        assert_eq!(result["url"], *image);
    }
}

#[test]
fn warnings_say_why_a_photo_failed_without_repeating_its_address() {
    let (_, body) =
        run(&json!({"images": ["http://127.0.0.1:1/anna.jpg", data_url(&samples::png(3, 4))]}));
    let warnings = body["warnings"].to_string();
    assert!(warnings.contains("images[0]: `127.0.0.1` is not on the public internet"));
    assert!(warnings.contains("images[1]: 3 x 4 pixels"));
    assert!(!warnings.contains("anna"));
}

#[test]
fn options_are_read_and_unknown_ones_are_named() {
    let photo = data_url(&samples::png(600, 600));
    let answer = |configure: Value| {
        let (answer, body) = run(&json!({"images": [photo, photo], "configure": configure}));
        assert_eq!(answer.status, 200);
        (body["same_person"].clone(), body["warnings"].to_string())
    };
    let asks = |configure| answer(configure).0 == json!(true);
    assert!(!asks(json!({})));
    assert!(!asks(Value::Null));
    assert!(!asks(json!({"face_reconize": null})));
    assert!(asks(json!({"face_reconize": true})));
    assert!(asks(json!({"face_recognize": true})));
    assert!(asks(
        json!({"face_reconize": true, "face_recognize": false})
    ));
    assert!(!asks(
        json!({"face_reconize": false, "face_recognize": true})
    ));
    let warnings = |configure: Value| answer(configure).1;
    assert!(warnings(json!({"face_reconize": false, "face_recognize": true})).contains("differ"));
    assert!(!warnings(json!({"face_reconize": true, "face_recognize": true})).contains("differ"));
    let unknown = warnings(json!({"sharpness": 1, "ä".repeat(101): 2}));
    assert!(unknown.contains("`configure.sharpness` is not known"));
    assert!(unknown.contains("…` is not known"));
    let many: serde_json::Map<_, _> = (0..50).map(|at| (format!("o{at}"), json!(at))).collect();
    assert!(warnings(many.into()).contains("30 more members"));
}

#[test]
fn a_wrong_request_is_refused_with_the_member_named() {
    let cases = [
        (json!({"request_id": 5}), "`images` is missing"),
        (
            json!({"request_id": 5, "images": null}),
            "`images` is missing",
        ),
        (
            json!({"request_id": 5, "images": "a"}),
            "`images` is missing or no array",
        ),
        (
            json!({"request_id": 5, "images": []}),
            "`images` has 0 elements",
        ),
        (
            json!({"request_id": 5, "images": vec!["a"; 101]}),
            "`images` has 101 elements",
        ),
        (json!({"request_id": 5, "images": ["a", 1]}), "`images[1]`"),
        (
            json!({"request_id": 5, "images": ["a"], "configure": []}),
            "`configure`",
        ),
        (
            json!({"request_id": 5, "images": ["a"], "configure": {"face_reconize": 1}}),
            "`configure.face_reconize`",
        ),
        (
            json!({"request_id": 5, "images": ["a"], "configure": {"face_recognize": "true"}}),
            "`configure.face_recognize`",
        ),
    ];
    for (request, text) in cases {
        let (answer, body) = run(&request);
        assert_eq!(
            (answer.status, body["code"].as_str()),
            (400, Some("INVALID_PARAMETER"))
        );
        assert_eq!(body["request_id"], 5);
        assert!(answer.message.contains(text), "{}", answer.message);
        assert_eq!(body.as_object().unwrap().len(), 4);
    }
}

#[test]
fn members_of_the_hosted_form_are_accepted_and_ignored() {
    let (answer, body) =
        run(&json!({"images": ["x"], "model_name": "", "action": "AIGCImageCheck"}));
    assert_eq!(answer.status, 200);
    assert!(uuid::Uuid::parse_str(body["request_id"].as_str().unwrap()).is_ok());
}

#[test]
fn a_hundred_photos_are_judged() {
    let image = data_url(&samples::png(20, 20));
    let (_, body) = run(&json!({"images": vec![image; 100]}));
    assert_eq!(codes(&body), [4; 100]);
}

#[test]
fn a_job_that_has_to_stop_answers_with_the_reason() {
    for (reason, problem) in [
        (CancelReason::User, Problem::Cancelled),
        (CancelReason::Deadline, Problem::Timeout),
        (CancelReason::Shutdown, Problem::Interrupted),
    ] {
        let context = context();
        context.cancel.cancel(reason);
        let (answer, body) = run_in(&context, &json!({"request_id": "a", "images": ["x"]}));
        assert_eq!(answer.problem, Some(problem));
        assert_eq!(body["code"], problem.as_str());
        assert_eq!(body["request_id"], "a");
    }
}

#[derive(Default)]
struct Notes(Mutex<Vec<(f64, String)>>);

impl ProgressSink for Notes {
    fn report(&self, fraction: f64, note: &str) {
        self.0.lock().unwrap().push((fraction, note.to_owned()));
    }
}

#[test]
fn progress_is_told_after_each_photo() {
    let notes = Arc::new(Notes::default());
    let context = JobContext {
        progress: notes.clone(),
        ..context()
    };
    run_in(&context, &json!({"images": ["x", "y"]}));
    let told = notes.0.lock().unwrap().clone();
    assert_eq!(
        told,
        [(0.5, "photo 1 of 2".into()), (1.0, "photo 2 of 2".into())]
    );
}

#[test]
fn files_and_bytes_of_the_operator_are_judged_like_addresses() {
    let home = tempfile::tempdir().unwrap();
    let good = home.path().join("photo.webp");
    fs::write(&good, samples::jpeg(600, 700)).unwrap();
    let missing = home.path().join("missing.jpg");
    let small = samples::png(10, 600);
    let sources = [
        PhotoSource::Path(&good),
        PhotoSource::Path(&missing),
        PhotoSource::Path(home.path()),
        PhotoSource::Address("nonsense"),
        PhotoSource::Bytes(&small),
        PhotoSource::Bytes(b""),
    ];
    let reports = judge_photos(&sources, false, &fetcher(), &told(), &context())
        .unwrap()
        .reports;
    let verdicts: Vec<_> = reports.iter().map(|report| report.verdict).collect();
    assert_eq!(
        verdicts,
        [
            Verdict::Success,
            Verdict::DownloadFailed,
            Verdict::DownloadFailed,
            Verdict::DownloadFailed,
            Verdict::TooSmall,
            Verdict::DecodeFailed,
        ]
    );
    assert_eq!(reports[0].size, Some((600, 700)));
    assert!(
        reports
            .iter()
            .all(|report| { report.detail.is_none() == (report.verdict == Verdict::Success) })
    );
}
