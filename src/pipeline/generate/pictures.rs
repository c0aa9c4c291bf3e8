//! Pictures that stand in a request.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{error::GenerateError, request::Given};
use crate::imaging::{self, GrayImage, ImagingError, Limits, RgbImage};

/// Most bytes of one picture file.
const FILE_BYTES_MAX: usize = 48 << 20;
/// Most pixels of all pictures of a request together.
const PIXELS_MAX: u64 = 120_000_000;
/// What decoding one picture may cost.
const LIMITS: Limits = Limits {
    pixels_max: 50_000_000,
    side_max: 16_384,
    decoder_bytes_max: 512 << 20,
};

/// Encoders disagree about padding, so both forms are read.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the pictures of one request, and bounds what they take together.
#[derive(Debug)]
pub(super) struct Reader {
    pixels_left: u64,
}

impl Reader {
    /// For a new request.
    pub(super) fn new() -> Self {
        Self {
            pixels_left: PIXELS_MAX,
        }
    }

    /// A picture that a request comes with.
    pub(super) fn given(
        &mut self,
        field: &str,
        given: &Given<RgbImage>,
    ) -> Result<RgbImage, GenerateError> {
        match given {
            Given::Encoded(text) => self.picture(field, text),
            Given::Ready(picture) => Ok(picture.clone()),
        }
    }

    /// The picture in a member: base64, or a `data:` URL.
    pub(super) fn picture(&mut self, field: &str, text: &str) -> Result<RgbImage, GenerateError> {
        let limits = Limits {
            pixels_max: LIMITS.pixels_max.min(self.pixels_left),
            ..LIMITS
        };
        let picture = decoded(field, text, |bytes| imaging::decode(bytes, &limits))?;
        let pixels = u64::from(picture.width()) * u64::from(picture.height());
        self.pixels_left -= pixels.min(self.pixels_left);
        Ok(picture)
    }
}

/// The mask in a member.
pub(super) fn mask(
    field: &str,
    given: &Given<GrayImage>,
    is_rounded: bool,
) -> Result<GrayImage, GenerateError> {
    match given {
        Given::Encoded(text) => decoded(field, text, |bytes| {
            imaging::decode_mask(bytes, &LIMITS, is_rounded)
        }),
        Given::Ready(mask) => Ok(mask.clone()),
    }
}

fn decoded<P>(
    field: &str,
    text: &str,
    decode: impl FnOnce(&[u8]) -> Result<P, ImagingError>,
) -> Result<P, GenerateError> {
    let refused = |reason: String| GenerateError::Picture {
        field: field.to_owned(),
        reason,
    };
    let bytes = bytes(text).map_err(|reason| refused(reason.to_owned()))?;
    decode(&bytes).map_err(|error| refused(error.to_string()))
}

fn bytes(text: &str) -> Result<Vec<u8>, &'static str> {
    const REFUSED: &str = "this is no picture in base64; send a jpg or png, as base64 or as a \
                           `data:` URL";
    let text = text.trim();
    let start = text.get(..8).unwrap_or_default().to_ascii_lowercase();
    if start.starts_with("http://") || start.starts_with("https://") {
        return Err("addresses are not fetched; send the picture itself, as base64");
    }
    let payload = if start.starts_with("data:") {
        text.split_once(',').ok_or(REFUSED)?.1
    } else {
        text
    };
    if payload.len() / 4 * 3 > FILE_BYTES_MAX + FILE_BYTES_MAX / 16 {
        return Err("the picture has more than 48 MiB; send a smaller one");
    }
    let joined: String;
    let payload = if payload.contains(|sign: char| sign.is_ascii_whitespace()) {
        joined = payload.split_ascii_whitespace().collect();
        &joined
    } else {
        payload
    };
    BASE64.decode(payload).map_err(|_| REFUSED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::png_text::write_png;

    #[test]
    fn pictures_come_as_base64_and_as_data_urls() {
        let red = RgbImage::from_pixel(3, 2, [250, 1, 2].into());
        let text = BASE64.encode(write_png(&red, &[]).unwrap());
        for spelling in [
            text.clone(),
            format!("data:image/png;base64,{text}"),
            format!(" {}\n{}", &text[..8], &text[8..]),
            text.trim_end_matches('=').to_owned(),
        ] {
            assert_eq!(Reader::new().picture("x", &spelling).unwrap(), red);
            let given = Given::Encoded(spelling);
            assert_eq!(mask("x", &given, true).unwrap().dimensions(), (3, 2));
        }
    }

    #[test]
    fn all_else_is_refused_with_what_to_do() {
        for (text, part) in [
            ("http://a.b/c.png", "send the picture itself"),
            ("HTTPS://a.b", "send the picture itself"),
            ("*", "no picture in base64"),
            ("data:x", "no picture in base64"),
            ("", "empty"),
            ("aGFsbG8=", "not a picture"),
        ] {
            let error = Reader::new().picture("mask", text).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("`mask`") && text.contains(part), "{text}");
        }
    }

    #[test]
    fn pictures_of_a_request_are_bounded_together() {
        let grey = RgbImage::from_pixel(10, 10, [9; 3].into());
        let text = BASE64.encode(write_png(&grey, &[]).unwrap());
        let mut reader = Reader { pixels_left: 150 };
        assert!(reader.picture("one", &text).is_ok());
        let error = reader.picture("two", &text).unwrap_err().to_string();
        assert!(
            error.starts_with("`two`") && error.contains("too large"),
            "{error}"
        );
    }
}
