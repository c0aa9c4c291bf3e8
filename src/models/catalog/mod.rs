//! The catalogue: which networks are known, what each is for, how a picture is prepared for it, and
//! where its file comes from.
//!
//! The list `models.toml` of this project is built in, and so are the networks of packs that it names.
//! A file of the same form and name in the data folder goes before it, and an entry there with a
//! built-in name takes the place of that one. So another network can stand in for a built-in one
//! without a change of code.
//!
//! `folder` is the root of the data folder everywhere in this module. Nothing here writes to it but
//! [`Lock::pin`], and nothing is fetched.
//!
//! What lists and files say is not trusted: names are plain file names, numbers have bounds, and an
//! unknown field is an error that names its entry.

mod identity;
mod lock;
mod read;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::place::{Place, in_pack};
use crate::pack::Pack;

pub use identity::{Expected, Identity};
pub use lock::{LOCK_FILE, Lock};

/// Where ONNX files lie, below the root of the data folder.
pub const MODEL_FOLDER: &str = "webui/models/photog";
/// The operator's own list, in the root of the data folder.
pub const OWN_LIST: &str = "models.toml";
/// Largest file of any network in bytes; each role has its own limit.
pub const MODEL_BYTES_MAX: u64 = 16 << 30;
/// The list of this project.
const BUILT_IN: &str = include_str!("../../../models.toml");

/// What a network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Finds faces, each with a box and five points.
    FaceDetector,
    /// Describes an aligned face by numbers, so that two faces can be compared.
    FaceEmbedding,
    /// Says how usable an aligned face is.
    FaceQuality,
    /// Says of each pixel around a face to which part of it it belongs.
    FaceParsing,
    /// Gives the face of a picture the features of another.
    FaceFusion,
    /// Makes pictures larger.
    SuperResolution,
    /// Makes pictures from texts: a whole Stable Diffusion.
    Checkpoint,
    /// Takes the place of a checkpoint's own VAE.
    Vae,
    /// Steers a checkpoint by a picture.
    #[serde(rename = "controlnet")]
    ControlNet,
    /// Shows pictures while they are made.
    Taesd,
    /// Changes the weights of a checkpoint.
    Lora,
}

impl Role {
    /// All roles: those of ONNX files in the order in which a photo meets them, then the others.
    pub const ALL: [Self; 11] = [
        Self::FaceDetector,
        Self::FaceEmbedding,
        Self::FaceQuality,
        Self::FaceParsing,
        Self::FaceFusion,
        Self::SuperResolution,
        Self::Checkpoint,
        Self::Vae,
        Self::ControlNet,
        Self::Taesd,
        Self::Lora,
    ];
    /// The roles of networks in ONNX files. One of each is used, the first whose file is there. Of the
    /// other roles a request names the one that it wants, and several may be used.
    pub const ONNX: [Self; 6] = [
        Self::FaceDetector,
        Self::FaceEmbedding,
        Self::FaceQuality,
        Self::FaceParsing,
        Self::FaceFusion,
        Self::SuperResolution,
    ];
    /// Those of them that judge photos.
    pub const FACES: [Self; 3] = [Self::FaceDetector, Self::FaceEmbedding, Self::FaceQuality];

