//! Masks that grow and shrink.
//!
//! [`dilate`] and [`erode`] are those of OpenCV with a kernel of ones: the largest or the least level of a
//! square window around each pixel. The rows are done first and then the columns, each in three passes
//! whatever the size of the window (van Herk 1992, Gil and Werman 1993): a window that is as long as a
//! block touches two of them, so its largest level is the larger one of the rest of the first and the
//! beginning of the second.

use image::GrayImage;

use super::mask::invert;

/// The mask grown: at each pixel the largest level of a window of `side` x `side` pixels.
///
/// The pixel itself stands at `side / 2` in the window, so an even window reaches further up and left.
/// What lies beyond the border counts for nothing. A side of zero counts as one, which changes nothing.
pub fn dilate(mask: &GrayImage, side: u32) -> GrayImage {
    if side <= 1 || mask.is_empty() {
        return mask.clone();
    }
    let rows_done = turned(&along_rows(mask, side));
    turned(&along_rows(&rows_done, side))
}

/// The mask shrunk: at each pixel the least level of the same window as [`dilate`] has, and likewise
/// without what lies beyond the border.
pub fn erode(mask: &GrayImage, side: u32) -> GrayImage {
    invert(&dilate(&invert(mask), side))
}

/// The mask with holes and gaps narrower than `side` closed: grown, then shrunk.
///
/// Both steps have the same window, so an even one moves the mask by a pixel down and right, as it does in
/// OpenCV.
pub fn close(mask: &GrayImage, side: u32) -> GrayImage {
    erode(&dilate(mask, side), side)
}

/// The largest level of `side` neighbours in the row of each pixel of a mask with pixels.
fn along_rows(mask: &GrayImage, side: u32) -> GrayImage {
    let width = mask.width() as usize;
    let side = side as usize;
    // Windows beyond the row do not grow any more, so the work never depends on the side.
    let before = (side / 2).min(width - 1);
    let after = (side - side / 2 - 1).min(width - 1);
    let block = before + after + 1;
    // The row with as much black around it as windows reach, which never wins.
    let mut line = vec![0; width + block - 1];
    let mut from_start = line.clone();
    let mut to_end = line.clone();
    let mut grown = GrayImage::new(mask.width(), mask.height());
    let rows = mask.chunks_exact(width);
    for (row, to) in rows.zip(grown.chunks_exact_mut(width)) {
        line[before..before + width].copy_from_slice(row);
        let blocks = line.chunks(block);
        for (levels, sums) in blocks.clone().zip(from_start.chunks_mut(block)) {
            running_largest(levels.iter().zip(sums));
        }
        for (levels, sums) in blocks.zip(to_end.chunks_mut(block)) {
            running_largest(levels.iter().zip(sums).rev());
        }
        let windows = to_end.iter().zip(&from_start[block - 1..]);
        for (to, (rest, beginning)) in to.iter_mut().zip(windows) {
            *to = *rest.max(beginning);
        }
    }
    grown
}

/// Writes to each place the largest level so far.
fn running_largest<'a>(places: impl Iterator<Item = (&'a u8, &'a mut u8)>) {
    let mut largest = 0;
    for (level, to) in places {
        largest = largest.max(*level);
        *to = largest;
    }
}

/// Rows for columns and columns for rows.
fn turned(mask: &GrayImage) -> GrayImage {
    GrayImage::from_fn(mask.height(), mask.width(), |x, y| *mask.get_pixel(y, x))
}

#[cfg(test)]
mod tests {
    use image::Luma;
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::reference;

    type Operation = fn(&GrayImage, u32) -> GrayImage;

    #[test]
    fn masks_grow_and_shrink_as_in_opencv_to_the_last_bit() {
        let operations: [(&str, Operation); 3] =
            [("dilate", dilate), ("erode", erode), ("close", close)];
        for (operation, apply) in operations {
            let cases = reference::cases(operation);
            assert!(cases.len() > 5, "{operation}");
            for [name, side] in cases {
                let made = apply(&reference::mask(&name), side.parse().unwrap());
                let expected = reference::mask(&format!("{operation}/{name}/{side}"));
                reference::assert_equal(&made, &expected, &format!("{operation} {name} by {side}"));
            }
        }
    }

    #[test]
    fn the_widest_windows_see_everything() {
        let mut mask = GrayImage::from_pixel(5, 3, Luma([9]));
        mask.put_pixel(4, 2, Luma([200]));
        mask.put_pixel(0, 1, Luma([3]));
        for side in [10, 4096, u32::MAX] {
            assert_eq!(
                dilate(&mask, side),
                GrayImage::from_pixel(5, 3, Luma([200]))
            );
            assert_eq!(erode(&mask, side), GrayImage::from_pixel(5, 3, Luma([3])));
        }
        for side in [0, 1] {
            assert_eq!(dilate(&mask, side), mask);
            assert_eq!(erode(&mask, side), mask);
            assert_eq!(close(&mask, side), mask);
        }
    }

    /// What the documentation says, pixel by pixel.
    fn by_definition(mask: &GrayImage, side: u32, pick: fn(u8, u8) -> u8) -> GrayImage {
        let (before, side) = (i64::from(side / 2), i64::from(side));
        GrayImage::from_fn(mask.width(), mask.height(), |x, y| {
            let seen = |at: u32| i64::from(at) - before..i64::from(at) - before + side;
            let window = mask.enumerate_pixels().filter(|(left, top, _)| {
                seen(x).contains(&i64::from(*left)) && seen(y).contains(&i64::from(*top))
            });
            Luma([window.map(|(_, _, level)| level.0[0]).reduce(pick).unwrap()])
        })
    }

    proptest! {
        #[test]
        fn windows_of_any_size_are_what_their_definition_says(
            (width, height) in (0..14_u32, 0..14_u32),
            levels in prop::collection::vec(any::<u8>(), 14 * 14),
            side in 1..32_u32,
        ) {
            let size = (width * height) as usize;
            let mask = GrayImage::from_raw(width, height, levels[..size].to_vec()).unwrap();
            prop_assert_eq!(dilate(&mask, side), by_definition(&mask, side, u8::max));
            prop_assert_eq!(erode(&mask, side), by_definition(&mask, side, u8::min));
        }
    }
}
