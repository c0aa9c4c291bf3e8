//! Hashes of model files: computed once for each path, size and time of change, and kept in a file.
//!
//! The hash is that of the WebUI: SHA-256 of a whole file; of a LoRA that of its tensors without the
//! head, so that notes written into the file later do not change it (the rule of the additional
//! networks extension). Of a model's folder it is the SHA-256 of the text that `sha256sum` prints
//! for its .safetensors files, by their paths inside the folder. Those of a pack are always known.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    fs::{self, File},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    listed::{Kind, Listed, Stamp, parts},
    scan::ENDING,
};
use crate::{
    models::{catalog::Identity, place::Place},
    store::write_atomic,
};

/// Name of the file with the hashes, in the folder `webui` of the data folder.
pub const HASHES_FILE: &str = "photog-hashes.json";
/// Form of that file.
const VERSION: u32 = 1;
/// Largest such file in bytes, and most hashes in it.
const FILE_BYTES_MAX: u64 = 8 << 20;
const HASHES_MAX: usize = 20_000;
/// Bytes read at once; between two reads the caller may stop.
const CHUNK_BYTES: usize = 1 << 20;
/// How often a caller who waits for another one's hash is asked whether to stop.
const PATIENCE: Duration = Duration::from_millis(100);
/// Digits of the hash in titles.
const SHORT_DIGITS: usize = 10;

/// SHA-256 of a model.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileHash([u8; 32]);

impl FileHash {
    /// The first 10 digits, which stand in titles and in the notes of pictures.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(SHORT_DIGITS);
        text
    }
}

impl fmt::Display for FileHash {
    /// 64 small hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for FileHash {
    type Err = ();

    /// From 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|sign| sign.is_ascii_hexdigit()) {
            return Err(());
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| ())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| ())?;
        }
        Ok(Self(bytes))
    }
}

/// Why there is no hash. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The file cannot be read.
    #[error("{file} cannot be read, {reason}; check that it is there and its permissions")]
    Read {
        /// Path of the file.
        file: String,
        /// What the system says.
        reason: io::Error,
    },
    /// The file was written to meanwhile.
    #[error("{file} changed while it was read; try again when its download or copy is done")]
    Changed {
        /// Path of the file.
        file: String,
    },
    /// The caller stopped it.
    #[error("the hash was not computed, since its caller stopped")]
    Stopped,
}

/// All hashes that are known.
pub(super) struct Hashes {
    /// The folder `webui`; paths in the file are below it, so that the data folder may be moved.
    webui: PathBuf,
    state: Mutex<State>,
    /// Told when a hash is done.
    done: Condvar,
}

#[derive(Default)]
struct State {
    /// By the path below `webui`; `None` until the file was read.
    known: Option<BTreeMap<String, Known>>,
    /// Somebody computes one; one at a time, as the disk is the limit.
    is_busy: bool,
    /// How many were computed.
    #[cfg(test)]
    computed: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    bytes: u64,
    /// Nanoseconds since 1970.
    changed_ns: i64,
    sha256: Digits,
}

/// As it stands in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Digits(FileHash);

impl Serialize for Digits {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digits {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let hash = text.parse();
        hash.map(Self)
            .map_err(|()| serde::de::Error::custom("no sha256"))
    }
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    files: BTreeMap<String, Known>,
}

impl Hashes {
    pub(super) fn new(webui: PathBuf) -> Self {
        Self {
            webui,
            state: Mutex::default(),
            done: Condvar::new(),
        }
    }

    /// The hash, if it is known; no model is read.
    pub(super) fn known(&self, listed: &Listed) -> Option<FileHash> {
        match &listed.place {
            Place::Disk(path) => self.find(&mut self.lock(), path, listed.stamp()),
            packed @ Place::Pack(..) => of_pack(packed).ok(),
        }
    }

