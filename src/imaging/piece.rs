//! Pieces of pictures, cut out and put in at the same scale.

use image::{RgbImage, imageops};

use super::Window;

/// The pixels of a part, as far as the picture has them.
pub fn cut(picture: &RgbImage, part: Window) -> RgbImage {
    let Window {
        left,
        top,
        width,
        height,
    } = part;
    imageops::crop_imm(picture, left, top, width, height).to_image()
}

/// Puts a piece into a picture with its left upper pixel at this column and row, which may lie outside: only
/// what falls into the picture is seen.
pub fn put(picture: &mut RgbImage, piece: &RgbImage, (left, top): (i64, i64)) {
    imageops::replace(picture, piece, left, top);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::samples;

    #[test]
    fn what_is_cut_out_is_what_is_put_in() {
        let picture = samples::picture(20, 12);
        let part = Window {
            left: 5,
            top: 3,
            width: 8,
            height: 6,
        };
        let piece = cut(&picture, part);
        assert_eq!(piece.dimensions(), (8, 6));
        assert_eq!(piece.get_pixel(2, 1), picture.get_pixel(7, 4));
        let mut other = RgbImage::new(20, 12);
        put(&mut other, &piece, (5, 3));
        assert_eq!(cut(&other, part), piece);
        assert_eq!(other.get_pixel(4, 3).0, [0; 3]);
    }

    #[test]
    fn what_lies_outside_is_left_out() {
        let picture = samples::picture(20, 12);
        let over = Window {
            left: 15,
            top: 10,
            width: 9,
            height: 9,
        };
        assert_eq!(cut(&picture, over).dimensions(), (5, 2));
        let far = Window {
            left: 30,
            top: 40,
            width: 9,
            height: 9,
        };
        assert!(cut(&picture, far).is_empty());
        let mut ground = RgbImage::new(20, 12);
        put(&mut ground, &picture, (-3, -2));
        assert_eq!(ground.get_pixel(0, 0), picture.get_pixel(3, 2));
        assert_eq!(ground.get_pixel(19, 11).0, [0; 3]);
    }
}
