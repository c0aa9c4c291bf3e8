//! The one loop that matrix products and convolutions share.
//!
//! An output number is a sum over input numbers times weights. The inner tile keeps a few rows of
//! outputs times a few vectors of output channels in registers; each input number is read as it lies
//! and multiplied with vectors of weights, so nothing is copied into columns first.
//!
//! The depth of the sum is cut into chunks whose weights for one block of outputs stay in the
//! second-level cache while all rows of a strip pass over them. The sums of the chunks are added in
//! the output itself. The cuts depend only on the weights, so every output number is summed in the
//! same order however the work is shared.

use pulp::Simd;
use rayon::prelude::*;

use super::apart;

/// Output channels come in panels of this many, whatever the machine's vector length is.
pub const PANEL: usize = 16;

/// Input numbers of a chunk at most: with 64 output channels 160 KiB of weights.
const CHUNK: usize = 640;

/// Rows of a strip: with [`CHUNK`] numbers each at most half a megabyte.
const STRIP: usize = 192;

/// Input numbers that lie beside each other for every row.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Which tap of the kernel reads them; 0 for a matrix.
    pub tap: usize,
    /// The first of the input channels.
    pub channel: usize,
    /// How many channels.
    pub length: usize,
}

/// Runs that are summed in registers.
#[derive(Clone, Debug)]
struct Chunk {
    runs: Vec<Run>,
    /// Input numbers before this chunk.
    start: usize,
    depth: usize,
}

/// Output channels that are computed together.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// The first of its channels.
    pub first: usize,
    /// How many channels it has; the rest of its panels is zero.
    pub width: usize,
    /// How many panels these fill: 1 to 4.
    pub panels: usize,
}

/// A weight matrix in the order in which the loop reads it, with its bias.
#[derive(Clone, Debug)]
pub struct Packed {
    width: usize,
    padded: usize,
    chunks: Vec<Chunk>,
    blocks: Vec<Block>,
    /// For each chunk and in it for each block `[depth of the chunk][panels * PANEL]`.
    weights: Vec<f32>,
    /// Whole panels.
    bias: Vec<f32>,
}

impl Packed {
    /// Packs the weights of `taps` taps of `inputs` channels each for `width` outputs, given by
    /// `weight(tap, input, output)`.
    pub fn new(
        taps: usize,
        inputs: usize,
        width: usize,
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
        bias: Option<&[f32]>,
    ) -> Self {
        let chunks = chunks(taps, inputs);
        let blocks = blocks(width);
        let padded = width.next_multiple_of(PANEL);
        let mut weights = vec![0.0; taps * inputs * padded];
        let mut rest = weights.as_mut_slice();
        let mut parts = Vec::new();
        for chunk in &chunks {
            for block in &blocks {
                let part;
                (part, rest) = rest.split_at_mut(chunk.depth * block.panels * PANEL);
                parts.push((chunk, block, part));
            }
        }
        parts.into_par_iter().for_each(|(chunk, block, part)| {
            pack(chunk, block, &weight, part);
        });
        let mut panels = vec![0.0; padded];
        if let Some(bias) = bias {
            panels[..width].copy_from_slice(bias);
        }
        Self {
            width,
            padded,
            chunks,
            blocks,
            weights,
            bias: panels,
        }
    }

    /// How many output channels there are.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The blocks of outputs.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// One number per output, filled up to whole panels.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Cuts the input channels into ranges of at most `limit`, a multiple of [`PANEL`], given by
    /// first channel and length. None of them crosses a chunk.
    pub fn parts(&self, limit: usize) -> impl Iterator<Item = (usize, usize)> {
        let runs = self.chunks.iter().flat_map(|chunk| &chunk.runs);
        let first_taps = runs.filter(|run| run.tap == 0);
        first_taps.flat_map(move |run| {
            let parts = run.length.div_ceil(limit);
            let part = run.length.div_ceil(parts).next_multiple_of(PANEL);
            let firsts = (0..run.length).step_by(part);
            firsts.map(move |first| (run.channel + first, part.min(run.length - first)))
        })
    }

