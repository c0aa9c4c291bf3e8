//! A whole run as numbers: where it starts, what it asks the network, how samples follow from answers.

use super::SamplingError;
use super::method::{self, Method, Place};
use super::schedule::{Schedule, log_sigma};
use super::spacing::{Spacing, line};

/// Most steps of a request.
pub const STEPS_MAX: usize = 1000;
/// Denoised pictures that a run has to keep, the newest with them.
pub const HISTORY_MAX: usize = 4;
/// Most levels that a run from a picture may be a part of, where a low strength would ask for more.
const LEVELS_MAX: usize = 10_000;
/// The WebUI's cap on the strength, which keeps the part of the steps below all of them.
const STRENGTH_MAX: f64 = 0.999;
/// Most that measures of noise may be; usual is 0 to 1.
const NOISE_MAX: f64 = 10.0;
/// Most churn; usual is 0 to 100.
const CHURN_MAX: f64 = 1000.0;
/// Highest order of UniPC, so that [`HISTORY_MAX`] holds.
const ORDER_MAX: usize = HISTORY_MAX - 1;

/// What a run is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The sampler.
    pub method: Method,
    /// How its levels are spread; not heard by samplers with time steps of their own.
    pub spacing: Spacing,
    /// Steps, from 1 to [`STEPS_MAX`].
    pub steps: usize,
    /// A picture to start from, instead of noise alone.
    pub from_picture: Option<FromPicture>,
    /// How much fresh noise is added; without it [`Method::default_eta`].
    pub eta: Option<f64>,
    /// Factor on fresh noise (`s_noise`, 1 as a rule): of Euler's churn and of DPM++ 2M SDE.
    pub noise_scale: f64,
    /// Noise that Euler adds before each evaluation.
    pub churn: Churn,
    /// Options of UniPC.
    pub unipc: UniPc,
}

impl Request {
    /// A request for a picture from noise, with the WebUI's defaults.
    pub fn new(method: Method, spacing: Spacing, steps: usize) -> Self {
        Self {
            method,
            spacing,
            steps,
            from_picture: None,
            eta: None,
            noise_scale: 1.0,
            churn: Churn::default(),
            unipc: UniPc::default(),
        }
    }

    fn check(&self) -> Result<(), SamplingError> {
        check(
            "the number of steps",
            self.steps as f64,
            1.0,
            STEPS_MAX as f64,
        )?;
        check("eta", self.eta.unwrap_or(0.0), 0.0, NOISE_MAX)?;
        check("the scale of noise", self.noise_scale, 0.0, NOISE_MAX)?;
        check("the churn", self.churn.amount, 0.0, CHURN_MAX)?;
        check(
            "the churn's least sigma",
            self.churn.sigma_min,
            0.0,
            f64::INFINITY,
        )?;
        check(
            "the churn's largest sigma",
            self.churn.sigma_max,
            0.0,
            f64::INFINITY,
        )?;
        check(
            "the order of UniPC",
            self.unipc.order as f64,
            1.0,
            ORDER_MAX as f64,
        )?;
        if let Some(picture) = &self.from_picture {
            check("the denoising strength", picture.strength, 0.0, 1.0)?;
            check(
                "the multiplier of the first noise",
                picture.noise_scale,
                0.0,
                NOISE_MAX,
            )?;
        }
        Ok(())
    }

    fn eta(&self) -> f64 {
        self.eta.or(self.method.default_eta()).unwrap_or(0.0)
    }
}

fn check(name: &'static str, value: f64, least: f64, most: f64) -> Result<(), SamplingError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(SamplingError::Setting {
        name,
        value,
        least,
        most,
    })
}

/// How a run starts from a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FromPicture {
    /// Denoising strength, from 0 to 1: the part of the steps that is run.
    pub strength: f64,
    /// Whether as many steps are run as the request says, out of more. The WebUI does this in the second
    /// pass of its fix for high resolutions, and everywhere by the option `img2img_fix_steps`. DDIM makes
    /// two evaluations less and UniPC one, as they do not reach the end of the part.
    pub keeps_steps: bool,
    /// Factor on the first noise (`initial_noise_multiplier`).
    pub noise_scale: f64,
}

impl FromPicture {
    /// The usual way, with this strength.
    pub fn new(strength: f64) -> Self {
        Self {
            strength,
            keeps_steps: false,
            noise_scale: 1.0,
        }
    }

