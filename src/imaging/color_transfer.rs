//! A picture in the colours of another: each channel of L*a*b* gets the mean and the spread that it has
//! there (Reinhard, Ashikhmin, Gooch and Shirley 2001, "Color Transfer between Images").
//!
//! That makes a face that was made anew fit to the light of the picture around it.

use image::{GrayImage, RgbImage};

use super::lab;

/// Level of a mask above which a pixel counts.
const COUNTS_ABOVE: u8 = 127;

/// Mean and standard deviation of the channels L\*, a\* and b\* of a picture, in 8-bit levels.
///
/// Both are rounded to two decimals (`portrait-pipeline` section 3.6). The deviation is that of all
/// pixels, not an estimate from a sample of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColorStatistics {
    /// Mean levels.
    pub mean: [f64; 3],
    /// Standard deviations in levels.
    pub deviation: [f64; 3],
}

impl ColorStatistics {
    /// The statistics of a picture, or of the pixels where the mask `part` is above 127.
    ///
    /// Pixels that the mask lacks do not count. `None` if none does.
    pub fn of(picture: &RgbImage, part: Option<&GrayImage>) -> Option<Self> {
        let counts = |x: u32, y: u32| {
            part.is_none_or(|part| {
                let level = part.get_pixel_checked(x, y);
                level.is_some_and(|level| level.0[0] > COUNTS_ABOVE)
            })
        };
        let mut count = 0_u64;
        // Squares of levels have 16 bits, so no picture that fits into memory overflows their sum.
        let (mut sums, mut squares) = ([0_u64; 3], [0_u64; 3]);
        for (x, y, pixel) in picture.enumerate_pixels() {
            if counts(x, y) {
                count += 1;
                for (channel, level) in lab::from_rgb(pixel.0).into_iter().enumerate() {
                    sums[channel] += u64::from(level);
                    squares[channel] += u64::from(level).pow(2);
                }
            }
        }
        if count == 0 {
            return None;
        }
        let mean_of = |sum: u64| sum as f64 / count as f64;
        let mean = sums.map(mean_of);
        let square = squares.map(mean_of);
        let deviation: [f64; 3] = std::array::from_fn(|channel| {
            // Rounding may bring the difference below zero.
            let variance = square[channel] - mean[channel] * mean[channel];
            variance.max(0.0).sqrt()
        });
        let two_decimals = |number: f64| (number * 100.0).round_ties_even() / 100.0;
        Some(Self {
            mean: mean.map(two_decimals),
            deviation: deviation.map(two_decimals),
        })
    }
}

/// The picture whose colours had the statistics `from`, with those of `to`.
///
/// A channel that had no spread is only moved. Levels are rounded, halves to the even one, and end at 0 and
/// 255. Even a picture whose statistics stay loses what 8 bits of L\*a\*b\* cannot say: at most two levels in
/// 95 of 100 samples of all colours, and up to 27 in single dark and strong ones.
pub fn transfer(picture: &RgbImage, from: &ColorStatistics, to: &ColorStatistics) -> RgbImage {
    let moved: [[u8; 256]; 3] = std::array::from_fn(|channel| {
        let scale = match from.deviation[channel] {
            0.0 => 1.0,
            deviation => to.deviation[channel] / deviation,
        };
        std::array::from_fn(|level| {
            let level = (level as f64 - from.mean[channel]) * scale + to.mean[channel];
            // The cast ends at 0 and 255.
            level.round_ties_even() as u8
        })
    });
    let mut recolored = picture.clone();
    for pixel in recolored.pixels_mut() {
        let [lightness, green_red, blue_yellow] = lab::from_rgb(pixel.0).map(usize::from);
        pixel.0 = lab::to_rgb([
            moved[0][lightness],
            moved[1][green_red],
            moved[2][blue_yellow],
        ]);
    }
    recolored
}

#[cfg(test)]
mod tests {
    use image::{Luma, Rgb};
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::reference;

    fn statistics(picture: &RgbImage) -> ColorStatistics {
        ColorStatistics::of(picture, None).unwrap()
    }

    #[test]
    fn pictures_take_the_colors_of_others_as_with_opencv() {
        let cases = reference::cases("transfer");
        assert!(cases.len() > 3);
        for [from, to] in cases {
            let (picture, example) = (reference::picture(&from), reference::picture(&to));
            let made = transfer(&picture, &statistics(&picture), &statistics(&example));
            let expected = reference::picture(&format!("transfer/{from}/{to}"));
            assert_eq!(made.dimensions(), expected.dimensions());
            let apart = made
                .iter()
                .zip(expected.iter())
                .map(|(a, b)| a.abs_diff(*b));
            let (exact, all) = (
                apart.clone().filter(|apart| *apart == 0).count(),
                made.len(),
            );
            // All levels of L*a*b* are OpenCV's; what is off is off on the way back from them, as the tests
            // of `lab` say. Here it is one sample in 15 by a level, and one in all by two.
            assert!(apart.max() <= Some(2), "{from} as {to}");
            assert!(exact * 100 >= all * 93, "{from} as {to}: {exact} of {all}");
        }
    }

    #[test]
    fn statistics_of_a_part_are_those_of_opencv_to_the_last_digit() {
        let part = reference::mask("small_mask");
        for (name, part) in [("small", Some(&part)), ("small", None), ("flat", None)] {
            let of = ColorStatistics::of(&reference::picture(name), part).unwrap();
            let folder = if part.is_some() { "part" } else { "whole" };
            let numbers = of.mean.into_iter().chain(of.deviation);
            let hundredths: Vec<u8> = numbers
                .flat_map(|number| ((number * 100.0).round() as u16).to_le_bytes())
                .collect();
            let expected = reference::file(&format!("statistics/{name}/{folder}"));
            assert_eq!(hundredths, expected, "{name}, {folder}: {of:?}");
        }
    }

    #[test]
    fn nothing_has_no_statistics_and_a_flat_picture_is_moved() {
        let picture = RgbImage::from_pixel(6, 4, Rgb([90, 120, 60]));
        let dark = GrayImage::from_pixel(6, 4, Luma([127]));
        assert_eq!(ColorStatistics::of(&picture, Some(&dark)), None);
        assert_eq!(ColorStatistics::of(&RgbImage::new(0, 9), None), None);
        assert_eq!(
            ColorStatistics::of(&picture, Some(&GrayImage::new(0, 0))),
            None
        );
        let corner = GrayImage::from_pixel(1, 1, Luma([128]));
        let flat = ColorStatistics::of(&picture, Some(&corner)).unwrap();
        assert_eq!(flat.deviation, [0.0; 3]);
        let example = reference::picture("wide");
        let moved = transfer(&picture, &flat, &statistics(&example));
        let reached = statistics(&moved);
        assert_eq!(reached.deviation, [0.0; 3]);
        for (reached, wanted) in reached.mean.iter().zip(statistics(&example).mean) {
            assert!((reached - wanted).abs() < 1.5, "{reached} for {wanted}");
        }
    }

    proptest! {
        #[test]
        fn no_statistics_make_it_panic(
            means in [any::<f64>(), any::<f64>()],
            deviations in [any::<f64>(), any::<f64>()],
            color in any::<[u8; 3]>(),
        ) {
            let statistics = |at: usize| ColorStatistics {
                mean: [means[at]; 3],
                deviation: [deviations[at]; 3],
            };
            let picture = RgbImage::from_pixel(2, 1, Rgb(color));
            let made = transfer(&picture, &statistics(0), &statistics(1));
            prop_assert_eq!(made.dimensions(), (2, 1));
        }
    }
}
