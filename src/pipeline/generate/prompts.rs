//! From the prompts of a request to what a model attends to, step by step.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    artist::{About, Artist, Kind, LoraUse, Painter, Prompted, Text, Vectors},
    error::GenerateError,
    options::Options,
    request::Common,
};
use crate::models::prompt::{
    CHUNK_LENGTH, Chunk, Chunker, EmbeddingNames, LoraTag, Pass, PromptError, Scheduled,
    pad_together, parts, position_at, schedule, take_tags,
};

/// Most LoRAs of a prompt.
const LORAS_MAX: usize = 32;
/// Most chunks of all different texts of a prompt together: a quarter of a gigabyte.
const ENCODED_CHUNKS_MAX: usize = 1024;
/// Most embeddings that the prompts of a request may name.
const EMBEDDINGS_MAX: usize = 64;

/// The prompts of one pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) prompt: &'a str,
    pub(super) negative: &'a str,
    /// Names of the two members, for messages.
    pub(super) fields: [&'static str; 2],
    pub(super) pass: Pass,
    /// Whether tags in the prompt mean something.
    pub(super) uses_networks: bool,
}

impl<'a> Asked<'a> {
    /// The prompts of the only pass, or of the first of two.
    pub(super) fn first(common: &'a Common) -> Self {
        Self {
            prompt: &common.prompt,
            negative: &common.negative_prompt,
            fields: ["prompt", "negative_prompt"],
            pass: Pass::First {
                steps: common.steps,
            },
            uses_networks: common.uses_networks,
        }
    }
}

/// A model with its LoRAs, and what it attends to.
pub(super) struct Words<P> {
    pub(super) painter: Arc<P>,
    pub(super) positive: Prompted,
    pub(super) negative: Prompted,
}

/// What the prompts of a request brought to light, for its results.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Names and hashes of LoRAs.
    pub(super) loras: Vec<(String, Option<String>)>,
    /// Names and hashes of embeddings.
    pub(super) embeddings: Vec<(String, Option<String>)>,
    /// What was not understood.
    pub(super) warnings: Vec<String>,
}

impl Notes {
    fn warn(&mut self, text: String) {
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }
}

/// Digits of the hashes of LoRAs and embeddings in results.
const HASH_DIGITS: usize = 12;

/// A name and its hash, once.
fn note(list: &mut Vec<(String, Option<String>)>, about: &About) {
    if !list.iter().any(|(name, _)| *name == about.name) {
        let hash = about.short_hash(HASH_DIGITS).map(str::to_owned);
        list.push((about.name.clone(), hash));
    }
}

/// Applies the LoRAs that the prompt asks for and encodes both prompts.
pub(super) fn words<A: Artist>(
    artist: &A,
    base: &Arc<A::Painter>,
    options: &Options,
    asked: &Asked<'_>,
    notes: &mut Notes,
) -> Result<Words<A::Painter>, GenerateError> {
    let [field, negative_field] = asked.fields;
    let refused = |source| GenerateError::Prompt { field, source };
    let tags = take_tags(asked.prompt).map_err(refused)?;
    for tag in &tags.others {
        let kind: String = tag.kind.chars().take(40).collect();
        notes.warn(format!(
            "the tag <{kind}:…> of the prompt is not known and was left out"
        ));
    }
    let painter = if asked.uses_networks {
        with_loras(artist, base, &tags.loras, notes)?
    } else {
        Arc::clone(base)
    };
    let vectors = embeddings(artist, &[&tags.text, asked.negative])?;
    let encoder = Encoder::new(&*painter, options, vectors);
    let positive = encoder
        .positive(&tags.text, asked.pass)
        .map_err(|error| error.of(field))?;
    let negative = encoder.negative(asked.negative, asked.pass);
    let negative = negative.map_err(|error| error.of(negative_field))?;
    let used = encoder.used.into_inner();
    for (about, _) in encoder.vectors.values() {
        if used.contains(&about.name) {
            note(&mut notes.embeddings, about);
        }
    }
    notes.embeddings.sort();
    Ok(Words {
        painter,
        positive,
        negative,
    })
}

