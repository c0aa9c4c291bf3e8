//! The layers that diffusion networks are made of.
//!
//! Feature maps are tensors `[batch, height, width, channels]` and tokens `[batch, tokens, channels]`,
//! so that one becomes the other without moving a number. Weights keep the order of the files:
//! `[outputs, inputs]` and `[outputs, inputs, rows, columns]`.
//!
//! A layer is cheap to clone: clones share their weights. Statistics, softmax and sums of norms are
//! made in 32-bit floats, whatever the weights are kept in.

mod attention;
mod back;
mod builder;
mod cpu;
mod cpu_back;
mod general;
mod kernels;
mod layers;
mod learning;
mod plain;
mod plain_back;
#[cfg(test)]
mod tests;

pub use back::{AdamStep, BackKernels, Moments};
pub use builder::{Builder, Layers, Place, Precision, Updates};
pub use kernels::{Kernels, Norm, Window};
pub use layers::{Conv, GroupNorm, LayerNorm, Linear};
pub use learning::{Adapter, Learning};

use burn::Tensor;

/// Feature maps `[batch, height, width, channels]`.
pub type Maps<B> = Tensor<B, 4>;

/// Tokens `[batch, tokens, channels]`.
pub type Tokens<B> = Tensor<B, 3>;

/// Feature maps as tokens, one for each pixel.
pub fn tokens_of<B: Kernels>(maps: Maps<B>) -> Tokens<B> {
    let [batch, height, width, channels] = maps.dims();
    maps.reshape([batch, height * width, channels])
}

/// Tokens, one for each pixel, as feature maps of this size.
pub fn maps_of<B: Kernels>(tokens: Tokens<B>, height: usize, width: usize) -> Maps<B> {
    let [batch, _, channels] = tokens.dims();
    tokens.reshape([batch, height, width, channels])
}
