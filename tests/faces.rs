//! Faces in all photos of the test data: what photog finds against what the reference found.
//!
//! The photos, the networks and the reference lie outside of the repository; without them the tests
//! say so and pass.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]
#![allow(
    clippy::print_stdout,
    reason = "what was measured, and why a test is skipped"
)]

use std::path::{Path, PathBuf};

use photog::{
    imaging::{self, RgbImage},
    models::{
        ModelError,
        backend::Device,
        catalog::{Catalog, Entry},
        face::{Bounds, Face, FaceDetector, FaceEmbedder, FaceQuality, align},
        place::Place,
    },
};
use safetensors::SafeTensors;
use serde_json::Value;

/// Where the test data lie, if they do.
fn data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("PHOTOG_TEST_DATA")
        .map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    if folder.join("golden/detection.json").is_file() {
        return Some(folder);
    }
    println!(
        "{test} is skipped: there are no test data in {}",
        folder.display()
    );
    None
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The device on which to look: the CPU, or what `PHOTOG_TEST_DEVICE` says.
fn device() -> Device {
    match std::env::var("PHOTOG_TEST_DEVICE").as_deref() {
        Ok("cuda") => Device::Cuda(0),
        _ => Device::Cpu,
    }
}

fn open<T>(
    data: &Path,
    name: &str,
    file: &str,
    open: impl Fn(&Place, &Entry, Device) -> Result<T, ModelError>,
) -> T {
    let catalog = Catalog::built_in();
    let entry = catalog.find(name).unwrap();
    open(&data.join("models").join(file).into(), entry, device()).unwrap()
}

/// A photo, unless it has one of the two formats that photog refuses and the reference does not.
fn photo(data: &Path, name: &str) -> Option<RgbImage> {
    let bytes = std::fs::read(data.join(name)).unwrap();
    let decoded = imaging::decode(&bytes, &imaging::Limits::default());
    if ["webp", "bmp"].iter().any(|format| name.ends_with(format)) {
        assert!(decoded.is_err(), "{name}");
        println!("{name} is left out: photog refuses its format");
        return None;
    }
    Some(decoded.unwrap())
}

fn golden_face(value: &Value) -> Face {
    let number = |value: &Value| value.as_f64().unwrap() as f32;
    let [left, top, right, bottom] = [0, 1, 2, 3].map(|at| number(&value["box"][at]));
    Face {
        score: number(&value["score"]),
        bounds: Bounds {
            left,
            top,
            right,
            bottom,
        },
        points: [0, 1, 2, 3, 4].map(|at| [0, 1].map(|axis| number(&value["landmarks"][at][axis]))),
    }
}

/// How far the points of two faces are apart at most, as a share of the face's size.
fn point_error(found: &Face, golden: &Face) -> f32 {
    let size = golden.bounds.width().max(golden.bounds.height());
    let pairs = found.points.iter().zip(&golden.points);
    pairs
        .map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]) / size)
        .fold(0.0, f32::max)
}

/// Faces from the detector's threshold, 0.6, up to here may be found by one program and not by the
/// other: the pictures that the two networks get differ by one level of 255 here and there, since
/// Pillow rounds between the two directions of a resize.
const CERTAIN: f32 = 0.62;

