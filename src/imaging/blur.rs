//! Masks with soft edges.
//!
//! [`gaussian_blur`] is what the web UI does to a mask before it is used: OpenCV's `GaussianBlur` of 8-bit
//! samples once along the rows and once along the columns, to the last bit. [`box_blur`] is OpenCV's
//! `blur`. Beyond the border a mask goes on mirrored, without repeating the outermost pixel.

use image::GrayImage;

/// Largest standard deviation of a Gaussian blur, in pixels. Weights have 8 bits behind the point, so
/// the bell becomes a rough heap long before; beyond this the middle could fall below zero.
pub const SIGMA_MAX_PIXELS: f64 = 100.0;
/// Furthest reach of a bell that is given by its reach, for the same reason.
pub const REACH_MAX_PIXELS: u32 = 330;
/// Longest side of a box, in pixels; a longer one counts as this.
pub const BOX_MAX_PIXELS: u32 = 4096;

/// Samples of a mean up to which the reciprocal is used.
const COUNT_MAX: u64 = 256;
/// Bits of the reciprocal of a count.
const RECIPROCAL_BITS: u32 = 23;
/// Bits behind the point of a weight.
const WEIGHT_BITS: u32 = 8;
/// The sum of all weights.
const ONE: i64 = 1 << WEIGHT_BITS;
/// What is added before the fraction is cut off.
const HALF: u32 = 1 << (WEIGHT_BITS - 1);

/// Why a mask is not blurred.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum BlurError {
    /// The width of the bell is no number or too large.
    #[error("a blur of {0} pixels is out of range; use 0 to {SIGMA_MAX_PIXELS}")]
    OutOfRange(f64),
}

/// The mask under a bell of these standard deviations in pixels, cut off at about 2.5 of them.
///
/// An axis whose deviation is zero or below stays sharp. The bell has `2 * floor(2.5 * sigma + 0.5) + 1`
/// weights.
pub fn gaussian_blur(mask: &GrayImage, sigma_x: f64, sigma_y: f64) -> Result<GrayImage, BlurError> {
    for sigma in [sigma_x, sigma_y] {
        if sigma.is_nan() || sigma > SIGMA_MAX_PIXELS {
            return Err(BlurError::OutOfRange(sigma));
        }
    }
    let mut blurred = mask.clone();
    if mask.is_empty() {
        return Ok(blurred);
    }
    if sigma_x > 0.0 {
        blurred = across(&blurred, &Bell::of(sigma_x));
    }
    if sigma_y > 0.0 {
        blurred = down(&blurred, &Bell::of(sigma_y));
    }
    Ok(blurred)
}

/// The mask under a bell that reaches so many pixels to each side, with the deviation that OpenCV gives a
/// kernel of that size: `0.3 * (reach - 1) + 0.8`. A reach of 0 changes nothing, one above
/// [`REACH_MAX_PIXELS`] counts as that; for one below 5 OpenCV has other weights.
pub fn gaussian_blur_within(mask: &GrayImage, reach: u32) -> GrayImage {
    let reach = reach.min(REACH_MAX_PIXELS);
    if reach == 0 || mask.is_empty() {
        return mask.clone();
    }
    let bell = Bell::within(0.3 * (f64::from(reach) - 1.0) + 0.8, reach as usize);
    down(&across(mask, &bell), &bell)
}

/// The weights of a Gaussian blur.
struct Bell {
    /// How far the outermost weights are from the middle.
    reach: usize,
    /// Places, counted from the outermost weight before the middle, and weights other than zero.
    weights: Vec<(usize, u32)>,
}

impl Bell {
    /// `exp(-x^2 / (2 * sigma^2))` at whole numbers, scaled to a sum of one and rounded so that each
    /// weight takes over the rounding error of its outer neighbour and the middle takes the rest.
    fn of(sigma: f64) -> Self {
        Self::within(sigma, (2.5 * sigma + 0.5) as usize)
    }

