//! Size and hash of files, and what they should be.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use sha2::{Digest as _, Sha256};

use super::MODEL_BYTES_MAX;
use crate::models::place::{Place, not_there, packed};

/// Ending of the files of a folder that its hash is of.
const WEIGHTS: &str = ".safetensors";
/// Bytes read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// What a file is: its size and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Size in bytes.
    pub size: u64,
    /// Hash, 64 small hexadecimal digits.
    pub sha256: String,
}

impl Identity {
    /// That of what is at a place; in a pack nothing has to be read for it. Of a folder it is the size
    /// of all its files, and the hash of the text that `sha256sum` prints for its `.safetensors`
    /// files by their paths inside of it.
    pub fn at(place: &Place) -> io::Result<Self> {
        let (pack, path) = match place {
            Place::Disk(path) => return Self::of(path),
            Place::Pack(pack, path) => (*pack, path),
        };
        match &packed(pack, path)[..] {
            [] => Err(not_there()),
            [(_, file)] => Ok(Self {
                size: file.bytes.len() as u64,
                sha256: digits(&file.sha256),
            }),
            files => {
                let sums = files.iter().filter(|(name, _)| name.ends_with(WEIGHTS));
                let sums = sums.map(|(name, file)| format!("{}  {name}\n", digits(&file.sha256)));
                let text: String = sums.collect();
                Ok(Self {
                    size: files.iter().map(|(_, file)| file.bytes.len() as u64).sum(),
                    sha256: digits(&Sha256::digest(text)),
                })
            }
        }
    }

    /// Reads a file to its end. Anything but a plain file of at most [`MODEL_BYTES_MAX`] bytes is
    /// an error.
    pub fn of(path: &Path) -> io::Result<Self> {
        // Opening a pipe would wait for its writer.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no plain file"));
        }
        Self::copy(&mut File::open(path)?, &mut io::sink())
    }

    /// Copies a file and says what was copied.
    pub fn copy(from: &mut impl Read, to: &mut impl io::Write) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut size = 0;
        loop {
            let count = match from.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if count == 0 {
                break;
            }
            size += count as u64;
            if size > MODEL_BYTES_MAX {
                let text = format!("it is larger than {MODEL_BYTES_MAX} bytes");
                return Err(io::Error::other(text));
            }
            hasher.update(&chunk[..count]);
            to.write_all(&chunk[..count])?;
        }
        let sha256 = digits(&hasher.finalize());
        Ok(Self { size, sha256 })
    }
}

/// Small hexadecimal digits of bytes.
fn digits(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What a file has to be, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Size in bytes.
    pub size: Option<u64>,
    /// Hash; `None` until a first file is pinned.
    pub sha256: Option<String>,
    /// The hash comes from `models.lock` and not from the list.
    pub pinned: bool,
}

impl Expected {
    /// Holds a file against it. The error says what differs and by whose word.
    pub fn check(&self, found: &Identity) -> Result<(), String> {
        let known = if self.pinned {
            "models.lock has pinned"
        } else {
            "the list gives"
        };
        if let Some(hash) = &self.sha256
            && *hash != found.sha256
        {
            return Err(format!(
                "its sha256 is {}, and {known} {hash}",
                found.sha256
            ));
        }
        match self.size {
            Some(size) if size != found.size => {
                Err(format!("it has {} bytes, and {known} {size}", found.size))
            }
            _ => Ok(()),
        }
    }
}
