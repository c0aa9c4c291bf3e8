//! Writes JPEG files, and finds what stands before their pixels.

use image::{ExtendedColorType, ImageEncoder as _, codecs::jpeg::JpegEncoder};

use super::{ImagingError, RgbImage};

/// The first bytes of a JPEG.
pub(super) const START: &[u8] = &[0xff, 0xd8];
/// Most bytes in a segment: its length has two bytes, and counts them.
pub(super) const SEGMENT_BYTES_MAX: usize = 0xffff - 2;
/// What the segment with the EXIF block begins with.
pub(super) const EXIF: &[u8] = b"Exif\0\0";

/// The picture as a JPEG file. `quality` is 1 to 100; at 95 a loss is hardly seen.
///
/// The error is [`ImagingError::TooLarge`], for sides that the format cannot say: above 65535, or none.
pub fn write_jpeg(picture: &RgbImage, quality: u8) -> Result<Vec<u8>, ImagingError> {
    let mut file = Vec::new();
    let (width, height) = picture.dimensions();
    JpegEncoder::new_with_quality(&mut file, quality.clamp(1, 100))
        .write_image(picture, width, height, ExtendedColorType::Rgb8)
        .map_err(|_| ImagingError::TooLarge { width, height })?;
    Ok(file)
}

/// A segment before the pixels of a JPEG.
pub(super) struct Segment<'a> {
    /// The second byte of its marker.
    pub(super) marker: u8,
    /// Its content.
    pub(super) body: &'a [u8],
    /// All bytes of the file behind it.
    pub(super) rest: &'a [u8],
}

/// The segments before the pixels of a JPEG, up to the first that is out of place; none of another file.
pub(super) fn segments(bytes: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    let mut rest = bytes.strip_prefix(START).unwrap_or_default();
    std::iter::from_fn(move || {
        loop {
            let (&[0xff, marker], after) = rest.split_first_chunk()? else {
                return None;
            };
            match marker {
                // Fill bytes before a marker.
                0xff => rest = &rest[1..],
                // Pixels begin, and no metadata follow.
                0xda | 0xd9 => return None,
                _ => {
                    let length = usize::from(u16::from_be_bytes(*after.first_chunk()?));
                    let body = after.get(2..length)?;
                    rest = &after[length..];
                    return Some(Segment { marker, body, rest });
                }
            }
        }
    })
}

/// The bytes of a segment with a body of up to [`SEGMENT_BYTES_MAX`].
pub(super) fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() + 2) as u16;
    [&[0xff, marker], &length.to_be_bytes()[..], body].concat()
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::imaging::{Limits, decode};

    #[test]
    fn a_picture_comes_back_nearly_as_it_was() {
        let picture = RgbImage::from_fn(40, 24, |x, y| Rgb([(x * 6) as u8, (y * 10) as u8, 90]));
        let file = write_jpeg(&picture, 95).unwrap();
        let back = decode(&file, &Limits::default()).unwrap();
        assert_eq!(back.dimensions(), (40, 24));
        let apart = picture.iter().zip(back.iter()).map(|(a, b)| a.abs_diff(*b));
        assert!(apart.max() <= Some(12));
    }

    #[test]
    fn a_picture_without_pixels_or_with_too_many_is_refused() {
        for (width, height) in [(0, 4), (65_536, 1)] {
            let refused = write_jpeg(&RgbImage::new(width, height), 90);
            assert!(matches!(refused, Err(ImagingError::TooLarge { .. })));
        }
    }
}
