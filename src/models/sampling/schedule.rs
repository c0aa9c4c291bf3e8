//! How noisy each time step of a diffusion network is.
//!
//! A network is trained at time steps `0..n`. At step `t` it sees `sqrt(abar) * z + sqrt(1 - abar) * n`
//! for a picture `z` and standard normal noise `n`, with `abar` the product of all `1 - beta` so far.
//! Divided by `sqrt(abar)` that is `z + sigma * n` with `sigma = sqrt((1 - abar) / abar)`. The first
//! form is called variance preserving, the second variance exploding; plans are in the second.
//!
//! Between two steps the logarithm of sigma is linear, so a network may be asked at any sigma.

use super::SamplingError;

/// Most time steps a network may be trained at: far beyond all known networks, and small in memory.
pub const TRAIN_STEPS_MAX: usize = 10_000;
/// Levels that networks of latent consistency were distilled at (Luo et al. 2023).
const CONSISTENCY_LEVELS: usize = 50;

/// The curve of beta over time steps, as a diffusers scheduler calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BetaCurve {
    /// `scaled_linear`: the square root of beta is linear.
    ScaledLinear,
    /// `linear`: beta is linear.
    Linear,
}

impl BetaCurve {
    /// The curve by its name in the configuration of a diffusers scheduler.
    pub fn parse(name: &str) -> Result<Self, SamplingError> {
        match name {
            "scaled_linear" => Ok(Self::ScaledLinear),
            "linear" => Ok(Self::Linear),
            _ => Err(SamplingError::BetaCurve(name.into())),
        }
    }
}

/// What a diffusers scheduler's configuration says of the noise: `beta_schedule`, `beta_start`,
/// `beta_end` and `num_train_timesteps`. The default is that of Stable Diffusion 1 and 2 and of XL.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Betas {
    /// The curve between the ends.
    pub curve: BetaCurve,
    /// Beta of time step 0.
    pub start: f64,
    /// Beta of the last time step.
    pub end: f64,
    /// Time steps of the training.
    pub train_steps: usize,
}

impl Default for Betas {
    fn default() -> Self {
        Self {
            curve: BetaCurve::ScaledLinear,
            start: 0.000_85,
            end: 0.012,
            train_steps: 1000,
        }
    }
}

/// The noise of each time step.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// `ln(sqrt(abar))` of each time step.
    log_alphas: Vec<f64>,
    grid: Grid,
}

impl Schedule {
    /// The schedule of these betas; [`SamplingError::Betas`] when they cannot be noise.
    pub fn new(betas: Betas) -> Result<Self, SamplingError> {
        let is_usable = betas.start > 0.0
            && betas.start <= betas.end
            && betas.end < 1.0
            && (2..=TRAIN_STEPS_MAX).contains(&betas.train_steps);
        if !is_usable {
            return Err(SamplingError::Betas(betas));
        }
        let last = (betas.train_steps - 1) as f64;
        let beta = |step: usize| {
            let share = step as f64 / last;
            let between = |start: f64, end: f64| start + (end - start) * share;
            match betas.curve {
                BetaCurve::ScaledLinear => between(betas.start.sqrt(), betas.end.sqrt()).powi(2),
                BetaCurve::Linear => between(betas.start, betas.end),
            }
        };
        let mut log_signal = 0.0;
        let mut log_alphas = Vec::with_capacity(betas.train_steps);
        for step in 0..betas.train_steps {
            log_signal += (-beta(step)).ln_1p();
            log_alphas.push(log_signal / 2.0);
        }
        let log_sigmas: Vec<f64> = log_alphas.iter().map(|&alpha| log_sigma(alpha)).collect();
        if !log_sigmas.iter().all(|sigma| sigma.exp().is_normal()) {
            return Err(SamplingError::Betas(betas));
        }
        let grid = Grid {
            log_sigmas,
            first: 0.0,
            stride: 1.0,
            rounds: false,
        };
        Ok(Self { log_alphas, grid })
    }

    /// Time steps of the training.
    pub fn train_steps(&self) -> usize {
        self.log_alphas.len()
    }

    /// `abar` of a time step: how much of the variance is picture. Steps beyond the last are the last.
    pub fn signal(&self, step: usize) -> f64 {
        (2.0 * self.log_alphas[step.min(self.train_steps() - 1)]).exp()
    }

    /// Sigma of a time step, which need not be whole; steps beyond the ends are the ends.
    pub fn sigma_at(&self, timestep: f64) -> f64 {
        self.grid.sigma_at(timestep)
    }

    /// The time step of a sigma; what is beyond the ends has the time step of the end.
    pub fn timestep_of(&self, sigma: f64) -> f64 {
        self.grid.timestep_of(sigma)
    }

    /// The least sigma, that of time step 0.
    pub fn sigma_min(&self) -> f64 {
        self.grid.sigma_min()
    }

    /// The largest sigma, that of the last time step.
    pub fn sigma_max(&self) -> f64 {
        self.grid.sigma_max()
    }

