//! LoRA files: from the tensors of a file, whoever wrote it, to what it adds to which layer.
//!
//! ```text
//!   tensor names --> modules --> layers of the network --> shapes held against them --> updates
//!     (names)        (read)          (layers)                  (parts)                 (update)
//! ```
//!
//! [`read()`] takes the spellings of kohya's scripts (with diffusers' or the original code's names of
//! the UNet), of three generations of diffusers, and of PEFT. All give the same [`Update`]s under
//! the names that diffusers gives to layers. [`write_kohya`] goes the other way.
//!
//! What is read is plain LoRA, LoCon without a middle factor, and LoHa. Everything else is refused
//! by its name. A file is taken as a whole or not at all: what cannot be placed, does not fit, or is
//! not finite is an error, for a file that loads and does nothing costs its user more time than one
//! that is refused. Numbers are read only after all names and shapes were found good.

mod adapter;
mod base;
mod error;
mod layers;
mod names;
mod original;
mod parts;
mod product;
mod read;
#[cfg(test)]
mod tests;
mod update;
mod write;

use std::{collections::BTreeMap, fmt};

pub use error::LoraError;
pub use layers::{Layers, kohya_name};
pub use read::{NUMBERS_MAX, TENSORS_MAX, read};
pub use update::{FACTOR_MAX, Product, RANK_MAX, SCALE_MAX, Update};
pub use write::{KohyaFile, Tensor, write_kohya};

/// A network that a LoRA changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// The network that takes noise away.
    Unet,
    /// The text encoder.
    Text,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unet => "UNet",
            Self::Text => "text encoder",
        })
    }
}

/// A layer of one of the networks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer {
    /// The network that it belongs to.
    pub network: Network,
    /// Its path there as diffusers and transformers name it, such as `mid_block.resnets.0.conv1` or
    /// `text_model.encoder.layers.0.self_attn.q_proj`.
    pub path: String,
}

/// The named tensors of a file.
pub trait Tensors {
    /// The names of all tensors.
    fn names(&self) -> impl Iterator<Item = &str>;

    /// The sizes of a tensor, without reading its numbers; `None` when there is none of this name.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;

    /// The numbers of a tensor, the last axis running fastest, or why they cannot be read.
    fn values(&self, name: &str) -> Result<Vec<f32>, String>;

    /// What the file says of itself (`__metadata__` of safetensors).
    fn metadata(&self) -> &BTreeMap<String, String>;

    /// The text of the `adapter_config.json` that lies beside a file of PEFT. Without it the alpha
    /// of such a file is unknown and taken to be the rank.
    fn adapter_config(&self) -> Option<&str> {
        None
    }
}

/// What a file adds to the layers of the networks.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// What is added to each layer that the file changes; never empty.
    pub updates: BTreeMap<Layer, Update>,
    /// Another name of it for prompts (`ss_output_name`).
    pub alias: Option<String>,
    /// The family of the model that it was trained for (`ss_base_model_version`), such as `sd_v1`.
    pub base: Option<String>,
    /// All that the file says of itself.
    pub metadata: BTreeMap<String, String>,
}
