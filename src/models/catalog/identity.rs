//! Size and hash of files, and what they should be.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use sha2::{Digest as _, Sha256};

use super::MODEL_BYTES_MAX;

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
        let sha256 = hasher
            .finalize()
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                // Writing to a string does not fail.
                let _ = write!(text, "{byte:02x}");
                text
            });
        Ok(Self { size, sha256 })
    }
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
