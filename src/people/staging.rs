//! The folder of a training, which belongs to one at a time.
//!
//! It lies in `photog/training/<id>`, has the three folders that are going to be the person's, and:
//!
//! - `lock`, which is locked for as long as somebody works here. Locks of `flock` are the kernel's
//!   and go with the process, however it ends;
//! - `state`, what a training needs to go on, and nobody else;
//! - `publishing` once everything is here and on the disk, from when on there is only one way;
//! - `removing` once the person is to go, likewise;
//! - `old`, the folders of a person who is being replaced, on their way out.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

use super::{PeopleError, Person, place::Part, record, tree};
use crate::{
    domain::PersonId,
    store::{DataFolder, create_private, write_atomic},
};

/// How often a lock that somebody has is asked for, and after which rest. Who only looks whether a
/// person is in training holds the lock for an instant, which must not fail a training.
const LOCK_ATTEMPTS: u32 = 8;
const LOCK_REST: Duration = Duration::from_millis(10);

/// Names of folders that are on their way out begin with this. No id does.
const GONE: &str = ".gone-";

const LOCK: &str = "lock";
const PUBLISHING: &str = "publishing";
const REMOVING: &str = "removing";
const OLD: &str = "old";
pub(super) const STATE: &str = "state";
/// The folders that a training writes to.
const WRITTEN: [&str; 4] = [
    Part::Images.staged_name(),
    Part::Weights.staged_name(),
    Part::Lora.staged_name(),
    STATE,
];

/// Called before each step that changes the disk. Tests fail here, which is what a crash at this
/// point would leave.
pub(super) type BeforeStep<'a> = &'a mut dyn FnMut() -> Result<(), PeopleError>;

/// The folder of a training, locked.
#[derive(Debug)]
pub(super) struct Staging {
    data: DataFolder,
    id: PersonId,
    folder: PathBuf,
    _lock: File,
}

