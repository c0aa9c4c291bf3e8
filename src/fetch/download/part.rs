//! What has come of a file, on the disk: `NAME.part`, and beside it `NAME.part.from` with what is
//! known of its origin.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{CHUNK_BYTES, Download, DownloadError};
use crate::store::{StoreError, sync_folder, write_atomic};

/// Largest note of an origin in bytes: an address and a name of a state.
const NOTE_BYTES_MAX: u64 = 64 << 10;

/// Where a part came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The address that was asked for.
    pub(super) url: String,
    /// What names the state of the file, fit for `If-Range`.
    pub(super) validator: Option<String>,
    /// Size of the whole file in bytes.
    pub(super) total: Option<u64>,
}

/// The part of a file. One process has it at a time.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
    note: PathBuf,
    length: u64,
    hasher: Sha256,
    origin: Option<Origin>,
}

impl Part {
    /// Takes up what an earlier call left, if it is of the same address and not too long.
    pub(super) fn open(wanted: &Download<'_>) -> Result<Self, DownloadError> {
        let path = beside(wanted.target, ".part");
        let note = beside(wanted.target, ".part.from");
        let file = open_alone(&path)?;
        let mut part = Self {
            file,
            path,
            note,
            length: 0,
            hasher: Sha256::new(),
            origin: None,
        };
        let length = part.file.metadata()?.len();
        let limit = wanted.size.unwrap_or(u64::MAX).min(wanted.bytes_max);
        part.origin = part.read_note().filter(|origin| origin.url == wanted.url);
        if part.origin.is_none() || length > limit {
            part.clear()?;
        } else {
            part.read_on()?;
        }
        Ok(part)
    }

    /// How many bytes have come.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Size of the whole file, where its host named it.
    pub(super) fn total(&self) -> Option<u64> {
        self.origin.as_ref()?.total
    }

    /// What names the state of the file, fit for `If-Range`.
    pub(super) fn validator(&self) -> Option<&str> {
        self.origin.as_ref()?.validator.as_deref()
    }

    /// Hash of what has come, in small hexadecimal digits.
    pub(super) fn sha256(&self) -> String {
        hexadecimal(&self.hasher.clone().finalize())
    }

    /// Begins a file anew.
    pub(super) fn begin(&mut self, origin: Origin) -> Result<(), DownloadError> {
        self.clear()?;
        let note = serde_json::to_vec(&origin).map_err(io::Error::from)?;
        write_atomic(&self.note, &note)?;
        self.origin = Some(origin);
        Ok(())
    }

    /// Throws away what has come.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.origin = None;
        self.length = 0;
        self.hasher = Sha256::new();
        // The note first: bytes without one are not taken up again.
        match fs::remove_file(&self.note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.file.set_len(0)?;
        self.file.rewind()
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Gives the whole file its name, on the disk.
    pub(super) fn keep_as(&self, target: &Path) -> Result<(), StoreError> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        // Without its part it means nothing, and the next part begins with a new one.
        let _ = fs::remove_file(&self.note);
        sync_folder(target.parent().unwrap_or(Path::new("")))
    }

    /// Leaves the part for a later call; an empty one leaves nothing behind.
    pub(super) fn leave(&self) {
        if self.length == 0 {
            // A leftover without bytes is harmless.
            let _ = fs::remove_file(&self.note);
            let _ = fs::remove_file(&self.path);
        }
    }

    fn read_note(&self) -> Option<Origin> {
        let mut bytes = Vec::new();
        let note = File::open(&self.note).ok()?;
        note.take(NOTE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Reads what is there to its end, for the hash.
    fn read_on(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = self.file.read(&mut chunk)?;
            if count == 0 {
                return Ok(());
            }
            self.hasher.update(&chunk[..count]);
            self.length += count as u64;
        }
    }
}

/// Opens or makes a file that no other process has.
fn open_alone(path: &Path) -> Result<File, DownloadError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        Errno::WOULDBLOCK => DownloadError::Busy,
        other => DownloadError::Io(other.into()),
    })?;
    // Before the lock was given, another process may have finished the file and given it its name.
    let is_same = |there: fs::Metadata, here: &fs::Metadata| {
        (there.dev(), there.ino()) == (here.dev(), here.ino())
    };
    let here = file.metadata()?;
    if fs::metadata(path).is_ok_and(|there| is_same(there, &here)) {
        Ok(file)
    } else {
        Err(DownloadError::Busy)
    }
}

/// A path with more at its end.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut whole = OsString::from(path);
    whole.push(end);
    PathBuf::from(whole)
}

/// Bytes in small hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
