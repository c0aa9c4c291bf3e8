//! Normalizations: mean 0 and variance 1 over groups of channels or over each token.

use pulp::Simd;
use rayon::prelude::*;

use super::gemm::PANEL;
use super::pointwise::{PIECE, in_pieces};
use super::vector::swish;

/// Normalizes each of `groups` groups of channels over all pixels of a picture, then multiplies with
/// `scale` and adds `shift`, of one number per channel, and applies `x / (1 + e^-x)` if `silu`.
///
/// `sizes` are pictures, pixels and channels of `input` and `out`; the channels are a multiple of
/// the groups. Sums are taken around the first pixel of each piece and joined in 64-bit floats, so a
/// large mean does not hide a small variance.
pub fn group_norm(
    input: &[f32],
    sizes: [usize; 3],
    groups: usize,
    affine: [&[f32]; 2],
    epsilon: f32,
    silu: bool,
    out: &mut [f32],
) {
    let [_, pixels, channels] = sizes;
    assert_eq!(input.len(), out.len(), "each number has an output");
    let statistics = group_statistics(input, sizes, groups, epsilon);
    if out.is_empty() {
        return;
    }
    let lines: Vec<Line> = statistics
        .chunks(groups)
        .map(|groups| Line::new(groups, affine))
        .collect();
    let pieces = Pieces::new(pixels, channels);
    pieces.each(out, |index, out| {
        pulp::Arch::new().dispatch(Apply {
            input: pieces.part(input, index),
            line: &lines[index / pieces.count],
            silu,
            out,
        });
    });
}

/// The pictures of a batch, each cut into pieces of whole pixels.
pub struct Pieces {
    /// Numbers of a picture.
    picture: usize,
    /// Numbers of a piece; the last of a picture may be smaller.
    size: usize,
    /// Pieces of a picture.
    pub count: usize,
}

impl Pieces {
    /// Those of pictures of these sizes.
    pub fn new(pixels: usize, channels: usize) -> Self {
        let picture = pixels * channels;
        let size = (PIECE / channels).max(1) * channels;
        Self {
            picture,
            size,
            count: picture.div_ceil(size),
        }
    }

    /// One piece of all.
    pub fn part<'a>(&self, numbers: &'a [f32], index: usize) -> &'a [f32] {
        let (n, i) = (index / self.count, index % self.count);
        let picture = &numbers[n * self.picture..][..self.picture];
        &picture[i * self.size..][..self.size.min(self.picture - i * self.size)]
    }

    /// What `job` says of each piece of `numbers`.
    pub fn map<T: Send>(&self, numbers: &[f32], job: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
        match numbers.len() / self.picture * self.count {
            1 => vec![job(0)],
            all => (0..all).into_par_iter().map(job).collect(),
        }
    }

    /// Calls `job` for each piece of `out`.
    pub fn each(&self, out: &mut [f32], job: impl Fn(usize, &mut [f32]) + Send + Sync) {
        let parts: Vec<&mut [f32]> = out
            .chunks_mut(self.picture)
            .flat_map(|picture| picture.chunks_mut(self.size))
            .collect();
        let job = |(index, out): (usize, &mut [f32])| job(index, out);
        if parts.len() == 1 {
            parts.into_iter().enumerate().for_each(job);
        } else {
            parts.into_par_iter().enumerate().for_each(job);
        }
    }
}

/// Mean and the inverse of the standard deviation of each group of each picture.
pub fn group_statistics(
    input: &[f32],
    [batch, pixels, channels]: [usize; 3],
    groups: usize,
    epsilon: f32,
) -> Vec<Statistic> {
    let count = batch * pixels * channels;
    assert_eq!(input.len(), count, "the input has its sizes");
    assert_eq!(channels % groups, 0, "the groups are of one size");
    if input.is_empty() {
        return Vec::new();
    }
    let pieces = Pieces::new(pixels, channels);
    let moments = pieces.map(input, |index| {
        pulp::Arch::new().dispatch(Measure {
            input: pieces.part(input, index),
            channels,
        })
    });
    let width = channels / groups;
    let mut statistics = Vec::with_capacity(batch * groups);
    for moments in moments.chunks(pieces.count) {
        for first in (0..channels).step_by(width) {
            let channels = first..first + width;
            statistics.push(Statistic::new(moments, pixels, channels, epsilon));
        }
    }
    statistics
}

