//! The way back of attention.
//!
//! With the weights `P = softmax(Q Kᵀ / √head)`, outputs `O = P V` and the gradient `G` of `O`:
//!
//! ```text
//! gradient of V = Pᵀ G
//! gradient of P = G Vᵀ
//! gradient of the scores, S = P ∘ (G Vᵀ - D), where D is the sum of G ∘ O over each query
//! gradient of Q = S K / √head
//! gradient of K = Sᵀ Q / √head
//! ```
//!
//! The weights are computed again, some queries times some keys at a time, from the totals that the
//! way there has kept. Vectors run over keys, which leaves four of the five products without a lane
//! too many, whatever the size of a head; only the gradient of the queries has vectors over channels.

use std::f32::consts::LOG2_E;
use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use super::product::{Add, Columns, Cut, Finish, Product, cuts};
use crate::models::cpu::Sizes;
use crate::models::cpu::pointwise::{PIECE, in_pieces};
use crate::models::cpu::vector::exp2_negative;

/// Queries whose weights are in memory together. With 64 keys they fit into the first-level cache.
const QUERIES: usize = 96;

/// Keys whose sums stay in the second-level cache while all queries pass by.
const KEYS: usize = 256;

/// Tasks that a picture is cut into at least, if it has the queries for it.
const TASKS: usize = 16;

/// Queries of a task at least: each task has sums of its own for all keys.
const FEWEST: usize = 512;

/// Channels that are transposed together: more would not stay in the first-level cache.
const SQUARE: usize = 16;

/// What an attention has read and written.
#[derive(Clone, Copy, Debug)]
pub struct Attended<'a> {
    /// `[batch, queries, heads * head]`
    pub query: &'a [f32],
    /// `[batch, keys, heads * head]`
    pub key: &'a [f32],
    /// `[batch, keys, heads * head]`
    pub value: &'a [f32],
    /// `[batch, queries, heads * head]`
    pub out: &'a [f32],
    /// `[batch, heads, queries]`, see [`crate::models::cpu::attention_with_totals`].
    pub totals: &'a [f32],
}

/// Fills `gradients` with those of query, key and value, given the gradient of the output.
pub fn attention_back(
    attended: Attended<'_>,
    gradient: &[f32],
    sizes: Sizes,
    causal: bool,
    gradients: [&mut [f32]; 3],
) {
    let Attended {
        query,
        key,
        value,
        out,
        totals,
    } = attended;
    let [to_query, to_key, to_value] = gradients;
    let Sizes {
        batch,
        queries,
        keys,
        heads,
        head,
    } = sizes;
    let channels = heads * head;
    for numbers in [query, out, gradient, to_query] {
        let count = batch * queries * channels;
        assert_eq!(numbers.len(), count, "the queries have their sizes");
    }
    for numbers in [key, value, to_key, to_value] {
        let count = batch * keys * channels;
        assert_eq!(numbers.len(), count, "the keys have their sizes");
    }
    assert_eq!(
        totals.len(),
        batch * heads * queries,
        "each query has totals"
    );
    if key.is_empty() {
        to_query.fill(0.0);
        return;
    }
    if query.is_empty() {
        to_key.fill(0.0);
        to_value.fill(0.0);
        return;
    }
    let parts = TASKS.div_ceil(heads).min(queries.div_ceil(FEWEST));
    let part = queries.div_ceil(parts);
    let parts = queries.div_ceil(part);
    let own = keys * head;
    let mut sums = vec![0.0; batch * heads * parts * 2 * own];
    let mut tasks = Vec::with_capacity(batch * heads * parts);
    for (index, sums) in sums.chunks_exact_mut(2 * own).enumerate() {
        let (pair, first) = (index / parts, index % parts * part);
        let (n, place) = (pair / heads, pair % heads * head);
        let count = part.min(queries - first);
        let (key_sums, value_sums) = sums.split_at_mut(own);
        let asked = (n * queries + first) * channels + place;
        let known = n * keys * channels + place;
        tasks.push(Task {
            query: &query[asked..],
            key: &key[known..],
            value: &value[known..],
            out: &out[asked..],
            gradient: &gradient[asked..],
            totals: &totals[pair * queries + first..][..count],
            sizes,
            channels,
            first,
            causal,
            rows: Vec::with_capacity(count),
            key_sums,
            value_sums,
        });
    }
    for (i, row) in to_query.chunks_exact_mut(channels).enumerate() {
        let (n, i) = (i / queries, i % queries);
        for (place, row) in row.chunks_exact_mut(head).enumerate() {
            tasks[(n * heads + place) * parts + i / part].rows.push(row);
        }
    }
    let arch = pulp::Arch::new();
    tasks
        .into_par_iter()
        .with_max_len(1)
        .for_each(|task| arch.dispatch(task));
    let tokens = (PIECE / channels).max(1);
    for (half, to) in [to_key, to_value].into_iter().enumerate() {
        in_pieces(to, tokens * channels, |start, to| {
            for (i, to) in to.chunks_exact_mut(head).enumerate() {
                let (token, place) = (start / channels + i / heads, i % heads);
                let pair = token / keys * heads + place;
                let at = |part: usize| {
                    let task = pair * parts + part;
                    &sums[(2 * task + half) * own + token % keys * head..][..head]
                };
                to.copy_from_slice(at(0));
                for part in 1..parts {
                    for (to, sum) in to.iter_mut().zip(at(part)) {
                        *to += sum;
                    }
                }
            }
        });
    }
}

