//! What both halves of the autoencoder consist of.

use crate::models::nn::{Builder, GroupNorm, Kernels, Linear, Maps, maps_of, tokens_of};
use crate::models::unet::resnet::{Resnet, ResnetSizes};
use crate::models::weights::{VaeConfig, WeightsError};

/// A residual block from one number of channels to another.
pub(super) fn resnet<B: Kernels>(
    builder: &Builder<'_, B>,
    config: &VaeConfig,
    inputs: usize,
    outputs: usize,
) -> Result<Resnet<B>, WeightsError> {
    let sizes = ResnetSizes {
        inputs,
        outputs,
        time: None,
        groups: config.norm_num_groups,
        epsilon: VaeConfig::NORM_EPS,
    };
    Resnet::new(builder, sizes)
}

/// Pixels that attend to each other, with one head.
#[derive(Clone)]
pub(super) struct Attention<B: Kernels> {
    norm: GroupNorm<B>,
    query: Linear<B>,
    key: Linear<B>,
    value: Linear<B>,
    output: Linear<B>,
}

impl<B: Kernels> Attention<B> {
    pub(super) fn new(
        builder: &Builder<'_, B>,
        channels: usize,
        groups: usize,
    ) -> Result<Self, WeightsError> {
        let linear = |name| builder.linear(name, channels, channels);
        Ok(Self {
            norm: builder.group_norm("group_norm", channels, groups, VaeConfig::NORM_EPS)?,
            query: linear("to_q")?,
            key: linear("to_k")?,
            value: linear("to_v")?,
            output: linear("to_out.0")?,
        })
    }

    pub(super) fn forward(&self, input: Maps<B>) -> Maps<B> {
        let [_, height, width, _] = input.dims();
        let normal = tokens_of(self.norm.forward(input.clone()));
        let query = self.query.forward(normal.clone());
        let key = self.key.forward(normal.clone());
        let value = self.value.forward(normal);
        let found = B::attend(query, key, value, 1, false);
        maps_of(self.output.add_to(tokens_of(input), found), height, width)
    }
}

/// Two residual blocks around attention.
#[derive(Clone)]
pub struct Middle<B: Kernels> {
    first: Resnet<B>,
    attention: Attention<B>,
    second: Resnet<B>,
}

impl<B: Kernels> Middle<B> {
    /// Reads it.
    pub fn new(
        builder: &Builder<'_, B>,
        config: &VaeConfig,
        channels: usize,
    ) -> Result<Self, WeightsError> {
        let resnet = |name| resnet(&builder.at(name), config, channels, channels);
        let groups = config.norm_num_groups;
        Ok(Self {
            first: resnet("resnets.0")?,
            attention: Attention::new(&builder.at("attentions.0"), channels, groups)?,
            second: resnet("resnets.1")?,
        })
    }

    /// `[b, h, w, c]` to the same.
    pub fn forward(&self, input: Maps<B>) -> Maps<B> {
        let hidden = self.attention.forward(self.first.forward(input, None));
        self.second.forward(hidden, None)
    }
}
