//! One picture laid over another.
//!
//! The arithmetic is Pillow's, to the last bit: what is kept of the original is stored premultiplied
//! with its opacity in 8 bits, turned back into plain colours, and then laid over the new picture.
//! Where opacity is small, some of the original's colours are lost that way, as in the web UI.

use image::{GrayImage, Rgb, RgbImage};

use super::{
    Window,
    fit::{Fit, fit},
};

/// Bits by which the weights of two colours are finer than 255 * 255.
const WEIGHT_BITS: u32 = 7;

/// The new picture with the original over it, as opaque as `kept` says: 255 is the original, 0 is new.
///
/// The result has the original's size. Pixels that the new picture or `kept` lacks stay as they were.
pub fn overlay(original: &RgbImage, new: &RgbImage, kept: &GrayImage) -> RgbImage {
    overlay_at(original, new, (0, 0), kept)
}

/// The original with a crop in its place that was worked on in another size.
///
/// The crop is scaled until it covers `region` of the original, and what is left over at two sides is
/// cut off. Then the original is laid over it as [`overlay`] does; `kept` is as large as the original.
pub fn paste_crop(
    original: &RgbImage,
    crop: &RgbImage,
    region: Window,
    kept: &GrayImage,
) -> RgbImage {
    let (width, height) = original.dimensions();
    let is_inside = region.left < width && region.top < height;
    if !is_inside || region.width == 0 || region.height == 0 {
        return original.clone();
    }
    let placed_width = region.width.min(width - region.left);
    let placed_height = region.height.min(height - region.top);
    let placed = fit(crop, placed_width, placed_height, Fit::Cut);
    overlay_at(original, &placed, (region.left, region.top), kept)
}

fn overlay_at(
    original: &RgbImage,
    new: &RgbImage,
    (left, top): (u32, u32),
    kept: &GrayImage,
) -> RgbImage {
    let mut laid = original.clone();
    for (x, y, pixel) in new.enumerate_pixels() {
        // Both sums stay below 2^32 in a picture of any size that fits into memory.
        let (x, y) = (left.saturating_add(x), top.saturating_add(y));
        let (Some(opacity), Some(to)) = (
            kept.get_pixel_checked(x, y),
            laid.get_pixel_mut_checked(x, y),
        ) else {
            continue;
        };
        let above = straight(premultiplied(to.0, opacity.0[0]));
        let [color @ .., _] = over(opaque(pixel.0), above);
        *to = Rgb(color);
    }
    laid
}

/// A colour with its opacity behind it.
pub(super) type Transparent = [u8; 4];

/// An opaque colour.
pub(super) fn opaque([red, green, blue]: [u8; 3]) -> Transparent {
    [red, green, blue, 255]
}

/// A colour times its opacity, with the opacity.
pub(super) fn premultiplied(color: [u8; 3], opacity: u8) -> Transparent {
    opaque(color).map(|value| over_255(u32::from(value) * u32::from(opacity)) as u8)
}

/// The plain colour of a premultiplied one.
pub(super) fn straight([color @ .., opacity]: Transparent) -> Transparent {
    let [red, green, blue] = match opacity {
        0 | 255 => color,
        _ => color.map(|value| (255 * u32::from(value) / u32::from(opacity)).min(255) as u8),
    };
    [red, green, blue, opacity]
}

/// One plain colour over another (Porter and Duff 1984), in fixed point.
pub(super) fn over(below: Transparent, above: Transparent) -> Transparent {
    let [opacity_below, opacity_above] = [below[3], above[3]].map(u32::from);
    if opacity_above == 0 {
        return below;
    }
    let opacity = opacity_above * 255 + opacity_below * (255 - opacity_above);
    // At most 255^3 * 2^7, and the sums below are at most 255^2 * 2^7 and a half: both fit into 32 bits.
    let weight = ((opacity_above * 255 * 255) << WEIGHT_BITS) / opacity;
    let rest = (255 << WEIGHT_BITS) - weight;
    let mix = |channel: usize| {
        let sum = u32::from(above[channel]) * weight + u32::from(below[channel]) * rest;
        let rounded = sum + (0x80 << WEIGHT_BITS);
        ((((rounded >> 8) + rounded) >> 8) >> WEIGHT_BITS) as u8
    };
    [mix(0), mix(1), mix(2), over_255(opacity) as u8]
}

/// A product of two 8-bit numbers divided by 255 and rounded.
fn over_255(product: u32) -> u32 {
    let rounded = product + 0x80;
    ((rounded >> 8) + rounded) >> 8
}

#[cfg(test)]
mod tests {
    use image::{Luma, imageops::flip_horizontal};
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::{mask::invert, reference};

    #[test]
    fn the_original_lies_over_the_new_as_pillow_lays_it() {
        let original = reference::picture("wide");
        let kept = reference::mask("opacity/wide_mask/3");
        let laid = overlay(&original, &flip_horizontal(&original), &kept);
        reference::assert_equal(&laid, &reference::picture("overlay/wide/3"), "overlay");
    }

    #[test]
    fn a_crop_comes_back_to_its_place_as_in_the_web_ui() {
        let crop = reference::picture("small");
        let kept = invert(&reference::mask("box"));
        for [name, numbers] in reference::cases("paste") {
            let [left, top, width, height] = reference::numbers(&numbers)[..] else {
                panic!("{numbers}");
            };
            let region = Window {
                left: left as u32,
                top: top as u32,
                width: width as u32,
                height: height as u32,
            };
            let original = reference::picture(&name);
            let pasted = paste_crop(&original, &crop, region, &kept);
            let expected = reference::picture(&format!("paste/{name}/{numbers}"));
            reference::assert_equal(&pasted, &expected, &numbers);
        }
    }

    #[test]
    fn what_is_kept_or_missing_is_the_original() {
        let original = reference::picture("small");
        let new = RgbImage::new(37, 29);
        let kept = GrayImage::from_pixel(37, 29, Luma([255]));
        assert_eq!(overlay(&original, &new, &kept), original);
        assert_eq!(overlay(&original, &new, &invert(&kept)), new);
        assert_eq!(
            overlay(&original, &RgbImage::new(0, 0), &invert(&kept)),
            original
        );
        assert_eq!(overlay(&original, &new, &GrayImage::new(0, 0)), original);
    }

    proptest! {
        #[test]
        fn no_region_panics(
            (width, height) in (0..6_u32, 0..6_u32),
            places in [0..9_u32, 0..9, 0..9, 0..9],
            is_far in any::<bool>(),
        ) {
            let original = RgbImage::new(width, height);
            let crop = RgbImage::from_pixel(3, 4, Rgb([200; 3]));
            let kept = GrayImage::new(width, height);
            let far = if is_far { u32::MAX - 20 } else { 0 };
            let region = Window {
                left: places[0] + far,
                top: places[1],
                width: places[2],
                height: places[3] + far,
            };
            let pasted = paste_crop(&original, &crop, region, &kept);
            prop_assert_eq!(pasted.dimensions(), (width, height));
        }

        #[test]
        fn opacity_never_falls_and_a_color_over_itself_stays(
            color in any::<[u8; 3]>(),
            (below, above) in (any::<u8>(), 1..=255_u8),
        ) {
            let [red, green, blue] = color;
            let laid = over([red, green, blue, below], [red, green, blue, above]);
            prop_assert!(laid[3] >= below.max(above));
            for (made, given) in laid.into_iter().zip(color) {
                prop_assert!(made.abs_diff(given) <= 1);
            }
        }
    }
}
