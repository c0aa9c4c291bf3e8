//! CLIP: text to tokens, and tokens to what the UNet attends to.

mod encoder;
#[cfg(test)]
mod tests;
pub mod tokenizer;

pub use encoder::TextEncoder;
