//! The networks of the demo pack on its own photos, whose people they never saw.

use std::path::PathBuf;

use serde::Deserialize;

use super::*;
use crate::imaging::{self, RgbImage};

/// Least share of a true box and a found one in both together.
const LEAST_OVERLAP: f32 = 0.5;
/// Furthest that the points of these few faces may be away in the mean, as a part of the face's size. Of
/// the hundreds that the bench `demo` measures it is less than 0.04.
const POINTS_AWAY: f32 = 0.05;
/// Least share of pairs of photos of which is rightly said whether they show one person.
const LEAST_RIGHT: f64 = 0.98;

/// A picture, and where its faces are.
#[derive(Deserialize)]
struct Shown {
    file: String,
    faces: Vec<TrueFace>,
}

#[derive(Deserialize)]
struct TrueFace {
    #[serde(rename = "box")]
    bounds: [f32; 4],
    points: Points,
}

fn shown(folder: &str) -> Vec<(Shown, RgbImage)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("assets/demo")
        .join(folder);
    let text = std::fs::read(folder.join("faces.json")).unwrap();
    let listed: Vec<Shown> = serde_json::from_slice(&text).unwrap();
    let opened = listed.into_iter().map(|shown| {
        let bytes = std::fs::read(folder.join(&shown.file)).unwrap();
        let picture = imaging::decode(&bytes, &imaging::Limits::default()).unwrap();
        (shown, picture)
    });
    opened.collect()
}

fn networks() -> FaceModels {
    let empty = tempfile::tempdir().unwrap();
    FaceModels::open(
        &Catalog::built_in(),
        empty.path(),
        Some(Pack::Demo),
        Device::Cpu,
    )
    .unwrap()
}

/// Mean distance of a face's points from the true ones, as a part of the face's size.
fn away(face: &TrueFace, points: &Points) -> f32 {
    let pairs = face.points.iter().zip(points);
    let sum: f32 = pairs.map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1])).sum();
    let [left, top, right, bottom] = face.bounds;
    sum / 5.0 / ((right - left) * (bottom - top)).sqrt()
}

#[test]
fn the_demo_pack_finds_all_faces_of_its_photos_and_templates_and_no_others() {
    let networks = networks();
    let mut distances = Vec::new();
    for folder in ["people/alma", "people/bruno", "people/carla", "templates"] {
        for (shown, picture) in shown(folder) {
            let found = networks.detector.detect(&picture).unwrap();
            assert_eq!(found.len(), shown.faces.len(), "{folder}/{}", shown.file);
            for face in &shown.faces {
                let [left, top, right, bottom] = face.bounds;
                let bounds = Bounds {
                    left,
                    top,
                    right,
                    bottom,
                };
                let fits = |found: &&Face| found.bounds.iou(&bounds) >= LEAST_OVERLAP;
                let found = found.iter().find(fits);
                let found = found.unwrap_or_else(|| panic!("{folder}/{}", shown.file));
                distances.push(away(face, &found.points));
            }
        }
    }
    let mean = distances.iter().sum::<f32>() / distances.len() as f32;
    assert!(mean <= POINTS_AWAY, "{mean} of {distances:?}");
}

#[test]
fn the_demo_pack_tells_its_people_apart() {
    let networks = networks();
    let embedder = networks.embedder().unwrap();
    let mut embedded = Vec::new();
    for name in ["alma", "bruno", "carla"] {
        for (_, picture) in shown(&format!("people/{name}")) {
            let face = &networks.detector.detect(&picture).unwrap()[0];
            embedded.push((name, embedder.embed(&picture, face).unwrap()));
        }
    }
    let (mut right, mut pairs) = (0, 0);
    for (number, (name, one)) in embedded.iter().enumerate() {
        for (other_name, other) in &embedded[number + 1..] {
            let is_one_person = one.cosine(other) >= embedder.same_person();
            right += usize::from(is_one_person == (name == other_name));
            pairs += 1;
        }
    }
    assert_eq!(pairs, 24 * 23 / 2);
    assert!(
        right as f64 / f64::from(pairs) >= LEAST_RIGHT,
        "{right} of {pairs}"
    );
}
