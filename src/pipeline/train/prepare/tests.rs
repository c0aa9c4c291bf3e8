mod demo_pack;
mod real_photos;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::json;

use super::*;
use crate::{
    fetch::NetworkPolicy,
    imaging::{self, samples},
    job::{CancelReason, CancelToken, FinishToken, ProgressSink},
    models::{
        ModelError,
        catalog::{Catalog, Role},
        face::Bounds,
    },
    pipeline::check::{Observation, Portrait},
    store::Mounts,
};

/// Side of the photos, in pixels.
const PHOTO_SIDE: u32 = 600;
/// The box of every face.
const BOUNDS: [f32; 4] = [220.0, 200.0, 340.0, 360.0];

fn context() -> JobContext {
    JobContext {
        cancel: CancelToken::default(),
        finish: FinishToken::default(),
        deadline: Instant::now() + Duration::from_secs(600),
        progress: Arc::new(()),
        device: String::from("cpu"),
    }
}

/// Sees in each photo the face that its first pixel tells of: nobody if it is black; else its red and
/// green are the direction of the person.
#[derive(Default)]
struct Marks {
    compares: bool,
    /// How many photos it saw.
    seen: Mutex<usize>,
    /// Stops the job at the photo with this number, from 1 on.
    stops: Option<(usize, JobContext)>,
}

fn seen_face() -> Face {
    let [left, top, right, bottom] = BOUNDS;
    Face {
        score: 0.9,
        bounds: Bounds {
            left,
            top,
            right,
            bottom,
        },
        points: [
            [250.0, 260.0],
            [310.0, 260.0],
            [280.0, 296.0],
            [256.0, 320.0],
            [304.0, 320.0],
        ],
    }
}

impl Observer for Marks {
    fn observe(&self, photo: &RgbImage) -> Result<Observation, ModelError> {
        let mut seen = self.seen.lock().unwrap();
        *seen += 1;
        if let Some((_, context)) = self.stops.as_ref().filter(|(at, _)| *at == *seen) {
            context.cancel.cancel(CancelReason::User);
        }
        if photo.get_pixel(0, 0).0 == [0; 3] {
            return Ok(Observation::Faces(Vec::new()));
        }
        let face = seen_face();
        Ok(Observation::Portrait(Portrait {
            face,
            pose: Pose::of(&face.points),
            flaw: None,
        }))
    }

    fn embed(&self, photo: &RgbImage, _face: &Face) -> Result<Embedding, ModelError> {
        let [red, green, _] = photo.get_pixel(0, 0).0.map(f32::from);
        Ok(Embedding::new(vec![red, green]).unwrap())
    }

    fn same_person(&self) -> Result<f32, ModelError> {
        let missing = || ModelError::missing(&Catalog::built_in(), Role::FaceEmbedding);
        self.compares.then_some(0.5).ok_or_else(missing)
    }

    fn notice(&self) -> Option<&'static str> {
        Some("made-up eyes")
    }
}

fn marks() -> Marks {
    Marks {
        compares: true,
        ..Marks::default()
    }
}

/// A photo of this person, unlike any with another seed.
fn photo(person: [u8; 2], seed: u32) -> Vec<u8> {
    let mut picture = RgbImage::from_fn(PHOTO_SIDE, PHOTO_SIDE, |x, y| {
        let block = (x / 60 + 10 * (y / 60) + 101 * seed).wrapping_mul(2_654_435_761);
        [(block ^ (block >> 15))
            .wrapping_mul(2_246_822_519)
            .to_be_bytes()[0]; 3]
            .into()
    });
    picture.put_pixel(0, 0, [person[0], person[1], 1].into());
    samples::encode(picture, image::ImageFormat::Png)
}

const ANNA: [u8; 2] = [200, 20];
const BEN: [u8; 2] = [20, 200];

struct Run {
    result: Result<Prepared, PrepareError>,
    /// Places and widths of the originals that were kept.
    kept: Vec<(usize, u32)>,
    /// How many photos had been seen when each of them was kept.
    seen: Vec<usize>,
}

