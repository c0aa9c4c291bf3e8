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
    laid_over(template, masks, (&warped, &there), fusion)
}

/// The template with another face over its own, as far as that is `there`: eyes wholly, skin by
/// [`Fusion::ratio`].
pub(super) fn laid_over(
    template: &RgbImage,
    masks: &Masks,
    (over, there): (&RgbImage, &GrayImage),
    fusion: Fusion,
) -> RgbImage {
    let both = combined(&masks.face, there, u8::min);
    let recolored = match (
        fusion.matches_colors,
        ColorStatistics::of(over, Some(&both)),
        ColorStatistics::of(template, Some(&both)),
    ) {
        (true, Some(from), Some(to)) => Some(transfer(over, &from, &to)),
        _ => None,
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
    // A blurred border may not leave the other face's own pixels.
    let share = combined(&box_blur(&share, eight), there, u8::min);
    blend(template, recolored.as_ref().unwrap_or(over), &share)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::face::Bounds;

    const PLAIN: Fusion = Fusion {
        ratio: 1.0,
        matches_colors: false,
        keeps_lips: false,
    };

    /// A face of 120 x 160 pixels at a place, so many times as large, turned by so many degrees.
    fn face([x, y]: [f32; 2], times: f32, degrees: f32) -> Face {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        let point = |[right, down]: [f32; 2]| {
            let (right, down) = (right * times, down * times);
            [
                x + right * cosine - down * sine,
                y + right * sine + down * cosine,
            ]
        };
        Face {
            score: 0.9,
            bounds: Bounds {
                left: x - 60.0 * times,
                top: y - 80.0 * times,
                right: x + 60.0 * times,
                bottom: y + 80.0 * times,
            },
            points: [
                [-24.0, -20.0],
                [24.0, -20.0],
                [0.0, 8.0],
                [-18.0, 40.0],
                [18.0, 40.0],
            ]
            .map(point),
        }
    }

    /// A grey photo with a dot of its own colour at each point of the face.
    fn dotted(size: u32, face: &Face, radius: f32) -> RgbImage {
        let colors = [
            [250, 0, 0],
            [0, 250, 0],
            [0, 0, 250],
            [250, 250, 0],
            [0, 250, 250],
        ];
        RgbImage::from_fn(size, size, |x, y| {
            let near = |point: &[f32; 2]| {
                (x as f32 + 0.5 - point[0]).hypot(y as f32 + 0.5 - point[1]) <= radius
            };
            let dot = face.points.iter().position(near);
            dot.map_or([100; 3], |dot| colors[dot]).into()
        })
    }

    /// The middle of the pixels in which one channel is far above another.
    fn middle_of(picture: &RgbImage, is_it: impl Fn([u8; 3]) -> bool) -> [f32; 2] {
        let found: Vec<_> = picture
            .enumerate_pixels()
            .filter(|(_, _, pixel)| is_it(pixel.0))
            .map(|(x, y, _)| [x as f32 + 0.5, y as f32 + 0.5])
            .collect();
        [0, 1].map(|axis| found.iter().map(|at| at[axis]).sum::<f32>() / found.len() as f32)
    }

    #[test]
    fn the_points_of_the_photo_come_to_lie_on_those_of_the_template() {
        for (times, degrees, size) in [(1.0, 0.0, 400), (1.5, 20.0, 512), (3.2, -15.0, 900)] {
            let seen = face(
                [size as f32 / 2.0 + 7.0, size as f32 / 2.0 - 5.0],
                times,
                degrees,
            );
            let photo = dotted(size, &seen, 5.0 * times);
            let own = face([256.0, 250.0], 1.2, 8.0);
            let masks = Masks::of(&own, &[], 1.0, (512, 512));
            let template = RgbImage::from_pixel(512, 512, [100; 3].into());
            let made = fused(&template, &own, &masks, (&photo, &seen), PLAIN);
            let red = middle_of(&made, |[red, green, blue]| {
                red > 180 && green < 80 && blue < 80
            });
            let blue = middle_of(&made, |[red, green, blue]| {
                blue > 180 && red < 80 && green < 80
            });
            for (found, point) in [(red, own.points[0]), (blue, own.points[2])] {
                let apart = (found[0] - point[0]).hypot(found[1] - point[1]);
                assert!(apart < 0.6, "{times} {degrees}: {found:?} {point:?}");
            }
        }
    }

    #[test]
    fn the_share_is_that_of_the_skin_the_eyes_are_whole_and_lips_may_stay() {
        let own = face([256.0, 256.0], 1.2, 0.0);
        let masks = Masks::of(&own, &[], 1.0, (512, 512));
        let template = RgbImage::from_pixel(512, 512, [200, 100, 40].into());
        let photo = RgbImage::from_pixel(600, 600, [100, 200, 240].into());
        let seen = face([300.0, 300.0], 1.5, 0.0);
        let half = Fusion {
            ratio: 0.5,
            keeps_lips: true,
            ..PLAIN
        };
        let made = fused(&template, &own, &masks, (&photo, &seen), half);
        let at = |[x, y]: [f32; 2]| made.get_pixel(x as u32, y as u32).0;
        assert_eq!(at([256.0, 200.0]), [150, 150, 140]);
        assert_eq!(at(own.points[0]), [100, 200, 240]);
        assert_eq!(at([256.0, own.points[3][1]]), [200, 100, 40]);
        assert_eq!(at([100.0, 100.0]), [200, 100, 40]);
        let colored = Fusion {
            matches_colors: true,
            ..PLAIN
        };
        let made = fused(&template, &own, &masks, (&photo, &seen), colored);
        // Of one colour each: what is laid over has the template's.
        for (found, wanted) in made.get_pixel(256, 200).0.into_iter().zip([200, 100, 40]) {
            assert!(u8::abs_diff(found, wanted) <= 3, "{found} {wanted}");
        }
    }

    #[test]
    fn what_the_photo_lacks_stays_the_template_and_strange_points_change_nothing() {
        let own = face([256.0, 256.0], 1.5, 0.0);
        let masks = Masks::of(&own, &[], 1.2, (512, 512));
        let template = RgbImage::from_pixel(512, 512, [200, 100, 40].into());
        // The right half of the face is beyond the photo's border.
        let photo = RgbImage::from_pixel(150, 400, [100, 200, 240].into());
        let seen = face([150.0, 200.0], 1.5, 0.0);
        let made = fused(&template, &own, &masks, (&photo, &seen), PLAIN);
        assert_eq!(made.get_pixel(200, 230).0, [100, 200, 240]);
        for x in 257..512 {
            assert_eq!(made.get_pixel(x, 230).0, [200, 100, 40], "{x}");
        }
        for number in [7.0, f32::NAN, f32::INFINITY] {
            let strange = Face {
                points: [[number; 2]; 5],
                ..seen
            };
            let made = fused(&template, &own, &masks, (&photo, &strange), PLAIN);
            assert_eq!(made, template);
        }
    }
}
