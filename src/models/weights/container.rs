//! One safetensors file, or a set of them that belong together, as tensors by name.
//!
//! Opening reads the head only; numbers are read when they are asked for. Files are mapped into
//! memory, so that a file of several GB costs no memory of its own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};

use super::folder::Folder;
use super::header::{self, Header, LENGTH_BYTES, PICKLE};
use super::{Dtype, WeightsError, shown, shown_message};
use crate::models::place::{Place, not_there};

/// Ends of names of pickle files.
const PICKLE_ENDS: [&str; 5] = ["ckpt", "pt", "pth", "bin", "pkl"];
/// Most files of one set; the largest published ones of this kind have two.
const SHARDS_MAX: usize = 64;

/// Named tensors of a file or of a set of files. It may be shared by threads.
pub struct Container {
    name: String,
    tensors: BTreeMap<String, Stored>,
    metadata: BTreeMap<String, String>,
    /// The numbers of each file.
    stores: Vec<Store>,
}

struct Stored {
    place: header::Place,
    /// Which of the files it is in.
    store: usize,
}

/// A tensor as it stands in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorView<'a> {
    /// Type of the numbers.
    pub dtype: Dtype,
    /// Sizes; empty for a single number.
    pub shape: &'a [usize],
    /// The numbers, row-major and little-endian; they may begin at any address.
    pub bytes: &'a [u8],
}

impl TensorView<'_> {
    /// The numbers; `None` when they are no floats.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        self.dtype.to_f32(self.bytes)
    }

    /// The integers; `None` unless the type is `I64`.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        self.dtype.to_i64(self.bytes)
    }
}

