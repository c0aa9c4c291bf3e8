//! How good a face looks, without a network.
//!
//! All but the size is measured on the aligned crop, so that the same face gives the same numbers in
//! a photo of any size: a face of 1000 pixels that is slightly out of focus is sharp at 112 pixels,
//! and one that was enlarged from 24 pixels is not.

use super::Bounds;
use crate::imaging::RgbImage;

/// The part of an aligned crop that shows nothing but face: columns and rows from brows to chin,
/// without hair, background, and what lies outside of the photo.
const COLUMNS: std::ops::Range<usize> = 28..86;
/// Rows of that part.
const ROWS: std::ops::Range<usize> = 36..104;
/// Weights of red, green and blue in the brightness (ITU-R BT.601).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];
/// Least contrast that sharpness is divided by, in levels: below it there is nothing to be sharp.
const CONTRAST_MIN: f32 = 1.0;
/// Brightness from which a pixel counts as burnt out.
const BURNT_FROM: f32 = 250.0;

/// Least sharpness. On the test data: strong blur 0.05, motion blur (`market_blur`) 0.17, enlarged
/// from 24 pixels (`lowres`, `small_face`) 0.17 and 0.18, mild blur 0.24, and all photos of known
/// persons 0.27 to 1.35.
const SHARPNESS_MIN: f32 = 0.22;
/// Least mean brightness. On the test data: the photo at 6 % of its light (`dark`) 10, the same at
/// 10 % and 15 % 18 and 28, the darkest photo of a known person (`j1/07`) 64.
const BRIGHTNESS_MIN: f32 = 30.0;
/// Largest share of burnt out pixels. On the test data: no photo of a known person above 0.01, one
/// of them with 1.2 and 1.4 times the light 0.32 and 0.53, at four times (`overexposed`) 0.97.
const BURNT_MAX: f32 = 0.5;
/// Least side of the face in the photo, in pixels. An aligned crop shows the face about 84 pixels
/// wide, so below this it holds less than it shows; and the smallest photo that is accepted, with
/// the smallest face that is accepted in it, an eighth of 512 pixels, has just this.
const SIDE_MIN: f32 = 64.0;

/// What speaks against a face.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// The face has too few pixels.
    Small,
    /// Too little light.
    Dark,
    /// Too much light.
    Burnt,
    /// Out of focus, moved, or enlarged.
    Blurred,
}

/// What is measured on a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Deviation of the second derivative (Laplacian) over that of the brightness itself: how much
    /// of the contrast is in the finest detail.
    pub sharpness: f32,
    /// Mean brightness, 0 to 255.
    pub brightness: f32,
    /// Share of pixels without detail for too much light, 0 to 1.
    pub burnt: f32,
    /// Shorter side of the face in the photo, in pixels.
    pub side: f32,
}

impl Quality {
    /// Measures a face on its aligned crop; `bounds` are its place in the photo.
    pub fn of(crop: &RgbImage, bounds: &Bounds) -> Self {
        let width = crop.width() as usize;
        let samples = crop.as_raw();
        // A crop of another size has less of the part, or nothing of it.
        let columns = COLUMNS.start..COLUMNS.end.min(width);
        let rows = ROWS.start..ROWS.end.min(crop.height() as usize);
        let luma = |x: usize, y: usize| {
            let at = (y * width + x) * LUMA.len();
            let pixel = samples[at..].iter().zip(LUMA);
            pixel
                .map(|(sample, weight)| f32::from(*sample) * weight)
                .sum::<f32>()
        };
        let places = rows
            .clone()
            .flat_map(|y| columns.clone().map(move |x| (x, y)));
        let values: Vec<f32> = places.map(|(x, y)| luma(x, y)).collect();
        let wide = columns.len();
        let mut edges = Vec::with_capacity(values.len());
        for y in 1..rows.len().saturating_sub(1) {
            for at in y * wide + 1..((y + 1) * wide).saturating_sub(1) {
                edges.push(
                    values[at - 1] + values[at + 1] + values[at - wide] + values[at + wide]
                        - 4.0 * values[at],
                );
            }
        }
        let (brightness, contrast) = mean_and_deviation(&values);
        let burnt = values.iter().filter(|value| **value >= BURNT_FROM).count();
        Self {
            sharpness: mean_and_deviation(&edges).1 / contrast.max(CONTRAST_MIN),
            brightness,
            burnt: burnt as f32 / values.len().max(1) as f32,
            side: bounds.width().min(bounds.height()),
        }
    }

