//! The names of diffusers and transformers through their versions, and those of TAESD.

use super::super::container::Container;
use super::{Layout, Network, Table};

/// Parts of a VAE's attention as diffusers called them before version 0.15.
const OLD_VAE_ATTENTION: [(&str, &str); 4] = [
    ("to_q", "query"),
    ("to_k", "key"),
    ("to_v", "value"),
    ("to_out.0", "proj_attn"),
];
/// Modules of CLIP's text encoder.
const TEXT_MODULES: [&str; 3] = ["embeddings", "encoder", "final_layer_norm"];
/// Most layers of one half of a TAESD; the published ones have 15 and 20.
const TAESD_LAYERS_MAX: usize = 32;

/// How a file calls the layers of a TAESD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum TaesdNames {
    /// `encoder.layers.N` and `decoder.layers.N`, which are the names here.
    Diffusers,
    /// `encoder.N` and `decoder.N` of the authors' code, both halves in one file.
    Both,
    /// `N` of the authors' code, the encoder alone.
    Encoder,
    /// `N` of the authors' code, the decoder alone.
    Decoder,
}

impl Layout {
    /// Names that are the same here and in the file.
    pub(in super::super) fn equal(network: Network) -> Self {
        Self::new(network, "", Vec::new(), true)
    }

    /// A VAE by diffusers' names behind `prefix`, old or new, whichever the file has.
    pub(in super::super) fn diffusers_vae(prefix: &str, container: &Container) -> Self {
        let mut table = Table::default();
        for side in ["encoder", "decoder"] {
            let module = format!("{side}.mid_block.attentions.0");
            if container.has_prefix(&format!("{prefix}{module}.query.")) {
                table.add_parts(&module, &module, &OLD_VAE_ATTENTION);
            }
        }
        Self::new(Network::Vae, prefix, table.0, true)
    }

    /// A text encoder of transformers whose names begin with `prefix`. Since its version 5 that
    /// library leaves out `text_model.`, as some single files always did.
    pub(in super::super) fn text(prefix: &str, container: &Container) -> Self {
        let mut table = Table::default();
        if !container.has_prefix(&format!("{prefix}text_model.")) {
            for module in TEXT_MODULES {
                table.add(format!("text_model.{module}"), module);
            }
        }
        Self::new(Network::Text, prefix, table.0, true)
    }

    /// A TAESD. The authors' code counts a layer without weights, which clamps the latents, at the
    /// begin of the decoder; diffusers does not.
    pub(in super::super) fn taesd(names: TaesdNames) -> Self {
        let (encoder, decoder) = match names {
            TaesdNames::Diffusers => return Self::equal(Network::Taesd),
            TaesdNames::Both => (Some("encoder."), Some("decoder.")),
            TaesdNames::Encoder => (Some(""), None),
            TaesdNames::Decoder => (None, Some("")),
        };
        let mut table = Table::default();
        for layer in 0..TAESD_LAYERS_MAX {
            if let Some(prefix) = encoder {
                table.add(
                    format!("encoder.layers.{layer}"),
                    format!("{prefix}{layer}"),
                );
            }
            if let Some(prefix) = decoder {
                let file_layer = layer + 1;
                table.add(
                    format!("decoder.layers.{layer}"),
                    format!("{prefix}{file_layer}"),
                );
            }
        }
        Self::new(Network::Taesd, "", table.0, false)
    }
}