    /// The same, cut off at another distance.
    fn within(sigma: f64, reach: usize) -> Self {
        let scale = -0.125 / (sigma * sigma);
        // Distances are doubled, as the eighth shows: OpenCV's even bells need the halves.
        let values: Vec<f64> = (0..reach)
            .map(|place| {
                let doubled = 2.0 * (reach - place) as f64;
                (doubled * doubled * scale).exp()
            })
            .collect();
        let total = 1.0 / (2.0 * values.iter().sum::<f64>() + 1.0);
        let mut error = 0.0;
        let mut side = Vec::with_capacity(reach);
        for value in values {
            let exact = value * total * ONE as f64 + error;
            let rounded = exact.round_ties_even();
            error = exact - rounded;
            side.push(rounded as i64);
        }
        let middle = ONE - 2 * side.iter().sum::<i64>();
        let all = side.iter().chain([&middle]).chain(side.iter().rev());
        let weights = all
            .enumerate()
            .filter_map(|(place, weight)| Some((place, u32::try_from(*weight).ok()?)))
            .filter(|(_, weight)| *weight > 0)
            .collect();
        Self { reach, weights }
    }
}

fn across(mask: &GrayImage, bell: &Bell) -> GrayImage {
    let width = mask.width() as usize;
    let mut blurred = GrayImage::new(mask.width(), mask.height());
    let places: Vec<usize> = (0..width + 2 * bell.reach)
        .map(|place| mirrored(place as i64 - bell.reach as i64, width))
        .collect();
    let mut line = Vec::with_capacity(places.len());
    let mut sums = vec![HALF; width];
    let rows = mask.chunks_exact(width);
    for (row, to) in rows.zip(blurred.chunks_exact_mut(width)) {
        line.clear();
        line.extend(places.iter().map(|place| row[*place]));
        sums.fill(HALF);
        for (place, weight) in &bell.weights {
            add(&mut sums, &line[*place..], *weight);
        }
        cut(&sums, to);
    }
    blurred
}

fn down(mask: &GrayImage, bell: &Bell) -> GrayImage {
    let (width, height) = (mask.width() as usize, mask.height() as usize);
    let mut blurred = GrayImage::new(mask.width(), mask.height());
    let mut sums = vec![HALF; width];
    for (y, to) in blurred.chunks_exact_mut(width).enumerate() {
        sums.fill(HALF);
        for (place, weight) in &bell.weights {
            let source = mirrored((y + place) as i64 - bell.reach as i64, height);
            add(&mut sums, &mask.as_raw()[source * width..], *weight);
        }
        cut(&sums, to);
    }
    blurred
}

fn add(sums: &mut [u32], samples: &[u8], weight: u32) {
    for (sum, sample) in sums.iter_mut().zip(samples) {
        *sum += weight * u32::from(*sample);
    }
}

fn cut(sums: &[u32], to: &mut [u8]) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to = (sum >> WEIGHT_BITS).min(255) as u8;
    }
}

/// The place along an axis that is seen at `place`, which may lie beyond the ends.
fn mirrored(place: i64, length: usize) -> usize {
    if length <= 1 {
        return 0;
    }
    let period = 2 * length as i64 - 2;
    let place = place.rem_euclid(period);
    place.min(period - place) as usize
}

/// The mean of a square of `size` pixels around each pixel. The pixel itself stands at `size / 2` in
/// it, so an even square reaches further up and left. A size of zero counts as one.
pub fn box_blur(mask: &GrayImage, size: u32) -> GrayImage {
    let size = size.clamp(1, BOX_MAX_PIXELS) as usize;
    let (width, height) = (mask.width() as usize, mask.height() as usize);
    let mut blurred = GrayImage::new(mask.width(), mask.height());
    if mask.is_empty() {
        return blurred;
    }
    // Sums along the rows, then moving sums of those along the columns.
    let mut row_sums = vec![0; width * height];
    let rows = mask.chunks_exact(width);
    for (row, sums) in rows.zip(row_sums.chunks_exact_mut(width)) {
        let at = |place: i64| u64::from(row[mirrored(place, width)]);
        let before = (size / 2) as i64;
        let mut sum: u64 = (0..size as i64).map(|place| at(place - before)).sum();
        for (x, to) in (0..).zip(sums) {
            *to = sum;
            sum = sum + at(x - before + size as i64) - at(x - before);
        }
    }
    let line = |place: i64| &row_sums[mirrored(place, height) * width..][..width];
    let before = (size / 2) as i64;
    let mut sums = vec![0_u64; width];
    for place in 0..size as i64 {
        let lines = line(place - before);
        sums.iter_mut()
            .zip(lines)
            .for_each(|(sum, new)| *sum += new);
    }
    let mean = mean_of((size * size) as u64);
    for (y, to) in (0..).zip(blurred.chunks_exact_mut(width)) {
        let lines = line(y - before + size as i64).iter().zip(line(y - before));
        for ((to, sum), (new, old)) in to.iter_mut().zip(&mut sums).zip(lines) {
            *to = mean(*sum);
            *sum = *sum + new - old;
        }
    }
    blurred
}

