//! Convolution with kernels of three by three that needs 16 products for four pixels, not 36.
//!
//! Four by four input pixels, the weights of a kernel and their products are each transformed so that
//! two by two outputs are sums over channels at 16 places (Winograd's minimal filtering; A. Lavin and
//! S. Gray, Fast Algorithms for Convolutional Neural Networks, 2015, section 4.1). The weights are
//! transformed block by block while they are needed, so they stay as small as they are. Rounding
//! errors are about twice those of the plain sum.

use std::cell::Cell;

use pulp::Simd;
use rayon::prelude::*;

use super::apart;
use super::filter::Map;
use super::gemm::{Block, PANEL, Packed};

/// Places of a transformed tile.
const PLACES: usize = 16;

/// Input channels that are transformed together: their weights stay in the second-level cache.
const PART: usize = 64;

/// Tiles of a task: so many that transforming weights for them is little work.
const TILES: usize = 192;

/// Blocks of outputs of a task: their sums are in memory together.
const BLOCKS: usize = 5;

/// Numbers between planes, so that the same place in all planes is not in the same set of the cache.
const GAP: usize = 16;

thread_local! {
    /// Working memory of a thread: fresh pages would cost more than the transforms.
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Whether the input channels can be cut into whole vectors. What is narrow is not worth it.
pub fn fits(inputs: usize, outputs: usize) -> bool {
    inputs.is_multiple_of(PANEL) && outputs >= PANEL
}

/// Fills `out`, adding `residual`.
pub fn run(packed: &Packed, map: &Map<'_>, residual: Option<&[f32]>, out: &mut [f32]) {
    if out.is_empty() {
        return;
    }
    let to = map.to;
    let [down, across] = [to.height.div_ceil(2), to.width.div_ceil(2)];
    let tiles = to.batch * down * across;
    let strips = tiles.div_ceil(TILES);
    let strip = tiles.div_ceil(strips).next_multiple_of(6);
    let strips = tiles.div_ceil(strip);
    let wanted = (4 * rayon::current_num_threads()).div_ceil(strips);
    let blocks = packed.blocks().len().div_ceil(wanted).min(BLOCKS);
    let groups: Vec<&[Block]> = packed.blocks().chunks(blocks).collect();
    let mut tasks = Vec::with_capacity(groups.len() * strips);
    for blocks in &groups {
        for first in (0..tiles).step_by(strip) {
            let count = strip.min(tiles - first);
            let mut pixels = Vec::new();
            pixels.resize_with(4 * count, || None);
            tasks.push(Task {
                packed,
                blocks,
                map,
                across,
                down,
                first,
                count,
                residual,
                pixels,
            });
        }
    }
    for (i, mut row) in out.chunks_exact_mut(to.channels).enumerate() {
        let (x, above) = (i % to.width, i / to.width);
        let (y, n) = (above % to.height, above / to.height);
        let tile = (n * down + y / 2) * across + x / 2;
        for (group, blocks) in groups.iter().enumerate() {
            let width = blocks.iter().map(|block| block.width).sum();
            let (part, rest) = row.split_at_mut(width);
            let task = &mut tasks[group * strips + tile / strip];
            task.pixels[tile % strip * 4 + y % 2 * 2 + x % 2] = Some(part);
            row = rest;
        }
    }
    let arch = pulp::Arch::new();
    tasks
        .into_par_iter()
        .with_max_len(1)
        .for_each(|task| arch.dispatch(task));
}

/// Some tiles times some blocks of outputs.
struct Task<'a> {
    packed: &'a Packed,
    blocks: &'a [Block],
    map: &'a Map<'a>,
    /// Tiles of a picture: columns.
    across: usize,
    /// Tiles of a picture: rows.
    down: usize,
    /// The first tile.
    first: usize,
    count: usize,
    /// All of it.
    residual: Option<&'a [f32]>,
    /// The outputs of the four pixels of each tile, where they are inside of the map.
    pixels: Vec<Option<&'a mut [f32]>>,
}