fn run_with(files: &[Vec<u8>], options: &Options, observer: &Marks, context: &JobContext) -> Run {
    let photos: Vec<_> = files.iter().map(|file| PhotoSource::Bytes(file)).collect();
    let fetcher = Fetcher::new(Mounts::default(), NetworkPolicy::default());
    let (mut kept, mut seen) = (Vec::new(), Vec::new());
    let mut keep = |at: usize, photo: &RgbImage| {
        kept.push((at, photo.width()));
        seen.push(*observer.seen.lock().unwrap());
        Ok(())
    };
    let result = prepare(&photos, options, &fetcher, observer, &mut keep, context);
    Run { result, kept, seen }
}

fn run(files: &[Vec<u8>]) -> Run {
    run_with(files, &Options::default(), &marks(), &context())
}

/// Makes pictures of files, of this side and with their background.
fn prepare_files(
    files: &[PathBuf],
    side: u32,
    observer: &dyn Observer,
) -> Result<Prepared, PrepareError> {
    let photos: Vec<_> = files.iter().map(|file| PhotoSource::Path(file)).collect();
    let fetcher = Fetcher::new(Mounts::default(), NetworkPolicy::default());
    let options = Options {
        side,
        background: Background::Keep,
        ..Options::default()
    };
    let mut keep = |_: usize, _: &RgbImage| Ok(());
    prepare(&photos, &options, &fetcher, observer, &mut keep, &context())
}

fn words(fates: &[Fate]) -> Vec<&'static str> {
    let word = |fate: &Fate| match fate.outcome {
        Outcome::Used => "used",
        Outcome::Reference => "reference",
        Outcome::LeftOut(reason) => reason.word(),
    };
    let places: Vec<_> = fates.iter().map(|fate| fate.photo).collect();
    assert_eq!(places, (0..fates.len()).collect::<Vec<_>>());
    fates.iter().map(word).collect()
}

#[test]
fn every_photo_has_its_fate_and_every_used_one_a_picture() {
    let mut files: Vec<_> = (0..5).map(|seed| photo(ANNA, seed)).collect();
    files.insert(1, samples::png(100, 100));
    files.insert(3, b"nonsense".to_vec());
    // Nobody: the first pixel is black.
    let mut black = RgbImage::from_pixel(PHOTO_SIDE, PHOTO_SIDE, [50; 3].into());
    black.put_pixel(0, 0, [0; 3].into());
    files.insert(4, samples::encode(black, image::ImageFormat::Png));
    let options = Options {
        background: Background::White,
        ..Options::default()
    };
    let Run { result, kept, .. } = run_with(&files, &options, &marks(), &context());
    let prepared = result.unwrap();
    let told = words(&prepared.fates);
    let expected = [
        "reference",
        "too_small",
        "used",
        "decode_failed",
        "no_face",
        "used",
        "used",
        "used",
    ];
    assert_eq!(told, expected);
    let used = [0, 2, 5, 6, 7];
    assert_eq!(kept, used.map(|at| (at, PHOTO_SIDE)));
    let places: Vec<_> = prepared.pictures.iter().map(|made| made.photo).collect();
    assert_eq!((places, prepared.reference), (used.to_vec(), 0));
    assert!(prepared.centre.is_some());
    for made in &prepared.pictures {
        assert_eq!(made.picture.dimensions(), (SIDE, SIDE));
        // The box is 120 x 160, so the square has 480 pixels and begins at 40, 40.
        let scale = 512.0 / 480.0;
        assert!((made.face.bounds.left - 180.0 * scale).abs() < 1e-3);
        assert!((made.face.points[0][1] - 220.0 * scale).abs() < 1e-3);
        assert!(made.score.unwrap() > 0.999 && made.embedding.is_some());
        assert_eq!(made.picture.get_pixel(0, 0).0, [255; 3]);
    }
    assert_eq!(prepared.warnings, ["made-up eyes"]);
    for fate in &prepared.fates {
        assert_eq!(fate.detail.is_some(), !fate.is_used());
        assert_eq!(fate.score.is_some(), fate.is_used());
    }
    assert_eq!(json!(prepared.fates)[0]["reference"], true);
    assert_eq!(left_out(&prepared.fates, "images").len(), 3);
}

