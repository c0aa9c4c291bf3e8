//! The one loop that all convolutions and matrix products of the CPU share.
//!
//! Feature maps lie channels-last, so the channels of one pixel are one run of memory. An output
//! pixel is a sum over runs of input memory (one run for a 1x1 kernel, one per kernel row for a
//! larger one), and each input number is multiplied with a vector of weights, one per output
//! channel. The inner tile keeps a few pixels times a few vectors of output channels in registers;
//! nothing is copied into columns first.

use pulp::Simd;

use super::tail::{Part, Tail, add, store};
use super::{apart, whole_tiles};
pub use crate::models::cpu::PANEL;
use crate::models::cpu::widest_block;
use crate::models::onnx::spec::Activation;

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
    tail: Tail,
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
        Self {
            depth,
            width,
            blocks,
            weights,
            tail: Tail::new(width, bias, activation),
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

/// Where the source of each output pixel starts.
pub enum Places<'a> {
    /// So many numbers after that of the one before it.
    Every(usize),
    /// At a number of this list, counted from another one.
    Listed(&'a [usize], usize),
}

impl Places<'_> {
    #[inline(always)]
    fn get(&self, pixel: usize) -> usize {
        match *self {
            Self::Every(step) => pixel * step,
            Self::Listed(places, start) => places[pixel] + start,
        }
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
    /// Each pixel has room for whole panels of outputs. What is too much becomes zero.
    pub padded: bool,
}

/// Computes `count` output pixels.
///
/// Panics when a run leaves the source or a pixel the target: both are the caller's sizes.
#[inline(always)]
pub fn multiply<S: Simd>(
    simd: S,
    packed: &Packed,
    source: &[f32],
    count: usize,
    places: &Places<'_>,
    runs: &Runs<'_>,
    target: &mut Target<'_>,
) {
    for block in &packed.blocks {
        let job = &BlockJob {
            packed,
            block,
            source,
            count,
            places,
            runs,
        };
        // Pixels per tile: as many sums as fit into 32 registers, or 16 with shorter vectors.
        match (S::F32_LANES, block.panels) {
            (16, 4) => apart(simd, Run::<4, 6> { job, target }),
            (16, 3) => apart(simd, Run::<3, 8> { job, target }),
            (16, 2) => apart(simd, Run::<2, 12> { job, target }),
            (16, _) => apart(simd, Run::<1, 12> { job, target }),
            (8, _) => apart(simd, Run::<2, 6> { job, target }),
            (4, _) => apart(simd, Run::<4, 5> { job, target }),
            _ => apart(simd, Run::<16, 1> { job, target }),
        }
    }
}

struct BlockJob<'a> {
    packed: &'a Packed,
    block: &'a Block,
    source: &'a [f32],
    count: usize,
    places: &'a Places<'a>,
    runs: &'a Runs<'a>,
}

/// All outputs of a block, a few pixels times its vectors at a time.
struct Run<'a, 'b, const VECTORS: usize, const PIXELS: usize> {
    job: &'a BlockJob<'a>,
    target: &'a mut Target<'b>,
}

impl<const VECTORS: usize, const PIXELS: usize> pulp::WithSimd for Run<'_, '_, VECTORS, PIXELS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { job, target } = self;
        let tail = job.packed.tail.part::<S, VECTORS>(simd, job.block.first);
        let _ = job.tiles::<S, VECTORS, PIXELS>(simd, &tail, target)
            || job.tiles::<S, VECTORS, 4>(simd, &tail, target)
            || job.tiles::<S, VECTORS, 1>(simd, &tail, target);
    }
}

impl BlockJob<'_> {
    /// Computes all pixels in tiles of so many, unless there are fewer.
    #[inline(always)]
    fn tiles<S: Simd, const VECTORS: usize, const PIXELS: usize>(
        &self,
        simd: S,
        tail: &Part<S, VECTORS>,
        target: &mut Target<'_>,
    ) -> bool {
        let Some(tiles) = whole_tiles(self.count, PIXELS) else {
            return false;
        };
        for pixel in tiles {
            self.tile::<S, VECTORS, PIXELS>(simd, pixel, tail, target);
        }
        true
    }

    /// All outputs of this block for some pixels from `pixel` on.
    #[inline(always)]
    fn tile<S: Simd, const VECTORS: usize, const PIXELS: usize>(
        &self,
        simd: S,
        pixel: usize,
        tail: &Part<S, VECTORS>,
        target: &mut Target<'_>,
    ) {
        let mut sums = self.sum::<S, VECTORS, PIXELS>(simd, pixel, tail);
        let Block { first, width, .. } = *self.block;
        let lanes = VECTORS * S::F32_LANES;
        let place = pixel * target.stride + target.first + first;
        if let Some(residual) = target.residual {
            sums = add(simd, sums, &residual[place..], target.stride, width);
        }
        tail.activate(simd, &mut sums);
        let width = if target.padded { lanes } else { width };
        store(simd, &sums, &mut target.data[place..], target.stride, width);
    }

    #[inline(always)]
    fn sum<S: Simd, const VECTORS: usize, const PIXELS: usize>(
        &self,
        simd: S,
        pixel: usize,
        tail: &Part<S, VECTORS>,
    ) -> [[S::f32s; VECTORS]; PIXELS] {
        let mut sums = [tail.bias; PIXELS];
        let length = self.runs.length;
        let lanes = VECTORS * S::F32_LANES;
        let weights = &self.packed.weights[self.block.weights..][..self.packed.depth * lanes];
        let (weights, _) = S::as_simd_f32s(weights);
        let mut starts = [0; PIXELS];
        for (i, start) in starts.iter_mut().enumerate() {
            *start = self.places.get(pixel + i);
        }
        let runs = self.runs.offsets.iter();
        for (offset, weights) in runs.zip(weights.chunks_exact(length * VECTORS)) {
            let mut rows: [&[f32]; PIXELS] = [&[]; PIXELS];
            for (row, start) in rows.iter_mut().zip(starts) {
                *row = &self.source[start + offset..][..length];
            }
            for (k, weights) in (0..length).zip(weights.chunks_exact(VECTORS)) {
                for (sums, row) in sums.iter_mut().zip(&rows) {
                    let number = simd.splat_f32s(row[k]);
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = simd.mul_add_f32s(*weight, number, *sum);
                    }
                }
            }
        }
        sums
    }
}
