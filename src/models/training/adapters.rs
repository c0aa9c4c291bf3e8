//! The matrices that learn, by the layers that they stand beside.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::Tensor;
use burn::tensor::TensorData;

use super::draws::Draws;
use super::recipe::Recipe;
use crate::models::lora::{Layer, Network, Product, Update};
use crate::models::nn::{Adapter, BackKernels, Layers, Learning, Moments};

/// What learns beside one layer.
pub struct Factors<B: BackKernels> {
    /// The layer.
    pub layer: Layer,
    /// The sizes of its weight in the file, `[out, in]` or `[out, in, 1, 1]`.
    pub shape: Vec<usize>,
    /// `[rank, in]`
    pub down: Moments<B>,
    /// `[out, rank]`
    pub up: Moments<B>,
    adapter: Arc<Adapter<B>>,
}

/// Factors as the graph of one pass knows them.
pub type Leaves<B> = [Tensor<Learning<B>, 2>; 2];

impl<B: BackKernels> Factors<B> {
    /// Puts the factors into the layer, so that gradients for them are found. The returned ones are
    /// those to ask for gradients.
    pub fn put(&self) -> Leaves<B> {
        let leaf = |moments: &Moments<B>| {
            Tensor::<Learning<B>, 2>::from_inner(moments.value.clone()).require_grad()
        };
        let leaves = [leaf(&self.down), leaf(&self.up)];
        self.adapter.set(leaves.clone());
        leaves
    }
}

/// Whether a layer learns: all linear ones of the UNet's transformers and of the text encoder's layers
/// (`portrait-pipeline` 6.2).
fn learns(layer: &Layer) -> bool {
    match layer.network {
        Network::Unet => layer.path.contains("attentions."),
        Network::Text => layer.path.contains("encoder.layers."),
    }
}

/// Puts factors beside the layers of a network that learn, in the order of their names: `down` evenly
/// within `1 / sqrt(in)` (Kaiming, as PEFT has it), `up` zero, so that nothing is added at the start.
pub fn adapters_of<B: BackKernels>(
    network: Network,
    layers: &Layers<Learning<B>>,
    recipe: &Recipe,
    device: &B::Device,
) -> Vec<Factors<B>> {
    let draws = Draws::new(recipe.seed);
    let mut found = Vec::new();
    for (path, linear) in layers.linear() {
        let layer = Layer {
            network,
            path: path.to_owned(),
        };
        let Some(shape) = layers.shapes().get(path).filter(|_| learns(&layer)) else {
            continue;
        };
        let (outputs, inputs) = (shape[0], shape[1..].iter().product::<usize>());
        let adapter = Arc::new(Adapter::new(recipe.scale()));
        if linear.adapt(Arc::clone(&adapter)).is_err() {
            continue;
        }
        let number = ((network as u64) << 32) + found.len() as u64;
        let bound = 1.0 / (inputs as f32).sqrt();
        let numbers = draws.start(number, recipe.rank * inputs, bound);
        let down = matrix(numbers, [recipe.rank, inputs], device);
        let up = Tensor::zeros([outputs, recipe.rank], device);
        found.push(Factors {
            layer,
            shape: shape.clone(),
            down: Moments::new(down),
            up: Moments::new(up),
            adapter,
        });
    }
    found
}

/// A matrix of these numbers, by rows.
pub fn matrix<B: BackKernels>(
    numbers: Vec<f32>,
    sizes: [usize; 2],
    device: &B::Device,
) -> Tensor<B, 2> {
    Tensor::from_data(TensorData::new(numbers, sizes), device)
}

/// What has been learned, for each layer. An error names a number that no LoRA file may have.
pub fn updates<B: BackKernels>(
    factors: &[Factors<B>],
    scale: f64,
    numbers: impl Fn(Tensor<B, 2>) -> Result<Vec<f32>, String>,
) -> Result<BTreeMap<Layer, Update>, String> {
    let update = |factors: &Factors<B>| {
        let [rank, _] = factors.down.value.dims();
        let product = Product::LowRank {
            up: numbers(factors.up.value.clone())?,
            down: numbers(factors.down.value.clone())?,
            rank,
        };
        let update = Update::new(&factors.shape, product, scale as f32)?;
        Ok((factors.layer.clone(), update))
    };
    factors.iter().map(update).collect()
}
