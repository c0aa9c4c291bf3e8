//! Whether a file is the one, and holds the network, that its entry in the catalogue says.

use std::path::Path;

use super::{
    ModelError,
    backend::Device,
    catalog::{Catalog, Entry, Identity, Lock, Role},
    enlarge::Enlarger,
    face,
    place::Place,
    weights::{Files, WeightsError},
};
use crate::pack::Pack;

/// The entry that serves a role, with the place of its file: the first whose file is in the data
/// folder, or if a pack is named the first that is in it. `None` when there is none.
///
/// The file has to be the one that is known by its hash. A damaged network need not fail: it may as well
/// see other faces.
pub(super) fn present<'a>(
    catalog: &'a Catalog,
    role: Role,
    folder: &Path,
    pack: Option<Pack>,
) -> Result<Option<(&'a Entry, Place)>, ModelError> {
    let Some((entry, place)) = catalog.present(role, folder, pack) else {
        return Ok(None);
    };
    let lock = Lock::load(folder).map_err(|error| ModelError::List(error.to_string()))?;
    let found = Identity::at(&place).map_err(|error| ModelError::Read {
        file: place.to_string(),
        reason: error.to_string(),
    })?;
    let known = lock.expected(entry).check(&found);
    known.map_err(|reason| ModelError::Refused {
        file: entry.file.clone(),
        reason: format!("it is damaged or another file, {reason}"),
    })?;
    Ok(Some((entry, place)))
}

/// Opens a file as the network of an entry. Of ONNX files it is what a service does. Of those
/// that make pictures the head of the file is read, which tells what it is and whether it is whole in
/// length; damage to the numbers is found by the hash.
pub fn check_network(entry: &Entry, place: &Place) -> Result<(), ModelError> {
    if entry.role == Role::SuperResolution {
        return Enlarger::open(place, entry, Device::Cpu).map(drop);
    }
    if entry.role.is_onnx() {
        return face::check_network(entry, place);
    }
    let files = Files::at(place).map_err(refusal)?;
    let found = role(&files);
    if found == Some(entry.role) {
        return Ok(());
    }
    let found = found.map_or_else(|| String::from("embedding"), |role| role.to_string());
    Err(ModelError::Refused {
        file: entry.file.clone(),
        reason: format!("it is a {found}, and a {} is wanted", entry.role),
    })
}

fn refusal(error: WeightsError) -> ModelError {
    match error {
        WeightsError::Read { file, reason } => ModelError::Read { file, reason },
        WeightsError::Refused { file, reason }
        | WeightsError::Unsupported { file, reason }
        | WeightsError::Mismatch {
            file,
            report: reason,
            ..
        } => ModelError::Refused { file, reason },
    }
}

/// What a file is for; `None` for an embedding, which is in no list.
fn role(files: &Files) -> Option<Role> {
    Some(match files {
        Files::Checkpoint(_) => Role::Checkpoint,
        Files::Vae(_) => Role::Vae,
        Files::ControlNet(_) => Role::ControlNet,
        Files::Taesd(_) => Role::Taesd,
        Files::Lora(_) => Role::Lora,
        Files::Embedding(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(entry: &Entry, path: &Path) -> Result<(), ModelError> {
        check_network(entry, &Place::from(path))
    }

    #[test]
    fn a_file_is_told_by_what_it_holds() {
        let folder = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/reference/fixtures/diffusion"
        ));
        let mut entry = Catalog::built_in().find("vae-ft-mse").unwrap().clone();
        let files = [
            (Role::Checkpoint, "tiny_single.safetensors"),
            (Role::Lora, "tiny_lora_kohya.safetensors"),
        ];
        for (role, file) in files {
            entry.role = role;
            check(&entry, &folder.join(file)).unwrap();
            entry.role = Role::Vae;
            let error = check(&entry, &folder.join(file)).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains(role.as_str()) && text.contains("vae"),
                "{text}"
            );
        }
        let embedding = folder.join("tiny_embedding_webui.safetensors");
        let error = check(&entry, &embedding).unwrap_err();
        assert!(error.to_string().contains("embedding"), "{error}");
        let missing = check(&entry, &folder.join("none.safetensors"));
        assert!(matches!(missing, Err(ModelError::Read { .. })));
        let other = check(&entry, &folder.join("pictures.json"));
        assert!(other.is_err());
    }
}
