//! What services lack.
//!
//! They start and take entries all the same: each ends in a failure that names what is missing and
//! what to do, instead of waiting for ever.

use crate::{
    domain::Role,
    models::{catalog, library, shelf::Shelf},
};

/// Where a base checkpoint has to lie, below the data folder.
const BASE_MODEL_FOLDER: &str = "webui/models/Stable-diffusion";

/// Something that a service lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// Whether the service works all the same, only without a part of what it offers.
    pub able: bool,
    /// What is missing and what to do about it.
    pub text: String,
}

/// What a service of this role lacks; `None` when it can do everything.
///
/// Looks at the data folder, and so may take a few milliseconds, but loads nothing.
pub fn lack_of(role: Role, shelf: &Shelf) -> Option<Lack> {
    match role {
        Role::Echo => None,
        Role::Check => lack_of_check(shelf),
        Role::Train => lack_of_training(shelf),
        Role::Predict => lack_of_portraits(shelf),
        Role::Sd => lack_of_checkpoint("making pictures", shelf),
    }
}

fn has_base_model(shelf: &Shelf) -> bool {
    !library::listed(shelf.supply(), library::Kind::Checkpoint).is_empty()
}

fn lack_of_checkpoint(purpose: &str, shelf: &Shelf) -> Option<Lack> {
    (!has_base_model(shelf)).then(|| Lack {
        able: false,
        text: format!(
            "{purpose} needs a checkpoint of Stable Diffusion 1.x; put its `.safetensors` file, \
             or its folder as diffusers has it, into `{BASE_MODEL_FOLDER}` of the data folder{}",
            catalog::Catalog::built_in().without_one(catalog::Role::Checkpoint)
        ),
    })
}

fn lack_of_training(shelf: &Shelf) -> Option<Lack> {
    lack_of_work_on_people(
        "training a person",
        "persons are trained, but photos of somebody else among theirs are not noticed, and no picture \
         says which checkpoint is most like them",
        shelf,
    )
}

fn lack_of_portraits(shelf: &Shelf) -> Option<Lack> {
    lack_of_work_on_people(
        "making a portrait",
        "portraits are made, but not compared with the person, so that they have no scores and the \
         first candidate is taken",
        shelf,
    )
}

/// What is missing of the networks that find faces, paint, and tell persons apart. Without the last it
/// goes, as `unable` says.
fn lack_of_work_on_people(purpose: &str, unable: &str, shelf: &Shelf) -> Option<Lack> {
    let lack = |able, text| Lack { able, text };
    let detector = shelf.entry(catalog::Role::FaceDetector).err();
    let detector = detector.map(|error| {
        let text = format!("{purpose} needs faces to be found: {error}");
        lack(false, text)
    });
    let embedding = || {
        let error = shelf.entry(catalog::Role::FaceEmbedding).err()?;
        Some(lack(true, format!("{unable}: {error}")))
    };
    detector
        .or_else(|| lack_of_checkpoint(purpose, shelf))
        .or_else(embedding)
}

fn lack_of_check(shelf: &Shelf) -> Option<Lack> {
    let lack = |able, text| Some(Lack { able, text });
    if let Err(error) = shelf.entry(catalog::Role::FaceDetector) {
        return lack(false, format!("photos cannot be judged: {error}"));
    }
    if let Err(error) = shelf.entry(catalog::Role::FaceEmbedding) {
        let text = format!(
            "photos are judged, but requests with `face_reconize` cannot be answered: {error}"
        );
        return lack(true, text);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        models::{
            backend::Device,
            supply::{PackRule, Supply},
        },
        pack::Pack,
    };

    /// Puts a file where a network is looked for.
    fn bring(home: &std::path::Path, name: &str) {
        let built_in = catalog::Catalog::built_in();
        let path = built_in.find(name).unwrap().path(home);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"not looked at").unwrap();
    }

    #[test]
    fn work_on_people_lacks_what_finds_faces_then_a_checkpoint_then_what_compares() {
        for role in [Role::Train, Role::Predict] {
            lacks_one_after_another(role);
        }
    }

    fn lacks_one_after_another(role: Role) {
        let home = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(home.path(), Device::Cpu);
        let lack = || lack_of(role, &shelf);
        let found = lack().unwrap();
        assert!(
            !found.able && found.text.contains("face-detector"),
            "{found:?}"
        );
        bring(home.path(), "yunet");
        let found = lack().unwrap();
        assert!(
            !found.able && found.text.contains(BASE_MODEL_FOLDER),
            "{found:?}"
        );
        assert!(found.text.contains("--pack demo"), "{found:?}");
        let folder = home.path().join(BASE_MODEL_FOLDER);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a.safetensors"), b"not looked at").unwrap();
        let found = lack().unwrap();
        assert!(
            found.able && found.text.contains("face-embedding"),
            "{found:?}"
        );
        bring(home.path(), "mobilefacenet");
        assert_eq!(lack(), None);
    }

    #[test]
    fn a_check_lacks_first_its_detector_and_then_the_network_that_compares() {
        let home = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(home.path(), Device::Cpu);
        let lack = lack_of(Role::Check, &shelf).unwrap();
        assert!(
            !lack.able && lack.text.contains("face-detector"),
            "{lack:?}"
        );
        bring(home.path(), "yunet");
        let lack = lack_of(Role::Check, &shelf).unwrap();
        assert!(lack.able && lack.text.contains("face_reconize"), "{lack:?}");
        bring(home.path(), "mobilefacenet");
        assert_eq!(lack_of(Role::Check, &shelf), None);
        assert_eq!(lack_of(Role::Echo, &shelf), None);
    }

    #[test]
    fn with_a_pack_nothing_is_missing() {
        let home = tempfile::tempdir().unwrap();
        let supply = Supply::new(home.path(), PackRule::Always(Pack::Demo));
        let shelf = Shelf::new(supply, Device::Cpu);
        for role in [
            Role::Check,
            Role::Train,
            Role::Predict,
            Role::Sd,
            Role::Echo,
        ] {
            assert_eq!(lack_of(role, &shelf), None);
        }
        let lack = lack_of(Role::Sd, &Shelf::new(home.path(), Device::Cpu)).unwrap();
        assert!(lack.text.contains("--pack demo"), "{lack:?}");
    }
}
