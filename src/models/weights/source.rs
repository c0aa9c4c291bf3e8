//! What a network's constructor reads its weights from.
//!
//! A constructor asks for each tensor by its name here and the shape that it needs. What is missing
//! or has another shape is noted and zeros are given, so that one error at the end,
//! [`Source::finish`], lists all that is wrong, together with what the file holds and nobody read.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use super::container::{Container, TensorView};
use super::layout::{Layout, is_harmless};
use super::{WeightsError, shown};

/// Most numbers that are made up in place of missing ones, some more than the UNet of SD 1.x has.
const ZEROS_MAX: usize = 1 << 30;
/// Most names of one list in an error.
const LISTED_MAX: usize = 12;

/// A scope of names of one network in one file, such as all that begin with `down_blocks.0.`.
/// Scopes of the same network share what was read.
#[derive(Clone)]
pub struct Source {
    shared: Rc<Shared>,
    /// Begin of the scope's names; empty, or ends with a dot.
    scope: String,
}

struct Shared {
    container: Arc<Container>,
    layout: Arc<Layout>,
    record: RefCell<Record>,
}

/// What was asked for so far.
#[derive(Default)]
struct Record {
    /// Names of the file that were read.
    used: BTreeSet<String>,
    missing: BTreeSet<String>,
    /// What is wrong, by the file's name.
    wrong: BTreeMap<String, String>,
    /// Scopes whose tensors may stay unread.
    left: Vec<String>,
    zeros: usize,
}

impl Source {
    pub(super) fn new(container: Arc<Container>, layout: Arc<Layout>) -> Self {
        Self {
            shared: Rc::new(Shared {
                container,
                layout,
                record: RefCell::default(),
            }),
            scope: String::new(),
        }
    }

    /// The scope of the module `name` inside of this one.
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        Self {
            shared: Rc::clone(&self.shared),
            scope: format!("{}{name}.", self.scope),
        }
    }

    /// The numbers of a tensor, row-major, in the shape that the network needs.
    ///
    /// A convolution of 1 x 1 and a linear layer are taken for one another. Where the file has no
    /// such tensor it is noted and zeros are given; the error comes from [`Source::finish`], or
    /// from here when more has been made up than any network of this kind needs.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        match self.view(name, shape).and_then(|view| view.to_f32()) {
            Some(numbers) => Ok(numbers),
            None => self.zeros(shape),
        }
    }

    /// The tensor as it stands in the file, without turning its numbers; `None` after noting why.
    pub fn view(&self, name: &str, shape: &[usize]) -> Option<TensorView<'_>> {
        let mut record = self.shared.record.borrow_mut();
        let ours = format!("{}{name}", self.scope);
        let Some(file_name) = self.shared.layout.file_name(&ours) else {
            record.missing.insert(ours);
            return None;
        };
        let Some(view) = self.shared.container.get(&file_name) else {
            record.missing.insert(file_name);
            return None;
        };
        let wrong = if !view.dtype.is_float() {
            Some(format!("its numbers are {}", view.dtype.name()))
        } else if !is_same(shape, view.shape) {
            Some(format!("wanted {shape:?}, the file has {:?}", view.shape))
        } else {
            None
        };
        record.used.insert(file_name.clone());
        if let Some(wrong) = wrong {
            record.wrong.insert(file_name, wrong);
            return None;
        }
        Some(view)
    }

    /// The shape of a tensor in the file; `None` when there is none. Nothing is noted.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let ours = format!("{}{name}", self.scope);
        let file_name = self.shared.layout.file_name(&ours)?;
        let view = self.shared.container.get(&file_name)?;
        Some(view.shape.to_vec())
    }

    /// Lets the tensors of the module `name` stay unread, such as a VAE's encoder.
    pub fn leave(&self, name: &str) {
        let scope = format!("{}{name}.", self.scope);
        self.shared.record.borrow_mut().left.push(scope);
    }

    /// That all tensors were there, in their shapes, and that none was left over.
    pub fn finish(&self) -> Result<(), WeightsError> {
        let record = self.shared.record.borrow();
        let missing = record.missing.iter().map(|name| shown(name));
        let wrong = record.wrong.iter();
        let wrong = wrong.map(|(name, what)| format!("{} ({what})", shown(name)));
        let unused = self.unused(&record);
        let unused = unused.iter().map(|name| shown(name));
        let lists = [
            list("missing", missing.collect()),
            list("of another shape or type", wrong.collect()),
            list("not understood", unused.collect()),
        ];
        let report: Vec<String> = lists.into_iter().flatten().collect();
        if report.is_empty() {
            return Ok(());
        }
        Err(self.mismatch(report.join("; ")))
    }

    /// Tensors of the network that nobody read and that are not known as harmless.
    fn unused(&self, record: &Record) -> Vec<&str> {
        let layout = &self.shared.layout;
        let names = self.shared.container.names();
        let unused = names.filter(|&name| {
            let Some(bare) = name.strip_prefix(&layout.prefix) else {
                return false;
            };
            let is_left = || {
                let ours = layout.our_name(name);
                ours.is_some_and(|ours| record.left.iter().any(|scope| ours.starts_with(scope)))
            };
            !record.used.contains(name) && !is_harmless(layout.network, bare) && !is_left()
        });
        unused.collect()
    }

    fn zeros(&self, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let count = shape
            .iter()
            .try_fold(1_usize, |all, &size| all.checked_mul(size));
        let made = self.shared.record.borrow().zeros;
        let total = count.and_then(|count| made.checked_add(count));
        match (count, total) {
            (Some(count), Some(total)) if total <= ZEROS_MAX => {
                self.shared.record.borrow_mut().zeros = total;
                Ok(vec![0.0; count])
            }
            _ => {
                self.finish()?;
                Err(self.mismatch(format!("a tensor of the shape {shape:?} is asked for")))
            }
        }
    }

    fn mismatch(&self, report: String) -> WeightsError {
        WeightsError::Mismatch {
            file: String::from(self.shared.container.name()),
            network: self.shared.layout.network.to_string(),
            report,
        }
    }
}

/// Whether a tensor of the shape `file` can stand for one of the shape `wanted`.
fn is_same(wanted: &[usize], file: &[usize]) -> bool {
    match (wanted, file) {
        ([a, b], [c, d, 1, 1]) | ([a, b, 1, 1], [c, d]) => a == c && b == d,
        _ => wanted == file,
    }
}

/// `3 tensors are missing: a, b and 1 more`; `None` for an empty list.
fn list(what: &str, mut names: Vec<String>) -> Option<String> {
    let count = names.len();
    let verb = if count == 1 {
        "tensor is"
    } else {
        "tensors are"
    };
    let more = count.saturating_sub(LISTED_MAX);
    names.truncate(LISTED_MAX);
    let mut text = format!("{count} {verb} {what}: {}", names.join(", "));
    if more > 0 {
        text = format!("{text} and {more} more");
    }
    (count > 0).then_some(text)
}
