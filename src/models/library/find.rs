//! Which model a text means.
//!
//! As in the WebUI (`get_closet_checkpoint_match`, and the search of its ControlNet extension): a
//! name of the file in any of its forms; without the hash in brackets at the end, which the file may
//! have had elsewhere; and of checkpoints and ControlNets the shortest title that contains the text.
//! Two things differ. Capitals do not count where nothing fits with them. And where the WebUI takes
//! any of several that fit equally well, which of them is an error that names them: a picture of
//! another model than was meant is worse than a question.

use super::{
    FileHash,
    listed::{Kind, Listed},
    scan::Listing,
};

/// Most models that an error names.
const CANDIDATES_MAX: usize = 10;
/// Longest part of a text that an error repeats, in characters.
const SHOWN_MAX: usize = 120;

/// A model, and what else the text could have meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The model.
    pub listed: Listed,
    /// Titles without hash of others that fit less well; not empty where a caller may want to say
    /// which one was taken.
    pub others: Vec<String>,
}

/// Why there is no such model. The texts say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// There is none of the kind.
    #[error(
        "there is no {kind} yet; put a .safetensors file of Stable Diffusion 1.x into {} in the data \
         folder",
        .kind.folder()
    )]
    Empty {
        /// What is missing.
        kind: Kind,
    },
    /// None of the kind fits the text.
    #[error(
        "there is no {kind} `{text}`; {known}, and files are put into {} in the data folder",
        .kind.folder()
    )]
    NotFound {
        /// What is missing.
        kind: Kind,
        /// What was asked for, cut.
        text: String,
        /// Which there are.
        known: String,
    },
    /// Several fit, and none better than the others.
    #[error("`{text}` may be any {kind} of {}; give one of these names", .candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        kind: Kind,
        /// The text, cut.
        text: String,
        /// Paths below the kind's folder.
        candidates: Vec<String>,
    },
    /// The file is there and cannot be used.
    #[error("the {kind} {file} cannot be used: {reason}")]
    Refused {
        /// What it is for.
        kind: Kind,
        /// Its path below the kind's folder.
        file: String,
        /// Why, and what to do.
        reason: &'static str,
    },
}

/// The model of `listing` that `text` means. `hash` gives the hash of a file where it is known.
pub(super) fn find(
    kind: Kind,
    text: &str,
    listing: &Listing,
    hash: &dyn Fn(&Listed) -> Option<FileHash>,
) -> Result<Found, FindError> {
    let text = text.trim();
    let candidates: Vec<Candidate<'_>> = listing
        .files
        .iter()
        .map(|listed| Candidate {
            listed,
            hash: hash(listed),
        })
        .collect();
    let bare = without_checksum(text);
    for capitals_count in [true, false] {
        for text in [text, bare] {
            let matches = by_name(&candidates, text, capitals_count);
            if !matches.is_empty() {
                return choose(kind, text, matches);
            }
        }
    }
    // A file of this very name says more than one whose name only contains it.
    if let Some(refused) = refused(kind, bare, listing) {
        return Err(refused);
    }
    if matches!(kind, Kind::Checkpoint | Kind::ControlNet) && !bare.is_empty() {
        let part = bare.to_lowercase();
        let contains = |candidate: &&Candidate<'_>| {
            let title = candidate.listed.title(candidate.hash.as_ref());
            title.to_lowercase().contains(&part)
        };
        let matches: Vec<&Listed> = candidates
            .iter()
            .filter(contains)
            .map(|candidate| candidate.listed)
            .collect();
        if !matches.is_empty() {
            return choose(kind, bare, matches);
        }
    }
    if listing.files.is_empty() {
        return Err(FindError::Empty { kind });
    }
    Err(FindError::NotFound {
        kind,
        text: shown(text),
        known: known(&listing.files),
    })
}

/// The checkpoint to take when none is named: the first by name.
pub(super) fn first(kind: Kind, listing: &Listing) -> Result<Found, FindError> {
    if let Some((first, others)) = listing.files.split_first() {
        return Ok(Found {
            listed: first.clone(),
            others: names(others.iter()),
        });
    }
    match listing.refused.first() {
        Some(file) => Err(FindError::Refused {
            kind,
            file: file.file_name.clone(),
            reason: file.hint,
        }),
        None => Err(FindError::Empty { kind }),
    }
}

