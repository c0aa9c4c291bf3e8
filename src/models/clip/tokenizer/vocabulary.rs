//! The files of a vocabulary: read once, held against each other, and given as tables.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::merging::Merges;
use super::{BEGIN, END, Special, Symbols, TokenizerError, bytes_and_letters};

/// Names of the files in messages.
const VOCAB: &str = "vocab.json";
const MERGES: &str = "merges.txt";
const CONFIG: &str = "the tokenizer's configuration";

/// Largest `vocab.json` and `merges.txt`, in bytes. CLIP's have 1 MB and 0.5 MB.
const FILE_BYTES_MAX: usize = 16 << 20;
/// Largest configuration, in bytes. CLIP's has 1 kB.
const CONFIG_BYTES_MAX: usize = 64 << 10;
/// Most tokens, and the first id that is too large. CLIP has 49408.
const TOKENS_MAX: usize = 1 << 18;

/// The end of a word, in the text of a token.
const WORD_END: &str = "</w>";

/// Tokens by their text.
pub(super) struct Vocabulary {
    ids: HashMap<String, u32>,
    begin: u32,
    end: u32,
}

impl Vocabulary {
    /// Reads `vocab.json`: an object with the id of each token.
    pub(super) fn parse(json: &[u8]) -> Result<Self, TokenizerError> {
        check_size(VOCAB, json, FILE_BYTES_MAX)?;
        let refused = |reason: String| refused(VOCAB, reason);
        let ids: HashMap<String, u32> = serde_json::from_slice(json)
            .map_err(|error| refused(format!("it is no table of token ids ({error})")))?;
        if ids.len() > TOKENS_MAX {
            let count = ids.len();
            return Err(refused(format!(
                "{count} tokens are more than {TOKENS_MAX}"
            )));
        }
        let mut seen = HashSet::with_capacity(ids.len());
        for &id in ids.values() {
            if id as usize >= TOKENS_MAX {
                return Err(refused(format!("the id {id} is not below {TOKENS_MAX}")));
            }
            if !seen.insert(id) {
                return Err(refused(format!("two tokens have the id {id}")));
            }
        }
        let named = |name: &str| {
            let id = ids.get(name).copied();
            id.ok_or_else(|| refused(format!("the token {name} is missing")))
        };
        let [begin, end] = [named(BEGIN)?, named(END)?];
        Ok(Self { ids, begin, end })
    }

    /// One more than the largest id.
    pub(super) fn size(&self) -> usize {
        self.ids.values().max().map_or(0, |&id| id as usize + 1)
    }

    /// The tokens with a meaning of their own, two of them as the configuration says.
    pub(super) fn special(&self, config_json: Option<&[u8]>) -> Result<Special, TokenizerError> {
        let mut special = Special {
            begin: self.begin,
            end: self.end,
            pad: self.end,
            unknown: self.end,
        };
        let Some(json) = config_json else {
            return Ok(special);
        };
        check_size(CONFIG, json, CONFIG_BYTES_MAX)?;
        let config: Value = serde_json::from_slice(json)
            .map_err(|error| refused(CONFIG, format!("it is not JSON ({error})")))?;
        special.pad = self.configured(&config["pad_token"])?.unwrap_or(self.end);
        special.unknown = self.configured(&config["unk_token"])?.unwrap_or(self.end);
        Ok(special)
    }

    /// Ids of single bytes.
    pub(super) fn symbols(&self) -> Symbols {
        let mut symbols = Symbols {
            inner: [None; 256],
            last: [None; 256],
        };
        for (byte, letter) in bytes_and_letters() {
            let id = |text: String| self.ids.get(&text).copied();
            symbols.inner[usize::from(byte)] = id(letter.to_string());
            symbols.last[usize::from(byte)] = id(format!("{letter}{WORD_END}"));
        }
        symbols
    }

    /// Reads `merges.txt`: after a line with the version a pair of tokens on each line, those that
    /// are merged first at the top.
    pub(super) fn merges(&self, text: &[u8]) -> Result<Merges, TokenizerError> {
        check_size(MERGES, text, FILE_BYTES_MAX)?;
        let text = str::from_utf8(text)
            .map_err(|error| refused(MERGES, format!("it is not text ({error})")))?;
        let mut merges = Merges::default();
        for (line, number) in text.lines().zip(1..) {
            if line.is_empty() || (number == 1 && line.starts_with("#version")) {
                continue;
            }
            self.add_merge(line, &mut merges)
                .map_err(|reason| refused(MERGES, format!("line {number} {reason}")))?;
        }
        Ok(merges)
    }

    fn add_merge(&self, line: &str, merges: &mut Merges) -> Result<(), &'static str> {
        let (left, right) = line
            .split_once(' ')
            .filter(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains(' '))
            .ok_or("is not a pair of tokens")?;
        let id = |text: &str| self.ids.get(text).copied();
        let made =
            id(&format!("{left}{right}")).ok_or("makes a token that is not in vocab.json")?;
        let pair = id(left).zip(id(right));
        let pair = pair.ok_or("names a token that is not in vocab.json")?;
        let is_new = merges.add(pair, made);
        is_new.then_some(()).ok_or("repeats an earlier pair")
    }

    /// Id of a token that a configuration names, as text or as an object with its `content`.
    fn configured(&self, token: &Value) -> Result<Option<u32>, TokenizerError> {
        let name = match token {
            Value::Null => return Ok(None),
            Value::Object(object) => object.get("content").and_then(Value::as_str),
            other => other.as_str(),
        };
        let name = name.ok_or_else(|| refused(CONFIG, "a special token has no name".into()))?;
        let id = self.ids.get(name).copied();
        let unknown = || refused(CONFIG, "it names a token that is not in vocab.json".into());
        id.map(Some).ok_or_else(unknown)
    }
}

fn check_size(file: &'static str, content: &[u8], limit: usize) -> Result<(), TokenizerError> {
    let bytes = content.len();
    if bytes > limit {
        return Err(TokenizerError::TooLarge { file, bytes, limit });
    }
    Ok(())
}

fn refused(file: &'static str, reason: String) -> TokenizerError {
    TokenizerError::Refused { file, reason }
}
