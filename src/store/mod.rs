//! Files on disk: the data folder with its layout, and the mounts that requests may name files in.
//!
//! Promises: a file written here is whole or absent, also after a loss of power; a path that a
//! client sends never leads out of its mount; no read is larger than its caller allows.
//! What the files mean is not known here.

mod data_folder;
mod mounts;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

pub use data_folder::{DataFolder, create_private};
pub use mounts::{BucketFolder, Mounts, open_below, read_bounded};

/// Why a file could not be read or written.
///
/// The texts name no path, because paths of clients may hold a person's name.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such file.
    #[error("there is no such file below the mount; check the path")]
    NotFound,
    /// The path may not be used: it leads out of the mount or is no path at all.
    #[error("the path is not allowed, {0}; name a file below the mount by its plain path")]
    PathRefused(&'static str),
    /// Something is there that is not a plain file.
    #[error("the path names no plain file; folders, devices and pipes are not read")]
    NotAFile,
    /// The file is larger than the caller's limit.
    #[error("the file is larger than the limit of {limit} bytes; send a smaller one")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The mount refuses writing.
    #[error("the mount is read-only; write to another one or change `readOnly` in the service")]
    ReadOnly,
    /// A mount of the service settings cannot be used.
    #[error("mount `{mount}` cannot be used, {why}; correct `storage` in the service JSON")]
    InvalidMount {
        /// Where requests see it.
        mount: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The disk or the file system failed.
    #[error("the file system failed: {0}; check free space and permissions of the data folder")]
    Io(#[from] io::Error),
}

/// Writes a file so that it is either whole or not there, whatever fails.
///
/// The bytes go to a file of another name in the same folder, to the disk, and then under `path`;
/// the folder is synced so that the name lasts too. A file that is there already is replaced. The
/// folder must exist.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_atomic_with(path, |file| Ok(file.write_all(bytes)?))
}

/// As [`write_atomic`], for bytes that `fill` writes. When that fails, its error comes back and no
/// file is there.
pub fn write_atomic_with<E: From<StoreError>>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let io = |error: io::Error| E::from(StoreError::Io(error));
    let folder = path.parent().ok_or(StoreError::NotAFile)?;
    let temporary = folder.join(temporary_name());
    let written = File::create_new(&temporary)
        .map_err(io)
        .and_then(|mut file| {
            fill(&mut file)?;
            file.sync_all().map_err(io)?;
            fs::rename(&temporary, path).map_err(io)
        });
    if let Err(error) = written {
        // The first error is the one to report; a leftover is harmless.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(sync_folder(folder)?)
}

/// Makes the names in a folder last over a loss of power.
pub fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    // A bare file name has an empty parent, which is the current folder.
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    Ok(File::open(folder)?.sync_all()?)
}

/// A name that no other writer uses, short however long the final name is.
fn temporary_name() -> String {
    format!(".{}.tmp", uuid::Uuid::new_v4().simple())
}
