//! CLIP's text encoder.

use super::fields::{FieldError, Fields};
use super::{WIDTH_MAX, check_parts};

/// Most tokens of a vocabulary; CLIP has 49,408, and an embedding may add some.
const TOKENS_MAX: usize = 1 << 18;
/// Most layers; the largest published one has 32.
const LAYERS_MAX: usize = 64;
/// Longest text in tokens.
const LENGTH_MAX: usize = 1024;

/// Widths and depths of CLIP's text encoder: layers of attention to what stands before, and of two
/// linear layers, each behind a norm.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Tokens that have an embedding.
    pub vocab_size: usize,
    /// Width of a token, and of the output.
    pub hidden_size: usize,
    /// Width between the two linear layers.
    pub intermediate_size: usize,
    /// Count of layers.
    pub num_hidden_layers: usize,
    /// Heads of the attention.
    pub num_attention_heads: usize,
    /// Tokens of a text, begin and end marks with them.
    pub max_position_embeddings: usize,
    /// What is between the two linear layers.
    pub hidden_act: TextActivation,
    /// Added to the variance in all norms.
    pub layer_norm_eps: f64,
}

/// An activation of a text encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextActivation {
    /// `x * sigmoid(1.702 x)`, of OpenAI's CLIP (SD 1.x).
    QuickGelu,
    /// The exact GELU, `x * Φ(x)`, of OpenCLIP (SD 2.x).
    Gelu,
}

/// Width of a head in all published ones.
pub(super) const HEAD_WIDTH: usize = 64;

impl TextConfig {
    /// The defaults of transformers, which its files may leave out.
    pub(in super::super) fn transformers_default() -> Self {
        Self {
            vocab_size: 49_408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: TextActivation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }

    /// Reads the fields of a `config.json`, or of `text_config` inside of it, when it is that of
    /// both halves of CLIP; those that are not there are as in `base`.
    pub(in super::super) fn read(fields: &Fields, base: &Self) -> Result<Self, FieldError> {
        let inner = fields.inner("text_config");
        let fields = inner.as_ref().unwrap_or(fields);
        if !matches!(
            fields.text("model_type")?,
            None | Some("clip_text_model" | "clip")
        ) {
            return Err(fields.not_built("model_type", "\"clip_text_model\""));
        }
        let size = |name, base, max| fields.size(name, base, max);
        let config = Self {
            vocab_size: size("vocab_size", base.vocab_size, TOKENS_MAX)?,
            hidden_size: size("hidden_size", base.hidden_size, WIDTH_MAX)?,
            intermediate_size: size("intermediate_size", base.intermediate_size, 4 * WIDTH_MAX)?,
            num_hidden_layers: size("num_hidden_layers", base.num_hidden_layers, LAYERS_MAX)?,
            num_attention_heads: size("num_attention_heads", base.num_attention_heads, WIDTH_MAX)?,
            max_position_embeddings: size(
                "max_position_embeddings",
                base.max_position_embeddings,
                LENGTH_MAX,
            )?,
            hidden_act: match fields.text("hidden_act")? {
                None => base.hidden_act,
                Some("quick_gelu") => TextActivation::QuickGelu,
                Some("gelu") => TextActivation::Gelu,
                Some(_) => {
                    return Err(fields.not_built("hidden_act", "\"quick_gelu\" and \"gelu\""));
                }
            },
            layer_norm_eps: fields.number("layer_norm_eps", base.layer_norm_eps, 0.0..=0.1)?,
        };
        let heads = config.num_attention_heads;
        check_parts("a token", config.hidden_size, heads, "attention heads")?;
        Ok(config)
    }
}
