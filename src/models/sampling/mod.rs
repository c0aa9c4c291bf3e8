//! Sampling: the way from noise to a picture, planned before the network is asked for the first time.
//!
//! ```text
//!   Request + Schedule --> plan --> Plan: a table of numbers --> whoever has the network and the tensors
//!                                                                      ^
//!   seeds --> NoiseSource: the noise of a batch, draw by draw ---------+
//! ```
//!
//! All samplers here are linear multistep methods: each next sample is a sum of the last sample, of the
//! last few denoised pictures and of noise, with factors that depend on nothing but the levels of noise.
//! So a [`Plan`] is plain numbers, it can be checked without a network, and the code that owns the tensors
//! knows no sampler. Nothing here touches a tensor. Names, defaults and oddities are those of the WebUI of
//! AUTOMATIC1111, so that the same request gives the same picture.
//!
//! # How to run a plan
//!
//! Samples are variance exploding: picture plus sigma times noise. Let `z` be the encoded picture to start
//! from (all zero without one), `draw` the next noise of the batch, and `history` the denoised pictures,
//! newest first. Then
//!
//! ```text
//! x = start.latent * z + start.noise * draw()
//! for each evaluation:
//!     if churn:    x = x + churn * draw()
//!     D = denoise(x, sigma, timestep)               scalings.skip * x + scalings.output * answer
//!     put D before the others in history
//!     if correct:  base = correct(base, history)    else base = x
//!     x = advance(base, history)                    may end with noise * draw()
//! picture = finish * x
//! ```
//!
//! where applying a [`Combination`] to a base and the history is
//!
//! ```text
//! sample * base + denoised[0] * history[0] + denoised[1] * history[1] + ... [+ noise * draw()]
//! ```
//!
//! - `scalings` are those of [`Prediction::scalings`] at the evaluation's `sigma`; the network is asked
//!   with `scalings.input * x` and with `timestep`, which need not be whole. With guidance, `D` is the
//!   guided one: `D_negative + scale * (D_positive - D_negative)`.
//! - The history never needs more than [`HISTORY_MAX`] pictures: the newest and three older ones, and more
//!   than two only for UniPC. `base` is needed only where the next evaluation has a `correct`.
//! - Draws come in exactly this order, and a noise of `Some(0.0)` still costs a draw. [`NoiseSource::draw`]
//!   gives them; the first is the noise of the start, whether or not there is a picture.
//! - A mask of a picture is kept by blending `D` with `z` before it goes into the history; nothing else has
//!   to know of it.
//! - For a preview show `D`; for progress count evaluations. A run may stop after any of them.

mod error;
mod method;
mod noise;
mod philox;
mod plan;
mod schedule;
mod spacing;
#[cfg(test)]
mod tests;

pub use error::SamplingError;
pub use method::{METHODS, Method};
pub use noise::{NoiseRequest, NoiseSource, VALUES_MAX, Variation, seeds};
pub use philox::Philox;
pub use plan::{
    BhVariant, Churn, Combination, Evaluation, FromPicture, HISTORY_MAX, Plan, Request, STEPS_MAX,
    Start, UniPc, plan,
};
pub use schedule::{BetaCurve, Betas, Prediction, Scalings, Schedule, TRAIN_STEPS_MAX};
pub use spacing::{SPACINGS, Spacing};
#[cfg(test)]
pub(in crate::models) use tests::ddim_of_diffusers;