/// The model with these LoRAs. As in the web UI, one that is not there is left out, with a warning.
fn with_loras<A: Artist>(
    artist: &A,
    base: &Arc<A::Painter>,
    tags: &[LoraTag],
    notes: &mut Notes,
) -> Result<Arc<A::Painter>, GenerateError> {
    if tags.len() > LORAS_MAX {
        let reason = format!("has {} LoRA tags; give at most {LORAS_MAX}", tags.len());
        return Err(GenerateError::field("prompt", reason));
    }
    let mut uses = Vec::new();
    for tag in tags {
        let name: String = tag.name.chars().take(100).collect();
        let Some(file) = artist.find(Kind::Lora, tag.name.trim()) else {
            notes.warn(format!("there is no LoRA \"{name}\", so it was left out"));
            continue;
        };
        if tag.rank_max.is_some() {
            notes.warn(format!("the rank in the tag of \"{name}\" was not heard"));
        }
        note(&mut notes.loras, &artist.about(&file));
        uses.push(LoraUse {
            file: artist.lora(&file)?,
            name,
            text_weight: f64::from(tag.text_weight),
            unet_weight: f64::from(tag.unet_weight),
        });
    }
    if uses.is_empty() {
        return Ok(Arc::clone(base));
    }
    Ok(Arc::new(base.with_loras(&uses)?))
}

type Known = HashMap<Arc<str>, (About, Arc<Vectors>)>;

/// Those embeddings whose names stand in one of the texts.
fn embeddings<A: Artist>(artist: &A, texts: &[&str]) -> Result<Known, GenerateError> {
    let texts = texts.join("\n").to_lowercase();
    let mut known = Known::new();
    for file in artist.list(Kind::Embedding) {
        let name = artist.name(&file).trim().to_lowercase();
        if name.is_empty() || !texts.contains(&name) || known.len() == EMBEDDINGS_MAX {
            continue;
        }
        let about = artist.about(&file);
        let vectors = artist.embedding(&file)?;
        known.insert(about.name.as_str().into(), (about, vectors));
    }
    Ok(known)
}

/// Why a text is not encoded.
enum Refused {
    Prompt(PromptError),
    Other(GenerateError),
}

impl Refused {
    fn of(self, field: &'static str) -> GenerateError {
        match self {
            Self::Prompt(source) => GenerateError::Prompt { field, source },
            Self::Other(error) => error,
        }
    }
}

impl From<PromptError> for Refused {
    fn from(error: PromptError) -> Self {
        Self::Prompt(error)
    }
}

/// Encodes texts, each once.
struct Encoder<'a, P> {
    painter: &'a P,
    options: &'a Options,
    names: EmbeddingNames,
    vectors: Known,
    cache: std::cell::RefCell<HashMap<(String, usize, usize), Text>>,
    used: std::cell::RefCell<HashSet<String>>,
}

impl<'a, P: Painter> Encoder<'a, P> {
    fn new(painter: &'a P, options: &'a Options, vectors: Known) -> Self {
        let mut counts: Vec<(&str, usize)> = vectors
            .iter()
            .map(|(name, (_, vectors))| (&**name, vectors.count))
            .collect();
        counts.sort_unstable();
        Self {
            names: EmbeddingNames::new(painter.tokenizer(), counts),
            painter,
            options,
            vectors,
            cache: std::cell::RefCell::default(),
            used: std::cell::RefCell::default(),
        }
    }

    /// A prompt whose parts, joined by AND, change with the steps each on its own. All texts get as many
    /// tokens as the longest has, by its last vector again, as in the web UI.
    fn positive(&self, text: &str, pass: Pass) -> Result<Prompted, Refused> {
        let parts = parts(text)?;
        let mut cut = Vec::with_capacity(parts.len());
        for part in &parts {
            cut.push(self.cut(&part.text, pass)?);
        }
        check_chunks(&cut)?;
        let longest = cut.iter().filter_map(Cut::length).max().unwrap_or(0);
        let mut followed = Vec::with_capacity(parts.len());
        for (cut, part) in cut.iter().zip(&parts) {
            let texts = self.encode(cut, longest)?;
            followed.push((&cut.scheduled, texts, f64::from(part.weight)));
        }
        let ends = cut.iter().flat_map(|cut| &cut.scheduled);
        let mut ends: Vec<usize> = ends.map(|text| text.end_step).collect();
        ends.sort_unstable();
        ends.dedup();
        let at = |end: usize| {
            let texts = followed.iter().map(|(scheduled, texts, weight)| {
                (texts[position_at(scheduled, end)].clone(), *weight)
            });
            (end, texts.collect())
        };
        Ok(Prompted {
            stretches: ends.into_iter().map(at).collect(),
        })
    }

