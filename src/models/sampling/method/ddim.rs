//! DDIM (Song et al. 2020, equation 12).

use super::super::plan::{Combination, Evaluation};
use super::super::schedule::Schedule;

/// One evaluation at each of these time steps, which fall, and at the end the sample is at `end`.
///
/// With `a` and `a'` the `abar` of now and of next, the fresh noise of a step has the deviation
/// `d = eta * sqrt((1 - a') / (1 - a) * (1 - a / a'))`, and the rest points along the estimated noise:
/// variance preserving `x' = sqrt(a') D + sqrt(1 - a' - d^2) e + d n`. Here all is divided by `sqrt(a')`,
/// and `e` is `(x - D) / sigma`.
pub fn ddim(schedule: &Schedule, timesteps: &[usize], end: usize, eta: f64) -> Vec<Evaluation> {
    let nexts = timesteps.iter().skip(1).copied().chain([end]);
    let step = |(&timestep, next): (&usize, usize)| {
        let sigma = schedule.sigma_at(timestep as f64);
        let (signal, next) = (schedule.signal(timestep), schedule.signal(next));
        let share = (1.0 - next) / (1.0 - signal) * (1.0 - signal / next);
        let fresh = eta * share.sqrt();
        // An eta above 1 may ask for more noise than there is.
        let along = (1.0 - next - fresh.powi(2)).max(0.0).sqrt();
        let kept = along / next.sqrt() / sigma;
        Evaluation {
            churn: None,
            sigma,
            timestep: timestep as f64,
            correct: None,
            advance: Combination {
                sample: kept,
                denoised: vec![1.0 - kept],
                noise: (eta > 0.0).then_some(fresh / next.sqrt()),
            },
        }
    };
    timesteps.iter().zip(nexts).map(step).collect()
}
