//! The one loop that all convolutions and matrix products of the CPU share.
//!
//! Feature maps lie channels-last, so the channels of one pixel are one run of memory. An output
//! pixel is a sum over runs of input memory (one run for a 1x1 kernel, one per kernel row for a
//! larger one), and each input number is multiplied with a vector of weights, one per output
//! channel. The inner tile keeps a few pixels times a few vectors of output channels in registers;
//! nothing is copied into columns first.

use std::array::from_fn;

use pulp::Simd;

use crate::models::onnx::spec::Activation;

/// Output channels come in panels of this many, whatever the machine's vector length is.
pub const PANEL: usize = 16;

/// Output channels that are computed together.
#[derive(Clone, Debug)]
struct Block {
    /// The first of its channels.
    first: usize,
    /// How many channels it has; the rest of its panels is zero.
    width: usize,
    /// How many panels these fill: 1 to 4.
    panels: usize,
    /// Where its weights start.
    weights: usize,
}

/// A weight matrix of `depth` inputs by `width` outputs in the order in which the loop reads it,
/// with bias and activation.
#[derive(Clone, Debug)]
pub struct Packed {
    depth: usize,
    width: usize,
    blocks: Vec<Block>,
    /// For each block `[depth][panels * PANEL]`.
    weights: Vec<f32>,
    /// Per output channel, padded to whole panels of each block.
    bias: Vec<f32>,
    low: f32,
    high: f32,
    /// Padded like `bias`; empty without slopes.
    slopes: Vec<f32>,
}

impl Packed {
    /// Packs a matrix given by `weight(input, output)`. An empty `bias` is zero.
    pub fn new(
        depth: usize,
        width: usize,
        weight: impl Fn(usize, usize) -> f32,
        bias: &[f32],
        activation: &Activation,
    ) -> Self {
        let widest = widest_block();
        let mut blocks = Vec::new();
        let mut weights = Vec::new();
        let mut first = 0;
        while first < width {
            let panels = (width - first).div_ceil(PANEL).min(widest);
            let block = Block {
                first,
                width: (width - first).min(panels * PANEL),
                panels,
                weights: weights.len(),
            };
            for input in 0..depth {
                for lane in 0..panels * PANEL {
                    weights.push(if lane < block.width {
                        weight(input, first + lane)
                    } else {
                        0.0
                    });
                }
            }
            first += block.width;
            blocks.push(block);
        }
        let padded = width.next_multiple_of(PANEL);
        let pad = |values: &[f32]| -> Vec<f32> {
            (0..padded)
                .map(|channel| values.get(channel).copied().unwrap_or(0.0))
                .collect()
        };
        let (low, high, slopes) = match activation {
            Activation::Clip(low, high) => (*low, *high, Vec::new()),
            Activation::Slope(slopes) => {
                let spread: Vec<f32> = (0..width).map(|c| slopes[c % slopes.len()]).collect();
                (f32::NEG_INFINITY, f32::INFINITY, pad(&spread))
            }
        };
        Self {
            depth,
            width,
            blocks,
            weights,
            bias: pad(bias),
            low,
            high,
            slopes,
        }
    }

    /// How many input numbers make one output.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// How many output channels there are.
    pub fn width(&self) -> usize {
        self.width
    }
}

/// How many panels fit into the registers beside each other.
fn widest_block() -> usize {
    struct Lanes;
    impl pulp::WithSimd for Lanes {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    if pulp::Arch::new().dispatch(Lanes) >= PANEL {
        4
    } else {
        1
    }
}

/// Where the numbers of an output pixel lie in the source.
pub struct Runs<'a> {
    /// Start of each run, relative to the pixel's base.
    pub offsets: &'a [usize],
    /// Numbers in each run.
    pub length: usize,
}

/// Where an output goes.
pub struct Target<'a> {
    /// The output, `stride` numbers per pixel, of which the matrix fills its width from `first` on.
    pub data: &'a mut [f32],
    /// Numbers per pixel in `data`.
    pub stride: usize,
    /// The channel at which the matrix starts.
    pub first: usize,
    /// Added before the activation; same pixels and stride as `data`.
    pub residual: Option<&'a [f32]>,
}

/// Computes `count` output pixels; `base(i)` is where the source of pixel `i` starts.
///
/// Panics when a run leaves the source or a pixel the target: both are the caller's sizes.
#[inline(always)]
pub fn multiply<S: Simd>(
    simd: S,
    packed: &Packed,
    source: &[f32],
    count: usize,
    base: impl Fn(usize) -> usize + Copy,
    runs: &Runs<'_>,
    target: &mut Target<'_>,
) {
    for block in &packed.blocks {
        let job = BlockJob {
            packed,
            block,
            source,
            count,
            runs,
        };
        // Pixels per tile: as many sums as fit into 32 registers, or 16 with shorter vectors.
        match (S::F32_LANES, block.panels) {
            (16, 4) => job.run::<S, 4, 6>(simd, base, target),
            (16, 3) => job.run::<S, 3, 8>(simd, base, target),
            (16, 2) => job.run::<S, 2, 12>(simd, base, target),
            (16, _) => job.run::<S, 1, 12>(simd, base, target),
            (8, _) => job.run::<S, 2, 6>(simd, base, target),
            (4, _) => job.run::<S, 4, 5>(simd, base, target),
            _ => job.run::<S, 16, 1>(simd, base, target),
        }
    }
}

