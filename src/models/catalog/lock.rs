//! `models.lock`: the files that were taken first for entries whose hash the list leaves out.
//!
//! From the first pull or import on, such an entry means this very file, and another one is
//! refused until a person takes the line out.

use std::{collections::BTreeMap, fs::File, path::Path};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{CatalogError, Entry, Expected, Identity, MODEL_BYTES_MAX, read};
use crate::store::write_atomic;

/// Name of the file, in the root of the data folder.
pub const LOCK_FILE: &str = "models.lock";
/// The first lines of the file.
const HEADING: &str = "# Written by photog: the files that were first pulled or imported for entries without a known\n\
                       # hash. To accept another file for an entry, take it out here and pull or import again.\n";

/// The pinned files, by the names of their entries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lock(BTreeMap<String, Pin>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    name: String,
    file: String,
    size: u64,
    sha256: String,
}

impl Lock {
    /// Reads `models.lock` of a data folder; without such a file nothing is pinned.
    pub fn load(folder: &Path) -> Result<Self, CatalogError> {
        let path = folder.join(LOCK_FILE);
        let invalid = |reason: String| CatalogError::Invalid {
            file: path.display().to_string(),
            reason,
        };
        let Some(text) = read::text(&path)? else {
            return Ok(Self::default());
        };
        let mut pins = BTreeMap::new();
        for (value, number) in read::tables(&text).map_err(invalid)?.into_iter().zip(1..) {
            let pin: Pin = value.try_into().map_err(|error: toml::de::Error| {
                invalid(format!("entry {number}: {}", read::message(&error)))
            })?;
            let is_good = read::is_name(&pin.name)
                && read::is_file_name(&pin.file)
                && read::is_sha256(&pin.sha256)
                && (1..=MODEL_BYTES_MAX).contains(&pin.size);
            if !is_good || pins.contains_key(&pin.name) {
                return Err(invalid(format!(
                    "entry {number} is not one that photog writes, or is there twice"
                )));
            }
            pins.insert(pin.name.clone(), pin);
        }
        Ok(Self(pins))
    }

    /// What the file of an entry has to be: by the list where that gives a hash, else by the pin.
    pub fn expected(&self, entry: &Entry) -> Expected {
        let pin = self
            .0
            .get(&entry.name)
            .filter(|pin| entry.sha256.is_none() && pin.file == entry.file);
        match pin {
            Some(pin) => Expected {
                size: Some(pin.size),
                sha256: Some(pin.sha256.clone()),
                pinned: true,
            },
            None => Expected {
                size: entry.size,
                sha256: entry.sha256.clone(),
                pinned: false,
            },
        }
    }

    /// Pins a file for an entry and writes `models.lock`, whole or not at all. An entry whose hash
    /// the list gives needs no pin and gets none.
    pub fn pin(folder: &Path, entry: &Entry, identity: &Identity) -> Result<(), CatalogError> {
        if entry.sha256.is_some() {
            return Ok(());
        }
        let path = folder.join(LOCK_FILE);
        let failed = |reason: String| CatalogError::Write {
            file: path.display().to_string(),
            reason,
        };
        // Two processes that pin at once would each write what the other has not. The folder stands
        // for the file, which is exchanged as a whole.
        let alone = File::open(folder).map_err(|error| failed(error.to_string()))?;
        flock(&alone, FlockOperation::LockExclusive).map_err(|error| failed(error.to_string()))?;
        let mut lock = Self::load(folder)?;
        let pin = Pin {
            name: entry.name.clone(),
            file: entry.file.clone(),
            size: identity.size,
            sha256: identity.sha256.clone(),
        };
        if lock.0.insert(pin.name.clone(), pin.clone()) == Some(pin) {
            return Ok(());
        }
        let list: Vec<&Pin> = lock.0.values().collect();
        let text = toml::to_string(&BTreeMap::from([("model", list)]))
            .map_err(|error| failed(error.to_string()))?;
        write_atomic(&path, format!("{HEADING}\n{text}").as_bytes())
            .map_err(|error| failed(error.to_string()))
    }
}
