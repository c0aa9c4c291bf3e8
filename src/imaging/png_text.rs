//! The texts beside the pixels of a PNG.
//!
//! Image generators write what a picture was made of into a text with the key `parameters`, and every
//! program of that kind reads it from there. Texts are written as Pillow writes them: a `tEXt` chunk if
//! Latin-1 holds the text, else an `iTXt` chunk (PNG specification, third edition, section 11.3.3).
//! Read are all three kinds of chunk, from anywhere in a file that may be damaged or hostile; pixels
//! are not looked at.

use std::io::Cursor;

use image::RgbImage;

/// Most bytes of all texts of one file together, unpacked.
pub const TEXT_BYTES_MAX: usize = 4 << 20;
/// Most texts of one file, readable or not; the rest is left out. Each may turn out to be too long
/// only after [`TEXT_BYTES_MAX`] have been unpacked.
pub const TEXTS_MAX: usize = 64;
/// Longest key, in Latin-1 characters.
const KEY_LENGTH_MAX: usize = 79;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A text of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextItem {
    /// What the text is, such as `parameters` or `Software`.
    pub key: String,
    /// The text, which may have several lines.
    pub text: String,
}

/// Why no file is written.
#[derive(Debug, thiserror::Error)]
pub enum PngTextError {
    /// PNG has no place for this key.
    #[error("{0:?} cannot be the key of a text; use 1 to 79 characters of Latin-1")]
    Key(String),
    /// The picture has no pixels, or a text is longer than a chunk can be.
    #[error("the picture cannot be written as a PNG: {0}")]
    Encode(#[from] png::EncodingError),
}

/// The file of a picture with its texts, in their order but for those that need `iTXt` after the rest.
pub fn write_png(picture: &RgbImage, items: &[TextItem]) -> Result<Vec<u8>, PngTextError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    for TextItem { key, text } in items {
        if key.is_empty() || key.chars().count() > KEY_LENGTH_MAX || !is_latin_1(key) {
            return Err(PngTextError::Key(key.clone()));
        }
        if is_latin_1(text) {
            encoder.add_text_chunk(key.clone(), text.clone())?;
        } else {
            encoder.add_itxt_chunk(key.clone(), text.clone())?;
        }
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture)?;
    writer.finish()?;
    Ok(file)
}

fn is_latin_1(text: &str) -> bool {
    // A zero would end the key, and in a text no reader expects it.
    text.chars()
        .all(|sign| sign != '\0' && u32::from(sign) < 256)
}

/// The texts of a PNG in the order of the file; none if it is no PNG.
///
/// A damaged or unreadable text is left out, and so is one that would be longer than what is left of
/// [`TEXT_BYTES_MAX`]. A file that is cut short gives what stands before the cut.
pub fn read_texts(bytes: &[u8]) -> Vec<TextItem> {
    let mut items = Vec::new();
    let mut bytes_left = TEXT_BYTES_MAX;
    let is_text = |name: &[u8; 4]| matches!(name, b"tEXt" | b"zTXt" | b"iTXt");
    let texts = chunks(bytes).filter(|(name, _)| is_text(name));
    for (name, body) in texts.take(TEXTS_MAX) {
        let read = match &name {
            b"tEXt" => plain(body, bytes_left),
            b"zTXt" => packed(body, bytes_left),
            _ => international(body, bytes_left),
        };
        if let Some(item) = read.filter(|item| item.text.len() <= bytes_left) {
            bytes_left -= item.text.len();
            items.push(item);
        }
    }
    items
}

/// Names and bodies of the chunks of a PNG. Check sums are not compared.
pub(super) fn chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes.strip_prefix(SIGNATURE).unwrap_or_default();
    std::iter::from_fn(move || {
        let (head, after) = rest.split_first_chunk::<8>()?;
        let [l3, l2, l1, l0, name @ ..] = *head;
        let length = u32::from_be_bytes([l3, l2, l1, l0]) as usize;
        let (body, after) = after.split_at_checked(length)?;
        // The check sum behind the body may be what is missing of a cut file.
        rest = after.get(4..).unwrap_or_default();
        Some((name, body))
    })
}

