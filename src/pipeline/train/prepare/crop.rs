//! The part of a photo that a training sees: a square around the face, with the eyes level.
//!
//! Places are in pixels from the left upper corner, where the first pixel reaches from 0 to 1. A
//! square is first cut out, or turned and cut out, at the photo's own scale, and then resized once
//! with every pixel taken into account, so that nothing becomes a false pattern.

use std::borrow::Cow;

use crate::{
    imaging::{Kernel, RgbImage, Similarity, resize, warp},
    models::face::{Bounds, Face},
};

/// Most degrees of roll that are left as they are. Heads are tilted by as much in most photos, and
/// turning costs a little sharpness.
const ROLL_LEFT_MAX: f32 = 5.0;
/// How many sizes of the square are tried, from the wanted one to that of the face.
const SIZES: u32 = 32;
/// How far a square may reach over the border of the photo and still count as inside, in pixels:
/// what rounding does.
const BORDER_SLACK: f64 = 1e-6;
/// How far a face may reach over the border of its square, in pixels: sides and places are rounded to
/// whole ones.
const FACE_SLACK: f64 = 1.0;
/// What a square shows beyond the border of the photo.
const WHITE: [u8; 3] = [255; 3];

/// A training picture before anything is done to its background.
pub(in crate::pipeline::train) struct Crop {
    /// The pixels.
    pub(in crate::pipeline::train) picture: RgbImage,
    /// The face in it, with level eyes where it was turned.
    pub(in crate::pipeline::train) face: Face,
}

/// Cuts the square around a face out of an upright photo and brings it to `side` x `side` pixels.
///
/// `roll` is the turn of the eye line in degrees ([`crate::models::face::Pose`]) and `ratio` the side
/// of the wanted square over the longer side of the face.
pub(in crate::pipeline::train) fn crop(
    photo: &RgbImage,
    face: &Face,
    roll: f32,
    ratio: f64,
    side: u32,
) -> Crop {
    let (photo, face) = shrunk(photo, face, side);
    let square = Square::around(&face, roll, ratio, photo.dimensions());
    Crop {
        picture: resize(&square.cut(&photo), side, side, Kernel::Cubic),
        face: square.seen(&face, side),
    }
}

/// The photo made smaller by a whole factor when the face alone has more than twice as many pixels as
/// the result needs, so that the work and the memory for a huge photo stay those for a large one.
fn shrunk<'a>(photo: &'a RgbImage, face: &Face, side: u32) -> (Cow<'a, RgbImage>, Face) {
    let (width, height) = photo.dimensions();
    let bounds = face.bounds.within(width, height);
    let longest = bounds.width().max(bounds.height()) as u32;
    let factor = longest / side.saturating_mul(2).max(1);
    if factor < 2 {
        return (Cow::Borrowed(photo), *face);
    }
    let small = resize(photo, width / factor, height / factor, Kernel::Box);
    let across = small.width() as f32 / width as f32;
    let down = small.height() as f32 / height as f32;
    let bounds = Bounds {
        left: face.bounds.left * across,
        top: face.bounds.top * down,
        right: face.bounds.right * across,
        bottom: face.bounds.bottom * down,
    };
    let face = Face {
        bounds,
        points: face.points.map(|[x, y]| [x * across, y * down]),
        ..*face
    };
    (Cow::Owned(small), face)
}

/// A square in a photo, turned by the roll of a face.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Square {
    centre: [f64; 2],
    /// In whole pixels.
    side: u32,
    /// From the photo's axes to the square's, in radians, clockwise as seen.
    turn: f64,
}

impl Square {
    /// The square for a face in a photo of this size.
    ///
    /// It lies around the middle of the face and is moved into the photo where it reaches over the
    /// border. Where the photo is too small for it, or too small for it when turned, it becomes
    /// smaller, down to the face itself. It always holds the whole face: if no square inside the
    /// photo does, it reaches over the border.
    fn around(face: &Face, roll: f32, ratio: f64, (width, height): (u32, u32)) -> Self {
        let turn = if roll.abs() > ROLL_LEFT_MAX {
            f64::from(roll).to_radians()
        } else {
            0.0
        };
        let bounds = face.bounds.within(width, height);
        let room = Room {
            photo: [width, height].map(f64::from),
            face: middle(&bounds),
            half_face: extent(&bounds, turn).map(|length| length / 2.0),
            turn,
        };
        let face_side = 2.0 * room.half_face[0].max(room.half_face[1]);
        let most = f64::from(width.min(height)) / room.reach();
        let wanted = (face_side * ratio).min(most);
        let mut inside = (0..=SIZES)
            .map(|step| {
                let share = f64::from(step) / f64::from(SIZES);
                room.place((wanted + (face_side - wanted) * share) as u32)
            })
            .filter(|square| room.holds(square));
        let found = inside.next().filter(|_| wanted >= face_side);
        found.unwrap_or_else(|| room.place(wanted.max(face_side).ceil() as u32))
    }

