//! The UNet and its ControlNets.

use serde_json::json;

use super::fields::{FieldError, Fields};
use super::{CHANNELS_MAX, LAYERS_MAX, WIDTH_MAX, check_parts};

/// Widths and depths of a UNet that is steered by text, like that of SD 1.x.
///
/// Each level has resnets with a norm, an activation (SiLU) and a convolution of 3 x 3 twice, and
/// where `attention` says so a transformer of one layer after each. The way up mirrors the way
/// down, with one resnet more in each level, and the middle has attention always.
#[derive(Clone, Debug, PartialEq)]
pub struct UnetConfig {
    /// Channels of the input: 4 of latents; 9 when mask and masked picture come with them.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Width of each level, from the finest to the coarsest.
    pub block_out_channels: Vec<usize>,
    /// Resnets of a level on the way down.
    pub layers_per_block: usize,
    /// Which levels have attention, from the finest to the coarsest.
    pub attention: Vec<bool>,
    /// Heads of the attention of each level; the middle has those of the coarsest.
    pub heads: Vec<usize>,
    /// Width of the text encoder's output.
    pub cross_attention_dim: usize,
    /// Whether a transformer begins and ends with a linear layer and not with a convolution of
    /// 1 x 1, which is the same arithmetic.
    pub use_linear_projection: bool,
    /// Groups of the norms.
    pub norm_num_groups: usize,
    /// Added to the variance in the resnets' norms; the transformers' norms have
    /// [`UnetConfig::TRANSFORMER_NORM_EPS`].
    pub norm_eps: f64,
    /// Whether the embedding of the time step begins with the cosines.
    pub flip_sin_to_cos: bool,
    /// Subtracted from the half length of that embedding where frequencies are divided by it.
    pub freq_shift: f64,
    /// Sides of the latents that it was trained with; it takes others too.
    pub sample_size: usize,
}

/// Widths and depths of a ControlNet.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlNetConfig {
    /// The UNet whose way down and middle it copies; `out_channels` is not used.
    pub unet: UnetConfig,
    /// Channels of the picture that steers.
    pub conditioning_channels: usize,
    /// Widths of the convolutions that take it down to the size of the latents.
    pub conditioning_embedding_out_channels: Vec<usize>,
    /// Whether outputs are averaged over the picture ("shuffle").
    pub global_pool_conditions: bool,
}

/// Attention heads per level in SD 1.x.
pub(super) const SD1_HEADS: usize = 8;
/// Sides of the latents of SD 1.x, for pictures of 512 pixels.
const SD1_SAMPLE_SIZE: usize = 64;
/// Width of a head in SD 2.x, which can be told by its linear projections.
pub(super) const SD2_HEAD_WIDTH: usize = 64;

impl UnetConfig {
    /// Added to the variance in the norm at a transformer's begin.
    pub const TRANSFORMER_NORM_EPS: f64 = 1e-6;

    /// The defaults of diffusers, which its files may leave out.
    pub(in crate::models) fn diffusers_default() -> Self {
        Self {
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            attention: vec![true, true, true, false],
            heads: vec![SD1_HEADS; 4],
            cross_attention_dim: 1280,
            use_linear_projection: false,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            sample_size: SD1_SAMPLE_SIZE,
        }
    }

    /// Reads the fields of a `config.json`; those that are not there are as in `base`.
    pub(in super::super) fn read(fields: &Fields, base: &Self) -> Result<Self, FieldError> {
        check_built(fields)?;
        let widths = fields.widths("block_out_channels", &base.block_out_channels)?;
        let levels = widths.len();
        let config = Self {
            in_channels: fields.size("in_channels", base.in_channels, CHANNELS_MAX)?,
            out_channels: fields.size("out_channels", base.out_channels, CHANNELS_MAX)?,
            layers_per_block: layers(fields, base.layers_per_block, levels)?,
            attention: attention(fields, base, levels)?,
            heads: heads(fields, base, levels)?,
            cross_attention_dim: fields.size(
                "cross_attention_dim",
                base.cross_attention_dim,
                WIDTH_MAX,
            )?,
            use_linear_projection: fields
                .flag("use_linear_projection", base.use_linear_projection)?,
            norm_num_groups: fields.size("norm_num_groups", base.norm_num_groups, WIDTH_MAX)?,
            norm_eps: fields.number("norm_eps", base.norm_eps, 0.0..=0.1)?,
            flip_sin_to_cos: fields.flag("flip_sin_to_cos", base.flip_sin_to_cos)?,
            freq_shift: fields.number("freq_shift", base.freq_shift, 0.0..=1.0)?,
            sample_size: fields.hint("sample_size", base.sample_size, WIDTH_MAX),
            block_out_channels: widths,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        for (&width, &heads) in self.block_out_channels.iter().zip(&self.heads) {
            check_parts("a level", width, self.norm_num_groups, "groups of a norm")?;
            check_parts("a level", width, heads, "attention heads")?;
        }
        // The embedding of the time step is half sines, half cosines.
        check_parts("the first level", self.block_out_channels[0], 2, "halves")
    }
}

impl ControlNetConfig {
    /// The defaults of diffusers, which its files may leave out.
    pub(in super::super) fn diffusers_default() -> Self {
        Self {
            unet: UnetConfig::diffusers_default(),
            conditioning_channels: 3,
            conditioning_embedding_out_channels: vec![16, 32, 96, 256],
            global_pool_conditions: false,
        }
    }

