//! The query string of a queue request: reserved parameters and tags.

use std::{collections::HashMap, time::Duration};

use percent_encoding::percent_decode;

use crate::domain::{REQUEST_ID_TAG, Tags};

use super::{error::Refusal, wire::duration};

/// Longest query string; what is longer would not be a tag set but an attack.
pub(super) const QUERY_BYTES_MAX: usize = 16 * 1024;
/// Most indexes in one list.
const INDEXES_MAX: usize = 10_000;

/// A decoded query string.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Params {
    reserved: HashMap<String, String>,
    /// Every parameter whose name does not begin with `_`.
    pub tags: Tags,
}

/// Where a get or a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At this index or the next one that exists.
    At(u64),
    /// At the end: the newest entry of a get, only later entries of a watch.
    Newest,
}

impl Params {
    /// Decodes a query string in form encoding. Reserved names never become tags; unknown reserved
    /// names are ignored, so that newer clients work.
    pub fn parse(query: &str) -> Result<Self, Refusal> {
        if query.len() > QUERY_BYTES_MAX {
            let text = format!("the query string is longer than {QUERY_BYTES_MAX} bytes");
            return Err(Refusal::bad_request(text));
        }
        let mut reserved = HashMap::new();
        let mut tags = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if name.starts_with('_') {
                reserved.insert(name, value);
            } else {
                tags.push((name, value));
            }
        }
        Ok(Self {
            reserved,
            tags: tags.into_iter().collect(),
        })
    }

    /// A switch: absent is `default`.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        match self.reserved.get(name).map(String::as_str) {
            None => Ok(default),
            Some("true" | "True" | "1") => Ok(true),
            Some("false" | "False" | "0" | "") => Ok(false),
            Some(other) => Err(malformed(name, other, "true or false")),
        }
    }

    /// A whole number that is not negative: absent is `default`.
    pub fn number(&self, name: &str, default: u64) -> Result<u64, Refusal> {
        match self.reserved.get(name) {
            None => Ok(default),
            Some(text) => whole(name, text),
        }
    }

    /// `_index_` where it has to be there.
    pub fn index(&self) -> Result<u64, Refusal> {
        let text = self.reserved.get("_index_");
        whole("_index_", text.ok_or_else(|| missing("_index_"))?)
    }

    /// `_index_` of a get or a watch: 0 and absent are the head, -1 is the end.
    pub fn start(&self) -> Result<Start, Refusal> {
        match self.reserved.get("_index_").map(String::as_str) {
            None => Ok(Start::At(0)),
            Some("-1") => Ok(Start::Newest),
            Some(text) => whole("_index_", text).map(Start::At),
        }
    }

    /// `_indexes_`: at least one index.
    pub fn indexes(&self) -> Result<Vec<u64>, Refusal> {
        let text = self
            .reserved
            .get("_indexes_")
            .ok_or_else(|| missing("_indexes_"))?;
        if text.split(',').count() > INDEXES_MAX {
            return Err(Refusal::bad_request(format!(
                "_indexes_ has more than {INDEXES_MAX} indexes"
            )));
        }
        text.split(',')
            .map(|index| whole("_indexes_", index))
            .collect()
    }

    /// `_timeout_`: absent is no waiting.
    pub fn timeout(&self) -> Result<Duration, Refusal> {
        let Some(text) = self.reserved.get("_timeout_") else {
            return Ok(Duration::ZERO);
        };
        duration::parse(text)
            .ok_or_else(|| malformed("_timeout_", text, "a duration such as 5s, 500ms or 5"))
    }

    /// `_priority_`, or what the client's priority header says.
    pub fn priority(&self, header: Option<&str>) -> Result<Option<u8>, Refusal> {
        let given = self
            .reserved
            .get("_priority_")
            .map(String::as_str)
            .or(header);
        let Some(text) = given else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| malformed("_priority_", text, "a number from 0 to 255"))
    }

    /// Whether a parameter is there at all.
    pub fn has(&self, name: &str) -> bool {
        self.reserved.contains_key(name)
    }

    /// The tag `requestId`.
    pub fn request_id(&self) -> Option<&str> {
        self.tags.get(REQUEST_ID_TAG).filter(|id| !id.is_empty())
    }
}

fn decode(text: &str) -> Result<String, Refusal> {
    let spaced = text.replace('+', " ");
    let bytes: Vec<u8> = percent_decode(spaced.as_bytes()).collect();
    match String::from_utf8(bytes) {
        Ok(text) if text.contains('\0') => Err(Refusal::bad_request("a parameter has a zero byte")),
        Ok(text) => Ok(text),
        Err(_) => Err(Refusal::bad_request("a parameter is not valid UTF-8")),
    }
}

fn whole(name: &str, text: &str) -> Result<u64, Refusal> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| malformed(name, text, "a whole number from 0 to 18446744073709551615"))
}

fn missing(name: &str) -> Refusal {
    Refusal::bad_request(format!("the parameter {name} is missing"))
}

fn malformed(name: &str, text: &str, wanted: &str) -> Refusal {
    let shown: String = text.chars().take(40).collect();
    Refusal::bad_request(format!("{name} is {shown:?}; it must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_never_become_tags() {
        let params =
            Params::parse("_index_=3&a=1&b+c=d%20e&_new_=x&requestId=r%2F1&a=2&flag").unwrap();
        let tags: Vec<_> = params.tags.iter().collect();
        assert_eq!(
            tags,
            [
                ("a", "2"),
                ("b c", "d e"),
                ("flag", ""),
                ("requestId", "r/1")
            ]
        );
        assert_eq!(params.request_id(), Some("r/1"));
        assert_eq!(params.index(), Ok(3));
    }

    #[test]
    fn nonsense_is_refused_with_its_name() {
        let query = "_index_=-2&_length_=1e3&_auto_delete_=maybe&_timeout_=soon&_priority_=-1";
        let params = Params::parse(query).unwrap();
        for (refusal, name) in [
            (params.start().unwrap_err(), "_index_"),
            (params.index().unwrap_err(), "_index_"),
            (params.number("_length_", 1).unwrap_err(), "_length_"),
            (
                params.flag("_auto_delete_", true).unwrap_err(),
                "_auto_delete_",
            ),
            (params.timeout().unwrap_err(), "_timeout_"),
            (params.priority(None).unwrap_err(), "_priority_"),
            (params.indexes().unwrap_err(), "_indexes_"),
        ] {
            assert_eq!(refusal.status, 400);
            assert!(refusal.message.contains(name), "{}", refusal.message);
        }
        for list in ["", "1,", "1,x", "1, 2", "99999999999999999999999", "+1"] {
            let query = format!("_indexes_={}", list.replace('+', "%2B"));
            assert!(Params::parse(&query).unwrap().indexes().is_err(), "{list}");
        }
        assert_eq!(
            Params::parse("_indexes_=1%2C2").unwrap().indexes(),
            Ok(vec![1, 2])
        );
        assert!(Params::parse("a=%ff%fe").is_err());
        assert!(Params::parse(&"a".repeat(QUERY_BYTES_MAX + 1)).is_err());
    }
}
