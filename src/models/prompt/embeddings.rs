//! Names of textual-inversion embeddings, found among the tokens of a prompt.

use std::collections::HashMap;
use std::sync::Arc;

use crate::models::clip::tokenizer::Tokenizer;

/// Embeddings by the tokens of their names. The vectors themselves are the caller's.
#[derive(Clone, Debug, Default)]
pub struct EmbeddingNames {
    /// By the first token of the name; longer names before shorter ones.
    by_first: HashMap<u32, Vec<Entry>>,
}

/// The name of an embedding.
#[derive(Clone, Debug)]
struct Entry {
    ids: Vec<u32>,
    name: Arc<str>,
    vectors: usize,
}

/// An embedding that a prompt names.
pub(super) struct Found {
    /// Tokens of the prompt that are its name.
    pub(super) tokens: usize,
    /// Its name.
    pub(super) name: Arc<str>,
    /// Its length.
    pub(super) vectors: usize,
}

impl EmbeddingNames {
    /// From each embedding's name and number of vectors. A name without tokens is never found; of
    /// two that read the same to the tokenizer, such as `Face` and `face`, the first counts.
    pub fn new<'a>(
        tokenizer: &Tokenizer,
        embeddings: impl IntoIterator<Item = (&'a str, usize)>,
    ) -> Self {
        let mut by_first: HashMap<u32, Vec<Entry>> = HashMap::new();
        for (name, vectors) in embeddings {
            let ids = tokenizer.encode(name);
            let Some(&first) = ids.first() else {
                continue;
            };
            let name = name.into();
            by_first
                .entry(first)
                .or_default()
                .push(Entry { ids, name, vectors });
        }
        for names in by_first.values_mut() {
            names.sort_by_key(|name| std::cmp::Reverse(name.ids.len()));
        }
        Self { by_first }
    }

    /// The embedding with the longest name that `ids` begin with.
    pub(super) fn at(&self, ids: &[u32]) -> Option<Found> {
        let names = self.by_first.get(ids.first()?)?;
        let found = names.iter().find(|name| ids.starts_with(&name.ids))?;
        Some(Found {
            tokens: found.ids.len(),
            name: Arc::clone(&found.name),
            vectors: found.vectors,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_is_found_and_of_equal_ones_the_first() {
        let tokenizer = Tokenizer::standard();
        let names = EmbeddingNames::new(
            &tokenizer,
            [
                ("bad", 1),
                ("bad hands", 2),
                ("Bad", 3),
                ("", 4),
                ("bad-hands-5", 5),
            ],
        );
        let found = |text: &str| {
            let found = names.at(&tokenizer.encode(text))?;
            Some((found.name.to_string(), found.tokens, found.vectors))
        };
        assert_eq!(found("bad hands, x"), Some(("bad hands".into(), 2, 2)));
        assert_eq!(found("bad-hands-5 x"), Some(("bad-hands-5".into(), 5, 5)));
        assert_eq!(found("BAD hand"), Some(("bad".into(), 1, 1)));
        assert_eq!(found("good"), None);
        assert_eq!(found(""), None);
    }
}
