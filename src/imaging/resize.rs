//! Pictures in other sizes, with every pixel of the source taken into account.
//!
//! Each pixel of the result is a weighted mean of source pixels. [`Kernel`] says how the weights
//! fall off; when a picture shrinks, the kernel is stretched by the same factor, so that fine detail
//! is averaged and does not turn into false patterns. Pixels are centred at half integers and
//! weights outside of the picture are left out.
//!
//! This is the arithmetic of Pillow's `Image.resize` with `BILINEAR`, `BOX`, `BICUBIC` and `LANCZOS`
//! (its `Resample.c`), which the training and measuring scripts of most networks use, to the last bit: first along the
//! rows and then along the columns, with weights in fixed point and a rounding to 8 bits after each.
//! A face at the edge of what a network sees is found or missed by such a bit.

use image::RgbImage;
use rayon::prelude::*;

/// Samples of one pixel.
const CHANNELS: usize = 3;
/// Bits behind the point of a weight: with 8 bits of a sample and 2 to spare they fill 32.
const FRACTION_BITS: u32 = 22;
/// One half in that fixed point: what is added before the fraction is cut off.
const HALF: i32 = 1 << (FRACTION_BITS - 1);
/// Rows that get their new width together: the numbers of the longest vector.
const TOGETHER: usize = 16;
/// Several samples that are moved at once.
type Word = u64;
/// How many these are.
const WORD: usize = size_of::<Word>();
/// Pixels of so many rows that are turned on their side at a time: what the fastest cache holds.
const SPAN: usize = 512;
/// Samples of a picture up to which nobody else is woken.
const ALONE: usize = 1 << 18;
/// Bands per thread: enough that a slow one does not hold up the others.
const BANDS_PER_THREAD: usize = 4;

/// How the weight of a source pixel falls off with its distance from the place that is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// In a straight line, to zero at a distance of one pixel of the smaller picture: "bilinear"
    /// with antialiasing.
    Triangle,
    /// Not at all within half a pixel of the smaller picture, and to nothing beyond.
    Box,
    /// Along two parabolas of third degree, below zero between one and two pixels: "bicubic" with
    /// antialiasing and the slope of -0.5 at a distance of one (Keys 1981).
    Cubic,
    /// Along `sinc(x) * sinc(x / 3)` up to three pixels: the sharpest.
    Lanczos,
}

impl Kernel {
    /// Distance beyond which weights are zero.
    const fn support(self) -> f64 {
        match self {
            Self::Triangle => 1.0,
            Self::Box => 0.5,
            Self::Cubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, distance: f64) -> f64 {
        match self {
            Self::Triangle => (1.0 - distance.abs()).max(0.0),
            Self::Box if distance > -0.5 && distance <= 0.5 => 1.0,
            Self::Cubic => cubic(distance.abs()),
            Self::Lanczos if (-3.0..3.0).contains(&distance) => {
                sinc(distance) * sinc(distance / 3.0)
            }
            Self::Box | Self::Lanczos => 0.0,
        }
    }
}

/// Keys' convolution with `a = -0.5`, the terms in the order in which Pillow rounds them.
fn cubic(distance: f64) -> f64 {
    const SLOPE: f64 = -0.5;
    if distance < 1.0 {
        ((SLOPE + 2.0) * distance - (SLOPE + 3.0)) * distance * distance + 1.0
    } else if distance < 2.0 {
        (((distance - 5.0) * distance + 8.0) * distance - 4.0) * SLOPE
    } else {
        0.0
    }
}

fn sinc(distance: f64) -> f64 {
    if distance == 0.0 {
        return 1.0;
    }
    let angle = distance * std::f64::consts::PI;
    angle.sin() / angle
}

/// A part of a picture, in whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Number of columns.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
}

impl Window {
    /// What of this lies in a picture of this size.
    fn within(self, width: u32, height: u32) -> Self {
        let left = self.left.min(width);
        let top = self.top.min(height);
        Self {
            left,
            top,
            width: self.width.min(width - left),
            height: self.height.min(height - top),
        }
    }
}