#[test]
fn options_decide_on_size_and_background() {
    let files = [photo(ANNA, 1)];
    let made = |options: Options| {
        let mut prepared = run_with(&files, &options, &marks(), &context())
            .result
            .unwrap();
        prepared.pictures.remove(0)
    };
    let keep = Options {
        side: 480,
        background: Background::Keep,
        ..Options::default()
    };
    let kept = made(keep).picture;
    let original = imaging::decode(&files[0], &imaging::Limits::default()).unwrap();
    assert_eq!(kept.get_pixel(3, 4), original.get_pixel(43, 44));
    let near = made(Options {
        crop_ratio: 1.5,
        ..keep
    });
    assert_eq!(near.face.bounds.top, 80.0);
    let extreme = Options {
        side: u32::MAX,
        crop_ratio: f64::INFINITY,
        ..keep
    };
    assert_eq!(made(extreme).picture.dimensions(), (SIDE_MAX, SIDE_MAX));
    let least = Options {
        side: 0,
        crop_ratio: f64::NAN,
        ..keep
    };
    assert_eq!(made(least).picture.dimensions(), (1, 1));
}

#[test]
fn the_later_one_of_two_copies_is_left_out_and_not_kept() {
    let first = photo(ANNA, 1);
    let files = [first.clone(), photo(ANNA, 2), first.clone(), first];
    let Run { result, kept, .. } = run(&files);
    let prepared = result.unwrap();
    let told = words(&prepared.fates);
    assert_eq!(told, ["reference", "used", "same_shot", "same_shot"]);
    let detail = prepared.fates[3].detail.as_deref().unwrap();
    assert!(detail.contains("same shot as images[0]"), "{detail}");
    assert_eq!(kept.len(), 2);
}

#[test]
fn a_copy_of_a_photo_that_is_left_out_may_be_used() {
    // The first one is too small to be judged by its face.
    let picture = imaging::decode(&photo(ANNA, 1), &imaging::Limits::default()).unwrap();
    let small = imaging::resize(&picture, 500, 500, imaging::Kernel::Triangle);
    let files = [
        samples::encode(small, image::ImageFormat::Png),
        photo(ANNA, 1),
    ];
    let told = words(&run(&files).result.unwrap().fates);
    assert_eq!(told, ["too_small", "reference"]);
}

#[test]
fn a_stranger_is_left_out_by_name_of_the_reason() {
    let files = [
        photo(ANNA, 1),
        photo(BEN, 2),
        photo(ANNA, 3),
        photo([190, 40], 4),
    ];
    let prepared = run(&files).result.unwrap();
    let told = words(&prepared.fates);
    assert_eq!(told, ["reference", "another_person", "used", "used"]);
    let stranger = &prepared.fates[1];
    assert_eq!(stranger.verdict(), Verdict::AnotherPerson);
    assert!(stranger.score.unwrap() < 0.5);
    assert!(prepared.warnings[1].contains("only 3 photos are used"));
}

#[test]
fn two_persons_without_a_majority_are_refused() {
    let files: Vec<_> = (0..6)
        .map(|at| photo(if at % 2 == 0 { ANNA } else { BEN }, at))
        .chain([samples::png(9, 9)])
        .collect();
    let error = run(&files).result.unwrap_err();
    let PrepareError::SeveralPersons { persons, fates } = &error else {
        panic!("{error}");
    };
    assert_eq!(*persons, [[0, 2, 4], [1, 3, 5]]);
    let told = words(fates);
    assert_eq!(
        (told[0], told[1], told[6]),
        ("another_person", "another_person", "too_small")
    );
    let text = error.to_string();
    assert!(
        text.contains("3 of another (images[1], images[3], images[5])"),
        "{text}"
    );
    // Copies of one photo make no majority.
    let files = [
        photo(ANNA, 1),
        photo(BEN, 2),
        photo(ANNA, 1),
        photo(ANNA, 1),
    ];
    assert!(matches!(
        run(&files).result,
        Err(PrepareError::SeveralPersons { .. })
    ));
}

#[test]
fn one_photo_is_enough_and_warned_of() {
    let prepared = run(&[photo(ANNA, 1)]).result.unwrap();
    assert_eq!(words(&prepared.fates), ["reference"]);
    assert!(prepared.warnings[1].starts_with("only 1 photo is used"));
}

