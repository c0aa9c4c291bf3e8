//! One small kernel per channel.

use pulp::Simd;

use super::band::Band;
use super::gemm::PANEL;
use super::tail::{Part, Tail, store};
use super::{apart, whole_tiles};
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
    tail: Tail,
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
        Self {
            channels,
            kernel: spec.window.kernel,
            stride: spec.window.stride,
            dilation: spec.window.dilation,
            weights: packed,
            tail: Tail::new(channels, bias, activation),
        }
    }

    /// Numbers of one kernel.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Fills the rows of `out`, `width` pixels each, from a band that holds what they need. Each
    /// pixel of the band has room for whole panels of channels.
    #[inline(always)]
    pub fn run<S: Simd>(&self, simd: S, band: &Band, width: usize, out: &mut [f32]) {
        let row_out = width * self.channels;
        for (y, out) in out.chunks_exact_mut(row_out).enumerate() {
            let line = &Line {
                kernels: self,
                rows: &band.data[y * self.stride[0] * band.row..],
                row: band.row,
                width,
            };
            let close = self.stride[1] == 1 && self.dilation == [1, 1];
            // Common kernels get loops of known length.
            match self.kernel {
                [3, 3] if close => apart(simd, Run::<3, 3, true> { line, out }),
                [3, 3] => apart(simd, Run::<3, 3, false> { line, out }),
                [5, 5] if close => apart(simd, Run::<5, 5, true> { line, out }),
                _ => apart(simd, Run::<0, 0, false> { line, out }),
            }
        }
    }
}

/// One row of output.
struct Line<'a> {
    kernels: &'a Depthwise,
    /// The rows of the band from the first that is needed on.
    rows: &'a [f32],
    /// Numbers of a row of the band.
    row: usize,
    /// Pixels of the output.
    width: usize,
}

/// Fills the row. `KH` and `KW` are the kernel's size, or 0 where it is only known at run time;
/// `CLOSE` says that outputs and taps are neighbours in the picture.
struct Run<'a, const KH: usize, const KW: usize, const CLOSE: bool> {
    line: &'a Line<'a>,
    out: &'a mut [f32],
}

impl<const KH: usize, const KW: usize, const CLOSE: bool> pulp::WithSimd
    for Run<'_, KH, KW, CLOSE>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { line, out } = self;
        let _ = line.tiles::<S, KH, KW, CLOSE, PIXELS>(simd, out)
            || line.tiles::<S, KH, KW, CLOSE, 4>(simd, out)
            || line.tiles::<S, KH, KW, CLOSE, 1>(simd, out);
    }
}

impl Line<'_> {
    /// Fills the row in tiles of so many pixels, unless it has fewer.
    #[inline(always)]
    fn tiles<S: Simd, const KH: usize, const KW: usize, const CLOSE: bool, const COUNT: usize>(
        &self,
        simd: S,
        out: &mut [f32],
    ) -> bool {
        let Some(tiles) = whole_tiles(self.width, COUNT) else {
            return false;
        };
        for x in tiles {
            for first in (0..self.kernels.channels).step_by(S::F32_LANES) {
                let tail = self.kernels.tail.part::<S, 1>(simd, first);
                self.tile::<S, KH, KW, CLOSE, COUNT>(simd, x, first, &tail, out);
            }
        }
        true
    }

    #[inline(always)]
    fn tile<S: Simd, const KH: usize, const KW: usize, const CLOSE: bool, const COUNT: usize>(
        &self,
        simd: S,
        x: usize,
        first: usize,
        tail: &Part<S, 1>,
        out: &mut [f32],
    ) {
        let Depthwise {
            channels,
            kernel,
            stride,
            dilation,
            ref weights,
            ..
        } = *self.kernels;
        let (kh, kw) = if KH == 0 {
            (kernel[0], kernel[1])
        } else {
            (KH, KW)
        };
        let lanes = S::F32_LANES;
        // All places are counted in vectors.
        let pitch = channels.next_multiple_of(PANEL) / lanes;
        let (rows, _) = S::as_simd_f32s(self.rows);
        let rows = &rows[x * stride[1] * pitch + first / lanes..];
        let (weights, _) = S::as_simd_f32s(weights);
        let weights = &weights[(first / PANEL * PANEL * kh * kw + first % PANEL) / lanes..];
        let weight = |ky: usize, kx: usize| weights[(ky * kw + kx) * (PANEL / lanes)];
        let mut sums = [tail.bias; COUNT];
        for ky in 0..kh {
            let line = &rows[ky * dilation[0] * self.row / lanes..];
            if CLOSE {
                // Each number is read once for all outputs that it belongs to.
                let mut taps = [simd.splat_f32s(0.0); KW];
                for (kx, tap) in taps.iter_mut().enumerate() {
                    *tap = weight(ky, kx);
                }
                for column in 0..COUNT + KW - 1 {
                    let input = line[column * pitch];
                    for (kx, tap) in taps.iter().enumerate() {
                        if kx <= column && column - kx < COUNT {
                            let [sum] = &mut sums[column - kx];
                            *sum = simd.mul_add_f32s(*tap, input, *sum);
                        }
                    }
                }
            } else {
                for kx in 0..kw {
                    let tap = weight(ky, kx);
                    for (i, [sum]) in sums.iter_mut().enumerate() {
                        let input = line[(i * stride[1] + kx * dilation[1]) * pitch];
                        *sum = simd.mul_add_f32s(tap, input, *sum);
                    }
                }
            }
        }
        tail.activate(simd, &mut sums);
        let out = &mut out[x * channels + first..];
        store(simd, &sums, out, channels, lanes.min(channels - first));
    }
}