/// `tEXt`: key, zero, text in Latin-1.
fn plain(body: &[u8], bytes_max: usize) -> Option<TextItem> {
    let (key, text) = key_and_rest(body)?;
    (text.len() <= bytes_max).then(|| TextItem {
        key,
        text: from_latin_1(text),
    })
}

/// `zTXt`: key, zero, method 0, deflated text in Latin-1.
fn packed(body: &[u8], bytes_max: usize) -> Option<TextItem> {
    let (key, rest) = key_and_rest(body)?;
    let stream = rest.strip_prefix(&[0])?;
    Some(TextItem {
        key,
        text: inflated(stream, bytes_max)?,
    })
}

/// `iTXt`: key, zero, whether it is deflated, method 0, language, zero, translated key, zero, text in
/// UTF-8.
fn international(body: &[u8], bytes_max: usize) -> Option<TextItem> {
    let (key, rest) = key_and_rest(body)?;
    let (&[is_packed, method], rest) = rest.split_first_chunk()?;
    let (_language, rest) = split_at_zero(rest)?;
    let (_translated_key, text) = split_at_zero(rest)?;
    let text = match (is_packed, method) {
        (0, _) if text.len() <= bytes_max => text.to_vec(),
        (1, 0) => {
            // All signs of a text that was unpacked as Latin-1 are bytes.
            let unpacked = inflated(text, bytes_max)?;
            unpacked.chars().map(|sign| sign as u8).collect()
        }
        _ => return None,
    };
    let text = String::from_utf8(text).ok()?;
    Some(TextItem { key, text })
}

fn key_and_rest(body: &[u8]) -> Option<(String, &[u8])> {
    let (key, rest) = split_at_zero(body)?;
    let is_key = (1..=KEY_LENGTH_MAX).contains(&key.len());
    is_key.then(|| (from_latin_1(key), rest))
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let zero = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..zero], &bytes[zero + 1..]))
}

