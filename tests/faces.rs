//! Faces in all photos of the test data: what photog finds against what the reference found.
//!
//! The photos, the networks and the reference lie outside of the repository; without them the tests
//! say so and pass.

use std::path::{Path, PathBuf};

use photog::{
    imaging::{self, RgbImage},
    models::{
        ModelError,
        backend::Device,
        catalog::{Catalog, Entry},
        face::{Bounds, Face, FaceDetector, FaceEmbedder, align},
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
    println!("{test} is skipped: there are no test data in {}", folder.display());
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
    open: impl Fn(&Path, &Entry, Device) -> Result<T, ModelError>,
) -> T {
    let catalog = Catalog::built_in();
    let entry = catalog.find(name).unwrap();
    open(&data.join("models").join(file), entry, device()).unwrap()
}

fn photo(path: &Path) -> RgbImage {
    let bytes = std::fs::read(path).unwrap();
    imaging::decode(&bytes, &imaging::Limits::default()).unwrap()
}

fn golden_face(value: &Value) -> Face {
    let number = |value: &Value| value.as_f64().unwrap() as f32;
    let [left, top, right, bottom] = [0, 1, 2, 3].map(|at| number(&value["box"][at]));
    Face {
        score: number(&value["score"]),
        bounds: Bounds { left, top, right, bottom },
        points: [0, 1, 2, 3, 4].map(|at| [0, 1].map(|axis| number(&value["landmarks"][at][axis]))),
    }
}

/// How far the points of two faces are apart at most, as a share of the face's size.
fn point_error(found: &Face, golden: &Face) -> f32 {
    let size = golden.bounds.width().max(golden.bounds.height());
    let pairs = found.points.iter().zip(&golden.points);
    pairs.map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]) / size).fold(0.0, f32::max)
}

#[test]
fn faces_are_where_the_reference_found_them() {
    let Some(data) = data("faces_are_where_the_reference_found_them") else { return };
    let file = "yunet_n/original/yunet_n_dynamic.onnx";
    let detector = open(&data, "yunet", file, FaceDetector::open);
    let golden = json(&data.join("golden/detection.json"));
    let (mut faces, mut worst_overlap, mut worst_point) = (0, 1.0_f32, 0.0_f32);
    let images = golden["images"].as_object().unwrap();
    for (name, golden) in images {
        let found = detector.detect(&photo(&data.join(name))).unwrap();
        let expected: Vec<Face> =
            golden["yunet"].as_array().unwrap().iter().map(golden_face).collect();
        assert_eq!(found.len(), expected.len(), "faces in {name}");
        for expected in &expected {
            let best = found
                .iter()
                .max_by(|a, b| a.bounds.iou(&expected.bounds).total_cmp(&b.bounds.iou(&expected.bounds)));
            let best = best.unwrap();
            let (overlap, point) = (best.bounds.iou(&expected.bounds), point_error(best, expected));
            assert!(overlap > 0.95, "{name}: overlap {overlap}");
            assert!(point < 0.02, "{name}: a point is {point} of the face away");
            (worst_overlap, worst_point) = (worst_overlap.min(overlap), worst_point.max(point));
            faces += 1;
        }
    }
    println!(
        "{faces} faces in {} photos: least overlap {worst_overlap:.4}, largest point error \
         {worst_point:.4} of the face",
        images.len()
    );
    assert!(images.len() > 100 && faces > 100);
}

/// The file and the numbers of each golden face.
fn golden_embeddings(data: &Path) -> Vec<(String, Vec<f32>)> {
    let index = json(&data.join("golden/embeddings_index.json"));
    let bytes = std::fs::read(data.join("golden/embeddings.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor("normalised").unwrap();
    let words = tensor.data().chunks_exact(4);
    let numbers: Vec<f32> =
        words.map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect();
    let rows = numbers.chunks_exact(tensor.shape()[1]).map(<[f32]>::to_vec);
    let files = index["files"].as_array().unwrap().iter();
    files.map(|file| file.as_str().unwrap().to_owned()).zip(rows).collect()
}

#[test]
fn embeddings_are_those_of_the_reference() {
    let Some(data) = data("embeddings_are_those_of_the_reference") else { return };
    let file = "yunet_n/original/yunet_n_dynamic.onnx";
    let detector = open(&data, "yunet", file, FaceDetector::open);
    let embedder =
        open(&data, "mobilefacenet", "mobilefacenet/mobilefacenet.onnx", FaceEmbedder::open);
    let golden = golden_embeddings(&data);
    let mut worst = 1.0_f32;
    for (name, golden) in &golden {
        let photo = photo(&data.join(name));
        let found = detector.detect(&photo).unwrap();
        let face = found.first().unwrap_or_else(|| panic!("no face in {name}"));
        let embedding = embedder.embed_aligned(&align(&photo, &face.points)).unwrap();
        let products = embedding.as_slice().iter().zip(golden).map(|(a, b)| a * b);
        let length = golden.iter().map(|x| x * x).sum::<f32>().sqrt();
        let cosine = products.sum::<f32>() / length;
        assert!(cosine > 0.999, "{name}: cosine {cosine}");
        worst = worst.min(cosine);
    }
    println!("{} faces: least cosine {worst:.5}", golden.len());
    assert!(golden.len() > 50);
}
