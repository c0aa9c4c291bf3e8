//! Layers with their weights. Clones share them.

use std::sync::Arc;

use burn::Tensor;

use super::{Kernels, Maps, Norm, Tokens};

/// A linear layer, with or without a bias.
pub struct Linear<B: Kernels>(pub(super) Arc<B::Matrix>);

impl<B: Kernels> Linear<B> {
    /// `[b, s, inputs]` to `[b, s, outputs]`.
    pub fn forward(&self, input: Tokens<B>) -> Tokens<B> {
        B::apply_matrix(&self.0, input, None)
    }

    /// The same, plus `residual` of the output's sizes.
    pub fn add_to(&self, residual: Tokens<B>, input: Tokens<B>) -> Tokens<B> {
        B::apply_matrix(&self.0, input, Some(residual))
    }

    /// `[b, inputs]` to `[b, outputs]`.
    pub fn forward_rows(&self, input: Tensor<B, 2>) -> Tensor<B, 2> {
        self.forward(input.unsqueeze_dim(1)).squeeze_dim(1)
    }
}

impl<B: Kernels> Clone for Linear<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A convolution with a bias.
pub struct Conv<B: Kernels>(pub(super) Arc<B::Filter>);

impl<B: Kernels> Conv<B> {
    /// `[b, h, w, inputs]` to `[b, h', w', outputs]`.
    pub fn forward(&self, input: Maps<B>) -> Maps<B> {
        B::apply_filter(&self.0, input, None)
    }

    /// The same, plus `residual` of the output's sizes.
    pub fn add_to(&self, residual: Maps<B>, input: Maps<B>) -> Maps<B> {
        B::apply_filter(&self.0, input, Some(residual))
    }
}

impl<B: Kernels> Clone for Conv<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Normalises each group of channels of each picture.
#[derive(Clone)]
pub struct GroupNorm<B: Kernels> {
    pub(super) norm: Norm<B>,
    pub(super) groups: usize,
}

impl<B: Kernels> GroupNorm<B> {
    /// `[b, h, w, c]` to the same.
    pub fn forward(&self, input: Maps<B>) -> Maps<B> {
        B::norm_groups(&self.norm, self.groups, input, false)
    }

    /// The same with SiLU after it.
    pub fn forward_silu(&self, input: Maps<B>) -> Maps<B> {
        B::norm_groups(&self.norm, self.groups, input, true)
    }
}

/// Normalises each token.
#[derive(Clone)]
pub struct LayerNorm<B: Kernels>(pub(super) Norm<B>);

impl<B: Kernels> LayerNorm<B> {
    /// `[b, s, c]` to the same.
    pub fn forward(&self, input: Tokens<B>) -> Tokens<B> {
        B::norm_tokens(&self.0, input)
    }
}
