//! Which name of a tensor, as this program has it, is which name in a file.
//!
//! The names of this program are those of diffusers. A layout is a table of modules: the longest
//! begin of a name that is in the table is replaced, the rest stays. Both directions use the same
//! table, so what a file holds and nobody reads can be told from what has another name.

mod diffusers;
pub(super) mod ldm;
mod unused;

use std::collections::HashMap;
use std::fmt;

pub(super) use diffusers::TaesdNames;
pub(super) use unused::is_harmless;

/// What a set of weights is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    Unet,
    Vae,
    Text,
    ControlNet,
    Taesd,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unet => "UNet",
            Self::Vae => "VAE",
            Self::Text => "text encoder",
            Self::ControlNet => "ControlNet",
            Self::Taesd => "small VAE (TAESD)",
        })
    }
}

/// The names of one network in one kind of file.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) network: Network,
    /// What all names of the network begin with in the file; its other tensors are not looked at.
    pub(super) prefix: String,
    to_file: HashMap<String, String>,
    to_ours: HashMap<String, String>,
    /// Whether a name that is not in the table is the same in both.
    rest_is_equal: bool,
}

impl Layout {
    /// The layout with pairs of a module's name here and in the file, the latter without `prefix`.
    fn new(network: Network, prefix: &str, table: Vec<(String, String)>, rest: bool) -> Self {
        let to_ours = table
            .iter()
            .map(|(ours, file)| (file.clone(), ours.clone()));
        Self {
            network,
            prefix: String::from(prefix),
            to_ours: to_ours.collect(),
            to_file: table.into_iter().collect(),
            rest_is_equal: rest,
        }
    }

    /// The file's name of a tensor; `None` when such files have no place for it.
    pub(super) fn file_name(&self, name: &str) -> Option<String> {
        let name = replace(&self.to_file, name, self.rest_is_equal)?;
        Some(format!("{}{name}", self.prefix))
    }

    /// The name here of a file's tensor; `None` when it is not of this network.
    pub(super) fn our_name(&self, file_name: &str) -> Option<String> {
        let name = file_name.strip_prefix(&self.prefix)?;
        replace(&self.to_ours, name, self.rest_is_equal)
    }
}

/// Replaces the longest begin of a dotted name that is in the table.
fn replace(table: &HashMap<String, String>, name: &str, rest_is_equal: bool) -> Option<String> {
    let mut begin = name;
    loop {
        if let Some(other) = table.get(begin) {
            return Some(format!("{other}{}", &name[begin.len()..]));
        }
        match begin.rsplit_once('.') {
            Some((shorter, _)) => begin = shorter,
            None => return rest_is_equal.then(|| String::from(name)),
        }
    }
}

/// Pairs of a name here and a name in the file.
#[derive(Default)]
struct Table(Vec<(String, String)>);

impl Table {
    fn add(&mut self, ours: impl Into<String>, file: impl Into<String>) {
        self.0.push((ours.into(), file.into()));
    }

    /// Pairs of parts of two modules.
    fn add_parts(&mut self, ours: &str, file: &str, parts: &[(&str, &str)]) {
        for (our_part, file_part) in parts {
            self.add(format!("{ours}.{our_part}"), format!("{file}.{file_part}"));
        }
    }
}
