//! Prompts cut into chunks of the length that CLIP's text encoder takes.

use std::sync::Arc;

use super::emphasis::{Emphasis, Piece, pieces};
use super::{EmbeddingNames, PromptError, check_length};
use crate::models::clip::tokenizer::Tokenizer;

/// Tokens of a chunk, begin and end among them.
pub const CHUNK_LENGTH: usize = 77;
/// Tokens of a chunk that come from the prompt.
const TOKENS_MAX: usize = CHUNK_LENGTH - 2;
/// Most chunks of one prompt.
pub const CHUNKS_MAX: usize = 64;
/// How far back a comma may be to cut there, in the WebUI's setting of origin.
const COMMA_BACKTRACK: usize = 20;
/// The id that stands where the vector of an embedding comes.
const PLACEHOLDER: u32 = 0;

/// One input of the text encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Begin, up to 75 tokens, end, and padding.
    pub ids: [u32; CHUNK_LENGTH],
    /// Weight of each token; 1 for begin, end and padding.
    pub weights: [f32; CHUNK_LENGTH],
    /// Where vectors of embeddings take the place of those of tokens; the ids there are 0.
    pub embeddings: Vec<Placement>,
}

/// Where an embedding comes in a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Index into [`Chunk::ids`] of its first vector; the others follow.
    pub position: usize,
    /// Its name, as it was given to [`EmbeddingNames`].
    pub name: Arc<str>,
}

/// Cuts prompts into chunks, by the rules of the WebUI.
#[derive(Clone, Copy, Debug)]
pub struct Chunker<'a> {
    /// Whose tokens they are.
    pub tokenizer: &'a Tokenizer,
    /// Embeddings that a prompt may name.
    pub embeddings: &'a EmbeddingNames,
    /// Whether brackets and BREAK mean anything.
    pub emphasis: Emphasis,
    /// A full chunk is cut after its last comma when that is among its last so many tokens, so
    /// that no phrase is torn; 0 for never. The option `comma_padding_backtrack`.
    pub comma_backtrack: usize,
}

impl<'a> Chunker<'a> {
    /// With the WebUI's settings of origin.
    pub fn new(tokenizer: &'a Tokenizer, embeddings: &'a EmbeddingNames) -> Self {
        Self {
            tokenizer,
            embeddings,
            emphasis: Emphasis::default(),
            comma_backtrack: COMMA_BACKTRACK,
        }
    }

    /// The chunks of a prompt without tags and schedules, one at least.
    ///
    /// Other than in the WebUI an embedding moves along when its chunk is cut at a comma before it.
    /// [`PromptError`] when the prompt is refused, or an embedding fits into no chunk.
    pub fn chunks(&self, text: &str) -> Result<Vec<Chunk>, PromptError> {
        check_length(text)?;
        let pieces = if self.emphasis == Emphasis::None {
            let text = text.to_owned();
            vec![Piece::Text { text, weight: 1.0 }]
        } else {
            pieces(text)?
        };
        let mut cutting = Cutting::default();
        for piece in pieces {
            match piece {
                Piece::Break => cutting.close()?,
                Piece::Text { text, weight } => self.add(&text, weight, &mut cutting)?,
            }
        }
        if !cutting.draft.tokens.is_empty() || cutting.closed.is_empty() {
            cutting.close()?;
        }
        let closed = cutting.closed.into_iter();
        Ok(closed.map(|draft| draft.finish(self.tokenizer)).collect())
    }

    fn add(&self, text: &str, weight: f32, cutting: &mut Cutting) -> Result<(), PromptError> {
        let ids = self.tokenizer.encode(text);
        let mut rest = ids.as_slice();
        while let Some(&id) = rest.first() {
            if Some(id) == self.tokenizer.comma() {
                cutting.comma = Some(cutting.draft.tokens.len());
            } else {
                cutting.cut_at_comma(self.comma_backtrack)?;
            }
            if cutting.draft.tokens.len() == TOKENS_MAX {
                cutting.close()?;
            }
            match self.embeddings.at(rest) {
                None => {
                    cutting.draft.tokens.push((id, weight));
                    rest = &rest[1..];
                }
                Some(found) => {
                    cutting.place(found.name, found.vectors, weight)?;
                    rest = &rest[found.tokens..];
                }
            }
        }
        Ok(())
    }
}