impl Staging {
    /// Locks the folder of a training and makes it if it is missing.
    pub(super) fn lock(data: &DataFolder, id: &PersonId) -> Result<Self, PeopleError> {
        let folder = data.training().join(id.as_str());
        for _ in 0..LOCK_ATTEMPTS {
            create_private(&folder)?;
            match try_lock(&folder.join(LOCK)) {
                Ok(Some(lock)) => {
                    return Ok(Self {
                        data: data.clone(),
                        id: id.clone(),
                        folder,
                        _lock: lock,
                    });
                }
                Ok(None) => thread::sleep(LOCK_REST),
                // The folder went away just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(PeopleError::InTraining)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder that is going to be this one of the person's.
    pub(super) fn part(&self, part: Part) -> PathBuf {
        self.folder.join(part.staged_name())
    }

    /// Whether a training has left something to go on from.
    pub(super) fn has_files(&self) -> io::Result<bool> {
        has_files(&self.folder)
    }

    /// Makes the folders that a training writes to.
    pub(super) fn make_folders(&self) -> io::Result<()> {
        let mut folders = WRITTEN.map(|name| self.folder.join(name)).into_iter();
        folders.try_for_each(|folder| create_private(&folder))
    }

    /// Removes all that a training has written.
    pub(super) fn empty(&self) -> Result<(), PeopleError> {
        let mut folders = WRITTEN.map(|name| self.folder.join(name)).into_iter();
        Ok(folders.try_for_each(|folder| tree::remove(&folder))?)
    }

    /// Whether any folder of the person's own is there. A folder of LoRAs with this name alone may
    /// be anybody's.
    pub(super) fn is_owner(&self) -> io::Result<bool> {
        Ok(self.is_decided()?
            || tree::is_there(&Part::Images.folder(&self.data, &self.id))?
            || tree::is_there(&Part::Weights.folder(&self.data, &self.id))?)
    }

    fn is_decided(&self) -> io::Result<bool> {
        is_decided(&self.folder)
    }

    /// Brings everything to the disk and decides that it takes the person's place.
    pub(super) fn decide_to_publish(
        &self,
        person: &Person,
        before_step: BeforeStep<'_>,
    ) -> Result<(), PeopleError> {
        let text = person.to_json()?;
        if text.len() as u64 > record::BYTES_MAX {
            return Err(PeopleError::Incomplete("its record is too long"));
        }
        before_step()?;
        write_atomic(&self.part(Part::Weights).join(record::FILE_NAME), &text)?;
        for part in Part::ALL {
            tree::sync(&self.part(part))?;
        }
        tree::sync_parent(&self.folder)?;
        before_step()?;
        Ok(write_atomic(&self.folder.join(PUBLISHING), b"")?)
    }

    /// Decides that the person goes.
    pub(super) fn decide_to_remove(&self, before_step: BeforeStep<'_>) -> Result<(), PeopleError> {
        tree::sync_parent(&self.folder)?;
        before_step()?;
        Ok(write_atomic(&self.folder.join(REMOVING), b"")?)
    }

    /// Finishes what was decided here, by us or by one who ended in the middle. True when there
    /// was something; then the folder is gone, and with it the lock.
    pub(super) fn settle(&self, before_step: BeforeStep<'_>) -> Result<bool, PeopleError> {
        if tree::is_there(&self.folder.join(REMOVING))? {
            self.remove_person(before_step)?;
        } else if tree::is_there(&self.folder.join(PUBLISHING))? {
            self.publish(before_step)?;
        } else {
            return Ok(false);
        }
        self.leave(before_step)?;
        Ok(true)
    }

    /// Puts the folders into their places. Each step looks at what is there, so a repetition does
    /// what is left: a folder that is still here has not been put into its place.
    ///
    /// The record goes first and comes last. In between there is no such trained person, rather than
    /// one whose files do not belong together.
    pub(super) fn publish(&self, before_step: BeforeStep<'_>) -> Result<(), PeopleError> {
        let old = self.folder.join(OLD);
        create_private(&old)?;
        for part in [Part::Weights, Part::Lora, Part::Images] {
            let place = part.folder(&self.data, &self.id);
            if tree::is_there(&self.part(part))? && tree::is_there(&place)? {
                let aside = old.join(part.staged_name());
                tree::remove(&aside)?;
                before_step()?;
                tree::set_aside(&place, &aside)?;
            }
        }
        for part in [Part::Images, Part::Lora, Part::Weights] {
            if tree::is_there(&self.part(part))? {
                create_private(&part.home(&self.data))?;
                before_step()?;
                let place = part.folder(&self.data, &self.id);
                tree::rename(&self.part(part), &place, &self.beside(part))?;
            }
        }
        Ok(())
    }

    /// Removes the person, the record first: who has none is not trained.
    fn remove_person(&self, before_step: BeforeStep<'_>) -> Result<(), PeopleError> {
        let weights = Part::Weights.folder(&self.data, &self.id);
        before_step()?;
        // What a link in its place leads to is somebody else's.
        if tree::is_folder(&weights)? {
            tree::remove(&weights.join(record::FILE_NAME))?;
        }
        for part in [Part::Lora, Part::Images, Part::Weights] {
            before_step()?;
            tree::remove(&self.beside(part))?;
            tree::remove(&part.folder(&self.data, &self.id))?;
        }
        Ok(())
    }

    /// Removes this folder. All of it goes at once, so that a training that would go on never
    /// finds half of what it had left.
    pub(super) fn leave(&self, before_step: BeforeStep<'_>) -> Result<(), PeopleError> {
        let name = format!("{GONE}{}", Uuid::new_v4().simple());
        let gone = self.folder.with_file_name(name);
        before_step()?;
        fs::rename(&self.folder, &gone)?;
        tree::sync_parent(&gone)?;
        before_step()?;
        Ok(tree::remove(&gone)?)
    }

    /// Where a folder is copied to that cannot be moved.
    fn beside(&self, part: Part) -> PathBuf {
        part.home(&self.data).join(format!(".{}.part", self.id))
    }
}

/// Removes what others left on its way out.
pub(super) fn sweep(data: &DataFolder) -> Result<(), PeopleError> {
    for name in names(data)? {
        if name.starts_with(GONE) {
            tree::remove(&data.training().join(name))?;
        }
    }
    Ok(())
}

/// Everybody whose training has a folder.
pub(super) fn ids(data: &DataFolder) -> io::Result<Vec<PersonId>> {
    let names = names(data)?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

fn names(data: &DataFolder) -> io::Result<Vec<String>> {
    names_in(&data.training())
}

/// The names in a folder, sorted; none when there is no such folder.
pub(super) fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        // Ids are plain text.
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// Whether the folder of this training holds more than an empty place.
pub(super) fn is_begun(data: &DataFolder, id: &PersonId) -> io::Result<bool> {
    let folder = data.training().join(id.as_str());
    Ok(is_decided(&folder)? || has_files(&folder)?)
}

fn is_decided(folder: &Path) -> io::Result<bool> {
    Ok(tree::is_there(&folder.join(PUBLISHING))? || tree::is_there(&folder.join(REMOVING))?)
}

fn has_files(folder: &Path) -> io::Result<bool> {
    for name in WRITTEN {
        if tree::has_files(&folder.join(name))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether somebody works in the folder of this training now.
pub(super) fn is_locked(data: &DataFolder, id: &PersonId) -> io::Result<bool> {
    let path = data.training().join(id.as_str()).join(LOCK);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The locked file of this name; `None` when somebody else has it. `NotFound` when the name has gone
/// or means another file by now.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // Whoever had the lock may have removed the folder before letting go of it.
    let (ours, named) = (file.metadata()?, path.symlink_metadata()?);
    if (ours.dev(), ours.ino()) == (named.dev(), named.ino()) {
        Ok(Some(file))
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}
