//! Weights of image models: from files of several layouts to named numbers in ordinary memory.
//!
//! ```text
//!   path --> Files::open --> Checkpoint --> Part { config } --> Source --> numbers by name
//!               |                                                 ^
//!               v                                                 |
//!           Container (safetensors)  +  Layout (which name of ours is which name of the file)
//! ```
//!
//! Everything above this module speaks one language of names, that of diffusers
//! (`down_blocks.0.resnets.0.conv1.weight`); what a file calls them is known here and nowhere else.
//! Widths and depths come from the file's `config.json`, or from the shapes of its tensors.
//!
//! Files come from outside and are not trusted: sizes are held against the file's length before
//! memory is asked for, what is not built is refused by name, and no file makes this module panic.

mod checkpoint;
mod config;
mod container;
mod dtype;
mod folder;
mod header;
mod kinds;
mod layout;
mod source;
#[cfg(test)]
mod tests;
mod write;

pub use checkpoint::{Checkpoint, Files, Part, TokenizerFiles};
pub use config::{
    BetaSchedule, ControlNetConfig, PredictionType, SchedulerConfig, TaesdConfig, TextActivation,
    TextConfig, UnetConfig, VaeConfig,
};
pub use container::{Container, TensorView};
pub use dtype::Dtype;
pub use source::Source;
pub use write::{Kept, Named, write_safetensors};

/// Why weights cannot be used. The texts say what happened, what it means and what to do.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The system does not give the file; another path or other rights may help.
    #[error("{file} cannot be read: {reason}")]
    Read {
        /// Path of the file.
        file: String,
        /// What the system says.
        reason: String,
    },
    /// The file is damaged, hostile or incomplete; a fresh copy may help.
    #[error("{file} cannot be used: {reason}")]
    Refused {
        /// Path of the file.
        file: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The file may be sound, but photog does not run models of its kind; another model helps.
    #[error("{file} is not supported: {reason}")]
    Unsupported {
        /// Path of the file.
        file: String,
        /// What it is, and what to do.
        reason: String,
    },
    /// The tensors are not those that the network needs.
    #[error(
        "the {network} of {file} does not fit its configuration: {report}. The file is damaged, or \
         of another kind of model than it looks like; take another file, or check its config.json"
    )]
    Mismatch {
        /// Path of the file.
        file: String,
        /// Which network was being built.
        network: String,
        /// All that is missing, misshapen or left over; long lists are cut.
        report: String,
    },
}

impl WeightsError {
    fn refused(file: &str, reason: impl Into<String>) -> Self {
        Self::Refused {
            file: String::from(file),
            reason: reason.into(),
        }
    }

    fn unsupported(file: &str, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            file: String::from(file),
            reason: reason.into(),
        }
    }
}

/// A text from a file as it may stand in an error: of bounded length, on one line.
fn shown(text: &str) -> String {
    shown_up_to(120, text)
}

/// The same for what other code says of a file, which may name parts of it.
fn shown_message(message: &impl std::fmt::Display) -> String {
    shown_up_to(300, &message.to_string())
}

fn shown_up_to(count: usize, text: &str) -> String {
    let mut signs = text.chars();
    let clean = |sign: char| if sign.is_control() { '\u{fffd}' } else { sign };
    let mut result: String = signs.by_ref().take(count).map(clean).collect();
    if signs.next().is_some() {
        result.push('…');
    }
    result
}
