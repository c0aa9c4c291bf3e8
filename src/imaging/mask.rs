//! Masks: where a picture is made anew (white) and where it stays (black).
//!
//! The rules are those of the web UI's inpainting, the arithmetic is Pillow's. A mask is read with
//! [`from_transparency`] or [`grey`], perhaps inverted, blurred, and then leads to three things: the
//! shares of the latent pixels ([`latent_mask`]), the part of the picture that is worked on
//! ([`crop_region`]), and how much of the original is laid over the result ([`overlay_opacity`]).

use image::{GrayImage, Luma, Rgb, RgbImage, RgbaImage};

use super::{Kernel, Window, resize};

/// Opacity above which a transparent mask counts as white.
const OPAQUE_ABOVE: u8 = 128;

/// The mask that a picture with transparency stands for.
///
/// If any pixel is transparent, opacity is the mask, and `is_rounded` makes it black and white, split
/// above 128. A picture without transparency is a mask by its brightness.
pub fn from_transparency(picture: &RgbaImage, is_rounded: bool) -> GrayImage {
    let is_opaque = picture.pixels().all(|pixel| pixel.0[3] == 255);
    let level = |[red, green, blue, opacity]: [u8; 4]| match (is_opaque, is_rounded) {
        (true, _) => brightness([red, green, blue]),
        (false, true) if opacity > OPAQUE_ABOVE => 255,
        (false, true) => 0,
        (false, false) => opacity,
    };
    GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
        Luma([level(picture.get_pixel(x, y).0)])
    })
}

/// The brightness of a picture, `0.299 red + 0.587 green + 0.114 blue` in Pillow's fixed point.
pub fn grey(picture: &RgbImage) -> GrayImage {
    GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
        Luma([brightness(picture.get_pixel(x, y).0)])
    })
}

fn brightness(color: [u8; 3]) -> u8 {
    let [red, green, blue] = color.map(u32::from);
    ((19_595 * red + 38_470 * green + 7_471 * blue + (1 << 15)) >> 16) as u8
}

/// White for black and black for white.
pub fn invert(mask: &GrayImage) -> GrayImage {
    each(mask, |level| 255 - level)
}

/// How much of the original covers the result: `255 - min(2 * level, 255)` of the blurred mask, so
/// that what was made shows fully where the blurred mask is one half.
///
/// This is for work on the whole picture. For a crop ([`crop_region`]) the web UI does not double the
/// mask: there the opacity is its [`invert`].
pub fn overlay_opacity(blurred: &GrayImage) -> GrayImage {
    each(blurred, |level| 255 - level.saturating_mul(2))
}

fn each(mask: &GrayImage, change: impl Fn(u8) -> u8) -> GrayImage {
    let mut changed = mask.clone();
    changed.iter_mut().for_each(|level| *level = change(*level));
    changed
}

/// The mask in another size. A side of zero counts as one.
pub fn resize_mask(mask: &GrayImage, width: u32, height: u32, kernel: Kernel) -> GrayImage {
    first_channel(&resize(&colored(mask), width, height, kernel))
}

/// A grey picture of three equal channels.
pub(super) fn colored(mask: &GrayImage) -> RgbImage {
    RgbImage::from_fn(mask.width(), mask.height(), |x, y| {
        Rgb([mask.get_pixel(x, y).0[0]; 3])
    })
}

/// What [`colored`] makes grey again.
pub(super) fn first_channel(picture: &RgbImage) -> GrayImage {
    GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
        Luma([picture.get_pixel(x, y).0[0]])
    })
}

/// The share of each latent pixel that is made anew, row by row: 1 is new and 0 is kept.
///
/// `width` and `height` are the latent picture's, an eighth of the picture's. The mask is resized with
/// Pillow's default, the bicubic kernel, and divided by 255; `is_rounded` makes each share 0 or 1.
pub fn latent_mask(mask: &GrayImage, width: u32, height: u32, is_rounded: bool) -> Vec<f32> {
    resize_mask(mask, width, height, Kernel::Cubic)
        .iter()
        .map(|level| f32::from(*level) / 255.0)
        // No level of 255 is one half, so the direction of halves does not matter.
        .map(|share| if is_rounded { share.round() } else { share })
        .collect()
}

