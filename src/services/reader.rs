//! Reads the members of an object by their paths and keeps account of them.
//!
//! Promises: every member that is not `null` is either taken by a reader or reported, never lost;
//! of several spellings of one field the cloud's own wins and the others are reported. Only known
//! objects are entered, so paths stay short whatever the document holds.

use std::{collections::HashMap, ops::RangeInclusive};

use serde_json::{Map, Value};

use super::{
    error::{ServiceError, shortened},
    fields::{DOTTED_NAMES, ROOT, Schema, WHOLE},
    notes::Notes,
};

/// Most containers, mounts or variables; real services have a handful.
const MOST_ITEMS: usize = 1000;

const UNKNOWN: &str = "this field is not known here";

/// The members of one object, not yet taken.
pub(super) struct Section<'a> {
    schema: &'static Schema,
    leaves: Vec<Leaf<'a>>,
}

struct Leaf<'a> {
    /// Path in the cloud's names.
    path: String,
    /// How far the spelling is from the cloud's own, 0 being that itself.
    rank: usize,
    given: Given<'a>,
}

/// Rank of a path that has its dots elsewhere than in the cloud's spelling.
const REGROUPED: usize = 1;

/// Where a value stands.
struct Place {
    field: String,
    path: String,
    depth: usize,
    alias: Option<usize>,
}

/// A whole number with its limits.
pub(super) struct Whole {
    pub path: &'static str,
    /// Below the range is refused, above it is lowered to its end.
    pub range: RangeInclusive<u64>,
    pub default: u64,
    pub meaning: &'static str,
}

impl<'a> Section<'a> {
    /// The document itself.
    pub fn root(document: &'a Value, notes: &mut Notes) -> Result<Self, ServiceError> {
        Self::new(&ROOT, "", document, notes)
    }

    /// An object at `base`, the path of an array's item such as `storage[0]`.
    pub fn new(
        schema: &'static Schema,
        base: &str,
        value: &'a Value,
        notes: &mut Notes,
    ) -> Result<Self, ServiceError> {
        let Value::Object(members) = value else {
            return Err(ServiceError::field(base, "write an object in braces"));
        };
        let mut section = Self {
            schema,
            leaves: Vec::new(),
        };
        let place = Place {
            field: base.to_owned(),
            path: String::new(),
            depth: 0,
            alias: None,
        };
        section.collect(members, &place)?;
        section.settle_whole(notes);
        section.settle_spellings(notes);
        Ok(section)
    }

    fn collect(
        &mut self,
        members: &'a Map<String, Value>,
        parent: &Place,
    ) -> Result<(), ServiceError> {
        for (name, value) in members {
            let place = parent.member(name, self.schema);
            match value {
                Value::Null => {}
                Value::Object(inner) if !inner.is_empty() && self.schema.enters(&place.path) => {
                    self.collect(inner, &place)?;
                }
                Value::Object(_) => self.leaves.push(place.leaf(value)),
                _ if self.schema.objects.contains(&place.path.as_str()) => {
                    let reason = "this is an object; write its members in braces";
                    return Err(ServiceError::field(&place.field, reason));
                }
                _ => self.leaves.push(place.leaf(value)),
            }
        }
        Ok(())
    }

    /// Two spellings of an object that is taken as a whole: the members of the alias go.
    fn settle_whole(&mut self, notes: &mut Notes) {
        let is_part = |leaf: &Leaf| is_at_or_below(&leaf.path, WHOLE);
        let is_direct = |leaf: &Leaf| is_part(leaf) && leaf.rank <= REGROUPED;
        if !self.leaves.iter().any(is_direct) {
            return;
        }
        let given_twice = |leaf: &mut Leaf| is_part(leaf) && leaf.rank > REGROUPED;
        for leaf in self.leaves.extract_if(.., given_twice) {
            leaf.report_as_another_spelling(notes);
        }
    }

