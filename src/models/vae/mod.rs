//! The autoencoder of Stable Diffusion: pictures to latents of an eighth of their size and back.
//!
//! Pictures are `[batch, height, width, 3]` with values from -1 to 1. Latents are
//! `[batch, height, width, channels]` in the scale of the UNet.

mod blocks;
#[cfg(test)]
mod tests;
mod tiles;

pub use tiles::{TileError, Tiling, decode_tiled, encode_tiled};

use self::blocks::{Middle, resnet};
use crate::models::nn::{Builder, Conv, GroupNorm, Kernels, Maps, Window};
use crate::models::unet::resnet::Resnet;
use crate::models::weights::{VaeConfig, WeightsError};

/// One level of residual blocks, and a halving or doubling after them.
#[derive(Clone)]
struct Level<B: Kernels> {
    resnets: Vec<Resnet<B>>,
    resize: Option<Conv<B>>,
}

/// Pictures to latents.
#[derive(Clone)]
pub struct Encoder<B: Kernels> {
    enter: Conv<B>,
    levels: Vec<Level<B>>,
    middle: Middle<B>,
    norm: GroupNorm<B>,
    leave: Conv<B>,
    moments: Conv<B>,
    scale: f64,
}

/// What the encoder says of a picture: a normal distribution for each number of its latent.
pub struct Posterior<B: Kernels> {
    /// `[b, h, w, c]`
    pub mean: Maps<B>,
    /// Logarithm of the variance, `[b, h, w, c]`.
    pub log_variance: Maps<B>,
    scale: f64,
}

impl<B: Kernels> Posterior<B> {
    /// The most probable latent, in the scale of the UNet.
    pub fn mode(&self) -> Maps<B> {
        self.mean.clone() * self.scale
    }

    /// How far latents lie around it, in the scale of the UNet: a standard deviation for each number.
    pub fn deviation(&self) -> Maps<B> {
        (self.log_variance.clone() * 0.5).exp() * self.scale
    }

    /// The latent that normal noise `[b, h, w, c]` chooses, in the scale of the UNet.
    pub fn sample(&self, noise: Maps<B>) -> Maps<B> {
        self.mode() + self.deviation() * noise
    }
}

/// The logarithm of the variance is kept within these (`DiagonalGaussianDistribution` of diffusers).
const LOG_VARIANCE: [f64; 2] = [-30.0, 20.0];

impl<B: Kernels> Encoder<B> {
    /// Reads it.
    pub fn new(builder: &Builder<'_, B>, config: &VaeConfig) -> Result<Self, WeightsError> {
        let part = builder.at("encoder");
        let widths = &config.block_out_channels;
        let last = widths.len() - 1;
        let level = |index: usize| {
            let part = part.at(&format!("down_blocks.{index}"));
            let width = widths[index];
            let block = |count: usize| {
                let first = count == 0 && index > 0;
                let inputs = if first { widths[index - 1] } else { width };
                resnet(&part.at(&format!("resnets.{count}")), config, inputs, width)
            };
            let resize = (index < last)
                .then(|| part.conv("downsamplers.0.conv", width, width, Window::halving_after()));
            Ok(Level {
                resnets: (0..config.layers_per_block)
                    .map(block)
                    .collect::<Result<_, _>>()?,
                resize: resize.transpose()?,
            })
        };
        let moments = 2 * config.latent_channels;
        Ok(Self {
            enter: part.conv("conv_in", config.in_channels, widths[0], Window::same(3))?,
            levels: (0..widths.len())
                .map(level)
                .collect::<Result<_, WeightsError>>()?,
            middle: Middle::new(&part.at("mid_block"), config, widths[last])?,
            norm: part.group_norm(
                "conv_norm_out",
                widths[last],
                config.norm_num_groups,
                VaeConfig::NORM_EPS,
            )?,
            leave: part.conv("conv_out", widths[last], moments, Window::same(3))?,
            moments: builder.conv("quant_conv", moments, moments, Window::same(1))?,
            scale: config.scaling_factor,
        })
    }

    /// How many times larger a picture is than its latent: each level but the last halves it.
    fn factor(&self) -> usize {
        1 << (self.levels.len() - 1)
    }

