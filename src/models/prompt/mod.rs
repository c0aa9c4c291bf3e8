//! Prompts as people write them for the WebUI: from one line of text to what an encoder takes.
//!
//! ```text
//!   prompt --> take_tags --> parts (AND) --> schedule --> Chunker --> encoder --> weigh
//!                  |             |               |           |
//!                  v             v               v           v
//!             LoRA weights   share of each   text by step   ids and weights, 77 at a time
//! ```
//!
//! The rules are those of the WebUI 1.6 and later, so that a prompt gives the picture that its
//! author knows; where photog differs, the function says so. A negative prompt takes the same way
//! without [`parts`].
//!
//! Prompts come from outside: each function bounds what it reads and what it gives, takes a time
//! that is linear in its input, and refuses the rest with a [`PromptError`]. The texts of errors
//! hold nothing of the prompt but numbers.

mod chunks;
mod compose;
mod embeddings;
mod emphasis;
mod schedule;
mod tags;
mod weigh;

pub use chunks::{CHUNK_LENGTH, CHUNKS_MAX, Chunk, Chunker, Placement, pad_together};
pub use compose::{PARTS_MAX, Part, parts};
pub use embeddings::EmbeddingNames;
pub use emphasis::{Emphasis, Piece, pieces};
pub use schedule::{Pass, Scheduled, position_at, schedule};
pub use tags::{LoraTag, OtherTag, Tags, take_tags};
pub use weigh::weigh;

/// Longest prompt, in bytes: more than [`CHUNKS_MAX`] chunks of ordinary words.
pub const PROMPT_BYTES_MAX: usize = 64 << 10;
/// Deepest brackets. Any more change nothing that an encoder could still tell apart.
pub const NESTING_MAX: usize = 128;
/// Largest weight, either way: beyond it half precision overflows.
pub const WEIGHT_MAX: f64 = 1000.0;

/// Why a prompt is refused. Another prompt is the only way out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PromptError {
    /// It is longer than anything that could be encoded.
    #[error("the prompt has {bytes} bytes and may have {PROMPT_BYTES_MAX}; shorten it")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Its brackets are too deep.
    #[error("the prompt has brackets in more than {NESTING_MAX} others; take some away")]
    TooDeep,
    /// A weight is no number, or too large, alone or together with the brackets around it.
    #[error(
        "the prompt asks for the weight {found}, and a weight is a number from -{WEIGHT_MAX} to \
         {WEIGHT_MAX}; correct it"
    )]
    Weight {
        /// What it asks for, cut short.
        found: String,
    },
    /// It has too many tokens.
    #[error("the prompt has more than {CHUNKS_MAX} chunks of 75 tokens; shorten it")]
    TooManyChunks,
    /// It has too many parts with AND between them.
    #[error("the prompt has {found} parts joined by AND and may have {PARTS_MAX}; join fewer")]
    TooManyParts {
        /// Number of parts.
        found: usize,
    },
    /// It changes so often that its texts together are too long.
    #[error(
        "the prompt changes with each step and is too long for so many steps; shorten it, or take \
         fewer steps"
    )]
    TooManyTexts,
    /// An embedding has more vectors than a chunk has places.
    #[error("the prompt names an embedding of {vectors} vectors, and 75 fit; leave it out")]
    EmbeddingTooLong {
        /// Its length.
        vectors: usize,
    },
    /// A `<lora:...>` tag cannot be read.
    #[error("the LoRA tag number {number} of the prompt {reason}; write it as <lora:name:weight>")]
    Tag {
        /// Which of the LoRA tags, counted from 1.
        number: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Refuses a text that is too long to work on.
fn check_length(text: &str) -> Result<(), PromptError> {
    let bytes = text.len();
    if bytes > PROMPT_BYTES_MAX {
        return Err(PromptError::TooLong { bytes });
    }
    Ok(())
}

/// A weight within bounds.
fn check_weight(weight: f64) -> Result<f64, PromptError> {
    if weight.abs() <= WEIGHT_MAX {
        return Ok(weight);
    }
    // This form takes an exponent where there would be many digits.
    let found = format!("{weight:?}");
    Err(PromptError::Weight { found })
}

/// Reads a decimal number; words such as `inf` are none.
fn number(text: &str) -> Option<f64> {
    let is_decimal = |letter: char| letter.is_ascii_digit() || "+-.eE".contains(letter);
    let text = Some(text.trim()).filter(|text| text.chars().all(is_decimal))?;
    text.parse().ok()
}

/// Where `word` stands in `text` as a word of its own.
fn standing_alone<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(word).filter_map(move |(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        (!before.is_some_and(is_part) && !after.is_some_and(is_part)).then_some(at)
    })
}