/// Some queries of one head.
struct Task<'a> {
    /// From the first query's head on, as `out` and `gradient`.
    query: &'a [f32],
    /// From the first key's head on, as `value`.
    key: &'a [f32],
    value: &'a [f32],
    out: &'a [f32],
    gradient: &'a [f32],
    /// Those of these queries.
    totals: &'a [f32],
    sizes: Sizes,
    /// Numbers from one token to the next.
    channels: usize,
    /// Number of the first query.
    first: usize,
    causal: bool,
    /// The gradients of these queries.
    rows: Vec<&'a mut [f32]>,
    /// What these queries add to the gradient of all keys: `[keys][head]`.
    key_sums: &'a mut [f32],
    /// The same for all values.
    value_sums: &'a mut [f32],
}

impl pulp::WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Sizes { head, keys, .. } = self.sizes;
        let count = self.totals.len();
        let columns = cuts::<S>(head);
        let width: usize = columns.iter().map(|columns| columns.lanes).sum();
        let mut asked = Asked {
            query: packed(self.query, self.channels, head, count),
            gradient: packed(self.gradient, self.channels, head, count),
            totals: self.totals,
            means: Vec::with_capacity(count),
            sums: vec![0.0; count * width],
            weights: Vec::new(),
        };
        let outs = self.out.chunks(self.channels);
        for (gradient, out) in asked.gradient.chunks_exact(head).zip(outs) {
            asked.means.push(dot(simd, gradient, &out[..head]));
        }
        for first in (0..keys).step_by(KEYS) {
            let mut span = Span::new::<S>(&self, first..keys.min(first + KEYS), &columns);
            // What comes before the first key sees none of them.
            let begin = if self.causal {
                first.saturating_sub(self.first).min(count)
            } else {
                0
            };
            for start in (begin..count).step_by(QUERIES) {
                let rows = start..count.min(start + QUERIES);
                for block in 0..span.blocks.len() {
                    let origin = first + span.blocks[block].first;
                    let query = self.causal.then_some(self.first + start);
                    let last = self.first + rows.end - 1;
                    if self.causal && last < origin {
                        break;
                    }
                    let seen = query.map(|query| (query, origin));
                    span.step(simd, block, &columns, &mut asked, rows.clone(), seen);
                }
            }
            span.finish(&mut self);
        }
        let scale = 1.0 / (head as f32).sqrt();
        for columns in &columns {
            let sums = &asked.sums[count * columns.first..][..count * columns.lanes];
            for (row, sums) in self.rows.iter_mut().zip(sums.chunks_exact(columns.lanes)) {
                let row = &mut row[columns.first..][..columns.count];
                for (to, sum) in row.iter_mut().zip(sums) {
                    *to = sum * scale;
                }
            }
        }
    }
}

/// The queries of a task.
struct Asked<'a> {
    /// `[queries][head]`
    query: Vec<f32>,
    /// `[queries][head]`
    gradient: Vec<f32>,
    totals: &'a [f32],
    /// The sum of gradient times output of each query, which is also the mean of the gradients of its
    /// weights.
    means: Vec<f32>,
    /// The gradient of the queries: for some columns after others `[queries][lanes]`.
    sums: Vec<f32>,
    /// Working memory: the weights, then the gradients of the scores, `[queries][lanes]`.
    weights: Vec<f32>,
}

/// Rows of `head` numbers, brought together.
fn packed(from: &[f32], channels: usize, head: usize, count: usize) -> Vec<f32> {
    let mut to = Vec::with_capacity(count * head);
    for row in from.chunks(channels).take(count) {
        to.extend_from_slice(&row[..head]);
    }
    to
}

