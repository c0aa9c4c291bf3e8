//! Training a LoRA: small matrices beside the linear layers of a checkpoint learn what a person looks
//! like, and the checkpoint stays as it is.
//!
//! ```text
//!   latents of the photos --+                                       +--> Adapters --> LoRA file
//!   Draws: photo, flip,     +--> Learner: loss and gradients --> optimizer
//!   time step, noise -------+          (nn::Learning)
//! ```
//!
//! What each step looks at follows from the recipe's seed and the number of the step alone
//! ([`draws`]), so a training that goes on from a saved state ends where it would have ended. The
//! rules are those of EasyPhoto's and kohya's trainers (`portrait-pipeline` 6), the numbers those of
//! PyTorch and PEFT.

mod adapters;
mod draws;
mod learner;
mod memory;
mod objective;
mod optimizer;
mod recipe;
mod session;
#[cfg(test)]
mod tests;

pub use learner::{Found, Learner};
pub use memory::Plan;
pub use recipe::{Curve, Recipe};
pub use session::{Photo, Session};
