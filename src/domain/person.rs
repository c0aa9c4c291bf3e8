//! The id of a trained person.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// Longest id in characters. With an ending such as `.safetensors` it fits into a file name.
const LENGTH_MAX: usize = 128;

/// The id of a trained person: 1 to 128 characters of `A-Z a-z 0-9 . _ -`, the first no dot.
///
/// It is the name of folders and files, so it cannot be `.` or `..`, and no hidden file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonId(String);

impl PersonId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The id of a person whom nobody has named, in lower case with hyphens.
impl From<Uuid> for PersonId {
    fn from(id: Uuid) -> Self {
        Self(id.hyphenated().to_string())
    }
}

/// The text cannot be the id of a person.
///
/// The text itself is not repeated: it may be a name, and errors reach the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a person's id cannot {0}; use 1 to 128 letters A-Z and a-z, digits and the signs `.`, `_` and \
     `-`, with no dot at the front"
)]
pub struct ParsePersonIdError(&'static str);

impl FromStr for PersonId {
    type Err = ParsePersonIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |sign: u8| sign.is_ascii_alphanumeric() || matches!(sign, b'.' | b'_' | b'-');
        let fault = if text.is_empty() {
            "be empty"
        } else if !text.bytes().all(fits) {
            "hold other signs than those of file names"
        } else if text.len() > LENGTH_MAX {
            "be longer than 128 characters"
        } else if text.starts_with('.') {
            "begin with a dot"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(ParsePersonIdError(fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_can_be_the_name_of_a_folder_and_nothing_else() {
        let longest = "x".repeat(128);
        for text in ["a", "anna-2026", "foto10", "A.b_c-", "-", &longest] {
            let id: PersonId = text.parse().unwrap();
            assert_eq!((id.as_str(), id.to_string()), (text, text.to_owned()));
        }
        let too_long = "x".repeat(129);
        let wrong = [
            "", ".", "..", ".hidden", "a/b", "/", "a\\b", "a b", "ä", "a\0", "a\n", &too_long,
        ];
        for text in wrong {
            assert!(text.parse::<PersonId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_error_says_what_an_id_is_and_not_what_was_given() {
        let error = "Anna Smith".parse::<PersonId>().unwrap_err().to_string();
        assert!(
            error.contains("other signs") && error.contains("128"),
            "{error}"
        );
        assert!(!error.contains("Anna"), "{error}");
    }

    #[test]
    fn an_id_that_was_drawn_is_a_uuid_in_lower_case() {
        let id = PersonId::from(Uuid::new_v4());
        assert_eq!(
            (id.as_str().len(), id.as_str().parse()),
            (36, Ok(id.clone()))
        );
        assert_eq!(id.as_str().to_lowercase(), id.as_str());
    }
}