/// What a normalization takes from the numbers of a group.
#[derive(Clone, Copy, Debug)]
pub struct Statistic {
    /// Their mean.
    pub mean: f64,
    /// One over the root of variance plus epsilon.
    pub inverse: f64,
}

impl Statistic {
    /// That of a range of channels.
    fn new(
        moments: &[Moments],
        pixels: usize,
        channels: std::ops::Range<usize>,
        epsilon: f32,
    ) -> Self {
        // All sums around one number of the group.
        let center = f64::from(moments[0].origin[channels.start]);
        let (mut sum, mut square) = (0.0, 0.0);
        for piece in moments {
            let [own_sum, own_square] = piece.around(center, channels.clone());
            sum += own_sum;
            square += own_square;
        }
        let count = (pixels * channels.len()) as f64;
        let offset = sum / count;
        let variance = (square / count - offset * offset).max(0.0);
        Self {
            mean: center + offset,
            inverse: 1.0 / (variance + f64::from(epsilon)).sqrt(),
        }
    }
}

/// Normalizes each token of `scale.len()` numbers, then multiplies with `scale` and adds `shift`.
pub fn layer_norm(input: &[f32], affine: [&[f32]; 2], epsilon: f32, out: &mut [f32]) {
    let channels = affine[0].len();
    assert_eq!(input.len(), out.len(), "each number has an output");
    assert_eq!(affine[1].len(), channels, "scale and shift are of one size");
    if out.is_empty() {
        return;
    }
    let tokens = (PIECE / channels).max(1);
    in_pieces(out, tokens * channels, |first, out| {
        pulp::Arch::new().dispatch(Tokens {
            input: &input[first..][..out.len()],
            affine,
            epsilon,
            out,
        });
    });
}

/// For each channel of a piece: how many numbers, what was taken off them, their sum and the sum of
/// their squares.
struct Moments {
    count: usize,
    origin: Vec<f32>,
    sum: Vec<f32>,
    square: Vec<f32>,
}

impl Moments {
    /// The sum of the numbers of some channels less `center`, and of their squares.
    fn around(&self, center: f64, channels: std::ops::Range<usize>) -> [f64; 2] {
        let count = self.count as f64;
        let (origins, origins_rest) = self.origin[channels.clone()].as_chunks::<4>();
        let (sums, sums_rest) = self.sum[channels.clone()].as_chunks::<4>();
        let (squares, squares_rest) = self.square[channels].as_chunks::<4>();
        let add = |total: &mut [f64; 2], origin: f32, sum: f32, square: f32| {
            let (moved, sum) = (f64::from(origin) - center, f64::from(sum));
            total[0] += sum + count * moved;
            total[1] += f64::from(square) + moved * (2.0 * sum + count * moved);
        };
        // Four at a time, so that an addition need not wait for the one before it.
        let mut totals = [[0.0; 2]; 4];
        for ((origins, sums), squares) in origins.iter().zip(sums).zip(squares) {
            for (i, total) in totals.iter_mut().enumerate() {
                add(total, origins[i], sums[i], squares[i]);
            }
        }
        let [mut all, b, c, d] = totals;
        let rest = origins_rest.iter().zip(sums_rest).zip(squares_rest);
        for ((origin, sum), square) in rest {
            add(&mut all, *origin, *sum, *square);
        }
        [0, 1].map(|i| all[i] + b[i] + c[i] + d[i])
    }
}

struct Measure<'a> {
    input: &'a [f32],
    channels: usize,
}

