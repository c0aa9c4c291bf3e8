//! Pictures turned, scaled and moved.

use image::{Rgb, RgbImage};

use super::Similarity;

/// A picture of `width` x `height` pixels whose pixel `p` is what the source shows at `place(p)`.
///
/// Pixels are centred at whole numbers. Between four of them the source is interpolated in both
/// directions, outside of it everything is black, and values are rounded, halves upwards.
pub fn warp(source: &RgbImage, place: &Similarity, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        sample(source, place.apply([f64::from(x), f64::from(y)]))
    })
}

fn sample(source: &RgbImage, [x, y]: [f64; 2]) -> Rgb<u8> {
    let (left, top) = (x.floor(), y.floor());
    let (right_share, bottom_share) = (x - left, y - top);
    // Places beyond these bounds touch no pixel; a place that is no number fails both comparisons.
    let touches = |first: f64, size: u32| first >= -1.0 && first < f64::from(size);
    if !touches(left, source.width()) || !touches(top, source.height()) {
        return Rgb([0; 3]);
    }
    let (left, top) = (left as i64, top as i64);
    let mut sums = [0.0; 3];
    for (x, y, weight) in [
        (left, top, (1.0 - right_share) * (1.0 - bottom_share)),
        (left + 1, top, right_share * (1.0 - bottom_share)),
        (left, top + 1, (1.0 - right_share) * bottom_share),
        (left + 1, top + 1, right_share * bottom_share),
    ] {
        let inside = u32::try_from(x).ok().zip(u32::try_from(y).ok());
        let pixel = inside.and_then(|(x, y)| source.get_pixel_checked(x, y));
        for (sum, value) in sums.iter_mut().zip(pixel.map_or([0; 3], |pixel| pixel.0)) {
            *sum += weight * f64::from(value);
        }
    }
    Rgb(sums.map(|sum| (sum + 0.5) as u8))
}

/// The picture as a mirror shows it: left is right.
pub fn mirror(picture: &RgbImage) -> RgbImage {
    image::imageops::flip_horizontal(picture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::samples;

    const STAY: Similarity = Similarity {
        re: 1.0,
        im: 0.0,
        x: 0.0,
        y: 0.0,
    };

    #[test]
    fn a_picture_that_stays_is_the_same() {
        let picture = samples::picture(19, 23);
        assert_eq!(warp(&picture, &STAY, 19, 23), picture);
    }

    #[test]
    fn outside_is_black_and_the_border_fades_into_it() {
        let white = RgbImage::from_pixel(2, 2, Rgb([255; 3]));
        let moved = Similarity {
            x: -1.5,
            y: 0.0,
            ..STAY
        };
        let row: Vec<u8> = warp(&white, &moved, 5, 1)
            .pixels()
            .map(|p| p.0[0])
            .collect();
        assert_eq!(row, [0, 128, 255, 128, 0]);
    }

    #[test]
    fn a_quarter_turn_moves_corners_to_corners() {
        let picture = samples::picture(8, 8);
        let turn = Similarity {
            re: 0.0,
            im: 1.0,
            x: 7.0,
            y: 0.0,
        };
        let turned = warp(&picture, &turn, 8, 8);
        assert_eq!(turned.get_pixel(0, 0), picture.get_pixel(7, 0));
        assert_eq!(turned.get_pixel(7, 0), picture.get_pixel(7, 7));
        assert_eq!(turned.get_pixel(0, 7), picture.get_pixel(0, 0));
    }

    #[test]
    fn wild_places_give_black() {
        let picture = samples::picture(4, 4);
        for wild in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300] {
            let place = Similarity { x: wild, ..STAY };
            assert_eq!(warp(&picture, &place, 2, 2), RgbImage::new(2, 2));
            let place = Similarity {
                re: wild,
                x: 1.0,
                ..STAY
            };
            warp(&picture, &place, 2, 2);
        }
        assert_eq!(warp(&RgbImage::new(0, 0), &STAY, 2, 2), RgbImage::new(2, 2));
    }
}
