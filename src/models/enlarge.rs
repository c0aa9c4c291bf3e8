//! Makes pictures larger with a network such as Real-ESRGAN.
//!
//! A picture is worked on in tiles, so that memory is bounded whatever its size. Neighbours overlap,
//! and each gives what lies on its side of the middle of the overlap: a network that does not look
//! further than [`CONTEXT`] pixels gives the same as for the picture in one piece.

use super::ModelError;
use super::backend::Device;
use super::catalog::{Entry, Role};
use super::input::{Network, may_hold};
use super::place::Place;
use crate::imaging::RgbImage;

/// Longest side of a tile for networks of any size. The largest layers of Real-ESRGAN, of 64 channels and
/// four times the sides, have 256 MiB then.
const TILE_SIDE: u32 = 256;
/// Pixels around what is taken from a tile that the network has seen as well: half of the overlap of
/// two tiles. Real-ESRGAN's own tool takes 10.
pub const CONTEXT: u32 = 16;
/// Sides of tiles are multiples of this where a network takes any size (see `preprocess.size`).
const SIDE_MULTIPLE: u32 = 32;
/// Side of the picture that a network is asked for its scale with.
const PROBE_SIDE: u32 = 32;
/// Sides that a file may fix: enough for the overlap on both ends, and little enough for memory.
const FIXED_SIDES: std::ops::RangeInclusive<u32> = 4 * CONTEXT..=1024;
/// How many times as wide and high pictures may become.
const SCALES: std::ops::RangeInclusive<u32> = 2..=4;
/// Most pixels of an enlarged picture: 768 MiB.
const PIXELS_MAX: u64 = 1 << 28;

/// Makes pictures larger. May be shared by threads.
pub struct Enlarger {
    network: Network,
    /// How many times as wide and high pictures become.
    scale: u32,
}

impl Enlarger {
    /// Opens the network of a file and holds it against its entry.
    ///
    /// A file that leaves the size of its output open is asked with a small picture.
    pub fn open(place: &Place, entry: &Entry, device: Device) -> Result<Self, ModelError> {
        let network = Network::open(place, entry, Role::SuperResolution, device)?;
        let size = network.preprocess.size;
        if let Some([width, height]) = size
            && ![width, height]
                .iter()
                .all(|side| FIXED_SIDES.contains(side))
        {
            return Err(network.refused(format!(
                "its pictures have {width}x{height} pixels, and sides from {} to {} are supported",
                FIXED_SIDES.start(),
                FIXED_SIDES.end()
            )));
        }
        let [output] = network.outputs() else {
            return Err(network.refused(format!(
                "it has {} outputs, and a {} has one",
                network.outputs().len(),
                Role::SuperResolution
            )));
        };
        let seen = size.unwrap_or([PROBE_SIDE; 2]);
        let known = match output.dims[..] {
            [_, _, Some(height), Some(width)] => Some([width, height]),
            _ => None,
        };
        let given = match known {
            Some(given) if may_hold(output, &[1, 3, given[1], given[0]]) => Some(given),
            Some(_) => None,
            None => {
                let outputs = network.run(&RgbImage::new(seen[0], seen[1]), seen)?;
                match outputs.first().map(|output| &output.shape[..]) {
                    Some([1, 3, height, width]) => Some([*width, *height]),
                    _ => None,
                }
            }
        };
        let scale = given.and_then(|given| {
            SCALES.into_iter().find(|scale| {
                let wanted = seen.map(|side| side as usize * *scale as usize);
                wanted == given
            })
        });
        let Some(scale) = scale else {
            return Err(network.refused(format!(
                "a {} makes of a picture one of three channels that is 2, 3 or 4 times as wide and \
                 high",
                Role::SuperResolution
            )));
        };
        Ok(Self { network, scale })
    }

    /// How many times as wide and high pictures become: 2, 3 or 4.
    pub fn scale(&self) -> u32 {
        self.scale
    }