/// The picture in another size. A side of zero counts as one.
pub fn resize(picture: &RgbImage, width: u32, height: u32, kernel: Kernel) -> RgbImage {
    let whole = Window {
        left: 0,
        top: 0,
        width: width.max(1),
        height: height.max(1),
    };
    resize_part(picture, width, height, kernel, whole)
}

/// A part of what [`resize`] would give, without the work for the rest. What of the part lies
/// outside of the result is left out.
pub fn resize_part(
    picture: &RgbImage,
    width: u32,
    height: u32,
    kernel: Kernel,
    part: Window,
) -> RgbImage {
    let (width, height) = (width.max(1), height.max(1));
    let part = part.within(width, height);
    let mut resized = RgbImage::new(part.width, part.height);
    if part.width == 0 || part.height == 0 || picture.width() == 0 || picture.height() == 0 {
        return resized;
    }
    let columns = taps(picture.width(), width, kernel, part.left, part.width);
    let rows = taps(picture.height(), height, kernel, part.top, part.height);
    let row_samples = part.width as usize * CHANNELS;
    let bands = rayon::current_num_threads() * BANDS_PER_THREAD;
    let band = rows.len().div_ceil(bands);
    let source = Source {
        samples: picture.as_raw(),
        stride: picture.width() as usize * CHANNELS,
        // Of an axis that keeps its length every sample stays as it is.
        columns: (picture.width() != width).then_some(&columns),
        left: part.left as usize,
        keeps_rows: picture.height() == height,
    };
    let fill = |to: &mut [u8], rows: &[Taps]| {
        pulp::Arch::new().dispatch(Band {
            source: &source,
            rows,
            row_samples,
            to,
        });
    };
    if picture.len().max(resized.len()) <= ALONE {
        fill(&mut resized, &rows);
    } else {
        resized
            .par_chunks_mut(band * row_samples)
            .zip(rows.par_chunks(band))
            .for_each(|(to, rows)| fill(to, rows));
    }
    resized
}

/// The picture that is resized.
struct Source<'a> {
    samples: &'a [u8],
    /// Samples of a row.
    stride: usize,
    /// How rows get their new width, if they do.
    columns: Option<&'a [Taps]>,
    /// First column that is needed, where rows keep their width.
    left: usize,
    /// Whether columns keep their height.
    keeps_rows: bool,
}

/// Consecutive rows of the result.
struct Band<'a> {
    source: &'a Source<'a>,
    rows: &'a [Taps],
    /// Samples of a row.
    row_samples: usize,
    to: &'a mut [u8],
}

/// Compiled once for each kind of processor, whose vectors the plain loops use.
impl pulp::WithSimd for Band<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self {
            source,
            rows,
            row_samples,
            to,
        } = self;
        let first = rows.first().map_or(0, |row| row.first);
        let end = rows.last().map_or(0, Taps::end);
        // The source rows of this band in their new width; neighbouring bands make a few twice.
        let mut narrow = vec![0; (end - first) * row_samples];
        let lines = &source.samples[first * source.stride..end * source.stride];
        match source.columns {
            Some(columns) => across(lines, source.stride, columns, row_samples, &mut narrow),
            None => {
                let lines = lines.chunks_exact(source.stride);
                for (line, narrow) in lines.zip(narrow.chunks_exact_mut(row_samples)) {
                    narrow.copy_from_slice(&line[source.left * CHANNELS..][..row_samples]);
                }
            }
        }
        let mut sums = vec![HALF; row_samples];
        for (to, row) in to.chunks_exact_mut(row_samples).zip(rows) {
            let narrow = &narrow[(row.first - first) * row_samples..];
            if source.keeps_rows {
                to.copy_from_slice(&narrow[..row_samples]);
                continue;
            }
            sums.fill(HALF);
            for (weight, line) in row.weights.iter().zip(narrow.chunks_exact(row_samples)) {
                for (sum, sample) in sums.iter_mut().zip(line) {
                    *sum += weight * i32::from(*sample);
                }
            }
            for (to, sum) in to.iter_mut().zip(&sums) {
                *to = level(*sum);
            }
        }
    }
}

