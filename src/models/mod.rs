//! Networks: which there are, and how they run.

pub mod backend;
pub mod catalog;
pub mod onnx;

/// Why a network cannot be used.
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
}
