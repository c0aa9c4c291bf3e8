//! A folder of a diffusers model, on a disk or in memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::container::Container;
use super::header::PICKLE;
use super::{WeightsError, shown_message};

/// Largest text file: the vocabulary of CLIP takes 1 MB.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// Names of files with weights, the best first: of the first that is there the others are copies
/// of less precision. What ends with `.json` is an index of several files.
const WEIGHTS: [&str; 10] = [
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.safetensors.index.fp16.json",
    "diffusion_pytorch_model.fp16.safetensors.index.json",
    "model.fp16.safetensors",
    "model.safetensors.index.fp16.json",
    "model.fp16.safetensors.index.json",
];

/// What stands there instead when a model was published as pickles only.
const PICKLES: [&str; 4] = [
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.bin",
    "pytorch_model.bin",
    "pytorch_model.fp16.bin",
];

/// Files by their path inside the folder, with `/` between the parts.
pub(super) type MemoryFiles = BTreeMap<String, Arc<Cow<'static, [u8]>>>;

/// Where the files of a model are.
#[derive(Clone)]
pub(super) enum Folder {
    Disk(PathBuf),
    Memory {
        /// What stands for the folder in errors.
        name: String,
        files: Arc<MemoryFiles>,
        /// Begin of the paths of this folder's files; empty, or ends with `/`.
        prefix: String,
    },
}

impl Folder {
    pub(super) fn disk(path: &Path) -> Self {
        Self::Disk(path.to_path_buf())
    }

    pub(super) fn memory(name: &str, files: MemoryFiles) -> Self {
        Self::Memory {
            name: String::from(name),
            files: Arc::new(files),
            prefix: String::new(),
        }
    }

    /// The folder `name` inside of this one.
    pub(super) fn sub(&self, name: &str) -> Self {
        match self {
            Self::Disk(path) => Self::Disk(path.join(name)),
            Self::Memory {
                name: pack,
                files,
                prefix,
            } => Self::Memory {
                name: pack.clone(),
                files: Arc::clone(files),
                prefix: format!("{prefix}{name}/"),
            },
        }
    }

    /// The path of a file as it stands in errors; that of the folder for an empty name.
    pub(super) fn shown(&self, file: &str) -> String {
        match self {
            Self::Disk(path) if file.is_empty() => path.display().to_string(),
            Self::Disk(path) => path.join(file).display().to_string(),
            Self::Memory { name, prefix, .. } => format!("{name}/{prefix}{file}"),
        }
    }

    pub(super) fn has(&self, file: &str) -> bool {
        match self {
            Self::Disk(path) => path.join(file).exists(),
            Self::Memory { files, prefix, .. } => files.contains_key(&format!("{prefix}{file}")),
        }
    }

    /// The text of a file; `None` when there is none.
    pub(super) fn text(&self, file: &str) -> Result<Option<String>, WeightsError> {
        let bytes = match self {
            Self::Disk(path) => read(&path.join(file))?,
            Self::Memory { files, prefix, .. } => files
                .get(&format!("{prefix}{file}"))
                .map(|bytes| bytes.to_vec()),
        };
        let refused = |reason: &str| WeightsError::refused(&self.shown(file), reason);
        let Some(bytes) = bytes else { return Ok(None) };
        if bytes.len() as u64 > TEXT_BYTES_MAX {
            return Err(refused("it is far larger than such files are"));
        }
        let text = String::from_utf8(bytes).map_err(|_| refused("it is no text"))?;
        Ok(Some(text))
    }

    /// The JSON object of a file; `None` when there is none.
    pub(super) fn object(
        &self,
        file: &str,
    ) -> Result<Option<serde_json::Map<String, serde_json::Value>>, WeightsError> {
        let Some(text) = self.text(file)? else {
            return Ok(None);
        };
        let object = serde_json::from_str(&text).map_err(|error| {
            let reason = format!("it is no JSON object: {}", shown_message(&error));
            WeightsError::refused(&self.shown(file), reason)
        })?;
        Ok(Some(object))
    }

    /// One file of weights; `None` when there is none.
    pub(super) fn container(&self, file: &str) -> Result<Option<Container>, WeightsError> {
        match self {
            Self::Disk(path) => {
                let path = path.join(file);
                match path.try_exists() {
                    Ok(false) => Ok(None),
                    _ => Container::open_file(&path).map(Some),
                }
            }
            Self::Memory { files, prefix, .. } => files
                .get(&format!("{prefix}{file}"))
                .map(|bytes| Container::from_shared(&self.shown(file), Arc::clone(bytes)))
                .transpose(),
        }
    }

    /// The one file of a pack in memory, when it is weights; `None` otherwise.
    pub(super) fn only_weights(&self) -> Result<Option<Container>, WeightsError> {
        match self {
            Self::Memory { files, .. } if files.len() == 1 => files
                .keys()
                .next()
                .map_or(Ok(None), |file| self.container(file)),
            _ => Ok(None),
        }
    }

    /// The weights of this folder, in full precision where they are there; `None` when there are
    /// none under any name that diffusers knows.
    pub(super) fn weights(&self) -> Result<Option<Container>, WeightsError> {
        for file in WEIGHTS {
            let found = match Path::new(file).extension() {
                Some(end) if end == "json" => Container::from_index(self, file)?,
                _ => self.container(file)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        match PICKLES.iter().find(|file| self.has(file)) {
            Some(file) => Err(WeightsError::refused(&self.shown(file), PICKLE)),
            None => Ok(None),
        }
    }
}

/// The bytes of a file, at most one more than a text may have; `None` when there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, WeightsError> {
    let failed = |reason: String| WeightsError::Read {
        file: path.display().to_string(),
        reason,
    };
    // Opening a pipe would wait for its writer.
    match std::fs::metadata(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error.to_string())),
        Ok(data) if !data.is_file() => return Err(failed(String::from("it is no plain file"))),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| failed(error.to_string()))?;
    Ok(Some(bytes))
}
