//! Which files of a kind there are.
//!
//! Nothing is opened: a file is told by its name and place. Hidden files are left out, and so are
//! downloads that are not done: they have another ending, no bytes yet, or aria2's notes beside them.
//!
//! Links: the folder of a kind may be a link itself, and a link to a plain file is followed wherever
//! it leads, because only the operator can put one here and sharing a large file between programs
//! is why one does. A link to a folder is not followed: it may lead in circles, or to a tree that
//! has nothing to do with models.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::listed::{Kind, Listed, Stamp, stem};
use crate::{
    models::place::{Place, in_pack},
    pack::Pack,
};

/// Ending of the files that can be read, the dot included.
pub(super) const ENDING: &str = ".safetensors";
/// Endings of pickle files.
const PICKLES: [&str; 5] = ["ckpt", "pt", "pth", "bin", "pkl"];
/// What marks the folder of a whole model.
const INDEX: &str = "model_index.json";
/// What stands between name and ending of a VAE beside a checkpoint, as in `name.vae.safetensors`.
const VAE_PART: &str = ".vae";
/// What aria2 puts beside a download that is not done.
const UNDONE: &str = ".aria2";
/// One of these is beside the `config.json` in the folder of a single network.
const NETWORK_FILES: [&str; 3] = [
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.fp16.safetensors",
];
/// How deep folders are searched.
const DEPTH_MAX: usize = 8;
/// Most files and folders that are looked at for one kind.
const ENTRIES_MAX: usize = 20_000;

/// What a folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Models, by their names.
    pub files: Vec<Listed>,
    /// Files that look like models and are not read.
    pub refused: Vec<RefusedFile>,
    /// What was not searched and why, for the operator.
    pub notes: Vec<String>,
}

/// A file that is there and cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedFile {
    /// What it would be for.
    pub kind: Kind,
    /// Path below the kind's folder, with `/` between the parts.
    pub file_name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Why, and what to do.
    pub hint: &'static str,
}

/// Why pickles are not read.
const PICKLE_HINT: &str = "it is a pickle, which can run code when it is opened; take the \
                                      .safetensors file of the same model, or convert it";

/// Looks through the folder of a kind. A folder that is not there holds nothing.
pub(super) fn scan(data_folder: &Path, kind: Kind) -> Listing {
    scan_up_to(ENTRIES_MAX, data_folder, kind)
}

/// The same, with at most so many files and folders of one folder's tree.
pub(super) fn scan_up_to(entries_max: usize, data_folder: &Path, kind: Kind) -> Listing {
    let mut listing = walk(entries_max, data_folder, kind, kind);
    if kind == Kind::Vae {
        let beside = walk(entries_max, data_folder, Kind::Checkpoint, kind);
        listing.files.extend(beside.files);
        listing.refused.extend(beside.refused);
        listing.notes.extend(beside.notes);
    }
    listing
        .files
        .sort_by_cached_key(|file| (file.file_name.to_lowercase(), file.file_name.clone()));
    listing
        .refused
        .sort_by(|one, other| one.file_name.cmp(&other.file_name));
    listing
}

/// What the folder of the kind `place` holds of the kind `wanted`.
fn walk(entries_max: usize, data_folder: &Path, place: Kind, wanted: Kind) -> Listing {
    let root = data_folder.join(place.folder());
    let mut walk = Walk {
        place,
        wanted,
        entries_left: entries_max,
        listing: Listing::default(),
    };
    let mut open = vec![(root, String::new(), 0)];
    while let Some((path, below, depth)) = open.pop() {
        let entries = match walk.entries(&path, &below) {
            Ok(entries) => entries,
            Err(error) => {
                // Even the root may be missing: nobody has such a model then.
                if error.kind() != io::ErrorKind::NotFound {
                    walk.note(&format!("`{below}` was not searched: {error}"));
                }
                continue;
            }
        };
        let names: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        for Entry { name, is_folder } in &entries {
            let file_name = format!("{below}{name}");
            let path = path.join(name);
            if !is_folder {
                let undone = names.contains(format!("{name}{UNDONE}").as_str());
                walk.file(file_name, path, undone);
            } else if walk.is_model(&path) {
                walk.add(file_name, path);
            } else if depth < DEPTH_MAX {
                open.push((path, format!("{file_name}/"), depth + 1));
            } else {
                walk.note(&format!(
                    "`{file_name}` was not searched: it lies more than {DEPTH_MAX} folders deep"
                ));
            }
        }
    }
    walk.listing
}

struct Walk {
    place: Kind,
    wanted: Kind,
    /// How many files and folders may still be looked at.
    entries_left: usize,
    listing: Listing,
}

