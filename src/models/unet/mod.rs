//! The UNet of Stable Diffusion 1.x: says what of a noisy latent is noise.
//!
//! Latents are `[batch, height, width, channels]` at an eighth of the picture's size. Heights and
//! widths that are no multiple of two to the number of halvings work too.

mod encoder;
pub mod resnet;
#[cfg(test)]
mod tests;
mod time;
pub mod transformer;

pub use encoder::{Encoded, Encoder, skip_widths};

use burn::Tensor;

use self::encoder::{resnet_sizes, transformer_sizes};
use self::resnet::Resnet;
use self::transformer::Transformer;
use crate::models::nn::{Builder, Conv, GroupNorm, Kernels, Maps, Tokens, Window};
use crate::models::weights::{UnetConfig, WeightsError};

/// One level of the way up: residual blocks over what the way down has left, each with a transformer
/// where the level has them, and a doubling.
#[derive(Clone)]
struct Level<B: Kernels> {
    resnets: Vec<Resnet<B>>,
    transformers: Vec<Transformer<B>>,
    double: Option<Conv<B>>,
}

/// The whole network.
#[derive(Clone)]
pub struct Unet<B: Kernels> {
    encoder: Encoder<B>,
    levels: Vec<Level<B>>,
    norm: GroupNorm<B>,
    leave: Conv<B>,
}

impl<B: Kernels> Unet<B> {
    /// Reads it.
    pub fn new(builder: &Builder<'_, B>, config: &UnetConfig) -> Result<Self, WeightsError> {
        let encoder = Encoder::new(builder, config)?;
        let channels = &config.block_out_channels;
        let mut left = skip_widths(config);
        let mut hidden = channels[channels.len() - 1];
        let mut levels = Vec::with_capacity(channels.len());
        for index in 0..channels.len() {
            let level = channels.len() - 1 - index;
            let builder = builder.at(&format!("up_blocks.{index}"));
            let (mut resnets, mut transformers) = (Vec::new(), Vec::new());
            for part in 0..=config.layers_per_block {
                let inputs = hidden + left.pop().unwrap_or(0);
                hidden = channels[level];
                let sizes = resnet_sizes(config, inputs, hidden);
                resnets.push(Resnet::new(&builder.at(&format!("resnets.{part}")), sizes)?);
                if config.attention[level] {
                    let builder = builder.at(&format!("attentions.{part}"));
                    transformers.push(Transformer::new(
                        &builder,
                        transformer_sizes(config, level),
                    )?);
                }
            }
            let double = (level > 0)
                .then(|| builder.conv("upsamplers.0.conv", hidden, hidden, Window::same(3)));
            levels.push(Level {
                resnets,
                transformers,
                double: double.transpose()?,
            });
        }
        Ok(Self {
            encoder,
            levels,
            norm: builder.group_norm(
                "conv_norm_out",
                channels[0],
                config.norm_num_groups,
                config.norm_eps,
            )?,
            leave: builder.conv(
                "conv_out",
                channels[0],
                config.out_channels,
                Window::same(3),
            )?,
        })
    }

    /// What of the latents `[b, h, w, in_channels]` is noise (or velocity, as the network was
    /// trained): `[b, h, w, out_channels]`.
    ///
    /// `times` has a time step for each picture, `text` is `[b, t, context]`, and `control` is what
    /// ControlNets add, if there are any.
    pub fn forward(
        &self,
        latents: Maps<B>,
        times: &[f64],
        text: &Tokens<B>,
        control: Option<Encoded<B>>,
    ) -> Maps<B> {
        let time = self.encoder.embed_time(times, &latents.device());
        let mut encoded = self.encoder.forward(latents, None, &time, text);
        if let Some(control) = control {
            encoded.add(control);
        }
        self.decode(encoded, &time, text)
    }

    fn decode(&self, encoded: Encoded<B>, time: &Tensor<B, 2>, text: &Tokens<B>) -> Maps<B> {
        let Encoded {
            mut skips,
            middle: mut hidden,
        } = encoded;
        for level in &self.levels {
            for (index, resnet) in level.resnets.iter().enumerate() {
                if let Some(skip) = skips.pop() {
                    hidden = B::join(hidden, skip);
                }
                hidden = resnet.forward(hidden, Some(time));
                if let Some(transformer) = level.transformers.get(index) {
                    hidden = transformer.forward(hidden, text);
                }
            }
            if let Some(double) = &level.double {
                // An odd size was rounded up when it was halved.
                let doubled = B::double(hidden);
                let doubled = match skips.last().map(Tensor::dims) {
                    Some([_, height, width, _]) => doubled.narrow(1, 0, height).narrow(2, 0, width),
                    None => doubled,
                };
                hidden = double.forward(doubled);
            }
        }
        self.leave.forward(self.norm.forward_silu(hidden))
    }
}
