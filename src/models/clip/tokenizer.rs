//! Text to the token ids that CLIP's text encoder was trained on.
//!
//! ```text
//!   text --> composed (NFC), lower case --> words --> bytes --> pairs merged by rank --> ids
//! ```
//!
//! The ids are those of the `CLIPTokenizer` of transformers, exactly. It cleans no text apart from
//! what the picture shows: HTML stays as it is, curly quotes stay curly.
//!
//! Any text is encoded, and in a time that grows with its length times the logarithm of the length
//! of its longest word. Files of a vocabulary come from outside: they are refused with a reason
//! when they are too large, damaged, or contradict themselves.

mod merging;
mod standard;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::sync::{Arc, LazyLock};

use icu_normalizer::ComposingNormalizerBorrowed;
use regex::Regex;

use merging::Merges;
use vocabulary::Vocabulary;

/// The token that opens every text, by name.
const BEGIN: &str = "<|startoftext|>";
/// The token that closes every text, by name.
const END: &str = "<|endoftext|>";

/// Words as CLIP cuts them: endings after an apostrophe, letters, one digit, or other signs. White
/// space only separates.
static WORDS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+")
        .expect("the pattern of a word is a valid one")
});

/// Why the files of a vocabulary cannot be used. Another copy of the files is the only way out.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A file is larger than any vocabulary is.
    #[error("{file} has {bytes} bytes, and a vocabulary has at most {limit}; take another file")]
    TooLarge {
        /// Name of the file.
        file: &'static str,
        /// Its size.
        bytes: usize,
        /// Largest size, in bytes.
        limit: usize,
    },
    /// A file is damaged, or does not fit to the others.
    #[error("{file} is not part of a CLIP vocabulary: {reason}; take another copy of it")]
    Refused {
        /// Name of the file.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Cuts text into tokens. Shared by threads; it holds a few MB.
#[derive(Debug)]
pub struct Tokenizer {
    symbols: Symbols,
    merges: Merges,
    special: Special,
    size: usize,
}

impl Tokenizer {
    /// With the vocabulary that OpenAI published with CLIP, which all Stable Diffusion 1.x models
    /// use: 49408 tokens, padded with the end token. It is built once and then shared.
    pub fn standard() -> Arc<Self> {
        static STANDARD: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Arc::new(standard::build()));
        Arc::clone(&STANDARD)
    }

    /// With the vocabulary of the folder `tokenizer` of a model in diffusers' layout: the contents
    /// of `vocab.json`, `merges.txt` and, where there is one, `tokenizer_config.json` (or
    /// `special_tokens_map.json`), which names the tokens for padding and for unknown bytes.
    /// Without it both are the end token.
    ///
    /// [`TokenizerError`] when a file is too large, damaged, or does not fit to the others.
    pub fn from_files(
        vocab_json: &[u8],
        merges_txt: &[u8],
        config_json: Option<&[u8]>,
    ) -> Result<Self, TokenizerError> {
        let vocabulary = Vocabulary::parse(vocab_json)?;
        let special = vocabulary.special(config_json)?;
        Ok(Self {
            symbols: vocabulary.symbols(),
            merges: vocabulary.merges(merges_txt)?,
            special,
            size: vocabulary.size(),
        })
    }

    /// The tokens of a text, without begin, end and padding. The names of these two tokens stand
    /// for themselves, in upper case as well.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let composed = ComposingNormalizerBorrowed::new_nfc().normalize(text);
        // Each letter by itself: a sigma at the end of a word is none of its own here.
        let text: String = composed.chars().flat_map(char::to_lowercase).collect();
        let mut ids = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, special, after)) = self.next_special(rest) {
            self.encode_words(before, &mut ids);
            ids.push(special);
            rest = after;
        }
        self.encode_words(rest, &mut ids);
        ids
    }

    /// Id of the token that opens every text.
    pub fn begin(&self) -> u32 {
        self.special.begin
    }

    /// Id of the token that closes every text.
    pub fn end(&self) -> u32 {
        self.special.end
    }

    /// Id of the token that fills what is left after the end.
    pub fn pad(&self) -> u32 {
        self.special.pad
    }

    /// Id of a comma that stands alone, where the vocabulary has it.
    pub fn comma(&self) -> Option<u32> {
        self.symbols.last[usize::from(b',')]
    }

    /// One more than the largest id: rows that the encoder's table of tokens has to have.
    pub fn vocabulary_size(&self) -> usize {
        self.size
    }

    /// The first name of a special token in `text`: what is before, its id, and what is after.
    fn next_special<'a>(&self, text: &'a str) -> Option<(&'a str, u32, &'a str)> {
        // Both names begin alike, so that one pass over the text finds the first of the two.
        text.match_indices("<|").find_map(|(at, _)| {
            let named = [(BEGIN, self.special.begin), (END, self.special.end)];
            let (name, id) = named
                .into_iter()
                .find(|(name, _)| text[at..].starts_with(name))?;
            Some((&text[..at], id, &text[at + name.len()..]))
        })
    }

    fn encode_words(&self, text: &str, ids: &mut Vec<u32>) {
        for word in WORDS.find_iter(text) {
            let symbols = self
                .symbols
                .of(word.as_str().as_bytes(), self.special.unknown);
            ids.extend(self.merges.apply(symbols));
        }
    }
}

/// Ids of the tokens with a meaning of their own.
#[derive(Clone, Copy, Debug)]
struct Special {
    begin: u32,
    end: u32,
    pad: u32,
    unknown: u32,
}

/// Ids of single bytes, where the vocabulary has them.
#[derive(Debug)]
struct Symbols {
    /// Inside a word.
    inner: [Option<u32>; 256],
    /// At the end of a word.
    last: [Option<u32>; 256],
}

impl Symbols {
    /// The symbols of a word, before anything is merged.
    fn of(&self, word: &[u8], unknown: u32) -> Vec<u32> {
        let Some((last, inner)) = word.split_last() else {
            return Vec::new();
        };
        let inner = inner.iter().map(|&byte| self.inner[usize::from(byte)]);
        let symbols = inner.chain([self.last[usize::from(*last)]]);
        symbols.map(|symbol| symbol.unwrap_or(unknown)).collect()
    }
}

/// The bytes in the order of their ids, and the letter that stands for each in a vocabulary:
/// printable ones stand for themselves, and the others, in their own order, follow with the letters
/// from U+0100 on.
fn bytes_and_letters() -> impl Iterator<Item = (u8, char)> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let themselves = (0..=u8::MAX)
        .filter(printable)
        .map(|byte| (byte, char::from(byte)));
    let others = (0..=u8::MAX).filter(move |byte| !printable(byte));
    themselves.chain(others.zip('\u{100}'..))
}
