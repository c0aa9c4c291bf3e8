//! What is done with gradients when all of them are there.

use pulp::Simd;
use rayon::prelude::*;

use crate::models::cpu::norm::total;
use crate::models::cpu::pointwise::PIECE;

/// A step of AdamW: I. Loshchilov and F. Hutter, Decoupled Weight Decay Regularization, 2019, with the
/// decay multiplied by the rate.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// How far parameters move.
    pub rate: f64,
    /// How much is kept of the means of gradients and of their squares.
    pub betas: [f64; 2],
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// The share of a parameter that is taken off, times the rate.
    pub decay: f64,
    /// Number of the step, from 1 on.
    pub number: u32,
    /// What gradients are multiplied by first.
    pub factor: f32,
}

/// Moves parameters by their gradients; `first` and `second` are the means of gradients and of their
/// squares, zero before the first step. With `g = factor * gradient` and step number `t`:
///
/// ```text
/// parameter -= rate * decay * parameter
/// first = β₁ first + (1 - β₁) g
/// second = β₂ second + (1 - β₂) g²
/// parameter -= rate * first / (1 - β₁ᵗ) / (√(second / (1 - β₂ᵗ)) + ε)
/// ```
pub fn adamw(
    parameter: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    step: &AdamStep,
) {
    let count = parameter.len();
    assert_eq!(gradient.len(), count, "each parameter has a gradient");
    assert_eq!(first.len(), count, "each parameter has a mean");
    assert_eq!(second.len(), count, "each parameter has a mean square");
    let number = f64::from(step.number);
    let [first_bias, second_bias] = step.betas.map(|beta| 1.0 - beta.powf(number));
    let factors = Factors {
        gradient: step.factor,
        keep: (1.0 - step.rate * step.decay) as f32,
        betas: step.betas.map(|beta| beta as f32),
        rests: step.betas.map(|beta| (1.0 - beta) as f32),
        root: (1.0 / second_bias.sqrt()) as f32,
        epsilon: step.epsilon as f32,
        rate: (-step.rate / first_bias) as f32,
    };
    let job = |((parameter, gradient), (first, second))| {
        pulp::Arch::new().dispatch(Move {
            parameter,
            gradient,
            first,
            second,
            factors,
        });
    };
    if count <= PIECE {
        job(((parameter, gradient), (first, second)));
    } else {
        let numbers = parameter.par_chunks_mut(PIECE);
        let numbers = numbers.zip(gradient.par_chunks(PIECE));
        let means = first.par_chunks_mut(PIECE);
        let means = means.zip(second.par_chunks_mut(PIECE));
        numbers.zip(means).for_each(job);
    }
}

/// The sum of the squares of all numbers.
pub fn sum_of_squares(numbers: &[f32]) -> f64 {
    let sum = |piece: &[f32]| f64::from(pulp::Arch::new().dispatch(Squares(piece)));
    if numbers.len() <= PIECE {
        sum(numbers)
    } else {
        let sums: Vec<f64> = numbers.par_chunks(PIECE).map(sum).collect();
        sums.iter().sum()
    }
}

struct Squares<'a>(&'a [f32]);

impl pulp::WithSimd for Squares<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        total(simd, self.0, 0.0, |simd, x| simd.mul_f32s(x, x))
    }
}

/// The numbers of a step.
#[derive(Clone, Copy)]
struct Factors {
    gradient: f32,
    /// What is left of a parameter.
    keep: f32,
    betas: [f32; 2],
    /// 1 less each beta.
    rests: [f32; 2],
    /// What the root of the mean square is multiplied by.
    root: f32,
    epsilon: f32,
    /// Below zero.
    rate: f32,
}

struct Move<'a> {
    parameter: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    factors: Factors,
}

impl pulp::WithSimd for Move<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (parameter, parameter_rest) = S::as_mut_simd_f32s(self.parameter);
        let (gradient, gradient_rest) = S::as_simd_f32s(self.gradient);
        let (first, first_rest) = S::as_mut_simd_f32s(self.first);
        let (second, second_rest) = S::as_mut_simd_f32s(self.second);
        let factors = self.factors;
        let numbers = parameter.iter_mut().zip(gradient);
        let means = first.iter_mut().zip(second);
        for ((parameter, gradient), (first, second)) in numbers.zip(means) {
            let old = [*parameter, *first, *second];
            [*parameter, *first, *second] = factors.step(simd, old, *gradient);
        }
        if !parameter_rest.is_empty() {
            let old = [
                simd.partial_load_f32s(parameter_rest),
                simd.partial_load_f32s(first_rest),
                simd.partial_load_f32s(second_rest),
            ];
            let gradient = simd.partial_load_f32s(gradient_rest);
            let new = factors.step(simd, old, gradient);
            simd.partial_store_f32s(parameter_rest, new[0]);
            simd.partial_store_f32s(first_rest, new[1]);
            simd.partial_store_f32s(second_rest, new[2]);
        }
    }
}

impl Factors {
    /// Parameter, mean and mean square after the step.
    #[inline(always)]
    fn step<S: Simd>(
        self,
        simd: S,
        [parameter, first, second]: [S::f32s; 3],
        gradient: S::f32s,
    ) -> [S::f32s; 3] {
        let [gain, keep, root, epsilon, rate] =
            [self.gradient, self.keep, self.root, self.epsilon, self.rate]
                .map(|number| simd.splat_f32s(number));
        let betas = self.betas.map(|number| simd.splat_f32s(number));
        let rests = self.rests.map(|number| simd.splat_f32s(number));
        let gradient = simd.mul_f32s(gradient, gain);
        let first = simd.mul_add_f32s(first, betas[0], simd.mul_f32s(gradient, rests[0]));
        let square = simd.mul_f32s(simd.mul_f32s(gradient, rests[1]), gradient);
        let second = simd.mul_add_f32s(second, betas[1], square);
        let under = simd.mul_add_f32s(simd.sqrt_f32s(second), root, epsilon);
        let change = simd.div_f32s(simd.mul_f32s(first, rate), under);
        [simd.mul_add_f32s(parameter, keep, change), first, second]
    }
}
