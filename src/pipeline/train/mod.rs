//! The service `photog_train_pmml`: from photos of a person to a LoRA of that person.
//!
//! ```text
//!   photos --> prepare --> training pictures --> run: steps, checkpoints, pictures --> finish --> Person
//!                                                  ^                                      |
//!                                            kept: what it takes to go on          choice: which count
//! ```
//!
//! Everything is written in the person's own [`crate::people::Workplace`] and appears as a whole at the
//! end. The networks are behind [`model`]; nothing here knows a tensor, a queue or a connection.

mod choice;
mod engine;
mod error;
mod finish;
mod hash;
mod kept;
mod lora_file;
pub mod model;
mod networks;
mod portraits;
mod prepare;
mod request;
mod run;
mod settings;
mod templates;
#[cfg(test)]
mod tests;

pub use engine::TrainEngine;
pub use error::TrainError;
pub use model::{Base, ModelTrouble, Models};
pub use portraits::{Portraits, Style, likeness};
pub use prepare::{
    Background, CROP_RATIO, CROP_RATIO_MAX, Fate, KEPT_MAX, Keep, Options, Outcome, Picture,
    PrepareError, Prepared, Reason, SIDE, SIDE_MAX, left_out, prepare,
};
pub use run::{Means, Resume, Task, train};
pub use settings::Settings;
pub use templates::templates;