    /// The hash, computed if it is not known. `stop` is asked some times a second.
    pub(super) fn get(
        &self,
        listed: &Listed,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<FileHash, HashError> {
        let file = || listed.place.to_string();
        let read = |reason| HashError::Read {
            file: file(),
            reason,
        };
        let path = match &listed.place {
            Place::Disk(path) => path,
            packed @ Place::Pack(..) => return of_pack(packed).map_err(read),
        };
        let stamp = Stamp::of(path).map_err(read)?;
        let mut state = self.lock();
        loop {
            if let Some(hash) = self.find(&mut state, path, stamp) {
                return Ok(hash);
            }
            if !state.is_busy {
                break;
            }
            if stop() {
                return Err(HashError::Stopped);
            }
            let waited = self.done.wait_timeout(state, PATIENCE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_busy = true;
        #[cfg(test)]
        {
            state.computed += 1;
        }
        drop(state);
        let _turn = Turn(self);
        let hash = compute(listed.kind, path, stop).map_err(|error| match error.kind() {
            // Only `compute` makes such an error.
            ErrorKind::Interrupted => HashError::Stopped,
            _ => read(error),
        })?;
        if Stamp::of(path).map_err(read)? != stamp {
            return Err(HashError::Changed { file: file() });
        }
        self.keep(path, stamp, hash);
        Ok(hash)
    }

    /// How many hashes were computed.
    #[cfg(test)]
    pub(super) fn computed(&self) -> usize {
        self.lock().computed
    }

    fn find(&self, state: &mut State, path: &Path, stamp: Stamp) -> Option<FileHash> {
        let known = state.known.get_or_insert_with(|| load(&self.file()));
        let known = known.get(&self.key(path)?)?;
        let is_same = known.bytes == stamp.bytes && known.changed_ns == nanoseconds(stamp.changed);
        is_same.then_some(known.sha256.0)
    }

    fn keep(&self, path: &Path, stamp: Stamp, hash: FileHash) {
        let Some(key) = self.key(path) else {
            return;
        };
        // Another process may have added some.
        let mut files = load(&self.file());
        let mut state = self.lock();
        files.extend(state.known.take().unwrap_or_default());
        if files.len() >= HASHES_MAX {
            files.retain(|key, _| self.webui.join(key).exists());
        }
        let known = Known {
            bytes: stamp.bytes,
            changed_ns: nanoseconds(stamp.changed),
            sha256: Digits(hash),
        };
        if files.len() < HASHES_MAX || files.contains_key(&key) {
            files.insert(key, known);
        }
        let document = Document {
            version: VERSION,
            files: files.clone(),
        };
        state.known = Some(files);
        drop(state);
        // Where it cannot be written, the hash is computed again after the next start.
        if let Ok(text) = serde_json::to_vec(&document) {
            let _ = write_atomic(&self.file(), &text);
        }
    }

    fn key(&self, path: &Path) -> Option<String> {
        let below = path.strip_prefix(&self.webui).ok()?;
        below.to_str().map(str::to_owned)
    }

    fn file(&self) -> PathBuf {
        self.webui.join(HASHES_FILE)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a poisoned lock holds is whole: nothing in between can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who computes a hash; gives the turn back however that ends.
struct Turn<'a>(&'a Hashes);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().is_busy = false;
        self.0.done.notify_all();
    }
}

/// The hashes of the file; none where it is not there or is damaged, as all can be computed again.
fn load(path: &Path) -> BTreeMap<String, Known> {
    let read = || {
        // Opening a pipe would wait for its writer.
        if !fs::metadata(path).ok()?.is_file() {
            return None;
        }
        let mut text = Vec::new();
        let file = File::open(path).ok()?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).ok()?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return None;
        }
        let document: Document = serde_json::from_slice(&text).ok()?;
        (document.version == VERSION && document.files.len() <= HASHES_MAX)
            .then_some(document.files)
    };
    read().unwrap_or_default()
}

/// Negative before 1970, and at the ends of what fits.
fn nanoseconds(time: SystemTime) -> i64 {
    let count = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => count(since),
        Err(before) => -count(before.duration()),
    }
}

/// The hash of what is in a pack, by the same rules.
fn of_pack(place: &Place) -> io::Result<FileHash> {
    let identity = Identity::at(place)?;
    let hash = identity.sha256.parse();
    hash.map_err(|()| io::Error::other("its hash is none"))
}

/// Reads a model to its end. [`ErrorKind::Interrupted`] when `stop` said so.
fn compute(kind: Kind, path: &Path, stop: &mut dyn FnMut() -> bool) -> io::Result<FileHash> {
    let data = fs::metadata(path)?;
    if data.is_file() {
        let start = match kind {
            Kind::Lora => tensors_start(path, data.len())?,
            _ => 0,
        };
        return file_hash(path, start, stop);
    }
    let mut text = String::new();
    for part in parts(path)? {
        let below = part.strip_prefix(path).unwrap_or(&part).to_string_lossy();
        if below.ends_with(ENDING) {
            let hash = file_hash(&part, 0, stop)?;
            // Writing to a string does not fail.
            let _ = writeln!(text, "{hash}  {below}");
        }
    }
    Ok(FileHash(Sha256::digest(text).into()))
}

/// Where the tensors of a safetensors file begin; 0 for what is no such file.
fn tensors_start(path: &Path, file_bytes: u64) -> io::Result<u64> {
    let mut length = [0; 8];
    if file_bytes < length.len() as u64 {
        return Ok(0);
    }
    File::open(path)?.read_exact(&mut length)?;
    let start = u64::from_le_bytes(length).checked_add(8);
    Ok(start.filter(|start| *start <= file_bytes).unwrap_or(0))
}

fn file_hash(path: &Path, start: u64, stop: &mut dyn FnMut() -> bool) -> io::Result<FileHash> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        if stop() {
            return Err(ErrorKind::Interrupted.into());
        }
        let count = loop {
            match file.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if count == 0 {
            return Ok(FileHash(hasher.finalize().into()));
        }
        hasher.update(&chunk[..count]);
    }
}
