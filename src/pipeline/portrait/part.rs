//! The part of a template that is worked on for one face, and the way there and back.
//!
//! Places are in pixels from the left upper corner, where the first pixel reaches from 0 to 1.

use std::ops::RangeInclusive;

use crate::{
    imaging::{
        GrayImage, Kernel, RgbImage, Window, blend::blend, cut, mask::resize_mask, put, resize,
    },
    models::face::{Bounds, Face},
};

/// Sides of what is painted are whole multiples of this (`portrait-pipeline` section 8.3).
const SIDE_STEP: u32 = 32;
/// What these sides may be, in pixels.
const SIDES: RangeInclusive<f64> = 64.0..=2048.0;

/// A part of a picture, and the size in which it is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Where it lies in the picture.
    pub(super) region: Window,
    /// Width and height of the work in pixels.
    pub(super) size: (u32, u32),
}

impl Part {
    /// The square around a face, `ratio` times as wide as the longer side of its box, moved into the
    /// picture where it reaches over the border and cut where the picture is too small for it. The
    /// shorter side of the work is about `side`.
    pub(super) fn around(face: &Face, ratio: f64, picture: (u32, u32), side: u32) -> Self {
        let bounds = &face.bounds;
        let longer = f64::from(bounds.width().max(bounds.height()));
        let wanted = (longer * ratio).ceil();
        Self::of(
            place(bounds.left, bounds.right, wanted, picture.0),
            place(bounds.top, bounds.bottom, wanted, picture.1),
            side,
        )
    }

    /// The smallest part with all of these boxes and `margin` pixels around them.
    pub(super) fn around_all(
        boxes: &[Bounds],
        margin: u32,
        picture: (u32, u32),
        side: u32,
    ) -> Self {
        let whole = Bounds {
            left: f32::MAX,
            top: f32::MAX,
            right: f32::MIN,
            bottom: f32::MIN,
        };
        let all = boxes.iter().fold(whole, |all, bounds| Bounds {
            left: all.left.min(bounds.left),
            top: all.top.min(bounds.top),
            right: all.right.max(bounds.right),
            bottom: all.bottom.max(bounds.bottom),
        });
        let reach = |low: f32, high: f32, limit: u32| {
            // Casts end at the ends of the type, so that any box gives a place in the picture.
            let start = (low.floor() as u32).saturating_sub(margin).min(limit);
            let end = (high.ceil() as u32).saturating_add(margin).min(limit);
            (start, end.saturating_sub(start).max(1))
        };
        Self::of(
            reach(all.left, all.right, picture.0),
            reach(all.top, all.bottom, picture.1),
            side,
        )
    }

    /// All of a picture.
    pub(super) fn whole(picture: (u32, u32), side: u32) -> Self {
        Self::of((0, picture.0), (0, picture.1), side)
    }

    fn of((left, width): (u32, u32), (top, height): (u32, u32), side: u32) -> Self {
        let shorter = f64::from(width.min(height).max(1));
        let longer = f64::from(width.max(height).max(1));
        let scale = (f64::from(side) / shorter).min(SIDES.end() / longer);
        let sized = |length: u32| {
            let step = f64::from(SIDE_STEP);
            let length = (f64::from(length) * scale / step).round() * step;
            length.clamp(*SIDES.start(), *SIDES.end()) as u32
        };
        Self {
            region: Window {
                left,
                top,
                width,
                height,
            },
            size: (sized(width), sized(height)),
        }
    }

    /// The pixels of this part, in the size of the work.
    pub(super) fn cut(&self, picture: &RgbImage) -> RgbImage {
        let (width, height) = self.size;
        resize(&self.original(picture), width, height, Kernel::Lanczos)
    }

    fn original(&self, picture: &RgbImage) -> RgbImage {
        cut(picture, self.region)
    }

    /// A face of the picture in the coordinates of the work.
    pub(super) fn seen(&self, face: &Face) -> Face {
        let Window {
            left,
            top,
            width,
            height,
        } = self.region;
        let (across, down) = (
            self.size.0 as f32 / width as f32,
            self.size.1 as f32 / height as f32,
        );
        face.map(|x| (x - left as f32) * across, |y| (y - top as f32) * down)
    }