/// The sum of products.
#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = S::as_simd_f32s(a);
    let (b, b_rest) = S::as_simd_f32s(b);
    let (a_rest, b_rest) = (
        simd.partial_load_f32s(a_rest),
        simd.partial_load_f32s(b_rest),
    );
    let mut sum = simd.mul_f32s(a_rest, b_rest);
    for (a, b) in a.iter().zip(b) {
        sum = simd.mul_add_f32s(*a, *b, sum);
    }
    simd.reduce_sum_f32s(sum)
}

/// Some keys of one head.
struct Span {
    /// Their numbers.
    range: Range<usize>,
    /// Keys that are computed together, counted from the first of the span. What there is of each
    /// block stands behind what there is of the ones before.
    blocks: Vec<Cut>,
    /// For each block `[head][lanes]`, scaled so that weights are powers of two.
    keys: Vec<f32>,
    /// For each block `[head][lanes]`.
    values: Vec<f32>,
    /// For each block and some columns after others `[count][lanes]`.
    rows: Vec<f32>,
    /// The gradient of the keys, like `keys`.
    key_sums: Vec<f32>,
    /// The gradient of the values, like `values`.
    value_sums: Vec<f32>,
}

impl Span {
    #[inline(always)]
    fn new<S: Simd>(task: &Task<'_>, range: Range<usize>, columns: &[Cut]) -> Self {
        let head = task.sizes.head;
        let blocks = cuts::<S>(range.len());
        let size = head * blocks.iter().map(|block| block.lanes).sum::<usize>();
        let width: usize = columns.iter().map(|columns| columns.lanes).sum();
        let mut span = Self {
            keys: vec![0.0; size],
            values: vec![0.0; size],
            rows: vec![0.0; range.len() * width],
            key_sums: vec![0.0; size],
            value_sums: vec![0.0; size],
            range,
            blocks,
        };
        let scale = LOG2_E / (head as f32).sqrt();
        for block in &span.blocks {
            let place = (span.range.start + block.first) * task.channels;
            let (key, value) = (&task.key[place..], &task.value[place..]);
            let part = head * block.first..head * (block.first + block.lanes);
            let of = (task.channels, head);
            transpose(key, of, *block, scale, &mut span.keys[part.clone()]);
            transpose(value, of, *block, 1.0, &mut span.values[part]);
            let mut rows = &mut span.rows[width * block.first..][..width * block.count];
            for columns in columns {
                let own;
                (own, rows) = rows.split_at_mut(block.count * columns.lanes);
                let from = key.chunks(task.channels);
                for (to, from) in own.chunks_exact_mut(columns.lanes).zip(from) {
                    to[..columns.count].copy_from_slice(&from[columns.first..][..columns.count]);
                }
            }
        }
        span
    }

    /// What some queries add for one block of keys. With `seen`, the numbers of the first of these
    /// queries and keys, a query sees no key after it.
    #[inline(always)]
    fn step<S: Simd>(
        &mut self,
        simd: S,
        block: usize,
        columns: &[Cut],
        asked: &mut Asked<'_>,
        queries: Range<usize>,
        seen: Option<(usize, usize)>,
    ) {
        let Cut {
            first,
            count,
            lanes,
        } = self.blocks[block];
        let all = asked.totals.len();
        let head = asked.query.len() / all;
        let part = head * first..head * (first + lanes);
        let own = head * queries.start..head * queries.end;
        let (query, gradient) = (&asked.query[own.clone()], &asked.gradient[own]);
        if asked.weights.len() < queries.len() * lanes {
            asked.weights.resize(queries.len() * lanes, 0.0);
        }
        let weights = &mut asked.weights[..queries.len() * lanes];
        let job = Product {
            input: query,
            pitch: head,
            depth: head,
            weights: &self.keys[part.clone()],
            out: weights,
            finish: Weights(&asked.totals[queries.clone()]),
        };
        job.run(simd, lanes);
        if let Some((query, key)) = seen {
            hide(query, key, lanes, weights);
        }
        let job = Columns {
            input: gradient,
            pitch: head,
            width: head,
            weights,
            out: &mut self.value_sums[part.clone()],
        };
        job.run(simd, lanes);
        let job = Product {
            input: gradient,
            pitch: head,
            depth: head,
            weights: &self.values[part.clone()],
            out: weights,
            finish: Slopes(&asked.means[queries.clone()]),
        };
        job.run(simd, lanes);
        let job = Columns {
            input: query,
            pitch: head,
            width: head,
            weights,
            out: &mut self.key_sums[part],
        };
        job.run(simd, lanes);
        let width = self.rows.len() / self.range.len();
        let mut rows = &self.rows[width * first..][..width * count];
        for columns in columns {
            let own;
            (own, rows) = rows.split_at(count * columns.lanes);
            let sums = &mut asked.sums[all * columns.first..][..all * columns.lanes];
            let job = Product {
                input: weights,
                pitch: lanes,
                depth: count,
                weights: own,
                out: &mut sums[columns.lanes * queries.start..columns.lanes * queries.end],
                finish: Add,
            };
            job.run(simd, columns.lanes);
        }
    }

