//! The way back in Burn's own terms, for any backend. Statistics are made in 32-bit floats.

use std::f64::consts::{PI, SQRT_2};

use burn::Tensor;
use burn::tensor::DType;
use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::backend::Backend;
use burn::tensor::module::conv_transpose2d;
use burn::tensor::ops::ConvTransposeOptions;

use super::attention::{join, mask_later, split};
use super::{AdamStep, BackKernels, Maps, Moments, Norm, Tokens, Window};

/// Most scores of attention that are in memory at a time on the way back: 64 MiB of 32-bit floats, and
/// as much again for each of the three numbers that go with a score.
const MAX_SCORES: usize = 16 << 20;

/// A convolution's weights for the way back.
#[derive(Debug)]
pub struct PlainBackFilter<B: Backend> {
    /// `[outputs, inputs, k, k]`
    weight: Tensor<B, 4>,
    window: Window,
}

pub fn back_filter<B: Backend>(weight: Tensor<B, 4>, window: Window) -> PlainBackFilter<B> {
    PlainBackFilter { weight, window }
}

/// Each number of the gradient is spread over the pixels that it was made of.
pub fn conv<B: Backend>(
    filter: &PlainBackFilter<B>,
    gradient: Maps<B>,
    height: usize,
    width: usize,
) -> Maps<B> {
    let Window {
        kernel,
        stride,
        before,
        after,
    } = filter.window;
    // What lies beyond the last step of the kernel made nothing and gets zeros.
    let beyond = |side: usize| (side + before + after - kernel) % stride;
    let options = ConvTransposeOptions::new(
        [stride; 2],
        [0; 2],
        [beyond(height), beyond(width)],
        [1; 2],
        1,
    );
    let gradient = gradient.permute([0, 3, 1, 2]); // [b, h, w, c] -> [b, c, h, w]
    let spread = conv_transpose2d(gradient, filter.weight.clone(), None, options);
    spread
        .narrow(2, before, height)
        .narrow(3, before, width)
        .permute([0, 2, 3, 1])
}

pub fn group_norm<B: Backend>(
    norm: &Norm<B>,
    groups: usize,
    input: Maps<B>,
    with_silu: bool,
    gradient: Maps<B>,
) -> Maps<B> {
    let dtype = input.dtype();
    let sizes = input.dims();
    let [batch, height, width, channels] = sizes;
    let grouped = [batch, height * width, groups, channels / groups];
    let mean = |numbers: Tensor<B, 4>| numbers.mean_dim(1).mean_dim(3);
    let input = input.cast(DType::F32).reshape(grouped);
    let centred = input.clone() - mean(input);
    let deviation = (mean(centred.clone().square()) + norm.epsilon).sqrt();
    let normal = centred / deviation.clone();
    let scale = norm.scale.clone().unsqueeze::<4>();
    let mut gradient = gradient.cast(DType::F32);
    if with_silu {
        let output = normal.clone().reshape(sizes) * scale.clone() + norm.shift.clone().unsqueeze();
        gradient = gradient * silu_slope(output);
    }
    let gradient = (gradient * scale).reshape(grouped);
    let along = mean(gradient.clone() * normal.clone());
    let input = (gradient.clone() - mean(gradient) - normal * along) / deviation;
    input.reshape(sizes).cast(dtype)
}

/// `σ(x) (1 + x (1 - σ(x)))`
fn silu_slope<B: Backend>(input: Tensor<B, 4>) -> Tensor<B, 4> {
    let gate = sigmoid(input.clone());
    gate.clone() * (input * (1.0 - gate) + 1.0)
}

pub fn layer_norm<B: Backend>(norm: &Norm<B>, input: Tokens<B>, gradient: Tokens<B>) -> Tokens<B> {
    let dtype = input.dtype();
    let input = input.cast(DType::F32);
    let centred = input.clone() - input.mean_dim(2);
    let deviation = (centred.clone().square().mean_dim(2) + norm.epsilon).sqrt();
    let normal = centred / deviation.clone();
    let gradient = gradient.cast(DType::F32) * norm.scale.clone().unsqueeze();
    let along = (gradient.clone() * normal.clone()).mean_dim(2);
    let input = (gradient.clone() - gradient.mean_dim(2) - normal * along) / deviation;
    input.cast(dtype)
}

pub fn attention<B: Backend>(
    from: [Tokens<B>; 3],
    heads: usize,
    causal: bool,
    output: Tokens<B>,
    gradient: Tokens<B>,
) -> [Tokens<B>; 3] {
    attention_in_pieces(from, heads, causal, output, gradient, MAX_SCORES)
}

