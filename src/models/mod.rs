//! Networks: which there are, where they run, and what they say of a picture.

pub mod backend;
pub mod catalog;
mod check;
pub mod clip;
pub mod controlnet;
mod cpu;
pub mod diffusion;
pub mod enlarge;
pub mod face;
#[cfg(test)]
mod finish_tests;
#[cfg(test)]
mod full_width;
mod input;
pub mod library;
pub mod lora;
pub mod nn;
pub mod nvidia;
pub mod onnx;
pub mod place;
pub mod prompt;
#[cfg(test)]
mod reference;
pub mod sampling;
pub mod selfcheck;
pub mod shelf;
pub mod supply;
pub mod taesd;
pub mod training;
pub mod unet;
pub mod vae;
pub mod weights;

pub use check::check_network;

/// Why a network cannot be used. The texts say what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be read at all.
    #[error("{file} cannot be read: {reason}")]
    Read {
        /// Path of the file.
        file: String,
        /// What the system says.
        reason: String,
    },
    /// The file is damaged, hostile, or not what its role needs.
    #[error("{file} cannot be used: {reason}")]
    Refused {
        /// Name of the file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file asks for something that is not built.
    #[error("{file} cannot be used: the operator {operator} of {node} is not understood: {reason}")]
    Unsupported {
        /// Name of the file.
        file: String,
        /// Name of the node.
        node: String,
        /// Its operator.
        operator: String,
        /// What is not understood about it.
        reason: String,
    },
    /// The network failed while running.
    #[error("{file} failed: {reason}")]
    Run {
        /// Name of the file.
        file: String,
        /// Where and why.
        reason: String,
    },
    /// The caller did not want to wait any longer.
    #[error("{file} was stopped before its picture was finished")]
    Stopped {
        /// Name of the file.
        file: String,
    },
    /// No file of a role is where networks are taken from.
    #[error("no {role} network is in the data folder; {hint}")]
    Missing {
        /// What is missing.
        role: catalog::Role,
        /// How to get it.
        hint: String,
    },
    /// The operator's own list of networks cannot be used.
    #[error("{0}")]
    List(String),
}

impl ModelError {
    /// That no file of this role is there, and how to get one that `catalog` knows.
    pub fn missing(catalog: &catalog::Catalog, role: catalog::Role) -> Self {
        let hint = catalog.how_to_get(role);
        Self::Missing { role, hint }
    }
}
