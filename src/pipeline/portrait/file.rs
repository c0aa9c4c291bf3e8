//! The file of a portrait: a JPEG that says what it is.

use super::{error::PortraitError, run::Portrait};
use crate::imaging::{
    RgbImage, write_jpeg,
    xmp::{Credentials, packet, with_xmp},
};

/// What the file says that it was made by.
const PROGRAM: &str = concat!("photog ", env!("CARGO_PKG_VERSION"));
/// Qualities, from the best to the least that is sent (`portrait-api` section 5.3).
const QUALITIES: [u8; 4] = [95, 90, 85, 80];

/// The file of a portrait, as good as it fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fitting {
    /// It fits.
    Fits(Vec<u8>),
    /// It does not, also at the lowest quality; in the best.
    TooLarge(Vec<u8>),
}

/// The JPEG file of a portrait of at most so many bytes.
pub fn fitting(
    portrait: &Portrait,
    has_credentials: bool,
    bytes_max: u64,
) -> Result<Fitting, PortraitError> {
    let mut best = None;
    for quality in QUALITIES {
        let file = file(&portrait.picture, portrait, has_credentials, quality)?;
        if file.len() as u64 <= bytes_max {
            return Ok(Fitting::Fits(file));
        }
        best.get_or_insert(file);
    }
    Ok(Fitting::TooLarge(best.unwrap_or_default()))
}

fn file(
    picture: &RgbImage,
    portrait: &Portrait,
    has_credentials: bool,
    quality: u8,
) -> Result<Vec<u8>, PortraitError> {
    let not_written = |reason: String| PortraitError::NotWritten(reason);
    let file = write_jpeg(picture, quality).map_err(|error| not_written(error.to_string()))?;
    if !has_credentials {
        return Ok(file);
    }
    let packet = packet(&credentials(portrait));
    with_xmp(&file, &packet).map_err(|error| not_written(error.to_string()))
}

/// What a portrait says of itself. Whom it shows is not among it.
pub fn credentials(portrait: &Portrait) -> Credentials {
    Credentials {
        program: String::from(PROGRAM),
        model: portrait.checkpoint.clone(),
        seed: Some(portrait.seed),
        created: None,
    }
}