    /// A negative prompt, which knows no AND.
    fn negative(&self, text: &str, pass: Pass) -> Result<Prompted, Refused> {
        let cut = [self.cut(text, pass)?];
        check_chunks(&cut)?;
        let [cut] = cut;
        let texts = self.encode(&cut, cut.length().unwrap_or(0))?;
        let ends = cut.scheduled.iter().map(|text| text.end_step);
        let texts = texts.into_iter().map(|text| vec![(text, 1.0)]);
        Ok(Prompted {
            stretches: ends.zip(texts).collect(),
        })
    }

    /// The texts of one schedule, cut into equally many chunks.
    fn cut(&self, text: &str, pass: Pass) -> Result<Cut, Refused> {
        let chunker = Chunker {
            tokenizer: self.painter.tokenizer(),
            embeddings: &self.names,
            emphasis: self.options.emphasis,
            comma_backtrack: self.options.comma_backtrack,
        };
        let scheduled = schedule(text, pass)?;
        let chunks = scheduled.iter().map(|text| chunker.chunks(&text.text));
        let mut chunks = chunks.collect::<Result<Vec<_>, PromptError>>()?;
        pad_together(&mut chunks, self.painter.tokenizer());
        Ok(Cut { scheduled, chunks })
    }

    /// The texts of a schedule, with as many tokens as so many chunks have.
    fn encode(&self, cut: &Cut, longest: usize) -> Result<Vec<Text>, Refused> {
        let (clip_skip, emphasis) = (self.options.clip_skip, self.options.emphasis);
        let mut texts = Vec::with_capacity(cut.chunks.len());
        for (chunks, scheduled) in cut.chunks.iter().zip(&cut.scheduled) {
            let key = (scheduled.text.clone(), chunks.len(), longest);
            let known = self.cache.borrow().get(&key).cloned();
            if let Some(text) = known {
                texts.push(text);
                continue;
            }
            let placed = chunks.iter().flat_map(|chunk| &chunk.embeddings);
            let names = placed.map(|placed| placed.name.to_string());
            self.used.borrow_mut().extend(names);
            let find = |name: &str| {
                let found = self.vectors.get(name);
                found.map(|(_, vectors)| Arc::clone(vectors))
            };
            let encoded = self.painter.encode_text(chunks, &find, clip_skip, emphasis);
            let text = encoded.map_err(|error| Refused::Other(error.into()))?;
            let text = lengthened(text, longest * CHUNK_LENGTH);
            self.cache.borrow_mut().insert(key, text.clone());
            texts.push(text);
        }
        Ok(texts)
    }
}

/// The texts of a part of a prompt and their chunks, as many for each.
struct Cut {
    scheduled: Vec<Scheduled>,
    chunks: Vec<Vec<Chunk>>,
}

impl Cut {
    /// Chunks of each text.
    fn length(&self) -> Option<usize> {
        self.chunks.first().map(Vec::len)
    }

    /// Texts that differ.
    fn different(&self) -> usize {
        let texts = self.scheduled.iter().map(|text| text.text.as_str());
        texts.collect::<HashSet<_>>().len()
    }
}

/// Refuses prompts whose encoded texts would fill the memory.
fn check_chunks(parts: &[Cut]) -> Result<(), PromptError> {
    let longest = parts.iter().filter_map(Cut::length).max().unwrap_or(0);
    let texts: usize = parts.iter().map(Cut::different).sum();
    if texts * longest > ENCODED_CHUNKS_MAX {
        return Err(PromptError::TooManyTexts);
    }
    Ok(())
}

/// The text with its last vector again and again, up to this number of tokens.
fn lengthened(text: Text, tokens: usize) -> Text {
    if text.tokens >= tokens || text.numbers.len() < text.width {
        return text;
    }
    let last = &text.numbers[text.numbers.len() - text.width..];
    let more = last
        .iter()
        .copied()
        .cycle()
        .take((tokens - text.tokens) * text.width);
    Text {
        tokens,
        width: text.width,
        numbers: text.numbers.iter().copied().chain(more).collect(),
    }
}