#[test]
fn without_a_usable_photo_the_reasons_are_counted() {
    let Run { result, kept, .. } = run(&[samples::png(9, 9), b"x".to_vec(), samples::png(8, 8)]);
    let error = result.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("image too small (2), image decode failed (1)"),
        "{text}"
    );
    assert_eq!((error.fates().len(), kept.len()), (3, 0));
    assert!(
        run(&[])
            .result
            .unwrap_err()
            .to_string()
            .contains("0 photos")
    );
}

#[test]
fn without_a_network_for_persons_all_are_taken_for_one() {
    let files = [photo(ANNA, 1), photo(BEN, 2)];
    let observer = Marks::default();
    let prepared = run_with(&files, &Options::default(), &observer, &context())
        .result
        .unwrap();
    assert_eq!(words(&prepared.fates), ["reference", "used"]);
    assert!(prepared.centre.is_none());
    assert!(
        prepared
            .pictures
            .iter()
            .all(|made| made.score.is_none() && made.embedding.is_none())
    );
    assert!(
        prepared.warnings[1].contains("face-embedding"),
        "{:?}",
        prepared.warnings
    );
}

#[test]
fn of_a_hundred_photos_each_is_done_with_before_the_next_and_the_best_are_used() {
    let files: Vec<_> = (0..100)
        .map(|at| photo([200, 20 + at as u8 % 10], at))
        .collect();
    let observer = marks();
    let small = Options {
        side: 64,
        ..Options::default()
    };
    let Run { result, kept, seen } = run_with(&files, &small, &observer, &context());
    let prepared = result.unwrap();
    assert_eq!((prepared.pictures.len(), kept.len()), (KEPT_MAX, 100));
    let beyond = prepared.fates.iter().filter(|fate| !fate.is_used());
    assert!(
        beyond
            .clone()
            .all(|fate| fate.reason() == Some(Reason::BeyondTheBest))
    );
    let least = prepared
        .pictures
        .iter()
        .filter_map(|made| made.score)
        .reduce(f32::min);
    assert!(
        beyond
            .filter_map(|fate| fate.score)
            .all(|score| Some(score) <= least)
    );
    assert!(prepared.warnings[1].starts_with("100 photos were sent"));
    // An original is lent for as long as it is kept, so that no more than one is in memory.
    assert!(seen.into_iter().eq(1..=100));
}

#[derive(Default)]
struct Notes(Mutex<Vec<(f64, String)>>);

impl ProgressSink for Notes {
    fn report(&self, fraction: f64, note: &str) {
        self.0.lock().unwrap().push((fraction, note.to_owned()));
    }
}

#[test]
fn a_stop_is_heard_between_photos_and_progress_is_told() {
    let notes = Arc::new(Notes::default());
    let context = JobContext {
        progress: notes.clone(),
        ..context()
    };
    let observer = Marks {
        stops: Some((3, context.clone())),
        ..marks()
    };
    let files: Vec<_> = (0..5).map(|seed| photo(ANNA, seed)).collect();
    let Run { result, kept, .. } = run_with(&files, &Options::default(), &observer, &context);
    assert_eq!(result, Err(PrepareError::Stopped(CancelReason::User)));
    assert_eq!((kept.len(), *observer.seen.lock().unwrap()), (2, 3));
    let told = notes.0.lock().unwrap().clone();
    assert_eq!(
        told,
        [(0.2, "photo 1 of 5".into()), (0.4, "photo 2 of 5".into())]
    );
}

#[test]
fn an_original_that_cannot_be_kept_ends_the_work() {
    let files = [photo(ANNA, 1), photo(ANNA, 2)];
    let photos: Vec<_> = files.iter().map(|file| PhotoSource::Bytes(file)).collect();
    let fetcher = Fetcher::new(Mounts::default(), NetworkPolicy::default());
    let mut keep = |_: usize, _: &RgbImage| Err(String::from("the disk is full"));
    let observer = marks();
    let options = Options::default();
    let result = prepare(
        &photos,
        &options,
        &fetcher,
        &observer,
        &mut keep,
        &context(),
    );
    assert_eq!(
        result,
        Err(PrepareError::NotKept(String::from("the disk is full")))
    );
    assert_eq!(*observer.seen.lock().unwrap(), 1);
}
