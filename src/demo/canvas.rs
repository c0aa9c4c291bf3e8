//! A picture that is drawn on: rectangles, other pictures, and words in pixels.

use crate::imaging::{
    RgbImage,
    fit::{Fit, fit},
};

use super::font;

/// Red, green and blue.
pub(super) type Color = [u8; 3];

/// A rectangle in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// Puts a picture on another, with its left upper corner at this place; what stands over is left out.
pub(super) fn paste(on: &mut RgbImage, picture: &RgbImage, (left, top): (u32, u32)) {
    for (x, y, pixel) in picture.enumerate_pixels() {
        if let Some(to) = on.get_pixel_mut_checked(left.saturating_add(x), top.saturating_add(y)) {
            *to = *pixel;
        }
    }
}

/// Fills an area, as far as it is inside.
pub(super) fn fill(on: &mut RgbImage, area: Area, color: Color) {
    let right = area.left.saturating_add(area.width).min(on.width());
    let bottom = area.top.saturating_add(area.height).min(on.height());
    for y in area.top..bottom {
        for x in area.left..right {
            on.put_pixel(x, y, color.into());
        }
    }
}

/// Puts a picture into an area: as large as it fits, in the middle.
pub(super) fn place(on: &mut RgbImage, picture: &RgbImage, area: Area) {
    let (width, height) = within(picture.dimensions(), (area.width, area.height));
    let scaled = fit(picture, width, height, Fit::Stretch);
    let left = area.left + (area.width - width) / 2;
    let top = area.top + (area.height - height) / 2;
    paste(on, &scaled, (left, top));
}

/// The largest size of a picture's shape that fits into another size; no side is zero.
pub(super) fn within(
    (width, height): (u32, u32),
    (most_wide, most_high): (u32, u32),
) -> (u32, u32) {
    let (width, height) = (u64::from(width.max(1)), u64::from(height.max(1)));
    let (wide, high) = (u64::from(most_wide), u64::from(most_high));
    let (width, height) = if width * high >= height * wide {
        (wide, height * wide / width)
    } else {
        (width * high / height, high)
    };
    (width.max(1) as u32, height.max(1) as u32)
}

/// Writes words with their left upper corner at this place; `size` is how many pixels one of a letter is.
pub(super) fn write(
    on: &mut RgbImage,
    text: &str,
    (left, top): (u32, u32),
    size: u32,
    color: Color,
) {
    for (x, y) in font::pixels(text) {
        let pixel = Area {
            left: left + x * size,
            top: top + y * size,
            width: size,
            height: size,
        };
        fill(on, pixel, color);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INK: Color = [10, 20, 30];

    #[test]
    fn pictures_keep_their_shape_within_an_area() {
        assert_eq!(within((1024, 768), (240, 240)), (240, 180));
        assert_eq!(within((10, 1000), (240, 240)), (2, 240));
        assert_eq!(within((0, 0), (240, 100)), (100, 100));
        assert_eq!(within((1, 100_000), (240, 240)), (1, 240));
    }

    #[test]
    fn what_stands_over_is_left_out() {
        let mut on = RgbImage::new(4, 4);
        let over = Area {
            left: 2,
            top: 3,
            width: 9,
            height: u32::MAX,
        };
        fill(&mut on, over, INK);
        paste(
            &mut on,
            &RgbImage::from_pixel(3, 1, [255; 3].into()),
            (3, 0),
        );
        let inked = on.pixels().filter(|pixel| pixel.0 == INK).count();
        let white = on.pixels().filter(|pixel| pixel.0 == [255; 3]).count();
        assert_eq!((inked, white), (2, 1));
    }

    #[test]
    fn words_are_as_large_as_asked() {
        let ink = |size: u32| {
            let mut on = RgbImage::new(60, 30);
            write(&mut on, "1", (2, 3), size, INK);
            on.pixels().filter(|pixel| pixel.0 == INK).count()
        };
        assert!(ink(1) > 8);
        assert_eq!(ink(3), 9 * ink(1));
    }
}