struct Candidate<'a> {
    listed: &'a Listed,
    hash: Option<FileHash>,
}

/// Those of which the text is a name; the clearest form of a name goes first.
fn by_name<'a>(candidates: &[Candidate<'a>], text: &str, capitals_count: bool) -> Vec<&'a Listed> {
    let small = text.to_lowercase();
    let same = |name: &str| {
        if capitals_count {
            name == text
        } else {
            name.to_lowercase() == small
        }
    };
    let forms: [&dyn Fn(&Candidate<'_>) -> bool; 6] = [
        &|it| same(&it.listed.title(it.hash.as_ref())),
        &|it| same(&it.listed.file_name),
        &|it| same(&it.listed.name),
        &|it| same(it.listed.base_name()) || same(it.listed.stem()),
        &|it| same(&it.listed.short_title(it.hash.as_ref())),
        &|it| {
            it.hash.is_some_and(|hash| {
                let whole = hash.to_string();
                same(&whole) || same(&hash.short())
            })
        },
    ];
    for (number, form) in forms.iter().enumerate() {
        let mut matches: Vec<&Listed> = candidates
            .iter()
            .filter(|candidate| form(candidate))
            .map(|candidate| candidate.listed)
            .collect();
        if !matches.is_empty() {
            // Files of one hash are copies of each other.
            if number == forms.len() - 1 {
                matches.truncate(1);
            }
            return matches;
        }
    }
    Vec::new()
}

/// The best of those that fit: of LoRAs the one in a folder of its own name, where training puts
/// them, and then the shortest path.
fn choose(kind: Kind, text: &str, mut matches: Vec<&Listed>) -> Result<Found, FindError> {
    let rank = |listed: &Listed| {
        let own = format!("{0}/{0}", listed.stem());
        let is_at_home = kind == Kind::Lora && super::listed::stem(&listed.file_name) == own;
        (!is_at_home, listed.file_name.chars().count())
    };
    matches.sort_by_key(|listed| rank(listed));
    match matches.split_first() {
        Some((best, others)) if others.first().is_none_or(|next| rank(next) > rank(best)) => {
            Ok(Found {
                listed: (*best).clone(),
                others: names(others.iter().copied()),
            })
        }
        _ => Err(FindError::Ambiguous {
            kind,
            text: shown(text),
            candidates: names(matches.into_iter()),
        }),
    }
}

fn refused(kind: Kind, text: &str, listing: &Listing) -> Option<FindError> {
    let file = listing.refused.iter().find(|file| {
        let base = file.file_name.rsplit('/').next().unwrap_or_default();
        let stem = base.rsplit_once('.').map_or(base, |(stem, _)| stem);
        [file.file_name.as_str(), base, stem].contains(&text)
    })?;
    Some(FindError::Refused {
        kind,
        file: file.file_name.clone(),
        reason: file.hint,
    })
}

/// A text without ` [hash]` at its end.
fn without_checksum(text: &str) -> &str {
    match text
        .strip_suffix(']')
        .and_then(|text| text.rsplit_once('['))
    {
        Some((name, inside)) if !inside.is_empty() && !inside.contains(']') => name.trim_end(),
        _ => text,
    }
}

fn names<'a>(files: impl Iterator<Item = &'a Listed>) -> Vec<String> {
    let names = files.map(|listed| listed.file_name.clone());
    names.take(CANDIDATES_MAX).collect()
}

fn known(files: &[Listed]) -> String {
    let more = files.len().saturating_sub(CANDIDATES_MAX);
    let names = names(files.iter()).join(", ");
    if more == 0 {
        format!("there is {names}")
    } else {
        format!("there is {names} and {more} more")
    }
}

/// A text of a request as it may stand in an error: short, and on one line.
fn shown(text: &str) -> String {
    let signs = text.chars().filter(|sign| !sign.is_control());
    signs.take(SHOWN_MAX).collect()
}
