//! ControlNet: a copy of the UNet's first half that looks at a hint picture and tells the UNet what
//! to add (Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion Models").

use burn::Tensor;
use burn::tensor::TensorData;

use super::nn::{Builder, Conv, Kernels, Maps, Tokens, Window};
use super::unet::{Encoded, Encoder, skip_widths};
use super::weights::{ControlNetConfig, WeightsError};

/// The network.
#[derive(Clone)]
pub struct ControlNet<B: Kernels> {
    encoder: Encoder<B>,
    hint: Hint<B>,
    skips: Vec<Conv<B>>,
    middle: Conv<B>,
}

/// Brings a hint picture to the size and channels of the first feature maps.
#[derive(Clone)]
struct Hint<B: Kernels> {
    enter: Conv<B>,
    middle: Vec<Conv<B>>,
    leave: Conv<B>,
}

impl<B: Kernels> Hint<B> {
    fn new(builder: &Builder<'_, B>, config: &ControlNetConfig) -> Result<Self, WeightsError> {
        let widths = &config.conditioning_embedding_out_channels;
        let around = Window::same(3);
        let pairs = widths.windows(2).enumerate().flat_map(|(index, pair)| {
            let conv = |offset: usize, inputs: usize, outputs: usize, window: Window| {
                let name = format!("blocks.{}", 2 * index + offset);
                builder.conv(&name, inputs, outputs, window)
            };
            [
                conv(0, pair[0], pair[0], around),
                conv(1, pair[0], pair[1], Window::halving()),
            ]
        });
        Ok(Self {
            enter: builder.conv("conv_in", config.conditioning_channels, widths[0], around)?,
            middle: pairs.collect::<Result<_, _>>()?,
            leave: builder.conv(
                "conv_out",
                widths[widths.len() - 1],
                config.unet.block_out_channels[0],
                around,
            )?,
        })
    }

    fn forward(&self, picture: Maps<B>) -> Maps<B> {
        let mut hidden = B::silu(self.enter.forward(picture));
        for conv in &self.middle {
            hidden = B::silu(conv.forward(hidden));
        }
        self.leave.forward(hidden)
    }
}

impl<B: Kernels> ControlNet<B> {
    /// Reads it.
    pub fn new(builder: &Builder<'_, B>, config: &ControlNetConfig) -> Result<Self, WeightsError> {
        let unet = &config.unet;
        let widths = skip_widths(unet);
        let single = |name: &str, width: usize| builder.conv(name, width, width, Window::same(1));
        let skips = widths.iter().enumerate();
        Ok(Self {
            encoder: Encoder::new(builder, unet)?,
            hint: Hint::new(&builder.at("controlnet_cond_embedding"), config)?,
            skips: skips
                .map(|(index, &width)| single(&format!("controlnet_down_blocks.{index}"), width))
                .collect::<Result<_, _>>()?,
            middle: single("controlnet_mid_block", widths[widths.len() - 1])?,
        })
    }

    /// A hint picture `[1, 8 h, 8 w, 3]` of values from 0 to 1, prepared for
    /// [`forward`](Self::forward): `[1, h, w, c]`. It is the same for all steps.
    pub fn prepare_hint(&self, picture: Maps<B>) -> Maps<B> {
        self.hint.forward(picture)
    }

    /// What to add in the UNet for the same latents, time steps and text, unweighted.
    pub fn forward(
        &self,
        latents: Maps<B>,
        hint: Maps<B>,
        times: &[f64],
        text: &Tokens<B>,
    ) -> Encoded<B> {
        let [batch, ..] = latents.dims();
        let [_, height, width, channels] = hint.dims();
        let hint = hint.expand([batch, height, width, channels]);
        let time = self.encoder.embed_time(times, &latents.device());
        let encoded = self.encoder.forward(latents, Some(hint), &time, text);
        let skips = self.skips.iter().zip(encoded.skips);
        Encoded {
            skips: skips.map(|(conv, skip)| conv.forward(skip)).collect(),
            middle: self.middle.forward(encoded.middle),
        }
    }
}

impl<B: Kernels> Encoded<B> {
    /// Multiplies each of the maps, the shallowest first and the middle last, with a number.
    #[must_use]
    pub fn weighted(self, weights: impl IntoIterator<Item = f64>) -> Self {
        let mut weights = weights.into_iter();
        let mut weigh = |maps: Maps<B>| -> Tensor<B, 4> {
            match weights.next() {
                Some(weight) if weight != 1.0 => maps * weight,
                _ => maps,
            }
        };
        let skips = self.skips.into_iter().map(&mut weigh).collect();
        let middle = weigh(self.middle);
        Self { skips, middle }
    }

    /// Leaves what is said of some of the batch, and takes the rest away.
    #[must_use]
    pub fn only(self, chosen: impl IntoIterator<Item = bool>) -> Self {
        let chosen: Vec<f32> = chosen
            .into_iter()
            .map(|chosen| f32::from(u8::from(chosen)))
            .collect();
        let sizes = [chosen.len(), 1, 1, 1];
        let device = self.middle.device();
        let factors = Tensor::<B, 4>::from_data(TensorData::new(chosen, sizes), &device)
            .cast(self.middle.dtype());
        let pick = |maps: Maps<B>| maps * factors.clone();
        Self {
            skips: self.skips.into_iter().map(pick).collect(),
            middle: pick(self.middle),
        }
    }
}
