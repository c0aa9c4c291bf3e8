//! The names of the original Stable Diffusion code, in which single-file checkpoints are written.
//!
//! That code numbers the blocks of a UNet through, whatever they are; diffusers groups them by
//! level. A block is a list of modules: a resnet, then attention where the level has it, then a
//! sampler at the end of a level.

use super::super::config::{ControlNetConfig, UnetConfig, VaeConfig};
use super::{Layout, Network, Table};

/// Begin of the UNet's names in a single file.
pub(in super::super) const UNET: &str = "model.diffusion_model.";
/// Begin of the VAE's names in a single file.
pub(in super::super) const VAE: &str = "first_stage_model.";
/// Begin of the names of SD 1.x's text encoder in a single file.
pub(in super::super) const TEXT: &str = "cond_stage_model.transformer.";
/// Begin of the ControlNet's names in a file that was made for the original code.
pub(in super::super) const CONTROL_NET: &str = "control_model.";

/// Parts of a UNet's resnet. Numbers count the layers of a sequence, also those without weights.
const RESNET: [(&str, &str); 6] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];
/// Parts of a VAE's resnet; `norm1`, `conv1`, `norm2` and `conv2` are the same.
const VAE_RESNET: [(&str, &str); 5] = [
    ("norm1", "norm1"),
    ("conv1", "conv1"),
    ("norm2", "norm2"),
    ("conv2", "conv2"),
    ("conv_shortcut", "nin_shortcut"),
];
/// Parts of a VAE's attention.
const VAE_ATTENTION: [(&str, &str); 5] = [
    ("group_norm", "norm"),
    ("to_q", "q"),
    ("to_k", "k"),
    ("to_v", "v"),
    ("to_out.0", "proj_out"),
];

impl Layout {
    /// A UNet by the names of the original code.
    pub(in super::super) fn ldm_unet(prefix: &str, config: &UnetConfig) -> Self {
        let mut table = Table::default();
        add_down(&mut table, config);
        add_up(&mut table, config);
        table.add("conv_norm_out", "out.0");
        table.add("conv_out", "out.2");
        Self::new(Network::Unet, prefix, table.0, false)
    }

    /// A ControlNet by the names of the original code.
    pub(in super::super) fn ldm_control_net(prefix: &str, config: &ControlNetConfig) -> Self {
        let mut table = Table::default();
        let taps = add_down(&mut table, &config.unet);
        for tap in 0..taps {
            table.add(
                format!("controlnet_down_blocks.{tap}"),
                format!("zero_convs.{tap}.0"),
            );
        }
        table.add("controlnet_mid_block", "middle_block_out.0");
        // The hint goes through convolutions with an activation after each.
        let hint = "controlnet_cond_embedding";
        let blocks = config.hint_blocks();
        table.add(format!("{hint}.conv_in"), "input_hint_block.0");
        for block in 0..blocks {
            table.add(
                format!("{hint}.blocks.{block}"),
                format!("input_hint_block.{}", 2 * block + 2),
            );
        }
        table.add(
            format!("{hint}.conv_out"),
            format!("input_hint_block.{}", 2 * blocks + 2),
        );
        Self::new(Network::ControlNet, prefix, table.0, false)
    }

    /// A VAE by the names of the original code.
    pub(in super::super) fn ldm_vae(prefix: &str, config: &VaeConfig) -> Self {
        let mut table = Table::default();
        let levels = config.block_out_channels.len();
        for (side, ours, file) in [("encoder", "down", "down"), ("decoder", "up", "up")] {
            for level in 0..levels {
                // The original code counts the decoder's levels from the picture's side too.
                let (file_level, resnets, sampler) = match ours {
                    "up" => (levels - 1 - level, config.layers_per_block + 1, "upsample"),
                    _ => (level, config.layers_per_block, "downsample"),
                };
                let ours = format!("{side}.{ours}_blocks.{level}");
                let file = format!("{side}.{file}.{file_level}");
                for resnet in 0..resnets {
                    table.add_parts(
                        &format!("{ours}.resnets.{resnet}"),
                        &format!("{file}.block.{resnet}"),
                        &VAE_RESNET,
                    );
                }
                if level + 1 < levels {
                    table.add(
                        format!("{ours}.{sampler}rs.0.conv"),
                        format!("{file}.{sampler}.conv"),
                    );
                }
            }
            add_vae_middle(&mut table, side);
        }
        table.add("quant_conv", "quant_conv");
        table.add("post_quant_conv", "post_quant_conv");
        Self::new(Network::Vae, prefix, table.0, false)
    }
}

/// What is beside the levels in the encoder and the decoder of a VAE.
fn add_vae_middle(table: &mut Table, side: &str) {
    for (resnet, block) in [(0, "block_1"), (1, "block_2")] {
        table.add_parts(
            &format!("{side}.mid_block.resnets.{resnet}"),
            &format!("{side}.mid.{block}"),
            &VAE_RESNET,
        );
    }
    table.add_parts(
        &format!("{side}.mid_block.attentions.0"),
        &format!("{side}.mid.attn_1"),
        &VAE_ATTENTION,
    );
    table.add_parts(
        side,
        side,
        &[
            ("conv_in", "conv_in"),
            ("conv_norm_out", "norm_out"),
            ("conv_out", "conv_out"),
        ],
    );
}

/// The half of a UNet that a ControlNet copies. Gives the count of its numbered blocks.
fn add_down(table: &mut Table, config: &UnetConfig) -> usize {
    table.add("time_embedding.linear_1", "time_embed.0");
    table.add("time_embedding.linear_2", "time_embed.2");
    table.add("conv_in", "input_blocks.0.0");
    let mut block = 1;
    let levels = config.block_out_channels.len();
    for (level, &attention) in config.attention.iter().enumerate() {
        let ours = format!("down_blocks.{level}");
        for layer in 0..config.layers_per_block {
            table.add_parts(
                &format!("{ours}.resnets.{layer}"),
                &format!("input_blocks.{block}.0"),
                &RESNET,
            );
            if attention {
                table.add(
                    format!("{ours}.attentions.{layer}"),
                    format!("input_blocks.{block}.1"),
                );
            }
            block += 1;
        }
        if level + 1 < levels {
            table.add(
                format!("{ours}.downsamplers.0.conv"),
                format!("input_blocks.{block}.0.op"),
            );
            block += 1;
        }
    }
    table.add_parts("mid_block.resnets.0", "middle_block.0", &RESNET);
    table.add("mid_block.attentions.0", "middle_block.1");
    table.add_parts("mid_block.resnets.1", "middle_block.2", &RESNET);
    block
}

/// The other half: the levels from the coarsest to the finest, with one resnet more in each.
fn add_up(table: &mut Table, config: &UnetConfig) {
    let mut block = 0;
    let levels = config.block_out_channels.len();
    for (level, &attention) in config.attention.iter().rev().enumerate() {
        let ours = format!("up_blocks.{level}");
        for layer in 0..=config.layers_per_block {
            table.add_parts(
                &format!("{ours}.resnets.{layer}"),
                &format!("output_blocks.{block}.0"),
                &RESNET,
            );
            if attention {
                table.add(
                    format!("{ours}.attentions.{layer}"),
                    format!("output_blocks.{block}.1"),
                );
            }
            block += 1;
        }
        if level + 1 < levels {
            table.add(
                format!("{ours}.upsamplers.0.conv"),
                format!(
                    "output_blocks.{}.{}.conv",
                    block - 1,
                    1 + usize::from(attention)
                ),
            );
        }
    }
}