    fn left_top(&self) -> [f64; 2] {
        self.centre.map(|at| at - f64::from(self.side) / 2.0)
    }

    /// What it shows, at the scale of the photo; white beyond the border.
    fn cut(&self, photo: &RgbImage) -> RgbImage {
        if self.turn == 0.0 {
            return window(photo, self.left_top().map(|at| at as i64), self.side);
        }
        let (sine, cosine) = self.turn.sin_cos();
        let half = f64::from(self.side) / 2.0;
        // All that is sampled, with a pixel more on each side for what lies between two.
        let around = half * (sine.abs() + cosine.abs()) + 1.0;
        let origin = self.centre.map(|at| (at - around).floor());
        let part_side = (2.0 * around).ceil() as u32 + 2;
        let part = window(photo, origin.map(|at| at as i64), part_side);
        // Pixel `i` has its middle at `i + 1/2`, and `warp` gives places of middles.
        let first = 0.5 - half;
        let place = Similarity {
            re: cosine,
            im: sine,
            x: self.centre[0] - 0.5 + first * (cosine - sine),
            y: self.centre[1] - 0.5 + first * (sine + cosine),
        };
        warp(&part, &place.from_origin(origin), self.side, self.side)
    }

    /// A face of the photo in the coordinates of the square when it has `side` pixels a side.
    ///
    /// Of the box the middle is turned and the size is kept, with width and height exchanged for
    /// quarter turns: the box of a tilted face is about as large as that of the upright one.
    fn seen(&self, face: &Face, side: u32) -> Face {
        let scale = f64::from(side) / f64::from(self.side);
        let (sine, cosine) = self.turn.sin_cos();
        let (re, im) = (scale * cosine, -scale * sine);
        let [x, y] = self.centre;
        let half = f64::from(side) / 2.0;
        let there = Similarity {
            re,
            im,
            x: half - (re * x - im * y),
            y: half - (im * x + re * y),
        };
        let [x, y] = there.apply(middle(&face.bounds));
        let [half_width, half_height] =
            extent(&face.bounds, self.turn).map(|length| length * scale / 2.0);
        Face {
            score: face.score,
            bounds: Bounds {
                left: (x - half_width) as f32,
                top: (y - half_height) as f32,
                right: (x + half_width) as f32,
                bottom: (y + half_height) as f32,
            },
            points: face.points.map(|point| {
                let seen = there.apply(point.map(f64::from));
                seen.map(|place| place as f32)
            }),
        }
    }
}

/// What limits where a square may lie.
struct Room {
    /// Width and height of the photo.
    photo: [f64; 2],
    /// Middle of the face.
    face: [f64; 2],
    /// Half the width and the height of the face along the square's axes.
    half_face: [f64; 2],
    turn: f64,
}

impl Room {
    /// Width of the smallest upright box around a turned square of side 1.
    fn reach(&self) -> f64 {
        let (sine, cosine) = self.turn.sin_cos();
        sine.abs() + cosine.abs()
    }

    /// The square of this side that is moved from the face into the photo as far as the face allows.
    fn place(&self, side: u32) -> Square {
        let side = side.max(1);
        let half = f64::from(side) / 2.0;
        let half_box = half * self.reach();
        let mut centre = [0, 1].map(|axis| {
            let length = self.photo[axis];
            if length < 2.0 * half_box {
                length / 2.0
            } else {
                self.face[axis].clamp(half_box, length - half_box)
            }
        });
        if self.turn == 0.0 {
            // In whole pixels nothing has to be sampled between them.
            centre = centre.map(|at| (at - half).round() + half);
        }
        // Where the face is seen from the middle of the square, along its axes.
        let away = [self.face[0] - centre[0], self.face[1] - centre[1]];
        let seen = turned(away, -self.turn);
        let kept = [0, 1].map(|axis| {
            let most = (half - self.half_face[axis]).max(0.0) + FACE_SLACK;
            seen[axis].clamp(-most, most)
        });
        if kept != seen {
            let back = turned([seen[0] - kept[0], seen[1] - kept[1]], self.turn);
            centre = [centre[0] + back[0], centre[1] + back[1]];
        }
        Square {
            centre,
            side,
            turn: self.turn,
        }
    }

