//! The rules about faces, with made-up faces.

use super::{super::observe::Defect, *};
use crate::{
    models::{
        backend::Device,
        face::Flaw,
        shelf::Shelf,
        supply::{self, PackRule, Supply},
    },
    pack::Pack,
};

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
    let faces = |count| Observation::Faces(vec![Face::default(); count]);
    assert_eq!((code(&faces(0)), code(&faces(2))), (5, 6));
    let face = |width: f32, height: f32, flaw: Option<Defect>| {
        let mut seen = told().seen;
        if let Observation::Portrait(portrait) = &mut seen {
            portrait.flaw = flaw;
            portrait.face.bounds = Bounds {
                left: 10.0,
                top: 10.0,
                right: 10.0 + width,
                bottom: 10.0 + height,
            };
        }
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
fn what_a_face_looks_to_is_said_apart_from_the_verdict() {
    // The nose stands over the eye on the left: a face from the side.
    let points = [
        [240.0, 250.0],
        [330.0, 250.0],
        [230.0, 300.0],
        [250.0, 350.0],
        [320.0, 350.0],
    ];
    let photo = data_url(&samples::png(600, 600));
    for flaw in [None, Some(Defect::Measured(Flaw::Dark))] {
        for (pose, frontal) in [(Pose::of(&points), false), (Pose::default(), true)] {
            let mut told = told();
            if let Observation::Portrait(portrait) = &mut told.seen {
                (portrait.pose, portrait.flaw) = (pose, flaw);
            }
            let (_, body) = run_with(told, &json!({"images": [photo]}));
            let result = &body["check_results"][0];
            assert_eq!(result["frontal"], frontal);
            assert_eq!(result["code"], if flaw.is_none() { 1 } else { 8 });
        }
    }
}

/// Sees another person in each photo whose upper left pixel is another.
#[derive(Clone)]
struct ByColour;

impl Observer for ByColour {
    fn observe(&self, _photo: &RgbImage) -> Result<Observation, ModelError> {
        Ok(told().seen)
    }

    fn embed(&self, photo: &RgbImage, _face: &Face) -> Result<Embedding, ModelError> {
        let numbers = photo.get_pixel(0, 0).0.map(f32::from);
        Ok(Embedding::new(numbers.to_vec()).unwrap())
    }

    fn same_person(&self) -> Result<f32, ModelError> {
        Ok(0.5)
    }
}

#[test]
fn the_photo_of_somebody_else_gets_the_verdict_nine() {
    let photo = |colour: [u8; 3]| {
        let picture = RgbImage::from_pixel(600, 600, colour.into());
        samples::encode(picture, image::ImageFormat::Png)
    };
    let [red, dark_red, green] = [[200, 10, 0], [150, 0, 9], [0, 180, 0]].map(photo);
    let small = samples::png(100, 100);
    let judge = |photos: &[&[u8]], same_person: bool| {
        let sources: Vec<_> = photos.iter().map(|file| PhotoSource::Bytes(file)).collect();
        let judgement =
            judge_photos(&sources, same_person, &fetcher(), &ByColour, &context()).unwrap();
        let codes: Vec<u8> = judgement
            .reports
            .iter()
            .map(|report| report.verdict.code())
            .collect();
        (codes, judgement.same_person)
    };
    assert_eq!(
        judge(&[&red, &green, &small, &dark_red], true),
        (vec![1, 9, 4, 1], Some(false))
    );
    assert_eq!(
        judge(&[&red, &small, &dark_red], true),
        (vec![1, 4, 1], Some(true))
    );
    assert_eq!(judge(&[&red, &small], true), (vec![1, 4], None));
    assert_eq!(judge(&[&red, &green], false), (vec![1, 1], None));
}

/// Fails at every photo, either when it looks at it or when it describes its face.
struct Failing {
    sees: bool,
}

fn failure() -> ModelError {
    ModelError::Run {
        file: String::from("a.onnx"),
        reason: String::from("of a reason"),
    }
}

impl Observer for Failing {
    fn observe(&self, _photo: &RgbImage) -> Result<Observation, ModelError> {
        self.sees.then(|| told().seen).ok_or_else(failure)
    }

    fn embed(&self, _photo: &RgbImage, _face: &Face) -> Result<Embedding, ModelError> {
        Err(failure())
    }

    fn same_person(&self) -> Result<f32, ModelError> {
        Ok(0.5)
    }
}

#[test]
fn a_network_that_fails_costs_its_photo_only() {
    let (good, small) = (samples::png(600, 600), samples::png(10, 10));
    let sources = [PhotoSource::Bytes(&good), PhotoSource::Bytes(&small)];
    let verdicts = |sees: bool, same_person: bool| {
        let observer = Failing { sees };
        let judged = judge_photos(&sources, same_person, &fetcher(), &observer, &context());
        let reports = judged.unwrap().reports;
        let detail = reports[0].detail.clone().unwrap_or_default();
        assert_eq!(
            detail.contains("a.onnx failed"),
            reports[0].verdict == Verdict::InternalError
        );
        [reports[0].verdict, reports[1].verdict]
    };
    let failed = [Verdict::InternalError, Verdict::TooSmall];
    assert_eq!(verdicts(false, false), failed);
    assert_eq!(verdicts(true, true), failed);
    // A network that is not asked does not matter.
    assert_eq!(verdicts(true, false), [Verdict::Success, Verdict::TooSmall]);
}

#[test]
fn a_photo_whose_pixels_take_too_long_is_given_up() {
    let photo = samples::jpeg(600, 600);
    let judge = |time| {
        judge::judge(&photo, &told(), false, time, &context())
            .unwrap()
            .0
            .report
    };
    assert_eq!(judge(Duration::from_secs(600)).verdict, Verdict::Success);
    let late = judge(Duration::ZERO);
    assert_eq!(
        (late.verdict, late.size),
        (Verdict::InternalError, Some((600, 600)))
    );
    let detail = late.detail.unwrap();
    assert!(detail.contains("send a smaller photo"), "{detail}");
}

/// Tells the job to stop while it looks at its first photo.
struct Stopping(JobContext);

impl Observer for Stopping {
    fn observe(&self, _photo: &RgbImage) -> Result<Observation, ModelError> {
        self.0.checkpoint().expect("a stopped job looks at nothing");
        self.0.cancel.cancel(CancelReason::User);
        Ok(told().seen)
    }

    fn embed(&self, _photo: &RgbImage, _face: &Face) -> Result<Embedding, ModelError> {
        panic!("nothing is compared here")
    }

    fn same_person(&self) -> Result<f32, ModelError> {
        Ok(0.5)
    }
}

#[test]
fn a_stop_is_heard_between_the_steps() {
    let photo = samples::png(600, 600);
    let context = context();
    let observer = Stopping(context.clone());
    let sources = [PhotoSource::Bytes(&photo); 3];
    let judged = judge_photos(&sources, false, &fetcher(), &observer, &context);
    assert_eq!(judged.unwrap_err(), CancelReason::User);
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
fn what_a_pack_has_judged_is_said_to_be_so() {
    let home = tempfile::tempdir().unwrap();
    let supply = Supply::new(home.path(), PackRule::Always(Pack::Demo));
    let shelf = Shelf::new(supply, Device::Cpu);
    let photo = data_url(&samples::png(600, 600));
    let (_, body) = run_with(shelf, &json!({"images": [photo]}));
    assert_eq!(body["code"], "OK", "{body}");
    assert_eq!(body["warnings"][0], supply::notice(Pack::Demo));
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
    assert!(
        refused.message.contains("face-embedding"),
        "{}",
        refused.message
    );
}
