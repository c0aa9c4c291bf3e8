//! Two pictures mixed pixel by pixel, where a soft mask says how much of each is seen.
//!
//! Unlike [`compose`](super::compose), which repeats what the web UI does to the bit, this is the plain
//! weighted mean (`portrait-pipeline` section 3.7, "soft paste"), and pixels without a share of the new
//! picture do not change at all.

use image::{GrayImage, RgbImage};

/// `share / 255 * above + (1 - share / 255) * below`, rounded to the nearest level.
///
/// The result has the size of `below`. Where the share is 0 it is `below`, where it is 255 it is `above`,
/// both to the bit. Pixels that `above` or `share` lacks stay as they were.
pub fn blend(below: &RgbImage, above: &RgbImage, share: &GrayImage) -> RgbImage {
    let mut mixed = below.clone();
    let width = below.width().min(above.width()).min(share.width()) as usize;
    let [row_below, row_above, row_share] =
        [below.width(), above.width(), share.width()].map(|width| (width as usize).max(1));
    let rows = mixed
        .chunks_exact_mut(3 * row_below)
        .zip(above.chunks_exact(3 * row_above))
        .zip(share.chunks_exact(row_share));
    for ((to, above), share) in rows {
        let pixels = to.as_chunks_mut::<3>().0.iter_mut();
        let pixels = pixels.zip(above.as_chunks::<3>().0).zip(share);
        for ((to, above), share) in pixels.take(width) {
            let share = u32::from(*share);
            for (to, above) in to.iter_mut().zip(above) {
                let sum = share * u32::from(*above) + (255 - share) * u32::from(*to);
                // 255 is odd, so no sum lies half way between two levels.
                *to = ((sum + 127) / 255) as u8;
            }
        }
    }
    mixed
}

#[cfg(test)]
mod tests {
    use image::{Luma, Rgb};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_mean_is_rounded_to_the_nearest_level() {
        for share in 0..=255_u8 {
            for (low, high) in [(0, 255), (3, 4), (17, 201), (254, 255), (90, 90)] {
                let below = RgbImage::from_pixel(1, 1, Rgb([low, high, low]));
                let above = RgbImage::from_pixel(1, 1, Rgb([high, low, low]));
                let mixed = blend(&below, &above, &GrayImage::from_pixel(1, 1, Luma([share])));
                let part = f64::from(share) / 255.0;
                let mean = |below: u8, above: u8| {
                    (part * f64::from(above) + (1.0 - part) * f64::from(below)).round() as u8
                };
                let expected = [mean(low, high), mean(high, low), low];
                assert_eq!(mixed.get_pixel(0, 0).0, expected, "{share} of {high}");
            }
        }
    }

    proptest! {
        #[test]
        fn only_pixels_that_all_three_have_change_and_none_without_a_share(
            sizes in [(0..7_u32, 0..7_u32), (0..7, 0..7), (0..7, 0..7)],
            seed in any::<u8>(),
        ) {
            let level = |x: u32, y: u32| (x * 71 + y * 113) as u8 ^ seed;
            let below = RgbImage::from_fn(sizes[0].0, sizes[0].1, |x, y| Rgb([level(x, y); 3]));
            let above = RgbImage::from_fn(sizes[1].0, sizes[1].1, |x, y| {
                Rgb([level(x, y).wrapping_add(100); 3])
            });
            let share = GrayImage::from_fn(sizes[2].0, sizes[2].1, |x, y| {
                Luma([[0, 128, 255][((x + y) % 3) as usize]])
            });
            let mixed = blend(&below, &above, &share);
            prop_assert_eq!(mixed.dimensions(), below.dimensions());
            for (x, y, pixel) in mixed.enumerate_pixels() {
                let (low, high) = (below.get_pixel(x, y), above.get_pixel_checked(x, y));
                match share.get_pixel_checked(x, y).map(|share| share.0[0]).zip(high) {
                    None | Some((0, _)) => prop_assert_eq!(pixel, low),
                    Some((255, high)) => prop_assert_eq!(pixel, high),
                    Some((_, high)) => prop_assert!(pixel != low && pixel != high),
                }
            }
        }
    }
}
