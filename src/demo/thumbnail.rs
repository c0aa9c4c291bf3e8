//! Smaller pictures for the report.

use super::{DemoError, canvas::within};
use crate::imaging::{self, Kernel, Limits, RgbImage, resize, write_jpeg};

/// Quality of their files.
const QUALITY: u8 = 85;

/// The pixels of a picture file. `what` says in an error which one it is.
pub(super) fn decode(what: &str, file: &[u8]) -> Result<RgbImage, DemoError> {
    imaging::decode(file, &Limits::default()).map_err(DemoError::picture(what))
}

/// A picture as a JPEG file that fits into a square with this side in pixels.
pub(super) fn thumbnail(what: &str, file: &[u8], side: u32) -> Result<Vec<u8>, DemoError> {
    let picture = decode(what, file)?;
    let (width, height) = within(picture.dimensions(), (side, side));
    let small = resize(&picture, width, height, Kernel::Lanczos);
    write_jpeg(&small, QUALITY).map_err(DemoError::picture(what))
}
