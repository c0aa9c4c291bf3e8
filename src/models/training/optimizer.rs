//! AdamW (Loshchilov and Hutter 2019) with PyTorch's numbers.

use burn::Tensor;

use crate::models::nn::BackKernels;

/// Decay of the mean of gradients.
const FIRST: f64 = 0.9;
/// Decay of the mean of their squares.
const SECOND: f64 = 0.999;
/// Added to the root of the second mean.
const EPSILON: f64 = 1e-8;

/// One step: what is the same for all matrices.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// Number of the step, from 1.
    pub number: i32,
    /// Decay of the matrices, decoupled.
    pub decay: f64,
}

/// A matrix that learns, with what the optimiser knows of it. All are 32-bit floats.
#[derive(Clone, Debug)]
pub struct Moments<B: BackKernels> {
    /// The matrix itself.
    pub value: Tensor<B, 2>,
    /// Mean of its gradients.
    pub first: Tensor<B, 2>,
    /// Mean of the squares of its gradients.
    pub second: Tensor<B, 2>,
}

impl<B: BackKernels> Moments<B> {
    /// A matrix before its first step.
    pub fn new(value: Tensor<B, 2>) -> Self {
        Self {
            first: value.zeros_like(),
            second: value.zeros_like(),
            value,
        }
    }

    /// Makes a step against `gradient` times `factor`, a single number.
    pub fn step(
        &mut self,
        gradient: Tensor<B, 2>,
        factor: Tensor<B, 2>,
        rate: f64,
        step: AdamStep,
    ) {
        let gradient = gradient * factor;
        let first = self.first.clone() * FIRST + gradient.clone() * (1.0 - FIRST);
        let second = self.second.clone() * SECOND + gradient.square() * (1.0 - SECOND);
        let [of_first, of_second] = [FIRST, SECOND].map(|decay| 1.0 - decay.powi(step.number));
        let spread = second.clone().sqrt() / of_second.sqrt() + EPSILON;
        let kept = self.value.clone() * (1.0 - rate * step.decay);
        self.value = kept - first.clone() / spread * (rate / of_first);
        self.first = first;
        self.second = second;
    }
}

/// What gradients are multiplied with so that all together are at most `limit` long, as a single
/// number `[1, 1]`, and how long they were. As in PyTorch, a length is never quite zero.
pub fn clip<B: BackKernels>(gradients: &[Tensor<B, 2>], limit: f64) -> Option<[Tensor<B, 2>; 2]> {
    let squares = gradients
        .iter()
        .map(|gradient| gradient.clone().square().sum().unsqueeze::<2>());
    let length = squares.reduce(|sum, square| sum + square)?.sqrt();
    let factor = (length.clone() + 1e-6).recip() * limit;
    Some([factor.clamp_max(1.0), length])
}
