//! What stands under a mask before it is made anew: the colours around it.
//!
//! This is the web UI's masked content "fill". The picture without what the mask hides is blurred more
//! and more finely, and each layer is laid over the ones before. Near the mask's edge the fine layers
//! show, deep inside only the coarse ones reach.
//!
//! Layers are blurred as Pillow's `GaussianBlur` does it, to the last bit: by three means over a
//! stretch of pixels along the rows and three along the columns (Gwosdek and others 2011), on 8-bit
//! samples.

use image::{GrayImage, Rgb, RgbImage};

use super::compose::{Transparent, over, premultiplied, straight};

/// The standard deviation of each layer's blur in pixels, and how often it is laid on.
const LAYERS: [(f32, u32); 6] = [
    (256.0, 1),
    (64.0, 1),
    (16.0, 2),
    (4.0, 4),
    (2.0, 2),
    (0.0, 1),
];
/// Means that make up one blur along an axis.
const PASSES: u16 = 3;
/// Bits behind the point of a weight.
const WEIGHT_BITS: u32 = 24;

/// The picture with what the mask hides (255 hides all) replaced by the colours around it.
///
/// Pixels without a mask are not hidden. If the mask hides everything, the result is black.
pub fn fill(picture: &RgbImage, mask: &GrayImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    let seen: Vec<Transparent> = picture
        .enumerate_pixels()
        .map(|(x, y, pixel)| {
            let hidden = mask.get_pixel_checked(x, y).map_or(0, |level| level.0[0]);
            premultiplied(pixel.0, 255 - hidden)
        })
        .collect();
    let mut filled = vec![[0; 4]; seen.len()];
    for (sigma, times) in LAYERS {
        let layer = blurred(&seen, width as usize, height as usize, sigma);
        for (to, above) in filled.iter_mut().zip(layer) {
            let above = straight(above);
            for _ in 0..times {
                *to = over(*to, above);
            }
        }
    }
    RgbImage::from_fn(width, height, |x, y| {
        let [color @ .., _] = filled[y as usize * width as usize + x as usize];
        Rgb(color)
    })
}

fn blurred(pixels: &[Transparent], width: usize, height: usize, sigma: f32) -> Vec<Transparent> {
    if sigma == 0.0 || pixels.is_empty() {
        return pixels.to_vec();
    }
    let stretch = Stretch::of(sigma);
    let mut lines = pixels.to_vec();
    stretch.blur_lines(&mut lines, width);
    let mut columns = turned(&lines, width, height);
    stretch.blur_lines(&mut columns, height);
    turned(&columns, height, width)
}

/// Rows become columns.
fn turned(pixels: &[Transparent], width: usize, height: usize) -> Vec<Transparent> {
    (0..width)
        .flat_map(|x| (0..height).map(move |y| pixels[y * width + x]))
        .collect()
}

/// The pixels of one mean: so many to each side, and a fraction of one more.
struct Stretch {
    reach: usize,
    /// Of each pixel within reach.
    weight: u32,
    /// Of the two pixels beyond.
    far_weight: u32,
}

impl Stretch {
    /// The stretch whose [`PASSES`]-fold mean varies as much as a bell of this standard deviation.
    fn of(sigma: f32) -> Self {
        let variance = sigma * sigma / f32::from(PASSES);
        let length = (12.0 * f64::from(variance) + 1.0).sqrt() as f32;
        let whole = ((length - 1.0) / 2.0).floor();
        let next = whole + 1.0;
        let share = (2.0 * whole + 1.0) * (whole * next - 3.0 * variance)
            / (6.0 * (variance - next * next));
        let radius = whole + share;
        let one = 1_u32 << WEIGHT_BITS;
        let reach = radius as u32;
        let weight = (one as f32 / (radius * 2.0 + 1.0)) as u32;
        Self {
            reach: reach as usize,
            weight,
            far_weight: (one - (reach * 2 + 1) * weight) / 2,
        }
    }

