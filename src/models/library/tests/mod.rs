//! The library with a loader that only counts.

mod embeddings;
mod finding;
mod hashing;
mod loading;
mod packs;
mod scanning;
mod sharing;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use super::*;
use crate::models::place::Place;

/// The text of the file, and the number of the load.
#[derive(Debug, Clone, PartialEq)]
struct Fake {
    text: String,
    load: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct FakeError(String);

type Hook = Box<dyn Fn(&Path) -> Result<(), FakeError> + Send + Sync>;

/// Reads files as texts. What it is told to do before comes first.
#[derive(Default)]
struct FakeLoader {
    loads: Mutex<Vec<PathBuf>>,
    notices: Mutex<Vec<Notice>>,
    before: Mutex<Option<Hook>>,
    /// What a file takes, by its name; its size where nothing is said.
    sizes: Mutex<BTreeMap<String, u64>>,
    factor: Mutex<Option<f64>>,
}

impl FakeLoader {
    fn load(&self, place: &Place) -> Result<Fake, FakeError> {
        let Place::Disk(path) = place else {
            return Err(FakeError(format!("{place} is on no disk")));
        };
        let load = {
            let mut loads = self.loads.lock().unwrap();
            loads.push(path.clone());
            loads.len()
        };
        // Not under the lock, as it may wait.
        let before = self.before.lock().unwrap().take();
        if let Some(before) = before {
            let result = before(path);
            let mut slot = self.before.lock().unwrap();
            slot.get_or_insert(before);
            drop(slot);
            result?;
        }
        let text = if path.is_dir() {
            String::from("folder")
        } else {
            fs::read_to_string(path).map_err(|error| FakeError(error.to_string()))?
        };
        Ok(Fake { text, load })
    }

    fn count(&self) -> usize {
        self.loads.lock().unwrap().len()
    }

    fn bytes(&self, fake: &Fake) -> u64 {
        let path = self.loads.lock().unwrap()[fake.load - 1].clone();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let sizes = self.sizes.lock().unwrap();
        sizes.get(&name).copied().unwrap_or(fake.text.len() as u64)
    }

    fn set_before(&self, hook: impl Fn(&Path) -> Result<(), FakeError> + Send + Sync + 'static) {
        *self.before.lock().unwrap() = Some(Box::new(hook));
    }

    fn notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock().unwrap())
    }
}

impl Loader for Arc<FakeLoader> {
    type Painter = (Fake, Option<Fake>);
    type Guide = Fake;
    type Previewer = Fake;
    type Error = FakeError;

    fn painter(&self, checkpoint: &Place, vae: Option<&Place>) -> Result<Self::Painter, FakeError> {
        let own = self.load(checkpoint)?;
        Ok((own, vae.map(|vae| self.load(vae)).transpose()?))
    }

    fn guide(&self, place: &Place) -> Result<Fake, FakeError> {
        self.load(place)
    }

    fn previewer(&self, place: &Place) -> Result<Fake, FakeError> {
        self.load(place)
    }

    fn painter_bytes(&self, painter: &Self::Painter) -> u64 {
        let vae = painter.1.as_ref().map_or(0, |vae| self.bytes(vae));
        self.bytes(&painter.0) + vae
    }

    fn guide_bytes(&self, guide: &Fake) -> u64 {
        self.bytes(guide)
    }

    fn previewer_bytes(&self, previewer: &Fake) -> u64 {
        self.bytes(previewer)
    }

    fn factor(&self, _kind: Kind) -> f64 {
        self.factor.lock().unwrap().unwrap_or(1.0)
    }

    fn is_out_of_memory(&self, error: &FakeError) -> bool {
        error.0 == "no memory"
    }

    fn notice(&self, notice: &Notice) {
        self.notices.lock().unwrap().push(notice.clone());
    }
}

/// A data folder with its library.
struct Home {
    folder: tempfile::TempDir,
    loader: Arc<FakeLoader>,
    library: Library<Arc<FakeLoader>>,
}

impl Home {
    fn new() -> Self {
        Self::with_limit(1 << 30)
    }

    fn with_limit(limit_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let loader = Arc::new(FakeLoader::default());
        let library = Library::new(folder.path(), Arc::clone(&loader), limit_bytes);
        Self {
            folder,
            loader,
            library,
        }
    }

    /// Another library of the same folder, as after a restart.
    fn restarted(&self) -> Library<Arc<FakeLoader>> {
        Library::new(self.folder.path(), Arc::clone(&self.loader), 1 << 30)
    }

    fn path(&self, kind: Kind, file_name: &str) -> PathBuf {
        self.folder.path().join(kind.folder()).join(file_name)
    }

    fn put(&self, kind: Kind, file_name: &str, text: &str) -> PathBuf {
        let path = self.path(kind, file_name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A file as the library lists it.
    fn listed(&self, kind: Kind, file_name: &str) -> Listed {
        let all = self.library.list(kind);
        let found = all.into_iter().find(|listed| listed.file_name == file_name);
        found.unwrap()
    }

    fn put_listed(&self, kind: Kind, file_name: &str, text: &str) -> Listed {
        self.put(kind, file_name, text);
        self.listed(kind, file_name)
    }

    fn names(&self, kind: Kind) -> Vec<String> {
        let all = self.library.list(kind).into_iter();
        all.map(|listed| listed.file_name).collect()
    }
}

/// Where a file of the data folder is.
fn path_of(listed: &Listed) -> &Path {
    match &listed.place {
        Place::Disk(path) => path,
        Place::Pack(..) => panic!("{} is on no disk", listed.place),
    }
}

/// Sets when a file was changed, so that no test has to wait for the clock.
fn set_changed(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

fn never() -> bool {
    false
}
