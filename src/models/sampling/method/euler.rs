//! Euler's method along the slope `(x - D) / sigma`, with and without fresh noise.

use super::super::plan::{Churn, Combination, Evaluation};
use super::super::schedule::Grid;

/// Most that one step may raise the noise, as a share of it (Karras et al. 2022).
const CHURN_MAX: f64 = std::f64::consts::SQRT_2 - 1.0;

/// Plain Euler. With churn, each step first adds noise: sigma grows to `sigma * (1 + gamma)`, with
/// `gamma` the churn spread over the steps, where sigma is in the churn's range.
pub fn euler(grid: &Grid, sigmas: &[f64], churn: Churn, noise_scale: f64) -> Vec<Evaluation> {
    let steps = sigmas.len() - 1;
    let share = (churn.amount / steps as f64).min(CHURN_MAX);
    let sigma_max = if churn.sigma_max == 0.0 {
        f64::INFINITY
    } else {
        churn.sigma_max
    };
    let step = |pair: &[f64]| {
        let in_range = (churn.sigma_min..=sigma_max).contains(&pair[0]);
        let sigma = pair[0] * if in_range { 1.0 + share } else { 1.0 };
        Evaluation {
            // Numbers are drawn at each step, even where nothing is added.
            churn: (share > 0.0).then(|| noise_scale * (sigma.powi(2) - pair[0].powi(2)).sqrt()),
            sigma,
            timestep: grid.timestep_of(sigma),
            correct: None,
            advance: slope(sigma, pair[1], None),
        }
    };
    sigmas.windows(2).map(step).collect()
}

/// Euler to a lower sigma than the next, and noise up to that.
///
/// With `s` and `s'` the sigma of now and of next, the noise is `min(s', eta * s' * sqrt(s^2 - s'^2) / s)`,
/// and Euler goes to what is then missing. A request's scale of noise is not heard here, as in the WebUI.
pub fn euler_ancestral(grid: &Grid, sigmas: &[f64], eta: f64) -> Vec<Evaluation> {
    let step = |pair: &[f64]| {
        let (sigma, next) = (pair[0], pair[1]);
        let fresh = eta * next * (1.0 - (next / sigma).powi(2)).max(0.0).sqrt();
        let up = fresh.min(next);
        let down = (next.powi(2) - up.powi(2)).max(0.0).sqrt();
        let noise = (eta > 0.0 && next > 0.0).then_some(up);
        Evaluation {
            churn: None,
            sigma,
            timestep: grid.timestep_of(sigma),
            correct: None,
            advance: slope(sigma, down, noise),
        }
    };
    sigmas.windows(2).map(step).collect()
}

/// `x + (next - sigma) * (x - D) / sigma`.
fn slope(sigma: f64, next: f64, noise: Option<f64>) -> Combination {
    let kept = next / sigma;
    Combination {
        sample: kept,
        denoised: vec![1.0 - kept],
        noise,
    }
}
