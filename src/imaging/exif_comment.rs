//! The comment in the EXIF block of a JPEG or PNG.
//!
//! JPEG has no texts with keys, so image generators write what a picture was made of into the tag
//! `UserComment` (EXIF 2.32, section 4.6.5): eight bytes that name the encoding, then the text. The web UI
//! writes `UNICODE` and UTF-16, highest byte first.

use super::{
    jpeg::{EXIF, SEGMENT_BYTES_MAX, START, segment, segments},
    png_text::chunks,
};

/// Tag of the place of the EXIF directory.
const EXIF_DIRECTORY: u16 = 0x8769;
/// Tag of the comment.
const USER_COMMENT: u16 = 0x9286;
/// TIFF's type for a number of 32 bits.
const LONG: u16 = 4;
/// TIFF's type for bytes without meaning.
const UNDEFINED: u16 = 7;
/// Bytes of an entry of a directory.
const ENTRY_BYTES: usize = 12;

/// Why a comment is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExifCommentError {
    /// The bytes do not begin as a JPEG does.
    #[error("the file is no JPEG, so it has no place for a comment; give a JPEG")]
    NotAJpeg,
    /// The text does not fit into one segment.
    #[error("the comment takes {0} bytes, more than a JPEG has a place for; shorten the text")]
    TooLong(usize),
}

/// The JPEG with this comment in a new EXIF block before everything else.
///
/// The file must not have an EXIF block yet; encoders of this program write none.
pub fn with_comment(jpeg: &[u8], text: &str) -> Result<Vec<u8>, ExifCommentError> {
    let rest = jpeg.strip_prefix(START).ok_or(ExifCommentError::NotAJpeg)?;
    let words = text.encode_utf16().flat_map(u16::to_be_bytes);
    let comment: Vec<u8> = b"UNICODE\0".iter().copied().chain(words).collect();
    let too_long = ExifCommentError::TooLong(comment.len());
    let count = u32::try_from(comment.len()).map_err(|_| too_long)?;
    // Two directories of one entry each: the first begins at 8 and takes 18 bytes, as does the second.
    let directory = |tag: u16, kind: u16, count: u32, value: u32| {
        let mut bytes = vec![0, 1];
        bytes.extend([tag, kind].map(u16::to_be_bytes).as_flattened());
        bytes.extend([count, value, 0].map(u32::to_be_bytes).as_flattened());
        bytes
    };
    let block = [
        EXIF,
        b"MM\0*\0\0\0\x08",
        &directory(EXIF_DIRECTORY, LONG, 1, 26),
        &directory(USER_COMMENT, UNDEFINED, count, 44),
        &comment,
    ]
    .concat();
    if block.len() > SEGMENT_BYTES_MAX {
        return Err(too_long);
    }
    Ok([START, &segment(0xe1, &block), rest].concat())
}

/// The comment of a JPEG or PNG; `None` if there is none or it is empty.
///
/// Wrong UTF-16 is shown with replacement signs; bytes without a known encoding are taken as UTF-8.
pub fn read_comment(bytes: &[u8]) -> Option<String> {
    let block = match bytes {
        [0xff, 0xd8, ..] => segments(bytes)
            .filter(|segment| segment.marker == 0xe1)
            .find_map(|segment| segment.body.strip_prefix(EXIF))?,
        _ => chunks(bytes).find(|(name, _)| name == b"eXIf")?.1,
    };
    let comment = Block::of(block)?.comment()?;
    Some(text_of(comment)).filter(|text| !text.is_empty())
}

/// A TIFF block: directories of tags.
struct Block<'a> {
    bytes: &'a [u8],
    is_little_endian: bool,
}

impl<'a> Block<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let is_little_endian = match bytes.first_chunk()? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        Some(Self {
            bytes,
            is_little_endian,
        })
    }

    fn comment(&self) -> Option<&'a [u8]> {
        let first = self.long(4)?;
        let entry = self.entry(first, EXIF_DIRECTORY)?;
        let entry = self.entry(self.long(entry + 8)?, USER_COMMENT)?;
        let count = self.long(entry + 4)?;
        // Up to four bytes stand in the entry itself; then there is not even an encoding.
        let start = self.long(entry + 8)?;
        let comment = self.bytes.get(start..start.checked_add(count)?)?;
        Some(&comment[..comment.len().min(SEGMENT_BYTES_MAX)])
    }

    /// Where the entry of a tag begins, in the directory at `place`.
    fn entry(&self, place: usize, tag: u16) -> Option<usize> {
        let count = usize::from(self.short(place)?);
        let first = place.checked_add(2)?;
        (0..count)
            .map(|number| first.saturating_add(number * ENTRY_BYTES))
            .find(|entry| self.short(*entry) == Some(tag))
    }

    fn short(&self, place: usize) -> Option<u16> {
        let word = self.bytes.get(place..)?.first_chunk()?;
        Some(if self.is_little_endian {
            u16::from_le_bytes(*word)
        } else {
            u16::from_be_bytes(*word)
        })
    }

    fn long(&self, place: usize) -> Option<usize> {
        let word = self.bytes.get(place..)?.first_chunk()?;
        let value = if self.is_little_endian {
            u32::from_le_bytes(*word)
        } else {
            u32::from_be_bytes(*word)
        };
        usize::try_from(value).ok()
    }
}