    /// Steps of the whole schedule and, of these, the number that the strength stands for. This is
    /// `setup_img2img_steps` of the WebUI, where a strength of 0 does not work if the steps are kept.
    fn part(&self, steps: usize) -> (usize, usize) {
        let strength = self.strength.min(STRENGTH_MAX);
        if self.keeps_steps {
            // A division by zero ends at the cap.
            let all = (steps as f64 / strength) as usize;
            (all.min(LEVELS_MAX), steps - 1)
        } else {
            (steps, (strength * steps as f64) as usize)
        }
    }
}

/// Noise that plain Euler adds before each evaluation (`s_churn`, `s_tmin`, `s_tmax`).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Churn {
    /// How much in all; 0 is none.
    pub amount: f64,
    /// Least sigma at which it is added.
    pub sigma_min: f64,
    /// Largest sigma at which it is added; 0 means no limit, as in the WebUI.
    pub sigma_max: f64,
}

/// The function `B(h)` of UniPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BhVariant {
    /// `bh1`, the WebUI's default: `h`.
    Bh1,
    /// `bh2`, the default of diffusers: `exp(h) - 1`.
    Bh2,
}

/// Options of UniPC. The default is the WebUI's: order 3, `bh1`, lower order at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UniPc {
    /// Order, from 1 to 3.
    pub order: usize,
    /// Which `B(h)`.
    pub variant: BhVariant,
    /// Whether the order falls to 1 towards the last step.
    pub lower_order_final: bool,
}

impl Default for UniPc {
    fn default() -> Self {
        Self {
            order: 3,
            variant: BhVariant::Bh1,
            lower_order_final: true,
        }
    }
}

/// A sum of the sample, of the denoised pictures, newest first, and of standard normal noise.
#[derive(Debug, Clone, PartialEq)]
pub struct Combination {
    /// Factor on the sample.
    pub sample: f64,
    /// Factors on the denoised pictures, newest first; [`HISTORY_MAX`] at most.
    pub denoised: Vec<f64>,
    /// Factor on noise, where noise is drawn; the draw is made even if it is zero.
    pub noise: Option<f64>,
}

/// One question to the network, and what follows from the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Factor on noise that is drawn and added to the sample before, where there is any.
    pub churn: Option<f64>,
    /// Noise in the sample that the network sees.
    pub sigma: f64,
    /// The time step that the network is told; it need not be whole.
    pub timestep: f64,
    /// The sample once more, from the one before and with the new denoised picture, before `advance`.
    pub correct: Option<Combination>,
    /// The next sample.
    pub advance: Combination,
}

/// The first sample is `latent` times the encoded picture plus `noise` times standard normal noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Start {
    /// Factor on the encoded picture; 0 when the run starts from noise.
    pub latent: f64,
    /// Factor on noise.
    pub noise: f64,
}

/// A whole run. How to go through it is told in the [module](super).
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The first sample.
    pub start: Start,
    /// The questions in their order; at least one.
    pub evaluations: Vec<Evaluation>,
    /// Factor on the last sample: not 1 for samplers that end with a little noise left, whose WebUI
    /// originals are variance preserving.
    pub finish: f64,
}

/// Plans a run; [`SamplingError::Setting`] when a number of the request is out of its range.
pub fn plan(schedule: &Schedule, request: &Request) -> Result<Plan, SamplingError> {
    request.check()?;
    Ok(match request.method {
        Method::Ddim => plan_ddim(schedule, request),
        Method::UniPc => plan_unipc(schedule, request),
        _ => plan_by_sigmas(schedule, request),
    })
}

/// The samplers of k-diffusion, which go through sigmas.
///
/// From a picture, the run begins at the sigma with as many after it as the strength says, so one more
/// evaluation is made than that (`sample_img2img` of `KDiffusionSampler`). Where a spacing has fewer levels
/// than steps, one evaluation is left at least.
fn plan_by_sigmas(schedule: &Schedule, request: &Request) -> Plan {
    let consistency;
    let grid = match request.method {
        Method::Lcm => {
            consistency = schedule.consistency_grid();
            &consistency
        }
        _ => schedule.grid(),
    };
    let spacing = match request.spacing {
        Spacing::Automatic => request.method.default_spacing(),
        spacing => spacing,
    };
    let (steps, after) = match &request.from_picture {
        Some(picture) => picture.part(request.steps),
        None => (request.steps, request.steps - 1),
    };
    let sigmas = spacing.sigmas(grid, steps);
    let first = match request.from_picture {
        Some(_) => (steps - after - 1).min(sigmas.len() - 2),
        None => 0,
    };
    let sigmas = &sigmas[first..];
    let (eta, noise_scale) = (request.eta(), request.noise_scale);
    let evaluations = match request.method {
        Method::Dpm2m => method::dpm_2m(grid, sigmas),
        Method::Dpm2mSde => method::dpm_2m_sde(grid, sigmas, eta, noise_scale),
        Method::EulerAncestral => method::euler_ancestral(grid, sigmas, eta),
        Method::Lcm => method::lcm(grid, sigmas),
        Method::Euler | Method::Ddim | Method::UniPc => {
            method::euler(grid, sigmas, request.churn, noise_scale)
        }
    };
    let start = match &request.from_picture {
        Some(picture) => Start {
            latent: 1.0,
            noise: sigmas[0] * picture.noise_scale,
        },
        None => Start {
            latent: 0.0,
            noise: sigmas[0],
        },
    };
    Plan {
        start,
        evaluations,
        finish: 1.0,
    }
}

