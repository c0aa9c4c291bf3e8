//! At which levels of noise a run asks the network: names and formulas of the WebUI's schedule types.

use super::SamplingError;
use super::schedule::Grid;

/// Exponent of the spacing of Karras et al. (2022).
const KARRAS_RHO: f64 = 7.0;
/// Both parameters of the distribution of "Beta": those of its authors (Lee et al. 2024).
const BETA_SHAPE: f64 = 0.6;
/// `B(0.6, 0.6)`, by which that distribution is normed.
const BETA_NORM: f64 = 2.415_344_208_002_471_4;
/// Halvings of the search for a quantile, beyond which a double has no more bits.
const HALVINGS: usize = 60;
/// Terms of a continued fraction, of which a dozen are enough here.
const TERMS_MAX: usize = 100;

/// How the levels of noise of a run are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spacing {
    /// What suits the sampler: see [`Method::default_spacing`](super::Method::default_spacing).
    #[default]
    Automatic,
    /// Even in time steps, from the last to the first.
    Uniform,
    /// Even in the seventh root of sigma.
    Karras,
    /// Even in the logarithm of sigma.
    Exponential,
    /// A power of even steps in the logarithm of sigma. With the WebUI's power of 1 it is the same as
    /// [`Exponential`](Self::Exponential).
    Polyexponential,
    /// Even in time steps, from the last to one step before the first.
    SgmUniform,
    /// Every so manieth trained level, from the last, and not the first one.
    Simple,
    /// The same levels as [`Uniform`](Self::Uniform).
    Normal,
    /// The time steps of DDIM. There may be more of them than steps: 31 for 30.
    Ddim,
    /// Quantiles of a beta distribution, dense at both ends.
    Beta,
}

/// All spacings in the order in which the WebUI lists them.
pub const SPACINGS: [Spacing; 10] = [
    Spacing::Automatic,
    Spacing::Uniform,
    Spacing::Karras,
    Spacing::Exponential,
    Spacing::Polyexponential,
    Spacing::SgmUniform,
    Spacing::Simple,
    Spacing::Normal,
    Spacing::Ddim,
    Spacing::Beta,
];

impl Spacing {
    /// The spacing by its name, label or alias in any case; an empty text is
    /// [`Automatic`](Self::Automatic).
    ///
    /// The WebUI takes every name that it does not know for "Automatic"; here that is
    /// [`SamplingError::Spacing`].
    pub fn parse(text: &str) -> Result<Self, SamplingError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::Automatic);
        }
        let is_meant = |spacing: &Self| {
            let mut names = spacing.spellings();
            names.any(|name| name.eq_ignore_ascii_case(text))
        };
        let found = SPACINGS.into_iter().find(is_meant);
        found.ok_or_else(|| SamplingError::Spacing(text.into()))
    }

    /// The name in requests, such as `sgm_uniform`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Uniform => "uniform",
            Self::Karras => "karras",
            Self::Exponential => "exponential",
            Self::Polyexponential => "polyexponential",
            Self::SgmUniform => "sgm_uniform",
            Self::Simple => "simple",
            Self::Normal => "normal",
            Self::Ddim => "ddim",
            Self::Beta => "beta",
        }
    }

    /// The name for people, such as `SGM Uniform`; it is also what a picture's parameters say.
    pub fn label(self) -> &'static str {
        match self {
            Self::Automatic => "Automatic",
            Self::Uniform => "Uniform",
            Self::Karras => "Karras",
            Self::Exponential => "Exponential",
            Self::Polyexponential => "Polyexponential",
            Self::SgmUniform => "SGM Uniform",
            Self::Simple => "Simple",
            Self::Normal => "Normal",
            Self::Ddim => "DDIM",
            Self::Beta => "Beta",
        }
    }

    /// Other names in requests.
    pub fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::SgmUniform => &["SGMUniform"],
            _ => &[],
        }
    }

    /// The exponent that the WebUI lists as `default_rho`; -1 where there is none.
    pub fn default_rho(self) -> f64 {
        match self {
            Self::Karras => KARRAS_RHO,
            Self::Polyexponential => 1.0,
            _ => -1.0,
        }
    }

    /// Whether the levels come from the network's trained levels, and not from their ends alone: what the
    /// WebUI lists as `need_inner_model`.
    pub fn needs_levels(self) -> bool {
        match self {
            Self::Uniform
            | Self::SgmUniform
            | Self::Simple
            | Self::Normal
            | Self::Ddim
            | Self::Beta => true,
            Self::Automatic | Self::Karras | Self::Exponential | Self::Polyexponential => false,
        }
    }

    /// Name, label and aliases.
    pub(super) fn spellings(self) -> impl Iterator<Item = &'static str> {
        let names = [self.label(), self.name()].into_iter();
        names.chain(self.aliases().iter().copied())
    }

    /// The sigmas of a run of about `steps` steps, falling, and a zero. There is at least one before the
    /// zero. `steps` is one at least and bounded by the caller.
    ///
    /// The first sigma of most is the largest of the network; that of [`Ddim`](Self::Ddim) is below.
    pub(super) fn sigmas(self, grid: &Grid, steps: usize) -> Vec<f64> {
        let (first, last) = grid.ends();
        let (sigma_min, sigma_max) = (grid.sigma_min(), grid.sigma_max());
        let mut sigmas: Vec<f64> = match self {
            Self::Automatic | Self::Uniform | Self::Normal => line(last, first, steps)
                .map(|timestep| grid.sigma_at(timestep))
                .collect(),
            Self::SgmUniform => line(last, first, steps + 1)
                .take(steps)
                .map(|timestep| grid.sigma_at(timestep))
                .collect(),
            Self::Karras => {
                let root = KARRAS_RHO.recip();
                line(sigma_max.powf(root), sigma_min.powf(root), steps)
                    .map(|value| value.powf(KARRAS_RHO))
                    .collect()
            }
            Self::Exponential | Self::Polyexponential => {
                line(sigma_max.ln(), sigma_min.ln(), steps)
                    .map(f64::exp)
                    .collect()
            }
            Self::Simple => {
                let stride = grid.len() as f64 / steps as f64;
                let level = |step: usize| grid.len() - 1 - (step as f64 * stride) as usize;
                (0..steps).map(|step| grid.sigma(level(step))).collect()
            }
            Self::Ddim => {
                let stride = (grid.len() / steps).max(1);
                let levels = (1..grid.len()).step_by(stride);
                let mut sigmas: Vec<f64> = levels.map(|level| grid.sigma(level)).collect();
                sigmas.reverse();
                sigmas
            }
            Self::Beta => line(1.0, 0.0, steps)
                .map(|share| sigma_min + beta_quantile(share) * (sigma_max - sigma_min))
                .collect(),
        };
        sigmas.push(0.0);
        sigmas
    }
}