fn text_of(comment: &[u8]) -> String {
    let text = match comment.split_first_chunk::<8>() {
        Some((b"UNICODE\0", text)) => from_utf16(text),
        Some((b"ASCII\0\0\0" | &[0, 0, 0, 0, 0, 0, 0, 0], text)) => {
            String::from_utf8_lossy(text).into_owned()
        }
        _ => String::from_utf8_lossy(comment).into_owned(),
    };
    text.trim_end_matches('\0').to_owned()
}

/// UTF-16, highest byte first unless the text says otherwise.
///
/// EXIF leaves the order open and some programs write the lowest byte first. Texts like these are
/// mostly ASCII, so the bytes that are zero tell.
fn from_utf16(bytes: &[u8]) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
    let is_little_endian = match pairs.first() {
        Some([0xff, 0xfe]) => true,
        Some([0xfe, 0xff]) => false,
        _ => zeros(1) > zeros(0),
    };
    let word = if is_little_endian {
        u16::from_le_bytes
    } else {
        u16::from_be_bytes
    };
    char::decode_utf16(pairs.iter().map(|pair| word(*pair)))
        .map(|sign| sign.unwrap_or(char::REPLACEMENT_CHARACTER))
        .skip_while(|sign| *sign == '\u{feff}')
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::{reference, samples};

    #[test]
    fn comments_in_blocks_that_pillow_wrote_are_read() {
        let texts = reference::texts();
        let software = texts.iter().find(|(key, _)| key == "Software").unwrap();
        for file in ["file/exif_jpeg", "file/exif_png"] {
            let read = read_comment(reference::file(file));
            assert_eq!(read.as_deref(), Some(&*software.1), "{file}");
        }
    }

    #[test]
    fn a_comment_is_read_back_and_the_picture_stays() {
        let jpeg = samples::jpeg(16, 8);
        let text = "caf\u{e9}, \u{5199}\u{771f} \u{1f600}\nSteps: 20";
        let file = with_comment(&jpeg, text).unwrap();
        assert_eq!(read_comment(&file).as_deref(), Some(text));
        let pixels = |file: &[u8]| image::load_from_memory(file).unwrap().into_rgb8();
        assert_eq!(pixels(&file), pixels(&jpeg));
        assert_eq!(read_comment(&jpeg), None);
        assert_eq!(read_comment(&with_comment(&jpeg, "").unwrap()), None);
    }

    #[test]
    fn a_comment_without_a_place_is_refused() {
        let jpeg = samples::jpeg(8, 8);
        let fits = "a".repeat(32_737);
        let file = with_comment(&jpeg, &fits).unwrap();
        assert_eq!(read_comment(&file), Some(fits.clone()));
        assert!(matches!(
            with_comment(&jpeg, &(fits + "a")),
            Err(ExifCommentError::TooLong(_))
        ));
        let png = samples::png(8, 8);
        assert_eq!(with_comment(&png, "a"), Err(ExifCommentError::NotAJpeg));
    }

    #[test]
    fn other_encodings_are_read() {
        let cases: [(&[u8], &str); 6] = [
            (b"UNICODE\0\0a\0b", "ab"),
            (b"UNICODE\0a\0b\0", "ab"),
            (b"UNICODE\0\xff\xfe\x99\x51", "\u{5199}"),
            (b"ASCII\0\0\0ab\0", "ab"),
            (b"\0\0\0\0\0\0\0\0caf\xc3\xa9", "caf\u{e9}"),
            (b"bare", "bare"),
        ];
        for (comment, text) in cases {
            assert_eq!(text_of(comment), text, "{comment:?}");
        }
    }

    proptest! {
        #[test]
        fn no_block_makes_the_reader_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            length in any::<prop::sample::Index>(),
        ) {
            let mut file = with_comment(&samples::jpeg(8, 8), "text").unwrap();
            for (at, value) in changes {
                // Everything interesting stands at the beginning.
                file[at.index(80)] = value;
            }
            read_comment(&file);
            read_comment(&file[..length.index(file.len())]);
            read_comment(&[b"\xff\xd8\xff\xe1\0\x40Exif\0\0MM\0*", &bytes[..]].concat());
            text_of(&bytes);
        }
    }
}