    /// Hands the sums over.
    #[inline(always)]
    fn finish(self, task: &mut Task<'_>) {
        let head = task.sizes.head;
        let scale = 1.0 / (head as f32).sqrt();
        for block in &self.blocks {
            let part = head * block.first..head * (block.first + block.lanes);
            let first = self.range.start + block.first;
            let own = head * first..head * (first + block.count);
            let keys = &mut task.key_sums[own.clone()];
            turn_back(&self.key_sums[part.clone()], *block, head, scale, keys);
            let values = &mut task.value_sums[own];
            turn_back(&self.value_sums[part], *block, head, 1.0, values);
        }
    }
}

/// The weights of scores.
#[derive(Clone, Copy)]
struct Weights<'a>(&'a [f32]);

impl Finish for Weights<'_> {
    #[inline(always)]
    fn finish<S: Simd>(self, simd: S, row: usize, _: S::f32s, sum: S::f32s) -> S::f32s {
        exp2_negative(simd, simd.sub_f32s(sum, simd.splat_f32s(self.0[row])))
    }
}

/// The gradients of scores, from weights and the gradients of these.
#[derive(Clone, Copy)]
struct Slopes<'a>(&'a [f32]);

impl Finish for Slopes<'_> {
    #[inline(always)]
    fn finish<S: Simd>(self, simd: S, row: usize, old: S::f32s, sum: S::f32s) -> S::f32s {
        simd.mul_f32s(old, simd.sub_f32s(sum, simd.splat_f32s(self.0[row])))
    }
}

/// Takes away the weights of keys that a query does not see; `query` and `key` are the numbers of the
/// first.
fn hide(query: usize, key: usize, lanes: usize, weights: &mut [f32]) {
    for (i, weights) in weights.chunks_exact_mut(lanes).enumerate() {
        let seen = (query + i + 1).saturating_sub(key).min(lanes);
        weights[seen..].fill(0.0);
    }
}

/// `to[head][lanes] = scale * from`, of which each token is a row that begins with its head.
#[inline(always)]
fn transpose(
    from: &[f32],
    (channels, head): (usize, usize),
    block: Cut,
    scale: f32,
    to: &mut [f32],
) {
    let Cut { count, lanes, .. } = block;
    let rows = from.chunks(channels).take(count);
    for (first, to) in to.chunks_mut(SQUARE * lanes).enumerate() {
        let range = first * SQUARE..head.min((first + 1) * SQUARE);
        for (i, row) in rows.clone().enumerate() {
            let row = &row[range.clone()];
            // A loop of known length over memory of known size runs without questions.
            if let Some(row) = row.first_chunk::<SQUARE>() {
                let to = &mut to[..SQUARE * lanes];
                assert!(i < lanes, "each token has a lane");
                for k in 0..SQUARE {
                    to[k * lanes + i] = row[k] * scale;
                }
            } else {
                for (to, x) in to[i..].iter_mut().step_by(lanes).zip(row) {
                    *to = x * scale;
                }
            }
        }
    }
}

/// `to[count][head] = scale * from[head][lanes]`.
#[inline(always)]
fn turn_back(from: &[f32], block: Cut, head: usize, scale: f32, to: &mut [f32]) {
    let lanes = block.lanes;
    for (first, from) in from.chunks(SQUARE * lanes).enumerate() {
        let range = first * SQUARE..head.min((first + 1) * SQUARE);
        for (i, row) in to.chunks_exact_mut(head).enumerate() {
            let row = &mut row[range.clone()];
            if let Some(row) = row.first_chunk_mut::<SQUARE>() {
                let from = &from[..SQUARE * lanes];
                assert!(i < lanes, "each token has a lane");
                for k in 0..SQUARE {
                    row[k] = from[k * lanes + i] * scale;
                }
            } else {
                for (to, x) in row.iter_mut().zip(from[i..].iter().step_by(lanes)) {
                    *to = x * scale;
                }
            }
        }
    }
}
