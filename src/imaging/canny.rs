//! The edges of a picture, as thin white lines on black.
//!
//! This is OpenCV's `Canny` on a colour picture with an aperture of 3 and the sum of absolute values
//! as the length of a slope, to the last bit: the control networks for edges were trained on such
//! pictures. An edge is where brightness changes most steeply across it (Canny 1986): slopes are
//! measured, all but the steepest of neighbours are dropped, and of the rest those stay that are
//! steeper than an upper bound or hang together with such a pixel.

use image::{GrayImage, RgbImage};

/// What an edge looks like in the result.
const EDGE: u8 = 255;
/// Surely no edge.
const NONE: u8 = 0;
/// An edge if it hangs together with a sure one.
const MAYBE: u8 = 1;
/// Surely an edge.
const SURE: u8 = 2;

/// Tangent of 22.5 degrees in fixed point.
const TANGENT: i32 = 13_573;
/// Bits behind its point.
const TANGENT_BITS: u32 = 15;

/// Edges of a picture: 255 where one is and 0 elsewhere.
///
/// A slope is the sum of the absolute changes of a colour to the right and downwards by Sobel's 3 x 3
/// weights, which reaches 2,040; each pixel takes the colour that changes most. Slopes above `low` may
/// be edges, slopes above `high` are. Fractions of both bounds are cut off, and bounds in the wrong
/// order are exchanged.
pub fn canny(picture: &RgbImage, low: f64, high: f64) -> GrayImage {
    let (width, height) = picture.dimensions();
    if width == 0 || height == 0 {
        return GrayImage::new(width, height);
    }
    let slopes = Slopes::of(picture);
    let low_bound = low.min(high).floor() as i32;
    let high_bound = low.max(high).floor() as i32;
    let mut kinds = vec![NONE; slopes.lengths.len()];
    let mut open = Vec::new();
    for at in slopes.places() {
        let length = slopes.lengths[at];
        if length > low_bound && slopes.is_ridge(at) {
            kinds[at] = MAYBE;
            if length > high_bound {
                kinds[at] = SURE;
                open.push(at);
            }
        }
    }
    follow(&mut kinds, open, slopes.stride);
    let edges = slopes.places().map(|at| match kinds[at] {
        SURE => EDGE,
        _ => 0,
    });
    GrayImage::from_vec(width, height, edges.collect()).expect("there is one value for each pixel")
}

/// Makes everything sure that touches a sure pixel, corners included.
fn follow(kinds: &mut [u8], mut open: Vec<usize>, stride: usize) {
    while let Some(at) = open.pop() {
        for row in [at - stride, at, at + stride] {
            for near in [row - 1, row, row + 1] {
                if kinds[near] == MAYBE {
                    kinds[near] = SURE;
                    open.push(near);
                }
            }
        }
    }
}

/// How steeply a picture changes at each pixel, with a frame of level pixels around it.
struct Slopes {
    /// Pixels of a row, the frame included.
    stride: usize,
    height: usize,
    /// Changes to the right and downwards.
    changes: Vec<[i16; 2]>,
    /// Sums of their absolute values.
    lengths: Vec<i32>,
}

impl Slopes {
    fn of(picture: &RgbImage) -> Self {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let stride = width + 2;
        let mut slopes = Self {
            stride,
            height,
            changes: vec![[0; 2]; stride * (height + 2)],
            lengths: vec![0; stride * (height + 2)],
        };
        let (pixels, _) = picture.as_raw().as_chunks::<3>();
        let row = |y: usize| &pixels[y * width..][..width];
        for y in 0..height {
            // Beyond the border the outermost pixels go on.
            let rows = [y.saturating_sub(1), y, (y + 1).min(height - 1)].map(row);
            for x in 0..width {
                let columns = [x.saturating_sub(1), x, (x + 1).min(width - 1)];
                let at = (y + 1) * stride + x + 1;
                (slopes.changes[at], slopes.lengths[at]) = steepest(rows, columns);
            }
        }
        slopes
    }

