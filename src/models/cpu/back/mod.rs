//! The way back: from the gradient of an operator's output to that of its input.
//!
//! Networks are trained with their own weights frozen, so there are gradients of what flows through
//! them only. What an operator knew of its numbers on the way there is computed again from its input;
//! attention alone keeps something. As on the way there, no sum depends on the number of threads.

mod attention;
mod filter;
mod norm;
mod optimizer;
mod pointwise;
mod product;

pub use self::attention::{Attended, attention_back};
pub use self::filter::BackFilter;
pub use self::norm::{group_norm_back, layer_norm_back};
pub use self::optimizer::{AdamStep, adamw, sum_of_squares};
pub use self::pointwise::{gated_gelu_back, quick_gelu_back};

#[cfg(test)]
mod tests;