impl Container {
    /// Opens a `.safetensors` file, the set that a `.safetensors.index.json` lists, or whichever
    /// of both is in a folder of a diffusers model, such as `unet`.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let shown_path = path.display().to_string();
        let read = |error: std::io::Error| WeightsError::Read {
            file: shown_path.clone(),
            reason: error.to_string(),
        };
        if std::fs::metadata(path).map_err(read)?.is_dir() {
            let folder = Folder::disk(path);
            return folder.weights()?.ok_or_else(|| {
                WeightsError::refused(
                    &shown_path,
                    "no .safetensors file with a name known to diffusers is in the folder; \
                     name the file itself",
                )
            });
        }
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            return Err(WeightsError::refused(&shown_path, "it is no file"));
        };
        let name = name.to_string_lossy();
        if name.ends_with(".json") {
            let folder = Folder::disk(parent);
            let missing = || read(std::io::Error::from(ErrorKind::NotFound));
            return Self::from_index(&folder, &name)?.ok_or_else(missing);
        }
        Self::open_file(path)
    }

    /// Opens what is at a place, as [`Container::open`] does; in a pack it has to be one file.
    pub fn at(place: &Place) -> Result<Self, WeightsError> {
        let (pack, path) = match place {
            Place::Disk(path) => return Self::open(path),
            Place::Pack(pack, path) => (pack, path),
        };
        let file = pack.file(path).ok_or_else(|| WeightsError::Read {
            file: place.to_string(),
            reason: not_there().to_string(),
        })?;
        Self::from_bytes(&place.to_string(), file.bytes)
    }

    /// Opens one `.safetensors` file.
    pub(super) fn open_file(path: &Path) -> Result<Self, WeightsError> {
        let name = path.display().to_string();
        let shard = Shard::open(path, &name)?;
        Ok(Self::from_shard(name, shard))
    }

    /// Reads a file that is in memory already; `name` stands in errors.
    pub fn from_bytes(
        name: &str,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> Result<Self, WeightsError> {
        Self::from_shared(name, Arc::new(bytes.into()))
    }

    pub(super) fn from_shared(
        name: &str,
        bytes: Arc<Cow<'static, [u8]>>,
    ) -> Result<Self, WeightsError> {
        let shard =
            Shard::from_bytes(bytes).map_err(|reason| WeightsError::refused(name, reason))?;
        Ok(Self::from_shard(String::from(name), shard))
    }

    /// The set of files that the index `file` of a folder lists; `None` when there is no such file.
    pub(super) fn from_index(folder: &Folder, file: &str) -> Result<Option<Self>, WeightsError> {
        let Some(text) = folder.text(file)? else {
            return Ok(None);
        };
        let name = folder.shown(file);
        let wrong = |reason: String| WeightsError::refused(&name, reason);
        let map = weight_map(&text).map_err(wrong)?;
        let mut shards: BTreeMap<&str, Container> = BTreeMap::new();
        for shard in map.values() {
            if shards.contains_key(shard.as_str()) {
                continue;
            }
            check_shard_name(shard).map_err(wrong)?;
            if shards.len() == SHARDS_MAX {
                return Err(wrong(format!("it lists more than {SHARDS_MAX} files")));
            }
            let opened = folder.container(shard)?.ok_or_else(|| {
                wrong(format!(
                    "it lists the file `{}`, which is not there; download all parts of the model",
                    shown(shard)
                ))
            })?;
            shards.insert(shard, opened);
        }
        Self::join(name.clone(), &map, shards)
            .map(Some)
            .map_err(wrong)
    }

    /// Puts the tensors of several files together, each taken from where the index says.
    fn join(
        name: String,
        map: &BTreeMap<String, String>,
        shards: BTreeMap<&str, Container>,
    ) -> Result<Self, String> {
        let mut joined = Self {
            name,
            tensors: BTreeMap::new(),
            metadata: BTreeMap::new(),
            stores: Vec::new(),
        };
        for (file, mut shard) in shards {
            let store = joined.stores.len();
            for (tensor, _) in map.iter().filter(|(_, listed)| *listed == file) {
                let Some(stored) = shard.tensors.remove(tensor) else {
                    return Err(format!(
                        "it says that `{}` holds `{}`, which it does not; \
                         download all parts of the model again",
                        shown(file),
                        shown(tensor)
                    ));
                };
                let place = stored.place;
                joined
                    .tensors
                    .insert(tensor.clone(), Stored { place, store });
            }
            joined.metadata.extend(shard.metadata);
            joined.stores.append(&mut shard.stores);
        }
        Ok(joined)
    }

    fn from_shard(name: String, shard: Shard) -> Self {
        let tensors = shard.header.tensors.into_iter();
        Self {
            name,
            tensors: tensors
                .map(|(name, place)| (name, Stored { place, store: 0 }))
                .collect(),
            metadata: shard.header.metadata,
            stores: vec![shard.store],
        }
    }

    /// What stands for the file in errors: its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Texts that the file's writer left in it, such as `modelspec.title`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Names of all tensors, in the order of their letters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether a tensor's name begins with `prefix`.
    pub(super) fn has_prefix(&self, prefix: &str) -> bool {
        use std::ops::Bound::{Included, Unbounded};
        let mut from = self.tensors.range::<str, _>((Included(prefix), Unbounded));
        from.next()
            .is_some_and(|(name, _)| name.starts_with(prefix))
    }

    /// The tensor with this name.
    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        let Stored { place, store } = self.tensors.get(name)?;
        Some(TensorView {
            dtype: place.dtype,
            shape: &place.shape,
            bytes: &self.stores[*store][place.range.clone()],
        })
    }
}

/// The file name of each tensor, from the text of an index.
fn weight_map(text: &str) -> Result<BTreeMap<String, String>, String> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_str(text)
        .map_err(|error| format!("it is no index of files: {}", shown_message(&error)))?;
    if index.weight_map.len() > header::TENSORS_MAX {
        return Err(format!(
            "it lists more than {} tensors",
            header::TENSORS_MAX
        ));
    }
    Ok(index.weight_map)
}

/// That the name leads to a file beside the index. A link that the operator put there may lead on.
fn check_shard_name(name: &str) -> Result<(), String> {
    let plain = name.ends_with(".safetensors")
        && !name.starts_with('.')
        && !name.contains(['/', '\\', ':'])
        && !name.contains(char::is_control);
    if plain {
        return Ok(());
    }
    Err(format!(
        "it lists the file `{}`; only .safetensors files of the same folder are read",
        shown(name)
    ))
}