fn from_latin_1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// A deflated text in Latin-1, if it has no more than `bytes_max` bytes.
///
/// The PNG library unpacks texts of whole files only. So the stream is put into the smallest file there
/// is, and check sums are not asked for.
fn inflated(stream: &[u8], bytes_max: usize) -> Option<String> {
    let mut file = SIGNATURE.to_vec();
    let one_grey_pixel = [0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0];
    for (name, body) in [
        (b"IHDR", &one_grey_pixel[..]),
        (b"zTXt", &[b"key\0\0", stream].concat()),
        (b"IDAT", &[]),
    ] {
        file.extend(u32::try_from(body.len()).ok()?.to_be_bytes());
        file.extend(name);
        file.extend(body);
        file.extend([0; 4]);
    }
    let mut decoder = png::Decoder::new(Cursor::new(file));
    decoder.ignore_checksums(true);
    let reader = decoder.read_info().ok()?;
    let mut text = reader.info().compressed_latin1_text.first()?.clone();
    text.decompress_text_with_limit(bytes_max).ok()?;
    text.get_text().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::{reference, samples};

    fn item(key: &str, text: &str) -> TextItem {
        TextItem {
            key: key.to_owned(),
            text: text.to_owned(),
        }
    }

    fn with_chunks(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let file = samples::png(4, 4);
        chunks.iter().rev().fold(file, |file, (name, body)| {
            samples::png_with_chunk(&file, **name, body)
        })
    }

    /// A zlib stream of one stored block.
    fn stored(text: &[u8]) -> Vec<u8> {
        let length = u16::try_from(text.len()).unwrap();
        let lengths = [length.to_le_bytes(), (!length).to_le_bytes()].concat();
        let sums = text.iter().fold([1, 0], |[a, b]: [u32; 2], byte| {
            let a = (a + u32::from(*byte)) % 65_521;
            [a, (a + b) % 65_521]
        });
        let check = (sums[1] << 16 | sums[0]).to_be_bytes();
        [b"\x78\x01\x01", &lengths[..], text, &check].concat()
    }

    #[test]
    fn texts_that_pillow_wrote_are_read() {
        let expected: Vec<TextItem> = reference::texts()
            .into_iter()
            .map(|(key, text)| TextItem { key, text })
            .collect();
        assert!(expected.len() > 3);
        assert_eq!(read_texts(reference::file("file/png")), expected);
    }

    #[test]
    fn what_is_written_is_read_back_with_its_picture() {
        let picture = samples::picture(7, 5);
        let items = [
            item("Software", "photog"),
            item(
                "parameters",
                "caf\u{e9},\nNegative prompt: \u{ff}\nSteps: 20",
            ),
            item("Kommentar \u{e4}", ""),
            item("other", "\u{5199}\u{771f} \u{2713}"),
        ];
        let file = write_png(&picture, &items).unwrap();
        assert_eq!(read_texts(&file), items);
        let kinds: Vec<[u8; 4]> = chunks(&file).map(|(name, _)| name).collect();
        assert_eq!(kinds[1..5], [*b"tEXt", *b"tEXt", *b"tEXt", *b"iTXt"]);
        let read = image::load_from_memory(&file).unwrap().into_rgb8();
        assert_eq!(read, picture);
    }

    #[test]
    fn keys_that_png_has_no_place_for_are_refused() {
        let picture = samples::picture(1, 1);
        for key in ["", "\u{5199}", "a\0b", &"k".repeat(80)] {
            let written = write_png(&picture, &[item(key, "text")]);
            assert!(matches!(written, Err(PngTextError::Key(_))), "{key}");
        }
        assert!(write_png(&picture, &[item(&"k".repeat(79), "text")]).is_ok());
    }

    #[test]
    fn unreadable_texts_are_left_out_and_the_others_kept() {
        let file = with_chunks(&[
            (b"tEXt", b"no end of the key"),
            (b"tEXt", b"\0no key"),
            (b"tEXt", b"one\0first"),
            (b"zTXt", b"two\0\x05method"),
            (b"zTXt", b"two\0\0no stream"),
            (b"zTXt", &[b"two\0\0", &stored(b"caf\xe9")[..]].concat()),
            (b"iTXt", b"three\0\0\0de\0drei\0\xff\xfe"),
            (b"iTXt", b"three\0\x02\0de\0drei\0text"),
            (b"iTXt", b"three\0"),
            (b"iTXt", b"three\0\0\0de\0drei\0dritter"),
        ]);
        let expected = [
            item("one", "first"),
            item("two", "caf\u{e9}"),
            item("three", "dritter"),
        ];
        assert_eq!(read_texts(&file), expected);
    }

    #[test]
    fn texts_are_bounded_before_they_are_unpacked() {
        let long = "a".repeat(TEXT_BYTES_MAX / 2 + 1);
        let mut zipped = png::text_metadata::ZTXtChunk::new("zip", long.clone());
        zipped.compress_text().unwrap();
        let mut encoded = Vec::new();
        png::text_metadata::EncodableTextChunk::encode(&zipped, &mut encoded).unwrap();
        assert!(encoded.len() < TEXT_BYTES_MAX / 50);
        let body = &encoded[8..encoded.len() - 4];
        let file = with_chunks(&[(b"zTXt", body), (b"zTXt", body), (b"tEXt", b"short\0text")]);
        let read = read_texts(&file);
        assert_eq!(read, [item("zip", &long), item("short", "text")]);
        let many = with_chunks(&[(b"tEXt", &b"key\0text"[..]); TEXTS_MAX + 3]);
        assert_eq!(read_texts(&many).len(), TEXTS_MAX);
    }

    #[test]
    fn a_cut_file_gives_what_stands_before_the_cut() {
        let file = reference::file("file/png");
        let all = read_texts(file);
        for length in 0..file.len() {
            let read = read_texts(&file[..length]);
            assert!(all.starts_with(&read), "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(
            name in prop_oneof![Just(*b"tEXt"), Just(*b"zTXt"), Just(*b"iTXt")],
            body in prop::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..60),
            tail in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            read_texts(&tail);
            read_texts(&[SIGNATURE, &tail].concat());
            read_texts(&with_chunks(&[(&name, &body), (&name, &tail)]));
            read_texts(&with_chunks(&[(b"zTXt", &[b"k\0\0\x78\x9c", &tail[..]].concat())]));
        }
    }
}
