//! CLIP: text to tokens, and tokens to what the UNet attends to.

mod encoder;
pub mod tokenizer;

pub use encoder::TextEncoder;
