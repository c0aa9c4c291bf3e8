//! Mounts: the cloud's bucket folders as local folders, and the files that requests name in them.
//!
//! A client's path is walked folder by folder from the mount's root and no link is followed, not
//! even one that stays inside: links are how a path leaves its mount, a check before opening can be
//! raced, and clients of a mount have no need of them. Only the root itself may be a link, since
//! the operator set it.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

use super::{StoreError, data_folder::create_private, temporary_name};
use crate::domain::Mount;

/// Longest path that a client may send, in bytes (`PATH_MAX` of Linux).
const PATH_BYTES_MAX: usize = 4096;

/// Folders of the data folder that no bucket may lie in: what they hold is not for requests.
const OWN_FOLDERS: [&str; 4] = ["blobs", "outputs", "photog", "webui"];

/// A line of the table from bucket folders to local ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketFolder {
    /// Name of the bucket.
    pub bucket: String,
    /// Key prefix, without slashes at its ends; empty for the whole bucket.
    pub prefix: String,
    /// The local folder that holds the keys below the prefix.
    pub folder: PathBuf,
}

/// The mounts of one service.
#[derive(Debug, Clone, Default)]
pub struct Mounts(Vec<MountedFolder>);

#[derive(Debug, Clone)]
struct MountedFolder {
    mount: Mount,
    root: PathBuf,
}

impl Mounts {
    /// Finds the local folder of each mount.
    ///
    /// A line of `table` decides, the longest prefix first; without one it is
    /// `<data_root>/<bucket>/<prefix>`. Folders that are missing are made.
    pub fn new(
        mounts: &[Mount],
        table: &[BucketFolder],
        data_root: &Path,
    ) -> Result<Self, StoreError> {
        let mut mounted = Vec::with_capacity(mounts.len());
        for mount in mounts {
            let invalid = |why| StoreError::InvalidMount {
                mount: mount.mount_path.clone(),
                why,
            };
            let root = local_folder(mount, table, data_root).map_err(invalid)?;
            create_private(&root).map_err(|_| invalid("its folder cannot be made"))?;
            mounted.push(MountedFolder {
                mount: mount.clone(),
                root,
            });
        }
        Ok(Self(mounted))
    }

    /// Mount paths with their local folders, for reports to the operator.
    pub fn folders(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.0
            .iter()
            .map(|each| (each.mount.mount_path.as_str(), each.root.as_path()))
    }

    /// True when `address` is an `oss://` address or a path below one of the mounts.
    pub fn covers(&self, address: &str) -> bool {
        address.starts_with("oss://") || self.below_a_mount(address).is_some()
    }

    /// Reads a plain file of at most `limit` bytes.
    ///
    /// `address` is `oss://bucket/key` or a path below a mount such as `/photog_oss/a.jpg`.
    pub fn read(&self, address: &str, limit: u64) -> Result<Vec<u8>, StoreError> {
        let (mounted, path) = self.locate(address)?;
        read_bounded(open_below(&mounted.root, path)?, limit)
    }

    /// Writes a file, whole or not at all, and makes the folders on the way to it.
    ///
    /// `address` as in [`Mounts::read`]; a plain file that is there already is replaced.
    pub fn write(&self, address: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let (mounted, path) = self.locate(address)?;
        if mounted.mount.read_only {
            return Err(StoreError::ReadOnly);
        }
        let (folders, name) = split_path(path)?;
        let mut folder = open_root(&mounted.root)?;
        for part in folders {
            match rustix::fs::mkdirat(&folder, part, Mode::RWXU) {
                Ok(()) => rustix::fs::fsync(&folder).map_err(io::Error::from)?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            folder = open_folder(&folder, part)?;
        }
        match file_type(&folder, name) {
            Ok(FileType::RegularFile) | Err(StoreError::NotFound) => {}
            Ok(_) => return Err(StoreError::NotAFile),
            Err(error) => return Err(error),
        }
        write_in_folder(&folder, name, bytes)
    }

    fn locate<'a>(&self, address: &'a str) -> Result<(&MountedFolder, &'a str), StoreError> {
        let found = match address.strip_prefix("oss://") {
            Some(object) => self.in_a_bucket(object),
            None => self.below_a_mount(address),
        };
        found.ok_or(StoreError::PathRefused("it is below no mount"))
    }

    fn in_a_bucket<'a>(&self, object: &'a str) -> Option<(&MountedFolder, &'a str)> {
        let (bucket, key) = object.split_once('/')?;
        self.0
            .iter()
            .filter(|each| each.mount.bucket == bucket)
            .filter_map(|each| Some((each, below(key, &each.mount.prefix)?)))
            .max_by_key(|(each, _)| each.mount.prefix.len())
    }

    fn below_a_mount<'a>(&self, path: &'a str) -> Option<(&MountedFolder, &'a str)> {
        self.0
            .iter()
            .filter_map(|each| {
                let rest = path.strip_prefix(&each.mount.mount_path)?;
                Some((each, rest.strip_prefix('/')?))
            })
            .max_by_key(|(each, _)| each.mount.mount_path.len())
    }
}

