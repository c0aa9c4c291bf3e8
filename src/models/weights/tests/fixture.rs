//! Reads `layouts.txt`; `tests/reference/layouts.py` says how it is laid out.

use serde_json::{Map, Value};

use super::super::config::Fields;
use super::Named;

const TEXT: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/reference/fixtures/layouts.txt"
));

/// One network by both spellings.
pub(super) struct Section {
    pub(super) config: Map<String, Value>,
    pub(super) tensors: Vec<Pair>,
}

/// A tensor's name as diffusers has it, as the original code has it, and its shape there.
pub(super) struct Pair {
    pub(super) ours: String,
    pub(super) ldm: String,
    pub(super) shape: Vec<usize>,
}

impl Section {
    pub(super) fn fields(&self) -> Fields {
        Fields::new(self.config.clone())
    }

    /// The names of the original code.
    pub(super) fn ldm(&self) -> Vec<Named> {
        let pairs = self.tensors.iter();
        pairs
            .map(|pair| (pair.ldm.clone(), pair.shape.clone()))
            .collect()
    }

    /// The names of diffusers.
    pub(super) fn ours(&self) -> Vec<Named> {
        let pairs = self.tensors.iter();
        pairs
            .map(|pair| (pair.ours.clone(), pair.shape.clone()))
            .collect()
    }
}

/// A network (`unet`, `vae`, `text`, `control_net`) of a model (`sd15`, `odd`).
pub(super) fn section(model: &str, network: &str) -> Section {
    let head = format!("= {model} {network} ");
    let mut lines = TEXT.lines().skip_while(|line| !line.starts_with(&head));
    let config = &lines.next().expect("the fixture has this network")[head.len()..];
    let mut tensors: Vec<Pair> = Vec::new();
    for line in lines.take_while(|line| !line.starts_with("= ")) {
        let parts: Vec<&str> = line.split('\t').collect();
        let last = tensors.last();
        let joined = |count: &str, rest: &str, last: Option<&String>| {
            let begin = last.map_or("", |last| &last[..count.parse().unwrap()]);
            format!("{begin}{rest}")
        };
        let pair = Pair {
            ours: joined(parts[0], parts[1], last.map(|last| &last.ours)),
            ldm: joined(parts[2], parts[3], last.map(|last| &last.ldm)),
            shape: parts[4]
                .split('x')
                .map(|size| size.parse().unwrap())
                .collect(),
        };
        tensors.push(pair);
    }
    Section {
        config: serde_json::from_str(config).unwrap(),
        tensors,
    }
}
