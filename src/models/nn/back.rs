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

    /// The gradients of the query, the key and the value of [`Kernels::attend`]. `output` is what it
    /// gave.
    fn attend_back(
        [query, key, value]: [Tokens<Self>; 3],
        heads: usize,
        causal: bool,
        output: Tokens<Self>,
        gradient: Tokens<Self>,
    ) -> [Tokens<Self>; 3] {
        plain_back::attention([query, key, value], heads, causal, output, gradient)
    }

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
}