struct Entry {
    name: String,
    is_folder: bool,
}

impl Walk {
    /// Files and folders that have a name to be shown; `below` is the folder's. Links to folders are left
    /// out, and that is noted: they may lead in a circle.
    fn entries(&mut self, folder: &Path, below: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if self.entries_left == 0 {
                self.note("there are too many files; not all were searched");
                break;
            }
            self.entries_left -= 1;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // Names stand in answers and in terminals, which obey control characters.
            if name.starts_with('.') || name.contains(char::is_control) {
                continue;
            }
            let is_folder = entry.file_type()?.is_dir();
            if is_folder || entry.path().is_file() {
                entries.push(Entry { name, is_folder });
            } else if entry.path().is_dir() {
                self.note(&format!(
                    "`{below}{name}` was not searched: links to folders are not followed; move the \
                     folder here, or link to its files"
                ));
            }
        }
        Ok(entries)
    }

    /// Whether a folder is one model.
    fn is_model(&self, path: &Path) -> bool {
        match self.place {
            Kind::Checkpoint => path.join(INDEX).is_file(),
            Kind::Vae | Kind::ControlNet | Kind::Taesd => {
                path.join("config.json").is_file()
                    && NETWORK_FILES.iter().any(|name| path.join(name).is_file())
            }
            Kind::Lora | Kind::Embedding | Kind::Upscaler => false,
        }
    }

    fn file(&mut self, file_name: String, path: PathBuf, undone: bool) {
        let Some((name, end)) = file_name.rsplit_once('.') else {
            return;
        };
        let is_vae = self.place == Kind::Checkpoint && name.ends_with(VAE_PART);
        if self.place == Kind::Checkpoint && is_vae != (self.wanted == Kind::Vae) {
            return;
        }
        if end.eq_ignore_ascii_case(&ENDING[1..]) {
            if !undone {
                self.add(file_name, path);
            }
        } else if PICKLES.iter().any(|known| end.eq_ignore_ascii_case(known)) {
            self.listing.refused.push(RefusedFile {
                kind: self.wanted,
                file_name,
                path,
                hint: PICKLE_HINT,
            });
        }
    }

    fn add(&mut self, file_name: String, path: PathBuf) {
        // A folder that is wanted here is one model; of the checkpoints' folder only files are VAEs.
        if self.place != self.wanted && path.is_dir() {
            return;
        }
        match listed(self.wanted, file_name, path.into()) {
            Ok(listed) if listed.bytes > 0 => self.listing.files.push(listed),
            Ok(_) => {}
            Err((file_name, error)) => {
                self.note(&format!("`{file_name}` cannot be read: {error}"));
            }
        }
    }

    fn note(&mut self, text: &str) {
        /// More than these help nobody.
        const NOTES_MAX: usize = 20;
        if self.listing.notes.len() < NOTES_MAX {
            let text = format!("{}: {text}", self.place.folder());
            if !self.listing.notes.contains(&text) {
                self.listing.notes.push(text);
            }
        }
    }
}

/// The models of a kind in a pack: whole files, and the folders of whole models.
pub(super) fn scan_pack(pack: Pack, kind: Kind) -> Listing {
    let below = in_pack(kind.folder());
    let mut listing = Listing::default();
    for path in pack.files() {
        let Some(file_name) = path
            .strip_prefix(below)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            continue;
        };
        let is_weights = !file_name.contains('/') && file_name.ends_with(ENDING);
        let file_name = match file_name.strip_suffix(INDEX) {
            Some(folder) if kind == Kind::Checkpoint => folder.trim_end_matches('/'),
            _ if is_weights => file_name,
            _ => continue,
        };
        let place = Place::Pack(pack, format!("{below}/{file_name}"));
        let listed = listed(kind, file_name.to_owned(), place);
        // What was just listed is there.
        listing.files.extend(listed.ok());
    }
    listing
}

/// A model without opening it; the error comes with the name.
fn listed(kind: Kind, file_name: String, place: Place) -> Result<Listed, (String, io::Error)> {
    match Stamp::at(&place) {
        Ok(stamp) => Ok(Listed {
            kind,
            name: name(kind, &file_name),
            file_name,
            place,
            bytes: stamp.bytes,
            changed: stamp.changed,
        }),
        Err(error) => Err((file_name, error)),
    }
}

/// The WebUI's name of a file of this path below the kind's folder.
fn name(kind: Kind, file_name: &str) -> String {
    let stem = stem(file_name);
    match kind {
        Kind::Checkpoint => stem.replace(['/', '\\'], "_"),
        _ => stem.rsplit('/').next().unwrap_or(stem).to_owned(),
    }
}
