//! Kinds of model files, and what is known of a file without reading it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::FileHash;
use crate::models::place::{Place, not_there, packed};

/// How deep the folder of one model may be, and how many files it may have.
const PARTS_DEPTH_MAX: usize = 4;
const PARTS_MAX: usize = 1000;

/// What a model file is for; each kind has its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// All networks that make pictures from text.
    Checkpoint,
    /// Changes to the weights of a checkpoint.
    Lora,
    /// A VAE that can take the place of a checkpoint's own.
    Vae,
    /// A network that steers by a picture.
    ControlNet,
    /// Learned tokens (textual inversion).
    Embedding,
    /// A small VAE for previews.
    Taesd,
    /// A network that makes pictures larger.
    Upscaler,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Checkpoint,
        Self::Lora,
        Self::Vae,
        Self::ControlNet,
        Self::Embedding,
        Self::Taesd,
        Self::Upscaler,
    ];

    /// As people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Lora => "LoRA",
            Self::Vae => "VAE",
            Self::ControlNet => "ControlNet",
            Self::Embedding => "embedding",
            Self::Taesd => "TAESD",
            Self::Upscaler => "upscaler",
        }
    }

    /// Its folder, below the root of the data folder.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Checkpoint => "webui/models/Stable-diffusion",
            Self::Lora => "webui/models/Lora",
            Self::Vae => "webui/models/VAE",
            Self::ControlNet => "webui/models/ControlNet",
            Self::Embedding => "webui/embeddings",
            Self::Taesd => "webui/models/VAE-approx",
            Self::Upscaler => "webui/models/ESRGAN",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A model file, or the folder of one model as diffusers writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is for.
    pub kind: Kind,
    /// The name that prompts and requests use, as in the WebUI: of a checkpoint the path below its
    /// folder with `_` for `/` and without the ending (`model_name`), of other kinds the name of the
    /// file without the ending.
    pub name: String,
    /// Path below the kind's folder, with `/` between the parts.
    pub file_name: String,
    /// Where it is.
    pub place: Place,
    /// Size in bytes; of a folder that of all its files.
    pub bytes: u64,
    /// When it was changed; of a folder the latest of its files. In a pack it never is, and this is the
    /// begin of time.
    pub changed: SystemTime,
}

impl Listed {
    /// The WebUI's `title`: the path below the folder, and the begin of the hash where it is known.
    pub fn title(&self, hash: Option<&FileHash>) -> String {
        with_hash(&self.file_name, hash)
    }

    /// The same with the bare name, as the WebUI's short list has it (`short_title`).
    pub fn short_title(&self, hash: Option<&FileHash>) -> String {
        with_hash(self.stem(), hash)
    }

    /// The last part of the path, with its ending.
    pub fn base_name(&self) -> &str {
        let last = self.file_name.rsplit_once('/');
        last.map_or(self.file_name.as_str(), |(_, name)| name)
    }

    /// The last part of the path without `.safetensors`.
    pub fn stem(&self) -> &str {
        stem(self.base_name())
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            bytes: self.bytes,
            changed: self.changed,
        }
    }
}

/// A name without the ending of a weights file. What else has a dot in it, such as the folder
/// `sd-v1.5`, keeps it.
pub(super) fn stem(name: &str) -> &str {
    let cut = name.len().saturating_sub(super::scan::ENDING.len());
    match name.get(cut..) {
        Some(end) if end.eq_ignore_ascii_case(super::scan::ENDING) => &name[..cut],
        _ => name,
    }
}

fn with_hash(name: &str, hash: Option<&FileHash>) -> String {
    match hash {
        Some(hash) => format!("{name} [{}]", hash.short()),
        None => String::from(name),
    }
}

/// By what a changed file is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    pub(super) changed: SystemTime,
}

impl Stamp {
    /// That of what is at a place.
    pub(super) fn at(place: &Place) -> io::Result<Self> {
        let (pack, path) = match place {
            Place::Disk(path) => return Self::of(path),
            Place::Pack(pack, path) => (*pack, path),
        };
        let files = packed(pack, path);
        if files.is_empty() {
            return Err(not_there());
        }
        Ok(Self {
            bytes: files.iter().map(|(_, file)| file.bytes.len() as u64).sum(),
            changed: SystemTime::UNIX_EPOCH,
        })
    }

    /// That of a file, or of all files of a model's folder.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let data = fs::metadata(path)?;
        if data.is_file() {
            return Ok(Self {
                bytes: data.len(),
                changed: data.modified()?,
            });
        }
        let mut sum = Self {
            bytes: 0,
            changed: data.modified()?,
        };
        for part in parts(path)? {
            let data = fs::metadata(part)?;
            sum.bytes = sum.bytes.saturating_add(data.len());
            sum.changed = sum.changed.max(data.modified()?);
        }
        Ok(sum)
    }
}

/// All plain files of a model's folder in the order of their paths, without hidden ones. Links to
/// folders are not followed. A folder with too many files is no model and an error.
pub(super) fn parts(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![(folder.to_path_buf(), 0)];
    while let Some((folder, depth)) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if files.len() + open.len() >= PARTS_MAX {
                let text = format!("the folder has more than {PARTS_MAX} files");
                return Err(io::Error::other(text));
            }
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                if depth < PARTS_DEPTH_MAX {
                    open.push((path, depth + 1));
                }
            } else if path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
