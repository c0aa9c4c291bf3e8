//! The vocabulary that OpenAI published with CLIP, out of the crate that carries it.
//!
//! The crate keeps the list of merges to itself, but tells how any token reads. That is enough: a
//! token was made by the last merge of its own letters, so encoding these with all earlier merges
//! leaves the two tokens that it was made of.

use instant_clip_tokenizer::{Token, Tokenizer as Carrier};

use super::merging::Merges;
use super::{Special, Symbols, Tokenizer, bytes_and_letters};

/// Tokens of single bytes: each inside a word and at its end.
const SYMBOLS: u16 = 512;
/// Id of the last merged token, plus one.
const MERGED_END: u16 = 49_406;

/// Bytes around a token that is no text by itself, since it begins or ends inside a character:
/// lead bytes before it and continuation bytes after it make it one.
const CONTEXTS: [(&[u8], &[u8]); 7] = [
    (b"", b""),
    (b"", b"\x81"),
    (b"\xC3", b""),
    (b"\xC3", b"\x81"),
    (b"", b"\x81\x81"),
    (b"\xC3", b"\x81\x81"),
    (b"\xE1", b""),
];

/// Builds the tokenizer of the standard vocabulary.
pub(super) fn build() -> Tokenizer {
    let carrier = Carrier::new();
    let symbols = symbols();
    let mut merges = Merges::with_capacity(usize::from(MERGED_END - SYMBOLS));
    for id in SYMBOLS..MERGED_END {
        let pieces = merges.apply(spelling(&carrier, &symbols, id));
        let &[left, right] = pieces.as_slice() else {
            panic!("token {id} of the vocabulary in this program is not made of two earlier ones");
        };
        merges.add((left, right), u32::from(id));
    }
    let [begin, end] = [u32::from(MERGED_END), u32::from(MERGED_END) + 1];
    Tokenizer {
        symbols,
        merges,
        special: Special {
            begin,
            end,
            pad: end,
            unknown: end,
        },
        size: usize::from(MERGED_END) + 2,
    }
}

/// Ids of single bytes: in the order of the letters that stand for them, and once more, 256 later,
/// for the end of a word.
fn symbols() -> Symbols {
    let mut symbols = Symbols {
        inner: [None; 256],
        last: [None; 256],
    };
    for ((byte, _), id) in bytes_and_letters().zip(0..) {
        symbols.inner[usize::from(byte)] = Some(id);
        symbols.last[usize::from(byte)] = Some(id + 256);
    }
    symbols
}

/// The symbols that a token is made of.
fn spelling(carrier: &Carrier, symbols: &Symbols, id: u16) -> Vec<u32> {
    let known = CONTEXTS.iter().find_map(|&(before, after)| {
        let read = read(carrier, symbols, before, id, after);
        // Without a replacement character everything around the token was text, byte for byte.
        let is_exact = !read.contains(char::REPLACEMENT_CHARACTER);
        let bytes = read.into_bytes();
        is_exact.then(|| bytes[before.len()..bytes.len() - after.len()].to_vec())
    });
    // Two tokens do mean the replacement character.
    let bytes = known.unwrap_or_else(|| read(carrier, symbols, b"", id, b"").into_bytes());
    // The end of a word reads as a space, which is part of no token.
    match bytes.strip_suffix(b" ") {
        Some(word) => symbols.of(word, 0),
        None => bytes
            .iter()
            .filter_map(|&byte| symbols.inner[usize::from(byte)])
            .collect(),
    }
}

/// How a token reads between bytes; what is not UTF-8 reads as the replacement character.
fn read(carrier: &Carrier, symbols: &Symbols, before: &[u8], id: u16, after: &[u8]) -> String {
    let byte_ids = |bytes: &[u8]| -> Vec<u16> {
        let ids = bytes.iter().map(|&byte| symbols.inner[usize::from(byte)]);
        ids.flatten().map(|id| id as u16).collect()
    };
    let ids = [byte_ids(before), vec![id], byte_ids(after)].concat();
    let tokens = ids
        .into_iter()
        .filter_map(|id| Token::from_u16(id, carrier));
    carrier.decode(tokens)
}