    /// The weights `[depth][panels * PANEL]` of each of `TAPS` taps for one of the [`Self::parts`].
    pub fn taps<const TAPS: usize>(
        &self,
        block: &Block,
        channel: usize,
        depth: usize,
    ) -> [&[f32]; TAPS] {
        let lanes = block.panels * PANEL;
        let mut taps: [&[f32]; TAPS] = [&[]; TAPS];
        for chunk in &self.chunks {
            let mut place = chunk.start * self.padded + block.first * chunk.depth;
            for run in &chunk.runs {
                if (run.channel..run.channel + run.length).contains(&channel) {
                    let place = place + (channel - run.channel) * lanes;
                    taps[run.tap] = &self.weights[place..][..depth * lanes];
                }
                place += run.length * lanes;
            }
        }
        taps
    }

    /// Computes all rows of `out`, each `width` numbers, with `residual` of the same size added.
    pub fn run(&self, source: &impl Source, residual: Option<&[f32]>, out: &mut [f32]) {
        if out.is_empty() {
            return;
        }
        let rows = out.len() / self.width;
        let strips = rows.div_ceil(STRIP);
        let strip = rows.div_ceil(strips).next_multiple_of(6);
        let strips = rows.div_ceil(strip);
        let wanted = (4 * rayon::current_num_threads()).div_ceil(strips);
        let blocks = self.blocks.len().div_ceil(wanted);
        let groups: Vec<&[Block]> = self.blocks.chunks(blocks).collect();
        let mut tasks: Vec<Task<'_, _>> = Vec::with_capacity(groups.len() * strips);
        for blocks in &groups {
            for strip_index in 0..strips {
                let first = strip_index * strip;
                tasks.push(Task {
                    packed: self,
                    blocks,
                    source,
                    first,
                    residual,
                    rows: Vec::with_capacity(strip.min(rows - first)),
                });
            }
        }
        for (i, mut row) in out.chunks_exact_mut(self.width).enumerate() {
            for (group, blocks) in groups.iter().enumerate() {
                let width = blocks.iter().map(|block| block.width).sum();
                let (part, rest) = row.split_at_mut(width);
                tasks[group * strips + i / strip].rows.push(part);
                row = rest;
            }
        }
        let arch = pulp::Arch::new();
        if tasks.len() == 1 {
            for task in tasks {
                arch.dispatch(task);
            }
        } else {
            tasks
                .into_par_iter()
                .with_max_len(1)
                .for_each(|task| arch.dispatch(task));
        }
    }
}

/// Fills the weights of one chunk and block; what its panels have too much stays zero.
fn pack(
    chunk: &Chunk,
    block: &Block,
    weight: &impl Fn(usize, usize, usize) -> f32,
    part: &mut [f32],
) {
    let lanes = block.panels * PANEL;
    for lane in 0..block.width {
        let mut row = 0;
        for run in &chunk.runs {
            for input in run.channel..run.channel + run.length {
                part[row * lanes + lane] = weight(run.tap, input, block.first + lane);
                row += 1;
            }
        }
    }
}

/// Cuts the depth. Channels are cut first and taps come inside, so that the same input numbers are
/// read again while they are still in the cache.
fn chunks(taps: usize, inputs: usize) -> Vec<Chunk> {
    let pieces = inputs.div_ceil(CHUNK);
    let length = inputs.div_ceil(pieces).next_multiple_of(PANEL).min(inputs);
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut start = 0;
    // So many taps of a piece are one chunk, about the same number in each.
    let together = (CHUNK / length).clamp(1, taps);
    let together = taps.div_ceil(taps.div_ceil(together));
    let mut channel = 0;
    while channel < inputs {
        let length = length.min(inputs - channel);
        let mut tap = 0;
        while tap < taps {
            let last = (tap + together).min(taps);
            let runs: Vec<Run> = (tap..last)
                .map(|tap| Run {
                    tap,
                    channel,
                    length,
                })
                .collect();
            let depth = runs.len() * length;
            chunks.push(Chunk { runs, start, depth });
            start += depth;
            tap = last;
        }
        channel += length;
    }
    chunks
}

