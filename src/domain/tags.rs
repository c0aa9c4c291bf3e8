//! The tags of a queue entry: a small map of strings, sorted by name.

/// Name of the tag that every entry has: the id by which a caller finds its result.
pub const REQUEST_ID_TAG: &str = "requestId";

/// A small map from tag name to value, sorted by name; names are unique.
///
/// Kept as one boxed slice because a backlog holds hundreds of thousands of them and nearly all
/// are empty or have one member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tags(Box<[(Box<str>, Box<str>)]>);

impl Tags {
    /// The value of a tag.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .binary_search_by(|(key, _)| (**key).cmp(name))
            .ok()
            .map(|at| &*self.0[at].1)
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// True when there is no tag at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of tags.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when every tag of `wanted` is here with an equal value.
    pub fn contains_all(&self, wanted: &Self) -> bool {
        wanted
            .iter()
            .all(|(name, value)| self.get(name) == Some(value))
    }

    /// These tags with one more; an older value of the same name is replaced.
    pub fn with(&self, name: &str, value: &str) -> Self {
        self.iter().chain([(name, value)]).collect()
    }

    /// These tags without one name.
    pub fn without(&self, name: &str) -> Self {
        self.iter().filter(|(key, _)| *key != name).collect()
    }

    /// Bytes of all names and values together.
    pub fn byte_len(&self) -> usize {
        self.0
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum()
    }
}

/// Collects pairs; of two with the same name the later one stays.
impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Tags {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut all: Vec<(Box<str>, Box<str>)> = pairs
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        all.reverse();
        // The sort is stable, so the last one given now comes first among equals and is kept.
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.dedup_by(|later, earlier| later.0 == earlier.0);
        Self(all.into_boxed_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_name_wins_and_names_are_sorted() {
        let tags: Tags = [("b", "1"), ("a", "2"), ("b", "3")].into_iter().collect();
        assert_eq!(tags.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(tags.get("b"), Some("3"));
        assert_eq!(tags.get("c"), None);
    }

    #[test]
    fn containment_needs_every_tag_with_an_equal_value() {
        let tags: Tags = [("a", "1"), ("b", "2")].into_iter().collect();
        let wanted = |pairs: &[(&'static str, &'static str)]| pairs.iter().copied().collect();
        assert!(tags.contains_all(&wanted(&[])));
        assert!(tags.contains_all(&wanted(&[("b", "2")])));
        assert!(!tags.contains_all(&wanted(&[("b", "3")])));
        assert!(!tags.contains_all(&wanted(&[("a", "1"), ("c", "3")])));
    }
}
