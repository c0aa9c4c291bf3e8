//! The layout of the data folder.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::StoreError;

/// Folders below the root that are made at the start.
const FOLDERS: [&str; 13] = [
    "blobs",
    "outputs",
    "photog/training",
    "photog/user_images",
    "photog/user_weights",
    "webui/embeddings",
    "webui/models/ControlNet",
    "webui/models/ESRGAN",
    "webui/models/Lora",
    "webui/models/Stable-diffusion",
    "webui/models/VAE",
    "webui/models/VAE-approx",
    "webui/models/photog",
];

/// The folder in which everything lives: database, payloads, models, people, portraits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFolder {
    root: PathBuf,
}

impl DataFolder {
    /// Opens the data folder and makes what is missing of it.
    ///
    /// A folder made here is for its owner alone, since it holds photos of people; one that exists
    /// keeps its permissions.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = std::path::absolute(root.into())?;
        for folder in FOLDERS {
            create_private(&root.join(folder))?;
        }
        Ok(Self { root })
    }

    /// Names the data folder without making anything, least of all a folder under a mistyped name.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself, as an absolute path if it was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder this process' own until the file is dropped; `None` when another process
    /// has it.
    pub fn lock(&self) -> Option<fs::File> {
        let path = self.root.join("photog.lock");
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .ok()?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(file)
    }

    /// Free bytes of the disk for this user; `None` when the file system does not tell.
    pub fn free_bytes(&self) -> Option<u64> {
        let space = rustix::fs::statvfs(&self.root).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// The SQLite file with queues, jobs and people.
    pub fn database(&self) -> PathBuf {
        self.root.join("photog.db")
    }

    /// Payloads too large for a row.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Root of the model folders, laid out like the WebUI's data folder.
    pub fn webui(&self) -> PathBuf {
        self.root.join("webui")
    }

    /// The folder of one kind of model, for example `Lora` or `Stable-diffusion`; `photog` holds
    /// the face and helper networks.
    pub fn models(&self, kind: &str) -> PathBuf {
        self.webui().join("models").join(kind)
    }

    /// Training photos, one folder per person.
    pub fn user_images(&self) -> PathBuf {
        self.root.join("photog/user_images")
    }

    /// Checkpoints and validation pictures, one folder per person.
    pub fn user_weights(&self) -> PathBuf {
        self.root.join("photog/user_weights")
    }

    /// Trainings that are not done yet, one folder per person.
    pub fn training(&self) -> PathBuf {
        self.root.join("photog/training")
    }

    /// Finished portraits.
    pub fn outputs(&self) -> PathBuf {
        self.root.join("outputs")
    }
}

/// Makes a folder and its parents, readable by the owner alone.
pub fn create_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::write_atomic;

    #[test]
    fn opening_makes_the_whole_layout_and_may_be_repeated() {
        let home = tempfile::tempdir().unwrap();
        let data = DataFolder::open(home.path().join("a/photog-data")).unwrap();
        assert_eq!(DataFolder::open(data.root()).unwrap(), data);
        for folder in [
            data.blobs(),
            data.outputs(),
            data.user_images(),
            data.user_weights(),
            data.models("Lora"),
            data.models("photog"),
        ] {
            assert!(folder.is_dir(), "{}", folder.display());
        }
        assert_eq!(data.database().parent(), Some(data.root()));
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("outputs"), b"").unwrap();
        assert!(DataFolder::open(home.path()).is_err());
    }

    #[test]
    fn an_atomic_write_replaces_the_file_and_leaves_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ref_image.jpg");
        write_atomic(&path, b"first").unwrap();
        write_atomic(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_atomic_write_keeps_the_old_file_and_cleans_up() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write_atomic(&path, b"bytes").is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        assert!(write_atomic(&home.path().join("no/such/folder"), b"").is_err());
    }
}
