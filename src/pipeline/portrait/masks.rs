//! Which pixels of a face are made anew, from its box and its five points.
//!
//! A face is taken for an ellipse along its own axes, eyes and lips for smaller ones. All masks are
//! black and white, 255 where something is made anew; their soft edges come later.

use crate::{
    imaging::{
        GrayImage,
        morphology::{close, dilate, erode},
    },
    models::face::Face,
};

/// Half the width of an eye over the distance of the eyes: the eye itself has about a quarter of it,
/// and lids and lashes belong to it.
const EYE_WIDTH: f64 = 0.3;
/// Half the height of an eye over the same distance.
const EYE_HEIGHT: f64 = 0.2;
/// Half the width of the lips over the distance of the corners of the mouth.
const LIPS_WIDTH: f64 = 0.6;
/// Half the height of the lips over the same distance.
const LIPS_HEIGHT: f64 = 0.35;
/// Least distance of eyes, or of the corners of a mouth, over the width of a face: both shrink when a
/// head is turned, and what is seen of an eye or a mouth then does not shrink as much.
const DISTANCE_MIN: f64 = 0.25;
/// Side of work for which widths in pixels are given (`portrait-pipeline` section 8).
const USUAL_SIDE: f64 = 512.0;

/// An ellipse, along any axes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ellipse {
    centre: [f64; 2],
    /// Half its width and height along its own axes.
    half: [f64; 2],
    /// Cosine and sine of the turn from the picture's axes to its own.
    turn: [f64; 2],
}

impl Ellipse {
    /// 0 in the middle, 1 on the line, above outside; infinite for an ellipse without an inside.
    fn distance(&self, [x, y]: [f64; 2]) -> f64 {
        let (x, y) = (x - self.centre[0], y - self.centre[1]);
        let [cosine, sine] = self.turn;
        let along = [x * cosine + y * sine, y * cosine - x * sine];
        let distance = (along[0] / self.half[0]).hypot(along[1] / self.half[1]);
        if distance.is_finite() {
            distance
        } else {
            f64::INFINITY
        }
    }

    /// The same, so many times as large.
    fn grown(self, times: f64) -> Self {
        Self {
            half: self.half.map(|half| half * times),
            ..self
        }
    }
}

/// The shape of a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    face: Ellipse,
    eyes: [Ellipse; 2],
    lips: Ellipse,
}

impl Shape {
    /// The shape of a face with this box and these points.
    pub(super) fn of(face: &Face) -> Self {
        let points = face.points.map(|point| point.map(f64::from));
        let between = |a: [f64; 2], b: [f64; 2]| [b[0] - a[0], b[1] - a[1]];
        let middle = |a: [f64; 2], b: [f64; 2]| [0, 1].map(|axis| f64::midpoint(a[axis], b[axis]));
        let [left_eye, right_eye, _, left_mouth, right_mouth] = points;
        let across = between(left_eye, right_eye);
        let length = across[0].hypot(across[1]);
        // Eyes in one place have no direction; such a face counts as upright.
        let turn = if length.is_normal() {
            [across[0] / length, across[1] / length]
        } else {
            [1.0, 0.0]
        };
        let bounds = &face.bounds;
        let (width, height) = (f64::from(bounds.width()), f64::from(bounds.height()));
        let centre = middle(
            [bounds.left.into(), bounds.top.into()],
            [bounds.right.into(), bounds.bottom.into()],
        );
        // The box of a face that lies on its side has the face's width as its height.
        let is_sideways = turn[1].abs() > turn[0].abs();
        let (width, height) = if is_sideways {
            (height, width)
        } else {
            (width, height)
        };
        let ellipse = |centre, half| Ellipse { centre, half, turn };
        let eyes = length.max(width * DISTANCE_MIN);
        let mouth = between(left_mouth, right_mouth);
        let mouth = mouth[0].hypot(mouth[1]).max(width * DISTANCE_MIN);
        Self {
            face: ellipse(centre, [width / 2.0, height / 2.0]),
            eyes: [left_eye, right_eye]
                .map(|eye| ellipse(eye, [eyes * EYE_WIDTH, eyes * EYE_HEIGHT])),
            lips: ellipse(
                middle(left_mouth, right_mouth),
                [mouth * LIPS_WIDTH, mouth * LIPS_HEIGHT],
            ),
        }
    }
}

