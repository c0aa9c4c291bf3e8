//! Why a LoRA file cannot be used.

/// Most modules that one text names.
const SHOWN_MAX: usize = 8;
/// Most characters of one name in a text.
const NAME_CHARS_MAX: usize = 120;

/// Why a LoRA file cannot be used. The texts say what happened and what to do; they name tensors and
/// modules of the file, shortened and without control characters.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LoraError {
    /// The file is not a LoRA.
    #[error(
        "this is not a LoRA file: {0}; choose a file with the low-rank factors of single layers"
    )]
    NotLora(String),
    /// The file is a LoRA of a kind that is not built.
    #[error(
        "{kind} is not supported (found at {place}); choose a plain LoRA, LoCon or LoHa file, or convert this one to it"
    )]
    Unsupported {
        /// What it is.
        kind: String,
        /// The tensor or setting that shows it.
        place: String,
    },
    /// The file was trained for another family of models.
    #[error(
        "this LoRA was made for {family} ({reason}), and the model at hand is of the SD 1.x family; choose a LoRA that was trained on SD 1.x"
    )]
    OtherFamily {
        /// Name of the family.
        family: &'static str,
        /// How that shows.
        reason: String,
    },
    /// Some or all modules of the file are no layers of the networks at hand.
    #[error(
        "{unmatched} of the {total} modules of this LoRA are no layers of the model at hand: {shown}; it was made for another model, or its names are spelled in an unknown way"
    )]
    Unmatched {
        /// How many modules have no layer.
        unmatched: usize,
        /// How many modules the file has.
        total: usize,
        /// The first of those without a layer.
        shown: String,
    },
    /// A module does not fit its layer, is not whole, or holds numbers that cannot be used.
    #[error(
        "the module {module} of this LoRA cannot be used: {reason}; the file is damaged or was made for another model"
    )]
    Module {
        /// Its name in the file.
        module: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is larger than any LoRA for these networks.
    #[error("this LoRA is too large: {0}; choose one of a lower rank")]
    TooLarge(String),
    /// The settings of the adapter cannot be understood.
    #[error(
        "the settings of this LoRA ({place}) cannot be used: {reason}; save it again or export it in kohya's format"
    )]
    Settings {
        /// Where they stand.
        place: &'static str,
        /// What is wrong with them.
        reason: String,
    },
    /// The numbers of a tensor cannot be read.
    #[error("the tensor {tensor} of this LoRA cannot be read: {reason}; copy the file again")]
    Read {
        /// Its name.
        tensor: String,
        /// What the reader says.
        reason: String,
    },
    /// The list of layers that the file is held against makes no sense.
    #[error(
        "the layers of the model at hand cannot take a LoRA: {0}; the model is damaged or of an unknown kind"
    )]
    Layers(String),
}

impl LoraError {
    /// That something is wrong with a module.
    pub(super) fn module(name: &str, reason: impl Into<String>) -> Self {
        Self::Module {
            module: shown(name),
            reason: reason.into(),
        }
    }

    /// That a kind of file is not supported.
    pub(super) fn unsupported(kind: impl Into<String>, place: &str) -> Self {
        Self::Unsupported {
            kind: kind.into(),
            place: shown(place),
        }
    }
}

/// A name of the file as it may stand in a text.
pub(super) fn shown(name: &str) -> String {
    let mut escaped = name.escape_debug();
    let mut text: String = escaped.by_ref().take(NAME_CHARS_MAX).collect();
    if escaped.next().is_some() {
        text.push('…');
    }
    text
}

/// The first names of a list as they may stand in a text.
pub(super) fn shown_list(names: &[&str]) -> String {
    let shown: Vec<_> = names
        .iter()
        .take(SHOWN_MAX)
        .map(|name| shown(name))
        .collect();
    let text = shown.join(", ");
    match names.len().saturating_sub(SHOWN_MAX) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_shortened_and_harmless_in_texts() {
        let text = shown(&format!("a\n\u{1b}{}", "x".repeat(5000)));
        assert!(text.starts_with("a\\n\\u{1b}x") && text.ends_with('…'));
        assert_eq!(text.chars().count(), NAME_CHARS_MAX + 1);
        assert_eq!(shown("plain.name"), "plain.name");
    }

    #[test]
    fn long_lists_say_how_much_they_leave_out() {
        assert_eq!(shown_list(&["a", "b"]), "a, b");
        assert_eq!(
            shown_list(&["m"; SHOWN_MAX + 3]),
            format!("{} and 3 more", ["m"; SHOWN_MAX].join(", "))
        );
    }
}
