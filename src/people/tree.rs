//! Folders with all that is in them: to the disk, elsewhere, away.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::store::{StoreError, create_private, sync_folder};

/// Whether something has this name, be it a link that leads nowhere.
pub(super) fn is_there(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether this is a folder, and no link to one.
pub(super) fn is_folder(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(about) => Ok(about.is_dir()),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a folder holds a plain file, however deep.
pub(super) fn has_files(folder: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absence(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() || (kind.is_dir() && has_files(&entry.path())?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Brings every file and every name below a folder to the disk. Links are not followed.
pub(super) fn sync(folder: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_folder(folder)
}

/// Removes what has this name with all that is in it, for good; nothing there is no error.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let kind = match path.symlink_metadata() {
        Ok(about) => about.file_type(),
        Err(error) if is_absence(&error) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let removed = if kind.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        // Somebody else removes it too.
        Err(error) if !is_absence(&error) => Err(error.into()),
        _ => sync_parent(path),
    }
}

/// Gives a folder another name, for good. Nothing may have that name.
///
/// The WebUI's folders often lie on another disk, behind a link. Then the folder is copied, whole or
/// not at all, by way of `beside`, a name in the new folder that nobody looks at.
pub(super) fn rename(from: &Path, to: &Path, beside: &Path) -> Result<(), StoreError> {
    match fs::rename(from, to) {
        Ok(()) => {
            sync_parent(to)?;
            sync_parent(from)
        }
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            move_by_copy(from, to, beside)
        }
        Err(error) => Err(error.into()),
    }
}

fn move_by_copy(from: &Path, to: &Path, beside: &Path) -> Result<(), StoreError> {
    remove(beside)?;
    copy(from, beside)?;
    sync(beside)?;
    fs::rename(beside, to)?;
    sync_parent(to)?;
    remove(from)
}

/// Copies plain files and folders.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    create_private(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let copied = to.join(entry.file_name());
        if kind.is_dir() {
            copy(&entry.path(), &copied)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), copied)?;
        }
    }
    Ok(())
}

/// Takes a folder out of its place into another, which nothing may have, and which goes with all
/// that is in it soon. From another disk the folder is removed at once.
pub(super) fn set_aside(path: &Path, aside: &Path) -> Result<(), StoreError> {
    match fs::rename(path, aside) {
        Ok(()) => {
            sync_parent(aside)?;
            sync_parent(path)
        }
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => remove(path),
        Err(error) => Err(error.into()),
    }
}

/// Makes the present names in the folder of a path last.
pub(super) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_moves_by_copy_as_it_does_by_name() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let fill = || {
            fs::create_dir_all(path("from/deep")).unwrap();
            fs::write(path("from/deep/a"), b"a").unwrap();
        };
        fill();
        // What an earlier attempt left.
        fs::create_dir_all(path(".beside/old")).unwrap();
        move_by_copy(&path("from"), &path("to"), &path(".beside")).unwrap();
        assert_eq!(fs::read(path("to/deep/a")).unwrap(), b"a");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        remove(&path("to")).unwrap();
        fill();
        rename(&path("from"), &path("to"), &path(".beside")).unwrap();
        assert_eq!(fs::read(path("to/deep/a")).unwrap(), b"a");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_removed_and_what_it_leads_to_stays() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::create_dir_all(path("other/deep")).unwrap();
        fs::create_dir(path("gone")).unwrap();
        symlink(path("other"), path("gone/inside")).unwrap();
        symlink(path("other"), path("link")).unwrap();
        symlink(path("nowhere"), path("broken")).unwrap();
        assert!(is_there(&path("broken")).unwrap());
        for name in ["gone", "link", "broken", "never"] {
            remove(&path(name)).unwrap();
            assert!(!is_there(&path(name)).unwrap(), "{name}");
        }
        assert!(path("other/deep").is_dir());
    }

    #[test]
    fn folders_without_files_hold_nothing() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join("a/b");
        assert!(!has_files(&deep).unwrap());
        fs::create_dir_all(&deep).unwrap();
        assert!(!has_files(home.path()).unwrap());
        fs::write(deep.join("c"), b"").unwrap();
        assert!(has_files(home.path()).unwrap());
        sync(home.path()).unwrap();
    }
}
