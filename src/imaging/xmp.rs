//! What a picture says about its own making: an XMP packet (ISO 16684-1) in a JPEG or PNG.
//!
//! The packet marks a picture as one that a trained model took part in, with the words of IPTC that search
//! engines, image libraries and networks look for (IPTC Photo Metadata Standard 2025.1), and names program,
//! model and seed. It is a plain statement: nothing is signed, and whoever wants to can take it out.
//!
//! In a JPEG it is a segment of its own; in a PNG it is the text [`PNG_KEY`], which
//! [`png_text`](super::png_text) writes and reads.

use super::{
    jpeg::{EXIF, SEGMENT_BYTES_MAX, START, segment, segments},
    png_text::{TextItem, read_texts},
};

/// Key of the text that holds the packet of a PNG.
pub const PNG_KEY: &str = "XML:com.adobe.xmp";
/// What the packet of a JPEG begins with.
const NAMESPACE: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
/// IPTC's word for a picture with parts that a trained model made.
const DIGITAL_SOURCE_TYPE: &str =
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia";
/// Most characters of each text. Escaped, a character takes 5 bytes at most, and the packet holds 5 such
/// texts, so that it always fits into a segment of a JPEG.
const TEXT_CHARS_MAX: usize = 1000;

/// How a picture was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Name and version of the program, such as `photog 0.1.0`.
    pub program: String,
    /// Name of the model that painted.
    pub model: String,
    /// Seed of the randomness, if there is one.
    pub seed: Option<i64>,
    /// When, as ISO 8601 has it: `2025-03-01T12:00:00Z`.
    pub created: Option<String>,
}

/// Why a packet is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmpError {
    /// The bytes do not begin as a JPEG does.
    #[error("the file is no JPEG, so it has no place for this XMP packet; give a JPEG")]
    NotAJpeg,
    /// The packet does not fit into one segment.
    #[error("the XMP packet has {0} bytes, more than a JPEG has a place for; shorten it")]
    TooLong(usize),
}

/// The packet that says so.
///
/// | property | what it says |
/// | --- | --- |
/// | `xmp:CreatorTool` | the program |
/// | `xmp:CreateDate` | when, if that is known |
/// | `Iptc4xmpExt:DigitalSourceType` | that a trained model made parts of the picture |
/// | `Iptc4xmpExt:AISystemUsed` | the model |
/// | `dc:description` | program, model and seed for people |
///
/// Of each text, 1000 characters are used, and characters that XML has no place for become U+FFFD. So the
/// packet always fits into one segment of a JPEG.
pub fn packet(credentials: &Credentials) -> String {
    let program = escaped(&credentials.program);
    let model = escaped(&credentials.model);
    let seed = credentials.seed.map(|seed| format!(", seed {seed}"));
    let seed = seed.unwrap_or_default();
    let created = credentials.created.as_deref().map(|created| {
        let created = escaped(created);
        format!("\n   <xmp:CreateDate>{created}</xmp:CreateDate>")
    });
    let created = created.unwrap_or_default();
    // The mark between the first quotes says that the packet is in UTF-8. Latin-1 does not have it, which
    // makes `write_png` use the kind of chunk that XMP needs.
    format!(
        r#"<?xpacket begin="{}" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
   <xmp:CreatorTool>{program}</xmp:CreatorTool>{created}
   <Iptc4xmpExt:DigitalSourceType>{DIGITAL_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>
   <Iptc4xmpExt:AISystemUsed>{model}</Iptc4xmpExt:AISystemUsed>
   <dc:description>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">Made by {program} with the model {model}{seed}</rdf:li>
    </rdf:Alt>
   </dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"#,
        '\u{feff}'
    )
}

/// The beginning of a text as content of an XML element.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len().min(TEXT_CHARS_MAX));
    for sign in text.chars().take(TEXT_CHARS_MAX) {
        match sign {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // A reader would take a plain one for the end of a line.
            '\r' => escaped.push_str("&#13;"),
            '\t' | '\n' | '\u{20}'..='\u{fffd}' | '\u{10000}'.. => escaped.push(sign),
            _ => escaped.push(char::REPLACEMENT_CHARACTER),
        }
    }
    escaped
}

/// The JPEG with this packet behind the segments that have to come first, those of JFIF and EXIF.
///
/// The file must not have a packet yet; encoders of this program write none.
pub fn with_xmp(jpeg: &[u8], packet: &str) -> Result<Vec<u8>, XmpError> {
    let rest = jpeg.strip_prefix(START).ok_or(XmpError::NotAJpeg)?;
    let body = [NAMESPACE, packet.as_bytes()].concat();
    if body.len() > SEGMENT_BYTES_MAX {
        return Err(XmpError::TooLong(packet.len()));
    }
    let comes_first =
        |marker: u8, body: &[u8]| marker == 0xe0 || (marker == 0xe1 && body.starts_with(EXIF));
    let rest = segments(jpeg)
        .take_while(|segment| comes_first(segment.marker, segment.body))
        .last()
        .map_or(rest, |segment| segment.rest);
    let before = &jpeg[..jpeg.len() - rest.len()];
    Ok([before, &segment(0xe1, &body), rest].concat())
}

