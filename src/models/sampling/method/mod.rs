//! The samplers: their names and options in the WebUI, and one file for the formulas of each family.

mod ddim;
mod dpm;
mod euler;
mod lcm;
mod unipc;

pub(super) use ddim::ddim;
pub(super) use dpm::{dpm_2m, dpm_2m_sde};
pub(super) use euler::{euler, euler_ancestral};
pub(super) use lcm::lcm;
pub(super) use unipc::{Place, unipc};

use super::SamplingError;
use super::spacing::{SPACINGS, Spacing};

/// Endings of old aliases that say the spacing, such as `k_dpmpp_2m_ka`.
const OLD_ENDINGS: [(&str, Spacing); 2] =
    [("_ka", Spacing::Karras), ("_exp", Spacing::Exponential)];

/// A way from noise to a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// DPM-Solver++ of second order, multistep (Lu et al. 2022).
    Dpm2m,
    /// The same for the stochastic equation, by the midpoint rule.
    Dpm2mSde,
    /// Euler's method with fresh noise after each step.
    EulerAncestral,
    /// Euler's method (Karras et al. 2022, algorithm 2).
    Euler,
    /// Denoising at once, and noise again, for distilled networks (Luo et al. 2023).
    Lcm,
    /// Denoising diffusion implicit models (Song et al. 2020).
    Ddim,
    /// Unified predictor and corrector (Zhao et al. 2023).
    UniPc,
}

/// All methods in the order in which the WebUI lists them.
pub const METHODS: [Method; 7] = [
    Method::Dpm2m,
    Method::Dpm2mSde,
    Method::EulerAncestral,
    Method::Euler,
    Method::Lcm,
    Method::Ddim,
    Method::UniPc,
];

