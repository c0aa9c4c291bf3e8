//! Brings a face into the place and size that embeddings are trained for.

use super::Points;
use crate::imaging::{Kernel, RgbImage, Similarity, Window, resize_part, similarity_between, warp};

/// Side of an aligned crop in pixels.
pub const ALIGNED_SIDE: u32 = 112;
/// Where the five points of a face are in an aligned crop: the template of ArcFace
/// (`portrait-pipeline` section 3.3), which all usual embeddings share.
const TEMPLATE: [[f64; 2]; 5] = [
    [38.2946, 51.6963],
    [73.5318, 51.5014],
    [56.0252, 71.7366],
    [41.5493, 92.3655],
    [70.7299, 92.2041],
];
/// Least scale at which the picture is sampled as it is. Below it, most pixels would be skipped and
/// fine detail would become noise, so the picture is first shrunk by a power of two.
const SCALE_MIN: f64 = 0.5;
/// Most halvings: beyond, no picture has a pixel left.
const HALVINGS_MAX: u32 = 15;
/// Pixels around the needed part of a shrunk picture, against rounding in the corners.
const MARGIN: f64 = 1.0;

/// A square crop with a face in it: the points lie where the template has them, moved to the right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Width and height of the crop in pixels.
    pub side: u32,
    /// How far to the right of the template's place the face is, in pixels.
    pub right: f64,
}

/// The crop that embeddings are trained for.
const ALIGNED: Frame = Frame {
    side: ALIGNED_SIDE,
    right: 0.0,
};

impl Frame {
    /// Where the places of a photo are in the crop of the face with these points; `None` as in
    /// [`fit_points`].
    pub fn fit(self, points: &[[f64; 2]; 5]) -> Option<Similarity> {
        Some(fit_points(points)?.from_origin([-self.right, 0.0]))
    }
}

/// The similarity that brings points closest to the template's, as [`similarity_between`] does.
///
/// `None` when the points are all in one place or are not finite.
pub fn fit_points(points: &[[f64; 2]; 5]) -> Option<Similarity> {
    similarity_between(points, &TEMPLATE)
}

/// The face with these points, brought to a crop of [`ALIGNED_SIDE`] pixels a side; what lies outside
/// of the photo is black.
///
/// Where the photo has to be shrunk to less than half, it is first shrunk by the smallest power of
/// two that leaves a scale of at least a half, to width and height divided by it and rounded, halves
/// to the even number, each pixel the mean of those it covers. Of all that only the part around the
/// face is computed, so the size of the photo does not matter.
///
/// Points that are all in one place or not finite give a black crop.
pub fn align(photo: &RgbImage, points: &Points) -> RgbImage {
    align_in(photo, &points.map(|point| point.map(f64::from)), ALIGNED)
        .unwrap_or_else(|| RgbImage::new(ALIGNED_SIDE, ALIGNED_SIDE))
}

/// The same for another crop than that of [`align`]; `None` where that gives a black one.
pub(super) fn align_in(photo: &RgbImage, points: &[[f64; 2]; 5], frame: Frame) -> Option<RgbImage> {
    let fitted = frame.fit(points)?;
    let side = frame.side;
    let halvings = (0..HALVINGS_MAX)
        .find(|halvings| fitted.scale() * f64::from(1_u32 << halvings) >= SCALE_MIN)
        .unwrap_or(HALVINGS_MAX);
    if halvings == 0 {
        return Some(warp(photo, &fitted.inverse()?, side, side));
    }
    let factor = f64::from(1_u32 << halvings);
    let shrunk_side = |side: u32| (f64::from(side) / factor).round_ties_even().max(1.0);
    let (width, height) = (shrunk_side(photo.width()), shrunk_side(photo.height()));
    let scale_x = width / f64::from(photo.width());
    let scale_y = height / f64::from(photo.height());
    let points = points.map(|[x, y]| [x * scale_x, y * scale_y]);
    let place = frame.fit(&points)?.inverse()?;
    let part = needed_part(&place, side);
    let shrunk = resize_part(photo, width as u32, height as u32, Kernel::Box, part);
    let origin = [f64::from(part.left), f64::from(part.top)];
    Some(warp(&shrunk, &place.from_origin(origin), side, side))
}

