//! The first half of the UNet, which a ControlNet has too: from a noisy latent down to the middle.

use burn::Tensor;

use super::resnet::{Resnet, ResnetSizes};
use super::time::TimeEmbedding;
use super::transformer::{Transformer, TransformerSizes};
use crate::models::nn::{Builder, Conv, Kernels, Maps, Tokens, Window};
use crate::models::weights::{UnetConfig, WeightsError};

/// Length of the embedding of the time step.
pub(super) fn time_length(config: &UnetConfig) -> usize {
    4 * config.block_out_channels[0]
}

/// Channels of what the way down leaves, in the order of [`Encoded::skips`].
pub fn skip_widths(config: &UnetConfig) -> Vec<usize> {
    let channels = &config.block_out_channels;
    let mut widths = vec![channels[0]];
    for (level, &width) in channels.iter().enumerate() {
        let halved = usize::from(level + 1 < channels.len());
        widths.extend(std::iter::repeat_n(width, config.layers_per_block + halved));
    }
    widths
}

/// Sizes of a residual block at a level, from one number of channels to another.
pub(super) fn resnet_sizes(config: &UnetConfig, inputs: usize, outputs: usize) -> ResnetSizes {
    ResnetSizes {
        inputs,
        outputs,
        time: Some(time_length(config)),
        groups: config.norm_num_groups,
        epsilon: config.norm_eps,
    }
}

/// Sizes of a transformer at a level.
pub(super) fn transformer_sizes(config: &UnetConfig, level: usize) -> TransformerSizes {
    TransformerSizes {
        channels: config.block_out_channels[level],
        context: config.cross_attention_dim,
        heads: config.heads[level],
        groups: config.norm_num_groups,
    }
}

/// One level: residual blocks, each with a transformer where the level has them, and a halving.
#[derive(Clone)]
struct Level<B: Kernels> {
    resnets: Vec<Resnet<B>>,
    transformers: Vec<Transformer<B>>,
    halve: Option<Conv<B>>,
}

impl<B: Kernels> Level<B> {
    fn new(
        builder: &Builder<'_, B>,
        config: &UnetConfig,
        level: usize,
    ) -> Result<Self, WeightsError> {
        let channels = config.block_out_channels[level];
        let before = config.block_out_channels[level.saturating_sub(1)];
        let resnet = |index: usize| {
            let inputs = if index == 0 { before } else { channels };
            let sizes = resnet_sizes(config, inputs, channels);
            Resnet::new(&builder.at(&format!("resnets.{index}")), sizes)
        };
        let transformer = |index: usize| {
            let builder = builder.at(&format!("attentions.{index}"));
            Transformer::new(&builder, transformer_sizes(config, level))
        };
        let count = config.layers_per_block;
        let with_transformers = if config.attention[level] { count } else { 0 };
        let is_last = level + 1 == config.block_out_channels.len();
        let halve = (!is_last)
            .then(|| builder.conv("downsamplers.0.conv", channels, channels, Window::halving()));
        Ok(Self {
            resnets: (0..count).map(resnet).collect::<Result<_, _>>()?,
            transformers: (0..with_transformers)
                .map(transformer)
                .collect::<Result<_, _>>()?,
            halve: halve.transpose()?,
        })
    }
}

/// Two residual blocks around a transformer.
#[derive(Clone)]
struct Middle<B: Kernels> {
    first: Resnet<B>,
    transformer: Transformer<B>,
    second: Resnet<B>,
}

/// What the way down leaves: the maps that the way up takes in again, and the middle.
pub struct Encoded<B: Kernels> {
    /// `[b, h, w, c]` after the first convolution, after each residual block with its transformer,
    /// and after each halving.
    pub skips: Vec<Maps<B>>,
    /// `[b, h, w, c]` after the middle.
    pub middle: Maps<B>,
}

impl<B: Kernels> Encoded<B> {
    /// Adds what ControlNets say. There must be one of theirs for each of these.
    pub fn add(&mut self, other: Encoded<B>) {
        debug_assert_eq!(self.skips.len(), other.skips.len());
        for (skip, other) in self.skips.iter_mut().zip(other.skips) {
            *skip = skip.clone() + other;
        }
        self.middle = self.middle.clone() + other.middle;
    }
}

/// The way down.
#[derive(Clone)]
pub struct Encoder<B: Kernels> {
    time: TimeEmbedding<B>,
    enter: Conv<B>,
    levels: Vec<Level<B>>,
    middle: Middle<B>,
}

impl<B: Kernels> Encoder<B> {
    /// Reads it.
    pub fn new(builder: &Builder<'_, B>, config: &UnetConfig) -> Result<Self, WeightsError> {
        let level = |index: usize| {
            let builder = builder.at(&format!("down_blocks.{index}"));
            Level::new(&builder, config, index)
        };
        let last = config.block_out_channels.len() - 1;
        let width = config.block_out_channels[last];
        let middle = |name: &str| {
            let builder = builder.at("mid_block").at(name);
            Resnet::new(&builder, resnet_sizes(config, width, width))
        };
        let transformer = Transformer::new(
            &builder.at("mid_block.attentions.0"),
            transformer_sizes(config, last),
        )?;
        Ok(Self {
            time: TimeEmbedding::new(&builder.at("time_embedding"), config)?,
            enter: builder.conv(
                "conv_in",
                config.in_channels,
                config.block_out_channels[0],
                Window::same(3),
            )?,
            levels: (0..config.block_out_channels.len())
                .map(level)
                .collect::<Result<_, _>>()?,
            middle: Middle {
                first: middle("resnets.0")?,
                transformer,
                second: middle("resnets.1")?,
            },
        })
    }

    /// The embedding of a time step for each picture of the batch, after SiLU: `[b, time]`.
    pub fn embed_time(&self, times: &[f64], device: &B::Device) -> Tensor<B, 2> {
        self.time.forward(times, device)
    }

    /// `latent` `[b, h, w, in_channels]`; `hint`, of the size of the first convolution's output, is
    /// added to it; `text` is `[b, t, context]`.
    pub fn forward(
        &self,
        latent: Maps<B>,
        hint: Option<Maps<B>>,
        time: &Tensor<B, 2>,
        text: &Tokens<B>,
    ) -> Encoded<B> {
        let mut hidden = match hint {
            Some(hint) => self.enter.add_to(hint, latent),
            None => self.enter.forward(latent),
        };
        let mut skips = vec![hidden.clone()];
        for level in &self.levels {
            for (index, resnet) in level.resnets.iter().enumerate() {
                hidden = resnet.forward(hidden, Some(time));
                if let Some(transformer) = level.transformers.get(index) {
                    hidden = transformer.forward(hidden, text);
                }
                skips.push(hidden.clone());
            }
            if let Some(halve) = &level.halve {
                hidden = halve.forward(hidden);
                skips.push(hidden.clone());
            }
        }
        let hidden = self.middle.first.forward(hidden, Some(time));
        let hidden = self.middle.transformer.forward(hidden, text);
        let middle = self.middle.second.forward(hidden, Some(time));
        Encoded { skips, middle }
    }
}
