//! The noise that a UNet was trained on.

use serde_json::json;

use super::fields::{FieldError, Fields};

/// Most steps of a training's noise schedule.
const STEPS_MAX: usize = 100_000;

/// The noise schedule of a UNet's training. Which sampler is used is not a matter of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    /// Steps from no noise to noise only.
    pub num_train_timesteps: usize,
    /// Variance of the noise that the first step adds.
    pub beta_start: f64,
    /// Variance of the noise that the last step adds.
    pub beta_end: f64,
    /// How the steps between are spaced.
    pub beta_schedule: BetaSchedule,
    /// What the UNet's output means.
    pub prediction_type: PredictionType,
    /// Added to each step of a sampler that counts from the first one.
    pub steps_offset: usize,
    /// Whether betas are scaled so that the last step is noise only.
    pub rescale_betas_zero_snr: bool,
}

/// How variances grow from the first to the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BetaSchedule {
    /// Evenly.
    Linear,
    /// Their roots evenly.
    ScaledLinear,
}

/// What the output of a UNet means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredictionType {
    /// The noise.
    Epsilon,
    /// `α · noise − σ · picture` (Salimans and Ho 2022, "Progressive Distillation").
    Velocity,
}

impl PredictionType {
    /// Reads what diffusers and the model specification call it.
    pub(in super::super) fn parse(text: &str) -> Option<Self> {
        match text {
            "epsilon" | "eps" => Some(Self::Epsilon),
            "v_prediction" | "v-prediction" | "v" => Some(Self::Velocity),
            _ => None,
        }
    }
}

impl Default for SchedulerConfig {
    /// That of SD 1.x.
    fn default() -> Self {
        Self {
            num_train_timesteps: 1000,
            beta_start: 0.00085,
            beta_end: 0.012,
            beta_schedule: BetaSchedule::ScaledLinear,
            prediction_type: PredictionType::Epsilon,
            steps_offset: 1,
            rescale_betas_zero_snr: false,
        }
    }
}

impl SchedulerConfig {
    /// The defaults of diffusers, which its files may leave out.
    pub(in super::super) fn diffusers_default() -> Self {
        Self {
            beta_start: 0.0001,
            beta_end: 0.02,
            beta_schedule: BetaSchedule::Linear,
            steps_offset: 0,
            ..Self::default()
        }
    }

    /// Reads the fields of a `scheduler_config.json`; those that are not there are as in `base`.
    pub(in super::super) fn read(fields: &Fields, base: &Self) -> Result<Self, FieldError> {
        fields.built(&[("trained_betas", json!(null))])?;
        Ok(Self {
            num_train_timesteps: fields.size(
                "num_train_timesteps",
                base.num_train_timesteps,
                STEPS_MAX,
            )?,
            beta_start: fields.number("beta_start", base.beta_start, 1e-9..=0.999)?,
            beta_end: fields.number("beta_end", base.beta_end, 1e-9..=0.999)?,
            beta_schedule: match fields.text("beta_schedule")? {
                None => base.beta_schedule,
                Some("linear") => BetaSchedule::Linear,
                Some("scaled_linear") => BetaSchedule::ScaledLinear,
                Some(_) => {
                    let built = "\"linear\" and \"scaled_linear\"";
                    return Err(fields.not_built("beta_schedule", built));
                }
            },
            prediction_type: match fields.text("prediction_type")? {
                None => base.prediction_type,
                Some(text) => PredictionType::parse(text).ok_or_else(|| {
                    fields.not_built("prediction_type", "\"epsilon\" and \"v_prediction\"")
                })?,
            },
            steps_offset: fields.number("steps_offset", base.steps_offset as f64, 0.0..=1000.0)?
                as usize,
            rescale_betas_zero_snr: fields
                .flag("rescale_betas_zero_snr", base.rescale_betas_zero_snr)?,
        })
    }
}
