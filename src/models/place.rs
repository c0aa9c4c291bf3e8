//! Where a model is.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::pack::{Pack, PackedFile};

/// A file, or the folder of one model, on a disk or built into the program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// On a disk.
    Disk(PathBuf),
    /// In a pack, at this path of its networks.
    Pack(Pack, String),
}

impl Place {
    /// The pack that it is in.
    pub fn pack(&self) -> Option<Pack> {
        match self {
            Self::Disk(_) => None,
            Self::Pack(pack, _) => Some(*pack),
        }
    }

    /// Whether a plain file is there, or in a pack a model's folder.
    pub fn is_there(&self) -> bool {
        match self {
            Self::Disk(path) => path.is_file(),
            Self::Pack(pack, path) => !packed(*pack, path).is_empty(),
        }
    }

    /// The last part of its path.
    pub fn name(&self) -> String {
        match self {
            Self::Disk(path) => path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
            Self::Pack(_, path) => path.rsplit('/').next().unwrap_or(path).to_owned(),
        }
    }
}

/// The path on the disk; in a pack its name before the path, as no file has it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(path) => path.display().fmt(f),
            Self::Pack(pack, path) => write!(f, "{pack}:{path}"),
        }
    }
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Self {
        Self::Disk(path)
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::Disk(path.to_owned())
    }
}

/// Where all networks lie that are laid out as the WebUI does, below the root of the data folder; in
/// a pack they lie the same way.
const WEBUI_MODELS: &str = "webui/models/";

/// The folder of a pack that stands for this one of the data folder.
pub(super) fn in_pack(folder: &str) -> &str {
    folder.strip_prefix(WEBUI_MODELS).unwrap_or(folder)
}

/// The file of a pack at this path, under the last part of it; or all files of the folder there, by
/// their paths inside of it and in their order. None where neither is.
pub(super) fn packed(pack: Pack, path: &str) -> Vec<(String, PackedFile)> {
    if let Some(file) = pack.file(path) {
        let name = path.rsplit('/').next().unwrap_or(path);
        return vec![(name.to_owned(), file)];
    }
    let folder = format!("{path}/");
    let inside = |file: String| {
        let name = file.strip_prefix(&folder)?.to_owned();
        Some((name, pack.file(&file)?))
    };
    pack.files().into_iter().filter_map(inside).collect()
}

/// What a place of a pack without a file is to its reader.
pub(super) fn not_there() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        "the pack that is built in has no such file; correct `file` in the list of your own (models.toml), \
         or get photog again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_a_folder_of_a_pack_are_found_and_nothing_else() {
        let file = packed(Pack::Demo, "photog/demo-detector.onnx");
        assert_eq!(file.len(), 1);
        assert_eq!(file[0].0, "demo-detector.onnx");
        let folder = packed(Pack::Demo, "Stable-diffusion/demo");
        let names: Vec<&str> = folder.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.is_sorted() && names.contains(&"unet/config.json"));
        // The beginning of a name is none.
        for path in ["Stable-diffusion/dem", "", "photog/none", "/photog"] {
            assert!(packed(Pack::Demo, path).is_empty(), "{path}");
        }
    }

    #[test]
    fn a_place_is_shown_so_that_it_can_be_found() {
        let place = Place::from(Path::new("a/b.onnx"));
        assert_eq!(
            (place.to_string(), place.name()),
            ("a/b.onnx".into(), "b.onnx".into())
        );
        assert_eq!((place.pack(), place.is_there()), (None, false));
        let place = Place::Pack(Pack::Demo, String::from("Stable-diffusion/demo"));
        assert_eq!(place.to_string(), "demo:Stable-diffusion/demo");
        assert_eq!(place.name(), "demo");
        assert_eq!((place.pack(), place.is_there()), (Some(Pack::Demo), true));
    }
}
