//! Pictures that stand in the address itself: `data:` URLs and bare base64.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::FetchError;
use crate::imaging::Format;

/// Encoders disagree about padding, so both forms are read.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The bytes of a picture that stands in a text: a `data:image/…;base64,…` URL, or a picture of a
/// known format in bare base64. At most `limit` of them; nothing is fetched.
pub fn inline_picture(text: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
    let head = text.get(..5).unwrap_or_default();
    if head.eq_ignore_ascii_case("data:") {
        return from_data_url(text, limit);
    }
    from_bare_base64(text, limit)
}

/// The bytes of a `data:image/…;base64,…` URL.
pub(super) fn from_data_url(address: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
    const REFUSED: FetchError =
        FetchError::InvalidAddress("a `data:` URL has to begin with `data:image/…;base64,`");
    let (head, payload) = address.split_once(',').ok_or(REFUSED)?;
    let head = head.to_ascii_lowercase();
    if !head.starts_with("data:image/") || !head.ends_with(";base64") {
        return Err(REFUSED);
    }
    decode(payload, limit)?.ok_or(FetchError::InvalidAddress(
        "the data in its `data:` URL is no base64",
    ))
}

/// The bytes of a bare base64 text, if they are a picture of a known format.
pub(super) fn from_bare_base64(text: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
    decode(text, limit)?
        .filter(|bytes| Format::sniff(bytes).is_some())
        .ok_or(FetchError::InvalidAddress(
            "it is none of the known forms, and no picture in base64 either",
        ))
}

/// Decodes either alphabet, with or without line breaks. `None` when it is no base64.
fn decode(text: &str, limit: u64) -> Result<Option<Vec<u8>>, FetchError> {
    // Four characters hold three bytes; line breaks only make the estimate too high by a little.
    if text.len() as u64 / 4 * 3 > limit.saturating_add(limit / 16 + 3) {
        return Err(FetchError::TooLarge { limit });
    }
    let joined: String;
    let text = if text.contains(|character: char| character.is_ascii_whitespace()) {
        joined = text.split_ascii_whitespace().collect();
        &joined
    } else {
        text
    };
    let alphabet = if text.contains(['-', '_']) {
        URL_SAFE
    } else {
        STANDARD
    };
    let bytes = alphabet.decode(text).ok();
    if bytes.as_ref().is_some_and(|all| all.len() as u64 > limit) {
        return Err(FetchError::TooLarge { limit });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A GIF header, the shortest known picture signature, and its base64.
    const GIF: (&[u8], &str) = (b"GIF89a", "R0lGODlh");

    #[test]
    fn data_urls_are_read_in_every_common_spelling() {
        for address in [
            "data:image/gif;base64,R0lGODlh",
            "DATA:IMAGE/GIF;BASE64,R0lGODlh",
            "data:image/gif;name=a.gif;base64,R0lGODlh",
            "data:image/gif;base64,R0lG\r\nODlh\n",
        ] {
            assert_eq!(from_data_url(address, 6).unwrap(), GIF.0, "{address}");
        }
        let unpadded = from_data_url("data:image/png;base64,_-8", 6).unwrap();
        assert_eq!(
            unpadded,
            from_data_url("data:image/png;base64,/+8=", 6).unwrap()
        );
    }

    #[test]
    fn other_data_urls_are_refused_without_repeating_them() {
        for address in [
            "data:",
            "data:image/png",
            "data:image/png,R0lGODlh",
            "data:text/html;base64,R0lGODlh",
            "data:;base64,R0lGODlh",
            "data:image/png;base64,R0lG*ODlh",
            "data:image/png;base64,R0lGODl",
        ] {
            // The last one ends inside a byte and is base64 all the same when read leniently.
            let Err(error) = from_data_url(address, 6) else {
                assert_eq!(address, "data:image/png;base64,R0lGODl");
                continue;
            };
            assert!(matches!(error, FetchError::InvalidAddress(_)));
            assert!(!error.to_string().contains("R0lG"));
        }
    }

    #[test]
    fn bare_base64_has_to_hold_a_picture() {
        assert_eq!(from_bare_base64(GIF.1, 6).unwrap(), GIF.0);
        for text in ["", "photo.jpg", "aGVsbG8gd29ybGQ=", "/home/user/photo.jpg"] {
            let read = from_bare_base64(text, 1000);
            assert!(matches!(read, Err(FetchError::InvalidAddress(_))), "{text}");
        }
    }

    #[test]
    fn the_size_limit_is_exact() {
        assert!(from_bare_base64(GIF.1, 6).is_ok());
        for limit in [0, 1, 5] {
            let read = from_bare_base64(GIF.1, limit);
            assert!(matches!(read, Err(FetchError::TooLarge { .. })), "{limit}");
        }
    }
}
