//! The way back of normalizations.
//!
//! With the normal numbers `n = (x - mean) / deviation` and what arrives at them, `g = scale * u` with
//! the gradient `u` of `scale * n + shift`:
//!
//! ```text
//! gradient of x = (g - mean of g - n * mean of g n) / deviation
//! ```

use pulp::Simd;

use crate::models::cpu::norm::{Line, Pieces, Statistic, group_statistics, total};
use crate::models::cpu::pointwise::{PIECE, in_pieces};
use crate::models::cpu::vector::swish_slope;

/// Fills `out` with the gradient of the input of [`crate::models::cpu::group_norm`], whose other
/// arguments are these, given `gradient`, that of its output.
///
/// Three passes: over the input for its mean and deviation, over both for the means of `g` and `g n`,
/// and over both for the result.
#[expect(
    clippy::too_many_arguments,
    reason = "those of the way there, and the gradient"
)]
pub fn group_norm_back(
    input: &[f32],
    gradient: &[f32],
    sizes: [usize; 3],
    groups: usize,
    affine: [&[f32]; 2],
    epsilon: f32,
    silu: bool,
    out: &mut [f32],
) {
    let [_, pixels, channels] = sizes;
    assert_eq!(input.len(), gradient.len(), "each number has a gradient");
    assert_eq!(input.len(), out.len(), "each number has an output");
    let statistics = group_statistics(input, sizes, groups, epsilon);
    if out.is_empty() {
        return;
    }
    let maps: Vec<Picture> = statistics
        .chunks(groups)
        .map(|groups| Picture::new(groups, affine))
        .collect();
    let pieces = Pieces::new(pixels, channels);
    let sums = pieces.map(input, |index| {
        pulp::Arch::new().dispatch(Measure {
            input: pieces.part(input, index),
            gradient: pieces.part(gradient, index),
            picture: &maps[index / pieces.count],
            silu,
        })
    });
    let planes: Vec<Plane> = sums
        .chunks(pieces.count)
        .zip(&maps)
        .zip(statistics.chunks(groups))
        .map(|((sums, picture), groups)| Plane::new(sums, picture, groups, affine[0], pixels))
        .collect();
    pieces.each(out, |index, out| {
        let n = index / pieces.count;
        pulp::Arch::new().dispatch(Apply {
            input: pieces.part(input, index),
            gradient: pieces.part(gradient, index),
            line: &maps[n].line,
            plane: &planes[n],
            silu,
            out,
        });
    });
}

/// Fills `out` with the gradient of the input of [`crate::models::cpu::layer_norm`], given that of its
/// output. The shift does not matter.
pub fn layer_norm_back(
    input: &[f32],
    gradient: &[f32],
    scale: &[f32],
    epsilon: f32,
    out: &mut [f32],
) {
    let channels = scale.len();
    assert_eq!(input.len(), gradient.len(), "each number has a gradient");
    assert_eq!(input.len(), out.len(), "each number has an output");
    if out.is_empty() {
        return;
    }
    let tokens = (PIECE / channels).max(1);
    in_pieces(out, tokens * channels, |first, out| {
        pulp::Arch::new().dispatch(Tokens {
            input: &input[first..][..out.len()],
            gradient: &gradient[first..][..out.len()],
            scale,
            epsilon,
            out,
        });
    });
}

/// What the way there did with a picture.
struct Picture {
    /// One number per channel.
    line: Line,
    /// The mean of each channel's group.
    center: Vec<f32>,
}

impl Picture {
    fn new(groups: &[Statistic], affine: [&[f32]; 2]) -> Self {
        let width = affine[0].len() / groups.len();
        let means = groups.iter().map(|group| group.mean as f32);
        Self {
            line: Line::new(groups, affine),
            center: means.flat_map(|mean| vec![mean; width]).collect(),
        }
    }
}

/// For each channel of a piece: the sum of `u` and of `u` times the number less its center.
struct Sums {
    plain: Vec<f32>,
    product: Vec<f32>,
}

struct Measure<'a> {
    input: &'a [f32],
    gradient: &'a [f32],
    picture: &'a Picture,
    silu: bool,
}

impl pulp::WithSimd for Measure<'_> {
    type Output = Sums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Sums {
        let channels = self.picture.center.len();
        let mut sums = Sums {
            plain: vec![0.0; channels],
            product: vec![0.0; channels],
        };
        let wide = 4 * S::F32_LANES;
        let mut first = 0;
        while first < channels {
            let width = match channels - first {
                rest if rest >= wide => wide,
                rest => rest.min(S::F32_LANES),
            };
            match (width == wide, self.silu) {
                (true, true) => self.wide::<S, true>(simd, first, &mut sums),
                (true, false) => self.wide::<S, false>(simd, first, &mut sums),
                (false, true) => self.narrow::<S, true>(simd, first..first + width, &mut sums),
                (false, false) => self.narrow::<S, false>(simd, first..first + width, &mut sums),
            }
            first += width;
        }
        sums
    }
}

