//! Pictures brought to a given size and shape.
//!
//! These are the web UI's resize modes: 0 stretches, 1 cuts, 2 continues the outermost lines. Pictures
//! and masks are scaled with the Lanczos kernel.

use image::{GrayImage, RgbImage};

use super::{
    Kernel, Window,
    mask::{colored, first_channel},
    resize, resize_part,
};

/// What happens if a picture has another shape than the size it is brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is stretched: "just resize".
    Stretch,
    /// It is scaled until it covers everything, and what stands over is cut off: "crop and resize".
    Cut,
    /// It is scaled until all of it is inside, and its outermost lines are continued to the border:
    /// "resize and fill".
    Continue,
}

impl Fit {
    /// The mode with this number in the web UI. Number 3, which resizes latent pictures, is none.
    pub fn from_number(mode: u32) -> Option<Self> {
        match mode {
            0 => Some(Self::Stretch),
            1 => Some(Self::Cut),
            2 => Some(Self::Continue),
            _ => None,
        }
    }
}

/// The picture in this size. A side of zero counts as one.
pub fn fit(picture: &RgbImage, width: u32, height: u32, fit: Fit) -> RgbImage {
    let (width, height) = (width.max(1), height.max(1));
    if picture.is_empty() {
        return RgbImage::new(width, height);
    }
    match fit {
        Fit::Stretch => resize(picture, width, height, Kernel::Lanczos),
        Fit::Cut => cut(picture, width, height),
        Fit::Continue => continued(picture, width, height),
    }
}

/// The mask in this size, as [`fit`] does it with a picture.
pub fn fit_mask(mask: &GrayImage, width: u32, height: u32, how: Fit) -> GrayImage {
    first_channel(&fit(&colored(mask), width, height, how))
}

/// The size with the shape of the picture that has one side in common with the frame and covers it
/// or lies inside of it.
fn scaled(picture: &RgbImage, width: u32, height: u32, covers: bool) -> (u32, u32) {
    let product = |one: u32, other: u32| u64::from(one) * u64::from(other);
    let sides = [
        product(picture.width(), height),
        product(width, picture.height()),
    ];
    let side = |product: u64, by: u32| (product / u64::from(by)).clamp(1, u32::MAX.into()) as u32;
    // The picture is wider than the frame if the first product is the larger one.
    if (sides[0] > sides[1]) == covers {
        (side(sides[0], picture.height()), height)
    } else {
        (width, side(sides[1], picture.width()))
    }
}

fn cut(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (scaled_width, scaled_height) = scaled(picture, width, height, true);
    // Only what can be seen is made: a narrow strip may be thousands of times larger when scaled.
    let part = Window {
        left: scaled_width / 2 - width / 2,
        top: scaled_height / 2 - height / 2,
        width,
        height,
    };
    resize_part(picture, scaled_width, scaled_height, Kernel::Lanczos, part)
}

fn continued(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (scaled_width, scaled_height) = scaled(picture, width, height, false);
    let inner = resize(picture, scaled_width, scaled_height, Kernel::Lanczos);
    // The web UI leaves the last line black where the border has an odd number of them.
    let left = width / 2 - scaled_width / 2;
    let top = height / 2 - scaled_height / 2;
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (
            i64::from(x) - i64::from(left),
            i64::from(y) - i64::from(top),
        );
        let (column, beside) = inside(x, scaled_width);
        let (row, beyond) = inside(y, scaled_height);
        let mut pixel = *inner.get_pixel(column, row);
        if (column, row) != (beside, beyond) {
            let next = inner.get_pixel(beside, beyond);
            for (sample, next) in pixel.0.iter_mut().zip(next.0) {
                *sample = extended(*sample, next);
            }
        }
        pixel
    })
}

/// The place along an axis that is seen at `place`, and, beyond the ends, its inner neighbour.
fn inside(place: i64, length: u32) -> (u32, u32) {
    let last = length - 1;
    if place < 0 {
        (0, last.min(1))
    } else if place > i64::from(last) {
        (last, last.saturating_sub(1))
    } else {
        (place as u32, place as u32)
    }
}

/// What Pillow's bicubic kernel sees on the outer edge of a line: 9/8 of it less 1/8 of the next one.
fn extended(outermost: u8, next: u8) -> u8 {
    let sum = 9 * i32::from(outermost) - i32::from(next);
    ((sum + 4) >> 3).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::reference;

    fn case(numbers: &str) -> (Fit, u32, u32) {
        let (mode, size) = numbers.split_once('_').unwrap();
        let (width, height) = reference::size(size);
        (
            Fit::from_number(mode.parse().unwrap()).unwrap(),
            width,
            height,
        )
    }

    #[test]
    fn pictures_fit_as_in_the_web_ui_to_the_last_bit() {
        let cases = reference::cases("fit");
        assert!(cases.len() > 8);
        for [name, numbers] in cases {
            let (how, width, height) = case(&numbers);
            let made = fit(&reference::picture(&name), width, height, how);
            let expected = reference::picture(&format!("fit/{name}/{numbers}"));
            reference::assert_equal(&made, &expected, &format!("{name} {numbers}"));
        }
    }

    #[test]
    fn masks_fit_as_in_the_web_ui_to_the_last_bit() {
        let cases = reference::cases("fit_mask");
        assert!(!cases.is_empty());
        for [name, numbers] in cases {
            let (how, width, height) = case(&numbers);
            let made = fit_mask(&reference::mask(&name), width, height, how);
            let expected = reference::mask(&format!("fit_mask/{name}/{numbers}"));
            reference::assert_equal(&made, &expected, &format!("{name} {numbers}"));
        }
    }

    #[test]
    fn the_border_is_filled_to_its_last_line() {
        let white = RgbImage::from_pixel(8, 8, Rgb([255; 3]));
        let filled = fit(&white, 8, 13, Fit::Continue);
        assert!(filled.iter().all(|sample| *sample == 255));
    }

    #[test]
    fn a_strip_that_would_be_huge_when_scaled_is_cut_first() {
        let strip = RgbImage::from_fn(30_000, 1, |x, _| Rgb([(x / 200) as u8; 3]));
        let middle = fit(&strip, 64, 2048, Fit::Cut);
        assert_eq!(middle.dimensions(), (64, 2048));
        assert!(middle.iter().all(|sample| [74, 75].contains(sample)));
    }

    proptest! {
        #[test]
        fn any_picture_fits_into_any_size(
            (width, height) in (0..9_u32, 0..9_u32),
            (to_width, to_height) in (0..12_u32, 0..12_u32),
            mode in 0..3_u32,
        ) {
            let picture = RgbImage::from_fn(width, height, |x, y| Rgb([(x * 9 + y) as u8; 3]));
            let how = Fit::from_number(mode).unwrap();
            let fitted = fit(&picture, to_width, to_height, how);
            prop_assert_eq!(fitted.dimensions(), (to_width.max(1), to_height.max(1)));
        }
    }
}