    /// Pictures `[b, h, w, 3]` to what their latents may be.
    pub fn forward(&self, pictures: Maps<B>) -> Posterior<B> {
        let moments = self.moments_of(pictures);
        self.posterior(moments)
    }

    /// Means and logarithms of variances beside each other: `[b, h / 8, w / 8, 2 c]`.
    fn moments_of(&self, pictures: Maps<B>) -> Maps<B> {
        let mut hidden = self.enter.forward(pictures);
        for level in &self.levels {
            for resnet in &level.resnets {
                hidden = resnet.forward(hidden, None);
            }
            if let Some(halve) = &level.resize {
                hidden = halve.forward(hidden);
            }
        }
        let hidden = self.middle.forward(hidden);
        let moments = self.leave.forward(self.norm.forward_silu(hidden));
        self.moments.forward(moments)
    }

    fn posterior(&self, moments: Maps<B>) -> Posterior<B> {
        let [.., both] = moments.dims();
        let [low, high] = LOG_VARIANCE;
        Posterior {
            mean: moments.clone().narrow(3, 0, both / 2),
            log_variance: moments.narrow(3, both / 2, both / 2).clamp(low, high),
            scale: self.scale,
        }
    }
}

/// Latents to pictures.
#[derive(Clone)]
pub struct Decoder<B: Kernels> {
    latents: Conv<B>,
    enter: Conv<B>,
    middle: Middle<B>,
    levels: Vec<Level<B>>,
    norm: GroupNorm<B>,
    leave: Conv<B>,
    scale: f64,
}

impl<B: Kernels> Decoder<B> {
    /// Reads it.
    pub fn new(builder: &Builder<'_, B>, config: &VaeConfig) -> Result<Self, WeightsError> {
        let part = builder.at("decoder");
        let widths: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
        let last = widths.len() - 1;
        let level = |index: usize| {
            let part = part.at(&format!("up_blocks.{index}"));
            let width = widths[index];
            let block = |count: usize| {
                let first = count == 0 && index > 0;
                let inputs = if first { widths[index - 1] } else { width };
                resnet(&part.at(&format!("resnets.{count}")), config, inputs, width)
            };
            let resize = (index < last)
                .then(|| part.conv("upsamplers.0.conv", width, width, Window::same(3)));
            Ok(Level {
                resnets: (0..=config.layers_per_block)
                    .map(block)
                    .collect::<Result<_, _>>()?,
                resize: resize.transpose()?,
            })
        };
        let channels = config.latent_channels;
        Ok(Self {
            latents: builder.conv("post_quant_conv", channels, channels, Window::same(1))?,
            enter: part.conv("conv_in", channels, widths[0], Window::same(3))?,
            middle: Middle::new(&part.at("mid_block"), config, widths[0])?,
            levels: (0..widths.len())
                .map(level)
                .collect::<Result<_, WeightsError>>()?,
            norm: part.group_norm(
                "conv_norm_out",
                widths[last],
                config.norm_num_groups,
                VaeConfig::NORM_EPS,
            )?,
            leave: part.conv(
                "conv_out",
                widths[last],
                config.out_channels,
                Window::same(3),
            )?,
            scale: config.scaling_factor,
        })
    }

    /// How many times larger a picture is than its latent: each level but the last doubles it.
    fn factor(&self) -> usize {
        1 << (self.levels.len() - 1)
    }

    /// Latents `[b, h, w, c]` in the scale of the UNet to pictures `[b, 8 h, 8 w, 3]`. Values may
    /// lie outside -1 to 1 a little.
    pub fn forward(&self, latents: Maps<B>) -> Maps<B> {
        let latents = self.latents.forward(latents * (1.0 / self.scale));
        let mut hidden = self.middle.forward(self.enter.forward(latents));
        for level in &self.levels {
            for resnet in &level.resnets {
                hidden = resnet.forward(hidden, None);
            }
            if let Some(conv) = &level.resize {
                hidden = conv.forward(B::double(hidden));
            }
        }
        self.leave.forward(self.norm.forward_silu(hidden))
    }
}
