//! Makes the layers of a network from named weights.
//!
//! A network is built from its source once; its layers are kept by name. A variant of it, with LoRAs
//! merged in, is built by the same code: layers that a LoRA touches are made anew from the source,
//! all others are shared with the first one. So merging never changes a base, and taking a LoRA out
//! again is exact: the variant is dropped.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use burn::Tensor;
use burn::tensor::{DType, TensorData};

use super::{Conv, GroupNorm, Kernels, LayerNorm, Linear, Norm, Window};
use crate::models::weights::{Source, WeightsError};

/// What weights and activations are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32 bits.
    Full,
    /// 16 bits with the range of 32: for GPUs from Ampere on.
    Bfloat16,
    /// 16 bits, for older GPUs.
    Float16,
}

impl Precision {
    /// The same for Burn.
    pub fn dtype(self) -> DType {
        match self {
            Self::Full => DType::F32,
            Self::Bfloat16 => DType::BF16,
            Self::Float16 => DType::F16,
        }
    }
}

/// What is added to the weights of some layers.
pub trait Updates<B: Kernels> {
    /// What is added to a layer's weight, as a matrix `[outputs, all others]` of 32-bit floats;
    /// none where nothing is.
    fn delta(&self, path: &str, device: &B::Device) -> Option<Tensor<B, 2>>;
}

/// A layer that is kept.
enum Layer<B: Kernels> {
    Linear(Linear<B>),
    Conv(Conv<B>),
    GroupNorm(GroupNorm<B>),
    LayerNorm(LayerNorm<B>),
    Table(Tensor<B, 2>),
}

/// Where a network runs, and in which precision.
#[derive(Clone, Debug)]
pub struct Place<B: Kernels> {
    /// The device.
    pub device: B::Device,
    /// What its weights and activations are kept in.
    pub precision: Precision,
}

/// The layers of a network, by their names.
pub struct Layers<B: Kernels> {
    place: Place<B>,
    by_name: BTreeMap<String, Layer<B>>,
    /// Sizes of the weights of linear layers and convolutions, as the file has them.
    shapes: BTreeMap<String, Vec<usize>>,
}

impl<B: Kernels> Layers<B> {
    /// Builds a network, and keeps its layers.
    ///
    /// The error lists all that is missing, misshapen or left over in the source.
    pub fn load<N>(
        source: &Source,
        place: Place<B>,
        build: impl FnOnce(&Builder<'_, B>) -> Result<N, WeightsError>,
    ) -> Result<(N, Self), WeightsError> {
        let shared = Shared {
            source,
            place: &place,
            base: None,
            made: RefCell::default(),
            shapes: RefCell::default(),
        };
        let network = build(&Builder {
            shared: &shared,
            path: String::new(),
        })?;
        source.finish()?;
        let (by_name, shapes) = (shared.made.into_inner(), shared.shapes.into_inner());
        let layers = Self {
            place,
            by_name,
            shapes,
        };
        Ok((network, layers))
    }

    /// Builds a variant of the network from the same source, with updates of some layers.
    pub fn updated<N>(
        &self,
        source: &Source,
        updates: &dyn Updates<B>,
        build: impl FnOnce(&Builder<'_, B>) -> Result<N, WeightsError>,
    ) -> Result<N, WeightsError> {
        let shared = Shared {
            source,
            place: &self.place,
            base: Some((self, updates)),
            made: RefCell::default(),
            shapes: RefCell::default(),
        };
        build(&Builder {
            shared: &shared,
            path: String::new(),
        })
    }

    /// The linear layers, by their names.
    pub fn linear(&self) -> impl Iterator<Item = (&str, &Linear<B>)> {
        self.by_name.iter().filter_map(|(path, layer)| match layer {
            Layer::Linear(linear) => Some((path.as_str(), linear)),
            _ => None,
        })
    }

    /// Names and weights' sizes of all linear layers and convolutions.
    pub fn shapes(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.shapes
    }
}

struct Shared<'a, B: Kernels> {
    source: &'a Source,
    place: &'a Place<B>,
    base: Option<(&'a Layers<B>, &'a dyn Updates<B>)>,
    made: RefCell<BTreeMap<String, Layer<B>>>,
    shapes: RefCell<BTreeMap<String, Vec<usize>>>,
}

/// Makes layers whose names begin with a path.
pub struct Builder<'a, B: Kernels> {
    shared: &'a Shared<'a, B>,
    path: String,
}

