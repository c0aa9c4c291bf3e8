//! What a backend does for the layers.
//!
//! Each operation is written once with Burn's own ([`plain`]), which run everywhere; a
//! backend with something better overrides it, as the CPU does.

use burn::Tensor;
use burn::tensor::backend::Backend;

use super::{Maps, Tokens, attention, plain};

/// How a convolution moves over its input. Kernels are square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Step between two outputs.
    pub stride: usize,
    /// Zeros before the first row and column.
    pub before: usize,
    /// Zeros after the last row and column.
    pub after: usize,
}

impl Window {
    /// An odd kernel whose output is as large as its input.
    pub fn same(kernel: usize) -> Self {
        let around = kernel / 2;
        Self {
            kernel,
            stride: 1,
            before: around,
            after: around,
        }
    }

    /// A 3x3 kernel that halves the size.
    pub fn halving() -> Self {
        Self {
            stride: 2,
            ..Self::same(3)
        }
    }

    /// As [`halving`](Self::halving), with zeros only at the bottom and at the right, as the
    /// autoencoder of Stable Diffusion has it.
    pub fn halving_after() -> Self {
        Self {
            before: 0,
            ..Self::halving()
        }
    }

    /// Length of the output along a side of the input.
    pub fn output(&self, input: usize) -> usize {
        (input + self.before + self.after - self.kernel) / self.stride + 1
    }
}

/// Scale, shift and epsilon of a normalisation.
#[derive(Clone, Debug)]
pub struct Norm<B: Backend> {
    /// `[channels]`, in 32-bit floats.
    pub scale: Tensor<B, 1>,
    /// `[channels]`, in 32-bit floats.
    pub shift: Tensor<B, 1>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// What a backend does for a network.
pub trait Kernels: Backend {
    /// A matrix with its weights in working order.
    type Matrix: Send + Sync;
    /// A convolution with its weights in working order.
    type Filter: Send + Sync;

    /// Prepares a matrix from weights `[outputs, inputs]` and a bias `[outputs]`.
    fn matrix(weight: Tensor<Self, 2>, bias: Option<Tensor<Self, 1>>) -> Self::Matrix;

    /// `[b, s, inputs]` to `[b, s, outputs]`, plus `residual` of the output's sizes.
    fn apply_matrix(
        matrix: &Self::Matrix,
        input: Tokens<Self>,
        residual: Option<Tokens<Self>>,
    ) -> Tokens<Self>;

    /// Prepares a convolution from weights `[outputs, inputs, k, k]` and a bias `[outputs]`.
    fn filter(weight: Tensor<Self, 4>, bias: Tensor<Self, 1>, window: Window) -> Self::Filter;

    /// `[b, h, w, inputs]` to `[b, h', w', outputs]`, plus `residual` of the output's sizes.
    fn apply_filter(
        filter: &Self::Filter,
        input: Maps<Self>,
        residual: Option<Maps<Self>>,
    ) -> Maps<Self>;

    /// Normalises each group of channels of each picture, and applies SiLU after it if asked.
    fn norm_groups(norm: &Norm<Self>, groups: usize, input: Maps<Self>, silu: bool) -> Maps<Self> {
        plain::group_norm(norm, groups, input, silu)
    }

    /// Normalises each token.
    fn norm_tokens(norm: &Norm<Self>, input: Tokens<Self>) -> Tokens<Self> {
        plain::layer_norm(norm, input)
    }

    /// Attention of `heads` heads that lie beside each other in the channels: `query`
    /// `[b, s, heads * d]`, `key` and `value` `[b, t, heads * d]`, to `[b, s, heads * d]`.
    /// With `causal`, a token sees itself and those before it.
    fn attend(
        query: Tokens<Self>,
        key: Tokens<Self>,
        value: Tokens<Self>,
        heads: usize,
        causal: bool,
    ) -> Tokens<Self> {
        attention::general(query, key, value, heads, causal)
    }

    /// The first half of the channels times GELU of the second: `[b, s, 2 c]` to `[b, s, c]`.
    fn gated_gelu(input: Tokens<Self>) -> Tokens<Self> {
        plain::gated_gelu(input)
    }

    /// `x * sigmoid(x)`.
    fn silu<const D: usize>(input: Tensor<Self, D>) -> Tensor<Self, D> {
        burn::tensor::activation::silu(input)
    }

    /// `x * sigmoid(1.702 x)`.
    fn quick_gelu(input: Tokens<Self>) -> Tokens<Self> {
        let gate = burn::tensor::activation::sigmoid(input.clone() * 1.702);
        input * gate
    }

    /// The channels of both beside each other.
    fn join(first: Maps<Self>, second: Maps<Self>) -> Maps<Self> {
        Tensor::cat(vec![first, second], 3)
    }

    /// Each pixel as two by two.
    fn double(input: Maps<Self>) -> Maps<Self> {
        plain::double(input)
    }
}
