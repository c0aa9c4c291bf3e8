//! Payload files: large payloads lie beside the database.
//!
//! A file is written under a temporary name, synced, renamed, and its folder synced, before the row
//! that names it is written. So a row never names a file that is not whole on disk. The reverse,
//! a file that no row names, is left by a crash at the wrong moment and swept at the next start.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use uuid::Uuid;

use super::QueueError;

/// Payloads above this size become files.
///
/// With checkpoints counted, rows win up to 512 KiB on a disk that syncs quickly (`blob-threshold`
/// in `benches/README.md`): a file costs two syncs of its own. Two things speak for less: a payload
/// up to this size lies in memory for each connection that sends one, and all rows pass through the
/// one writer thread. At 256 KiB a row is still three times as cheap, and a thousand such uploads
/// at once need 256 MiB.
pub const BLOB_THRESHOLD_BYTES: u64 = 256 * 1024;

const TEMPORARY_PREFIX: &str = "tmp-";

/// The folder of payload files.
#[derive(Debug, Clone)]
pub struct BlobFolder(PathBuf);

impl BlobFolder {
    /// Opens the folder and makes it if it is missing.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Begins a new file.
    pub fn create(&self) -> Result<BlobWriter, QueueError> {
        let name = Uuid::now_v7().as_simple().to_string();
        let temporary = self.0.join(format!("{TEMPORARY_PREFIX}{name}"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)?;
        let blob = PendingBlob {
            path: temporary,
            name,
            size: 0,
            kept: AtomicBool::new(false),
        };
        Ok(BlobWriter {
            folder: self.0.clone(),
            file,
            blob,
        })
    }

    /// Opens a file for reading; `NotFound` when it is gone.
    pub(super) fn open_blob(&self, name: &str) -> Result<File, QueueError> {
        File::open(self.0.join(name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => QueueError::NotFound,
            _ => QueueError::Storage(format!("payload file {name}: {error}")),
        })
    }

    /// Removes a file whose row is gone. A file that cannot be removed is swept at the next start.
    pub(super) fn remove(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.0.join(name)) {
            tracing::warn!(name, %error, "a payload file could not be removed; it will be at the next start");
        }
    }

    /// Removes every file that no row names. Only before anybody writes. Returns how many.
    pub(super) fn sweep(&self, used: &HashSet<String>) -> io::Result<usize> {
        let mut removed = 0;
        for file in fs::read_dir(&self.0)? {
            let file = file?;
            let ours = file
                .file_name()
                .to_str()
                .is_some_and(|name| !used.contains(name));
            if ours && file.file_type()?.is_file() {
                fs::remove_file(file.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// A payload file that is being written; dropped before [`BlobWriter::finish`] it is removed.
#[derive(Debug)]
pub struct BlobWriter {
    folder: PathBuf,
    file: File,
    blob: PendingBlob,
}

impl BlobWriter {
    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), QueueError> {
        self.file.write_all(bytes)?;
        self.blob.size += bytes.len() as u64;
        Ok(())
    }

    /// Brings the file to disk under its final name. Blocks for two syncs.
    pub fn finish(mut self) -> Result<PendingBlob, QueueError> {
        self.file.sync_all()?;
        let path = self.folder.join(&self.blob.name);
        fs::rename(&self.blob.path, &path)?;
        self.blob.path = path;
        sync_folder(&self.folder)?;
        Ok(self.blob)
    }
}

/// A payload file that no row names yet; dropped unless it was kept, it is removed.
#[derive(Debug)]
pub struct PendingBlob {
    path: PathBuf,
    name: String,
    size: u64,
    kept: AtomicBool,
}

impl PendingBlob {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// From now on a row names the file, or may do so.
    pub(super) fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }
}

impl Drop for PendingBlob {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Relaxed) {
            // What cannot be removed now is swept at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = BlobFolder::open(scratch.path().join("blobs")).unwrap();
        let files = || fs::read_dir(scratch.path().join("blobs")).unwrap().count();

        let mut unfinished = folder.create().unwrap();
        unfinished.write(b"half").unwrap();
        drop(unfinished);
        assert_eq!(files(), 0);

        let mut writer = folder.create().unwrap();
        writer.write(b"who").unwrap();
        writer.write(b"le").unwrap();
        let refused = writer.finish().unwrap();
        assert_eq!((refused.size(), files()), (5, 1));
        drop(refused);
        assert_eq!(files(), 0);

        let mut writer = folder.create().unwrap();
        writer.write(b"whole").unwrap();
        let kept = writer.finish().unwrap();
        kept.keep();
        let name = kept.name().to_owned();
        drop(kept);
        assert_eq!(
            io::read_to_string(folder.open_blob(&name).unwrap()).unwrap(),
            "whole"
        );
        assert_eq!(folder.sweep(&HashSet::from([name])).unwrap(), 0);
        assert_eq!(folder.sweep(&HashSet::new()).unwrap(), 1);
        assert_eq!(files(), 0);
    }
}