    /// Two spellings of one field: the one that is nearest to the cloud's stays.
    fn settle_spellings(&mut self, notes: &mut Notes) {
        let leaves = std::mem::take(&mut self.leaves);
        let mut best: HashMap<String, usize> = HashMap::new();
        for (index, leaf) in leaves.iter().enumerate() {
            let known = best.entry(leaf.path.clone()).or_insert(index);
            if leaf.rank < leaves[*known].rank {
                *known = index;
            }
        }
        for (index, leaf) in leaves.into_iter().enumerate() {
            if best[&leaf.path] == index {
                self.leaves.push(leaf);
            } else {
                leaf.report_as_another_spelling(notes);
            }
        }
    }

    /// Takes a field, if it is there.
    pub fn take(&mut self, path: &str) -> Option<Given<'a>> {
        let index = self.leaves.iter().position(|leaf| leaf.path == path)?;
        Some(self.leaves.remove(index).given)
    }

    /// Takes all fields below a path, each with the rest of its path.
    pub fn take_below(&mut self, path: &str) -> Vec<(String, Given<'a>)> {
        let prefix = format!("{path}.");
        self.leaves
            .extract_if(.., |leaf| leaf.path.starts_with(&prefix))
            .map(|leaf| (leaf.path[prefix.len()..].to_owned(), leaf.given))
            .collect()
    }

    /// Whether any field below a path was given.
    pub fn has_below(&self, path: &str) -> bool {
        self.leaves
            .iter()
            .any(|leaf| leaf.path != path && is_at_or_below(&leaf.path, path))
    }

    /// Reports everything at and below a path.
    pub fn report(&mut self, path: &str, reason: &str, notes: &mut Notes) {
        for leaf in self
            .leaves
            .extract_if(.., |leaf| is_at_or_below(&leaf.path, path))
        {
            notes.report(&leaf.given.field, leaf.given.value, reason);
        }
    }

    /// Reports everything that no reader took.
    pub fn finish(self, notes: &mut Notes) {
        for leaf in self.leaves {
            let is_empty_object = leaf.given.value.as_object().is_some_and(Map::is_empty);
            if is_empty_object && self.schema.objects.contains(&leaf.path.as_str()) {
                continue;
            }
            let reason = self.schema.reason(&leaf.path);
            notes.report(&leaf.given.field, leaf.given.value, reason);
        }
    }

    /// Takes a whole number that is honoured within its limits.
    pub fn whole(&mut self, rule: &Whole, notes: &mut Notes) -> Result<u64, ServiceError> {
        let (least, most) = (*rule.range.start(), *rule.range.end());
        let Some(given) = self.take(rule.path) else {
            let reason = format!("default; {}", rule.meaning);
            notes.honour(rule.path, None, rule.default, reason);
            return Ok(rule.default);
        };
        let asked = given.whole()?;
        if asked < least {
            return Err(given.refuse(format!("{asked} is too small; write {least} or more")));
        }
        let value = asked.min(most);
        let reason = if value < asked {
            let reason = format!("lowered to the most that is possible; {}", rule.meaning);
            notes.warn(format!("`{}` is lowered to {value}", given.field));
            reason
        } else {
            rule.meaning.to_owned()
        };
        notes.honour(&given.field, Some(given.value), value, reason);
        Ok(value)
    }
}

impl Leaf<'_> {
    fn report_as_another_spelling(&self, notes: &mut Notes) {
        let reason = format!(
            "`{}` is given in another spelling, which is used",
            self.path
        );
        notes.report(&self.given.field, self.given.value, reason);
    }
}

impl Place {
    fn member(&self, name: &str, schema: &Schema) -> Self {
        let path = join(&self.path, name);
        let alias = schema
            .aliases
            .iter()
            .position(|(other, _)| is_at_or_below(&path, other));
        let path = match alias {
            Some(index) => {
                let (other, documented) = schema.aliases[index];
                format!("{documented}{}", &path[other.len()..])
            }
            None => path,
        };
        Self {
            field: join(&self.field, name),
            path,
            depth: self.depth + 1,
            alias: self.alias.or(alias),
        }
    }