/// How a sum of so many samples is divided.
///
/// Up to 256 of them OpenCV multiplies with a rounded reciprocal and adds half of the count, and one
/// more where the reciprocal is too small. Of a power of two it is exact, and then a mean is rounded up
/// that lies one part of the count below one half.
fn mean_of(count: u64) -> impl Fn(u64) -> u8 {
    let reciprocal = (1 << RECIPROCAL_BITS) / count;
    let is_rounded_up = 2 * ((1 << RECIPROCAL_BITS) % count) >= count;
    let scale = 1.0 / count as f64;
    move |sum| match (count <= COUNT_MAX, is_rounded_up) {
        (true, true) => (((sum + count / 2) * (reciprocal + 1)) >> RECIPROCAL_BITS) as u8,
        (true, false) => (((sum + count / 2 + 1) * reciprocal) >> RECIPROCAL_BITS) as u8,
        (false, _) => (sum as f64 * scale).round_ties_even() as u8,
    }
}

#[cfg(test)]
mod tests {
    use image::Luma;
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::reference;

    #[test]
    fn a_bell_blurs_as_opencv_does_to_the_last_bit() {
        let cases = reference::cases("gauss");
        assert!(cases.len() > 6);
        for [name, sigmas] in cases {
            let [x, y] = reference::numbers(&sigmas)[..] else {
                panic!("{sigmas}");
            };
            let blurred = gaussian_blur(&reference::mask(&name), x, y).unwrap();
            let expected = reference::mask(&format!("gauss/{name}/{sigmas}"));
            reference::assert_equal(&blurred, &expected, &format!("{name} {sigmas}"));
        }
    }

    #[test]
    fn a_box_blurs_as_opencv_does_to_the_last_bit() {
        let cases = reference::cases("box");
        assert!(cases.len() > 4);
        for [name, size] in cases {
            let blurred = box_blur(&reference::mask(&name), size.parse().unwrap());
            let expected = reference::mask(&format!("box/{name}/{size}"));
            reference::assert_equal(&blurred, &expected, &format!("{name} by {size}"));
        }
    }

    #[test]
    fn weights_are_one_in_all_up_to_the_widest_bell() {
        for tenth in 1..=10 * SIGMA_MAX_PIXELS as u32 {
            let bell = Bell::of(f64::from(tenth) / 10.0);
            let sum: u32 = bell.weights.iter().map(|(_, weight)| weight).sum();
            assert_eq!(i64::from(sum), ONE, "sigma of {tenth} tenths");
            assert!(bell.weights.iter().any(|(place, _)| *place == bell.reach));
        }
    }

    #[test]
    fn a_blur_that_is_too_wide_is_refused() {
        let mask = GrayImage::new(3, 3);
        for sigma in [100.5, f64::INFINITY, f64::NAN] {
            assert!(gaussian_blur(&mask, sigma, 1.0).is_err(), "{sigma}");
            assert!(gaussian_blur(&mask, 1.0, sigma).is_err(), "{sigma}");
        }
    }

    proptest! {
        #[test]
        fn a_plain_mask_of_any_size_stays_plain(
            (width, height) in (0..12_u32, 0..12_u32),
            level in any::<u8>(),
            (x, y) in (-1.0..100.0_f64, -1.0..100.0_f64),
            size in any::<u32>(),
        ) {
            let mask = GrayImage::from_pixel(width, height, Luma([level]));
            prop_assert_eq!(&gaussian_blur(&mask, x, y).unwrap(), &mask);
            prop_assert_eq!(&box_blur(&mask, size), &mask);
        }
    }
}