    fn blur_lines(&self, pixels: &mut [Transparent], length: usize) {
        let mut source = Vec::with_capacity(length);
        for line in pixels.chunks_exact_mut(length) {
            for _ in 0..PASSES {
                source.clear();
                source.extend_from_slice(line);
                self.mean(&source, line);
            }
        }
    }

    /// One mean along a line. Beyond its ends the outermost pixels go on.
    fn mean(&self, source: &[Transparent], to: &mut [Transparent]) {
        let last = source.len() - 1;
        let before = |place: usize| source[place.saturating_sub(self.reach + 1)];
        let behind = |place: usize| source[(place + self.reach).min(last)];
        let beyond = |place: usize| source[(place + self.reach + 1).min(last)];
        // The sum for the place before the first: its own and all to the left are the first pixel.
        let mut sums = source[0].map(|sample| u32::from(sample) * (self.reach as u32 + 1));
        for place in 0..self.reach {
            add(&mut sums, source[place.min(last)]);
        }
        for (place, to) in to.iter_mut().enumerate() {
            let (old, far) = (before(place), beyond(place));
            add(&mut sums, behind(place));
            for (sum, sample) in sums.iter_mut().zip(old) {
                *sum -= u32::from(sample);
            }
            for (channel, to) in to.iter_mut().enumerate() {
                let far = u32::from(old[channel]) + u32::from(far[channel]);
                // All weights together are at most one, so 255 of them and a half fit into 32 bits.
                let sum = sums[channel] * self.weight + far * self.far_weight;
                *to = ((sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS) as u8;
            }
        }
    }
}

fn add(sums: &mut [u32; 4], pixel: Transparent) {
    for (sum, sample) in sums.iter_mut().zip(pixel) {
        *sum += u32::from(sample);
    }
}

#[cfg(test)]
mod tests {
    use image::Luma;
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::{blur::gaussian_blur, reference};

    #[test]
    fn the_hidden_is_filled_as_pillow_fills_it_to_the_last_bit() {
        let cases = reference::cases("fill");
        assert!(cases.len() > 1);
        for [name, sigma] in cases {
            let sigma: f64 = sigma.parse().unwrap();
            let mask = reference::mask(&format!("{name}_mask"));
            let mask = gaussian_blur(&mask, sigma, sigma).unwrap();
            let filled = fill(&reference::picture(&name), &mask);
            let expected = reference::picture(&format!("fill/{name}/{sigma}"));
            reference::assert_equal(&filled, &expected, &format!("{name} {sigma}"));
        }
    }

    #[test]
    fn what_is_not_hidden_stays() {
        let picture = reference::picture("small");
        assert_eq!(fill(&picture, &GrayImage::new(37, 29)), picture);
        assert_eq!(fill(&picture, &GrayImage::new(0, 0)), picture);
        let all = GrayImage::from_pixel(37, 29, Luma([255]));
        assert_eq!(fill(&picture, &all), RgbImage::new(37, 29));
    }

    #[test]
    fn a_hole_in_one_color_gets_about_that_color() {
        let picture = RgbImage::from_pixel(40, 40, Rgb([200, 90, 30]));
        let hole = |x: u32, y: u32| (8..32).contains(&x) && (8..32).contains(&y);
        let mask = GrayImage::from_fn(40, 40, |x, y| Luma([if hole(x, y) { 255 } else { 0 }]));
        for pixel in fill(&picture, &mask).pixels() {
            for (made, given) in pixel.0.into_iter().zip([200_u8, 90, 30]) {
                // Premultiplied samples of 8 bits are coarse where little is seen.
                assert!(made.abs_diff(given) <= 12, "{pixel:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn pictures_of_any_size_are_filled(
            (width, height) in (0..7_u32, 0..7_u32),
            seed in any::<u32>(),
        ) {
            let picture = RgbImage::from_fn(width, height, |x, y| Rgb([(x * 90 + y) as u8; 3]));
            let mask = GrayImage::from_fn(width, height, |x, y| {
                Luma([seed.rotate_left(x + 5 * y) as u8])
            });
            prop_assert_eq!(fill(&picture, &mask).dimensions(), (width, height));
        }
    }
}
