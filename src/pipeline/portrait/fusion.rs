//! The face of the reference photo laid over that of the template: the picture that painting begins
//! with, so that it begins with the person (`portrait-pipeline` sections 3.2, 3.6 and 8.5).
//!
//! A similarity brings the five points of the one face as near as possible to those of the other. What
//! is laid over is soft at its border, and has the template's colours where that is asked for.

use crate::{
    imaging::{
        GrayImage, Kernel, RgbImage, Similarity,
        blend::blend,
        blur::box_blur,
        color_transfer::ColorStatistics,
        color_transfer::transfer,
        morphology::{dilate, erode},
        resize, similarity_between, warp,
    },
    models::face::Face,
};

use super::masks::{Masks, combined, window};

/// Least scale at which the reference is sampled as it is; below, it is first shrunk to it, because most
/// of its pixels would be skipped.
const SCALE_MIN: f64 = 0.5;

/// How much of the reference is laid over what, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fusion {
    /// The share of the reference's skin, 0 to 1.
    pub(super) ratio: f64,
    /// Whether it gets the template's colours.
    pub(super) matches_colors: bool,
    /// Whether the template's lips stay.
    pub(super) keeps_lips: bool,
}

/// The template with the face of a reference photo over its own, and the pixels where both are seen:
/// eyes wholly, skin by [`Fusion::ratio`].
///
/// Points that are all in one place give the template as it is.
pub(super) fn fused(
    template: &RgbImage,
    face: &Face,
    masks: &Masks,
    (photo, seen): (&RgbImage, &Face),
    fusion: Fusion,
) -> RgbImage {
    let Some((warped, there)) = laid(template.dimensions(), face, photo, seen) else {
        return template.clone();
    };
    let both = combined(&masks.face, &there, u8::min);
    let warped = match (
        fusion.matches_colors,
        ColorStatistics::of(&warped, Some(&both)),
        ColorStatistics::of(template, Some(&both)),
    ) {
        (true, Some(from), Some(to)) => transfer(&warped, &from, &to),
        _ => warped,
    };
    let size = template.dimensions();
    let [eight, sixteen] = [8.0, 16.0].map(|usual| window(usual, size));
    let ratio = fusion.ratio.clamp(0.0, 1.0);
    let skin = erode(&dilate(&both, eight), sixteen);
    let eyes = combined(&dilate(&masks.eyes, sixteen), &both, u8::min);
    let mut share = skin;
    for (at, level) in share.iter_mut().enumerate() {
        *level = (f64::from(*level) * ratio).round() as u8;
        if eyes.as_raw()[at] > 0 {
            *level = 255;
        }
        if fusion.keeps_lips && masks.lips.as_raw()[at] > 0 {
            *level = 0;
        }
    }
    // A blurred border may not leave the reference's own pixels.
    let share = combined(&box_blur(&share, eight), &there, u8::min);
    blend(template, &warped, &share)
}

/// The photo as it lies over a picture of this size, and where it has pixels.
fn laid(
    (width, height): (u32, u32),
    face: &Face,
    photo: &RgbImage,
    seen: &Face,
) -> Option<(RgbImage, GrayImage)> {
    let to = face.points.map(|point| point.map(f64::from));
    let from = seen.points.map(|point| point.map(f64::from));
    let scale = similarity_between(&from, &to)?.scale();
    let shrink =
        (SCALE_MIN / scale).clamp(1.0, f64::from(photo.width().min(photo.height()).max(1)));
    let small;
    let (photo, from) = if shrink > 1.0 {
        let side = |side: u32| (f64::from(side) / shrink).round().max(1.0);
        let (columns, rows) = (side(photo.width()), side(photo.height()));
        let across = columns / f64::from(photo.width());
        let down = rows / f64::from(photo.height());
        small = resize(photo, columns as u32, rows as u32, Kernel::Box);
        (&small, from.map(|[x, y]| [x * across, y * down]))
    } else {
        (photo, from)
    };
    // Points count from the corner of the first pixel, and `warp` from its middle.
    let place = similarity_between(&from, &to)?.inverse()?;
    let place = between_middles(&place);
    let warped = warp(photo, &place, width, height);
    let there = GrayImage::from_fn(width, height, |x, y| {
        let [x, y] = place.apply([f64::from(x), f64::from(y)]);
        let inside = |at: f64, side: u32| (0.0..=f64::from(side) - 1.0).contains(&at);
        let is_there = inside(x, photo.width()) && inside(y, photo.height());
        [if is_there { 255 } else { 0 }].into()
    });
    Some((warped, there))
}

/// The same way for places that count from the middle of the first pixel.
fn between_middles(way: &Similarity) -> Similarity {
    let [x, y] = way.apply([0.5, 0.5]);
    Similarity {
        x: x - 0.5,
        y: y - 0.5,
        ..*way
    }
}