/// How much larger than their boxes other faces are kept out.
const KEPT_OUT: f64 = 1.1;

/// What can be made anew of one face of a picture.
pub(super) struct Masks {
    /// The face.
    pub(super) face: GrayImage,
    /// The face and a little around it: a tenth of its width.
    pub(super) wide: GrayImage,
    /// Both eyes.
    pub(super) eyes: GrayImage,
    /// The lips.
    pub(super) lips: GrayImage,
    /// All that does not belong to another face.
    pub(super) allowed: GrayImage,
    /// What is seldom right at once: the line between face and surroundings, eyes and lips.
    pub(super) seams: GrayImage,
}

impl Masks {
    /// The masks of one face in a picture of this size, `growth` times as large as its box. Pixels that
    /// belong rather to one of the `others` are in none of them.
    pub(super) fn of(face: &Face, others: &[Face], growth: f64, size: (u32, u32)) -> Self {
        let shape = Shape::of(face);
        let others: Vec<Ellipse> = others
            .iter()
            .map(|other| Shape::of(other).face.grown(KEPT_OUT))
            .collect();
        let own = shape.face.grown(growth);
        let is_own = |at| {
            let distance = own.distance(at);
            let is_other = |other: &Ellipse| {
                let theirs = other.distance(at);
                theirs <= 1.0 && theirs < distance
            };
            !others.iter().any(is_other)
        };
        let mask = |inside: &dyn Fn([f64; 2]) -> bool| {
            GrayImage::from_fn(size.0, size.1, |x, y| {
                let at = [f64::from(x) + 0.5, f64::from(y) + 0.5];
                [if is_own(at) && inside(at) { 255 } else { 0 }].into()
            })
        };
        let allowed = mask(&|_| true);
        let face = mask(&|at| own.distance(at) <= 1.0);
        let eyes = mask(&|at| shape.eyes.iter().any(|eye| eye.distance(at) <= 1.0));
        let lips = mask(&|at| shape.lips.distance(at) <= 1.0);
        // A window of this side reaches a tenth of the width, which is a fifth of the half, to each side.
        let reach = (own.half[0] / 5.0).round().clamp(0.0, 1e4) as u32;
        Self::built([face, eyes, lips], allowed, 2 * reach + 1)
    }

    /// The same where a network has seen face, eyes and lips: black and white masks of this size. Holes and
    /// notches of up to a tenth of the width of the face are closed.
    pub(super) fn seen(self, face: &Face, [seen, eyes, lips]: [GrayImage; 3]) -> Self {
        let tenth = (f64::from(face.bounds.width()) / 10.0)
            .round()
            .clamp(1.0, 1e4) as u32;
        let parts = [close(&seen, tenth), eyes, lips];
        let parts = parts.map(|part| combined(&part, &self.allowed, u8::min));
        Self::built(parts, self.allowed, tenth)
    }

    /// `reach` is the side of the window by which the face is grown.
    fn built([face, eyes, lips]: [GrayImage; 3], allowed: GrayImage, reach: u32) -> Self {
        let wide = combined(&dilate(&face, reach), &allowed, u8::min);
        let [outer, inner] = [32.0, 16.0].map(|usual| window(usual, face.dimensions()));
        let ring = combined(
            &dilate(&face, outer),
            &erode(&face, inner),
            u8::saturating_sub,
        );
        let seams = combined(&combined(&ring, &allowed, u8::min), &eyes, u8::max);
        let seams = combined(&seams, &lips, u8::max);
        Self {
            face,
            wide,
            eyes,
            lips,
            allowed,
            seams,
        }
    }
}

/// The side of a window that is `usual` pixels where the shorter side of the work is 512, for work of
/// this size.
pub(super) fn window(usual: f64, size: (u32, u32)) -> u32 {
    (usual * scale(size)).round().max(1.0) as u32
}