/// Gives all prompts of one run as many chunks as the longest has: their encodings are compared
/// number by number. What is added is the chunk of an empty prompt.
pub fn pad_together(prompts: &mut [Vec<Chunk>], tokenizer: &Tokenizer) {
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    for chunks in prompts {
        chunks.resize_with(longest, || Draft::default().finish(tokenizer));
    }
}

/// A prompt that is being cut.
#[derive(Default)]
struct Cutting {
    closed: Vec<Draft>,
    draft: Draft,
    /// Place of the last comma in the draft.
    comma: Option<usize>,
}

impl Cutting {
    fn close(&mut self) -> Result<(), PromptError> {
        if self.closed.len() == CHUNKS_MAX {
            return Err(PromptError::TooManyChunks);
        }
        self.closed.push(std::mem::take(&mut self.draft));
        self.comma = None;
        Ok(())
    }

    /// When the draft is full and a comma is near: closes it there, and takes along what follows.
    fn cut_at_comma(&mut self, backtrack: usize) -> Result<(), PromptError> {
        let length = self.draft.tokens.len();
        let near = |comma: &usize| length == TOKENS_MAX && length - comma <= backtrack;
        if let Some(comma) = self.comma.filter(near) {
            let next = self.draft.split_off(comma + 1);
            self.close()?;
            self.draft = next;
        }
        Ok(())
    }

    /// Places an embedding, in a new chunk if it fits no more.
    fn place(&mut self, name: Arc<str>, vectors: usize, weight: f32) -> Result<(), PromptError> {
        if vectors > TOKENS_MAX {
            return Err(PromptError::EmbeddingTooLong { vectors });
        }
        if self.draft.tokens.len() + vectors > TOKENS_MAX {
            self.close()?;
        }
        let Draft { tokens, embeddings } = &mut self.draft;
        embeddings.push((tokens.len(), name));
        tokens.extend(std::iter::repeat_n((PLACEHOLDER, weight), vectors));
        Ok(())
    }
}

/// A chunk without begin, end and padding.
#[derive(Default)]
struct Draft {
    /// Ids and weights, 75 at most.
    tokens: Vec<(u32, f32)>,
    /// Places among them, and names.
    embeddings: Vec<(usize, Arc<str>)>,
}

impl Draft {
    /// Keeps what is before `at`, and gives the rest.
    fn split_off(&mut self, at: usize) -> Self {
        let behind = self.embeddings.partition_point(|(place, _)| *place < at);
        let moved = self.embeddings.split_off(behind).into_iter();
        Self {
            tokens: self.tokens.split_off(at),
            embeddings: moved.map(|(place, name)| (place - at, name)).collect(),
        }
    }

