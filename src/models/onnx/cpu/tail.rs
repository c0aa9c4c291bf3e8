//! What belongs to a sum beside its products: the bias that it begins with and the activation that
//! it ends with.

use pulp::Simd;

use super::gemm::PANEL;
use crate::models::onnx::spec::Activation;

/// Bias and activation of all output channels, padded to whole panels of channels.
#[derive(Clone, Debug)]
pub struct Tail {
    bias: Vec<f32>,
    low: f32,
    high: f32,
    /// Empty without slopes.
    slopes: Vec<f32>,
}

impl Tail {
    /// For so many channels. An empty `bias` is zero.
    pub fn new(channels: usize, bias: &[f32], activation: &Activation) -> Self {
        let padded = channels.next_multiple_of(PANEL);
        let pad = |value: &dyn Fn(usize) -> f32| -> Vec<f32> {
            let values = (0..padded).map(|c| if c < channels { value(c) } else { 0.0 });
            values.collect()
        };
        let (low, high, slopes) = match activation {
            Activation::Clip(low, high) => (*low, *high, Vec::new()),
            Activation::Slope(slopes) => {
                let slopes = pad(&|channel| slopes[channel % slopes.len()]);
                (f32::NEG_INFINITY, f32::INFINITY, slopes)
            }
        };
        Self {
            bias: pad(&|channel| bias.get(channel).copied().unwrap_or(0.0)),
            low,
            high,
            slopes,
        }
    }

    /// The part of `N` vectors of channels from `first` on.
    #[inline(always)]
    pub fn part<S: Simd, const N: usize>(&self, simd: S, first: usize) -> Part<S, N> {
        let zero = simd.splat_f32s(0.0);
        let mut slopes = [zero; N];
        if !self.slopes.is_empty() {
            slopes = load::<S, N>(simd, &self.slopes[first..]);
        }
        Part {
            bias: load::<S, N>(simd, &self.bias[first..]),
            zero,
            low: simd.splat_f32s(self.low),
            high: simd.splat_f32s(self.high),
            slopes,
            sloped: !self.slopes.is_empty(),
        }
    }
}

/// Bias and activation of some vectors of channels, in registers.
#[derive(Clone, Copy)]
pub struct Part<S: Simd, const N: usize> {
    /// What a sum begins with.
    pub bias: [S::f32s; N],
    zero: S::f32s,
    low: S::f32s,
    high: S::f32s,
    slopes: [S::f32s; N],
    sloped: bool,
}

impl<S: Simd, const N: usize> Part<S, N> {
    /// Applies the activation to the sums of some pixels.
    #[inline(always)]
    pub fn activate<const PIXELS: usize>(&self, simd: S, sums: &mut [[S::f32s; N]; PIXELS]) {
        // One question for all of them, so that each kind is a straight line of instructions.
        if self.sloped {
            for sums in sums {
                for (sum, slope) in sums.iter_mut().zip(self.slopes) {
                    let below = simd.min_f32s(*sum, self.zero);
                    *sum = simd.mul_add_f32s(slope, below, simd.max_f32s(*sum, self.zero));
                }
            }
        } else {
            for sums in sums {
                for sum in sums {
                    *sum = simd.min_f32s(simd.max_f32s(*sum, self.low), self.high);
                }
            }
        }
    }
}

/// The vectors at the start of a slice.
#[inline(always)]
fn load<S: Simd, const N: usize>(simd: S, values: &[f32]) -> [S::f32s; N] {
    let (vectors, _) = S::as_simd_f32s(&values[..N * S::F32_LANES]);
    // Not `array::from_fn`: what is not inlined into the caller does not know its vectors.
    let mut loaded = [simd.splat_f32s(0.0); N];
    for (loaded, vector) in loaded.iter_mut().zip(vectors) {
        *loaded = *vector;
    }
    loaded
}

/// Adds what lies at pixels `stride` numbers apart, of each `width` numbers.
///
/// Takes the sums by value: a loop that the compiler does not unroll needs them in memory, and only
/// the copy shall be there.
#[inline(always)]
pub fn add<S: Simd, const N: usize, const PIXELS: usize>(
    simd: S,
    mut sums: [[S::f32s; N]; PIXELS],
    other: &[f32],
    stride: usize,
    width: usize,
) -> [[S::f32s; N]; PIXELS] {
    for (i, sums) in sums.iter_mut().enumerate() {
        let other = &other[i * stride..][..width];
        for (sum, other) in sums.iter_mut().zip(other.chunks(S::F32_LANES)) {
            *sum = simd.add_f32s(*sum, simd.partial_load_f32s(other));
        }
    }
    sums
}

/// Writes the sums of pixels whose places are `stride` numbers apart: `width` numbers of each.
#[inline(always)]
pub fn store<S: Simd, const N: usize, const PIXELS: usize>(
    simd: S,
    sums: &[[S::f32s; N]; PIXELS],
    to: &mut [f32],
    stride: usize,
    width: usize,
) {
    // One question for all of them, as above.
    if width < N * S::F32_LANES {
        store_part(simd, *sums, to, stride, width);
        return;
    }
    for (i, sums) in sums.iter().enumerate() {
        let (to, _) = S::as_mut_simd_f32s(&mut to[i * stride..][..N * S::F32_LANES]);
        for (to, sum) in to.iter_mut().zip(sums) {
            *to = *sum;
        }
    }
}

/// Writes sums that do not fill their vectors. Takes them by value as [`add`] does.
#[inline(always)]
fn store_part<S: Simd, const N: usize, const PIXELS: usize>(
    simd: S,
    sums: [[S::f32s; N]; PIXELS],
    to: &mut [f32],
    stride: usize,
    width: usize,
) {
    for (i, sums) in sums.iter().enumerate() {
        let to = to[i * stride..][..width].chunks_mut(S::F32_LANES);
        for (to, sum) in to.zip(sums) {
            simd.partial_store_f32s(to, *sum);
        }
    }
}