    /// Whether the photo has all of a square.
    fn holds(&self, square: &Square) -> bool {
        let half_box = f64::from(square.side) / 2.0 * self.reach();
        [0, 1].into_iter().all(|axis| {
            let at = square.centre[axis];
            at - half_box >= -BORDER_SLACK && at + half_box <= self.photo[axis] + BORDER_SLACK
        })
    }
}

/// The middle of a rectangle.
fn middle(bounds: &Bounds) -> [f64; 2] {
    [
        f64::midpoint(bounds.left.into(), bounds.right.into()),
        f64::midpoint(bounds.top.into(), bounds.bottom.into()),
    ]
}

/// Width and height of a rectangle along axes turned by so much, to the nearest quarter turn.
fn extent(bounds: &Bounds, turn: f64) -> [f64; 2] {
    let (width, height) = (bounds.width().into(), bounds.height().into());
    let (sine, cosine) = turn.sin_cos();
    if sine.abs() > cosine.abs() {
        [height, width]
    } else {
        [width, height]
    }
}

/// A direction turned clockwise as seen.
fn turned([x, y]: [f64; 2], turn: f64) -> [f64; 2] {
    let (sine, cosine) = turn.sin_cos();
    [cosine * x - sine * y, sine * x + cosine * y]
}

/// A square of `side` pixels whose first pixel is the photo's at this place; white beyond the border.
fn window(photo: &RgbImage, [left, top]: [i64; 2], side: u32) -> RgbImage {
    RgbImage::from_fn(side, side, |x, y| {
        let x = u32::try_from(left.saturating_add(x.into()));
        let y = u32::try_from(top.saturating_add(y.into()));
        let inside = x.ok().zip(y.ok());
        let pixel = inside.and_then(|(x, y)| photo.get_pixel_checked(x, y));
        pixel.copied().unwrap_or(WHITE.into())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        imaging::{Window, resize_part, samples},
        models::face::{Points, Pose},
    };

    fn face([left, top, right, bottom]: [f32; 4]) -> Face {
        Face {
            bounds: Bounds {
                left,
                top,
                right,
                bottom,
            },
            ..Face::default()
        }
    }

    fn sides(bounds: &Bounds) -> [f32; 4] {
        [bounds.left, bounds.top, bounds.right, bounds.bottom]
    }

    /// Left, top and side of the square of a level face.
    fn square(face_sides: [f32; 4], photo: (u32, u32)) -> (f64, f64, u32) {
        let square = Square::around(&face(face_sides), 0.0, 3.0, photo);
        let [left, top] = square.left_top();
        (left, top, square.side)
    }

    /// Plain but for a red left eye and a blue right one, and the face, whose points are turned by
    /// `roll` degrees around the middle.
    fn portrait(size: u32, middle: [f32; 2], half: f32, roll: f32) -> (RgbImage, Face) {
        let (sine, cosine) = roll.to_radians().sin_cos();
        let at = |[x, y]: [f32; 2]| {
            let (x, y) = (x * half, y * half);
            [
                middle[0] + cosine * x - sine * y,
                middle[1] + sine * x + cosine * y,
            ]
        };
        let points: Points = [
            [-0.4, -0.2],
            [0.4, -0.2],
            [0.0, 0.2],
            [-0.3, 0.5],
            [0.3, 0.5],
        ]
        .map(at);
        let near = |place: [f32; 2], x: u32, y: u32| {
            (x as f32 + 0.5 - place[0]).hypot(y as f32 + 0.5 - place[1]) < half * 0.08
        };
        let photo = RgbImage::from_fn(size, size, |x, y| {
            if near(points[0], x, y) {
                [255, 0, 0].into()
            } else if near(points[1], x, y) {
                [0, 0, 255].into()
            } else {
                [90; 3].into()
            }
        });
        let [x, y] = middle;
        let face = Face {
            points,
            ..face([x - half, y - half, x + half, y + half])
        };
        (photo, face)
    }

    /// The middle of what has a colour: the first channel for red, the last for blue.
    fn spot(picture: &RgbImage, channel: usize) -> [f32; 2] {
        let is_it = |pixel: [u8; 3]| pixel[channel] > 170 && pixel[1] < 60;
        let all = picture
            .enumerate_pixels()
            .filter(|(_, _, pixel)| is_it(pixel.0));
        let places: Vec<_> = all
            .map(|(x, y, _)| [x as f32 + 0.5, y as f32 + 0.5])
            .collect();
        assert!(!places.is_empty());
        let mean = |axis| places.iter().map(|at| at[axis]).sum::<f32>() / places.len() as f32;
        [mean(0), mean(1)]
    }

    #[test]
    fn a_known_face_gives_a_known_square() {
        let photo = (1000, 800);
        let cases = [
            ("free", [400.0, 300.0, 500.0, 420.0], (270.0, 180.0, 360)),
            (
                "left upper corner",
                [20.0, 10.0, 120.0, 130.0],
                (0.0, 0.0, 360),
            ),
            (
                "right lower corner",
                [900.0, 700.0, 1000.0, 800.0],
                (700.0, 500.0, 300),
            ),
            (
                "over the border",
                [950.0, 300.0, 1050.0, 400.0],
                (700.0, 200.0, 300),
            ),
            ("large", [200.0, 100.0, 800.0, 700.0], (100.0, 0.0, 800)),
            ("whole", [-40.0, -10.0, 1200.0, 900.0], (0.0, -100.0, 1000)),
        ];
        for (name, face, expected) in cases {
            assert_eq!(square(face, photo), expected, "{name}");
        }
        let narrow = square([10.0, 300.0, 590.0, 1000.0], (600, 1500));
        assert_eq!(narrow, (-50.0, 300.0, 700));
    }

    #[test]
    fn pixels_are_those_of_the_photo_where_nothing_is_scaled() {
        let photo = RgbImage::from_fn(1000, 800, |x, y| [x as u8, y as u8, (x ^ y) as u8].into());
        let made = crop(&photo, &face([400.0, 300.0, 500.0, 420.0]), 3.0, 3.0, 360);
        let window = Window {
            left: 270,
            top: 180,
            width: 360,
            height: 360,
        };
        assert_eq!(
            made.picture,
            resize_part(&photo, 1000, 800, Kernel::Box, window)
        );
        assert_eq!(sides(&made.face.bounds), [130.0, 120.0, 230.0, 240.0]);
    }

    #[test]
    fn a_smaller_result_shows_the_same() {
        let (photo, face) = portrait(900, [400.0, 500.0], 100.0, 0.0);
        for side in [200, 512, 64] {
            let made = crop(&photo, &face, 0.0, 3.0, side);
            let scale = side as f32 / 600.0;
            assert_eq!(made.picture.dimensions(), (side, side));
            for (place, point, channel) in [
                ([260.0, 280.0], made.face.points[0], 0),
                ([340.0, 280.0], made.face.points[1], 2),
            ] {
                let found = spot(&made.picture, channel);
                for axis in [0, 1] {
                    assert!((point[axis] - place[axis] * scale).abs() < 1e-3);
                    assert!((found[axis] - point[axis]).abs() < 0.5, "{side}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn the_eyes_of_a_tilted_face_come_out_level() {
        for roll in [20.0, -20.0, 6.0, 44.0, -90.0, 180.0, 130.0] {
            let (photo, face) = portrait(1000, [480.0, 520.0], 120.0, roll);
            let found = Pose::of(&face.points).roll;
            assert!(
                ((found - roll + 540.0) % 360.0 - 180.0).abs() < 0.01,
                "{found}"
            );
            let made = crop(&photo, &face, found, 3.0, 300);
            let eyes = [spot(&made.picture, 0), spot(&made.picture, 2)];
            assert!((eyes[0][1] - eyes[1][1]).abs() < 0.5, "{roll}: {eyes:?}");
            assert!(eyes[0][0] < eyes[1][0], "{roll}: {eyes:?}");
            for (eye, point) in eyes.iter().zip(made.face.points) {
                let away = (eye[0] - point[0]).hypot(eye[1] - point[1]);
                assert!(away < 0.7, "{roll}: {eye:?} {point:?}");
            }
            assert!(Pose::of(&made.face.points).roll.abs() < 0.01);
            // Nothing was invented: all is plain or an eye.
            assert!(
                made.picture.pixels().all(|pixel| pixel.0[1] <= 100),
                "{roll}"
            );
        }
    }

    #[test]
    fn a_little_roll_stays() {
        let (photo, face) = portrait(900, [450.0, 450.0], 100.0, 5.0);
        let made = crop(&photo, &face, 5.0, 3.0, 300);
        assert!((Pose::of(&made.face.points).roll - 5.0).abs() < 0.01);
    }

    #[test]
    fn a_tilted_square_becomes_smaller_before_it_leaves_the_photo() {
        // Turned by 20 degrees, a square of side 1 needs 1.282 along both sides.
        let (_, near) = portrait(600, [300.0, 300.0], 150.0, 20.0);
        let square = Square::around(&near, 20.0, 3.0, (600, 600));
        assert_eq!((square.side, square.centre), (468, [300.0, 300.0]));
        // In the corner there is no room for a turned square that holds the face.
        let (photo, corner) = portrait(600, [70.0, 70.0], 70.0, 45.0);
        let made = crop(&photo, &corner, 45.0, 3.0, 200);
        let Bounds {
            left,
            top,
            right,
            bottom,
        } = made.face.bounds;
        assert!(left > -2.0 && top > -2.0 && right < 202.0 && bottom < 202.0);
        // The square touches the photo's corner with its left side: two of its corners lie outside.
        assert_eq!(made.picture.get_pixel(0, 0).0, WHITE);
        assert_eq!(made.picture.get_pixel(0, 199).0, WHITE);
        assert_eq!(made.picture.get_pixel(199, 100).0, [90; 3]);
    }

    #[test]
    fn what_a_photo_lacks_is_white() {
        let photo = RgbImage::from_pixel(600, 1500, [90; 3].into());
        let made = crop(&photo, &face([10.0, 300.0, 590.0, 1000.0]), 0.0, 3.0, 700);
        let row: Vec<u8> = (0..700)
            .map(|x| made.picture.get_pixel(x, 350).0[0])
            .collect();
        assert!(
            row[..50]
                .iter()
                .chain(&row[650..])
                .all(|level| *level == 255)
        );
        assert!(row[50..650].iter().all(|level| *level == 90));
    }

    #[test]
    fn a_huge_face_is_first_made_smaller() {
        for roll in [0.0, 30.0] {
            let (photo, face) = portrait(1501, [750.0, 760.0], 520.0, roll);
            let (small, _) = shrunk(&photo, &face, 64);
            assert_eq!(small.dimensions(), (187, 187));
            let made = crop(&photo, &face, roll, 3.0, 64);
            for (channel, point) in [(0, made.face.points[0]), (2, made.face.points[1])] {
                let eye = spot(&made.picture, channel);
                assert!(
                    (eye[0] - point[0]).hypot(eye[1] - point[1]) < 0.7,
                    "{roll}: {eye:?}"
                );
            }
        }
    }

    #[test]
    fn strange_numbers_still_give_a_picture() {
        let photo = samples::picture(40, 30);
        for number in [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            -5.0,
            0.0,
        ] {
            for roll in [0.0, 33.0] {
                let strange = face([-number, number, number, 50.0]);
                for ratio in [3.0, f64::NAN, 0.0, -1.0] {
                    let made = crop(&photo, &strange, roll, ratio, 16);
                    assert_eq!(made.picture.dimensions(), (16, 16));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_face_of_a_photo_is_in_its_crop(
            (width, height) in (20..160_u32, 20..160_u32),
            shares in [0.0..1.0_f32, 0.0..1.0, 0.05..1.0, 0.05..1.0],
            roll in -180.0..180.0_f32,
            ratio in 1.0..4.0_f64,
            is_level in any::<bool>(),
        ) {
            let photo = RgbImage::from_pixel(width, height, [7; 3].into());
            let (across, down) = (width as f32 * shares[2], height as f32 * shares[3]);
            let left = (width as f32 - across) * shares[0];
            let top = (height as f32 - down) * shares[1];
            let face = face([left, top, left + across, top + down]);
            let roll = if is_level { 0.0 } else { roll };
            let made = crop(&photo, &face, roll, ratio, 48);
            let square = Square::around(&face, roll, ratio, (width, height));
            let pixel = 48.0 / square.side as f32;
            for (at, limit) in sides(&made.face.bounds).into_iter().zip([0.0, 0.0, 48.0, 48.0]) {
                let over = if limit == 0.0 { -at } else { at - limit };
                prop_assert!(over <= 1.6 * pixel, "{:?} by {}", made.face.bounds, over / pixel);
            }
            // White is shown only where the face is larger than the photo is wide or high, or where
            // it lies in a corner from which no turned square reaches.
            let longest = across.max(down);
            if is_level && longest <= width.min(height) as f32 {
                prop_assert!(made.picture.iter().all(|level| *level == 7));
            }
        }
    }
}