/// The smallest part of the picture with everything that is not black, and `padding` pixels around
/// it as far as the picture goes. `None` if all is black.
pub fn crop_region(mask: &GrayImage, padding: u32) -> Option<Window> {
    let width = (mask.width() as usize).max(1);
    let rows = || mask.chunks_exact(width);
    let is_used = |row: &[u8]| row.iter().any(|level| *level > 0);
    let top = rows().position(is_used)? as u32;
    let bottom = rows().rposition(is_used)? as u32 + 1;
    let used_rows = || rows().skip(top as usize).take((bottom - top) as usize);
    let first = |row: &[u8]| row.iter().position(|level| *level > 0);
    let last = |row: &[u8]| row.iter().rposition(|level| *level > 0);
    let left = used_rows().filter_map(first).min()? as u32;
    let right = used_rows().filter_map(last).max()? as u32 + 1;
    let [left, top] = [left, top].map(|start| start.saturating_sub(padding));
    Some(Window {
        left,
        top,
        width: right.saturating_add(padding).min(mask.width()) - left,
        height: bottom.saturating_add(padding).min(mask.height()) - top,
    })
}

/// The region made wider or higher until it has the ratio of the size in which it is worked on.
///
/// It grows to both sides alike, a left over pixel to the right or bottom. What reaches out of a
/// picture of size `picture` is moved inwards, and cut if it is larger than the picture; then the
/// ratio is not met.
pub fn expand_crop_region(region: Window, work: (u32, u32), picture: (u32, u32)) -> Window {
    let ratio = f64::from(work.0.max(1)) / f64::from(work.1.max(1));
    let (width, height) = (region.width.max(1), region.height.max(1));
    let mut grown = region;
    if f64::from(width) / f64::from(height) > ratio {
        (grown.top, grown.height) = grow((region.top, height), f64::from(width) / ratio, picture.1);
    } else {
        (grown.left, grown.width) =
            grow((region.left, width), f64::from(height) * ratio, picture.0);
    }
    grown
}

/// A stretch of start and length that is grown to `target`, within `limit`.
fn grow((start, length): (u32, u32), target: f64, limit: u32) -> (u32, u32) {
    // Below 2^64 for any sides, and a cast that does not fit takes the largest number.
    let more = (target - f64::from(length)).clamp(0.0, f64::from(u32::MAX)) as i64;
    let (limit, start) = (i64::from(limit), i64::from(start));
    let length = i64::from(length) + more;
    let start = (start - more / 2).min(limit - length).max(0);
    let length = length.min(limit - start).max(0);
    (start as u32, length as u32)
}

#[cfg(test)]
mod tests {
    use image::Rgba;
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::{blur::gaussian_blur, reference};

    fn window([left, top, width, height]: [u32; 4]) -> Window {
        Window {
            left,
            top,
            width,
            height,
        }
    }

    #[test]
    fn brightness_is_that_of_pillow_to_the_last_bit() {
        let made = grey(&reference::picture("small"));
        reference::assert_equal(&made, &reference::mask("grey/small"), "grey");
    }

    #[test]
    fn transparency_is_the_mask_where_there_is_any() {
        let picture =
            |levels: [u8; 3]| RgbaImage::from_fn(3, 1, |x, _| Rgba([9, 9, 9, levels[x as usize]]));
        let levels =
            |picture: RgbaImage, is_rounded| from_transparency(&picture, is_rounded).into_raw();
        assert_eq!(levels(picture([128, 129, 255]), true), [0, 255, 255]);
        assert_eq!(levels(picture([128, 129, 255]), false), [128, 129, 255]);
        assert_eq!(levels(picture([255; 3]), true), [9; 3]);
    }

    #[test]
    fn the_original_covers_what_the_web_ui_lets_it_cover() {
        let blurred = gaussian_blur(&reference::mask("wide_mask"), 3.0, 3.0).unwrap();
        assert_eq!(
            overlay_opacity(&blurred),
            reference::mask("opacity/wide_mask/3")
        );
        assert_eq!(invert(&invert(&blurred)), blurred);
    }

