use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::observe::{Defect, Observation, Portrait};
use super::*;
use crate::{
    domain::{Problem, Tags},
    fetch::NetworkPolicy,
    imaging::{RgbImage, samples},
    job::{CancelReason, CancelToken, ProgressSink},
    models::{
        backend::Device,
        face::{Bounds, Embedding, Flaw, Pose},
        shelf::Shelf,
    },
    store::Mounts,
};

fn fetcher() -> Fetcher {
    Fetcher::new(Mounts::default(), NetworkPolicy::default())
}

fn context() -> JobContext {
    JobContext {
        cancel: CancelToken::default(),
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

    fn same_person(&self) -> Option<f32> {
        self.same_person
    }
}

impl FaceSource for Told {
    fn observer(&self) -> Result<Arc<dyn Observer>, ModelError> {
        Ok(Arc::new(self.clone()))
    }
}

/// One good face that fills every photo.
fn told() -> Told {
    let points = [[240.0, 250.0], [330.0, 250.0], [285.0, 300.0], [250.0, 350.0], [320.0, 350.0]];
    let portrait = Portrait {
        bounds: Bounds {
            left: 0.0,
            top: 0.0,
            right: 4000.0,
            bottom: 4000.0,
        },
        pose: Pose::of(&points),
        flaw: None,
        embedding: Embedding::new(vec![1.0, 0.0]),
    };
    Told {
        seen: Observation {
            count: 1,
            portrait: Some(portrait),
        },
        same_person: Some(0.5),
    }
}

fn run_in(context: &JobContext, request: &Value) -> (Answer, Value) {
    let input = JobInput {
        data: request.to_string().into(),
        tags: [("taskType", "query"), ("requestId", "q-1")]
            .into_iter()
            .collect::<Tags>(),
    };
    let answer = CheckEngine::new(fetcher(), Arc::new(told())).run(&input, context);
    let body = serde_json::from_slice(&answer.body).unwrap();
    (answer, body)
}

fn run(request: &Value) -> (Answer, Value) {
    run_in(&context(), request)
}

fn data_url(bytes: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(bytes))
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
    assert_eq!(body["images"], json!(images));
    for (result, image) in body["check_results"]
        .as_array()
        .unwrap()
        .iter()
        .zip(&images)
    {
        assert_eq!(result["url"], *image);
        assert_eq!(result["frontal"], result["code"] == 1);
        assert_eq!(result.as_object().unwrap().len(), 4);
    }
}

