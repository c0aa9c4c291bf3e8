//! Files in memory, for the tests of the whole module.

mod reference;
mod refusals;
mod writing;

use std::collections::BTreeMap;

use super::{Layer, Layers, Network, Tensors};

/// Tensors in memory.
#[derive(Debug, Clone, Default)]
struct File {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    metadata: BTreeMap<String, String>,
    config: Option<String>,
}

impl Tensors for File {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|(shape, _)| shape.clone())
    }

    fn values(&self, name: &str) -> Result<Vec<f32>, String> {
        let tensor = self.tensors.get(name);
        tensor
            .map(|(_, values)| values.clone())
            .ok_or_else(|| "it is gone".into())
    }

    fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    fn adapter_config(&self) -> Option<&str> {
        self.config.as_deref()
    }
}

impl File {
    /// With a tensor more, all of whose numbers are 0.5.
    fn with(mut self, name: &str, shape: &[usize]) -> Self {
        let values = vec![0.5; shape.iter().product()];
        self.tensors.insert(name.into(), (shape.to_vec(), values));
        self
    }

    fn with_metadata(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.tensors.remove(name).expect("a name of the file");
        self
    }
}

fn layer(network: Network, path: &str) -> Layer {
    Layer {
        network,
        path: path.into(),
    }
}

/// A linear layer, a convolution of 3x3 and one of 1x1, and a layer of the text encoder.
const TO_Q: &str = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
const CONV: &str = "mid_block.resnets.0.conv1";
const PROJ_IN: &str = "mid_block.attentions.0.proj_in";
const Q_PROJ: &str = "text_model.encoder.layers.0.self_attn.q_proj";

fn known() -> Layers {
    let layers = [
        (layer(Network::Unet, TO_Q), vec![4, 6]),
        (layer(Network::Unet, CONV), vec![4, 6, 3, 3]),
        (layer(Network::Unet, PROJ_IN), vec![4, 6, 1, 1]),
        (layer(Network::Text, Q_PROJ), vec![4, 6]),
    ];
    Layers::new(layers, 2).unwrap()
}