#[test]
fn faces_are_where_the_reference_found_them() {
    let Some(data) = data("faces_are_where_the_reference_found_them") else {
        return;
    };
    let file = "yunet_n/original/yunet_n_dynamic.onnx";
    let detector = open(&data, "yunet", file, FaceDetector::open);
    let golden = json(&data.join("golden/detection.json"));
    let mut wrong = Vec::new();
    let (mut faces, mut borderline) = (0, 0);
    let (mut worst_overlap, mut worst_point) = (1.0_f32, 0.0_f32);
    let images = golden["images"].as_object().unwrap();
    for (name, golden) in images {
        let Some(photo) = photo(&data, name) else {
            continue;
        };
        let found = detector.detect(&photo).unwrap();
        let expected: Vec<Face> = golden["yunet"]
            .as_array()
            .unwrap()
            .iter()
            .map(golden_face)
            .collect();
        for face in &found {
            let known = expected
                .iter()
                .any(|golden| golden.bounds.iou(&face.bounds) > 0.5);
            if !known && face.score >= CERTAIN {
                wrong.push(format!("{name}: a face of {:.3} too many", face.score));
            }
            borderline += usize::from(!known && face.score < CERTAIN);
        }
        for expected in &expected {
            let overlap = |face: &&Face| face.bounds.iou(&expected.bounds);
            let best = found
                .iter()
                .max_by(|a, b| overlap(a).total_cmp(&overlap(b)));
            let Some(best) = best.filter(|best| overlap(best) > 0.5) else {
                if expected.score >= CERTAIN {
                    wrong.push(format!(
                        "{name}: the face of {:.3} is missing",
                        expected.score
                    ));
                }
                borderline += usize::from(expected.score < CERTAIN);
                continue;
            };
            let (overlap, point) = (
                best.bounds.iou(&expected.bounds),
                point_error(best, expected),
            );
            if overlap <= 0.95 || point >= 0.02 {
                wrong.push(format!(
                    "{name}: overlap {overlap:.4}, a point is {point:.4} of the face away"
                ));
            }
            (worst_overlap, worst_point) = (worst_overlap.min(overlap), worst_point.max(point));
            faces += 1;
        }
    }
    println!(
        "{faces} faces in {} photos, {borderline} at the threshold found by one side only; least \
         overlap {worst_overlap:.4}, largest point error {worst_point:.4} of the face",
        images.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(images.len() > 100 && faces > 100);
}

/// The file and the numbers of each golden face.
fn golden_embeddings(data: &Path) -> Vec<(String, Vec<f32>)> {
    let index = json(&data.join("golden/embeddings_index.json"));
    let bytes = std::fs::read(data.join("golden/embeddings.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor("normalised").unwrap();
    let words = tensor.data().chunks_exact(4);
    let numbers: Vec<f32> = words
        .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
        .collect();
    let rows = numbers.chunks_exact(tensor.shape()[1]).map(<[f32]>::to_vec);
    let files = index["files"].as_array().unwrap().iter();
    files
        .map(|file| file.as_str().unwrap().to_owned())
        .zip(rows)
        .collect()
}

/// The crops and the embeddings are the reference's for the reference's points. With photog's own
/// points they stay close: the two programs decode a JPEG with differences of a few levels, which
/// moves a point by a thousandth of the face, and of faces that lie on their side by a hundredth.
#[test]
fn embeddings_are_those_of_the_reference() {
    let Some(data) = data("embeddings_are_those_of_the_reference") else {
        return;
    };
    let file = "yunet_n/original/yunet_n_dynamic.onnx";
    let detector = open(&data, "yunet", file, FaceDetector::open);
    let file = "mobilefacenet/mobilefacenet.onnx";
    let embedder = open(&data, "mobilefacenet", file, FaceEmbedder::open);
    let detection = json(&data.join("golden/detection.json"));
    let (mut least, mut least_own, mut below_own) = ([1.0_f32; 2], 1.0_f32, 0);
    let golden = golden_embeddings(&data);
    let mut wrong = Vec::new();
    for (name, numbers) in &golden {
        let Some(photo) = photo(&data, name) else {
            continue;
        };
        let cosine = |crop: &RgbImage| {
            let found = embedder.embed_aligned(crop).unwrap();
            let pairs = found.as_slice().iter().zip(numbers);
            pairs.map(|(one, other)| one * other).sum::<f32>()
        };
        let golden = &detection["images"][name];
        let crop = std::fs::read(data.join(golden["crop"].as_str().unwrap())).unwrap();
        let crop = imaging::decode(&crop, &imaging::Limits::default()).unwrap();
        let faces = golden["yunet"].as_array().unwrap().iter().map(golden_face);
        let face = faces.max_by(|a, b| a.bounds.area().total_cmp(&b.bounds.area()));
        let aligned = align(&photo, &face.unwrap().points);
        for (least, crop) in least.iter_mut().zip([&crop, &aligned]) {
            let cosine = cosine(crop);
            *least = least.min(cosine);
            if cosine <= 0.999 {
                wrong.push(format!("{name}: cosine {cosine:.5}"));
            }
        }
        let found = detector.detect(&photo).unwrap();
        let own = cosine(&align(&photo, &found[0].points));
        least_own = least_own.min(own);
        below_own += usize::from(own <= 0.999);
        let lies = name.contains("rot90_noexif") || name.contains("rot180_noexif");
        if own < if lies { 0.95 } else { 0.998 } {
            wrong.push(format!("{name}: cosine {own:.5} with photog's own points"));
        }
    }
    println!(
        "{} faces: least cosine {:.6} for the golden crop, {:.5} for the golden points, {least_own:.5} \
         for photog's own points ({below_own} at or below 0.999)",
        golden.len(),
        least[0],
        least[1],
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(golden.len() > 50);
}

/// The reference was measured on its own crops before they were stored, with another resize.
const RATING_ERROR_MAX: f32 = 0.02;

#[test]
fn ratings_are_those_of_the_reference() {
    let Some(data) = data("ratings_are_those_of_the_reference") else {
        return;
    };
    let file = "lightqnet_050/lightqnet_050.onnx";
    let quality = open(&data, "lightqnet", file, FaceQuality::open);
    let detection = json(&data.join("golden/detection.json"));
    let (mut count, mut worst) = (0, 0.0_f32);
    for (name, golden) in detection["images"].as_object().unwrap() {
        let Some(expected) = golden["quality_lightqnet"].as_f64() else {
            continue;
        };
        let crop = std::fs::read(data.join(golden["crop"].as_str().unwrap())).unwrap();
        let crop = imaging::decode(&crop, &imaging::Limits::default()).unwrap();
        let error = (quality.score(&crop).unwrap() - expected as f32).abs();
        assert!(error <= RATING_ERROR_MAX, "{name}: {error} from {expected}");
        (count, worst) = (count + 1, worst.max(error));
    }
    println!("{count} ratings, largest difference {worst:.4}");
    assert!(count > 50);
}