impl pulp::WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut scratch = SCRATCH.take();
        let lanes: usize = self.blocks.iter().map(|block| block.panels * PANEL).sum();
        let most = self.blocks[0].panels * PANEL;
        let inputs = PLACES * (self.count * PART + GAP);
        let weights = PLACES * (PART * most + GAP);
        let sums = PLACES * (self.count * lanes + GAP * self.blocks.len());
        if scratch.len() < inputs + weights + sums {
            scratch.resize(inputs + weights + sums, 0.0);
        }
        let (inputs, rest) = scratch.split_at_mut(inputs);
        let (weights, sums) = rest.split_at_mut(weights);
        for (index, (channel, depth)) in self.packed.parts(PART).enumerate() {
            let plane = self.count * depth + GAP;
            let inputs = &mut inputs[..PLACES * plane];
            self.read::<S>(simd, channel, depth, inputs);
            let mut rest = &mut *sums;
            for block in self.blocks {
                let lanes = block.panels * PANEL;
                let own;
                (own, rest) = rest.split_at_mut(PLACES * (self.count * lanes + GAP));
                let weights = &mut weights[..PLACES * (depth * lanes + GAP)];
                let taps = self.packed.taps(block, channel, depth);
                apart(simd, Spread { taps, to: weights });
                let job = Products {
                    inputs,
                    weights,
                    sums: own,
                    depth,
                    count: self.count,
                    fresh: index == 0,
                };
                // As many sums as fit into 32 registers, or 16 with shorter vectors.
                match S::F32_LANES {
                    16 => match block.panels {
                        4 => job.run::<S, 4, 6>(simd),
                        3 => job.run::<S, 3, 8>(simd),
                        2 => job.run::<S, 2, 12>(simd),
                        _ => job.run::<S, 1, 12>(simd),
                    },
                    8 => job.run::<S, 2, 6>(simd),
                    4 => job.run::<S, 4, 5>(simd),
                    _ => job.run::<S, 16, 1>(simd),
                }
            }
        }
        let mut rest = &*sums;
        for block in self.blocks {
            let plane = self.count * block.panels * PANEL + GAP;
            let own;
            (own, rest) = rest.split_at(PLACES * plane);
            apart(
                simd,
                Finish {
                    task: &mut self,
                    block,
                    sums: own,
                },
            );
        }
        SCRATCH.set(scratch);
    }
}

impl Task<'_> {
    /// Picture, row and column of a tile.
    #[inline(always)]
    fn place(&self, tile: usize) -> [usize; 3] {
        let tile = self.first + tile;
        let (x, above) = (tile % self.across, tile / self.across);
        [above / self.down, above % self.down, x]
    }

    /// Transforms the input pixels of all tiles.
    #[inline(always)]
    fn read<S: Simd>(&self, simd: S, channel: usize, depth: usize, to: &mut [f32]) {
        for tile in 0..self.count {
            let [n, y, x] = self.place(tile);
            let mut from: [&[f32]; PLACES] = [&[]; PLACES];
            for (i, from) in from.iter_mut().enumerate() {
                let pixels = self.map.at(n, 2 * y + i / 4, 2 * x + i % 4);
                *from = &pixels[channel..][..depth];
            }
            apart(
                simd,
                Gather {
                    from,
                    to,
                    tile,
                    depth,
                },
            );
        }
    }
}

/// Transforms the pixels of one tile, all channels of a part.
struct Gather<'a> {
    from: [&'a [f32]; PLACES],
    /// `[PLACES][tiles * depth + GAP]`.
    to: &'a mut [f32],
    tile: usize,
    depth: usize,
}

impl pulp::WithSimd for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let plane = self.to.len() / PLACES;
        let count = self.depth / S::F32_LANES;
        let mut from: [&[S::f32s]; PLACES] = [&[]; PLACES];
        for (vectors, numbers) in from.iter_mut().zip(&self.from) {
            *vectors = &S::as_simd_f32s(numbers).0[..count];
        }
        let mut to: [&mut [S::f32s]; PLACES] = std::array::from_fn(|_| Default::default());
        for (vectors, numbers) in to.iter_mut().zip(self.to.chunks_exact_mut(plane)) {
            let numbers = &mut numbers[self.tile * self.depth..][..self.depth];
            *vectors = &mut S::as_mut_simd_f32s(numbers).0[..count];
        }
        for k in 0..count {
            let mut rows = [[simd.splat_f32s(0.0); 4]; 4];
            for (i, row) in rows.iter_mut().enumerate() {
                let line = [
                    from[4 * i][k],
                    from[4 * i + 1][k],
                    from[4 * i + 2][k],
                    from[4 * i + 3][k],
                ];
                *row = differences(simd, line);
            }
            let [a, b, c, d] = rows;
            for x in 0..4 {
                let column = differences(simd, [a[x], b[x], c[x], d[x]]);
                for (y, number) in column.into_iter().enumerate() {
                    to[4 * y + x][k] = number;
                }
            }
        }
    }
}

