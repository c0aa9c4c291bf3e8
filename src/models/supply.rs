//! From where networks are taken: the data folder, or a pack that is built in.

use std::path::{Path, PathBuf};

use super::{
    catalog::{Catalog, Role},
    library::{self, Kind},
};
use crate::pack::Pack;

/// When networks come from a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackRule {
    /// Never: they are those of the data folder.
    Never,
    /// As long as the data folder has neither a face network nor a checkpoint.
    WhileEmpty(Pack),
    /// Always: face networks and checkpoints of the data folder are not looked at.
    Always(Pack),
}

/// A data folder and the rule about packs.
///
/// From a pack come face networks and checkpoints. LoRAs, embeddings, ControlNets and VAEs are
/// those of the data folder even then, so that what was trained with a pack can be used with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supply {
    folder: PathBuf,
    rule: PackRule,
}

impl Supply {
    /// The data folder with this root, and when a pack stands in for it.
    pub fn new(folder: impl Into<PathBuf>, rule: PackRule) -> Self {
        Self {
            folder: folder.into(),
            rule,
        }
    }

    /// The root of the data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The pack that face networks and checkpoints come from now.
    ///
    /// The data folder is looked at each time, so that a file that comes counts without a restart.
    pub fn pack(&self) -> Option<Pack> {
        match self.rule {
            PackRule::Never => None,
            PackRule::WhileEmpty(pack) => is_empty(&self.folder).then_some(pack),
            PackRule::Always(pack) => Some(pack),
        }
    }
}

/// The data folder alone.
impl<P: AsRef<Path> + ?Sized> From<&P> for Supply {
    fn from(folder: &P) -> Self {
        Self::new(folder.as_ref(), PackRule::Never)
    }
}

/// Whether a data folder has no network for judging photos that is known and nothing that looks like a
/// checkpoint. One with a list or a folder that cannot be read is not empty: its owner is to hear of
/// that. Networks that only finish portraits do not count.
pub fn is_empty(folder: &Path) -> bool {
    let Ok(catalog) = Catalog::load(folder) else {
        return false;
    };
    let has_face_network = Role::FACES
        .into_iter()
        .any(|role| catalog.present(role, folder, None).is_some());
    !has_face_network && !library::has_any(folder, Kind::Checkpoint)
}

/// What results that were made with a pack have to say of that.
pub const fn notice(pack: Pack) -> &'static str {
    match pack {
        Pack::Demo => {
            "made with the demo pack: tiny networks trained on drawn people and pictures of 256 x 256, \
             which show how photog works and say nothing about real photos; for real models run \
             `photog models pull`, put a checkpoint of Stable Diffusion 1.x into \
             webui/models/Stable-diffusion of the data folder, and leave the setting `pack` at `auto`"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::models::catalog::{OWN_LIST, Role};

    fn put(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"not looked at").unwrap();
    }

    #[test]
    fn a_pack_stands_in_until_the_first_model_comes_and_when_it_has_gone() {
        let home = tempfile::tempdir().unwrap();
        let supply = Supply::new(home.path(), PackRule::WhileEmpty(Pack::Demo));
        assert_eq!(supply.pack(), Some(Pack::Demo));
        let catalog = Catalog::built_in();
        let face = catalog.find("sface").unwrap().path(home.path());
        let checkpoints = home.path().join(Role::Checkpoint.folder());
        let pickle = checkpoints.join("old.ckpt");
        for path in [face, checkpoints.join("a/b.safetensors"), pickle] {
            put(&path);
            assert_eq!(supply.pack(), None, "{}", path.display());
            fs::remove_file(&path).unwrap();
            assert_eq!(supply.pack(), Some(Pack::Demo));
        }
        // What is trained with the pack does not end its use.
        put(&home.path().join(Role::Lora.folder()).join("a.safetensors"));
        put(&home.path().join(Role::Vae.folder()).join("a.safetensors"));
        assert_eq!(supply.pack(), Some(Pack::Demo));
        fs::write(home.path().join(OWN_LIST), "x = 1").unwrap();
        assert_eq!(supply.pack(), None);
    }

    #[test]
    fn a_folder_that_is_not_searched_is_not_taken_for_empty() {
        let home = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let checkpoints = home.path().join(Role::Checkpoint.folder());
        fs::create_dir_all(&checkpoints).unwrap();
        let supply = Supply::new(home.path(), PackRule::WhileEmpty(Pack::Demo));
        assert_eq!(supply.pack(), Some(Pack::Demo));
        std::os::unix::fs::symlink(elsewhere.path(), checkpoints.join("mine")).unwrap();
        assert_eq!(supply.pack(), None);
    }

    #[test]
    fn the_other_rules_look_at_no_folder() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Supply::from(home.path()).pack(), None);
        put(&home
            .path()
            .join(Role::Checkpoint.folder())
            .join("a.safetensors"));
        let always = Supply::new(home.path(), PackRule::Always(Pack::Demo));
        assert_eq!(always.pack(), Some(Pack::Demo));
    }
}