/// One file.
struct Shard {
    header: Header,
    store: Store,
}

impl Shard {
    fn open(path: &Path, name: &str) -> Result<Self, WeightsError> {
        let read = |error: std::io::Error| WeightsError::Read {
            file: String::from(name),
            reason: error.to_string(),
        };
        let refused = |reason: String| WeightsError::refused(name, reason);
        // Opening a pipe would wait for its writer.
        if !std::fs::metadata(path).map_err(read)?.is_file() {
            return Err(refused(String::from("it is no plain file")));
        }
        if is_pickle(path) {
            return Err(refused(String::from(PICKLE)));
        }
        let mut file = File::open(path).map_err(read)?;
        let file_bytes = file.metadata().map_err(read)?.len();
        let mut first = Vec::new();
        let mut part = (&mut file).take(LENGTH_BYTES as u64);
        part.read_to_end(&mut first).map_err(read)?;
        let length = header::length(&first, file_bytes).map_err(refused)?;
        // The head is copied and then read, so that nobody changes it between check and use.
        let mut text = vec![0; length];
        file.read_exact(&mut text).map_err(read)?;
        let start = (LENGTH_BYTES + length) as u64;
        let data_bytes = file_bytes - start;
        let header = header::parse(&text, data_bytes).map_err(refused)?;
        let store = Store::map(&file, start, data_bytes).map_err(read)?;
        Ok(Self { header, store })
    }

    fn from_bytes(bytes: Arc<Cow<'static, [u8]>>) -> Result<Self, String> {
        let length = header::length(&bytes, bytes.len() as u64)?;
        let start = LENGTH_BYTES + length;
        let data_bytes = (bytes.len() - start) as u64;
        let header = header::parse(&bytes[LENGTH_BYTES..start], data_bytes)?;
        let store = Store::Memory { bytes, start };
        Ok(Self { header, store })
    }
}

/// Whether the name of a file says that it is a pickle.
pub(super) fn is_pickle(path: &Path) -> bool {
    let end = path.extension().and_then(std::ffi::OsStr::to_str);
    end.is_some_and(|end| {
        PICKLE_ENDS
            .iter()
            .any(|pickle| end.eq_ignore_ascii_case(pickle))
    })
}

/// The numbers of a file: all bytes after its head.
enum Store {
    Mapped(Mmap),
    Memory {
        bytes: Arc<Cow<'static, [u8]>>,
        start: usize,
    },
}

impl Store {
    /// Maps `bytes` bytes of a file from `start` on; the file has at least as many.
    #[allow(unsafe_code)]
    fn map(file: &File, start: u64, bytes: u64) -> std::io::Result<Self> {
        let Ok(length @ 1..) = usize::try_from(bytes) else {
            return Ok(Self::Memory {
                bytes: Arc::default(),
                start: 0,
            });
        };
        // SAFETY: `map` asks that the bytes behind the returned slice do not change or vanish while
        // it lives. The pages are mapped read-only and private, and no code of this process writes
        // to a model file in place: new files are written beside the old one and renamed over it,
        // and the map keeps the old one. `start + length` is the file's length as read from the
        // open file a moment ago, so all pages of the map exist. Only numbers are read from here,
        // for which any bits are valid; names, shapes and offsets were copied before they were
        // checked, so no index that was checked can change.
        // The limit: the system gives no lock that would keep another program from changing the
        // file. If one writes into it, numbers are wrong; if one cuts it short, reading a page
        // beyond the new end stops the process with SIGBUS. It cannot reach other memory.
        let map = unsafe {
            MmapOptions::new()
                .offset(start)
                .len(length)
                .map_copy_read_only(file)?
        };
        Ok(Self::Mapped(map))
    }
}

impl Deref for Store {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Memory { bytes, start } => &bytes[*start..],
        }
    }
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} tensors", self.name, self.tensors.len())
    }
}
