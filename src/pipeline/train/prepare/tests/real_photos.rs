//! The shared photos of real people, seen by the real networks.

use std::fs;

use super::*;
use crate::models::{backend::Device, face::FaceModels, shelf::Shelf};

/// The networks by their names, and where they lie in the shared data.
const NETWORKS: [(&str, &str); 2] = [
    ("yunet", "yunet_n/original/yunet_n_dynamic.onnx"),
    ("mobilefacenet", "mobilefacenet/mobilefacenet.onnx"),
];

/// The networks and the folder of the persons; `None` with a printed line when they are not there.
fn shared(test: &str) -> Option<(Arc<FaceModels>, PathBuf)> {
    let photos = samples::shared_photos(test)?;
    let models = photos.parent().unwrap().join("models");
    let home = tempfile::tempdir().unwrap();
    let catalog = Catalog::built_in();
    for (name, file) in NETWORKS {
        let path = catalog.find(name).unwrap().path(home.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(models.join(file), path).unwrap();
    }
    let networks = Shelf::new(home.path(), Device::Cpu).faces().unwrap();
    Some((networks, photos.join("persons")))
}

/// The first `count` photos of a person.
fn photos(persons: &std::path::Path, person: &str, count: usize) -> Vec<PathBuf> {
    let folder = fs::read_dir(persons.join(person)).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.truncate(count);
    files
}

#[test]
fn training_pictures_show_the_person_of_the_photos_with_level_eyes() {
    let test = "training_pictures_show_the_person_of_the_photos_with_level_eyes";
    let Some((networks, persons)) = shared(test) else {
        return;
    };
    // Of the others some photos are too small or show somebody in the background.
    for (person, used) in [("p02", 8), ("p03", 4), ("p05", 6), ("p06", 5)] {
        let files = photos(&persons, person, 8);
        let prepared = prepare_files(&files, 512, &*networks).unwrap();
        let told = words(&prepared.fates);
        assert_eq!(prepared.pictures.len(), used, "{person}: {told:?}");
        let centre = prepared.centre.unwrap();
        for made in &prepared.pictures {
            let at = format!("{person}, photo {}", made.photo);
            let Observation::Portrait(seen) = networks.observe(&made.picture).unwrap() else {
                panic!("{at}: no single face");
            };
            assert!(seen.face.bounds.iou(&made.face.bounds) > 0.8, "{at}");
            // What is left as it is, and what detectors differ by.
            assert!(seen.pose.roll.abs() < 9.0, "{at}: {:?}", seen.pose);
            let found = networks.embed(&made.picture, &seen.face).unwrap();
            let (before, after) = (made.score.unwrap(), centre.cosine(&found));
            assert!(after > before - 0.1, "{at}: {before} became {after}");
        }
    }
}

#[test]
fn a_real_stranger_is_left_out_and_real_halves_are_refused() {
    let test = "a_real_stranger_is_left_out_and_real_halves_are_refused";
    let Some((networks, persons)) = shared(test) else {
        return;
    };
    let own = photos(&persons, "p06", 3);
    let mut files = photos(&persons, "p03", 4);
    files.insert(1, own[0].clone());
    let told = words(&prepare_files(&files, 64, &*networks).unwrap().fates);
    assert_eq!(told[1], "another_person", "{told:?}");
    assert_eq!(
        told.iter()
            .filter(|word| **word == "another_person")
            .count(),
        1
    );
    let halves = [photos(&persons, "p03", 3), own].concat();
    let error = prepare_files(&halves, 64, &*networks).unwrap_err();
    let PrepareError::SeveralPersons { mut persons, .. } = error else {
        panic!("{error}");
    };
    persons.sort();
    assert_eq!(persons, [[0, 1, 2], [3, 4, 5]]);
}