/// What four numbers in a row become.
#[inline(always)]
fn differences<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 4] {
    [
        simd.sub_f32s(a, c),
        simd.add_f32s(b, c),
        simd.sub_f32s(c, b),
        simd.sub_f32s(b, d),
    ]
}

/// Transforms the weights of one block.
struct Spread<'a> {
    /// For each tap `[depth][lanes]`.
    taps: [&'a [f32]; 9],
    /// `[PLACES][depth * lanes + GAP]`.
    to: &'a mut [f32],
}

impl pulp::WithSimd for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let plane = self.to.len() / PLACES;
        let count = self.taps[0].len() / S::F32_LANES;
        let mut taps: [&[S::f32s]; 9] = [&[]; 9];
        for (vectors, numbers) in taps.iter_mut().zip(&self.taps) {
            *vectors = &S::as_simd_f32s(numbers).0[..count];
        }
        let mut to: [&mut [S::f32s]; PLACES] = std::array::from_fn(|_| Default::default());
        for (vectors, numbers) in to.iter_mut().zip(self.to.chunks_exact_mut(plane)) {
            *vectors = &mut S::as_mut_simd_f32s(numbers).0[..count];
        }
        for k in 0..count {
            let a = halves(simd, [taps[0][k], taps[1][k], taps[2][k]]);
            let b = halves(simd, [taps[3][k], taps[4][k], taps[5][k]]);
            let c = halves(simd, [taps[6][k], taps[7][k], taps[8][k]]);
            for x in 0..4 {
                let column = halves(simd, [a[x], b[x], c[x]]);
                for (y, number) in column.into_iter().enumerate() {
                    to[4 * y + x][k] = number;
                }
            }
        }
    }
}

/// What three weights in a row become.
#[inline(always)]
fn halves<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; 4] {
    let half = simd.splat_f32s(0.5);
    let outer = simd.mul_f32s(simd.add_f32s(a, c), half);
    let inner = simd.mul_f32s(b, half);
    [
        a,
        simd.add_f32s(outer, inner),
        simd.sub_f32s(outer, inner),
        c,
    ]
}

/// The sums over some channels at all places.
struct Products<'a> {
    /// `[PLACES][count * depth + GAP]`.
    inputs: &'a [f32],
    /// `[PLACES][depth * lanes + GAP]`.
    weights: &'a [f32],
    /// `[PLACES][count * lanes + GAP]`.
    sums: &'a mut [f32],
    depth: usize,
    count: usize,
    /// There are no sums yet.
    fresh: bool,
}

impl Products<'_> {
    #[inline(always)]
    fn run<S: Simd, const VECTORS: usize, const ROWS: usize>(self, simd: S) {
        let lanes = VECTORS * S::F32_LANES;
        let Self { depth, count, .. } = self;
        let inputs = self.inputs.chunks_exact(count * depth + GAP);
        let weights = self.weights.chunks_exact(depth * lanes + GAP);
        let sums = self.sums.chunks_exact_mut(count * lanes + GAP);
        for (sums, (input, weights)) in sums.zip(inputs.zip(weights)) {
            let job = Product::<VECTORS, ROWS> {
                input: &input[..count * depth],
                weights: &weights[..depth * lanes],
                sums: &mut sums[..count * lanes],
                depth,
                fresh: self.fresh,
            };
            apart(simd, job);
        }
    }
}

/// One of them.
struct Product<'a, const VECTORS: usize, const ROWS: usize> {
    input: &'a [f32],
    weights: &'a [f32],
    sums: &'a mut [f32],
    depth: usize,
    fresh: bool,
}

impl<const VECTORS: usize, const ROWS: usize> pulp::WithSimd for Product<'_, VECTORS, ROWS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut row = 0;
        row = self.tiles::<S, ROWS>(simd, row);
        if ROWS > 4 {
            row = self.tiles::<S, 4>(simd, row);
        }
        if ROWS > 2 {
            row = self.tiles::<S, 2>(simd, row);
        }
        self.tiles::<S, 1>(simd, row);
    }
}