    fn finish(self, tokenizer: &Tokenizer) -> Chunk {
        let mut ids = [tokenizer.pad(); CHUNK_LENGTH];
        let mut weights = [1.0; CHUNK_LENGTH];
        ids[0] = tokenizer.begin();
        ids[self.tokens.len() + 1] = tokenizer.end();
        for (at, (id, weight)) in (1..).zip(self.tokens) {
            (ids[at], weights[at]) = (id, weight);
        }
        let embeddings = self.embeddings.into_iter();
        let placed = embeddings.map(|(place, name)| Placement {
            position: place + 1,
            name,
        });
        Chunk {
            ids,
            weights,
            embeddings: placed.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BEGIN: u32 = 49406;
    const END: u32 = 49407;
    const COMMA: u32 = 267;
    /// The words "a" and "red", which are one token each.
    const A: u32 = 320;
    const RED: u32 = 736;

    fn chunks(text: &str) -> Vec<Chunk> {
        chunks_with(text, &EmbeddingNames::default(), COMMA_BACKTRACK)
    }

    fn chunks_with(text: &str, names: &EmbeddingNames, comma_backtrack: usize) -> Vec<Chunk> {
        let tokenizer = Tokenizer::standard();
        let chunker = Chunker {
            comma_backtrack,
            ..Chunker::new(&tokenizer, names)
        };
        chunker.chunks(text).unwrap()
    }

    /// Tokens of the prompt in each chunk.
    fn lengths(chunks: &[Chunk]) -> Vec<usize> {
        let inner = chunks.iter().map(|chunk| &chunk.ids[1..]);
        let ends = inner.map(|ids| ids.iter().position(|&id| id == END).unwrap());
        ends.collect()
    }

    fn words(count: usize) -> String {
        "a ".repeat(count)
    }

    #[test]
    fn a_chunk_begins_ends_and_is_padded_with_the_end() {
        let chunks = chunks("a (red:1.5)");
        assert_eq!(chunks.len(), 1);
        assert_eq!(chunks[0].ids[..4], [BEGIN, A, RED, END]);
        assert!(chunks[0].ids[3..].iter().all(|&id| id == END));
        assert_eq!(chunks[0].weights[..4], [1.0, 1.0, 1.5, 1.0]);
        assert!(chunks[0].weights[3..].iter().all(|&weight| weight == 1.0));
    }

    #[test]
    fn an_empty_prompt_is_one_chunk() {
        for text in ["", " ", "()"] {
            let chunks = chunks(text);
            assert_eq!((chunks.len(), chunks[0].ids[1]), (1, END), "{text}");
        }
    }

    #[test]
    fn another_padding_follows_the_end() {
        let vocab = json!({"<|startoftext|>": 1, "<|endoftext|>": 2, "!": 0, "a</w>": 5});
        let tokenizer = Tokenizer::from_files(
            vocab.to_string().as_bytes(),
            b"",
            Some(br#"{"pad_token": "!"}"#),
        );
        let tokenizer = tokenizer.unwrap();
        let names = EmbeddingNames::default();
        let mut prompts =
            ["a a", "a BREAK"].map(|text| Chunker::new(&tokenizer, &names).chunks(text).unwrap());
        assert_eq!(prompts[0][0].ids[..6], [1, 5, 5, 2, 0, 0]);
        assert_eq!(prompts[0][0].ids[76], 0);
        let full = Chunker::new(&tokenizer, &names).chunks(&words(75)).unwrap();
        assert_eq!(full[0].ids[75..], [5, 2]);
        prompts[0].clear();
        pad_together(&mut prompts, &tokenizer);
        assert_eq!(prompts[0][0].ids[..3], [1, 2, 0]);
    }

    #[test]
    fn a_chunk_holds_75_tokens() {
        assert_eq!(lengths(&chunks(&words(75))), [75]);
        assert_eq!(lengths(&chunks(&words(76))), [75, 1]);
        assert_eq!(lengths(&chunks(&words(151))), [75, 75, 1]);
    }

    #[test]
    fn a_full_chunk_is_cut_after_a_near_comma() {
        // 70 tokens, a comma, and 9 tokens: what follows the comma moves on.
        let text = format!("{}, {}", words(70), words(9));
        let cut = chunks(&text);
        assert_eq!(lengths(&cut), [71, 9]);
        assert_eq!(cut[0].ids[71], COMMA);
        assert_eq!(
            lengths(&chunks_with(&text, &EmbeddingNames::default(), 0)),
            [75, 5]
        );
        // The weights move along.
        let cut = chunks(&format!("{}, (red:2) {}", words(70), words(9)));
        assert_eq!(
            (cut[1].ids[1], cut[1].weights[1], cut[1].weights[2]),
            (RED, 2.0, 1.0)
        );
    }

    #[test]
    fn a_comma_is_near_up_to_the_backtrack_counted_with_itself() {
        let text = |before: usize| format!("{}, {}", words(before), words(80 - before));
        assert_eq!(lengths(&chunks(&text(55))), [56, 25]);
        assert_eq!(lengths(&chunks(&text(54))), [75, 6]);
        // A comma that is the last token of a full chunk is a good place, too.
        assert_eq!(lengths(&chunks(&text(74))), [75, 6]);
        // One that comes when the chunk is full opens the next.
        assert_eq!(lengths(&chunks(&text(75))), [75, 6]);
        assert_eq!(chunks(&text(75))[1].ids[1], COMMA);
    }

    #[test]
    fn a_prompt_that_ends_with_its_chunk_is_not_cut() {
        assert_eq!(
            lengths(&chunks(&format!("{}, {}", words(70), words(4)))),
            [75]
        );
    }

    #[test]
    fn a_break_fills_its_chunk_up() {
        assert_eq!(lengths(&chunks("a BREAK red")), [1, 1]);
        assert_eq!(lengths(&chunks("BREAK a")), [0, 1]);
        assert_eq!(lengths(&chunks("a BREAK")), [1]);
        assert_eq!(lengths(&chunks("a BREAK BREAK a a")), [1, 0, 2]);
    }

    #[test]
    fn without_emphasis_brackets_and_breaks_are_text() {
        let tokenizer = Tokenizer::standard();
        let names = EmbeddingNames::default();
        let chunker = Chunker {
            emphasis: Emphasis::None,
            ..Chunker::new(&tokenizer, &names)
        };
        let text = "(a:1.5) BREAK a";
        let chunks = chunker.chunks(text).unwrap();
        let ids = tokenizer.encode(text);
        assert_eq!(chunks.len(), 1);
        assert_eq!(chunks[0].ids[1..=ids.len()], ids);
        assert_eq!(chunks[0].weights, [1.0; CHUNK_LENGTH]);
    }

    fn names(list: &[(&str, usize)]) -> EmbeddingNames {
        EmbeddingNames::new(&Tokenizer::standard(), list.iter().copied())
    }

    #[test]
    fn the_name_of_an_embedding_gives_way_to_its_vectors() {
        let names = names(&[("bad hands", 3)]);
        let chunks = chunks_with("a (bad hands:0.5) red", &names, COMMA_BACKTRACK);
        assert_eq!(chunks[0].ids[..7], [BEGIN, A, 0, 0, 0, RED, END]);
        assert_eq!(chunks[0].weights[..7], [1.0, 1.0, 0.5, 0.5, 0.5, 1.0, 1.0]);
        let placement = Placement {
            position: 2,
            name: "bad hands".into(),
        };
        assert_eq!(chunks[0].embeddings, [placement]);
    }

    #[test]
    fn an_embedding_that_does_not_fit_opens_a_chunk() {
        let names = names(&[("bad hands", 3)]);
        let at = |before: usize| {
            let chunks = chunks_with(&format!("{}bad hands", words(before)), &names, 20);
            let last = chunks.len() - 1;
            (last, chunks[last].embeddings[0].position)
        };
        assert_eq!(at(72), (0, 73));
        assert_eq!(at(73), (1, 1));
        assert_eq!(at(75), (1, 1));
    }

    #[test]
    fn an_embedding_moves_with_its_phrase() {
        let names = names(&[("bad hands", 3)]);
        let text = format!("bad hands {}, a bad hands a a", words(67));
        let chunks = chunks_with(&text, &names, COMMA_BACKTRACK);
        assert_eq!(chunks[0].embeddings.len(), 1);
        assert_eq!(chunks[0].ids[71], COMMA);
        assert_eq!(chunks[1].ids[..7], [BEGIN, A, 0, 0, 0, A, A]);
        assert_eq!(chunks[1].embeddings[0].position, 2);
    }

    #[test]
    fn an_embedding_longer_than_a_chunk_is_refused() {
        let tokenizer = Tokenizer::standard();
        let refused = |vectors| {
            let names = names(&[("bad hands", vectors)]);
            Chunker::new(&tokenizer, &names).chunks("a bad hands")
        };
        assert_eq!(refused(75).unwrap().len(), 2);
        let refusal = refused(76).unwrap_err();
        assert_eq!(refusal, PromptError::EmbeddingTooLong { vectors: 76 });
    }

    #[test]
    fn prompts_of_one_run_become_equally_long() {
        let tokenizer = Tokenizer::standard();
        let mut prompts = [chunks(&words(200)), chunks("red"), chunks("")];
        pad_together(&mut prompts, &tokenizer);
        assert!(prompts.iter().all(|chunks| chunks.len() == 3));
        assert_eq!(prompts[1][0].ids[1], RED);
        assert_eq!(prompts[1][2], chunks("")[0]);
        pad_together(&mut [], &tokenizer);
    }

    #[test]
    fn the_number_of_chunks_is_bounded() {
        let tokenizer = Tokenizer::standard();
        let names = EmbeddingNames::default();
        let chunker = Chunker::new(&tokenizer, &names);
        assert_eq!(
            chunker.chunks(&words(75 * CHUNKS_MAX)).unwrap().len(),
            CHUNKS_MAX
        );
        for text in [words(75 * CHUNKS_MAX + 1), "BREAK ".repeat(CHUNKS_MAX + 1)] {
            assert_eq!(chunker.chunks(&text), Err(PromptError::TooManyChunks));
        }
    }
}
