//! Why a service JSON is refused.

/// A refusal, sorted by what the person who deploys can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The text is longer than any real service JSON: shorten it.
    #[error("the service JSON has {size} bytes and the limit is {limit}; keep only its settings")]
    TooLarge {
        /// Bytes of the text.
        size: usize,
        /// Bytes that are accepted.
        limit: usize,
    },
    /// The text is not one JSON object with unique members: correct the text.
    #[error("the service JSON cannot be read: {0}; correct the text and deploy it again")]
    Unreadable(String),
    /// One field has a value that cannot be used: change that field.
    #[error("`{field}` is refused: {reason}")]
    Field {
        /// Path of the field as it was written, for example `containers[0].env[1]`.
        field: String,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// Two services have one name and so one address: rename one.
    #[error("two services are named `{0}`; a name is also an address, so give one another name")]
    SameName(String),
}

impl ServiceError {
    /// The refusal of one field.
    pub(super) fn field(field: &str, reason: impl Into<String>) -> Self {
        Self::Field {
            field: shortened(field),
            reason: reason.into(),
        }
    }
}

/// A text that is short enough for a message; what is cut off is shown as `...`.
pub(super) fn shortened(text: &str) -> String {
    const MOST_CHARACTERS: usize = 120;
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
