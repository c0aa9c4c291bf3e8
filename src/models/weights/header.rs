//! The head of a safetensors file: the names, types, shapes and places of its tensors.
//!
//! A file is the length of the head as a little-endian `u64`, the head as JSON, and the numbers.
//! The head maps each name to `{dtype, shape, data_offsets}`, counted from the first byte after
//! the head, and `__metadata__` to a map of strings. It is read strictly: the tensors have to fill
//! the rest of the file without gap or overlap, and no name may be there twice (the JSON reader
//! would take the last one, another program the first).

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};

use super::dtype::Dtype;
use super::{shown, shown_message};

/// Bytes before the head.
pub(super) const LENGTH_BYTES: usize = 8;
/// Largest head in bytes. That of a whole SD 1.x file takes 150 KB; a LoRA file may list all tags
/// of its training photos in the metadata.
pub(super) const HEADER_BYTES_MAX: u64 = 16 << 20;
/// Most tensors of one file; a whole SDXL file has some 2500.
pub(super) const TENSORS_MAX: usize = 50_000;
/// Most sizes of one shape.
const RANK_MAX: usize = 8;
/// Longest name of a tensor in bytes.
const NAME_BYTES_MAX: usize = 512;

/// Where a tensor is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Bytes, counted from the end of the head.
    pub(super) range: Range<usize>,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) tensors: BTreeMap<String, Place>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Length of the head in bytes, from the first bytes of a file and the file's own length.
pub(super) fn length(first: &[u8], file_bytes: u64) -> Result<usize, String> {
    let Some(length) = first.first_chunk::<LENGTH_BYTES>() else {
        return Err(String::from(
            "it is shorter than the shortest safetensors file; its download was cut off",
        ));
    };
    if let Some(what) = foreign(first) {
        return Err(String::from(what));
    }
    let length = u64::from_le_bytes(*length);
    if length > HEADER_BYTES_MAX {
        return Err(format!(
            "its head would take {length} bytes, more than {HEADER_BYTES_MAX}; \
             it is damaged or not a safetensors file"
        ));
    }
    if length > file_bytes.saturating_sub(LENGTH_BYTES as u64) {
        return Err(format!(
            "its head would take {length} bytes and the file has {file_bytes}; \
             its download was cut off"
        ));
    }
    Ok(length as usize)
}

/// What a file is instead of safetensors, told by its first bytes, and what to do about it.
fn foreign(first: &[u8]) -> Option<&'static str> {
    const SIGNS: [(&[u8], &str); 7] = [
        (b"PK\x03\x04", PICKLE),
        (b"\x80\x02", PICKLE),
        (b"\x80\x03", PICKLE),
        (b"\x80\x04", PICKLE),
        (
            b"version ",
            "it is a Git LFS pointer and not the file itself; fetch the file with `git lfs pull`, \
             or download it from its page",
        ),
        (
            b"GGUF",
            "it is a GGUF file; take the safetensors file of the same model",
        ),
        (
            b"<",
            "it is a web page, not a model; the download gave an error page or asked to log in",
        ),
    ];
    // A small head may begin with any of these bytes; the high bytes of its length are zero.
    let high_bytes = first.get(4..LENGTH_BYTES)?;
    let found = SIGNS.iter().find(|(sign, _)| first.starts_with(sign));
    found
        .filter(|_| high_bytes != [0; 4])
        .map(|&(_, what)| what)
}

/// Why pickles are not read.
pub(super) const PICKLE: &str = "it is a PyTorch pickle, which can run programs of a stranger when \
    it is read, so photog does not read it. Most publishers offer the model as .safetensors too; \
    otherwise convert it once in Python: load it with torch.load(path, map_location=\"cpu\", \
    weights_only=True), take its \"state_dict\" if it has one, and write the tensors with \
    safetensors.torch.save_file";

/// Reads the head `text`, after which `data_bytes` of numbers follow.
pub(super) fn parse(text: &[u8], data_bytes: u64) -> Result<Header, String> {
    let header: Header = serde_json::from_slice(text)
        .map_err(|error| format!("its head cannot be read: {}", shown_message(&error)))?;
    check_places(&header, data_bytes)?;
    Ok(header)
}

/// That the tensors fill the data exactly.
fn check_places(header: &Header, data_bytes: u64) -> Result<(), String> {
    let mut places: Vec<(&Range<usize>, &String)> = header
        .tensors
        .iter()
        .map(|(name, place)| (&place.range, name))
        .collect();
    places.sort_by_key(|(range, _)| (range.start, range.end));
    let mut end = 0;
    for (range, name) in places {
        let name = shown(name);
        if range.end as u64 > data_bytes {
            return Err(format!(
                "the tensor `{name}` ends at byte {} of the data and the file has {data_bytes}; \
                 its download was cut off",
                range.end
            ));
        }
        if range.start < end {
            return Err(format!("the tensor `{name}` overlaps another one"));
        }
        if range.start > end {
            return Err(format!("there is a gap before the tensor `{name}`"));
        }
        end = range.end;
    }
    if (end as u64) < data_bytes {
        return Err(format!(
            "{} bytes after the last tensor belong to nothing",
            data_bytes - end as u64
        ));
    }
    Ok(())
}

/// A tensor as it stands in the head.
#[derive(Deserialize)]
struct Entry<'text> {
    #[serde(borrow)]
    dtype: std::borrow::Cow<'text, str>,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl Entry<'_> {
    fn place(self) -> Result<Place, String> {
        let dtype = Dtype::parse(&self.dtype)
            .ok_or_else(|| format!("is of the type `{}`, which is unknown", shown(&self.dtype)))?;
        if self.shape.len() > RANK_MAX {
            return Err(format!("has {} sizes", self.shape.len()));
        }
        let bytes = self
            .shape
            .iter()
            .try_fold(dtype.bytes() as u64, |bytes, &size| bytes.checked_mul(size));
        let (start, end) = self.data_offsets;
        if bytes.is_none() || end.checked_sub(start) != bytes {
            return Err(format!(
                "is of the type {} and the shape {:?}, and has bytes {start} to {end}",
                dtype.name(),
                self.shape
            ));
        }
        let size = |number: u64| usize::try_from(number).map_err(|_| String::from("is too large"));
        Ok(Place {
            dtype,
            shape: self.shape.into_iter().map(size).collect::<Result<_, _>>()?,
            range: size(start)?..size(end)?,
        })
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        let mut has_metadata = false;
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                if std::mem::replace(&mut has_metadata, true) {
                    return Err(A::Error::custom("`__metadata__` is there twice"));
                }
                // The format has strings only; `null` is what some writers give for none.
                header.metadata = map.next_value::<Option<_>>()?.unwrap_or_default();
                continue;
            }
            let entry: Entry<'de> = map.next_value()?;
            let wrong =
                |what: &str| A::Error::custom(format_args!("the tensor `{}` {what}", shown(&name)));
            if name.len() > NAME_BYTES_MAX {
                return Err(wrong("has too long a name"));
            }
            if header.tensors.len() == TENSORS_MAX {
                return Err(A::Error::custom(format_args!(
                    "there are more than {TENSORS_MAX} tensors"
                )));
            }
            let place = entry.place().map_err(|what| wrong(&what))?;
            if header.tensors.contains_key(&name) {
                return Err(wrong("is there twice"));
            }
            header.tensors.insert(name, place);
        }
        Ok(header)
    }
}