/// DDIM. As in the WebUI, the lowest time step is where the run ends and is not evaluated, so 20 steps
/// make 19 evaluations. Where none would be left, there is one, which leads to time step 0.
fn plan_ddim(schedule: &Schedule, request: &Request) -> Plan {
    let part = Part::of(schedule, request);
    let (timesteps, end) = match part.timesteps.split_first() {
        Some((&end, rest)) if !rest.is_empty() => (rest.iter().rev().copied().collect(), end),
        _ => (vec![part.noised_at], 0),
    };
    Plan {
        start: part.start(schedule, request, schedule.signal(timesteps[0]).sqrt()),
        evaluations: method::ddim(schedule, &timesteps, end, request.eta()),
        finish: schedule.signal(end).sqrt(),
    }
}

/// UniPC. As in the WebUI, it makes as many evaluations as DDIM has time steps, evenly from the first of
/// them, or from the last time step of the training when it starts from noise, to time step 0.
fn plan_unipc(schedule: &Schedule, request: &Request) -> Plan {
    let part = Part::of(schedule, request);
    let first = match (&request.from_picture, part.timesteps.last()) {
        (Some(_), Some(&timestep)) => timestep,
        _ => part.noised_at,
    };
    let steps = part.timesteps.len().max(1);
    let place = |timestep: f64| Place {
        sigma: log_sigma(schedule.alpha_at(timestep).ln()).exp(),
        timestep,
    };
    let places: Vec<Place> = line(first as f64, 0.0, steps + 1).map(place).collect();
    Plan {
        start: part.start(schedule, request, schedule.signal(first).sqrt()),
        evaluations: method::unipc(&places, request.unipc),
        finish: schedule.signal(0).sqrt(),
    }
}

/// The part of DDIM's time steps that a run goes through.
struct Part {
    /// The time steps, rising; none when the strength is less than a step.
    timesteps: Vec<usize>,
    /// The time step whose noise the first sample has.
    noised_at: usize,
}

impl Part {
    /// From noise, these are all time steps. From a picture, the WebUI (`sample_img2img` of
    /// `CompVisSampler`) takes the first `n` of them for a strength of `n` steps, but noises the picture as
    /// for the next one: the network is told a little less noise than there is.
    fn of(schedule: &Schedule, request: &Request) -> Self {
        match &request.from_picture {
            None => Self {
                timesteps: ddim_timesteps(schedule.train_steps(), request.steps),
                noised_at: schedule.train_steps() - 1,
            },
            Some(picture) => {
                let (steps, count) = picture.part(request.steps);
                let mut timesteps = ddim_timesteps(schedule.train_steps(), steps);
                let count = count.min(timesteps.len() - 1);
                let noised_at = timesteps[count];
                timesteps.truncate(count);
                Self {
                    timesteps,
                    noised_at,
                }
            }
        }
    }

    /// The first sample, which the sampler takes for one with `alpha`, the root of `abar`. From noise, the
    /// WebUI starts with noise of deviation 1, as if nothing of a picture were in it.
    fn start(&self, schedule: &Schedule, request: &Request, alpha: f64) -> Start {
        let signal = schedule.signal(self.noised_at);
        match &request.from_picture {
            Some(picture) => Start {
                latent: signal.sqrt() / alpha,
                noise: (1.0 - signal).sqrt() / alpha * picture.noise_scale,
            },
            None => Start {
                latent: 0.0,
                noise: alpha.recip(),
            },
        }
    }
}

/// DDIM's time steps, rising: every so manieth from 1, up to the last. There may be more than `steps`.
fn ddim_timesteps(train_steps: usize, steps: usize) -> Vec<usize> {
    let stride = (train_steps / steps).max(1);
    let timesteps = (0..train_steps).step_by(stride);
    timesteps
        .map(|step| (step + 1).min(train_steps - 1))
        .collect()
}