    /// As it is written in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FaceDetector => "face-detector",
            Self::FaceEmbedding => "face-embedding",
            Self::FaceQuality => "face-quality",
            Self::FaceParsing => "face-parsing",
            Self::FaceFusion => "face-fusion",
            Self::SuperResolution => "super-resolution",
            Self::Checkpoint => "checkpoint",
            Self::Vae => "vae",
            Self::ControlNet => "controlnet",
            Self::Taesd => "taesd",
            Self::Lora => "lora",
        }
    }

    /// Whether it is one of [`Role::ONNX`].
    pub const fn is_onnx(self) -> bool {
        matches!(
            self,
            Self::FaceDetector
                | Self::FaceEmbedding
                | Self::FaceQuality
                | Self::FaceParsing
                | Self::FaceFusion
                | Self::SuperResolution
        )
    }

    /// Where its files lie, below the root of the data folder: where the WebUI has them. It has no
    /// place for ONNX files; its folder of networks that enlarge is one of pickles, which are not read
    /// here.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::FaceDetector
            | Self::FaceEmbedding
            | Self::FaceQuality
            | Self::FaceParsing
            | Self::FaceFusion
            | Self::SuperResolution => MODEL_FOLDER,
            Self::Checkpoint => "webui/models/Stable-diffusion",
            Self::Vae => "webui/models/VAE",
            Self::ControlNet => "webui/models/ControlNet",
            Self::Taesd => "webui/models/VAE-approx",
            Self::Lora => "webui/models/Lora",
        }
    }

    /// Ending of its files, without the dot.
    pub const fn ending(self) -> &'static str {
        if self.is_onnx() {
            "onnx"
        } else {
            "safetensors"
        }
    }

    /// Largest file in bytes: several times the largest published one of its kind.
    pub const fn bytes_max(self) -> u64 {
        if self.is_onnx() {
            1 << 30
        } else {
            MODEL_BYTES_MAX
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Honours a width, as columns need it.
        f.pad(self.as_str())
    }
}

/// Order of the three colour channels that a network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red, as OpenCV keeps pictures.
    Bgr,
}

/// How a picture becomes a network's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Width and height in pixels; `None` when any multiple of 32 is taken.
    pub size: Option<[u32; 2]>,
    /// Taken away from channel values of 0 to 255, in the network's order of channels.
    pub mean: [f32; 3],
    /// Multiplied with afterwards: the network gets `(x - mean) * scale`.
    pub scale: [f32; 3],
    /// The network's order of channels.
    pub order: ChannelOrder,
}

/// How the outputs of a face detector are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DetectorKind {
    /// Class, objectness, box and points for each cell of three grids.
    YuNet,
    /// Score, distances to the sides and points for two anchors in each cell of three grids.
    Scrfd,
}

/// Where a network's numbers become a decision. Each role has its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Detector: least certainty of a face, 0 to 1.
    pub score: Option<f32>,
    /// Detector: most overlap of two faces as intersection over union, 0 to 1.
    pub overlap: Option<f32>,
    /// Embedding: least cosine between two faces of one person, 0 to 1.
    pub same_person: Option<f32>,
    /// Quality: least score of a usable face, 0 to 1.
    pub quality: Option<f32>,
}

/// One network. What its role needs is there, and what other roles need is not: see [`Catalog`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Short name for people and for `models.lock`.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Plain file name in its role's folder, with its role's ending. Of a checkpoint in a pack it may
    /// be the name of a model's folder.
    pub file: String,
    /// One line for people.
    pub about: String,
    /// Under which licence it may be used; SPDX where there is such a name.
    pub license: String,
    /// Page on which the file is described.
    pub source: Option<String>,
    /// Where it can be fetched, `http` or `https`; `None` when it has to be brought.
    pub url: Option<String>,
    /// The pack that it is built in with; then nothing has to be fetched or brought.
    pub pack: Option<Pack>,
    /// Size of the file in bytes; of a folder that of all its files.
    pub size: Option<u64>,
    /// Hash of the file, 64 small hexadecimal digits.
    pub sha256: Option<String>,
    /// How its input is made; networks in ONNX files only.
    pub preprocess: Option<Preprocess>,
    /// How its outputs are read; detectors only.
    pub detector: Option<DetectorKind>,
    /// How many numbers describe a face; embeddings only.
    pub embedding_length: Option<usize>,
    /// Its decisions.
    #[serde(default)]
    pub thresholds: Thresholds,
}

impl Entry {
    /// Where its file lies or would lie in the data folder.
    pub fn path(&self, folder: &Path) -> PathBuf {
        folder.join(self.role.folder()).join(&self.file)
    }

    /// Where it is or would be: in its pack, or in the data folder.
    pub fn place(&self, folder: &Path) -> Place {
        match self.pack {
            Some(pack) => Place::Pack(
                pack,
                format!("{}/{}", in_pack(self.role.folder()), self.file),
            ),
            None => Place::Disk(self.path(folder)),
        }
    }
}