    #[test]
    fn latent_pixels_are_those_of_pillow_to_the_last_bit() {
        let cases = reference::cases("latent");
        assert!(cases.len() > 2);
        for [name, size] in cases {
            let (width, height) = reference::size(&size);
            let mask = reference::mask(&name);
            let shares: Vec<u8> = latent_mask(&mask, width, height, true)
                .into_iter()
                .map(|share| share as u8)
                .collect();
            let expected = reference::mask(&format!("latent/{name}/{size}"));
            assert_eq!(shares, expected.into_raw(), "{size}");
            let levels = reference::mask(&format!("latent_levels/{name}/{size}"));
            assert_eq!(resize_mask(&mask, width, height, Kernel::Cubic), levels);
            let exact = latent_mask(&mask, width, height, false);
            assert!(
                exact
                    .iter()
                    .zip(&*levels)
                    .all(|(a, b)| *a == f32::from(*b) / 255.0)
            );
        }
    }

    #[test]
    fn the_crop_holds_everything_that_is_not_black() {
        let mut mask = GrayImage::new(30, 20);
        assert_eq!(crop_region(&mask, 4), None);
        mask.put_pixel(7, 5, Luma([1]));
        mask.put_pixel(26, 9, Luma([255]));
        assert_eq!(crop_region(&mask, 0), Some(window([7, 5, 20, 5])));
        assert_eq!(crop_region(&mask, 4), Some(window([3, 1, 27, 13])));
        assert_eq!(crop_region(&mask, u32::MAX), Some(window([0, 0, 30, 20])));
        assert_eq!(crop_region(&GrayImage::new(0, 0), 4), None);
    }

    #[test]
    fn the_crop_grows_to_the_ratio_inside_of_the_picture() {
        // Region, size of the work, size of the picture, and the region that the web UI makes of them.
        let cases = [
            ([10, 50, 128, 32], (512, 512), (300, 200), [10, 2, 128, 128]),
            ([10, 50, 31, 128], (512, 512), (300, 200), [0, 50, 128, 128]),
            ([200, 50, 31, 90], (512, 512), (300, 200), [171, 50, 90, 90]),
            ([270, 50, 20, 90], (512, 512), (300, 200), [210, 50, 90, 90]),
            ([0, 50, 300, 90], (512, 768), (300, 200), [0, 0, 300, 200]),
            ([3, 4, 50, 50], (64, 64), (300, 200), [3, 4, 50, 50]),
            ([20, 4, 10, 7], (100, 30), (300, 200), [14, 4, 23, 7]),
        ];
        for (region, work, picture, expected) in cases {
            let grown = expand_crop_region(window(region), work, picture);
            assert_eq!(grown, window(expected), "{region:?}");
        }
    }

    proptest! {
        #[test]
        fn no_numbers_make_a_region_leave_the_picture(
            (width, height) in (1..=u32::MAX, 1..=u32::MAX),
            shares in [0.0..1.0_f64, 0.0..1.0, 0.0..1.0, 0.0..1.0],
            work in (any::<u32>(), any::<u32>()),
        ) {
            let left = (shares[0] * f64::from(width)) as u32;
            let top = (shares[1] * f64::from(height)) as u32;
            let region = window([
                left,
                top,
                (shares[2] * f64::from(width - left)) as u32,
                (shares[3] * f64::from(height - top)) as u32,
            ]);
            let grown = expand_crop_region(region, work, (width, height));
            let end = |start: u32, length: u32| u64::from(start) + u64::from(length);
            prop_assert!(end(grown.left, grown.width) <= u64::from(width));
            prop_assert!(end(grown.top, grown.height) <= u64::from(height));
            prop_assert!(grown.left <= left && grown.top <= top);
            prop_assert!(end(grown.left, grown.width) >= end(left, region.width));
            prop_assert!(end(grown.top, grown.height) >= end(top, region.height));
        }

        #[test]
        fn masks_of_any_size_are_taken(
            (width, height) in (0..7_u32, 0..7_u32),
            (to_width, to_height) in (0..5_u32, 0..5_u32),
        ) {
            let mask = GrayImage::from_fn(width, height, |x, y| Luma([(x * 40 + y * 9) as u8]));
            let shares = latent_mask(&mask, to_width, to_height, true);
            prop_assert_eq!(shares.len() as u32, to_width.max(1) * to_height.max(1));
            crop_region(&mask, 3);
        }
    }
}