/// `count` numbers evenly from `start` to `end`, both with; one number is the start.
pub(super) fn line(start: f64, end: f64, count: usize) -> impl Iterator<Item = f64> {
    let last = count.saturating_sub(1).max(1) as f64;
    (0..count).map(move |index| {
        let share = index as f64 / last;
        start * (1.0 - share) + end * share
    })
}

/// Where the distribution function of the symmetric beta distribution has the value `share`.
fn beta_quantile(share: f64) -> f64 {
    if share <= 0.0 || share >= 1.0 {
        return share.clamp(0.0, 1.0);
    }
    // The upper half mirrors the lower, where the search is exact near zero.
    if share > 0.5 {
        return 1.0 - beta_quantile(1.0 - share);
    }
    let (mut low, mut high) = (0.0, 0.5);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if beta_distribution(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The distribution function at `x` from 0 to 0.5: the regularised incomplete beta function by its
/// continued fraction, evaluated forwards (Lentz).
fn beta_distribution(x: f64) -> f64 {
    let shape = BETA_SHAPE;
    let term = |index: usize| {
        let half = (index / 2) as f64;
        let base = shape + 2.0 * half;
        if index.is_multiple_of(2) {
            half * (shape - half) * x / ((base - 1.0) * base)
        } else {
            -(shape + half) * (2.0 * shape + half) * x / (base * (base + 1.0))
        }
    };
    let (mut above, mut below, mut fraction) = (1.0, 0.0, 1.0);
    for index in 1..TERMS_MAX {
        let term = term(index);
        below = (1.0 + term * below).recip();
        above = 1.0 + term / above;
        fraction *= above * below;
        if (above * below - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    (x * (1.0 - x)).powf(shape) / (shape * BETA_NORM * fraction)
}

#[cfg(test)]
mod tests {
    use super::super::schedule::{Betas, Schedule};
    use super::*;

    #[test]
    fn karras_twenty_is_as_published() {
        let schedule = Schedule::new(Betas::default()).unwrap();
        let sigmas = Spacing::Karras.sigmas(schedule.grid(), 20);
        let published = [
            14.6146, 11.7254, 9.3402, 7.3836, 5.7894, 4.4998, 3.4647, 2.6408, 1.9909, 1.4832,
            1.0908, 0.7909, 0.5647, 0.3964, 0.2730, 0.1842, 0.1213, 0.0779, 0.0485, 0.0292, 0.0,
        ];
        assert_eq!(sigmas.len(), published.len());
        for (got, want) in sigmas.into_iter().zip(published) {
            assert!((got - want).abs() < 6e-5, "{got} and not {want}");
        }
    }

    #[test]
    fn every_spacing_falls_from_within_the_network_to_zero() {
        let schedule = Schedule::new(Betas::default()).unwrap();
        for grid in [schedule.grid(), &schedule.consistency_grid()] {
            for spacing in SPACINGS {
                for steps in [1, 2, 3, 30, 999, 1000, 5000] {
                    let sigmas = spacing.sigmas(grid, steps);
                    assert!(sigmas.len() >= 2, "{spacing:?} {steps}");
                    assert_eq!(sigmas.last(), Some(&0.0));
                    assert!(sigmas[0] <= grid.sigma_max() * (1.0 + 1e-12));
                    let least = grid.sigma_min() * (1.0 - 1e-12);
                    assert!(sigmas[sigmas.len() - 2] >= least, "{spacing:?} {steps}");
                    assert!(sigmas.is_sorted_by(|one, next| one >= next));
                }
            }
        }
    }

    #[test]
    fn only_ddim_has_another_number_of_levels_than_steps() {
        let schedule = Schedule::new(Betas::default()).unwrap();
        for spacing in SPACINGS {
            let levels = spacing.sigmas(schedule.grid(), 30).len() - 1;
            let expected = if spacing == Spacing::Ddim { 31 } else { 30 };
            assert_eq!(levels, expected, "{spacing:?}");
        }
    }

    #[test]
    fn names_labels_and_aliases_are_found_in_any_case() {
        for spacing in SPACINGS {
            for name in spacing.spellings() {
                assert_eq!(Spacing::parse(&name.to_uppercase()).unwrap(), spacing);
            }
        }
        assert_eq!(Spacing::parse(" sgmuniform ").unwrap(), Spacing::SgmUniform);
        assert_eq!(Spacing::parse("").unwrap(), Spacing::Automatic);
        assert!(matches!(
            Spacing::parse("turbo"),
            Err(SamplingError::Spacing(name)) if name == "turbo"
        ));
    }
}
