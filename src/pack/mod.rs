//! What is built into the program: packs of networks, and pictures and words to try them with.
//!
//! The files are those of `assets/demo`, whole and as they lie there. They are read where they are, in
//! the memory of the program, and never unpacked. What they mean is not known here.

mod samples;

use std::{borrow::Cow, fmt};

use rust_embed::Embed;
use serde::{Deserialize, Serialize};

pub use samples::{Person, Picture, Prompt};

/// The folder of the networks.
const NETWORKS: &str = "pack/";

/// The files of the demo pack. What makes them, `forge`, stays outside.
#[derive(Embed)]
#[folder = "assets/demo"]
#[include = "pack/*"]
#[include = "people/*.jpg"]
#[include = "templates/*.jpg"]
#[include = "templates/*.png"]
#[include = "prompts.toml"]
#[exclude = "*/.*"]
struct DemoFiles;

/// A set of networks that is part of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pack {
    /// Tiny networks of the kinds that photog works with, trained on drawn people.
    Demo,
}

/// A file of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedFile {
    /// All that is in it.
    pub bytes: &'static [u8],
    /// SHA-256 of these bytes, computed when the program was built.
    pub sha256: [u8; 32],
}

impl Pack {
    /// All packs.
    pub const ALL: [Self; 1] = [Self::Demo];

    /// As it is written in settings and lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Demo => "demo",
        }
    }

    /// The pack of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pack| pack.as_str() == name)
    }

    /// Paths of the files of its networks in their order, laid out as in `webui/models` of the data
    /// folder: `photog/name.onnx`.
    pub fn files(self) -> Vec<String> {
        self.below(NETWORKS)
    }

    /// The file of a network.
    pub fn file(self, path: &str) -> Option<PackedFile> {
        self.any_file(&format!("{NETWORKS}{path}"))
    }

    /// Paths of all files below a folder, without the folder and in their order.
    fn below(self, folder: &str) -> Vec<String> {
        let paths = match self {
            Self::Demo => DemoFiles::iter(),
        };
        let mut below: Vec<String> = paths
            .filter_map(|path| path.strip_prefix(folder).map(str::to_owned))
            .collect();
        below.sort();
        below
    }

    fn any_file(self, path: &str) -> Option<PackedFile> {
        let file = match self {
            Self::Demo => DemoFiles::get(path)?,
        };
        let sha256 = file.metadata.sha256_hash();
        match file.data {
            Cow::Borrowed(bytes) => Some(PackedFile { bytes, sha256 }),
            // Only where files are read from a disk at run time, which the feature `debug-embed` of
            // the library rules out.
            Cow::Owned(_) => None,
        }
    }
}

impl fmt::Display for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// Networks that may be built in: the size of the program is felt by everybody.
    const BYTES_MAX: usize = 16_000_000;

    #[test]
    fn every_file_is_in_the_program_and_has_its_hash() {
        for pack in Pack::ALL {
            let files = pack.files();
            assert!(files.is_sorted() && !files.is_empty(), "{files:?}");
            let mut bytes = 0;
            for path in &files {
                let file = pack.file(path).unwrap();
                assert_eq!(
                    Sha256::digest(file.bytes).as_slice(),
                    file.sha256,
                    "{pack}: {path}"
                );
                bytes += file.bytes.len();
            }
            assert!(bytes <= BYTES_MAX, "{pack} has {bytes} bytes");
            assert_eq!(pack.file("photog/none.onnx"), None);
            assert_eq!(pack.file(""), None);
        }
    }

    #[test]
    fn networks_lie_as_in_the_data_folder_and_nothing_else_is_built_in() {
        let files = Pack::Demo.files();
        for path in [
            "photog/demo-detector.onnx",
            "Stable-diffusion/demo/model_index.json",
        ] {
            assert!(files.iter().any(|file| file == path), "{path}: {files:?}");
        }
        for path in DemoFiles::iter() {
            let top = path.split('/').next().unwrap();
            let known = ["pack", "people", "templates", "prompts.toml"];
            assert!(known.contains(&top), "{path}");
            let has_code = path.contains("forge") || path.contains(".py");
            assert!(!has_code, "{path}");
        }
    }

    #[test]
    fn packs_are_found_by_their_names() {
        for pack in Pack::ALL {
            assert_eq!(Pack::named(pack.as_str()), Some(pack));
            let text = serde_json::to_string(&pack).unwrap();
            assert_eq!(text, format!("\"{pack}\""));
            assert_eq!(serde_json::from_str::<Pack>(&text).unwrap(), pack);
        }
        assert_eq!(Pack::named("Demo"), None);
        assert_eq!(Pack::named(""), None);
    }
}
