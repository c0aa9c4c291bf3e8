//! DPM-Solver++ of second order, from the last two denoised pictures (Lu et al. 2022, algorithm 2 and
//! appendix on the stochastic equation). Time is `-ln(sigma)`, and `h` is the length of a step in it.

use super::super::plan::{Combination, Evaluation};
use super::super::schedule::Grid;

/// The deterministic solver: with `k = h / (2 h_last)`,
/// `x' = (s' / s) x + (1 - exp(-h)) ((1 + k) D - k D_last)`.
pub fn dpm_2m(grid: &Grid, sigmas: &[f64]) -> Vec<Evaluation> {
    solve(grid, sigmas, 0.0, 0.0)
}

/// The stochastic solver, midpoint rule: with `a = 1 - exp(-(1 + eta) h)` and the same `k`,
/// `x' = (s' / s) exp(-eta h) x + a ((1 + k) D - k D_last) + s' sqrt(1 - exp(-2 eta h)) n`.
///
/// For `eta = 0` that is the deterministic one. k-diffusion takes `n` from a Brownian path, which makes
/// runs of other step counts similar; here each `n` is drawn for itself, which has the same distribution.
pub fn dpm_2m_sde(grid: &Grid, sigmas: &[f64], eta: f64, noise_scale: f64) -> Vec<Evaluation> {
    solve(grid, sigmas, eta, noise_scale)
}

fn solve(grid: &Grid, sigmas: &[f64], eta: f64, noise_scale: f64) -> Vec<Evaluation> {
    let step = |index: usize| {
        let (sigma, next) = (sigmas[index], sigmas[index + 1]);
        let last = index.checked_sub(1).map(|last| sigmas[last]);
        Evaluation {
            churn: None,
            sigma,
            timestep: grid.timestep_of(sigma),
            correct: None,
            advance: advance(last, sigma, next, eta, noise_scale),
        }
    };
    (0..sigmas.len() - 1).map(step).collect()
}

fn advance(last: Option<f64>, sigma: f64, next: f64, eta: f64, noise_scale: f64) -> Combination {
    if next == 0.0 {
        return Combination {
            sample: 0.0,
            denoised: vec![1.0],
            noise: None,
        };
    }
    let length = (sigma / next).ln();
    let weight = -(-(1.0 + eta) * length).exp_m1();
    let last_length = last.map_or(0.0, |last| (last / sigma).ln());
    let denoised = if last_length > 0.0 {
        let lean = length / (2.0 * last_length);
        vec![weight * (1.0 + lean), -weight * lean]
    } else {
        // At the start, and where two sigmas are the same, there is no change to go by.
        vec![weight]
    };
    let fresh = next * (-(-2.0 * eta * length).exp_m1()).sqrt() * noise_scale;
    Combination {
        sample: next / sigma * (-eta * length).exp(),
        denoised,
        noise: (eta > 0.0).then_some(fresh),
    }
}