impl<const VECTORS: usize, const ALL: usize> Product<'_, VECTORS, ALL> {
    /// As many tiles of so many rows as there are from `row` on. Returns the first row after them.
    #[inline(always)]
    fn tiles<S: Simd, const ROWS: usize>(&mut self, simd: S, mut row: usize) -> usize {
        let (weights, _) = S::as_simd_f32s(self.weights);
        let (all, _) = S::as_mut_simd_f32s(self.sums);
        while (row + ROWS) * VECTORS <= all.len() {
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
            let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
            for (i, numbers) in rows.iter_mut().enumerate() {
                *numbers = &self.input[(row + i) * self.depth..][..self.depth];
            }
            for (k, weights) in (0..self.depth).zip(weights.chunks_exact(VECTORS)) {
                for (sums, numbers) in sums.iter_mut().zip(&rows) {
                    let number = simd.splat_f32s(numbers[k]);
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = simd.mul_add_f32s(*weight, number, *sum);
                    }
                }
            }
            let all = &mut all[row * VECTORS..][..ROWS * VECTORS];
            if self.fresh {
                for (all, sums) in all.chunks_exact_mut(VECTORS).zip(&sums) {
                    for (all, sum) in all.iter_mut().zip(sums) {
                        *all = *sum;
                    }
                }
            } else {
                for (all, sums) in all.chunks_exact_mut(VECTORS).zip(&sums) {
                    for (all, sum) in all.iter_mut().zip(sums) {
                        *all = simd.add_f32s(*all, *sum);
                    }
                }
            }
            row += ROWS;
        }
        row
    }
}

/// Transforms the sums of a block into outputs.
struct Finish<'a, 'b> {
    task: &'a mut Task<'b>,
    block: &'a Block,
    /// `[PLACES][count * lanes + GAP]`.
    sums: &'a [f32],
}

impl pulp::WithSimd for Finish<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { task, block, sums } = self;
        let lanes = block.panels * PANEL;
        let plane = sums.len() / PLACES;
        let column = block.first - task.blocks[0].first;
        let (bias, _) = S::as_simd_f32s(&task.packed.bias()[block.first..][..lanes]);
        let bias = &bias[..block.width.div_ceil(S::F32_LANES)];
        let to = task.map.to;
        for tile in 0..task.count {
            let [n, y, x] = task.place(tile);
            let mut places: [&[S::f32s]; PLACES] = [&[]; PLACES];
            for (place, plane) in places.iter_mut().zip(sums.chunks_exact(plane)) {
                let (vectors, _) = S::as_simd_f32s(&plane[tile * lanes..][..lanes]);
                *place = &vectors[..bias.len()];
            }
            for (k, bias) in bias.iter().enumerate() {
                let mut vectors = [*bias; PLACES];
                for (vector, place) in vectors.iter_mut().zip(&places) {
                    *vector = place[k];
                }
                let numbers = outputs(simd, vectors);
                let start = k * S::F32_LANES;
                let width = S::F32_LANES.min(block.width - start);
                for (i, number) in numbers.into_iter().enumerate() {
                    let Some(pixel) = &mut task.pixels[4 * tile + i] else {
                        continue;
                    };
                    let pixel = &mut pixel[column + start..][..width];
                    let residual = task.residual.map(|residual| {
                        let pixel = (n * to.height + 2 * y + i / 2) * to.width + 2 * x + i % 2;
                        &residual[pixel * to.channels + block.first + start..][..width]
                    });
                    let number = simd.add_f32s(number, *bias);
                    put(simd, number, residual, pixel);
                }
            }
        }
    }
}

/// Writes a number for each of `to`, with `residual` added.
#[inline(always)]
fn put<S: Simd>(simd: S, numbers: S::f32s, residual: Option<&[f32]>, to: &mut [f32]) {
    let mut numbers = numbers;
    if let ([to], []) = S::as_mut_simd_f32s(to) {
        if let Some(([residual], [])) = residual.map(S::as_simd_f32s) {
            numbers = simd.add_f32s(numbers, *residual);
        }
        *to = numbers;
    } else {
        if let Some(residual) = residual {
            numbers = simd.add_f32s(numbers, simd.partial_load_f32s(residual));
        }
        simd.partial_store_f32s(to, numbers);
    }
}

/// What the sums at all places become: two rows of two pixels.
#[inline(always)]
fn outputs<S: Simd>(simd: S, sums: [S::f32s; PLACES]) -> [S::f32s; 4] {
    let mut columns = [[sums[0]; 2]; 4];
    for (x, column) in columns.iter_mut().enumerate() {
        *column = pair(simd, [sums[x], sums[x + 4], sums[x + 8], sums[x + 12]]);
    }
    let [a, b, c, d] = columns;
    let [first, second] = pair(simd, [a[0], b[0], c[0], d[0]]);
    let [third, fourth] = pair(simd, [a[1], b[1], c[1], d[1]]);
    [first, second, third, fourth]
}

/// What four sums in a row become.
#[inline(always)]
fn pair<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 2] {
    [
        simd.add_f32s(a, simd.add_f32s(b, c)),
        simd.sub_f32s(b, simd.add_f32s(c, d)),
    ]
}