    /// `sqrt(abar)` of a time step that need not be whole. Here the logarithm of `abar` is linear between
    /// steps, as the authors of DPM-Solver and UniPC have it, and not that of sigma.
    pub(super) fn alpha_at(&self, timestep: f64) -> f64 {
        interpolate(&self.log_alphas, timestep).exp()
    }

    /// All levels of noise.
    pub(super) fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The levels at which networks of latent consistency were distilled: 50 of them, evenly through the
    /// time steps and with the last. A network is asked at no other time step.
    pub(super) fn consistency_grid(&self) -> Grid {
        let steps = self.train_steps();
        let levels = CONSISTENCY_LEVELS.min(steps);
        let stride = steps / levels;
        let first = steps - 1 - (levels - 1) * stride;
        let sigmas = self.grid.log_sigmas[first..].iter().step_by(stride);
        Grid {
            log_sigmas: sigmas.copied().collect(),
            first: first as f64,
            stride: stride as f64,
            rounds: true,
        }
    }
}

/// `ln(sigma)` from `ln(sqrt(abar))`.
pub(super) fn log_sigma(log_alpha: f64) -> f64 {
    0.5 * (-(2.0 * log_alpha).exp_m1()).ln() - log_alpha
}

/// Levels of noise, ascending, and the time steps they belong to. There are at least two.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    log_sigmas: Vec<f64>,
    /// Time step of the first level.
    first: f64,
    /// Time steps from one level to the next.
    stride: f64,
    /// Whether a sigma has the time step of the nearest level, rather than one in between.
    rounds: bool,
}

impl Grid {
    pub(super) fn len(&self) -> usize {
        self.log_sigmas.len()
    }

    /// Sigma of a level, by its number.
    pub(super) fn sigma(&self, level: usize) -> f64 {
        self.log_sigmas[level.min(self.len() - 1)].exp()
    }

    pub(super) fn sigma_min(&self) -> f64 {
        self.sigma(0)
    }

    pub(super) fn sigma_max(&self) -> f64 {
        self.sigma(self.len() - 1)
    }

    /// Time steps of the first and of the last level.
    pub(super) fn ends(&self) -> (f64, f64) {
        (self.first, self.timestep((self.len() - 1) as f64))
    }

    pub(super) fn sigma_at(&self, timestep: f64) -> f64 {
        interpolate(&self.log_sigmas, (timestep - self.first) / self.stride).exp()
    }

    pub(super) fn timestep_of(&self, sigma: f64) -> f64 {
        let log_sigma = sigma.ln();
        let above = self.log_sigmas.partition_point(|&level| level <= log_sigma);
        let low = above.saturating_sub(1).min(self.len() - 2);
        let (bottom, top) = (self.log_sigmas[low], self.log_sigmas[low + 1]);
        // A sigma of zero or less is below the first level.
        let share = ((log_sigma - bottom) / (top - bottom)).clamp(0.0, 1.0);
        let share = if share.is_nan() { 0.0 } else { share };
        let share = match self.rounds {
            // At the same distance the lower level wins.
            true if share > 0.5 => 1.0,
            true => 0.0,
            false => share,
        };
        self.timestep(low as f64 + share)
    }

    fn timestep(&self, level: f64) -> f64 {
        self.first + level * self.stride
    }
}

/// The value at a place between those of a list; places beyond the ends, and no place, are the ends.
fn interpolate(values: &[f64], place: f64) -> f64 {
    let place = place.max(0.0).min((values.len() - 1) as f64);
    let low = place.floor() as usize;
    let high = (low + 1).min(values.len() - 1);
    let share = place - low as f64;
    values[low] * (1.0 - share) + values[high] * share
}

/// What a network says about its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise (`epsilon`).
    Epsilon,
    /// The velocity `sqrt(abar) * n - sqrt(1 - abar) * z` (`v_prediction`).
    Velocity,
}

impl Prediction {
    /// The prediction by its name in the configuration of a diffusers scheduler.
    pub fn parse(name: &str) -> Result<Self, SamplingError> {
        match name {
            "epsilon" => Ok(Self::Epsilon),
            "v_prediction" => Ok(Self::Velocity),
            _ => Err(SamplingError::Prediction(name.into())),
        }
    }

    /// How a network is asked about a sample with noise of `sigma` and how its answer is read.
    pub fn scalings(self, sigma: f64) -> Scalings {
        let variance = sigma * sigma + 1.0;
        let input = variance.sqrt().recip();
        match self {
            Self::Epsilon => Scalings {
                input,
                skip: 1.0,
                output: -sigma,
            },
            Self::Velocity => Scalings {
                input,
                skip: variance.recip(),
                output: -sigma * input,
            },
        }
    }
}

