//! A checkpoint at work: from words and noise to pictures.
//!
//! Here the networks, the plan of a sampler and the noise come together. No tensor leaves this
//! module: what goes in and comes out is ordinary memory, so nobody above knows where a network
//! runs.
//!
//! ```text
//!   chunks of a prompt --> Painter::encode_text --> Text ---+
//!   picture ------------> Painter::encode ------> Latents --+--> Painter::sample --> Latents
//!   plan, noise, mask, hints -------------------------------+        |
//!   picture <------------ Painter::decode <--------------------------+
//! ```

mod control;
mod embedding;
mod error;
mod guard;
mod job;
mod load;
mod lora;
mod painter;
mod pictures;
mod preview;
mod sampler;
mod setting;
mod studio;
mod teacher;
#[cfg(test)]
mod tests;
mod text;

pub use control::{Control, ControlMode, Guide};
pub use embedding::Vectors;
pub use error::DiffusionError;
pub use job::{Flow, Job, Latents, Mask, Prompted, Stage, Text, Watch};
pub use load::{NetworkLoader, Networks};
pub use lora::LoraUse;
pub use painter::Painter;
pub use preview::Previewer;
pub use setting::Setting;
pub use teacher::{Lesson, Trainer};