#[test]
fn a_result_has_exactly_the_members_of_the_specification() {
    let image = data_url(&samples::png(513, 600));
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
fn a_photo_that_comes_twice_is_a_warning() {
    let photo = data_url(&samples::png(600, 600));
    let (_, body) = run(&json!({"images": [photo, "nonsense", photo]}));
    assert_eq!(codes(&body), [1, 2, 1]);
    let warnings = body["warnings"].to_string();
    assert!(
        warnings.contains("images[2] is the same shot as images[0]"),
        "{warnings}"
    );
}

#[test]
fn the_rules_about_a_face_have_their_order() {
    let size = (1000, 1600);
    let code = |seen: &Observation| {
        let (verdict, detail) = judge::face_verdict(size, seen);
        assert_eq!(detail.is_none(), verdict == Verdict::Success);
        verdict.code()
    };
    let none = |count| Observation {
        count,
        portrait: None,
    };
    assert_eq!((code(&none(0)), code(&none(2))), (5, 6));
    let face = |width: f32, height: f32, flaw: Option<Defect>| {
        let mut seen = told().seen;
        let portrait = seen.portrait.as_mut().unwrap();
        portrait.flaw = flaw;
        portrait.bounds = Bounds {
            left: 10.0,
            top: 10.0,
            right: 10.0 + width,
            bottom: 10.0 + height,
        };
        seen
    };
    let blurred = Some(Defect::Measured(Flaw::Blurred));
    assert_eq!(code(&face(125.0, 200.0, None)), 1);
    assert_eq!(code(&face(124.0, 200.0, blurred)), 7);
    assert_eq!(code(&face(125.0, 199.0, None)), 7);
    assert_eq!(code(&face(125.0, 200.0, blurred)), 8);
    assert_eq!(code(&face(125.0, 200.0, Some(Defect::Rated(0.2, 0.45)))), 8);
}

#[test]
fn without_a_network_the_answer_says_what_is_missing() {
    let home = tempfile::tempdir().unwrap();
    let shelf = Arc::new(Shelf::new(home.path(), Device::Cpu));
    let ask = |request: Value| {
        let input = JobInput {
            data: request.to_string().into(),
            tags: Tags::default(),
        };
        CheckEngine::new(fetcher(), shelf.clone()).run(&input, &context())
    };
    let answer = ask(json!({"request_id": 4, "images": ["x"]}));
    assert_eq!(
        (answer.status, answer.problem),
        (503, Some(Problem::BaseModelMissing))
    );
    for part in ["face-detector", "webui/models/photog", "photog models"] {
        assert!(answer.message.contains(part), "{}", answer.message);
    }
    // A request that is wrong anyway hears that first.
    assert_eq!(ask(json!({})).problem, Some(Problem::InvalidParameter));
}

#[test]
fn persons_cannot_be_compared_without_a_network_for_it() {
    let faces = Told {
        same_person: None,
        ..told()
    };
    let photo = data_url(&samples::png(600, 600));
    let ask = |face_reconize: bool| {
        let configure = json!({"face_reconize": face_reconize});
        let request = json!({"images": [photo], "configure": configure});
        let input = JobInput {
            data: request.to_string().into(),
            tags: Tags::default(),
        };
        CheckEngine::new(fetcher(), Arc::new(faces.clone())).run(&input, &context())
    };
    assert_eq!(ask(false).status, 200);
    let refused = ask(true);
    assert_eq!(refused.problem, Some(Problem::BaseModelMissing));
    assert!(refused.message.contains("face-embedding"), "{}", refused.message);
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

#[test]
fn the_files_of_the_shared_photos_get_their_verdicts() {
    let Some(photos) = samples::shared_photos("the_files_of_the_shared_photos_get_their_verdicts") else {
        return;
    };
    // Width or height of most is exactly 512, which is not above 512.
    let unreadable = [
        "empty.jpg",
        "header_only.jpg",
        "not_an_image.jpg",
        "photo.bmp",
        "photo.webp",
        "truncated.jpg",
    ];
    let mut files: Vec<_> = fs::read_dir(photos.join("derived"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 30);
    let sources: Vec<_> = files.iter().map(|file| PhotoSource::Path(file)).collect();
    let reports = judge_photos(&sources, false, &fetcher(), &told(), &context())
        .unwrap()
        .reports;
    for (file, report) in files.iter().zip(reports) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let expected = match name {
            name if unreadable.contains(&name) => Verdict::DecodeFailed,
            "twice.jpg" => Verdict::Success,
            _ => Verdict::TooSmall,
        };
        assert_eq!(report.verdict, expected, "{name}");
    }
}

#[test]
fn large_real_photos_are_judged_fit() {
    let Some(photos) = samples::shared_photos("large_real_photos_are_judged_fit") else {
        return;
    };
    let files: Vec<_> = ["p01/01.jpg", "p02/01.jpg", "p03/02.jpg", "p05/07.jpg"]
        .map(|name| photos.join("persons").join(name))
        .into();
    let sources: Vec<_> = files.iter().map(|file| PhotoSource::Path(file)).collect();
    let codes: Vec<_> = judge_photos(&sources, false, &fetcher(), &told(), &context())
        .unwrap()
        .reports
        .iter()
        .map(|report| report.verdict.code())
        .collect();
    assert_eq!(codes, [1, 1, 1, 4]);
}
