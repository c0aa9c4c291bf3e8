//! One small kernel per channel.

use std::array::from_fn;

use pulp::Simd;

use super::band::Band;
use super::gemm::PANEL;
use crate::models::onnx::spec::{Activation, ConvSpec};

/// Output pixels that are summed at a time.
const PIXELS: usize = 8;

/// The kernels of all channels, with bias and activation. All numbers are padded to whole panels
/// of channels.
#[derive(Clone, Debug)]
pub struct Depthwise {
    channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// `[panels, kh * kw, PANEL]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
    low: f32,
    high: f32,
    slopes: Vec<f32>,
}

impl Depthwise {
    /// From weights `[channels, 1, kh, kw]` and a bias, empty or one per channel.
    pub fn new(spec: &ConvSpec, weights: &[f32], bias: &[f32], activation: &Activation) -> Self {
        let channels = spec.outputs;
        let taps = spec.window.kernel[0] * spec.window.kernel[1];
        let padded = channels.next_multiple_of(PANEL);
        let mut packed = Vec::with_capacity(padded * taps);
        for panel in 0..padded / PANEL {
            for tap in 0..taps {
                packed.extend((0..PANEL).map(|lane| {
                    let channel = panel * PANEL + lane;
                    if channel < channels {
                        weights[channel * taps + tap]
                    } else {
                        0.0
                    }
                }));
            }
        }
        let pad = |values: &[f32]| -> Vec<f32> {
            (0..padded)
                .map(|channel| values.get(channel).copied().unwrap_or(0.0))
                .collect()
        };
        let (low, high, slopes) = match activation {
            Activation::Clip(low, high) => (*low, *high, Vec::new()),
            Activation::Slope(slopes) => {
                let spread: Vec<f32> = (0..channels).map(|c| slopes[c % slopes.len()]).collect();
                (f32::NEG_INFINITY, f32::INFINITY, pad(&spread))
            }
        };
        Self {
            channels,
            kernel: spec.window.kernel,
            stride: spec.window.stride,
            dilation: spec.window.dilation,
            weights: packed,
            bias: pad(bias),
            low,
            high,
            slopes,
        }
    }

    /// Numbers of one kernel.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Fills the rows of `out`, `width` pixels each, from a band that holds what they need.
    #[inline(always)]
    pub fn run<S: Simd>(&self, simd: S, band: &Band, width: usize, out: &mut [f32]) {
        let lanes = S::F32_LANES;
        let row_out = width * self.channels;
        for (y, out) in out.chunks_exact_mut(row_out).enumerate() {
            let rows = &band.data[y * self.stride[0] * band.row..];
            for first in (0..self.channels).step_by(lanes) {
                // Common kernels get loops of known length.
                match self.kernel {
                    [3, 3] => self.line::<S, 3, 3>(simd, rows, band.row, first, width, out),
                    [5, 5] => self.line::<S, 5, 5>(simd, rows, band.row, first, width, out),
                    _ => self.line::<S, 0, 0>(simd, rows, band.row, first, width, out),
                }
            }
        }
    }

    /// One row of output for the channels of one vector. `KH` and `KW` are the kernel's size, or 0
    /// where it is only known to `self`.
    #[inline(always)]
    fn line<S: Simd, const KH: usize, const KW: usize>(
        &self,
        simd: S,
        rows: &[f32],
        row: usize,
        first: usize,
        width: usize,
        out: &mut [f32],
    ) {
        let lanes = S::F32_LANES;
        let (kh, kw) = if KH == 0 {
            (self.kernel[0], self.kernel[1])
        } else {
            (KH, KW)
        };
        let channels = self.channels;
        let count = lanes.min(channels - first);
        let weights = &self.weights[first / PANEL * PANEL * kh * kw + first % PANEL..];
        let bias = simd.partial_load_f32s(&self.bias[first..][..lanes]);
        let low = simd.splat_f32s(self.low);
        let high = simd.splat_f32s(self.high);
        let zero = simd.splat_f32s(0.0);
        let slope = (!self.slopes.is_empty())
            .then(|| simd.partial_load_f32s(&self.slopes[first..][..lanes]));
        let step = self.stride[1] * channels;
        let mut x = 0;
        while x < width {
            let mut sums = [bias; PIXELS];
            let at: [usize; PIXELS] = from_fn(|i| (x + i).min(width - 1) * step + first);
            for ky in 0..kh {
                for kx in 0..kw {
                    let weight = &weights[(ky * kw + kx) * PANEL..][..lanes];
                    let weight = S::as_simd_f32s(weight).0[0];
                    let offset = ky * self.dilation[0] * row + kx * self.dilation[1] * channels;
                    let rows = &rows[offset..];
                    for (sum, at) in sums.iter_mut().zip(at) {
                        let input = if count == lanes {
                            S::as_simd_f32s(&rows[at..at + lanes]).0[0]
                        } else {
                            simd.partial_load_f32s(&rows[at..at + count])
                        };
                        *sum = simd.mul_add_f32s(weight, input, *sum);
                    }
                }
            }
            for (i, mut value) in sums.into_iter().enumerate().take(width - x) {
                value = if let Some(slope) = slope {
                    let below = simd.min_f32s(value, zero);
                    simd.mul_add_f32s(slope, below, simd.max_f32s(value, zero))
                } else {
                    simd.min_f32s(simd.max_f32s(value, low), high)
                };
                let out = &mut out[(x + i) * channels + first..][..count];
                if count == lanes {
                    S::as_mut_simd_f32s(out).0[0] = value;
                } else {
                    simd.partial_store_f32s(out, value);
                }
            }
            x += PIXELS;
        }
    }
}