/// The pixels that a crop is sampled from, as far as they have numbers of zero and above.
fn needed_part(place: &Similarity, side: u32) -> Window {
    let last = f64::from(side) - 1.0;
    let corners = [[0.0, 0.0], [last, 0.0], [0.0, last], [last, last]].map(|at| place.apply(at));
    let span = |axis: usize| {
        let values = corners.map(|corner| corner[axis]);
        let least = values.into_iter().fold(f64::INFINITY, f64::min);
        let most = values.into_iter().fold(f64::NEG_INFINITY, f64::max);
        // Casts of negative and of huge numbers end at the ends of the type.
        let start = (least - MARGIN).floor() as u32;
        let end = (most + 1.0 + MARGIN).ceil() as u32;
        (start, end.saturating_sub(start))
    };
    let ((left, width), (top, height)) = (span(0), span(1));
    Window {
        left,
        top,
        width,
        height,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::resize;

    proptest! {
        #[test]
        fn any_similarity_is_found_again(
            (re, im) in (-9.0..9.0_f64, -9.0..9.0_f64),
            (x, y) in (-5000.0..5000.0_f64, -5000.0..5000.0_f64),
        ) {
            let there = Similarity { re, im, x, y };
            prop_assume!(there.scale() > 1e-2);
            let fitted = fit_points(&TEMPLATE.map(|point| there.apply(point))).unwrap();
            let back = there.inverse().unwrap();
            prop_assert!((fitted.re - back.re).abs() < 1e-6);
            prop_assert!((fitted.im - back.im).abs() < 1e-6);
            for (point, place) in TEMPLATE.map(|point| there.apply(point)).iter().zip(TEMPLATE) {
                let found = fitted.apply(*point);
                prop_assert!((found[0] - place[0]).hypot(found[1] - place[1]) < 1e-5);
            }
        }

        #[test]
        fn hostile_points_never_panic(
            points in prop::array::uniform5([any::<f32>(), any::<f32>()]),
        ) {
            let photo = crate::imaging::samples::picture(40, 30);
            let crop = align(&photo, &points);
            prop_assert_eq!(crop.dimensions(), (ALIGNED_SIDE, ALIGNED_SIDE));
        }

        #[test]
        fn the_part_around_the_face_is_all_that_is_needed(
            scale in 2.1..9.0_f64,
            turn in -3.2..3.2_f64,
            (x, y) in (-300.0..900.0_f64, -300.0..900.0_f64),
        ) {
            let photo = RgbImage::from_fn(601, 453, |x, y| {
                [(x * 7 + y) as u8, (y * 5) as u8, (x ^ y) as u8].into()
            });
            let there = Similarity { re: scale * turn.cos(), im: scale * turn.sin(), x, y };
            let points = TEMPLATE.map(|point| there.apply(point));
            let factor = (1..20).map(|k| f64::from(1_u32 << k)).find(|f| f / scale >= 0.5).unwrap();
            let side = |side: f64| (side / factor).round_ties_even();
            let (width, height) = (side(601.0), side(453.0));
            let whole = resize(&photo, width as u32, height as u32, Kernel::Box);
            let scaled = points.map(|[x, y]| [x * width / 601.0, y * height / 453.0]);
            let place = fit_points(&scaled).unwrap().inverse().unwrap();
            let expected = warp(&whole, &place, ALIGNED_SIDE, ALIGNED_SIDE);
            let crop = align_in(&photo, &points, ALIGNED).unwrap();
            let most = crop.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b)).max();
            // Places count from another origin, so a half may round to the other side.
            prop_assert!(most <= Some(1), "{:?}", most);
        }
    }

    #[test]
    fn points_in_one_place_give_a_black_crop() {
        let photo = crate::imaging::samples::picture(40, 30);
        let black = RgbImage::new(ALIGNED_SIDE, ALIGNED_SIDE);
        for place in [0.0, 17.0, f32::NAN, f32::INFINITY, f32::MAX] {
            assert_eq!(align(&photo, &[[place; 2]; 5]), black);
        }
    }

    #[test]
    fn a_face_in_its_place_is_not_moved() {
        let photo = crate::imaging::samples::picture(ALIGNED_SIDE, ALIGNED_SIDE);
        let crop = align(
            &photo,
            &TEMPLATE.map(|point| point.map(|place| place as f32)),
        );
        let most = crop
            .iter()
            .zip(photo.iter())
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        // The points were rounded to single precision.
        assert!(most <= Some(1), "{most:?}");
    }
}
