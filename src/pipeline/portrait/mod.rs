//! The service `photog_pre_pmml`: trained persons in the place of the faces of a template.
//!
//! ```text
//!   template --> faces, left to right --> for each person:
//!                 part --> fusion --> first pass --> colours --> second pass --> colours --> best
//!                 the face's surroundings  (masks)                (line, eyes, lips)           |
//!                                                              picture <-- soft paste <--------+
//!            --> joins between several people --> surroundings, if asked for --> likeness --> file
//! ```
//!
//! Networks that parse faces, fuse them or enlarge pictures are used where they are there ([`Extras`]).
//!
//! What is painted is an inpainting by the rules of the web UI ([`crate::pipeline::generate`]), behind
//! [`painting`]; nothing here knows a tensor, a queue or a connection. Pixels of the template that no mask
//! reaches stay as they are, to the last bit.

mod around;
mod engine;
mod error;
mod extras;
mod file;
mod fusion;
mod make;
mod masks;
pub mod painting;
mod part;
mod progress;
mod request;
mod run;
mod settings;
mod subject;
#[cfg(test)]
mod tests;

pub use engine::PortraitEngine;
pub use error::PortraitError;
pub use extras::Extras;
pub use file::{Fitting, credentials, fitting};
pub use make::{Sitting, Studio};
pub use run::Portrait;
pub use settings::{Pass, Settings};