/// Gives rows their new width.
///
/// A sum along a row would have to be gathered from a vector at its end. So [`TOGETHER`] rows are
/// turned on their side first, and each sum has a place of a vector for itself.
#[inline(always)]
fn across(lines: &[u8], stride: usize, columns: &[Taps], row_samples: usize, narrow: &mut [u8]) {
    let mut turned = Vec::new();
    let (mut sums, mut levels) = (Vec::new(), Vec::new());
    let groups = narrow.chunks_mut(TOGETHER * row_samples);
    for (lines, narrow) in lines.chunks(TOGETHER * stride).zip(groups) {
        let mut pixel = 0;
        while let Some(start) = columns.get(pixel) {
            // As many columns as come from what the fastest cache holds, and at least one.
            let first = start.first;
            let near = |taps: &&Taps| taps.end() - first <= SPAN;
            let group = &columns[pixel..];
            let group = &group[..group.iter().take_while(near).count().max(1)];
            let end = group.last().map_or(first, Taps::end);
            turned.resize(
                ((end - first) * CHANNELS).next_multiple_of(WORD),
                [0; TOGETHER],
            );
            turn(lines, stride, first * CHANNELS, &mut turned);
            let (pixels, _) = turned.as_chunks();
            sums.resize(group.len(), [[0; TOGETHER]; CHANNELS]);
            for (taps, sums) in group.iter().zip(&mut sums) {
                let pixels = &pixels[taps.first - first..];
                weigh(pixels, &taps.weights, sums);
            }
            levels.clear();
            levels.extend(
                sums.as_flattened()
                    .as_flattened()
                    .iter()
                    .map(|sum| level(*sum)),
            );
            let (sides, _) = levels.as_chunks::<TOGETHER>();
            for (row, narrow) in narrow.chunks_exact_mut(row_samples).enumerate() {
                let narrow = &mut narrow[pixel * CHANNELS..];
                for (to, side) in narrow.iter_mut().zip(sides) {
                    *to = side[row];
                }
            }
            pixel += group.len();
        }
    }
}

/// One sample of each of the rows.
type Side = [u8; TOGETHER];

/// Puts the samples from `first` on of up to [`TOGETHER`] rows on their side.
#[inline(always)]
fn turn(lines: &[u8], stride: usize, first: usize, turned: &mut [Side]) {
    // Rows that are not there are seen as the first one again.
    let mut rows = [&lines[first..stride]; TOGETHER];
    for (row, line) in rows.iter_mut().zip(lines.chunks_exact(stride)) {
        *row = &line[first..];
    }
    // A loop of known length would be unrolled, and the compiler would look for vectors elsewhere.
    let together = std::hint::black_box(TOGETHER);
    let mut words = [0; TOGETHER];
    let (turned, _) = turned.as_chunks_mut::<WORD>();
    for (at, turned) in turned.iter_mut().enumerate() {
        for (word, row) in words.iter_mut().zip(&rows) {
            let row = &row[at * WORD..];
            *word = Word::from_le_bytes(row.first_chunk().copied().unwrap_or_else(|| {
                let mut last = [0; WORD];
                last[..row.len()].copy_from_slice(row);
                last
            }));
        }
        for (byte, turned) in turned.iter_mut().enumerate() {
            for (sample, word) in turned[..together].iter_mut().zip(&words[..together]) {
                *sample = (word >> (8 * byte)) as u8;
            }
        }
    }
}

/// Sums up weighted pixels of all rows.
#[inline(always)]
fn weigh(pixels: &[[Side; CHANNELS]], weights: &[i32], to: &mut [[i32; TOGETHER]; CHANNELS]) {
    let mut sums = [[HALF; TOGETHER]; CHANNELS];
    for (pixel, weight) in pixels.iter().zip(weights) {
        for (sums, samples) in sums.iter_mut().zip(pixel) {
            for (sum, sample) in sums.iter_mut().zip(samples) {
                *sum += weight * i32::from(*sample);
            }
        }
    }
    *to = sums;
}