/// The denoised picture of a sample `x` is `skip * x + output * network(input * x, timestep)`
/// (Karras et al. 2022, section 5, with a data deviation of 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scalings {
    /// Factor on the sample before it enters the network.
    pub input: f64,
    /// Factor on the sample that is added to the network's answer.
    pub skip: f64,
    /// Factor on the network's answer.
    pub output: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> Schedule {
        Schedule::new(Betas::default()).unwrap()
    }

    fn assert_near(got: f64, want: f64, tolerance: f64) {
        assert!(
            (got - want).abs() <= tolerance * want.abs(),
            "{got} and not {want}"
        );
    }

    #[test]
    fn the_schedule_of_stable_diffusion_has_the_published_ends() {
        let schedule = schedule();
        assert_near(schedule.signal(0), 0.99915, 1e-7);
        assert_near(schedule.signal(500), 0.276_332_7, 1e-6);
        assert_near(schedule.signal(999), 0.004_660_10, 1e-6);
        assert_near(schedule.sigma_min(), 0.029_167_16, 1e-6);
        assert_near(schedule.sigma_max(), 14.614_641_2, 1e-7);
    }

    #[test]
    fn time_steps_and_sigmas_are_inverse_between_and_at_the_steps() {
        let schedule = schedule();
        for timestep in [0.0, 0.25, 1.0, 333.3, 335.34, 998.999, 999.0] {
            let back = schedule.timestep_of(schedule.sigma_at(timestep));
            assert!((back - timestep).abs() < 1e-9, "{back} and not {timestep}");
        }
    }

    #[test]
    fn what_is_beyond_the_ends_is_the_end() {
        let schedule = schedule();
        for sigma in [0.0, -1.0, 0.029, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(schedule.timestep_of(sigma), 0.0, "{sigma}");
        }
        for sigma in [14.7, f64::INFINITY] {
            assert_eq!(schedule.timestep_of(sigma), 999.0, "{sigma}");
        }
        assert_eq!(schedule.sigma_at(f64::NAN), schedule.sigma_min());
        assert_eq!(schedule.sigma_at(-3.0), schedule.sigma_min());
        assert_eq!(schedule.sigma_at(1e300), schedule.sigma_max());
        assert_eq!(schedule.signal(usize::MAX), schedule.signal(999));
    }

    #[test]
    fn both_ways_between_steps_agree_at_the_steps() {
        let schedule = schedule();
        for step in [0_u32, 1, 500, 999] {
            let alpha = schedule.alpha_at(f64::from(step));
            assert_near(alpha * alpha, schedule.signal(step as usize), 1e-13);
            let sigma = log_sigma(alpha.ln()).exp();
            assert_near(sigma, schedule.sigma_at(f64::from(step)), 1e-12);
        }
    }

    #[test]
    fn consistency_levels_are_fifty_and_end_with_the_last_time_step() {
        let grid = schedule().consistency_grid();
        assert_eq!(grid.len(), 50);
        assert_eq!(grid.ends(), (19.0, 999.0));
        assert_eq!(grid.timestep_of(schedule().sigma_at(700.0)), 699.0);
        assert_eq!(grid.timestep_of(0.0), 19.0);
        assert_near(grid.sigma_at(39.0), schedule().sigma_at(39.0), 1e-12);
    }

    #[test]
    fn betas_that_are_no_noise_are_refused() {
        let good = Betas::default();
        let bad = [
            Betas { start: 0.0, ..good },
            Betas {
                start: f64::NAN,
                ..good
            },
            Betas { end: 1.0, ..good },
            Betas { end: 1e-5, ..good },
            Betas {
                train_steps: 1,
                ..good
            },
            Betas {
                train_steps: usize::MAX,
                ..good
            },
            // The signal is gone long before the last step.
            Betas {
                start: 0.9,
                end: 0.99,
                train_steps: TRAIN_STEPS_MAX,
                ..good
            },
        ];
        for betas in bad {
            assert!(Schedule::new(betas).is_err(), "{betas:?}");
        }
    }

    #[test]
    fn a_perfect_network_gives_the_picture_back() {
        let schedule = schedule();
        let (picture, noise) = (0.7, -1.3);
        for timestep in [0.0, 500.5, 999.0] {
            let sigma = schedule.sigma_at(timestep);
            let sample = picture + sigma * noise;
            let alpha = (sigma * sigma + 1.0).sqrt().recip();
            let answers = [
                (Prediction::Epsilon, noise),
                (
                    Prediction::Velocity,
                    alpha * noise - alpha * sigma * picture,
                ),
            ];
            for (prediction, answer) in answers {
                let scalings = prediction.scalings(sigma);
                assert_near(scalings.input, alpha, 1e-12);
                let denoised = scalings.skip * sample + scalings.output * answer;
                assert_near(denoised, picture, 1e-12);
            }
        }
    }

    #[test]
    fn names_are_those_of_diffusers() {
        assert_eq!(BetaCurve::parse("linear").unwrap(), BetaCurve::Linear);
        assert!(BetaCurve::parse("squaredcos_cap_v2").is_err());
        assert_eq!(
            Prediction::parse("v_prediction").unwrap(),
            Prediction::Velocity
        );
        assert!(Prediction::parse("sample").is_err());
    }
}
