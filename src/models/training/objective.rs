//! What a network is to learn: the noise in a latent, and how much an error counts at a time step.

use crate::models::sampling::{Prediction, Schedule};

/// The share of picture and of noise in a latent at a time step: `sqrt(abar)` and `sqrt(1 - abar)`.
pub fn shares(schedule: &Schedule, time: usize) -> [f64; 2] {
    let signal = schedule.signal(time);
    [signal.sqrt(), (1.0 - signal).sqrt()]
}

/// How much the error at a time step counts (min-SNR, Hang et al. 2023, equation 7 and its form for
/// velocities); 1 without a limit.
pub fn weight(schedule: &Schedule, prediction: Prediction, limit: Option<f64>, time: usize) -> f64 {
    let Some(limit) = limit else {
        return 1.0;
    };
    let signal = schedule.signal(time);
    let ratio = signal / (1.0 - signal);
    match prediction {
        Prediction::Epsilon => ratio.min(limit) / ratio,
        Prediction::Velocity => ratio.min(limit) / (ratio + 1.0),
    }
}

/// Shares of noise and of the latent in what the network shall say.
pub fn target(schedule: &Schedule, prediction: Prediction, time: usize) -> [f64; 2] {
    let [picture, noise] = shares(schedule, time);
    match prediction {
        Prediction::Epsilon => [1.0, 0.0],
        Prediction::Velocity => [picture, -noise],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::sampling::Betas;

    /// Values of `portrait-pipeline` 15.
    #[test]
    fn weights_are_those_of_the_formula() {
        let schedule = Schedule::new(Betas::default()).unwrap();
        let weight = |time| weight(&schedule, Prediction::Epsilon, Some(5.0), time);
        assert!((weight(0) - 0.004_254).abs() < 1e-6, "{}", weight(0));
        assert!((weight(100) - 0.591_443).abs() < 1e-6, "{}", weight(100));
        assert_eq!(weight(500), 1.0);
    }

    #[test]
    fn a_velocity_is_noise_less_picture() {
        let schedule = Schedule::new(Betas::default()).unwrap();
        let [of_noise, of_picture] = target(&schedule, Prediction::Velocity, 500);
        assert!((of_noise.powi(2) - schedule.signal(500)).abs() < 1e-12);
        assert!((of_noise.powi(2) + of_picture.powi(2) - 1.0).abs() < 1e-12);
        assert!(of_picture < 0.0);
    }
}