/// Opens a plain file by its path below a folder. No link on the way is followed; only the folder
/// itself may be one.
pub fn open_below(root: &Path, path: &str) -> Result<File, StoreError> {
    let (folders, name) = split_path(path)?;
    let mut folder = open_root(root)?;
    for part in folders {
        folder = open_folder(&folder, part)?;
    }
    open_plain(&folder, name)
}

/// Reads a file of at most `limit` bytes.
pub fn read_bounded(file: File, limit: u64) -> Result<Vec<u8>, StoreError> {
    let length = file.metadata()?.len();
    if length > limit {
        return Err(StoreError::TooLarge { limit });
    }
    let mut bytes = Vec::with_capacity(length as usize);
    // The file may grow while it is read.
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(StoreError::TooLarge { limit });
    }
    Ok(bytes)
}

/// The local folder of a mount, or what is wrong with the mount.
fn local_folder(
    mount: &Mount,
    table: &[BucketFolder],
    data_root: &Path,
) -> Result<PathBuf, &'static str> {
    let is_name =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if !is_name(&mount.bucket) || mount.bucket.contains('/') {
        return Err("its bucket has no usable name");
    }
    if !mount.prefix.is_empty() && !mount.prefix.split('/').all(is_name) {
        return Err("its prefix is no plain path");
    }
    let listed = table
        .iter()
        .filter(|line| line.bucket == mount.bucket)
        .filter_map(|line| Some((line, below(&mount.prefix, &line.prefix)?)))
        .max_by_key(|(line, _)| line.prefix.len());
    Ok(match listed {
        Some((line, "")) => line.folder.clone(),
        Some((line, rest)) => line.folder.join(rest),
        None if OWN_FOLDERS.contains(&mount.bucket.as_str()) => {
            return Err(
                "its bucket has the name of one of photog's own folders; give it a folder with \
                 the setting `buckets`",
            );
        }
        None => data_root.join(&mount.bucket).join(&mount.prefix),
    })
}

/// What follows `prefix` and its slash in `key`, if `key` lies at or below it.
fn below<'a>(key: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.is_empty() {
        return Some(key);
    }
    let rest = key.strip_prefix(prefix)?;
    if rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix('/')
}

/// Folder names and file name of a client's path.
fn split_path(path: &str) -> Result<(Vec<&str>, &str), StoreError> {
    if path.len() > PATH_BYTES_MAX {
        return Err(StoreError::PathRefused("it is too long"));
    }
    if path.contains('\0') {
        return Err(StoreError::PathRefused("it holds a zero byte"));
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    if parts.contains(&"..") {
        return Err(StoreError::PathRefused("it holds `..`"));
    }
    let name = parts.pop().unwrap_or_default();
    if name.is_empty() || name == "." {
        return Err(StoreError::NotAFile);
    }
    // `a//b` and `a/./b` are the same file as `a/b` everywhere.
    parts.retain(|part| !part.is_empty() && *part != ".");
    Ok((parts, name))
}

fn open_root(root: &Path) -> Result<OwnedFd, StoreError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(root, flags, Mode::empty())?)
}

fn open_folder(parent: &OwnedFd, name: &str) -> Result<OwnedFd, StoreError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Ok(folder) => Ok(folder),
        // Linux answers NOTDIR for a link here, because DIRECTORY is asked for as well.
        Err(Errno::NOTDIR | Errno::LOOP) => match file_type(parent, name)? {
            FileType::Symlink => Err(LINK_REFUSED),
            _ => Err(StoreError::NotFound),
        },
        Err(error) => Err(error.into()),
    }
}

const LINK_REFUSED: StoreError = StoreError::PathRefused("it leads over a link");

/// Opens a plain file. The type is asked before opening, because opening a device may act on it,
/// and again after, because the name may have changed hands in between.
fn open_plain(folder: &OwnedFd, name: &str) -> Result<File, StoreError> {
    match file_type(folder, name)? {
        FileType::RegularFile => {}
        FileType::Symlink => return Err(LINK_REFUSED),
        _ => return Err(StoreError::NotAFile),
    }
    // NONBLOCK keeps a pipe that slipped in from blocking; plain files ignore it.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(folder, name, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(StoreError::NotAFile);
    }
    Ok(file)
}

fn file_type(folder: &OwnedFd, name: &str) -> Result<FileType, StoreError> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// [`super::write_atomic`] in a folder that is already open.
fn write_in_folder(folder: &OwnedFd, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = temporary_name();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let mut file = File::from(rustix::fs::openat(folder, &temporary, flags, mode)?);
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| Ok(rustix::fs::renameat(folder, &temporary, folder, name)?));
    if let Err(error) = written {
        // The first error is the one to report; a leftover is harmless.
        let _ = rustix::fs::unlinkat(folder, &temporary, AtFlags::empty());
        return Err(error.into());
    }
    Ok(rustix::fs::fsync(folder)?)
}

impl From<Errno> for StoreError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR => Self::NotFound,
            Errno::LOOP => LINK_REFUSED,
            Errno::NAMETOOLONG => Self::PathRefused("a name in it is too long"),
            other => Self::Io(other.into()),
        }
    }
}

#[cfg(test)]
mod tests;