impl Method {
    /// The name, such as `Euler a`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dpm2m => "DPM++ 2M",
            Self::Dpm2mSde => "DPM++ 2M SDE",
            Self::EulerAncestral => "Euler a",
            Self::Euler => "Euler",
            Self::Lcm => "LCM",
            Self::Ddim => "DDIM",
            Self::UniPc => "UniPC",
        }
    }

    /// Other names in requests.
    pub fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Dpm2m => &["k_dpmpp_2m"],
            Self::Dpm2mSde => &["k_dpmpp_2m_sde"],
            Self::EulerAncestral => &["k_euler_a", "k_euler_ancestral"],
            Self::Euler => &["k_euler"],
            Self::Lcm => &["k_lcm"],
            Self::Ddim => &["ddim"],
            Self::UniPc => &["unipc"],
        }
    }

    /// What the WebUI's list of samplers says of it besides. None of these leaves out the last sigma but
    /// one (`discard_next_to_last_sigma`).
    pub fn options(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Dpm2m => &[("scheduler", "karras")],
            Self::Dpm2mSde => &[("scheduler", "exponential"), ("brownian_noise", "True")],
            Self::EulerAncestral => &[("uses_ensd", "True")],
            Self::Euler | Self::Lcm | Self::Ddim | Self::UniPc => &[],
        }
    }

    /// What "Automatic" means for it.
    pub fn default_spacing(self) -> Spacing {
        match self {
            Self::Dpm2m => Spacing::Karras,
            Self::Dpm2mSde => Spacing::Exponential,
            _ => Spacing::Uniform,
        }
    }

    /// Whether a spacing matters to it: DDIM and UniPC have time steps of their own.
    pub fn takes_spacing(self) -> bool {
        !matches!(self, Self::Ddim | Self::UniPc)
    }

    /// How much fresh noise it adds where a request does not say: 1 is what its authors meant, 0 none.
    /// `None` where it never adds any by this measure.
    pub fn default_eta(self) -> Option<f64> {
        match self {
            Self::EulerAncestral | Self::Dpm2mSde => Some(1.0),
            Self::Ddim => Some(0.0),
            Self::Euler | Self::Dpm2m | Self::Lcm | Self::UniPc => None,
        }
    }

    /// The method and the spacing of a request: the sampler's name or alias and the schedule type, both in
    /// any case. A name may end with a spacing, as names did before the WebUI asked for it apart
    /// ("DPM++ 2M Karras"); as in the WebUI, that ending then counts and not `spacing`.
    ///
    /// [`SamplingError::Method`] and [`SamplingError::Spacing`] when a name is not known.
    pub fn parse(name: &str, spacing: &str) -> Result<(Self, Spacing), SamplingError> {
        let name = name.trim();
        if let Some(method) = Self::by_name(name) {
            return Ok((method, Spacing::parse(spacing)?));
        }
        let with_spacing = || {
            let mut endings = SPACINGS.into_iter().flat_map(|spacing| {
                let spellings = spacing.spellings();
                spellings.map(move |ending| (format!(" {ending}"), spacing))
            });
            endings.find_map(|(ending, spacing)| Self::by_start(name, &ending, spacing))
        };
        let with_old_ending = || {
            let mut endings = OLD_ENDINGS.into_iter();
            endings.find_map(|(ending, spacing)| Self::by_start(name, ending, spacing))
        };
        let found = with_spacing().or_else(with_old_ending);
        found.ok_or_else(|| SamplingError::Method(name.into()))
    }

    fn by_name(name: &str) -> Option<Self> {
        METHODS.into_iter().find(|method| {
            let mut names = [method.name()]
                .into_iter()
                .chain(method.aliases().iter().copied());
            names.any(|known| known.eq_ignore_ascii_case(name))
        })
    }

    /// The method whose name is followed by this ending.
    fn by_start(name: &str, ending: &str, spacing: Spacing) -> Option<(Self, Spacing)> {
        let (start, end) = name.split_at_checked(name.len().checked_sub(ending.len())?)?;
        let method = Self::by_name(start).filter(|_| end.eq_ignore_ascii_case(ending))?;
        Some((method, spacing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_found_in_any_case() {
        for method in METHODS {
            for name in [method.name()].iter().chain(method.aliases()) {
                let found = Method::parse(&name.to_lowercase(), "KARRAS").unwrap();
                assert_eq!(found, (method, Spacing::Karras));
            }
        }
    }

    #[test]
    fn a_name_may_end_with_a_spacing_which_then_counts() {
        let cases = [
            ("DPM++ 2M Karras", Method::Dpm2m, Spacing::Karras),
            (
                "dpm++ 2m sde exponential",
                Method::Dpm2mSde,
                Spacing::Exponential,
            ),
            (
                "Euler a SGM Uniform",
                Method::EulerAncestral,
                Spacing::SgmUniform,
            ),
            ("Euler SGMUniform", Method::Euler, Spacing::SgmUniform),
            ("Euler sgm_uniform", Method::Euler, Spacing::SgmUniform),
            ("LCM Automatic", Method::Lcm, Spacing::Automatic),
            ("Euler DDIM", Method::Euler, Spacing::Ddim),
            ("k_dpmpp_2m_ka", Method::Dpm2m, Spacing::Karras),
            ("k_dpmpp_2m_sde_exp", Method::Dpm2mSde, Spacing::Exponential),
        ];
        for (name, method, spacing) in cases {
            assert_eq!(
                Method::parse(name, "simple").unwrap(),
                (method, spacing),
                "{name}"
            );
        }
        let plain = Method::parse("DPM++ 2M", "").unwrap();
        assert_eq!(plain, (Method::Dpm2m, Spacing::Automatic));
    }

    #[test]
    fn what_is_not_known_is_refused_by_its_name() {
        for name in [
            "",
            "Karras",
            " Karras",
            "Heun",
            "DPM++ 2M Turbo",
            "Euler\u{e9}Karras",
            "\u{1f600}_ka",
        ] {
            assert!(
                matches!(Method::parse(name, ""), Err(SamplingError::Method(_))),
                "{name}"
            );
        }
        assert!(matches!(
            Method::parse("Euler", "turbo"),
            Err(SamplingError::Spacing(_))
        ));
    }
}