/// Makes the scores anew, a piece of the queries at a time, so that at most so many are kept.
pub fn attention_in_pieces<B: Backend>(
    [query, key, value]: [Tokens<B>; 3],
    heads: usize,
    causal: bool,
    output: Tokens<B>,
    gradient: Tokens<B>,
    max_scores: usize,
) -> [Tokens<B>; 3] {
    let dtype = query.dtype();
    let [query, key, value, output, gradient] =
        [query, key, value, output, gradient].map(|tokens| split(tokens, heads));
    let [batch, _, queries, head] = query.dims();
    let [_, _, keys, _] = key.dims();
    let scale = 1.0 / (head as f64).sqrt();
    let fitting = (max_scores / (batch * heads * keys)).clamp(1, queries);
    let (mut query_parts, mut key_sum, mut value_sum) = (Vec::new(), None, None);
    let add = |sum: &mut Option<Tensor<B, 4>>, part: Tensor<B, 4>| {
        let part = part.cast(DType::F32);
        *sum = Some(match sum.take() {
            Some(sum) => sum + part,
            None => part,
        });
    };
    for first in (0..queries).step_by(fitting) {
        let count = fitting.min(queries - first);
        let part = |tensor: &Tensor<B, 4>| tensor.clone().narrow(2, first, count);
        let (query, output, gradient) = (part(&query), part(&output), part(&gradient));
        let scores = (query.clone() * scale)
            .matmul(key.clone().swap_dims(2, 3)) // [b, h, s, t]
            .cast(DType::F32);
        let scores = if causal {
            mask_later(scores, first)
        } else {
            scores
        };
        let weights = softmax(scores, 3);
        let low = weights.clone().cast(dtype);
        add(&mut value_sum, low.swap_dims(2, 3).matmul(gradient.clone()));
        let of_weights = gradient
            .clone()
            .matmul(value.clone().swap_dims(2, 3))
            .cast(DType::F32);
        let along = (gradient.cast(DType::F32) * output.cast(DType::F32)).sum_dim(3); // [b, h, s, 1]
        let of_scores = (weights * (of_weights - along) * scale).cast(dtype);
        query_parts.push(of_scores.clone().matmul(key.clone()));
        add(&mut key_sum, of_scores.swap_dims(2, 3).matmul(query));
    }
    let sum = |sum: Option<Tensor<B, 4>>, like: &Tensor<B, 4>| {
        join(sum.map_or_else(|| like.zeros_like(), |sum| sum.cast(dtype)))
    };
    [
        join(Tensor::cat(query_parts, 2)),
        sum(key_sum, &key),
        sum(value_sum, &value),
    ]
}

pub fn gated_gelu<B: Backend>(input: Tokens<B>, gradient: Tokens<B>) -> Tokens<B> {
    let dtype = input.dtype();
    let [_, _, channels] = input.dims();
    let input = input.cast(DType::F32);
    let gradient = gradient.cast(DType::F32);
    let value = input.clone().narrow(2, 0, channels / 2);
    let gate = input.narrow(2, channels / 2, channels / 2);
    // Φ(x) + x φ(x), the slope of x Φ(x).
    let share = ((gate.clone() / SQRT_2).erf() + 1.0) * 0.5;
    let density = (gate.clone().square() * -0.5).exp() * (1.0 / (2.0 * PI).sqrt());
    let slope = share.clone() + gate.clone() * density;
    let of_value = gradient.clone() * gate * share;
    let of_gate = gradient * value * slope;
    Tensor::cat(vec![of_value, of_gate], 2).cast(dtype)
}

pub fn quick_gelu<B: Backend>(input: Tokens<B>, gradient: Tokens<B>) -> Tokens<B> {
    const FACTOR: f64 = 1.702;
    let gate = sigmoid(input.clone() * FACTOR);
    gradient * gate.clone() * (input * FACTOR * (1.0 - gate) + 1.0)
}

pub fn double<B: Backend>(gradient: Maps<B>) -> Maps<B> {
    let [batch, height, width, channels] = gradient.dims();
    let squares: Tensor<B, 6> = gradient.reshape([batch, height / 2, 2, width / 2, 2, channels]);
    squares
        .sum_dim(2)
        .sum_dim(4)
        .reshape([batch, height / 2, width / 2, channels])
}

pub fn adamw<B: BackKernels>(
    moments: Moments<B>,
    gradient: Tensor<B, 2>,
    factor: &Tensor<B, 2>,
    step: &AdamStep,
) -> Moments<B> {
    let [first_kept, second_kept] = step.betas;
    let gradient = gradient * factor.clone();
    let first = moments.first * first_kept + gradient.clone() * (1.0 - first_kept);
    let second = moments.second * second_kept + gradient.square() * (1.0 - second_kept);
    let [of_first, of_second] = step.betas.map(|kept| 1.0 - kept.powf(step.number.into()));
    let spread = second.clone().sqrt() / of_second.sqrt() + step.epsilon;
    let kept = moments.value * (1.0 - step.rate * step.decay);
    Moments {
        value: kept - first.clone() / spread * (step.rate / of_first),
        first,
        second,
    }
}
