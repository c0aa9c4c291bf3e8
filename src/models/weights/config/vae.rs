//! The VAE, and its small stand-in for previews.

use serde_json::json;

use super::fields::{FieldError, Fields};
use super::{CHANNELS_MAX, LAYERS_MAX, WIDTH_MAX, check_parts};

/// Widths and depths of a VAE like that of SD 1.x. Encoder and decoder mirror each other; the
/// decoder has one resnet more in each level. The middle has attention with one head.
#[derive(Clone, Debug, PartialEq)]
pub struct VaeConfig {
    /// Channels of the picture that goes in.
    pub in_channels: usize,
    /// Channels of the picture that comes out.
    pub out_channels: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Width of each level, from the finest to the coarsest; each halves the sides of the last.
    pub block_out_channels: Vec<usize>,
    /// Resnets of a level in the encoder.
    pub layers_per_block: usize,
    /// Groups of the norms.
    pub norm_num_groups: usize,
    /// What latents are multiplied by for the UNet, so that their variance is about 1.
    pub scaling_factor: f64,
}

impl VaeConfig {
    /// Added to the variance in all norms.
    pub const NORM_EPS: f64 = 1e-6;

    /// The defaults of diffusers, which its files may leave out.
    pub(in super::super) fn diffusers_default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 4,
            block_out_channels: vec![64],
            layers_per_block: 1,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
        }
    }

    /// Reads the fields of a `config.json`; those that are not there are as in `base`.
    pub(in super::super) fn read(fields: &Fields, base: &Self) -> Result<Self, FieldError> {
        check_built(fields)?;
        let config = Self {
            in_channels: fields.size("in_channels", base.in_channels, CHANNELS_MAX)?,
            out_channels: fields.size("out_channels", base.out_channels, CHANNELS_MAX)?,
            latent_channels: fields.size("latent_channels", base.latent_channels, CHANNELS_MAX)?,
            block_out_channels: fields.widths("block_out_channels", &base.block_out_channels)?,
            layers_per_block: fields.size("layers_per_block", base.layers_per_block, LAYERS_MAX)?,
            norm_num_groups: fields.size("norm_num_groups", base.norm_num_groups, WIDTH_MAX)?,
            scaling_factor: fields.number("scaling_factor", base.scaling_factor, 1e-4..=1e4)?,
        };
        for &width in &config.block_out_channels {
            check_parts("a level", width, config.norm_num_groups, "groups of a norm")?;
        }
        Ok(config)
    }

    /// How many pixels a latent stands for in each direction.
    pub fn downscale(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}

/// That nothing is asked for which is not built.
fn check_built(fields: &Fields) -> Result<(), FieldError> {
    fields.built(&[
        ("shift_factor", json!(0)),
        ("latents_mean", json!(null)),
        ("latents_std", json!(null)),
        ("use_quant_conv", json!(true)),
        ("use_post_quant_conv", json!(true)),
        ("mid_block_add_attention", json!(true)),
    ])?;
    if !matches!(fields.text("act_fn")?, None | Some("silu" | "swish")) {
        return Err(fields.not_built("act_fn", "\"silu\""));
    }
    for (name, built) in [
        ("down_block_types", "DownEncoderBlock2D"),
        ("up_block_types", "UpDecoderBlock2D"),
    ] {
        let types = fields.texts(name)?.unwrap_or_default();
        if types.iter().any(|&block| block != built) {
            return Err(fields.not_built(name, &format!("\"{built}\"")));
        }
    }
    Ok(())
}

/// Widths of a TAESD, whose depths are fixed: a convolution, then 1, 3, 3 and 3 blocks with a
/// halving between, and the decoder the other way round.
#[derive(Clone, Debug, PartialEq)]
pub struct TaesdConfig {
    /// Channels of the latents, in the scale that the UNet uses.
    pub latent_channels: usize,
    /// Width of all layers between.
    pub channels: usize,
    /// Whether the file has the encoder.
    pub has_encoder: bool,
    /// Whether the file has the decoder.
    pub has_decoder: bool,
}