    /// What a mask of another part of the same picture says, in the size of the work; black beyond it. Each
    /// pixel takes the nearest.
    pub(super) fn carried(&self, mask: &GrayImage, other: &Self) -> GrayImage {
        let place = |at: u32, axis: usize| {
            let own = [
                (self.region.left, self.region.width, self.size.0),
                (self.region.top, self.region.height, self.size.1),
            ];
            let (start, length, sized) = own[axis];
            let theirs = [
                (other.region.left, other.region.width, mask.width()),
                (other.region.top, other.region.height, mask.height()),
            ];
            let (their_start, their_length, their_size) = theirs[axis];
            let in_picture =
                f64::from(start) + (f64::from(at) + 0.5) * f64::from(length) / f64::from(sized);
            let there = (in_picture - f64::from(their_start)) * f64::from(their_size)
                / f64::from(their_length);
            // A cast of what lies before the part would end at its first pixel.
            (there >= 0.0).then_some(there as u32)
        };
        GrayImage::from_fn(self.size.0, self.size.1, |x, y| {
            let there = place(x, 0).zip(place(y, 1));
            let pixel = there.and_then(|(x, y)| mask.get_pixel_checked(x, y));
            pixel.copied().unwrap_or([0].into())
        })
    }

    /// Puts what was made into the picture, as far as `share` says: 255 is new. Where it is 0 the
    /// picture stays as it is, to the last bit. Both have the size of the work.
    pub(super) fn put_back(&self, picture: &mut RgbImage, made: &RgbImage, share: &GrayImage) {
        let Window {
            left,
            top,
            width,
            height,
        } = self.region;
        let made = resize(made, width, height, Kernel::Lanczos);
        // A kernel without negative weights keeps zeros where everything around is zero.
        let share = resize_mask(share, width, height, Kernel::Triangle);
        let mixed = blend(&self.original(picture), &made, &share);
        put(picture, &mixed, (left.into(), top.into()));
    }
}