    /// Reads the fields of a `config.json`; those that are not there are as in `base`.
    pub(in super::super) fn read(fields: &Fields, base: &Self) -> Result<Self, FieldError> {
        fields.built(&[("controlnet_conditioning_channel_order", json!("rgb"))])?;
        Ok(Self {
            unet: UnetConfig::read(fields, &base.unet)?,
            conditioning_channels: fields.size(
                "conditioning_channels",
                base.conditioning_channels,
                CHANNELS_MAX,
            )?,
            conditioning_embedding_out_channels: fields.widths(
                "conditioning_embedding_out_channels",
                &base.conditioning_embedding_out_channels,
            )?,
            global_pool_conditions: fields
                .flag("global_pool_conditions", base.global_pool_conditions)?,
        })
    }

    /// Convolutions between the first and the last of those that the steering picture goes through:
    /// from each width to itself, and to the next one at half the size.
    pub fn hint_blocks(&self) -> usize {
        2 * (self.conditioning_embedding_out_channels.len() - 1)
    }
}

/// That nothing is asked for which is not built.
fn check_built(fields: &Fields) -> Result<(), FieldError> {
    fields.built(&[
        ("center_input_sample", json!(false)),
        ("only_cross_attention", json!(false)),
        ("mid_block_only_cross_attention", json!(false)),
        ("dual_cross_attention", json!(false)),
        ("downsample_padding", json!(1)),
        ("mid_block_scale_factor", json!(1)),
        ("transformer_layers_per_block", json!(1)),
        ("encoder_hid_dim", json!(null)),
        ("encoder_hid_dim_type", json!(null)),
        ("class_embed_type", json!(null)),
        ("num_class_embeds", json!(null)),
        ("class_embeddings_concat", json!(false)),
        ("addition_embed_type", json!(null)),
        ("resnet_time_scale_shift", json!("default")),
        ("resnet_skip_time_act", json!(false)),
        ("resnet_out_scale_factor", json!(1)),
        ("time_embedding_type", json!("positional")),
        ("time_embedding_dim", json!(null)),
        ("time_embedding_act_fn", json!(null)),
        ("timestep_post_act", json!(null)),
        ("time_cond_proj_dim", json!(null)),
        ("conv_in_kernel", json!(3)),
        ("conv_out_kernel", json!(3)),
        ("attention_type", json!("default")),
        ("cross_attention_norm", json!(null)),
    ])?;
    if !matches!(fields.text("act_fn")?, None | Some("silu" | "swish")) {
        return Err(fields.not_built("act_fn", "\"silu\""));
    }
    // `null` leaves the middle out here, so its absence and its `null` are two things.
    let middle = fields.is_null("mid_block_type");
    match fields.text("mid_block_type")? {
        None if !middle => Ok(()),
        Some("UNetMidBlock2DCrossAttn") => Ok(()),
        _ => Err(fields.not_built("mid_block_type", "\"UNetMidBlock2DCrossAttn\"")),
    }
}

/// Resnets per level, which are the same in all levels.
fn layers(fields: &Fields, base: usize, levels: usize) -> Result<usize, FieldError> {
    let layers = fields.each("layers_per_block", &vec![base; levels], levels)?;
    if layers.iter().any(|&layer| layer > LAYERS_MAX) {
        return Err(fields.wrong("layers_per_block", &format!("at most {LAYERS_MAX}")));
    }
    if layers.iter().any(|&layer| layer != layers[0]) {
        return Err(fields.not_built("layers_per_block", "the same count in each level"));
    }
    Ok(layers[0])
}

/// Which levels have attention. The way up has to mirror the way down.
fn attention(fields: &Fields, base: &UnetConfig, levels: usize) -> Result<Vec<bool>, FieldError> {
    let down = side(
        fields,
        "down_block_types",
        "CrossAttnDownBlock2D",
        "DownBlock2D",
    )?;
    let down = down.unwrap_or_else(|| base.attention.clone());
    if down.len() != levels {
        return Err(fields.wrong(
            "down_block_types",
            &format!("one for each of {levels} levels"),
        ));
    }
    let up = side(fields, "up_block_types", "CrossAttnUpBlock2D", "UpBlock2D")?;
    if up.is_some_and(|up| !up.iter().rev().eq(&down)) {
        return Err(fields.not_built("up_block_types", "the mirror of `down_block_types`"));
    }
    Ok(down)
}

/// For each block of a list whether it has attention; `None` when there is no list.
fn side(
    fields: &Fields,
    name: &str,
    with: &str,
    without: &str,
) -> Result<Option<Vec<bool>>, FieldError> {
    let Some(types) = fields.texts(name)? else {
        return Ok(None);
    };
    let attention = types.into_iter().map(|block| match block {
        block if block == with => Some(true),
        block if block == without => Some(false),
        _ => None,
    });
    match attention.collect() {
        Some(attention) => Ok(Some(attention)),
        None => Err(fields.not_built(name, &format!("\"{with}\" and \"{without}\""))),
    }
}

/// Heads per level. Most files give them under the name of their width, `attention_head_dim`, by
/// an old mistake of diffusers that files rely on; so 8 means 8 heads there, not heads of 8.
fn heads(fields: &Fields, base: &UnetConfig, levels: usize) -> Result<Vec<usize>, FieldError> {
    let name = match fields.get("num_attention_heads") {
        Some(_) => "num_attention_heads",
        None => "attention_head_dim",
    };
    let heads = fields.each(name, &base.heads, levels);
    match (fields.get(name), heads) {
        // Another count of levels than that of the defaults, and no heads: as SD 1.x has them.
        (None, Err(_)) => Ok(vec![SD1_HEADS; levels]),
        (_, heads) => heads,
    }
}