/// The text that puts this packet into a PNG, for [`write_png`](super::png_text::write_png).
pub fn png_item(packet: String) -> TextItem {
    TextItem {
        key: PNG_KEY.to_owned(),
        text: packet,
    }
}

/// The packet of a JPEG or PNG, as it stands there; `None` if there is none or it is not UTF-8.
///
/// Of a packet that goes on in further segments of a JPEG, the first part is given.
pub fn read_xmp(bytes: &[u8]) -> Option<String> {
    if !bytes.starts_with(START) {
        let mut texts = read_texts(bytes).into_iter();
        return Some(texts.find(|item| item.key == PNG_KEY)?.text);
    }
    let packet = segments(bytes)
        .filter(|segment| segment.marker == 0xe1)
        .find_map(|segment| segment.body.strip_prefix(NAMESPACE))?;
    Some(str::from_utf8(packet).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::{
        Limits, decode,
        exif_comment::{read_comment, with_comment},
        png_text::{chunks, write_png},
        reference, samples,
    };

    /// What `tests/reference/imaging_masks.py` reads with an XML parser and lets Pillow put into files.
    const PACKET: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/reference/fixtures/credentials.xmp"
    ));

    fn credentials() -> Credentials {
        Credentials {
            program: "photog 0.1.0".to_owned(),
            model: "\"caf\u{e9}\" <\u{5199}\u{771f}> & ]]> \u{1}".to_owned(),
            seed: Some(-42),
            created: Some("2025-03-01T12:00:00Z".to_owned()),
        }
    }

    #[test]
    fn the_packet_is_the_one_that_an_xml_parser_reads() {
        assert_eq!(packet(&credentials()), PACKET);
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let packet = packet(&Credentials {
            seed: None,
            created: None,
            ..credentials()
        });
        assert!(!packet.contains("seed") && !packet.contains("CreateDate"));
        assert!(packet.contains("compositeWithTrainedAlgorithmicMedia<"));
    }

    #[test]
    fn files_with_the_packet_are_those_that_pillow_writes() {
        let with_packet = with_xmp(reference::file("file/plain_jpeg"), PACKET).unwrap();
        assert!(with_packet == reference::file("file/xmp_jpeg"));
        assert_eq!(read_xmp(&with_packet).as_deref(), Some(PACKET));

        let file = write_png(&samples::picture(3, 2), &[png_item(PACKET.to_owned())]).unwrap();
        let text = |file| {
            let mut texts = chunks(file).filter(|(name, _)| name == b"iTXt");
            texts.next().unwrap().1.to_vec()
        };
        assert!(text(&file) == text(reference::file("file/xmp_png")));
        assert_eq!(read_xmp(&file).as_deref(), Some(PACKET));
        assert_eq!(read_xmp(reference::file("file/plain_jpeg")), None);
        assert_eq!(read_xmp(reference::file("file/png")), None);
    }

    #[test]
    fn a_packet_stands_beside_a_comment_and_the_picture_stays() {
        let jpeg = samples::jpeg(8, 4);
        let both = with_comment(&with_xmp(&jpeg, PACKET).unwrap(), "a comment").unwrap();
        let again = with_xmp(&with_comment(&jpeg, "a comment").unwrap(), PACKET).unwrap();
        assert_eq!(both, again);
        assert_eq!(read_xmp(&both).as_deref(), Some(PACKET));
        assert_eq!(read_comment(&both).as_deref(), Some("a comment"));
        let limits = Limits::default();
        assert_eq!(decode(&both, &limits), decode(&jpeg, &limits));
    }

    #[test]
    fn a_packet_without_a_place_is_refused() {
        let packet = "p".repeat(SEGMENT_BYTES_MAX - NAMESPACE.len());
        let file = with_xmp(&samples::jpeg(2, 2), &packet).unwrap();
        assert_eq!(read_xmp(&file), Some(packet.clone()));
        let longer = packet + "p";
        let refused = with_xmp(&file, &longer);
        assert_eq!(refused, Err(XmpError::TooLong(longer.len())));
        let refused = with_xmp(&samples::png(2, 2), PACKET);
        assert_eq!(refused, Err(XmpError::NotAJpeg));
    }

    proptest! {
        #[test]
        fn any_texts_fit_into_one_segment(
            (program, model) in (any::<String>(), any::<String>()),
            signs in prop::collection::vec(prop_oneof![Just('&'), Just('\r'), any::<char>()], 1..4),
            seed in any::<Option<i64>>(),
        ) {
            let long: String = signs.into_iter().cycle().take(TEXT_CHARS_MAX + 1).collect();
            for [program, model] in [[program, model], [long.clone(), long.clone()]] {
                let created = Some(long.clone());
                let made = packet(&Credentials { program, model, seed, created });
                let file = with_xmp(&[START, b"rest"].concat(), &made).unwrap();
                prop_assert_eq!(read_xmp(&file), Some(made));
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            at in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            read_xmp(&bytes);
            read_xmp(&[START, &bytes].concat());
            for name in ["file/xmp_jpeg", "file/xmp_png"] {
                let mut file = reference::file(name).to_vec();
                let place = at.index(file.len());
                read_xmp(&file[..place]);
                let _ = with_xmp(&file[..place], PACKET);
                file[place] = value;
                read_xmp(&file);
            }
        }
    }
}