fn blocks(width: usize) -> Vec<Block> {
    let widest = widest_block();
    let mut blocks = Vec::new();
    let mut first = 0;
    while first < width {
        let panels = (width - first).div_ceil(PANEL).min(widest);
        let width = (width - first).min(panels * PANEL);
        blocks.push(Block {
            first,
            width,
            panels,
        });
        first += width;
    }
    blocks
}

/// How many panels fit into the registers beside each other.
pub fn widest_block() -> usize {
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

/// Where the input numbers of a row lie.
pub trait Source: Sync {
    /// The numbers of one run for row `row`.
    fn run(&self, row: usize, run: &Run) -> &[f32];
}

/// Some rows times some blocks of outputs.
struct Task<'a, From> {
    packed: &'a Packed,
    blocks: &'a [Block],
    source: &'a From,
    /// The first of the rows.
    first: usize,
    /// All of it.
    residual: Option<&'a [f32]>,
    /// The outputs of the blocks, row by row.
    rows: Vec<&'a mut [f32]>,
}

impl<From: Source> pulp::WithSimd for Task<'_, From> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let packed = self.packed;
        let origin = self.blocks[0].first;
        for (index, chunk) in packed.chunks.iter().enumerate() {
            for block in self.blocks {
                let lanes = block.panels * PANEL;
                let place = chunk.start * packed.padded + block.first * chunk.depth;
                let job = BlockJob {
                    source: self.source,
                    chunk,
                    weights: &packed.weights[place..][..chunk.depth * lanes],
                    bias: (index == 0).then(|| &packed.bias[block.first..][..lanes]),
                    residual: self.residual.filter(|_| index == 0),
                    stride: packed.width,
                    channel: block.first,
                    column: block.first - origin,
                    width: block.width,
                    first: self.first,
                    rows: &mut self.rows,
                };
                // As many sums as fit into 32 registers, or 16 with shorter vectors.
                match S::F32_LANES {
                    16 => match block.panels {
                        4 => apart(simd, Tiles::<_, 4, 6>(job)),
                        3 => apart(simd, Tiles::<_, 3, 8>(job)),
                        2 => apart(simd, Tiles::<_, 2, 12>(job)),
                        _ => apart(simd, Tiles::<_, 1, 12>(job)),
                    },
                    8 => apart(simd, Tiles::<_, 2, 6>(job)),
                    4 => apart(simd, Tiles::<_, 4, 5>(job)),
                    _ => apart(simd, Tiles::<_, 16, 1>(job)),
                }
            }
        }
    }
}

/// One chunk of the sums of one block for the rows of a task.
struct BlockJob<'a, 'b, From> {
    source: &'a From,
    chunk: &'a Chunk,
    /// `[depth][lanes]`.
    weights: &'a [f32],
    /// Only with the first chunk.
    bias: Option<&'a [f32]>,
    /// Only with the first chunk.
    residual: Option<&'a [f32]>,
    /// Numbers per row of the residual.
    stride: usize,
    /// The block's first channel, in the matrix.
    channel: usize,
    /// The block's first channel, in the rows.
    column: usize,
    width: usize,
    first: usize,
    rows: &'a mut [&'b mut [f32]],
}

/// All rows, a few at a time.
struct Tiles<'a, 'b, From, const VECTORS: usize, const ROWS: usize>(BlockJob<'a, 'b, From>);

impl<From: Source, const VECTORS: usize, const ROWS: usize> pulp::WithSimd
    for Tiles<'_, '_, From, VECTORS, ROWS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut job = self.0;
        let mut row = 0;
        row = job.tiles::<S, VECTORS, ROWS>(simd, row);
        if ROWS > 4 {
            row = job.tiles::<S, VECTORS, 4>(simd, row);
        }
        if ROWS > 2 {
            row = job.tiles::<S, VECTORS, 2>(simd, row);
        }
        job.tiles::<S, VECTORS, 1>(simd, row);
    }
}

