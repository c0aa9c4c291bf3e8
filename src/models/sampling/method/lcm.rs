//! Sampling of networks of latent consistency: denoise at once, then add the noise of the next level.

use super::super::plan::{Combination, Evaluation};
use super::super::schedule::Grid;

/// The deviation of the data, and the factor on time steps, that such networks were distilled with.
const DATA_DEVIATION: f64 = 0.5;
const TIMESTEP_SCALE: f64 = 10.0;

/// `x' = skip * x + out * D + s' * n`, with the weights of the boundary condition: with `t` ten times the
/// time step and `d` the deviation of the data, `skip = d^2 / (t^2 + d^2)` and
/// `out = t / sqrt(t^2 + d^2)`. Both are nearly 0 and 1, except for the first few time steps.
///
/// `grid` has only the levels of the distillation, so the time step is that of the nearest level.
pub fn lcm(grid: &Grid, sigmas: &[f64]) -> Vec<Evaluation> {
    let step = |pair: &[f64]| {
        let timestep = grid.timestep_of(pair[0]);
        let scaled = timestep * TIMESTEP_SCALE;
        let square = scaled.powi(2) + DATA_DEVIATION.powi(2);
        Evaluation {
            churn: None,
            sigma: pair[0],
            timestep,
            correct: None,
            advance: Combination {
                sample: DATA_DEVIATION.powi(2) / square,
                denoised: vec![scaled / square.sqrt()],
                noise: (pair[1] > 0.0).then_some(pair[1]),
            },
        }
    };
    sigmas.windows(2).map(step).collect()
}