impl Measure<'_> {
    /// Four vectors of channels.
    #[inline(always)]
    fn wide<S: Simd, const SILU: bool>(&self, simd: S, first: usize, to: &mut Sums) {
        let zero = simd.splat_f32s(0.0);
        let four = |numbers: &[f32]| {
            let (vectors, _) = S::as_simd_f32s(&numbers[first..][..4 * S::F32_LANES]);
            [vectors[0], vectors[1], vectors[2], vectors[3]]
        };
        let [scales, shifts, centers] = [
            four(&self.picture.line.scale),
            four(&self.picture.line.shift),
            four(&self.picture.center),
        ];
        let (mut plain, mut product) = ([zero; 4], [zero; 4]);
        let channels = self.picture.center.len();
        let gradients = self.gradient.chunks_exact(channels);
        for (pixel, gradient) in self.input.chunks_exact(channels).zip(gradients) {
            let (pixel, _) = S::as_simd_f32s(&pixel[first..][..4 * S::F32_LANES]);
            let (gradient, _) = S::as_simd_f32s(&gradient[first..][..4 * S::F32_LANES]);
            for i in 0..4 {
                let x = pixel[i];
                let u = before::<S, SILU>(simd, x, gradient[i], scales[i], shifts[i]);
                plain[i] = simd.add_f32s(plain[i], u);
                let x = simd.sub_f32s(x, centers[i]);
                product[i] = simd.mul_add_f32s(u, x, product[i]);
            }
        }
        let (vectors, _) = S::as_mut_simd_f32s(&mut to.plain[first..][..4 * S::F32_LANES]);
        vectors.copy_from_slice(&plain);
        let (vectors, _) = S::as_mut_simd_f32s(&mut to.product[first..][..4 * S::F32_LANES]);
        vectors.copy_from_slice(&product);
    }

    /// At most one vector of channels.
    #[inline(always)]
    fn narrow<S: Simd, const SILU: bool>(
        &self,
        simd: S,
        range: std::ops::Range<usize>,
        to: &mut Sums,
    ) {
        let load = |numbers: &[f32]| simd.partial_load_f32s(&numbers[range.clone()]);
        let scale = load(&self.picture.line.scale);
        let shift = load(&self.picture.line.shift);
        let center = load(&self.picture.center);
        let mut plain = simd.splat_f32s(0.0);
        let mut product = plain;
        let channels = self.picture.center.len();
        let gradients = self.gradient.chunks_exact(channels);
        for (pixel, gradient) in self.input.chunks_exact(channels).zip(gradients) {
            let x = load(pixel);
            let u = before::<S, SILU>(simd, x, load(gradient), scale, shift);
            plain = simd.add_f32s(plain, u);
            product = simd.mul_add_f32s(u, simd.sub_f32s(x, center), product);
        }
        simd.partial_store_f32s(&mut to.plain[range.clone()], plain);
        simd.partial_store_f32s(&mut to.product[range], product);
    }
}

/// The gradient before SiLU, if there is one, from that after it.
#[inline(always)]
fn before<S: Simd, const SILU: bool>(
    simd: S,
    x: S::f32s,
    gradient: S::f32s,
    scale: S::f32s,
    shift: S::f32s,
) -> S::f32s {
    if SILU {
        let y = simd.mul_add_f32s(x, scale, shift);
        simd.mul_f32s(gradient, swish_slope(simd, y, 1.0))
    } else {
        gradient
    }
}

/// What is left of the way back: factors of `u` and of the number less its center, and an addend, for
/// each channel.
struct Plane {
    slope: Vec<f32>,
    addend: Vec<f32>,
    center: Vec<f32>,
}

impl Plane {
    fn new(
        sums: &[Sums],
        picture: &Picture,
        groups: &[Statistic],
        scale: &[f32],
        pixels: usize,
    ) -> Self {
        let channels = scale.len();
        let width = channels / groups.len();
        let mut plane = Self {
            slope: Vec::with_capacity(channels),
            addend: Vec::with_capacity(channels),
            center: picture.center.clone(),
        };
        for (group, statistic) in groups.iter().enumerate() {
            let (mut plain, mut product) = (0.0, 0.0);
            let range = group * width..(group + 1) * width;
            // The center is the mean rounded; what it is off is known.
            let offset = statistic.mean - f64::from(statistic.mean as f32);
            for piece in sums {
                for channel in range.clone() {
                    let factor = f64::from(scale[channel]);
                    let own = f64::from(piece.plain[channel]);
                    plain += factor * own;
                    product += factor * (f64::from(piece.product[channel]) - offset * own);
                }
            }
            let count = (pixels * width) as f64;
            let inverse = statistic.inverse;
            let slope = -inverse.powi(3) * product / count;
            let addend = -inverse * plain / count - slope * offset;
            plane.slope.extend(range.clone().map(|_| slope as f32));
            plane.addend.extend(range.map(|_| addend as f32));
        }
        plane
    }
}

struct Apply<'a> {
    input: &'a [f32],
    gradient: &'a [f32],
    line: &'a Line,
    plane: &'a Plane,
    silu: bool,
    out: &'a mut [f32],
}

