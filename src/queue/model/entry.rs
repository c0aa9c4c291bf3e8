//! One entry of a queue, without its payload.

use std::{cmp::Reverse, sync::Arc};

use uuid::{Uuid, fmt::Hyphenated};

use crate::domain::{REQUEST_ID_TAG, Tags};

use super::Millis;

/// Where a payload lies and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PayloadRef {
    /// Row id in the table `payload`.
    pub(crate) id: i64,
    /// Length in bytes.
    pub(crate) size: u64,
}

/// A request id; ids in the form of a UUID, which nearly all have, take 16 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestId {
    Uuid([u8; 16]),
    Text(Box<str>),
}

/// Room for the text of a packed request id.
pub(crate) type UuidText = [u8; Hyphenated::LENGTH];

impl RequestId {
    pub(crate) fn new(text: &str) -> Self {
        // Only the canonical spelling is packed, so that the text comes back as it was.
        match Uuid::try_parse(text).map(|uuid| Self::Uuid(uuid.into_bytes())) {
            Ok(packed) if packed.is(text) => packed,
            _ => Self::Text(text.into()),
        }
    }

    pub(crate) fn text(&self) -> String {
        self.text_in(&mut [0; Hyphenated::LENGTH]).to_owned()
    }

    /// The text without an allocation.
    pub(crate) fn text_in<'a>(&'a self, room: &'a mut UuidText) -> &'a str {
        match self {
            Self::Uuid(bytes) => Uuid::from_bytes(*bytes).as_hyphenated().encode_lower(room),
            Self::Text(text) => text,
        }
    }

    fn is(&self, text: &str) -> bool {
        self.text_in(&mut [0; Hyphenated::LENGTH]) == text
    }
}

/// The order of delivery: higher priority first, then the smaller index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) priority: Reverse<u8>,
    pub(crate) index: u64,
}

/// One entry. A backlog holds very many, so what is rare lies in a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) request: RequestId,
    /// The tags other than `requestId`; equal sets share one allocation.
    pub(crate) tags: Arc<Tags>,
    pub(crate) payload: PayloadRef,
    pub(crate) created: Millis,
    pub(crate) priority: u8,
    pub(crate) rare: Option<Box<Rare>>,
}

/// What few entries have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rare {
    /// Why the entry died, for dead letters.
    pub(crate) message: Option<Box<str>>,
    /// Groups that are done with the entry while others still need it.
    pub(crate) done_by: Vec<Arc<str>>,
}

impl Rare {
    pub(crate) fn with_message(message: impl Into<Box<str>>) -> Self {
        Self {
            message: Some(message.into()),
            done_by: Vec::new(),
        }
    }
}

impl Entry {
    pub(crate) fn place(&self, index: u64) -> Place {
        Place {
            priority: Reverse(self.priority),
            index,
        }
    }

    /// All tags with `requestId` among them.
    pub(crate) fn all_tags(&self) -> Tags {
        self.tags.with(REQUEST_ID_TAG, &self.request.text())
    }

    pub(crate) fn has_all(&self, wanted: &Tags) -> bool {
        wanted.iter().all(|(name, value)| {
            if name == REQUEST_ID_TAG {
                self.request.is(value)
            } else {
                self.tags.get(name) == Some(value)
            }
        })
    }

    pub(crate) fn message(&self) -> &str {
        self.rare
            .as_ref()
            .and_then(|rare| rare.message.as_deref())
            .unwrap_or_default()
    }

    pub(crate) fn is_done_by(&self, group: &str) -> bool {
        self.done_by().iter().any(|done| &**done == group)
    }

    pub(crate) fn done_by(&self) -> &[Arc<str>] {
        self.rare.as_ref().map_or(&[], |rare| &rare.done_by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_come_back_as_they_were() {
        for text in [
            "0190a5b4-7c1e-7b7a-8d52-6f0d2b1f9a11",
            "0190A5B4-7C1E-7B7A-8D52-6F0D2B1F9A11",
            "0190a5b47c1e7b7a8d526f0d2b1f9a11",
            "r",
            "photo/17",
        ] {
            assert_eq!(RequestId::new(text).text(), text);
        }
    }

    #[test]
    fn an_entry_stays_small() {
        // 100,000 waiting entries have to fit well into 100 MB together with all else.
        assert!(size_of::<Entry>() <= 80, "{} bytes", size_of::<Entry>());
    }
}
