//! Attention in Burn's own terms, on the fused kernels where their conditions hold.
//!
//! The accelerated kernels of CUDA take head sizes that are multiples of 16 and query lengths that
//! are multiples of 128; a choice of the tuner for other shapes can end in a panic (Burn 0.21).
//! So the head is padded with zeros where the query length fits, and everything else goes the way
//! of separate products, a piece of the queries at a time.

use burn::Tensor;
use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::module::attention;
use burn::tensor::ops::{AttentionModuleOptions, PadMode};
use burn::tensor::{Bool, DType};

use super::Tokens;

/// Query lengths that the fused kernels take are multiples of this.
const FUSED_QUERIES: usize = 128;

/// Head sizes that the fused kernels take are multiples of this.
const FUSED_HEAD: usize = 16;

/// Most scores that are in memory at a time when they are made explicitly: 256 MiB of 32-bit floats.
const MAX_SCORES: usize = 64 << 20;

/// See [`super::Kernels::attend`].
pub fn general<B: Backend>(
    query: Tokens<B>,
    key: Tokens<B>,
    value: Tokens<B>,
    heads: usize,
    causal: bool,
) -> Tokens<B> {
    let [_, tokens, _] = query.dims();
    let [query, key, value] = [query, key, value].map(|tokens| split(tokens, heads));
    let output = if tokens.is_multiple_of(FUSED_QUERIES) && !causal {
        fused(query, key, value)
    } else {
        explicit(query, key, &value, causal)
    };
    join(output)
}

/// `[b, s, heads * d]` to `[b, heads, s, d]`.
pub fn split<B: Backend>(tokens: Tokens<B>, heads: usize) -> Tensor<B, 4> {
    let [batch, length, channels] = tokens.dims();
    tokens
        .reshape([batch, length, heads, channels / heads])
        .swap_dims(1, 2)
}

/// `[b, heads, s, d]` to `[b, s, heads * d]`.
pub fn join<B: Backend>(output: Tensor<B, 4>) -> Tokens<B> {
    let [batch, heads, length, head] = output.dims();
    output
        .swap_dims(1, 2)
        .reshape([batch, length, heads * head])
}

/// On the fused kernel, on heads padded with zeros to a size that it takes.
///
/// Zeros change no score; but the kernel divides by the root of the padded size, so the queries are
/// scaled by the quotient of both roots. A scale given to Burn would turn the kernel off.
fn fused<B: Backend>(query: Tensor<B, 4>, key: Tensor<B, 4>, value: Tensor<B, 4>) -> Tensor<B, 4> {
    let [_, _, _, head] = query.dims();
    let padded = head.next_multiple_of(FUSED_HEAD);
    let options = AttentionModuleOptions::default();
    if padded == head {
        return attention(query, key, value, None, None, options);
    }
    let query = query * (padded as f64 / head as f64).sqrt();
    let [query, key, value] = [query, key, value]
        .map(|tensor| tensor.pad((0, padded - head, 0, 0), PadMode::Constant(0.0)));
    attention(query, key, value, None, None, options).narrow(3, 0, head)
}

/// By separate products, with softmax in 32-bit floats.
fn explicit<B: Backend>(
    query: Tensor<B, 4>,
    key: Tensor<B, 4>,
    value: &Tensor<B, 4>,
    causal: bool,
) -> Tensor<B, 4> {
    let [batch, heads, queries, head] = query.dims();
    let [_, _, keys, _] = key.dims();
    let query = query * (1.0 / (head as f64).sqrt());
    let key = key.swap_dims(2, 3); // [b, h, t, d] -> [b, h, d, t]
    let fitting = (MAX_SCORES / (batch * heads * keys)).clamp(1, queries);
    let mut pieces = Vec::with_capacity(queries.div_ceil(fitting));
    for first in (0..queries).step_by(fitting) {
        let count = fitting.min(queries - first);
        let scores = query
            .clone()
            .narrow(2, first, count)
            .matmul(key.clone())
            .cast(DType::F32);
        let scores = if causal {
            mask_later(scores, first)
        } else {
            scores
        };
        let weights = softmax(scores, 3).cast(value.dtype());
        pieces.push(weights.matmul(value.clone()));
    }
    if pieces.len() == 1 {
        pieces.remove(0)
    } else {
        Tensor::cat(pieces, 2)
    }
}

/// Takes away what lies after each query, of which the first is number `first`.
pub fn mask_later<B: Backend>(scores: Tensor<B, 4>, first: usize) -> Tensor<B, 4> {
    let [_, _, queries, keys] = scores.dims();
    let later: Tensor<B, 2, Bool> =
        Tensor::tril_mask([queries, keys], first as i64, &scores.device());
    scores.mask_fill(later.unsqueeze::<4>(), f32::NEG_INFINITY)
}
