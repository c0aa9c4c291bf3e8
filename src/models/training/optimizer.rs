//! How the factors move: AdamW with the usual numbers, against gradients of limited length.

use burn::Tensor;

use crate::models::nn::{AdamStep, BackKernels};

/// How much is kept of the means of gradients and of their squares.
const BETAS: [f64; 2] = [0.9, 0.999];
/// Added to the root of the mean square.
const EPSILON: f64 = 1e-8;

/// Step number `number`, from 1, at this rate.
pub fn adam(number: u32, rate: f64, decay: f64) -> AdamStep {
    AdamStep {
        rate,
        betas: BETAS,
        epsilon: EPSILON,
        decay,
        number,
    }
}

/// What gradients are multiplied with so that all together are at most `limit` long, as a single
/// number `[1, 1]`, and how long they were. As in PyTorch, a length is never quite zero.
pub fn clip<B: BackKernels>(gradients: &[Tensor<B, 2>], limit: f64) -> Option<[Tensor<B, 2>; 2]> {
    let squares = gradients
        .iter()
        .map(|gradient| B::sum_of_squares(gradient.clone()));
    let length = squares.reduce(|sum, square| sum + square)?.sqrt();
    let factor = (length.clone() + 1e-6).recip() * limit;
    Some([factor.clamp_max(1.0), length])
}
