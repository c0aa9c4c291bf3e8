//! Textual-inversion embeddings: vectors that stand for a name in a prompt.

use std::path::Path;

use crate::models::weights::{Container, WeightsError};

/// The one tensor of the WebUI's files.
const WEBUI_TENSOR: &str = "emb_params";
/// Most vectors of an embedding; a prompt's chunk has room for 75.
const VECTORS_MAX: usize = 1024;
/// Most numbers of a vector: the widest text encoders in use have 4096.
const WIDTH_MAX: usize = 8192;

/// What a prompt's tokens are replaced with.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// How many tokens it takes.
    pub count: usize,
    /// Numbers of a vector; has to be the width of the text encoder.
    pub width: usize,
    /// All vectors, one after the other.
    pub numbers: Vec<f32>,
}

impl Vectors {
    /// Reads a `.safetensors` file as the WebUI writes it (the tensor `emb_params`), or as diffusers
    /// does (one tensor, named by its token). One vector may stand there without its first size.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        Self::read(&Container::open(path)?)
    }

    /// The same from a file that is open.
    pub fn read(container: &Container) -> Result<Self, WeightsError> {
        let refused = |reason: String| WeightsError::Refused {
            file: String::from(container.name()),
            reason,
        };
        let mut names = container.names();
        let only = match (names.next(), names.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        };
        let is_webui = container.get(WEBUI_TENSOR).is_some();
        let Some(name) = (if is_webui { Some(WEBUI_TENSOR) } else { only }) else {
            return Err(refused(String::from(several(container))));
        };
        let Some(view) = container.get(name) else {
            return Err(refused(String::from(several(container))));
        };
        let (count, width) = match *view.shape {
            [width] => (1, width),
            [count, width] => (count, width),
            _ => {
                return Err(refused(String::from(
                    "its tensor is no list of vectors, so it is no embedding; put it into the folder \
                     of its kind",
                )));
            }
        };
        if !(1..=VECTORS_MAX).contains(&count) || !(1..=WIDTH_MAX).contains(&width) {
            return Err(refused(format!(
                "it has {count} vectors of {width} numbers, which is no embedding; at most \
                 {VECTORS_MAX} vectors of {WIDTH_MAX} numbers are read"
            )));
        }
        let numbers = view.to_f32().ok_or_else(|| {
            let dtype = view.dtype.name();
            refused(format!("its numbers are {dtype}, and only floats are read"))
        })?;
        if !numbers.iter().all(|number| number.is_finite()) {
            return Err(refused(String::from(
                "some of its numbers are not finite; its training failed, or the file is damaged",
            )));
        }
        Ok(Self {
            count,
            width,
            numbers,
        })
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> u64 {
        (self.numbers.len() * size_of::<f32>()) as u64
    }
}

/// What a file without or with several tensors is.
fn several(container: &Container) -> &'static str {
    if container.get("clip_g").is_some() {
        "it is an embedding for SDXL; take one that was made for Stable Diffusion 1.x"
    } else {
        "it is no embedding: those have one tensor, named `emb_params` or by its token; put it into \
         the folder of its kind"
    }
}