impl pulp::WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.silu {
            self.each::<S, true>(simd);
        } else {
            self.each::<S, false>(simd);
        }
    }
}

impl Apply<'_> {
    #[inline(always)]
    fn each<S: Simd, const SILU: bool>(self, simd: S) {
        let (line, plane) = (self.line, self.plane);
        let channels = line.scale.len();
        let known = [
            &line.scale,
            &line.shift,
            &plane.slope,
            &plane.addend,
            &plane.center,
        ];
        let known = known.map(|numbers| S::as_simd_f32s(numbers));
        let pixels = self.input.chunks_exact(channels);
        let pixels = pixels.zip(self.gradient.chunks_exact(channels));
        for (out, (pixel, gradient)) in self.out.chunks_exact_mut(channels).zip(pixels) {
            let (pixel, pixel_rest) = S::as_simd_f32s(pixel);
            let (gradient, gradient_rest) = S::as_simd_f32s(gradient);
            let (out, rest) = S::as_mut_simd_f32s(out);
            let vectors = out.len();
            let known_vectors = known.map(|(numbers, _)| &numbers[..vectors]);
            let numbers = pixel.iter().zip(gradient);
            for (i, (out, (x, gradient))) in out.iter_mut().zip(numbers).enumerate() {
                let known = known_vectors.map(|numbers| numbers[i]);
                *out = plain::<S, SILU>(simd, *x, *gradient, known);
            }
            if !rest.is_empty() {
                let x = simd.partial_load_f32s(pixel_rest);
                let gradient = simd.partial_load_f32s(gradient_rest);
                let known = known.map(|(_, rest)| simd.partial_load_f32s(rest));
                let number = plain::<S, SILU>(simd, x, gradient, known);
                simd.partial_store_f32s(rest, number);
            }
        }
    }
}

/// The gradient of a number. Known are scale and shift, slope, addend and center.
#[inline(always)]
fn plain<S: Simd, const SILU: bool>(
    simd: S,
    x: S::f32s,
    gradient: S::f32s,
    [scale, shift, slope, addend, center]: [S::f32s; 5],
) -> S::f32s {
    let u = before::<S, SILU>(simd, x, gradient, scale, shift);
    let sum = simd.mul_add_f32s(simd.sub_f32s(x, center), slope, addend);
    simd.mul_add_f32s(u, scale, sum)
}

struct Tokens<'a> {
    input: &'a [f32],
    gradient: &'a [f32],
    scale: &'a [f32],
    epsilon: f32,
    out: &'a mut [f32],
}

impl pulp::WithSimd for Tokens<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.scale.len();
        let share = 1.0 / channels as f32;
        let gradients = self.gradient.chunks_exact(channels);
        let tokens = self.input.chunks_exact(channels).zip(gradients);
        let (scale, scale_rest) = S::as_simd_f32s(self.scale);
        for (out, (input, gradient)) in self.out.chunks_exact_mut(channels).zip(tokens) {
            let mean = total(simd, input, 0.0, |_, x| x) * share;
            let center = simd.splat_f32s(mean);
            let square = total(simd, input, mean, |simd, x| {
                let x = simd.sub_f32s(x, center);
                simd.mul_f32s(x, x)
            });
            let inverse = 1.0 / (square * share + self.epsilon).sqrt();
            let (input, input_rest) = S::as_simd_f32s(input);
            let (gradient, gradient_rest) = S::as_simd_f32s(gradient);
            let (out, rest) = S::as_mut_simd_f32s(out);
            // First the scaled gradients and their sums; where a vector is not full, they are zero.
            let mut plain = simd.splat_f32s(0.0);
            let mut product = plain;
            let numbers = gradient.iter().zip(scale).zip(input);
            for (out, ((gradient, scale), x)) in out.iter_mut().zip(numbers) {
                *out = simd.mul_f32s(*gradient, *scale);
                plain = simd.add_f32s(plain, *out);
                product = simd.mul_add_f32s(*out, simd.sub_f32s(*x, center), product);
            }
            let last = simd.mul_f32s(
                simd.partial_load_f32s(gradient_rest),
                simd.partial_load_f32s(scale_rest),
            );
            let last_x = simd.sub_f32s(simd.partial_load_f32s(input_rest), center);
            plain = simd.add_f32s(plain, last);
            product = simd.mul_add_f32s(last, last_x, product);
            let plain = simd.reduce_sum_f32s(plain) * share;
            let product = simd.reduce_sum_f32s(product) * share;
            let slope = simd.splat_f32s(-inverse * inverse * inverse * product);
            let addend = simd.splat_f32s(-inverse * plain);
            let inverse = simd.splat_f32s(inverse);
            for (out, x) in out.iter_mut().zip(input) {
                let sum = simd.mul_add_f32s(simd.sub_f32s(*x, center), slope, addend);
                *out = simd.mul_add_f32s(*out, inverse, sum);
            }
            if !rest.is_empty() {
                let sum = simd.mul_add_f32s(last_x, slope, addend);
                simd.partial_store_f32s(rest, simd.mul_add_f32s(last, inverse, sum));
            }
        }
    }
}
