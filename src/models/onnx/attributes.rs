//! The attributes of a node, taken one by one, so that what nobody takes is noticed.

use super::host::{Host, read_tensor};
use super::wire::{self, attribute_kind as kind};

/// Most attributes of a node; no operator has more than a dozen.
const MAX_ATTRIBUTES: usize = 64;

/// The attributes of one node that have not been taken yet.
pub struct Attributes<'a>(Vec<&'a wire::Attribute>);

impl<'a> Attributes<'a> {
    /// All attributes of a node. An error when a name comes twice or refers to a function.
    pub fn new(node: &'a wire::Node) -> Result<Self, String> {
        if node.attribute.len() > MAX_ATTRIBUTES {
            return Err(format!("it has more than {MAX_ATTRIBUTES} attributes"));
        }
        let mut all: Vec<&wire::Attribute> = Vec::new();
        for attribute in &node.attribute {
            if all.iter().any(|other| other.name == attribute.name) {
                return Err(format!("the attribute `{}` is given twice", attribute.name));
            }
            if !attribute.reference.is_empty() {
                return Err(format!(
                    "the attribute `{}` belongs to a function",
                    attribute.name
                ));
            }
            all.push(attribute);
        }
        Ok(Self(all))
    }

    fn take(&mut self, name: &str, kind: i32) -> Result<Option<&'a wire::Attribute>, String> {
        let Some(at) = self.0.iter().position(|attribute| attribute.name == name) else {
            return Ok(None);
        };
        let attribute = self.0.remove(at);
        // Files before IR version 2 leave the kind out.
        if attribute.kind != kind && attribute.kind != 0 {
            return Err(format!("the attribute `{name}` has the wrong type"));
        }
        Ok(Some(attribute))
    }

    /// Whether it is given and not taken.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|attribute| attribute.name == name)
    }

    /// Takes an attribute that has no influence here.
    pub fn skip(&mut self, name: &str) {
        self.0.retain(|attribute| attribute.name != name);
    }

    /// An integer.
    pub fn int(&mut self, name: &str, default: i64) -> Result<i64, String> {
        Ok(self
            .take(name, kind::INT)?
            .map_or(default, |attribute| attribute.i))
    }

    /// A positive integer.
    pub fn count(&mut self, name: &str, default: usize) -> Result<usize, String> {
        let value = self.int(name, default as i64)?;
        match usize::try_from(value) {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(format!(
                "the attribute `{name}` is {value}, which is out of range"
            )),
        }
    }

    /// 0 or 1.
    pub fn flag(&mut self, name: &str, default: bool) -> Result<bool, String> {
        match self.int(name, i64::from(default))? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("the attribute `{name}` is {other} and not 0 or 1")),
        }
    }

    /// An integer of which only some values are supported.
    pub fn only(&mut self, name: &str, supported: &[i64]) -> Result<(), String> {
        let value = self.int(name, supported[0])?;
        if supported.contains(&value) {
            return Ok(());
        }
        Err(format!(
            "the value {value} of the attribute `{name}` is not supported"
        ))
    }

    /// A number.
    pub fn float(&mut self, name: &str, default: f32) -> Result<f32, String> {
        Ok(self
            .take(name, kind::FLOAT)?
            .map_or(default, |attribute| attribute.f))
    }

    /// A text.
    pub fn text(&mut self, name: &str, default: &str) -> Result<String, String> {
        let Some(attribute) = self.take(name, kind::STRING)? else {
            return Ok(default.into());
        };
        String::from_utf8(attribute.s.to_vec())
            .map_err(|_| format!("the attribute `{name}` is no text"))
    }

    /// Integers.
    pub fn ints(&mut self, name: &str) -> Result<Option<Vec<i64>>, String> {
        Ok(self
            .take(name, kind::INTS)?
            .map(|attribute| attribute.ints.clone()))
    }

    /// Numbers.
    pub fn floats(&mut self, name: &str) -> Result<Option<Vec<f32>>, String> {
        Ok(self
            .take(name, kind::FLOATS)?
            .map(|attribute| attribute.floats.clone()))
    }

    /// A tensor.
    pub fn tensor(&mut self, name: &str) -> Result<Option<Host>, String> {
        let Some(attribute) = self.take(name, kind::TENSOR)? else {
            return Ok(None);
        };
        let tensor = attribute.t.as_ref();
        let tensor = tensor.ok_or_else(|| format!("the attribute `{name}` is empty"))?;
        read_tensor(tensor, None).map(Some)
    }

    /// An error when something was not taken.
    pub fn finish(self) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some(attribute) => Err(format!(
                "the attribute `{}` is not supported",
                attribute.name
            )),
        }
    }
}