    /// The pixels of the picture, row by row.
    fn places(&self) -> impl Iterator<Item = usize> {
        let stride = self.stride;
        (1..=self.height).flat_map(move |y| (1..stride - 1).map(move |x| y * stride + x))
    }

    /// Whether a slope is steeper than its neighbours uphill and downhill. The direction is one of
    /// four; of two equal neighbours along a row or column the first stays.
    fn is_ridge(&self, at: usize) -> bool {
        let [x, y] = self.changes[at].map(i32::from);
        let across = x.abs() * TANGENT;
        let down = y.abs() << TANGENT_BITS;
        let here = self.lengths[at];
        if down < across {
            return here > self.lengths[at - 1] && here >= self.lengths[at + 1];
        }
        let (above, below) = (at - self.stride, at + self.stride);
        // The tangent of 67.5 degrees is that of 22.5 degrees and 2.
        if down > across + (x.abs() << (TANGENT_BITS + 1)) {
            return here > self.lengths[above] && here >= self.lengths[below];
        }
        let (above, below) = if (x ^ y) < 0 {
            (above + 1, below - 1)
        } else {
            (above - 1, below + 1)
        };
        here > self.lengths[above] && here > self.lengths[below]
    }
}

/// The change of the colour that changes most, the first one if several do, and its length.
fn steepest(rows: [&[[u8; 3]]; 3], [left, middle, right]: [usize; 3]) -> ([i16; 2], i32) {
    let changes: [[i16; 2]; 3] = std::array::from_fn(|color| {
        let sample = |row: usize, x: usize| i16::from(rows[row][x][color]);
        let column = |x: usize| sample(0, x) + 2 * sample(1, x) + sample(2, x);
        let line = |row: usize| sample(row, left) + 2 * sample(row, middle) + sample(row, right);
        [column(right) - column(left), line(2) - line(0)]
    });
    let mut steepest = ([0; 2], -1);
    for change in changes {
        let length = i32::from(change[0].abs()) + i32::from(change[1].abs());
        if length > steepest.1 {
            steepest = (change, length);
        }
    }
    steepest
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::reference;

    #[test]
    fn edges_are_those_of_opencv_to_the_last_bit() {
        let cases = reference::cases("canny");
        assert!(cases.len() > 8);
        for [name, bounds] in cases {
            let [low, high] = reference::numbers(&bounds)[..] else {
                panic!("{bounds}");
            };
            let edges = canny(&reference::picture(&name), low, high);
            let expected = reference::mask(&format!("canny/{name}/{bounds}"));
            reference::assert_equal(&edges, &expected, &format!("{name} {bounds}"));
        }
    }

    #[test]
    fn a_step_is_one_line() {
        let step = RgbImage::from_fn(8, 5, |x, _| Rgb([if x < 4 { 0 } else { 90 }, 7, 7]));
        let edges = canny(&step, 100.0, 200.0);
        for (x, _, level) in edges.enumerate_pixels() {
            assert_eq!(level.0[0], if x == 3 { 255 } else { 0 }, "column {x}");
        }
        // The slope is 4 * 90.
        assert!(canny(&step, 100.0, 360.0).iter().all(|level| *level == 0));
    }

    proptest! {
        #[test]
        fn any_picture_and_bounds_give_black_and_white(
            (width, height) in (0..9_u32, 0..9_u32),
            seed in any::<u32>(),
            low in any::<f64>(),
            high in any::<f64>(),
        ) {
            let picture = RgbImage::from_fn(width, height, |x, y| {
                let value = (x * 31 + y * 17 + 1).wrapping_mul(seed | 1);
                Rgb([value, value >> 8, value >> 16].map(|value| value as u8))
            });
            let edges = canny(&picture, low, high);
            prop_assert_eq!(edges.dimensions(), (width, height));
            prop_assert!(edges.iter().all(|level| [0, 255].contains(level)));
        }
    }
}