    /// What speaks most against the face: first what makes the other numbers meaningless.
    pub fn flaw(&self) -> Option<Flaw> {
        if self.side < SIDE_MIN {
            Some(Flaw::Small)
        } else if self.brightness < BRIGHTNESS_MIN {
            Some(Flaw::Dark)
        } else if self.burnt > BURNT_MAX {
            Some(Flaw::Burnt)
        } else if self.sharpness < SHARPNESS_MIN {
            Some(Flaw::Blurred)
        } else {
            None
        }
    }
}

fn mean_and_deviation(values: &[f32]) -> (f32, f32) {
    let count = values.len().max(1) as f32;
    let mean = values.iter().sum::<f32>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (mean, (squares.sum::<f32>() / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::{Kernel, resize};
    use crate::models::face::ALIGNED_SIDE;

    const LARGE: Bounds = Bounds {
        left: 0.0,
        top: 0.0,
        right: 200.0,
        bottom: 200.0,
    };

    /// A chequered crop with fields of so many pixels.
    fn chequered(field: u32, dark: u8, light: u8) -> RgbImage {
        RgbImage::from_fn(ALIGNED_SIDE, ALIGNED_SIDE, |x, y| {
            let is_light = (x / field + y / field).is_multiple_of(2);
            [if is_light { light } else { dark }; 3].into()
        })
    }

    #[test]
    fn detail_that_was_lost_shows() {
        let sharp = chequered(2, 80, 160);
        assert_eq!(Quality::of(&sharp, &LARGE).flaw(), None);
        let small = resize(&sharp, ALIGNED_SIDE / 4, ALIGNED_SIDE / 4, Kernel::Triangle);
        let enlarged = resize(&small, ALIGNED_SIDE, ALIGNED_SIDE, Kernel::Triangle);
        let (sharp, enlarged) = (Quality::of(&sharp, &LARGE), Quality::of(&enlarged, &LARGE));
        assert!(enlarged.sharpness < sharp.sharpness / 2.0);
    }

    #[test]
    fn sharpness_does_not_depend_on_the_light() {
        let bright = Quality::of(&chequered(4, 80, 240), &LARGE);
        let dim = Quality::of(&chequered(4, 40, 120), &LARGE);
        assert!((bright.sharpness - dim.sharpness).abs() < 0.01);
    }

    #[test]
    fn each_flaw_is_named() {
        let flaw = |crop: &RgbImage, bounds: &Bounds| Quality::of(crop, bounds).flaw();
        let tiny = Bounds {
            right: 63.0,
            ..LARGE
        };
        assert_eq!(flaw(&chequered(4, 80, 160), &tiny), Some(Flaw::Small));
        assert_eq!(flaw(&chequered(4, 0, 40), &LARGE), Some(Flaw::Dark));
        assert_eq!(flaw(&chequered(40, 254, 255), &LARGE), Some(Flaw::Burnt));
        let plain = RgbImage::from_pixel(ALIGNED_SIDE, ALIGNED_SIDE, [120; 3].into());
        assert_eq!(flaw(&plain, &LARGE), Some(Flaw::Blurred));
    }

    #[test]
    fn crops_of_other_sizes_give_numbers() {
        let sides = [0, 1, 20, 29, 38, 90, 300];
        for (width, height) in sides.into_iter().flat_map(|w| sides.map(|h| (w, h))) {
            let quality = Quality::of(&RgbImage::new(width, height), &LARGE);
            assert!(quality.sharpness.is_finite() && quality.brightness == 0.0);
        }
    }
}