impl pulp::WithSimd for Measure<'_> {
    type Output = Moments;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Moments {
        let Self { input, channels } = self;
        let origin = input[..channels].to_vec();
        let mut sum = vec![0.0; channels];
        let mut square = vec![0.0; channels];
        let mut first = 0;
        while first < channels {
            let width = (channels - first).min(4 * S::F32_LANES);
            let columns = Columns {
                input,
                channels,
                first,
                origin: &origin[first..][..width],
                sum: &mut sum[first..][..width],
                square: &mut square[first..][..width],
            };
            if width == 4 * S::F32_LANES {
                columns.vectors::<S, 4>(simd);
            } else {
                columns.rest(simd);
            }
            first += width;
        }
        Moments {
            count: input.len() / channels,
            origin,
            sum,
            square,
        }
    }
}

/// Some channels of a piece.
struct Columns<'a> {
    input: &'a [f32],
    channels: usize,
    first: usize,
    origin: &'a [f32],
    sum: &'a mut [f32],
    square: &'a mut [f32],
}

impl Columns<'_> {
    #[inline(always)]
    fn vectors<S: Simd, const N: usize>(self, simd: S) {
        let zero = simd.splat_f32s(0.0);
        let (mut sums, mut squares, mut origins) = ([zero; N], [zero; N], [zero; N]);
        let (origin, _) = S::as_simd_f32s(self.origin);
        for (to, from) in origins.iter_mut().zip(origin) {
            *to = *from;
        }
        for pixel in self.input.chunks_exact(self.channels) {
            let (pixel, _) = S::as_simd_f32s(&pixel[self.first..][..N * S::F32_LANES]);
            let sums = sums.iter_mut().zip(squares.iter_mut());
            for ((x, origin), (sum, square)) in pixel.iter().zip(&origins).zip(sums) {
                let x = simd.sub_f32s(*x, *origin);
                *sum = simd.add_f32s(*sum, x);
                *square = simd.mul_add_f32s(x, x, *square);
            }
        }
        let (to, _) = S::as_mut_simd_f32s(self.sum);
        for (to, from) in to.iter_mut().zip(&sums) {
            *to = *from;
        }
        let (to, _) = S::as_mut_simd_f32s(self.square);
        for (to, from) in to.iter_mut().zip(&squares) {
            *to = *from;
        }
    }

    /// Channels that do not fill the vectors above.
    #[inline(always)]
    fn rest<S: Simd>(self, simd: S) {
        let lanes = S::F32_LANES;
        let origins = self.origin.chunks(lanes);
        let sums = self
            .sum
            .chunks_mut(lanes)
            .zip(self.square.chunks_mut(lanes));
        for (i, (origin, (to_sum, to_square))) in origins.zip(sums).enumerate() {
            let width = origin.len();
            let origin = simd.partial_load_f32s(origin);
            let mut sum = simd.splat_f32s(0.0);
            let mut square = sum;
            for pixel in self.input.chunks_exact(self.channels) {
                let pixel = &pixel[self.first + i * lanes..][..width];
                let x = simd.sub_f32s(simd.partial_load_f32s(pixel), origin);
                sum = simd.add_f32s(sum, x);
                square = simd.mul_add_f32s(x, x, square);
            }
            simd.partial_store_f32s(to_sum, sum);
            simd.partial_store_f32s(to_square, square);
        }
    }
}

/// What is left of a normalization: a factor and an addend for each channel.
pub struct Line {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
}

impl Line {
    /// That of a picture with these groups.
    pub fn new(groups: &[Statistic], affine: [&[f32]; 2]) -> Self {
        let channels = affine[0].len();
        let width = channels / groups.len();
        let mut line = Self {
            scale: Vec::with_capacity(channels),
            shift: Vec::with_capacity(channels),
        };
        for (channel, (factor, addend)) in affine[0].iter().zip(affine[1]).enumerate() {
            let Statistic { mean, inverse } = groups[channel / width];
            let scale = inverse * f64::from(*factor);
            line.scale.push(scale as f32);
            line.shift.push((f64::from(*addend) - mean * scale) as f32);
        }
        line
    }
}