/// Start and length of a stretch of `wanted` pixels around the middle of two places, within `limit`.
fn place(low: f32, high: f32, wanted: f64, limit: u32) -> (u32, u32) {
    let limit = limit.max(1);
    let length = wanted.clamp(1.0, f64::from(limit));
    let middle = f64::midpoint(low.into(), high.into());
    let start = (middle - length / 2.0).round();
    (
        start.clamp(0.0, f64::from(limit) - length) as u32,
        length as u32,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn face([left, top, right, bottom]: [f32; 4]) -> Face {
        Face {
            bounds: Bounds {
                left,
                top,
                right,
                bottom,
            },
            points: [
                [left, top],
                [right, top],
                [left, bottom],
                [right, bottom],
                [left, top],
            ],
            ..Face::default()
        }
    }

    fn window(left: u32, top: u32, width: u32, height: u32) -> Window {
        Window {
            left,
            top,
            width,
            height,
        }
    }

    #[test]
    fn the_part_is_a_square_around_the_face_that_stays_in_the_picture() {
        let golden = [
            // In the middle: 3 * 120 around 460, 510.
            (
                [400.0, 450.0, 520.0, 570.0],
                (1000, 1000),
                (280, 330, 360, 360),
                (512, 512),
            ),
            // At the left upper border it is moved inside.
            (
                [10.0, 20.0, 110.0, 140.0],
                (1000, 1000),
                (0, 0, 360, 360),
                (512, 512),
            ),
            // At the right lower border.
            (
                [900.0, 880.0, 1000.0, 1000.0],
                (1000, 1000),
                (640, 640, 360, 360),
                (512, 512),
            ),
            // Wider than the picture is high: as high as that, 512 * 900 / 600 = 768 wide.
            (
                [300.0, 100.0, 600.0, 400.0],
                (1200, 600),
                (0, 0, 900, 600),
                (768, 512),
            ),
            // A face larger than the picture.
            (
                [-50.0, -60.0, 700.0, 800.0],
                (640, 720),
                (0, 0, 640, 720),
                (512, 576),
            ),
        ];
        for (bounds, picture, (left, top, width, height), size) in golden {
            let part = Part::around(&face(bounds), 3.0, picture, 512);
            assert_eq!(part.region, window(left, top, width, height), "{bounds:?}");
            assert_eq!(part.size, size, "{bounds:?}");
        }
    }

    #[test]
    fn a_part_around_all_has_a_margin_and_a_long_picture_a_bounded_side() {
        let boxes = [[100.0, 200.5, 180.0, 300.0], [400.0, 180.0, 500.0, 290.2]];
        let boxes = boxes.map(|bounds| face(bounds).bounds);
        let part = Part::around_all(&boxes, 50, (600, 320), 512);
        assert_eq!(part.region, window(50, 130, 500, 190));
        // 512 / 190 * 500 = 1347, and the nearest multiple of 32.
        assert_eq!(part.size, (1344, 512));
        assert_eq!(Part::whole((8000, 100), 512).size, (2048, 64));
    }

    #[test]
    fn a_face_is_seen_where_its_pixels_are() {
        let mut picture = RgbImage::new(900, 700);
        for (x, y) in [(400, 300), (401, 300), (400, 301), (401, 301)] {
            picture.put_pixel(x, y, [255; 3].into());
        }
        let marked = face([401.0, 301.0, 501.0, 401.0]);
        let part = Part::around(&marked, 3.0, (900, 700), 512);
        let work = part.cut(&picture);
        let (mut sum, mut at) = (0.0, [0.0; 2]);
        for (x, y, pixel) in work.enumerate_pixels() {
            let level = f64::from(pixel.0[0]);
            sum += level;
            at[0] += level * (f64::from(x) + 0.5);
            at[1] += level * (f64::from(y) + 0.5);
        }
        let seen = part.seen(&marked).points[0].map(f64::from);
        assert!((at[0] / sum - seen[0]).abs() < 0.05, "{at:?} {seen:?}");
        assert!((at[1] / sum - seen[1]).abs() < 0.05, "{at:?} {seen:?}");
    }

    #[test]
    fn what_is_not_shared_stays_to_the_last_bit() {
        let picture = RgbImage::from_fn(640, 600, |x, y| {
            [(x * 7 + y) as u8, (y * 5) as u8, (x ^ y) as u8].into()
        });
        let part = Part::around(&face([200.0, 200.0, 300.0, 320.0]), 3.0, (640, 600), 256);
        let made = RgbImage::from_pixel(256, 256, [9, 8, 7].into());
        let share = GrayImage::from_fn(256, 256, |x, y| {
            [if x.abs_diff(128) < 40 && y.abs_diff(128) < 40 {
                255
            } else {
                0
            }]
            .into()
        });
        let mut finished = picture.clone();
        part.put_back(&mut finished, &made, &share);
        // 40 of 256 pixels are 56 of 360, and the kernel reaches one pixel of the work further.
        let middle = (part.region.left + 180, part.region.top + 180);
        let mut changed = 0;
        for (x, y, pixel) in finished.enumerate_pixels() {
            let (across, down) = (x.abs_diff(middle.0), y.abs_diff(middle.1));
            if across.max(down) > 59 {
                assert_eq!(pixel, picture.get_pixel(x, y), "{x} {y}");
            }
            if across.max(down) < 53 {
                assert_eq!(pixel.0, [9, 8, 7], "{x} {y}");
                changed += 1;
            }
        }
        assert_eq!(changed, 105 * 105);
    }

    #[test]
    fn a_mask_of_another_part_lies_where_its_pixels_are() {
        let picture = (1000, 900);
        let part = Part::around(&face([400.0, 300.0, 500.0, 420.0]), 3.0, picture, 512);
        let near = Part::around(&face([400.0, 300.0, 500.0, 420.0]), 1.5, picture, 512);
        // The right half of the nearer part, which is 180 pixels of the picture wide.
        let mask = GrayImage::from_fn(64, 64, |x, _| [if x >= 32 { 255 } else { 0 }].into());
        let carried = part.carried(&mask, &near);
        assert_eq!(carried.dimensions(), part.size);
        for (x, level) in [
            (100, 0),
            (250, 0),
            (262, 255),
            (380, 255),
            (390, 0),
            (500, 0),
        ] {
            assert_eq!(carried.get_pixel(x, 256).0[0], level, "{x}");
        }
        assert_eq!(carried.get_pixel(300, 100).0[0], 0);
    }

    proptest! {
        #[test]
        fn every_part_lies_in_its_picture(
            places in prop::array::uniform4(-3000.0..3000.0_f32),
            (width, height) in (1..2000_u32, 1..2000_u32),
            ratio in 1.0..8.0_f64,
        ) {
            let face = face(places);
            for part in [
                Part::around(&face, ratio, (width, height), 512),
                Part::around_all(&[face.bounds], 50, (width, height), 512),
            ] {
                let Window { left, top, width: w, height: h } = part.region;
                prop_assert!(w >= 1 && h >= 1);
                prop_assert!(left + w <= width.max(left + 1) && top + h <= height.max(top + 1));
                prop_assert!(part.size.0 % 32 == 0 && part.size.1 % 32 == 0);
                prop_assert!(part.size.0.max(part.size.1) <= 2048);
            }
        }
    }
}