    /// The picture [`scale`](Self::scale) times as wide and high.
    ///
    /// Where the picture is smaller than a tile, its outermost pixels are repeated on the right and
    /// below, and what comes of them is cut off. `keep_going` is asked before each tile;
    /// [`ModelError::Stopped`] when it says no.
    pub fn enlarge(
        &self,
        picture: &RgbImage,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<RgbImage, ModelError> {
        let (width, height) = picture.dimensions();
        let scale = self.scale;
        let pixels = u64::from(width) * u64::from(height) * u64::from(scale * scale);
        let sides = [width, height].map(|side| side.checked_mul(scale));
        let ([Some(new_width), Some(new_height)], true) = (sides, pixels <= PIXELS_MAX) else {
            return Err(self.network.failed(format!(
                "a picture of {width}x{height} pixels would come to more than {PIXELS_MAX} pixels; \
                 use a smaller one"
            )));
        };
        let mut enlarged = RgbImage::new(new_width, new_height);
        if enlarged.is_empty() {
            return Ok(enlarged);
        }
        let fixed = self.network.preprocess.size;
        let side = |axis: usize, length: u32| match fixed {
            Some(size) => size[axis],
            None => length.next_multiple_of(SIDE_MULTIPLE).min(TILE_SIDE),
        };
        let tile = [side(0, width), side(1, height)];
        let larger = tile.map(|side| side * scale);
        for row in spans(height, tile[1]) {
            for column in spans(width, tile[0]) {
                if !keep_going() {
                    return Err(ModelError::Stopped {
                        file: self.network.file.clone(),
                    });
                }
                let seen = cut(picture, [column.start, row.start], tile);
                let outputs = self.network.run(&seen, tile)?;
                let made = self.network.to_picture(outputs.first(), larger)?;
                put(&made, &mut enlarged, [&column, &row], scale);
            }
        }
        Ok(enlarged)
    }
}

/// A tile along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    /// Where it begins.
    start: u32,
    /// The first place that is taken from it.
    from: u32,
    /// The place after the last one that is taken from it.
    to: u32,
}

/// Tiles of this side for an axis of this length. What is taken from them fills the axis without a gap,
/// with [`CONTEXT`] of them left on both sides but at the ends of the axis.
///
/// The last tile ends with the axis, so that only an axis that is shorter than a tile is filled up.
fn spans(length: u32, side: u32) -> Vec<Span> {
    let Some(last) = length.checked_sub(side) else {
        return vec![Span {
            start: 0,
            from: 0,
            to: length,
        }];
    };
    let step = side.saturating_sub(2 * CONTEXT).max(1);
    let starts: Vec<u32> = (0..last)
        .step_by(step as usize)
        .chain(std::iter::once(last))
        .collect();
    let mut from = 0;
    let mut spans = Vec::with_capacity(starts.len());
    for (index, start) in starts.iter().enumerate() {
        let to = starts
            .get(index + 1)
            // The middle of the overlap with the next one.
            .map_or(length, |next| next + (start + side - next) / 2);
        spans.push(Span {
            start: *start,
            from,
            to,
        });
        from = to;
    }
    spans
}

/// The part of a picture with this left upper corner and size. Beyond the picture its outermost pixels
/// go on.
fn cut(picture: &RgbImage, [left, top]: [u32; 2], [width, height]: [u32; 2]) -> RgbImage {
    let last = [picture.width() - 1, picture.height() - 1];
    RgbImage::from_fn(width, height, |x, y| {
        *picture.get_pixel((left + x).min(last[0]), (top + y).min(last[1]))
    })
}

/// Puts what is taken from an enlarged tile into the enlarged picture.
fn put(made: &RgbImage, enlarged: &mut RgbImage, [column, row]: [&Span; 2], scale: u32) {
    const CHANNELS: usize = 3;
    let samples = |pixels: u32| (pixels * scale) as usize * CHANNELS;
    let (stride, made_stride) = (
        enlarged.width() as usize * CHANNELS,
        made.width() as usize * CHANNELS,
    );
    let (from, to) = (samples(column.from), samples(column.to));
    let (made, enlarged): (&[u8], &mut [u8]) = (made, enlarged);
    let made_from = samples(column.from - column.start);
    for y in row.from * scale..row.to * scale {
        let line = (y - row.start * scale) as usize * made_stride + made_from;
        let at = y as usize * stride;
        enlarged[at + from..at + to].copy_from_slice(&made[line..line + to - from]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tiles_fill_an_axis_with_context_on_both_sides(
            length in 1..3000_u32,
            side in 4 * CONTEXT..600,
        ) {
            let spans = spans(length, side);
            prop_assert_eq!(spans[0].from, 0);
            prop_assert_eq!(spans[spans.len() - 1].to, length);
            for pair in spans.windows(2) {
                prop_assert_eq!(pair[0].to, pair[1].from);
            }
            for span in &spans {
                prop_assert!(span.from < span.to && span.to <= span.start + side);
                prop_assert!(span.from == 0 || span.from >= span.start + CONTEXT);
                prop_assert!(span.to == length || span.to + CONTEXT <= span.start + side);
                prop_assert!(length < side || span.start + side <= length);
            }
            let most = length.saturating_sub(2 * CONTEXT).div_ceil(side - 2 * CONTEXT).max(1);
            prop_assert_eq!(spans.len(), most as usize);
        }
    }

    #[test]
    fn beyond_the_picture_its_outermost_pixels_go_on() {
        let picture = RgbImage::from_raw(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let tile = cut(&picture, [1, 0], [2, 2]);
        assert_eq!(tile.into_raw(), [4, 5, 6].repeat(4));
    }
}