    fn leaf<'a>(&self, value: &'a Value) -> Leaf<'a> {
        let rank = match self.alias {
            Some(index) => REGROUPED + 1 + index,
            None if self.depth == documented_depth(&self.path) => 0,
            None => REGROUPED,
        };
        Leaf {
            path: self.path.clone(),
            rank,
            given: Given {
                field: self.field.clone(),
                value,
            },
        }
    }
}

impl Schema {
    /// Whether an object at this path holds known fields.
    fn enters(&self, path: &str) -> bool {
        let holds = |known: &str| known.len() > path.len() && is_at_or_below(known, path);
        self.read.iter().any(|known| holds(known))
            || self.reported.iter().any(|(known, _)| holds(known))
            || self.aliases.iter().any(|(other, _)| holds(other))
    }

    /// Why a field that nobody took has no effect.
    fn reason(&self, path: &str) -> &'static str {
        self.reported
            .iter()
            .filter(|(known, _)| is_at_or_below(path, known))
            .max_by_key(|(known, _)| known.len())
            .map_or(UNKNOWN, |(_, reason)| reason)
    }
}

/// How many nested members lead to a path in the cloud's own spelling.
fn documented_depth(path: &str) -> usize {
    let inner_dots = DOTTED_NAMES
        .iter()
        .find(|name| path.ends_with(*name))
        .map_or(0, |name| name.matches('.').count());
    path.matches('.').count() + 1 - inner_dots
}

fn is_at_or_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

/// A value that was given, with its path as it was written.
#[derive(Debug)]
pub(super) struct Given<'a> {
    pub field: String,
    pub value: &'a Value,
}

impl<'a> Given<'a> {
    /// The refusal of this field.
    pub fn refuse(&self, reason: impl Into<String>) -> ServiceError {
        ServiceError::field(&self.field, reason)
    }

    /// A number, also one that is written as a text. Never infinite.
    pub fn number(&self) -> Result<f64, ServiceError> {
        let number = match self.value {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        };
        number
            .filter(|number: &f64| number.is_finite())
            .ok_or_else(|| self.wrong_type("a number"))
    }

    /// A whole number of 0 or more, also one that is written as a text or as `5.0`.
    pub fn whole(&self) -> Result<u64, ServiceError> {
        let exact = match self.value {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_u64(),
        };
        if let Some(number) = exact {
            return Ok(number);
        }
        let number = self.number()?;
        if number < 0.0 || number.fract() != 0.0 {
            return Err(self.wrong_type("a whole number of 0 or more"));
        }
        // The cast saturates, and so large a number is lowered by every caller anyway.
        Ok(number as u64)
    }

    /// `true` or `false`.
    pub fn flag(&self) -> Result<bool, ServiceError> {
        self.value
            .as_bool()
            .ok_or_else(|| self.wrong_type("`true` or `false` without quotes"))
    }

    /// A text.
    pub fn text(&self) -> Result<&'a str, ServiceError> {
        self.value
            .as_str()
            .ok_or_else(|| self.wrong_type("a text in quotes"))
    }

    /// The items of an array that are not `null`, each with its path. Bounded, since some of
    /// them are compared with one another.
    pub fn items(&self) -> Result<Vec<Given<'a>>, ServiceError> {
        let items = self
            .value
            .as_array()
            .ok_or_else(|| self.wrong_type("an array in brackets"))?;
        if items.len() > MOST_ITEMS {
            return Err(self.refuse(format!("leave at most {MOST_ITEMS} items in it")));
        }
        let given = items
            .iter()
            .enumerate()
            .filter(|(_, value)| !value.is_null())
            .map(|(index, value)| Given {
                field: format!("{}[{index}]", self.field),
                value,
            });
        Ok(given.collect())
    }

    fn wrong_type(&self, wanted: &str) -> ServiceError {
        let found = shortened(&self.value.to_string());
        self.refuse(format!("write {wanted} instead of {found}"))
    }
}
