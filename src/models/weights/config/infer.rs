//! Widths and depths from the shapes of a file's tensors.
//!
//! What shapes cannot tell (groups of norms, heads, constants) has the value of SD 1.x. The result
//! is only a guess that the names make; whether all tensors fit is found when they are read.

use super::super::container::Container;
use super::text::HEAD_WIDTH;
use super::unet::{SD1_HEADS, SD2_HEAD_WIDTH};
use super::{
    ControlNetConfig, LAYERS_MAX, LEVELS_MAX, TaesdConfig, TextConfig, UnetConfig, VaeConfig,
    WIDTH_MAX,
};

/// Most numbered blocks of one half of a UNet.
const BLOCKS_MAX: usize = LEVELS_MAX * (LAYERS_MAX + 1);
/// Most rows of a table of tokens or of positions.
const ROWS_MAX: usize = 1 << 18;

/// Whose names a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Those of the original code.
    Ldm,
    /// Those of diffusers.
    Diffusers,
}

/// The shapes of a network's tensors, which begin with a prefix.
pub struct Shapes<'a> {
    container: &'a Container,
    prefix: &'a str,
}

impl<'a> Shapes<'a> {
    pub fn new(container: &'a Container, prefix: &'a str) -> Self {
        Self { container, prefix }
    }

    fn get(&self, name: &str) -> Option<&'a [usize]> {
        let view = self.container.get(&format!("{}{name}", self.prefix))?;
        Some(view.shape)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// One size of a tensor, which has to be there.
    fn size(&self, name: &str, axis: usize) -> Result<usize, String> {
        self.bounded(name, axis, WIDTH_MAX)
    }

    fn bounded(&self, name: &str, axis: usize, max: usize) -> Result<usize, String> {
        let shape = self
            .get(name)
            .ok_or_else(|| format!("it has no tensor `{}{name}`", self.prefix))?;
        let size = shape.get(axis).copied();
        size.filter(|size| (1..=max).contains(size))
            .ok_or_else(|| format!("the tensor `{}{name}` has the shape {shape:?}", self.prefix))
    }
}

/// One level of a UNet.
#[derive(Default)]
struct Level {
    width: usize,
    layers: usize,
    attentions: usize,
}

impl Level {
    fn add(&mut self, width: usize, attention: bool) -> Result<(), String> {
        if self.layers > 0 && self.width != width {
            return Err(String::from("the layers of one level differ in width"));
        }
        self.width = width;
        self.layers += 1;
        self.attentions += usize::from(attention);
        Ok(())
    }
}

/// A UNet by the names of the original code.
pub fn unet(shapes: &Shapes) -> Result<UnetConfig, String> {
    let mut config = half(shapes, Names::Ldm)?;
    config.out_channels = shapes.size("out.2.weight", 0)?;
    Ok(config)
}

/// A ControlNet.
pub fn control_net(shapes: &Shapes, names: Names) -> Result<ControlNetConfig, String> {
    let mut hint = Vec::new();
    let name = |at: usize| match names {
        Names::Ldm => format!("input_hint_block.{}.weight", 2 * at),
        Names::Diffusers if at == 0 => String::from("controlnet_cond_embedding.conv_in.weight"),
        Names::Diffusers => format!("controlnet_cond_embedding.blocks.{}.weight", at - 1),
    };
    let conditioning_channels = shapes.size(&name(0), 1)?;
    // From one width to the next there are two convolutions; the one after the last of them leads
    // to the width of the UNet and counts for none here.
    for at in (0..2 * LEVELS_MAX).step_by(2) {
        if !shapes.has(&name(at)) {
            break;
        }
        hint.push(shapes.size(&name(at), 0)?);
    }
    Ok(ControlNetConfig {
        unet: half(shapes, names)?,
        conditioning_channels,
        conditioning_embedding_out_channels: hint,
        global_pool_conditions: false,
    })
}

/// The way down and the middle of a UNet.
fn half(shapes: &Shapes, names: Names) -> Result<UnetConfig, String> {
    let (levels, input, middle) = match names {
        Names::Ldm => (ldm_levels(shapes)?, "input_blocks.0.0", "middle_block.1"),
        Names::Diffusers => (
            diffusers_levels(shapes)?,
            "conv_in",
            "mid_block.attentions.0",
        ),
    };
    if ["label_emb.0.0.weight", "add_embedding.linear_1.weight"]
        .iter()
        .any(|name| shapes.has(name))
    {
        return Err(String::from(
            "it takes labels or sizes beside the text, as SDXL does",
        ));
    }
    let layers = levels[0].layers;
    if levels.iter().any(|level| level.layers != layers) {
        return Err(String::from("its levels differ in their count of layers"));
    }
    let attention = levels.iter().map(|level| match level.attentions {
        0 => Ok(false),
        count if count == level.layers => Ok(true),
        _ => Err(String::from("some layers of a level lack attention")),
    });
    let widths: Vec<usize> = levels.iter().map(|level| level.width).collect();
    let transformer = format!("{middle}.transformer_blocks");
    if shapes.has(&format!("{transformer}.1.norm1.weight")) {
        return Err(String::from(
            "its transformers have several layers, as those of SDXL do",
        ));
    }
    let is_linear = shapes
        .get(&format!("{middle}.proj_in.weight"))
        .is_some_and(|shape| shape.len() == 2);
    let heads = |&width: &usize| {
        if is_linear {
            (width / SD2_HEAD_WIDTH).max(1)
        } else {
            SD1_HEADS
        }
    };
    let in_channels = shapes.size(&format!("{input}.weight"), 1)?;
    Ok(UnetConfig {
        in_channels,
        heads: widths.iter().map(heads).collect(),
        attention: attention.collect::<Result<_, _>>()?,
        layers_per_block: layers,
        block_out_channels: widths,
        cross_attention_dim: shapes.size(&format!("{transformer}.0.attn2.to_k.weight"), 1)?,
        use_linear_projection: is_linear,
        ..UnetConfig::diffusers_default()
    })
}

