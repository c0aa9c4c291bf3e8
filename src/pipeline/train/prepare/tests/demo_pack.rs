//! The people of the demo pack, seen by its networks.

use std::sync::OnceLock;

use super::*;
use crate::{
    models::{
        backend::Device,
        shelf::Shelf,
        supply::{PackRule, Supply},
    },
    pack::Pack,
    pipeline::FaceSource as _,
};

const PEOPLE: [&str; 3] = ["alma", "bruno", "carla"];
/// Photos of each.
const PHOTOS: usize = 8;

fn networks() -> &'static Arc<dyn Observer> {
    static OBSERVER: OnceLock<Arc<dyn Observer>> = OnceLock::new();
    OBSERVER.get_or_init(|| {
        let home = tempfile::tempdir().unwrap();
        let supply = Supply::new(home.path(), PackRule::Always(Pack::Demo));
        Shelf::new(supply, Device::Cpu).observer().unwrap()
    })
}

/// The photos of a person with these numbers, from 0 on.
fn photos(person: &str, numbers: std::ops::Range<usize>) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/demo/people");
    let path = |number| folder.join(person).join(format!("{}.jpg", number + 1));
    numbers.map(path).collect()
}

fn prepare_all(files: &[PathBuf]) -> Result<Prepared, PrepareError> {
    prepare_files(files, 256, &**networks())
}

#[test]
fn all_photos_of_each_person_of_the_demo_pack_are_used() {
    for person in PEOPLE {
        let prepared = prepare_all(&photos(person, 0..PHOTOS)).unwrap();
        let told = words(&prepared.fates);
        assert!(
            prepared.fates.iter().all(Fate::is_used),
            "{person}: {told:?}"
        );
        assert_eq!(prepared.pictures.len(), PHOTOS);
        let centre = prepared.centre.unwrap();
        for made in &prepared.pictures {
            assert_eq!(made.picture.dimensions(), (256, 256));
            assert!(made.score.unwrap() > 0.8, "{person}: {:?}", made.score);
            // What is cut out shows the same person to the same network.
            let Observation::Portrait(seen) = networks().observe(&made.picture).unwrap() else {
                panic!("{person}: no single face in picture {}", made.photo);
            };
            assert!(seen.face.bounds.iou(&made.face.bounds) > 0.5);
            let found = networks().embed(&made.picture, &seen.face).unwrap();
            let likeness = centre.cosine(&found);
            assert!(
                likeness > 0.6,
                "{person}: {likeness} in picture {}",
                made.photo
            );
        }
        // That the networks are those of a pack, and nothing else.
        assert_eq!(prepared.warnings.len(), 1);
    }
}

#[test]
fn people_of_the_demo_pack_are_told_apart() {
    for (person, other) in [("alma", "bruno"), ("bruno", "carla"), ("carla", "alma")] {
        let mut files = photos(person, 0..6);
        files.splice(2..2, photos(other, 0..2));
        let prepared = prepare_all(&files).unwrap();
        let strangers: Vec<_> = prepared
            .fates
            .iter()
            .filter(|fate| !fate.is_used())
            .collect();
        assert_eq!(
            strangers.iter().map(|fate| fate.photo).collect::<Vec<_>>(),
            [2, 3]
        );
        let reason = Some(Reason::Check(Verdict::AnotherPerson));
        assert!(strangers.iter().all(|fate| fate.reason() == reason));
    }
}

#[test]
fn two_people_of_the_demo_pack_in_equal_parts_are_refused() {
    let files = [photos("alma", 0..4), photos("carla", 0..4)].concat();
    let error = prepare_all(&files).unwrap_err();
    let PrepareError::SeveralPersons { mut persons, .. } = error else {
        panic!("{error}");
    };
    persons.sort();
    assert_eq!(persons, [[0, 1, 2, 3], [4, 5, 6, 7]]);
}
