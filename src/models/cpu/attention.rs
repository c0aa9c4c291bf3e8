//! Attention: each query takes the mean of all values, weighted by how well their keys fit it.
//!
//! Vectors run over queries, so that the largest score and the sum of weights of a query are never
//! sought across a vector, and keys and values are read as they lie. Keys come in chunks; what was
//! summed before is scaled down whenever a chunk brings a larger score (online softmax), so the
//! scores of all keys are never in memory together.

use std::f32::consts::LOG2_E;

use pulp::Simd;
use rayon::prelude::*;

use super::apart;
use super::vector::exp2_negative;

/// Keys whose scores are in memory together.
const KEYS: usize = 128;

/// Channels that are transposed together: more would not stay in the first-level cache.
const SQUARE: usize = 16;

/// Numbers between the values of two keys.
const GAP: usize = 16;

/// Sizes of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Pictures.
    pub batch: usize,
    /// Queries of a picture.
    pub queries: usize,
    /// Keys and values of a picture.
    pub keys: usize,
    /// Heads, whose channels lie beside each other.
    pub heads: usize,
    /// Channels of a head.
    pub head: usize,
}

/// `out = softmax(query keyᵀ / √head) value` for each head.
///
/// `query` and `out` are `[batch, queries, heads * head]`, `key` and `value` are
/// `[batch, keys, heads * head]`. With `causal`, a query sees no keys after the one of its own number.
/// Without keys nothing is written.
pub fn attention(
    query: &[f32],
    key: &[f32],
    value: &[f32],
    sizes: Sizes,
    causal: bool,
    out: &mut [f32],
) {
    attention_with_totals([query, key, value], sizes, causal, out, None);
}

/// The same for query, key and value, and with `totals`, `[batch, heads, queries]`, the binary
/// logarithm of what the exponentials of a query's scores sum up to: the weight of a score is
/// `2^(score / ln 2 - total)`. The way back needs them.
pub fn attention_with_totals(
    [query, key, value]: [&[f32]; 3],
    sizes: Sizes,
    causal: bool,
    out: &mut [f32],
    totals: Option<&mut [f32]>,
) {
    let channels = sizes.heads * sizes.head;
    let count = |tokens: usize| sizes.batch * tokens * channels;
    assert_eq!(
        query.len(),
        count(sizes.queries),
        "the queries have their sizes"
    );
    assert_eq!(key.len(), count(sizes.keys), "the keys have their sizes");
    assert_eq!(value.len(), key.len(), "each key has a value");
    assert_eq!(out.len(), query.len(), "each query has an output");
    if out.is_empty() || key.is_empty() {
        return;
    }
    if let Some(totals) = &totals {
        let count = sizes.batch * sizes.heads * sizes.queries;
        assert_eq!(totals.len(), count, "each query has totals");
    }
    let tile = tile();
    let tiles = sizes.queries.div_ceil(tile);
    let picture = sizes.keys * channels;
    let mut totals = totals
        .unwrap_or_default()
        .chunks_mut(sizes.queries)
        .flat_map(|totals| totals.chunks_mut(tile));
    let mut tasks = Vec::with_capacity(sizes.batch * sizes.heads * tiles);
    for n in 0..sizes.batch {
        for head in 0..sizes.heads {
            for first in (0..sizes.queries).step_by(tile) {
                let start = n * picture + head * sizes.head;
                tasks.push(Task {
                    query: &query[(n * sizes.queries + first) * channels + head * sizes.head..],
                    key: &key[start..(n + 1) * picture],
                    value: &value[start..(n + 1) * picture],
                    sizes,
                    channels,
                    first,
                    causal,
                    rows: Vec::with_capacity(tile.min(sizes.queries - first)),
                    totals: totals.next(),
                });
            }
        }
    }
    for (i, row) in out.chunks_exact_mut(channels).enumerate() {
        let (n, i) = (i / sizes.queries, i % sizes.queries);
        for (head, part) in row.chunks_exact_mut(sizes.head).enumerate() {
            tasks[(n * sizes.heads + head) * tiles + i / tile]
                .rows
                .push(part);
        }
    }
    let arch = pulp::Arch::new();
    tasks.into_par_iter().for_each(|task| arch.dispatch(task));
}

/// Queries of a whole tile.
fn tile() -> usize {
    struct Lanes;
    impl pulp::WithSimd for Lanes {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES * vectors::<S>()
        }
    }
    pulp::Arch::new().dispatch(Lanes)
}