struct Apply<'a> {
    input: &'a [f32],
    line: &'a Line,
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
        let channels = self.line.scale.len();
        let (scale, scale_rest) = S::as_simd_f32s(&self.line.scale);
        let (shift, shift_rest) = S::as_simd_f32s(&self.line.shift);
        let pixels = self.out.chunks_exact_mut(channels);
        for (out, input) in pixels.zip(self.input.chunks_exact(channels)) {
            let (input, input_rest) = S::as_simd_f32s(input);
            let (out, rest) = S::as_mut_simd_f32s(out);
            let numbers = input.iter().zip(scale.iter().zip(shift));
            for (out, (x, (scale, shift))) in out.iter_mut().zip(numbers) {
                *out = line::<S, SILU>(simd, *x, *scale, *shift);
            }
            if !rest.is_empty() {
                let x = simd.partial_load_f32s(input_rest);
                let scale = simd.partial_load_f32s(scale_rest);
                let shift = simd.partial_load_f32s(shift_rest);
                simd.partial_store_f32s(rest, line::<S, SILU>(simd, x, scale, shift));
            }
        }
    }
}

#[inline(always)]
fn line<S: Simd, const SILU: bool>(simd: S, x: S::f32s, scale: S::f32s, shift: S::f32s) -> S::f32s {
    let x = simd.mul_add_f32s(x, scale, shift);
    if SILU { swish(simd, x, 1.0) } else { x }
}

struct Tokens<'a> {
    input: &'a [f32],
    affine: [&'a [f32]; 2],
    epsilon: f32,
    out: &'a mut [f32],
}

impl pulp::WithSimd for Tokens<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [scale, shift] = self.affine;
        let channels = scale.len();
        let share = 1.0 / channels as f32;
        let tokens = self.out.chunks_exact_mut(channels);
        for (out, input) in tokens.zip(self.input.chunks_exact(channels)) {
            let mean = total(simd, input, 0.0, |_, x| x) * share;
            let center = simd.splat_f32s(mean);
            let square = total(simd, input, mean, |simd, x| {
                let x = simd.sub_f32s(x, center);
                simd.mul_f32s(x, x)
            });
            let inverse = simd.splat_f32s(1.0 / (square * share + self.epsilon).sqrt());
            let (input, input_rest) = S::as_simd_f32s(input);
            let (scale, scale_rest) = S::as_simd_f32s(scale);
            let (shift, shift_rest) = S::as_simd_f32s(shift);
            let (out, rest) = S::as_mut_simd_f32s(out);
            let numbers = input.iter().zip(scale.iter().zip(shift));
            for (out, (x, (scale, shift))) in out.iter_mut().zip(numbers) {
                let x = simd.mul_f32s(simd.sub_f32s(*x, center), inverse);
                *out = simd.mul_add_f32s(x, *scale, *shift);
            }
            if !rest.is_empty() {
                let x = simd.partial_load_f32s(input_rest);
                let x = simd.mul_f32s(simd.sub_f32s(x, center), inverse);
                let scale = simd.partial_load_f32s(scale_rest);
                let shift = simd.partial_load_f32s(shift_rest);
                simd.partial_store_f32s(rest, simd.mul_add_f32s(x, scale, shift));
            }
        }
    }
}

/// The sum of a function over all numbers and, up to a whole vector, over `fill`, of which it is zero.
#[inline(always)]
pub fn total<S: Simd>(
    simd: S,
    numbers: &[f32],
    fill: f32,
    of: impl Fn(S, S::f32s) -> S::f32s,
) -> f32 {
    let (vectors, rest) = S::as_simd_f32s(numbers);
    let zero = simd.splat_f32s(0.0);
    let mut sums = [zero; 4];
    let fours = vectors.chunks_exact(4);
    let few = fours.remainder();
    for four in fours {
        for (sum, x) in sums.iter_mut().zip(four) {
            *sum = simd.add_f32s(*sum, of(simd, *x));
        }
    }
    let [mut a, b, c, d] = sums;
    for x in few {
        a = simd.add_f32s(a, of(simd, *x));
    }
    if !rest.is_empty() {
        let mut last = [fill; PANEL];
        last[..rest.len()].copy_from_slice(rest);
        let last = simd.partial_load_f32s(&last[..S::F32_LANES]);
        a = simd.add_f32s(a, of(simd, last));
    }
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)))
}