struct BlockJob<'a> {
    packed: &'a Packed,
    block: &'a Block,
    source: &'a [f32],
    count: usize,
    runs: &'a Runs<'a>,
}

impl BlockJob<'_> {
    #[inline(always)]
    fn run<S: Simd, const VECTORS: usize, const PIXELS: usize>(
        &self,
        simd: S,
        base: impl Fn(usize) -> usize + Copy,
        target: &mut Target<'_>,
    ) {
        let Block {
            first,
            width,
            panels,
            weights,
        } = *self.block;
        let lanes = VECTORS * S::F32_LANES;
        debug_assert_eq!(lanes, panels * PANEL);
        let weights = &self.packed.weights[weights..][..self.packed.depth * lanes];
        let bias: [S::f32s; VECTORS] = load::<S, VECTORS>(&self.packed.bias[first..][..lanes]);
        let low = simd.splat_f32s(self.packed.low);
        let high = simd.splat_f32s(self.packed.high);
        let zero = simd.splat_f32s(0.0);
        let slopes: Option<[S::f32s; VECTORS]> = (!self.packed.slopes.is_empty())
            .then(|| load::<S, VECTORS>(&self.packed.slopes[first..][..lanes]));
        let mut pixel = 0;
        while pixel < self.count {
            // The last tile repeats the last pixel, whose extra sums are not stored.
            let bases: [usize; PIXELS] = from_fn(|i| base((pixel + i).min(self.count - 1)));
            let sums = self.tile::<S, VECTORS, PIXELS>(simd, &bases, weights, bias);
            for (i, mut sum) in sums.into_iter().enumerate().take(self.count - pixel) {
                let start = (pixel + i) * target.stride + target.first + first;
                if let Some(residual) = target.residual {
                    let residual = &residual[start..][..width];
                    for (j, value) in sum.iter_mut().enumerate() {
                        let rest = residual.get(j * S::F32_LANES..).unwrap_or(&[]);
                        let rest = &rest[..rest.len().min(S::F32_LANES)];
                        *value = simd.add_f32s(*value, simd.partial_load_f32s(rest));
                    }
                }
                if let Some(slopes) = slopes {
                    for (value, slope) in sum.iter_mut().zip(slopes) {
                        let below = simd.min_f32s(*value, zero);
                        *value = simd.mul_add_f32s(slope, below, simd.max_f32s(*value, zero));
                    }
                } else {
                    for value in &mut sum {
                        *value = simd.min_f32s(simd.max_f32s(*value, low), high);
                    }
                }
                let out = &mut target.data[start..][..width];
                if width == lanes {
                    let (out, _) = S::as_mut_simd_f32s(out);
                    out[..VECTORS].copy_from_slice(&sum);
                } else {
                    for (part, value) in out.chunks_mut(S::F32_LANES).zip(sum) {
                        simd.partial_store_f32s(part, value);
                    }
                }
            }
            pixel += PIXELS;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const VECTORS: usize, const PIXELS: usize>(
        &self,
        simd: S,
        bases: &[usize; PIXELS],
        weights: &[f32],
        start: [S::f32s; VECTORS],
    ) -> [[S::f32s; VECTORS]; PIXELS] {
        let mut sums = [start; PIXELS];
        let length = self.runs.length;
        let (weights, _) = S::as_simd_f32s(weights);
        for (offset, weights) in self
            .runs
            .offsets
            .iter()
            .zip(weights.chunks_exact(length * VECTORS))
        {
            let rows: [&[f32]; PIXELS] = from_fn(|i| &self.source[bases[i] + offset..][..length]);
            for (k, vectors) in (0..length).zip(weights.chunks_exact(VECTORS)) {
                let vectors: [S::f32s; VECTORS] = from_fn(|j| vectors[j]);
                for i in 0..PIXELS {
                    let number = simd.splat_f32s(rows[i][k]);
                    for j in 0..VECTORS {
                        sums[i][j] = simd.mul_add_f32s(vectors[j], number, sums[i][j]);
                    }
                }
            }
        }
        sums
    }
}

/// The vectors at the start of a slice.
#[inline(always)]
pub fn load<S: Simd, const N: usize>(values: &[f32]) -> [S::f32s; N] {
    let (vectors, _) = S::as_simd_f32s(values);
    from_fn(|i| vectors[i])
}