/// Vectors of queries beside each other.
const fn vectors<S: Simd>() -> usize {
    match S::F32_LANES {
        16 | 4 => 4,
        8 => 2,
        _ => 8,
    }
}

/// Some queries of one head.
struct Task<'a> {
    /// From the first query's head on, as the others.
    query: &'a [f32],
    key: &'a [f32],
    value: &'a [f32],
    sizes: Sizes,
    /// Numbers from one token to the next.
    channels: usize,
    /// Number of the first query.
    first: usize,
    causal: bool,
    /// The outputs, one per query.
    rows: Vec<&'a mut [f32]>,
    /// Where the queries' totals are kept.
    totals: Option<&'a mut [f32]>,
}

impl pulp::WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // As many sums as fit into 32 registers, or 16 with shorter vectors.
        match S::F32_LANES {
            16 => match self.rows.len().div_ceil(S::F32_LANES) {
                1 => self.run::<S, 1, 12>(simd),
                2 => self.run::<S, 2, 12>(simd),
                3 => self.run::<S, 3, 8>(simd),
                _ => self.run::<S, 4, 6>(simd),
            },
            8 => self.run::<S, 2, 6>(simd),
            4 => self.run::<S, 4, 5>(simd),
            _ => self.run::<S, 8, 1>(simd),
        }
    }
}

impl Task<'_> {
    #[inline(always)]
    fn run<S: Simd, const VECTORS: usize, const ROWS: usize>(&mut self, simd: S) {
        let lanes = VECTORS * S::F32_LANES;
        let Sizes { head, keys, .. } = self.sizes;
        let query = self.transposed(lanes);
        let mut scores = vec![0.0; KEYS.min(keys) * lanes];
        let mut sums = vec![0.0; head * lanes];
        // Values are read a few channels of all keys at a time. As they lie, often a power of two
        // apart, these would all be in the same set of the cache.
        let pitch = head + GAP;
        let mut values = vec![0.0; KEYS.min(keys) * pitch];
        let mut state = State::new(lanes);
        let seen = if self.causal {
            keys.min(self.first + self.rows.len())
        } else {
            keys
        };
        for first in (0..seen).step_by(KEYS) {
            let count = KEYS.min(seen - first);
            let scores = &mut scores[..count * lanes];
            let job = Scores::<VECTORS, ROWS> {
                query: &query,
                key: &self.key[first * self.channels..],
                channels: self.channels,
                head,
                to: scores,
                peak: &mut state.peak,
            };
            apart(simd, job);
            if self.causal && first + count > self.first + 1 {
                self.hide(first, lanes, scores, &mut state.peak);
            }
            let state = &mut state;
            apart(simd, Weigh::<VECTORS> { state, scores });
            let source = self.value[first * self.channels..].chunks(self.channels);
            for (to, from) in values.chunks_exact_mut(pitch).zip(source).take(count) {
                to[..head].copy_from_slice(&from[..head]);
            }
            let job = Mix::<VECTORS, ROWS> {
                value: &values,
                channels: pitch,
                head,
                scores,
                factor: &state.factor,
                sums: &mut sums,
            };
            apart(simd, job);
        }
        self.finish(lanes, &state.total, &sums);
        let known = state.best.iter().zip(&state.total);
        for (to, (best, total)) in self
            .totals
            .iter_mut()
            .flat_map(|to| to.iter_mut())
            .zip(known)
        {
            *to = best + total.log2();
        }
    }

    /// The queries `[head][lanes]`, scaled so that weights are powers of two.
    #[inline(always)]
    fn transposed(&self, lanes: usize) -> Vec<f32> {
        let head = self.sizes.head;
        let scale = LOG2_E / (head as f32).sqrt();
        let mut query = vec![0.0; head * lanes];
        let rows = self.query.chunks(self.channels).take(self.rows.len());
        for (first, query) in query.chunks_mut(SQUARE * lanes).enumerate() {
            let channels = first * SQUARE..head.min((first + 1) * SQUARE);
            for (i, row) in rows.clone().enumerate() {
                let row = &row[channels.clone()];
                // A loop of known length over memory of known size runs without questions.
                if let Some(row) = row.first_chunk::<SQUARE>() {
                    let query = &mut query[..SQUARE * lanes];
                    assert!(i < lanes, "each query has a lane");
                    for k in 0..SQUARE {
                        query[k * lanes + i] = row[k] * scale;
                    }
                } else {
                    for (to, x) in query[i..].iter_mut().step_by(lanes).zip(row) {
                        *to = x * scale;
                    }
                }
            }
        }
        query
    }

    /// Takes away the scores of keys that a query does not see, and seeks the largest again.
    fn hide(&self, first: usize, lanes: usize, scores: &mut [f32], peak: &mut [f32]) {
        peak.fill(f32::NEG_INFINITY);
        for (i, scores) in scores.chunks_exact_mut(lanes).enumerate() {
            let before = (first + i).saturating_sub(self.first).min(lanes);
            scores[..before].fill(f32::NEG_INFINITY);
            for (peak, score) in peak.iter_mut().zip(scores) {
                *peak = peak.max(*score);
            }
        }
    }

    #[inline(always)]
    fn finish(&mut self, lanes: usize, total: &[f32], sums: &[f32]) {
        let head = self.sizes.head;
        for (first, sums) in sums.chunks(SQUARE * lanes).enumerate() {
            let channels = first * SQUARE..head.min((first + 1) * SQUARE);
            for (i, (row, total)) in self.rows.iter_mut().zip(total).enumerate() {
                let share = 1.0 / total;
                let row = &mut row[channels.clone()];
                if let Some(row) = row.first_chunk_mut::<SQUARE>() {
                    let sums = &sums[..SQUARE * lanes];
                    assert!(i < lanes, "each query has a lane");
                    for k in 0..SQUARE {
                        row[k] = sums[k * lanes + i] * share;
                    }
                } else {
                    for (out, sum) in row.iter_mut().zip(sums[i..].iter().step_by(lanes)) {
                        *out = sum * share;
                    }
                }
            }
        }
    }
}

