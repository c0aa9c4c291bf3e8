//! The ONNX networks of a data folder or a pack, loaded once and shared by all who need them.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use super::{
    ModelError,
    backend::Device,
    catalog::{Catalog, Entry, Role},
    check::present,
    enlarge::Enlarger,
    face::{FaceFusion, FaceModels, FaceParser},
    place::Place,
    supply::Supply,
};
use crate::pack::Pack;

/// Loads networks when they are first asked for.
///
/// What is missing is looked for again each time, and what was replaced is loaded anew, so that
/// neither needs a restart. Clones share one shelf.
#[derive(Clone)]
pub struct Shelf(Arc<Inner>);

struct Inner {
    supply: Supply,
    device: Device,
    faces: Slot<FaceModels>,
    parser: Slot<FaceParser>,
    fusion: Slot<FaceFusion>,
    enlarger: Slot<Enlarger>,
}

/// Where one network, or several that are used together, stand once they are loaded.
struct Slot<T>(Mutex<Option<Loaded<T>>>);

struct Loaded<T> {
    /// The files that it was made of.
    files: Vec<Source>,
    models: Arc<T>,
}

impl<T> Slot<T> {
    const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// What stands here if it was made of these files, or else what `open` gives, which stands here from
    /// then on. Others that ask meanwhile wait.
    fn get(
        &self,
        files: Vec<Source>,
        open: impl FnOnce() -> Result<T, ModelError>,
    ) -> Result<Arc<T>, ModelError> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = slot.as_ref()
            && loaded.files == files
        {
            return Ok(Arc::clone(&loaded.models));
        }
        // The old one makes room before the new one comes.
        *slot = None;
        let models = Arc::new(open()?);
        *slot = Some(Loaded {
            files,
            models: Arc::clone(&models),
        });
        Ok(models)
    }
}

/// A file and what its entry says, as far as it can be told without reading the file.
#[derive(Debug, PartialEq)]
struct Source {
    entry: Entry,
    bytes: u64,
    changed: Option<SystemTime>,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf")
            .field("supply", &self.0.supply)
            .field("device", &self.0.device)
            .finish_non_exhaustive()
    }
}

impl Shelf {
    /// The networks of a supply, such as the root of a data folder, run on this device.
    pub fn new(supply: impl Into<Supply>, device: Device) -> Self {
        Self(Arc::new(Inner {
            supply: supply.into(),
            device,
            faces: Slot::new(),
            parser: Slot::new(),
            fusion: Slot::new(),
            enlarger: Slot::new(),
        }))
    }

    /// The root of the data folder.
    pub fn folder(&self) -> &Path {
        self.0.supply.folder()
    }

    /// From where networks are taken.
    pub fn supply(&self) -> &Supply {
        &self.0.supply
    }

    /// The face networks. [`ModelError::Missing`] when there is no detector.
    ///
    /// The first call reads the files, which takes some tens of milliseconds; others that come
    /// meanwhile wait for it.
    pub fn faces(&self) -> Result<Arc<FaceModels>, ModelError> {
        let catalog = self.catalog()?;
        let pack = self.0.supply.pack();
        let files = sources(&catalog, &Role::FACES, self.folder(), pack);
        self.0.faces.get(files, || {
            FaceModels::open(&catalog, self.folder(), pack, self.0.device)
        })
    }

    /// What says which part of a face each pixel shows. [`ModelError::Missing`] when there is none, as
    /// with a pack.
    pub fn parser(&self) -> Result<Arc<FaceParser>, ModelError> {
        self.one(&self.0.parser, Role::FaceParsing, FaceParser::open)
    }

    /// What gives a face the features of a person. [`ModelError::Missing`] when there is none, as with a
    /// pack.
    pub fn fusion(&self) -> Result<Arc<FaceFusion>, ModelError> {
        self.one(&self.0.fusion, Role::FaceFusion, FaceFusion::open)
    }

    /// What makes pictures larger. [`ModelError::Missing`] when there is none, as with a pack.
    pub fn enlarger(&self) -> Result<Arc<Enlarger>, ModelError> {
        self.one(&self.0.enlarger, Role::SuperResolution, Enlarger::open)
    }

