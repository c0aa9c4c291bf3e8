//! What of a training picture is the person, and what becomes white.

use serde::{Deserialize, Serialize};

use crate::{
    imaging::{
        GrayImage, RgbImage,
        blur::{SIGMA_MAX_PIXELS, gaussian_blur},
        compose::overlay,
    },
    models::face::Face,
};

/// By how much of its width the face's box is widened to each side (`portrait-pipeline` section 5,
/// step 5).
const WIDER: f32 = 0.30;
/// By how much of its height it is moved down: the top of the forehead is cut and the neck included.
const LOWER: f32 = 0.15;
/// Standard deviation of the soft edge over the longer side of the face: enough that no line of the
/// rectangle is learnt, and little enough that the cheeks stay as they are.
const SOFTNESS: f64 = 0.04;

/// What is done to everything but the person.
///
/// On 34 real photos of 10 persons, the faces of training pictures have a cosine with the mean of their
/// person's photos of 0.87 where the background is kept and of 0.80 where it is white, by
/// `MobileFaceNet`; of the 24 drawn photos of the demo pack, by its network, 0.94 and 0.22. The rectangle
/// cuts off the hair above the forehead, and what is left has edges that no photo has. So white is for
/// those who ask for it, until a network tells hair from background.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Background {
    /// It stays.
    #[default]
    Keep,
    /// It becomes white, with a soft edge: the trigger words then bring no room and no street with
    /// them (`portrait-pipeline` section 5).
    White,
}

impl Background {
    /// The training picture with this background.
    pub(super) fn applied(self, crop: RgbImage, face: &Face) -> RgbImage {
        match self {
            Self::Keep => crop,
            Self::White => {
                let white = RgbImage::from_pixel(crop.width(), crop.height(), [255; 3].into());
                overlay(&crop, &white, &softened(&foreground(&crop, face), face))
            }
        }
    }
}

/// How much of each pixel of a crop is the person: 255 where it is, 0 where it is not.
///
/// This is the rectangle around the face alone, so it needs no pixels; a network that parses persons
/// would look at them here, and hold what it finds against the rectangle.
fn foreground(crop: &RgbImage, face: &Face) -> GrayImage {
    let bounds = &face.bounds;
    let (wider, lower) = (bounds.width() * WIDER, bounds.height() * LOWER);
    let columns = bounds.left - wider..bounds.right + wider;
    let rows = bounds.top + lower..bounds.bottom + lower;
    GrayImage::from_fn(crop.width(), crop.height(), |x, y| {
        let is_inside = columns.contains(&(x as f32 + 0.5)) && rows.contains(&(y as f32 + 0.5));
        [if is_inside { 255 } else { 0 }].into()
    })
}

/// The same with a soft edge.
fn softened(mask: &GrayImage, face: &Face) -> GrayImage {
    let longest = face.bounds.width().max(face.bounds.height());
    let sigma = (f64::from(longest) * SOFTNESS).min(SIGMA_MAX_PIXELS);
    gaussian_blur(mask, sigma, sigma).expect("the deviation is a number within its limit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{imaging::samples, models::face::Bounds};

    fn face(left: f32, top: f32, right: f32, bottom: f32) -> Face {
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

    /// First and last column and row of a mask that are not black.
    fn reach(mask: &GrayImage) -> [u32; 4] {
        let used = || {
            mask.enumerate_pixels()
                .filter(|(_, _, level)| level.0[0] > 0)
        };
        let (columns, rows) = (|| used().map(|(x, _, _)| x), || used().map(|(_, y, _)| y));
        [columns().min(), columns().max(), rows().min(), rows().max()].map(Option::unwrap)
    }

    #[test]
    fn the_person_is_the_face_widened_and_moved_down() {
        let crop = samples::picture(512, 512);
        let mask = foreground(&crop, &face(200.0, 160.0, 300.0, 320.0));
        assert_eq!(reach(&mask), [170, 329, 184, 343]);
        assert!(mask.iter().all(|level| [0, 255].contains(level)));
        let near_the_border = foreground(&crop, &face(10.0, 300.0, 410.0, 500.0));
        assert_eq!(reach(&near_the_border), [0, 511, 330, 511]);
    }

    #[test]
    fn everything_else_becomes_white_with_a_soft_edge() {
        let crop = samples::picture(512, 512);
        let face = face(200.0, 160.0, 300.0, 320.0);
        let made = Background::White.applied(crop.clone(), &face);
        assert_eq!(made.dimensions(), (512, 512));
        // The rectangle is 160 x 160 and the deviation 6.4 pixels, so the bell ends after 16.
        for (x, y) in [
            (0, 0),
            (511, 511),
            (153, 260),
            (346, 260),
            (250, 167),
            (250, 360),
        ] {
            assert_eq!(made.get_pixel(x, y).0, [255; 3], "{x}, {y}");
        }
        for (x, y) in [(187, 260), (312, 260), (250, 201), (250, 326), (250, 255)] {
            assert_eq!(made.get_pixel(x, y), crop.get_pixel(x, y), "{x}, {y}");
        }
        let row: Vec<u8> = (153..188).map(|x| made.get_pixel(x, 220).0[1]).collect();
        assert!(row.is_sorted_by(|a, b| a >= b), "{row:?}");
        let at_the_edge = row[17];
        assert!((130..170).contains(&at_the_edge), "{row:?}");
    }

    #[test]
    fn a_background_that_is_kept_is_not_touched() {
        let crop = samples::picture(64, 64);
        let face = face(20.0, 20.0, 40.0, 40.0);
        assert_eq!(Background::Keep.applied(crop.clone(), &face), crop);
    }

    #[test]
    fn no_face_is_too_strange_for_a_background() {
        let crop = samples::picture(32, 32);
        for number in [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN, 0.0] {
            let face = face(-number, number, number, 5.0);
            Background::White.applied(crop.clone(), &face);
        }
    }
}
