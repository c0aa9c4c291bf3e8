//! Widths and depths of the networks, and their constants.
//!
//! They come from diffusers' `config.json`, or from the shapes of a file's tensors ([`infer`]).
//! What shapes cannot tell has the value of SD 1.x, unless the file's metadata hold
//! `photog.unet_config`, `photog.vae_config`, `photog.text_config`, `photog.controlnet_config` or
//! `photog.scheduler_config`: JSON objects with the keys of the `config.json` in question, of which
//! any part may be given. Either way the same reader checks the result: keys that change nothing
//! for inference are ignored, values that ask for what is not built are refused by name, and all
//! sizes are bounded.

mod fields;
pub(super) mod infer;
mod scheduler;
mod text;
mod unet;
mod vae;

pub(super) use fields::{FieldError, Fields};
pub use scheduler::{BetaSchedule, PredictionType, SchedulerConfig};
pub use text::{TextActivation, TextConfig};
pub use unet::{ControlNetConfig, UnetConfig};
pub use vae::{TaesdConfig, VaeConfig};

/// Largest width of a layer.
const WIDTH_MAX: usize = 8192;
/// Most levels of resolution of a network.
const LEVELS_MAX: usize = 8;
/// Most layers of one level.
const LAYERS_MAX: usize = 16;
/// Most channels of a picture or of latents.
const CHANNELS_MAX: usize = 64;

/// That a count of channels can be cut into so many equal parts.
fn check_parts(what: &str, width: usize, parts: usize, parts_of: &str) -> Result<(), String> {
    if parts > 0 && width.is_multiple_of(parts) {
        return Ok(());
    }
    Err(format!(
        "{what} of {width} channels cannot have {parts} {parts_of}"
    ))
}