/// What is known of each query.
struct State {
    /// The largest score of the last chunk.
    peak: Vec<f32>,
    /// The largest score of all.
    best: Vec<f32>,
    /// What the last chunk shrinks the sums before it by.
    factor: Vec<f32>,
    /// The sum of the weights.
    total: Vec<f32>,
}

impl State {
    fn new(lanes: usize) -> Self {
        let none = vec![f32::NEG_INFINITY; lanes];
        Self {
            peak: none.clone(),
            best: none,
            factor: vec![0.0; lanes],
            total: vec![0.0; lanes],
        }
    }
}

/// Scores of all queries for some keys.
struct Scores<'a, const VECTORS: usize, const ROWS: usize> {
    query: &'a [f32],
    key: &'a [f32],
    channels: usize,
    head: usize,
    to: &'a mut [f32],
    peak: &'a mut [f32],
}

impl<const VECTORS: usize, const ROWS: usize> pulp::WithSimd for Scores<'_, VECTORS, ROWS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut peak = [simd.splat_f32s(f32::NEG_INFINITY); VECTORS];
        let mut key = 0;
        key = self.tiles::<S, ROWS>(simd, key, &mut peak);
        if ROWS > 4 {
            key = self.tiles::<S, 4>(simd, key, &mut peak);
        }
        if ROWS > 2 {
            key = self.tiles::<S, 2>(simd, key, &mut peak);
        }
        self.tiles::<S, 1>(simd, key, &mut peak);
        let (to, _) = S::as_mut_simd_f32s(self.peak);
        for (to, peak) in to.iter_mut().zip(&peak) {
            *to = *peak;
        }
    }
}

impl<const VECTORS: usize, const ALL: usize> Scores<'_, VECTORS, ALL> {
    /// As many tiles of so many keys as there are from `key` on. Returns the first key after them.
    #[inline(always)]
    fn tiles<S: Simd, const ROWS: usize>(
        &mut self,
        simd: S,
        mut key: usize,
        peak: &mut [S::f32s; VECTORS],
    ) -> usize {
        let (query, _) = S::as_simd_f32s(self.query);
        let (scores, _) = S::as_mut_simd_f32s(self.to);
        while (key + ROWS) * VECTORS <= scores.len() {
            let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = &self.key[(key + i) * self.channels..][..self.head];
            }
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
            for (k, query) in (0..self.head).zip(query.chunks_exact(VECTORS)) {
                for (sums, row) in sums.iter_mut().zip(&rows) {
                    let number = simd.splat_f32s(row[k]);
                    for (sum, query) in sums.iter_mut().zip(query) {
                        *sum = simd.mul_add_f32s(*query, number, *sum);
                    }
                }
            }
            let scores = &mut scores[key * VECTORS..][..ROWS * VECTORS];
            for (scores, sums) in scores.chunks_exact_mut(VECTORS).zip(&sums) {
                for ((score, sum), peak) in scores.iter_mut().zip(sums).zip(peak.iter_mut()) {
                    *score = *sum;
                    *peak = simd.max_f32s(*peak, *sum);
                }
            }
            key += ROWS;
        }
        key
    }
}

