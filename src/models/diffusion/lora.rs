//! LoRAs of a checkpoint: their updates, weighted, on the device.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::Tensor;
use burn::tensor::TensorData;

use super::DiffusionError;
use crate::models::lora::{self, Layer, Layers, Network, Product, Update};
use crate::models::nn::{Kernels, Updates};
use crate::models::weights::Container;

/// A LoRA and how much of it is taken.
#[derive(Debug)]
pub struct LoraUse<L = Container> {
    /// Its file.
    pub file: Arc<L>,
    /// Its name, for messages.
    pub name: String,
    /// Weight in the text encoder.
    pub text_weight: f64,
    /// Weight in the UNet.
    pub unet_weight: f64,
}

/// The tensors of a file, as the reader of LoRAs wants them.
struct File<'a>(&'a Container);

impl lora::Tensors for File<'_> {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.names()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.0.get(name)?.shape.to_vec())
    }

    fn values(&self, name: &str) -> Result<Vec<f32>, String> {
        let view = self.0.get(name).ok_or("it is not in the file")?;
        view.to_f32()
            .ok_or_else(|| format!("its numbers are {}", view.dtype.name()))
    }

    fn metadata(&self) -> &BTreeMap<String, String> {
        self.0.metadata()
    }
}

/// Updates of both networks, from some LoRAs.
pub(super) struct Merges(Vec<(BTreeMap<Layer, Update>, f64, f64)>);

impl Merges {
    /// Reads the files.
    pub(super) fn read(uses: &[LoraUse], known: &Layers) -> Result<Self, DiffusionError> {
        let read = |one: &LoraUse| {
            let lora =
                lora::read(&File(&one.file), known).map_err(|error| DiffusionError::Lora {
                    name: one.name.clone(),
                    reason: error.to_string(),
                })?;
            Ok((lora.updates, one.text_weight, one.unet_weight))
        };
        Ok(Self(
            uses.iter()
                .map(read)
                .collect::<Result<_, DiffusionError>>()?,
        ))
    }

    /// Those of one network.
    pub(super) fn of(&self, network: Network) -> OfNetwork<'_> {
        OfNetwork {
            merges: self,
            network,
        }
    }
}

/// The updates of one network.
pub(super) struct OfNetwork<'a> {
    merges: &'a Merges,
    network: Network,
}

impl<B: Kernels> Updates<B> for OfNetwork<'_> {
    fn delta(&self, path: &str, device: &B::Device) -> Option<Tensor<B, 2>> {
        let layer = Layer {
            network: self.network,
            path: path.to_owned(),
        };
        let deltas = self
            .merges
            .0
            .iter()
            .filter_map(|(updates, text_weight, unet_weight)| {
                let weight = match self.network {
                    Network::Text => *text_weight,
                    Network::Unet => *unet_weight,
                };
                let update = updates.get(&layer).filter(|_| weight != 0.0)?;
                Some(product(update, device) * (weight * f64::from(update.scale())))
            });
        deltas.reduce(|sum, delta| sum + delta)
    }
}

/// What an update adds to a weight, unscaled: `[outputs, all others]`.
fn product<B: Kernels>(update: &Update, device: &B::Device) -> Tensor<B, 2> {
    let outputs = update.shape()[0];
    let others = update.shape()[1..].iter().product();
    let matrix = |numbers: &[f32], sizes: [usize; 2]| -> Tensor<B, 2> {
        Tensor::from_data(TensorData::new(numbers.to_vec(), sizes), device)
    };
    match update.factors() {
        Product::LowRank { up, down, rank } => {
            matrix(up, [outputs, *rank]).matmul(matrix(down, [*rank, others]))
        }
        Product::Hadamard {
            w1a,
            w1b,
            w2a,
            w2b,
            rank,
        } => {
            let first = matrix(w1a, [outputs, *rank]).matmul(matrix(w1b, [*rank, others]));
            let second = matrix(w2a, [outputs, *rank]).matmul(matrix(w2b, [*rank, others]));
            first * second
        }
    }
}
