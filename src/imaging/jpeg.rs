//! Writes JPEG files.

use image::{ExtendedColorType, ImageEncoder as _, codecs::jpeg::JpegEncoder};

use super::{ImagingError, RgbImage};

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