/// How many times as large as usual work of this size is.
pub(super) fn scale((width, height): (u32, u32)) -> f64 {
    f64::from(width.min(height)) / USUAL_SIDE
}

/// Two masks of one size, pixel by pixel.
pub(super) fn combined(
    one: &GrayImage,
    other: &GrayImage,
    how: impl Fn(u8, u8) -> u8,
) -> GrayImage {
    let mut both = one.clone();
    for (level, other) in both.iter_mut().zip(other.iter()) {
        *level = how(*level, *other);
    }
    both
}

/// The boxes of faces grown by `outer` pixels in all, without the boxes shrunk by `inner` and without those of
/// faces that `stay`: where pictures of several people meet (`portrait-pipeline` section 8.10).
pub(super) fn joins(
    faces: &[Face],
    stay: &[Face],
    [outer, inner]: [u32; 2],
    size: (u32, u32),
) -> GrayImage {
    let made = boxes(faces, size);
    let around = combined(
        &dilate(&made, outer),
        &erode(&made, inner),
        u8::saturating_sub,
    );
    combined(&around, &boxes(stay, size), u8::saturating_sub)
}

/// All but the boxes of faces, grown by `grown` pixels in all.
pub(super) fn surroundings(faces: &[Face], grown: u32, size: (u32, u32)) -> GrayImage {
    let mut around = boxes(faces, size);
    around.iter_mut().for_each(|level| *level = 255 - *level);
    dilate(&around, grown)
}