impl<B: Kernels> Builder<'_, B> {
    /// The part below a name.
    #[must_use]
    pub fn at(&self, name: &str) -> Self {
        Self {
            shared: self.shared,
            path: self.name(name),
        }
    }

    /// What activations are kept in.
    pub fn dtype(&self) -> DType {
        self.shared.place.precision.dtype()
    }

    /// A linear layer with a bias.
    pub fn linear(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear<B>, WeightsError> {
        self.matrix(name, inputs, outputs, true)
    }

    /// A linear layer without a bias.
    pub fn linear_only(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear<B>, WeightsError> {
        self.matrix(name, inputs, outputs, false)
    }

    /// A convolution with a bias.
    pub fn conv(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
        window: Window,
    ) -> Result<Conv<B>, WeightsError> {
        self.filter(name, inputs, outputs, window, true)
    }

    /// A convolution without a bias.
    pub fn conv_only(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
        window: Window,
    ) -> Result<Conv<B>, WeightsError> {
        self.filter(name, inputs, outputs, window, false)
    }

    /// A norm over groups of channels.
    pub fn group_norm(
        &self,
        name: &str,
        channels: usize,
        groups: usize,
        epsilon: f64,
    ) -> Result<GroupNorm<B>, WeightsError> {
        let path = self.name(name);
        if let Some(Layer::GroupNorm(norm)) = self.kept(&path) {
            return Ok(norm.clone());
        }
        let norm = GroupNorm {
            norm: self.norm(&path, channels, epsilon)?,
            groups,
        };
        self.keep(path, Layer::GroupNorm(norm.clone()));
        Ok(norm)
    }

    /// A norm of each token.
    pub fn layer_norm(
        &self,
        name: &str,
        channels: usize,
        epsilon: f64,
    ) -> Result<LayerNorm<B>, WeightsError> {
        let path = self.name(name);
        if let Some(Layer::LayerNorm(norm)) = self.kept(&path) {
            return Ok(norm.clone());
        }
        let norm = LayerNorm(self.norm(&path, channels, epsilon)?);
        self.keep(path, Layer::LayerNorm(norm.clone()));
        Ok(norm)
    }

    /// A table of vectors; its name is that of the tensor.
    pub fn table(&self, name: &str, sizes: [usize; 2]) -> Result<Tensor<B, 2>, WeightsError> {
        let path = self.name(name);
        if let Some(Layer::Table(table)) = self.kept(&path) {
            return Ok(table.clone());
        }
        let table = self.tensor(&path, sizes)?.cast(self.dtype());
        self.keep(path, Layer::Table(table.clone()));
        Ok(table)
    }

    fn matrix(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
        with_bias: bool,
    ) -> Result<Linear<B>, WeightsError> {
        let path = self.name(name);
        let delta = self.delta(&path);
        if let (None, Some(Layer::Linear(linear))) = (&delta, self.kept(&path)) {
            return Ok(linear.clone());
        }
        let mut weight: Tensor<B, 2> = self.tensor(&format!("{path}.weight"), [outputs, inputs])?;
        if let Some(delta) = delta {
            weight = weight + delta;
        }
        let bias = with_bias.then(|| self.bias(&path, outputs)).transpose()?;
        let linear = Linear(Arc::new(B::matrix(weight.cast(self.dtype()), bias)));
        self.record(&path);
        self.keep(path, Layer::Linear(linear.clone()));
        Ok(linear)
    }

    fn filter(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
        window: Window,
        with_bias: bool,
    ) -> Result<Conv<B>, WeightsError> {
        let path = self.name(name);
        let delta = self.delta(&path);
        if let (None, Some(Layer::Conv(conv))) = (&delta, self.kept(&path)) {
            return Ok(conv.clone());
        }
        let sizes = [outputs, inputs, window.kernel, window.kernel];
        let mut weight: Tensor<B, 4> = self.tensor(&format!("{path}.weight"), sizes)?;
        if let Some(delta) = delta {
            weight = weight + delta.reshape(sizes);
        }
        let bias = if with_bias {
            self.bias(&path, outputs)?
        } else {
            Tensor::<B, 1>::zeros([outputs], &self.shared.place.device).cast(self.dtype())
        };
        let conv = Conv(Arc::new(B::filter(weight.cast(self.dtype()), bias, window)));
        self.record(&path);
        self.keep(path, Layer::Conv(conv.clone()));
        Ok(conv)
    }

    fn norm(&self, path: &str, channels: usize, epsilon: f64) -> Result<Norm<B>, WeightsError> {
        Ok(Norm {
            scale: self.tensor(&format!("{path}.weight"), [channels])?,
            shift: self.tensor(&format!("{path}.bias"), [channels])?,
            epsilon,
        })
    }

    fn bias(&self, path: &str, outputs: usize) -> Result<Tensor<B, 1>, WeightsError> {
        let bias = self.tensor(&format!("{path}.bias"), [outputs])?;
        Ok(bias.cast(self.dtype()))
    }

    /// A tensor of the source in 32-bit floats.
    fn tensor<const D: usize>(
        &self,
        name: &str,
        sizes: [usize; D],
    ) -> Result<Tensor<B, D>, WeightsError> {
        let numbers = self.shared.source.tensor(name, &sizes)?;
        let data = TensorData::new(numbers, sizes);
        Ok(Tensor::from_data(data, &self.shared.place.device))
    }

    fn delta(&self, path: &str) -> Option<Tensor<B, 2>> {
        let (_, updates) = self.shared.base?;
        updates.delta(path, &self.shared.place.device)
    }

    /// The layer of the base.
    fn kept(&self, path: &str) -> Option<&Layer<B>> {
        let (base, _) = self.shared.base?;
        base.by_name.get(path)
    }

    /// Keeps a layer; a variant's are not kept, nobody builds on them.
    fn keep(&self, path: String, layer: Layer<B>) {
        if self.shared.base.is_none() {
            self.shared.made.borrow_mut().insert(path, layer);
        }
    }

    fn record(&self, path: &str) {
        if self.shared.base.is_none()
            && let Some(shape) = self.shared.source.shape(&format!("{path}.weight"))
        {
            let mut shapes = self.shared.shapes.borrow_mut();
            shapes.insert(path.to_owned(), shape);
        }
    }

    fn name(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}