impl<From: Source> BlockJob<'_, '_, From> {
    /// As many tiles of so many rows as there are from `row` on. Returns the first row after them.
    #[inline(always)]
    fn tiles<S: Simd, const VECTORS: usize, const ROWS: usize>(
        &mut self,
        simd: S,
        mut row: usize,
    ) -> usize {
        while row + ROWS <= self.rows.len() {
            let sums = self.sum::<S, VECTORS, ROWS>(simd, row);
            if self.width == VECTORS * S::F32_LANES {
                self.store(simd, row, &sums);
            } else {
                self.store_part(simd, row, sums);
            }
            row += ROWS;
        }
        row
    }

    #[inline(always)]
    fn sum<S: Simd, const VECTORS: usize, const ROWS: usize>(
        &self,
        simd: S,
        row: usize,
    ) -> [[S::f32s; VECTORS]; ROWS] {
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        let (mut weights, _) = S::as_simd_f32s(self.weights);
        for run in &self.chunk.runs {
            let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
            for (i, numbers) in rows.iter_mut().enumerate() {
                *numbers = &self.source.run(self.first + row + i, run)[..run.length];
            }
            let (own, rest) = weights.split_at(run.length * VECTORS);
            for (k, weights) in (0..run.length).zip(own.chunks_exact(VECTORS)) {
                for (sums, numbers) in sums.iter_mut().zip(&rows) {
                    let number = simd.splat_f32s(numbers[k]);
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = simd.mul_add_f32s(*weight, number, *sum);
                    }
                }
            }
            weights = rest;
        }
        sums
    }

    /// Adds bias and residual, or what the chunks before have summed, and writes whole vectors.
    #[inline(always)]
    fn store<S: Simd, const VECTORS: usize, const ROWS: usize>(
        &mut self,
        simd: S,
        row: usize,
        sums: &[[S::f32s; VECTORS]; ROWS],
    ) {
        let lanes = VECTORS * S::F32_LANES;
        let rows = &mut self.rows[row..][..ROWS];
        for (i, (out, sums)) in rows.iter_mut().zip(sums).enumerate() {
            let (out, _) = S::as_mut_simd_f32s(&mut out[self.column..][..lanes]);
            if let Some(bias) = self.bias {
                let (bias, _) = S::as_simd_f32s(&bias[..lanes]);
                for ((out, sum), bias) in out.iter_mut().zip(sums).zip(bias) {
                    *out = simd.add_f32s(*sum, *bias);
                }
            } else {
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = simd.add_f32s(*out, *sum);
                }
            }
            if let Some(residual) = self.residual {
                let place = (self.first + row + i) * self.stride + self.channel;
                let (residual, _) = S::as_simd_f32s(&residual[place..][..lanes]);
                for (out, residual) in out.iter_mut().zip(residual) {
                    *out = simd.add_f32s(*out, *residual);
                }
            }
        }
    }

    /// The same for a block that does not fill its vectors. Takes the sums by value: its loops need
    /// them in memory, and only the copy shall be there.
    #[inline(always)]
    fn store_part<S: Simd, const VECTORS: usize, const ROWS: usize>(
        &mut self,
        simd: S,
        row: usize,
        sums: [[S::f32s; VECTORS]; ROWS],
    ) {
        let rows = &mut self.rows[row..][..ROWS];
        for (i, (out, sums)) in rows.iter_mut().zip(&sums).enumerate() {
            let out = &mut out[self.column..][..self.width];
            let mut place = (self.first + row + i) * self.stride + self.channel;
            for (v, (out, sum)) in out.chunks_mut(S::F32_LANES).zip(sums).enumerate() {
                let before = match self.bias {
                    Some(bias) => simd.partial_load_f32s(&bias[v * S::F32_LANES..][..out.len()]),
                    None => simd.partial_load_f32s(out),
                };
                let mut sum = simd.add_f32s(before, *sum);
                if let Some(residual) = self.residual {
                    let residual = simd.partial_load_f32s(&residual[place..][..out.len()]);
                    sum = simd.add_f32s(sum, residual);
                    place += out.len();
                }
                simd.partial_store_f32s(out, sum);
            }
        }
    }
}
