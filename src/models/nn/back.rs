//! The way back through the layers: from the gradient of a result to the gradients of what it was
//! made of.
//!
//! Weights stay as they are, so only activations have gradients here. Each operation is written once
//! with Burn's own ([`plain_back`]), which run everywhere; a backend with something better overrides
//! it, as the CPU does. In all of them `gradient` is that of the operation's result, in its sizes.

use burn::Tensor;

use super::{Kernels, Maps, Norm, Tokens, Window, plain_back};

/// What a backend does for a network that learns.
pub trait BackKernels: Kernels {
    /// The way back through a convolution, with its weights in working order.
    type BackFilter: Send + Sync;
    /// What attention keeps of the way there, beside what went in and came out.
    type Kept: Send + 'static;

    /// Prepares the way back through a convolution with weights `[outputs, inputs, k, k]`.
    fn back_filter(weight: Tensor<Self, 4>, window: Window) -> Self::BackFilter;

    /// The gradient `[b, height, width, inputs]` of a convolution's input.
    fn apply_back_filter(
        filter: &Self::BackFilter,
        gradient: Maps<Self>,
        height: usize,
        width: usize,
    ) -> Maps<Self>;

    /// The gradient of the input of [`Kernels::norm_groups`].
    fn norm_groups_back(
        norm: &Norm<Self>,
        groups: usize,
        input: Maps<Self>,
        silu: bool,
        gradient: Maps<Self>,
    ) -> Maps<Self> {
        plain_back::group_norm(norm, groups, input, silu, gradient)
    }

    /// The gradient of the input of [`Kernels::norm_tokens`].
    fn norm_tokens_back(
        norm: &Norm<Self>,
        input: Tokens<Self>,
        gradient: Tokens<Self>,
    ) -> Tokens<Self> {
        plain_back::layer_norm(norm, input, gradient)
    }

    /// As [`Kernels::attend`], with what its way back needs.
    fn attend_keeping(
        query: Tokens<Self>,
        key: Tokens<Self>,
        value: Tokens<Self>,
        heads: usize,
        causal: bool,
    ) -> (Tokens<Self>, Self::Kept);

    /// The gradients of the query, the key and the value of [`Kernels::attend`]. `output` is what it
    /// gave.
    fn attend_back(
        went_in: [Tokens<Self>; 3],
        heads: usize,
        causal: bool,
        came_out: (Tokens<Self>, Self::Kept),
        gradient: Tokens<Self>,
    ) -> [Tokens<Self>; 3];

    /// The gradient of the input of [`Kernels::gated_gelu`].
    fn gated_gelu_back(input: Tokens<Self>, gradient: Tokens<Self>) -> Tokens<Self> {
        plain_back::gated_gelu(input, gradient)
    }

    /// The gradient of the input of [`Kernels::quick_gelu`].
    fn quick_gelu_back(input: Tokens<Self>, gradient: Tokens<Self>) -> Tokens<Self> {
        plain_back::quick_gelu(input, gradient)
    }

    /// The gradient of the input of [`Kernels::double`].
    fn double_back(gradient: Maps<Self>) -> Maps<Self> {
        plain_back::double(gradient)
    }

    /// The sum of the squares of all numbers, `[1, 1]`.
    fn sum_of_squares(numbers: Tensor<Self, 2>) -> Tensor<Self, 2> {
        numbers.square().sum().unsqueeze()
    }

    /// A step of AdamW on a matrix that learns, against its gradient times `factor` `[1, 1]`.
    fn adamw(
        moments: Moments<Self>,
        gradient: Tensor<Self, 2>,
        factor: &Tensor<Self, 2>,
        step: &AdamStep,
    ) -> Moments<Self> {
        plain_back::adamw(moments, gradient, factor, step)
    }
}

/// A matrix that learns, with what the optimiser knows of it. All are 32-bit floats.
#[derive(Clone, Debug)]
pub struct Moments<B: Kernels> {
    /// The matrix itself.
    pub value: Tensor<B, 2>,
    /// Mean of its gradients.
    pub first: Tensor<B, 2>,
    /// Mean of the squares of its gradients.
    pub second: Tensor<B, 2>,
}

impl<B: Kernels> Moments<B> {
    /// A matrix before its first step.
    pub fn new(value: Tensor<B, 2>) -> Self {
        Self {
            first: value.zeros_like(),
            second: value.zeros_like(),
            value,
        }
    }
}

/// A step of AdamW (Loshchilov and Hutter 2019), with PyTorch's decay: multiplied by the rate.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// How far numbers move.
    pub rate: f64,
    /// How much is kept of the means of gradients and of their squares.
    pub betas: [f64; 2],
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// The share of a number that is taken off, times the rate.
    pub decay: f64,
    /// Number of the step, from 1.
    pub number: u32,
}