/// White where the boxes of faces are.
pub(super) fn boxes(faces: &[Face], (width, height): (u32, u32)) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| {
        let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
        let inside = faces.iter().any(|face| {
            let bounds = &face.bounds;
            (bounds.left..=bounds.right).contains(&x) && (bounds.top..=bounds.bottom).contains(&y)
        });
        [if inside { 255 } else { 0 }].into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::face::Bounds;

    /// A face of 100 x 140 pixels around a place, turned by so many degrees.
    fn face([x, y]: [f32; 2], degrees: f32) -> Face {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        let point = |[right, down]: [f32; 2]| {
            [
                x + right * cosine - down * sine,
                y + right * sine + down * cosine,
            ]
        };
        let half = if (45.0..135.0).contains(&degrees.abs()) {
            [70.0, 50.0]
        } else {
            [50.0, 70.0]
        };
        Face {
            score: 0.9,
            bounds: Bounds {
                left: x - half[0],
                top: y - half[1],
                right: x + half[0],
                bottom: y + half[1],
            },
            points: [
                [-20.0, -20.0],
                [20.0, -20.0],
                [0.0, 5.0],
                [-15.0, 35.0],
                [15.0, 35.0],
            ]
            .map(point),
        }
    }

    fn level(mask: &GrayImage, [x, y]: [f32; 2]) -> u8 {
        mask.get_pixel(x as u32, y as u32).0[0]
    }

    fn count(mask: &GrayImage) -> usize {
        mask.iter().filter(|level| **level > 0).count()
    }

    #[test]
    fn masks_lie_where_the_parts_of_a_face_are() {
        let masks = Masks::of(&face([256.0, 256.0], 0.0), &[], 1.0, (512, 512));
        // The area of an ellipse, to the pixels of its line.
        let area = std::f64::consts::PI * 50.0 * 70.0;
        assert!((count(&masks.face) as f64 - area).abs() < 30.0);
        for (place, [is_face, is_wide, is_eye, is_lip, is_seam]) in [
            ([256.0, 256.0], [true, true, false, false, false]),
            ([236.0, 236.0], [true, true, true, false, true]),
            ([276.0, 236.0], [true, true, true, false, true]),
            ([256.0, 291.0], [true, true, false, true, true]),
            // A tenth of 100 pixels beyond the side, and a little more.
            ([315.0, 256.0], [false, true, false, false, true]),
            ([318.0, 256.0], [false, false, false, false, true]),
            // The corner of the box is outside of the face.
            ([210.0, 190.0], [false, false, false, false, true]),
            ([256.0, 160.0], [false, false, false, false, false]),
        ] {
            let found = [
                &masks.face,
                &masks.wide,
                &masks.eyes,
                &masks.lips,
                &masks.seams,
            ]
            .map(|mask| level(mask, place) == 255);
            assert_eq!(
                found,
                [is_face, is_wide, is_eye, is_lip, is_seam],
                "{place:?}"
            );
        }
    }

    #[test]
    fn a_tilted_face_has_tilted_masks() {
        for degrees in [30.0_f32, -30.0, 90.0, 170.0] {
            let masks = Masks::of(&face([256.0, 256.0], degrees), &[], 1.0, (512, 512));
            let (sine, cosine) = degrees.to_radians().sin_cos();
            // Where the chin is, and as far to the side, where nothing is.
            assert_eq!(
                level(&masks.face, [256.0 - 65.0 * sine, 256.0 + 65.0 * cosine]),
                255
            );
            assert_eq!(
                level(&masks.face, [256.0 + 65.0 * cosine, 256.0 + 65.0 * sine]),
                0
            );
            let mouth = [256.0 - 35.0 * sine, 256.0 + 35.0 * cosine];
            assert_eq!(level(&masks.lips, mouth), 255, "{degrees}");
        }
    }

    #[test]
    fn another_face_is_kept_out_as_far_as_it_is_nearer() {
        let (own, other) = (face([230.0, 256.0], 0.0), face([310.0, 256.0], 0.0));
        let alone = Masks::of(&own, &[], 1.2, (512, 512));
        let beside = Masks::of(&own, &[other], 1.2, (512, 512));
        assert_eq!(level(&alone.face, [285.0, 256.0]), 255);
        for mask in [&beside.face, &beside.wide, &beside.seams] {
            // Beyond the middle between the two faces, inside of the other.
            assert_eq!(level(mask, [285.0, 256.0]), 0);
            assert_eq!(level(mask, [310.0, 256.0]), 0);
        }
        assert_eq!(level(&beside.face, [255.0, 256.0]), 255);
        assert_eq!(level(&beside.face, [230.0, 256.0]), 255);
        // Far from the other nothing changes.
        assert_eq!(
            level(&beside.seams, [170.0, 256.0]),
            level(&alone.seams, [170.0, 256.0])
        );
    }

    #[test]
    fn joins_are_around_boxes_and_surroundings_are_the_rest() {
        let faces = [face([150.0, 256.0], 0.0), face([350.0, 256.0], 0.0)];
        let stays = face([150.0, 340.0], 0.0);
        let joins = joins(&faces, &[stays], [64, 32], (512, 512));
        assert_eq!(level(&joins, [150.0, 256.0]), 0);
        assert_eq!(level(&joins, [105.0, 256.0]), 255);
        assert_eq!(level(&joins, [75.0, 256.0]), 255);
        assert_eq!(level(&joins, [60.0, 256.0]), 0);
        // Below the first face is the one that stays, and below the second is nobody.
        assert_eq!(level(&joins, [150.0, 350.0]), 0);
        assert_eq!(level(&joins, [350.0, 350.0]), 255);
        let around = surroundings(&faces, 32, (512, 512));
        assert_eq!(level(&around, [20.0, 20.0]), 255);
        assert_eq!(level(&around, [110.0, 256.0]), 255);
        assert_eq!(level(&around, [125.0, 256.0]), 0);
    }

    #[test]
    fn strange_faces_give_masks_all_the_same() {
        for number in [f32::NAN, f32::INFINITY, f32::MIN, 0.0, -7.0] {
            let strange = Face {
                score: 1.0,
                bounds: Bounds {
                    left: number,
                    top: number,
                    right: -number,
                    bottom: 40.0,
                },
                points: [[number; 2]; 5],
            };
            let masks = Masks::of(&strange, &[strange], 1.2, (64, 96));
            assert_eq!(masks.wide.dimensions(), (64, 96));
        }
    }
}