/// Turns scores into weights, relative to the largest score so far.
struct Weigh<'a, const VECTORS: usize> {
    state: &'a mut State,
    scores: &'a mut [f32],
}

impl<const VECTORS: usize> pulp::WithSimd for Weigh<'_, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (peak, _) = S::as_simd_f32s(&self.state.peak);
        let (best, _) = S::as_mut_simd_f32s(&mut self.state.best);
        let (factor, _) = S::as_mut_simd_f32s(&mut self.state.factor);
        let (total, _) = S::as_mut_simd_f32s(&mut self.state.total);
        let zero = simd.splat_f32s(0.0);
        let (mut highest, mut sums) = ([zero; VECTORS], [zero; VECTORS]);
        let known = best.iter_mut().zip(peak).zip(factor.iter_mut());
        for (highest, ((best, peak), factor)) in highest.iter_mut().zip(known) {
            *highest = simd.max_f32s(*best, *peak);
            *factor = exp2_negative(simd, simd.sub_f32s(*best, *highest));
            *best = *highest;
        }
        let (scores, _) = S::as_mut_simd_f32s(self.scores);
        for scores in scores.chunks_exact_mut(VECTORS) {
            for ((score, highest), sum) in scores.iter_mut().zip(&highest).zip(&mut sums) {
                *score = exp2_negative(simd, simd.sub_f32s(*score, *highest));
                *sum = simd.add_f32s(*sum, *score);
            }
        }
        for ((total, factor), sum) in total.iter_mut().zip(factor).zip(&sums) {
            *total = simd.mul_add_f32s(*total, *factor, *sum);
        }
    }
}

/// Adds up values with weights.
struct Mix<'a, const VECTORS: usize, const ROWS: usize> {
    value: &'a [f32],
    channels: usize,
    head: usize,
    scores: &'a [f32],
    factor: &'a [f32],
    sums: &'a mut [f32],
}

impl<const VECTORS: usize, const ROWS: usize> pulp::WithSimd for Mix<'_, VECTORS, ROWS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut channel = 0;
        channel = self.tiles::<S, ROWS>(simd, channel);
        if ROWS > 4 {
            channel = self.tiles::<S, 4>(simd, channel);
        }
        if ROWS > 2 {
            channel = self.tiles::<S, 2>(simd, channel);
        }
        self.tiles::<S, 1>(simd, channel);
    }
}

impl<const VECTORS: usize, const ALL: usize> Mix<'_, VECTORS, ALL> {
    /// As many tiles of so many channels as there are from `channel` on. Returns the first channel
    /// after them.
    #[inline(always)]
    fn tiles<S: Simd, const ROWS: usize>(&mut self, simd: S, mut channel: usize) -> usize {
        let (weights, _) = S::as_simd_f32s(self.scores);
        let (factor, _) = S::as_simd_f32s(self.factor);
        let (all, _) = S::as_mut_simd_f32s(self.sums);
        while channel + ROWS <= self.head {
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
            let values = self.value[channel..].chunks(self.channels);
            for (weights, value) in weights.chunks_exact(VECTORS).zip(values) {
                let Some(numbers) = value.first_chunk::<ROWS>() else {
                    break;
                };
                for (sums, number) in sums.iter_mut().zip(numbers) {
                    let number = simd.splat_f32s(*number);
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = simd.mul_add_f32s(*weight, number, *sum);
                    }
                }
            }
            let all = &mut all[channel * VECTORS..][..ROWS * VECTORS];
            for (all, sums) in all.chunks_exact_mut(VECTORS).zip(&sums) {
                for ((all, sum), factor) in all.iter_mut().zip(sums).zip(factor) {
                    *all = simd.mul_add_f32s(*all, *factor, *sum);
                }
            }
            channel += ROWS;
        }
        channel
    }
}