fn ldm_levels(shapes: &Shapes) -> Result<Vec<Level>, String> {
    let mut levels = vec![Level::default()];
    for block in 1..=BLOCKS_MAX {
        let block = format!("input_blocks.{block}");
        let convolution = format!("{block}.0.in_layers.2.weight");
        if shapes.has(&format!("{block}.0.op.weight")) {
            levels.push(Level::default());
        } else if shapes.has(&convolution) {
            let width = shapes.size(&convolution, 0)?;
            let attention = shapes.has(&format!("{block}.1.norm.weight"));
            if let Some(level) = levels.last_mut() {
                level.add(width, attention)?;
            }
        } else {
            break;
        }
    }
    checked(levels)
}

fn diffusers_levels(shapes: &Shapes) -> Result<Vec<Level>, String> {
    let mut levels = Vec::new();
    for number in 0..=LEVELS_MAX {
        let mut level = Level::default();
        for layer in 0..=LAYERS_MAX {
            let convolution = format!("down_blocks.{number}.resnets.{layer}.conv1.weight");
            if !shapes.has(&convolution) {
                break;
            }
            let attention = format!("down_blocks.{number}.attentions.{layer}.norm.weight");
            level.add(shapes.size(&convolution, 0)?, shapes.has(&attention))?;
        }
        if level.layers == 0 {
            break;
        }
        levels.push(level);
    }
    checked(levels)
}

fn checked(levels: Vec<Level>) -> Result<Vec<Level>, String> {
    let layers = 1..=LAYERS_MAX;
    if !(1..=LEVELS_MAX).contains(&levels.len())
        || levels.iter().any(|level| !layers.contains(&level.layers))
    {
        return Err(String::from(
            "its blocks are not those of a UNet of this kind",
        ));
    }
    Ok(levels)
}

/// A VAE.
pub fn vae(shapes: &Shapes, names: Names) -> Result<VaeConfig, String> {
    let convolution = |level: usize, layer: usize| match names {
        Names::Ldm => format!("encoder.down.{level}.block.{layer}.conv1.weight"),
        Names::Diffusers => format!("encoder.down_blocks.{level}.resnets.{layer}.conv1.weight"),
    };
    let levels = (0..LEVELS_MAX).take_while(|&level| shapes.has(&convolution(level, 0)));
    let widths: Result<Vec<usize>, String> = levels
        .map(|level| shapes.size(&convolution(level, 0), 0))
        .collect();
    let layers = (0..LAYERS_MAX).take_while(|&layer| shapes.has(&convolution(0, layer)));
    let config = VaeConfig {
        in_channels: shapes.size("encoder.conv_in.weight", 1)?,
        out_channels: shapes.size("decoder.conv_out.weight", 0)?,
        latent_channels: shapes.size("decoder.conv_in.weight", 1)?,
        block_out_channels: widths?,
        layers_per_block: layers.count(),
        ..VaeConfig::diffusers_default()
    };
    if config.block_out_channels.is_empty() {
        return Err(String::from("the levels of its VAE are not there"));
    }
    Ok(config)
}

/// CLIP's text encoder.
pub fn text(shapes: &Shapes) -> Result<TextConfig, String> {
    let has_module = shapes.has("text_model.final_layer_norm.weight");
    let module = if has_module { "text_model." } else { "" };
    let layer = |layer: usize| format!("{module}encoder.layers.{layer}.mlp.fc1.weight");
    let table = |what: &str| format!("{module}embeddings.{what}_embedding.weight");
    let layers = (0..BLOCKS_MAX).take_while(|&at| shapes.has(&layer(at)));
    let hidden_size = shapes.size(&table("token"), 1)?;
    Ok(TextConfig {
        vocab_size: shapes.bounded(&table("token"), 0, ROWS_MAX)?,
        hidden_size,
        intermediate_size: shapes.bounded(&layer(0), 0, 4 * WIDTH_MAX)?,
        num_hidden_layers: layers.count(),
        num_attention_heads: (hidden_size / HEAD_WIDTH).max(1),
        max_position_embeddings: shapes.bounded(&table("position"), 0, ROWS_MAX)?,
        ..TextConfig::transformers_default()
    })
}

/// A TAESD. `encoder` is the name of its last layer's weights, `decoder` that of its first one's;
/// `None` for a half that is not there.
pub fn taesd(
    shapes: &Shapes,
    encoder: Option<&str>,
    decoder: Option<&str>,
) -> Result<TaesdConfig, String> {
    let (latent_channels, channels) = match (encoder, decoder) {
        (_, Some(name)) => (shapes.size(name, 1)?, shapes.size(name, 0)?),
        (Some(name), None) => (shapes.size(name, 0)?, shapes.size(name, 1)?),
        (None, None) => return Err(String::from("it has neither encoder nor decoder")),
    };
    Ok(TaesdConfig {
        latent_channels,
        channels,
        has_encoder: encoder.is_some(),
        has_decoder: decoder.is_some(),
    })
}
