//! From the bytes of a file to upright 8-bit RGB pixels, from there to other sizes and places, and
//! into files again.
//!
//! Reads JPEG and PNG, told apart by content and never by name. The size is read from the header
//! and held against [`Limits`] before a pixel is allocated; a cut or damaged file is an error and
//! never a partial picture. EXIF orientation is applied, transparency is put on white, grey,
//! palette, 16-bit and CMYK pictures become RGB. Colour profiles are not applied.
//!
//! Nothing here reads files, knows addresses or judges what a picture shows.

pub mod blend;
pub mod blur;
pub mod canny;
pub mod color_transfer;
pub mod compose;
pub mod exif_comment;
pub mod fill;
pub mod fit;
mod format;
mod jpeg;
mod lab;
mod layout;
pub mod mask;
pub mod morphology;
mod piece;
pub mod png_text;
#[cfg(test)]
pub(crate) mod reference;
mod resize;
#[cfg(test)]
pub(crate) mod samples;
mod similarity;
#[cfg(test)]
mod tests;
mod warp;
pub mod xmp;

use std::io::Cursor;

pub use format::Format;
use image::{
    DynamicImage, ImageDecoder, ImageError,
    codecs::{jpeg::JpegDecoder, png::PngDecoder},
    metadata::Orientation,
};
pub use image::{GrayImage, RgbImage};
pub use jpeg::write_jpeg;
use layout::Layout;
pub use piece::{cut, put};
pub use resize::{Kernel, Window, resize, resize_part};
pub use similarity::{Similarity, similarity_between};
pub use warp::{mirror, warp};

/// Most bytes that the PNG decoder may keep beside the pixels: rows, texts, profiles.
const PNG_SIDE_BYTES_MAX: u64 = 64 << 20;

/// What decoding one picture may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels.
    pub pixels_max: u64,
    /// Most pixels along one side.
    pub side_max: u32,
    /// Most bytes in use at once while decoding, the finished picture included.
    pub decoder_bytes_max: u64,
}

impl Default for Limits {
    /// 120 megapixels, because cameras with 102 exist; 32,768 a side; 1 GiB, which a progressive
    /// picture of 102 megapixels just needs less than.
    fn default() -> Self {
        Self {
            pixels_max: 120_000_000,
            side_max: 32_768,
            decoder_bytes_max: 1 << 30,
        }
    }
}

/// Why the bytes did not become a picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImagingError {
    /// There are no bytes.
    #[error("the file is empty; send a jpg, jpeg or png picture")]
    Empty,
    /// A picture of a format that is not read.
    #[error("the file is a {0} picture; send it as jpg, jpeg or png")]
    UnsupportedFormat(Format),
    /// No known picture format.
    #[error("the file is not a picture; send a jpg, jpeg or png picture")]
    NotAPicture,
    /// The file ends before the picture does.
    #[error("the file is cut short; send the whole file")]
    Truncated,
    /// The content breaks the rules of its format, or uses a part of it that is not read.
    #[error("the picture cannot be read, {0}; save it again as an ordinary jpg or png")]
    Damaged(&'static str),
    /// The picture is larger than the limits allow.
    #[error("the picture of {width} x {height} pixels is too large; make it smaller")]
    TooLarge {
        /// Width in its header, in pixels.
        width: u32,
        /// Height in its header, in pixels.
        height: u32,
    },
}

/// Decodes a picture to upright RGB, 8 bits a sample.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbImage, ImagingError> {
    let (stored, orientation) = stored(bytes, limits)?;
    let mut upright = DynamicImage::ImageRgb8(on_white(stored));
    upright.apply_orientation(orientation);
    Ok(upright.into_rgb8())
}

/// Decodes a mask: by its transparency, or by its brightness if it has none, as
/// [`mask::from_transparency`] says.
pub fn decode_mask(
    bytes: &[u8],
    limits: &Limits,
    is_rounded: bool,
) -> Result<GrayImage, ImagingError> {
    let (mut stored, orientation) = stored(bytes, limits)?;
    stored.apply_orientation(orientation);
    Ok(mask::from_transparency(&stored.into_rgba8(), is_rounded))
}

/// The pixels as they are stored, and how they have to be turned.
fn stored(bytes: &[u8], limits: &Limits) -> Result<(DynamicImage, Orientation), ImagingError> {
    let (format, layout) = inspect(bytes, limits)?;
    let source = Cursor::new(bytes);
    let (stored, orientation) = if format == Format::Png {
        let mut side = image::Limits::no_limits();
        side.max_alloc = Some(PNG_SIDE_BYTES_MAX);
        let decoder = PngDecoder::with_limits(source, side)?;
        let orientation = layout.exif.and_then(Orientation::from_exif_chunk);
        (pixels_of(decoder, layout)?, orientation)
    } else {
        let mut decoder = JpegDecoder::new(source)?;
        let orientation = decoder.orientation()?;
        (pixels_of(decoder, layout)?, Some(orientation))
    };
    Ok((stored, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Reads format and structure, checks that the file is whole and holds it against the limits.
///
/// Allocates nothing. The pixels may still turn out to be damaged.
fn inspect<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(Format, Layout<'a>), ImagingError> {
    if bytes.is_empty() {
        return Err(ImagingError::Empty);
    }
    let format = Format::sniff(bytes).ok_or(ImagingError::NotAPicture)?;
    let layout = match format {
        Format::Jpeg => layout::of_jpeg(bytes)?,
        Format::Png => layout::of_png(bytes)?,
        other => return Err(ImagingError::UnsupportedFormat(other)),
    };
    let (width, height) = (layout.width, layout.height);
    if width == 0 || height == 0 {
        return Err(ImagingError::Damaged("it has no pixels"));
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.pixels_max
        || width.max(height) > limits.side_max
        || pixels.saturating_mul(layout.peak_bytes_per_pixel) > limits.decoder_bytes_max
    {
        return Err(ImagingError::TooLarge { width, height });
    }
    Ok((format, layout))
}

/// Decodes the pixels as they are stored.
fn pixels_of(decoder: impl ImageDecoder, layout: Layout<'_>) -> Result<DynamicImage, ImagingError> {
    // The limits were held against the layout; a decoder that reads another size would pass them by.
    if decoder.dimensions() != (layout.width, layout.height) {
        return Err(ImagingError::Damaged("it gives two sizes"));
    }
    Ok(DynamicImage::from_decoder(decoder)?)
}

/// Puts a transparent picture on a white ground, as viewers show it.
fn on_white(stored: DynamicImage) -> RgbImage {
    if !stored.color().has_alpha() {
        return stored.into_rgb8();
    }
    let transparent = stored.into_rgba8();
    let mut flat = RgbImage::new(transparent.width(), transparent.height());
    for (to, from) in flat.pixels_mut().zip(transparent.pixels()) {
        let [color @ .., alpha] = from.0.map(u32::from);
        to.0 = color.map(|value| ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
    }
    flat
}

impl From<ImageError> for ImagingError {
    fn from(error: ImageError) -> Self {
        match error {
            // The bytes are in memory, so reading fails only at their end.
            ImageError::IoError(_) => Self::Truncated,
            ImageError::Unsupported(_) => Self::Damaged("it uses a rare variant of its format"),
            ImageError::Limits(_) => Self::Damaged("it carries too much beside its pixels"),
            _ => Self::Damaged("its data is damaged"),
        }
    }
}