/// A sum of weighted samples as a sample.
#[inline(always)]
fn level(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

/// The source pixels along one axis that make up one pixel of the result.
#[derive(Debug, Clone)]
struct Taps {
    /// The first of them.
    first: usize,
    /// Their weights in fixed point, with a sum of one but for rounding.
    weights: Vec<i32>,
}

impl Taps {
    /// The pixel behind the last of them.
    fn end(&self) -> usize {
        self.first + self.weights.len()
    }
}

/// Weights along one axis for `count` pixels of the result from `start` on.
fn taps(source: u32, target: u32, kernel: Kernel, start: u32, count: u32) -> Vec<Taps> {
    let scale = f64::from(source) / f64::from(target);
    let stretch = scale.max(1.0);
    let support = kernel.support() * stretch;
    (start..start + count)
        .map(|place| {
            if source == target {
                // The kernels are one at their middle and zero at all other whole distances, but
                // those that reach further would begin before the place itself.
                return Taps {
                    first: place as usize,
                    weights: vec![fixed(1.0)],
                };
            }
            let center = (f64::from(place) + 0.5) * scale;
            // Both are within the source, so the casts, which round down, are exact.
            let first = (center - support + 0.5).max(0.0) as u32;
            let end = ((center + support + 0.5) as u32).min(source);
            let weights: Vec<f64> = (first..end)
                .map(|pixel| kernel.weight((f64::from(pixel) - center + 0.5) * (1.0 / stretch)))
                .collect();
            let sum: f64 = weights.iter().sum();
            Taps {
                first: first as usize,
                weights: weights
                    .into_iter()
                    .map(|weight| fixed(weight / sum))
                    .collect(),
            }
        })
        .collect()
}

/// A weight in fixed point, halves away from zero.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1 << FRACTION_BITS) + 0.5_f64.copysign(weight)) as i32
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::reference;

    /// The definition, pixel by pixel and in double precision.
    fn by_definition(picture: &RgbImage, width: u32, height: u32, kernel: Kernel) -> RgbImage {
        let weights = |source: u32, target: u32, place: u32| -> Vec<f64> {
            let scale = f64::from(source) / f64::from(target);
            let center = (f64::from(place) + 0.5) * scale;
            let weights: Vec<f64> = (0..source)
                .map(|pixel| kernel.weight((f64::from(pixel) + 0.5 - center) / scale.max(1.0)))
                .collect();
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|weight| weight / sum).collect()
        };
        RgbImage::from_fn(width, height, |x, y| {
            let columns = weights(picture.width(), width, x);
            let rows = weights(picture.height(), height, y);
            let mut sums = [0.0; 3];
            for (x, y, pixel) in picture.enumerate_pixels() {
                let weight = columns[x as usize] * rows[y as usize];
                for (sum, value) in sums.iter_mut().zip(pixel.0) {
                    *sum += weight * f64::from(value);
                }
            }
            Rgb(sums.map(|sum| (sum + 0.5) as u8))
        })
    }

    #[test]
    fn kernels_below_zero_agree_with_pillow_to_the_last_bit() {
        for (folder, kernel) in [("lanczos", Kernel::Lanczos), ("bicubic", Kernel::Cubic)] {
            let cases = reference::cases(folder);
            assert!(!cases.is_empty());
            for [name, size] in cases {
                let (width, height) = reference::size(&size);
                let made = resize(&reference::picture(&name), width, height, kernel);
                let expected = reference::picture(&format!("{folder}/{name}/{size}"));
                reference::assert_equal(&made, &expected, &format!("{folder} {name} {size}"));
            }
        }
    }

    fn largest_difference(one: &RgbImage, other: &RgbImage) -> u8 {
        assert_eq!(one.dimensions(), other.dimensions());
        let pairs = one.iter().zip(other.iter());
        pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
    }

    fn any_picture() -> impl Strategy<Value = RgbImage> {
        (1..40_u32, 1..40_u32).prop_flat_map(|(width, height)| {
            let samples = prop::collection::vec(any::<u8>(), (width * height * 3) as usize);
            samples.prop_map(move |samples| RgbImage::from_raw(width, height, samples).unwrap())
        })
    }

    proptest! {
        #[test]
        fn a_picture_is_resized_as_defined(
            picture in any_picture(),
            (width, height) in (1..60_u32, 1..60_u32),
        ) {
            let resized = resize(&picture, width, height, Kernel::Triangle);
            let expected = by_definition(&picture, width, height, Kernel::Triangle);
            prop_assert!(largest_difference(&resized, &expected) <= 1);
        }

        // Of other factors, whether a pixel lies in a box is decided by the last bit of its place.
        #[test]
        fn a_picture_is_shrunk_to_boxes_of_whole_pixels(
            (width, height) in (1..12_u32, 1..12_u32),
            (across, down) in (1..5_u32, 1..5_u32),
            seed in any::<u8>(),
        ) {
            let picture = RgbImage::from_fn(width * across, height * down, |x, y| {
                Rgb([x, y, x * y].map(|value| (value * 37) as u8 ^ seed))
            });
            let resized = resize(&picture, width, height, Kernel::Box);
            let expected = by_definition(&picture, width, height, Kernel::Box);
            prop_assert!(largest_difference(&resized, &expected) <= 1);
        }

        #[test]
        fn a_part_is_cut_from_the_whole(
            picture in any_picture(),
            (width, height) in (1..60_u32, 1..60_u32),
            (left, top) in (0..70_u32, 0..70_u32),
            (part_width, part_height) in (0..70_u32, 0..70_u32),
            kernel in prop_oneof![Just(Kernel::Triangle), Just(Kernel::Box)],
        ) {
            let part = Window { left, top, width: part_width, height: part_height };
            let cut = resize_part(&picture, width, height, kernel, part);
            let whole = resize(&picture, width, height, kernel);
            let place = part.within(width, height);
            prop_assert_eq!(cut.dimensions(), (place.width, place.height));
            for (x, y, pixel) in cut.enumerate_pixels() {
                prop_assert_eq!(pixel, whole.get_pixel(place.left + x, place.top + y));
            }
        }
    }

    #[test]
    fn a_side_that_keeps_its_length_stays_in_its_place_under_every_kernel() {
        let picture = RgbImage::from_fn(20, 20, |x, y| {
            Rgb([x, y, x ^ y].map(|value| (value * 8) as u8))
        });
        let sizes = [(20, 20), (20, 33), (33, 20), (20, 7), (7, 20)];
        for kernel in [Kernel::Triangle, Kernel::Cubic, Kernel::Lanczos] {
            for (width, height) in sizes {
                let resized = resize(&picture, width, height, kernel);
                let expected = by_definition(&picture, width, height, kernel);
                assert!(
                    largest_difference(&resized, &expected) <= 2,
                    "{kernel:?} {width}x{height}"
                );
            }
        }
    }

    #[test]
    fn a_picture_of_its_own_size_stays_as_it_is() {
        let picture = crate::imaging::samples::picture(33, 21);
        assert_eq!(resize(&picture, 33, 21, Kernel::Triangle), picture);
        assert_eq!(resize(&picture, 33, 21, Kernel::Box), picture);
        // A kernel reaches for the next column, and with an unchanged width nothing is made of it.
        let part = Window {
            left: 4,
            top: 0,
            width: 5,
            height: 9,
        };
        let cut = resize_part(&picture, 33, 9, Kernel::Triangle, part);
        let whole = resize(&picture, 33, 9, Kernel::Triangle);
        for (x, y, pixel) in cut.enumerate_pixels() {
            assert_eq!(pixel, whole.get_pixel(4 + x, y));
        }
    }

    #[test]
    fn a_box_of_whole_pixels_is_their_mean() {
        let picture = RgbImage::from_fn(4, 2, |x, y| Rgb([(10 * x + y) as u8, 0, 255]));
        let half = resize(&picture, 2, 1, Kernel::Box);
        // (0 + 10 + 1 + 11) / 4 and (20 + 30 + 21 + 31) / 4, halves upwards.
        assert_eq!(half.as_raw(), &[6, 0, 255, 26, 0, 255]);
    }

    #[test]
    fn nothing_is_read_outside_of_an_empty_picture() {
        let empty = RgbImage::new(0, 0);
        let resized = resize(&empty, 3, 2, Kernel::Triangle);
        assert_eq!(resized, RgbImage::new(3, 2));
        let picture = crate::imaging::samples::picture(5, 5);
        assert_eq!(resize(&picture, 0, 0, Kernel::Box).dimensions(), (1, 1));
    }
}