    /// The one network of a role.
    fn one<T>(
        &self,
        slot: &Slot<T>,
        role: Role,
        open: impl FnOnce(&Place, &Entry, Device) -> Result<T, ModelError>,
    ) -> Result<Arc<T>, ModelError> {
        let catalog = self.catalog()?;
        let pack = self.0.supply.pack();
        let files = sources(&catalog, &[role], self.folder(), pack);
        slot.get(files, || {
            match present(&catalog, role, self.folder(), pack)? {
                Some((entry, place)) => open(&place, entry, self.0.device),
                None => Err(ModelError::missing(&catalog, role)),
            }
        })
    }

    /// The file that serves a role, as far as it can be told without reading it: its entry, or why
    /// there is none and what to do.
    pub fn entry(&self, role: Role) -> Result<Entry, ModelError> {
        let catalog = self.catalog()?;
        match catalog.present(role, self.folder(), self.0.supply.pack()) {
            Some((entry, _)) => Ok(entry.clone()),
            None => Err(ModelError::missing(&catalog, role)),
        }
    }

    fn catalog(&self) -> Result<Catalog, ModelError> {
        Catalog::load(self.folder()).map_err(|error| ModelError::List(error.to_string()))
    }
}

fn sources(catalog: &Catalog, roles: &[Role], folder: &Path, pack: Option<Pack>) -> Vec<Source> {
    let found = roles
        .iter()
        .filter_map(|role| catalog.present(*role, folder, pack));
    found
        .map(|(entry, place)| {
            let about = match place {
                Place::Disk(path) => path.metadata().ok(),
                // What is built in does not change.
                Place::Pack(..) => None,
            };
            Source {
                entry: entry.clone(),
                bytes: about.as_ref().map_or(0, std::fs::Metadata::len),
                changed: about.and_then(|about| about.modified().ok()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::models::supply::PackRule;

    #[test]
    fn a_missing_detector_is_named_with_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(home.path(), Device::Cpu);
        let error = shelf.faces().err().unwrap().to_string();
        for part in ["face-detector", "webui/models/photog", "photog models"] {
            assert!(error.contains(part), "{error}");
        }
        let missing = shelf.entry(Role::FaceDetector).unwrap_err();
        assert_eq!(missing.to_string(), error);
    }

    #[test]
    fn a_damaged_file_is_named_and_looked_at_again() {
        let home = tempfile::tempdir().unwrap();
        let catalog = Catalog::built_in();
        let entry = catalog.downloadable(Role::FaceDetector).unwrap();
        let path = entry.path(home.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"no network").unwrap();
        let shelf = Shelf::new(home.path(), Device::Cpu);
        assert_eq!(shelf.entry(Role::FaceDetector).unwrap(), *entry);
        let error = shelf.faces().err().unwrap().to_string();
        assert!(error.contains(&entry.file), "{error}");
        assert!(error.contains("damaged or another file"), "{error}");
        fs::remove_file(&path).unwrap();
        let error = shelf.faces().err().unwrap();
        assert!(matches!(error, ModelError::Missing { .. }), "{error}");
    }

    #[test]
    fn a_pack_is_loaded_once_and_gives_way_to_what_comes() {
        let home = tempfile::tempdir().unwrap();
        let supply = Supply::new(home.path(), PackRule::WhileEmpty(Pack::Demo));
        let shelf = Shelf::new(supply, Device::Cpu);
        let faces = shelf.faces().unwrap();
        assert_eq!(faces.pack, Some(Pack::Demo));
        assert!(faces.embedder().is_ok() && faces.quality.is_none());
        assert!(Arc::ptr_eq(&faces, &shelf.faces().unwrap()));
        let entry = shelf.entry(Role::FaceDetector).unwrap();
        assert_eq!(entry.pack, Some(Pack::Demo));
        let catalog = Catalog::built_in();
        let path = catalog.find("yunet").unwrap().path(home.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"no network").unwrap();
        let error = shelf.faces().err().unwrap().to_string();
        assert!(error.contains("yunet"), "{error}");
        fs::remove_file(&path).unwrap();
        assert_eq!(shelf.faces().unwrap().pack, Some(Pack::Demo));
    }
}