/// A list that cannot be used. The texts name the file, the entry and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A file is there and cannot be read.
    #[error("{file} cannot be read, {reason}; check its permissions, or move it away")]
    Read {
        /// Path of the file.
        file: String,
        /// What the system says.
        reason: String,
    },
    /// A file does not have the form of a list.
    #[error("{file} cannot be used: {reason}; correct it, or move it away")]
    Invalid {
        /// Path of the file.
        file: String,
        /// What is wrong, with the entry.
        reason: String,
    },
    /// `models.lock` could not be written.
    #[error("{file} cannot be written, {reason}; check free space and permissions")]
    Write {
        /// Path of the file.
        file: String,
        /// What the system says.
        reason: String,
    },
}

/// All known networks.
///
/// Every entry has what its role needs: a detector its kind and the thresholds `score` and
/// `overlap`; an embedding its picture size, length and `same_person`; a quality its picture size
/// and `quality`; parsing and fusion their picture size; super-resolution how pictures are prepared.
/// Other roles need nothing of these. Names are unique.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalog {
    /// The operator's own first.
    entries: Vec<Entry>,
    /// How many of them are the operator's own.
    own: usize,
}

impl Catalog {
    /// The networks of this project.
    pub fn built_in() -> Self {
        let entries = read::entries(BUILT_IN);
        Self {
            // The text is part of the program, and a test reads it.
            entries: entries.expect("the built-in list is well-formed"),
            own: 0,
        }
    }

    /// The networks of this project, after those of `models.toml` in the data folder if there is
    /// such a file.
    pub fn load(folder: &Path) -> Result<Self, CatalogError> {
        let path = folder.join(OWN_LIST);
        let mut catalog = Self::built_in();
        let Some(text) = read::text(&path)? else {
            return Ok(catalog);
        };
        let own = read::entries(&text).map_err(|reason| CatalogError::Invalid {
            file: path.display().to_string(),
            reason,
        })?;
        catalog
            .entries
            .retain(|entry| own.iter().all(|given| given.name != entry.name));
        catalog.own = own.len();
        catalog.entries.splice(0..0, own);
        Ok(catalog)
    }

    /// All entries; the first of a role goes before the others of that role.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of this name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Whether the operator wrote the entry of this name, so that what it says is trusted as much
    /// as the settings are.
    pub fn is_own(&self, name: &str) -> bool {
        self.entries[..self.own]
            .iter()
            .any(|entry| entry.name == name)
    }

    /// The entry that is used for a role, with its place: the first whose file is in the data folder,
    /// or if a pack is named the first that is in it.
    pub fn present(
        &self,
        role: Role,
        folder: &Path,
        pack: Option<Pack>,
    ) -> Option<(&Entry, Place)> {
        self.entries
            .iter()
            .filter(|entry| entry.role == role && entry.pack == pack)
            .map(|entry| (entry, entry.place(folder)))
            .find(|(_, place)| place.is_there())
    }

    /// The packs with a network for a role.
    fn packs(&self, role: Role) -> impl Iterator<Item = Pack> {
        let entries = self.entries.iter().filter(move |entry| entry.role == role);
        entries.filter_map(|entry| entry.pack)
    }

    /// The entry that is fetched for a role when none is named: the first that has an address.
    pub fn downloadable(&self, role: Role) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.role == role && entry.url.is_some())
    }

    /// What to do when no network of a role is there; the end of a sentence that says what is
    /// missing.
    pub fn how_to_get(&self, role: Role) -> String {
        let import = "`photog models import PATH`";
        let ways = match self.downloadable(role) {
            Some(entry) => format!(
                "run `photog models pull {}` to fetch one, or {import} with a file or folder that \
                 you have",
                entry.name
            ),
            None => format!("run {import} with a file or folder that you have"),
        };
        format!(
            "{ways}; it comes to {} in the data folder, and `photog models list` shows which are \
             known{}",
            role.folder(),
            self.without_one(role)
        )
    }

    /// How to do without a network of a role: the end of a sentence that says how to get one. Empty
    /// where no pack has one.
    pub fn without_one(&self, role: Role) -> String {
        self.packs(role).next().map_or_else(String::new, |pack| {
            format!("; to try photog without one, add `--pack {pack}`")
        })
    }
}
