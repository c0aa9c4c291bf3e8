//! The layers of the networks at hand, and how the modules of a file are found among them.
//!
//! Underscores in a module's name may stand for dots or for themselves. So nothing is guessed: the
//! flat name of each known layer is built, and those of the file are looked up among them.

use std::collections::{BTreeMap, HashMap};

use super::{Layer, LoraError, Network, error::shown, original::original_path};

/// Most layers of both networks; those of SD 1.x have about 350.
const LAYERS_MAX: usize = 8192;
/// Most residual blocks of one level of a UNet.
const LAYERS_PER_BLOCK_MAX: usize = 64;
/// Most numbers of one weight.
const WEIGHT_NUMBERS_MAX: usize = 1 << 28;
/// The part of a text encoder's paths that newer versions of transformers leave out.
const TEXT_ROOT: &str = "text_model.";

/// The layers that a LoRA may change, with the shapes of their weights.
#[derive(Debug, Clone)]
pub struct Layers {
    shapes: BTreeMap<Layer, Vec<usize>>,
    /// Layers by the names that files with flat names have for them.
    flat: HashMap<String, Layer>,
}

impl Layers {
    /// Linear and convolution layers by diffusers' or transformers' paths, each with the shape of its
    /// weight: `[out, in]` or `[out, in, height, width]`.
    ///
    /// `layers_per_block` is that of the UNet's configuration (2 in SD 1.x): the original code counts
    /// blocks through, so its names depend on it.
    pub fn new(
        layers: impl IntoIterator<Item = (Layer, Vec<usize>)>,
        layers_per_block: usize,
    ) -> Result<Self, LoraError> {
        if layers_per_block > LAYERS_PER_BLOCK_MAX {
            let text = format!("it has {layers_per_block} layers per block");
            return Err(LoraError::Layers(text));
        }
        let mut shapes = BTreeMap::new();
        for (layer, shape) in layers {
            let path = shown(&layer.path);
            if !is_weight(&shape) {
                let text = format!("the weight of {path} has the sizes {shape:?}");
                return Err(LoraError::Layers(text));
            }
            if shapes.insert(layer, shape).is_some() {
                return Err(LoraError::Layers(format!("{path} is listed twice")));
            }
            if shapes.len() > LAYERS_MAX {
                return Err(LoraError::Layers(format!("there are over {LAYERS_MAX}")));
            }
        }
        let flat = flat_names(&shapes, layers_per_block)?;
        Ok(Self { shapes, flat })
    }

    /// The shape of a layer's weight.
    pub fn shape(&self, layer: &Layer) -> Option<&[usize]> {
        self.shapes.get(layer).map(Vec::as_slice)
    }

    /// The layer that a module of a file is. `is_processor` is set where the module is spelled in the
    /// way of diffusers' first attention processors.
    pub(super) fn find(&self, module: &str, is_processor: bool) -> Option<&Layer> {
        if let Some(layer) = self.flat.get(module) {
            return Some(layer);
        }
        let module = module.strip_prefix("base_model.model.").unwrap_or(module);
        for (prefix, networks) in [
            ("unet.", &[Network::Unet][..]),
            ("text_encoder.", &[Network::Text]),
            ("transformer.", &[Network::Unet, Network::Text]),
            ("", &[Network::Unet, Network::Text]),
        ] {
            if let Some(path) = module.strip_prefix(prefix) {
                return networks
                    .iter()
                    .find_map(|&network| self.find_path(network, path, is_processor));
            }
        }
        None
    }

    fn find_path(&self, network: Network, path: &str, is_processor: bool) -> Option<&Layer> {
        let mut path = path.replace(".processor.", ".");
        if is_processor {
            path = from_processor(network, &path);
        }
        if network == Network::Text && !path.starts_with(TEXT_ROOT) {
            path.insert_str(0, TEXT_ROOT);
        }
        let wanted = Layer { network, path };
        self.shapes.get_key_value(&wanted).map(|(layer, _)| layer)
    }
}

/// A path with the last part as the layer is called, where the attention processor had names of its
/// own for the projections.
fn from_processor(network: Network, path: &str) -> String {
    let (before, last) = path.rsplit_once('.').unwrap_or(("", path));
    let last = match (network, last) {
        (Network::Unet, "to_out") => "to_out.0",
        (Network::Text, "to_q") => "q_proj",
        (Network::Text, "to_k") => "k_proj",
        (Network::Text, "to_v") => "v_proj",
        (Network::Text, "to_out") => "out_proj",
        _ => last,
    };
    format!("{before}.{last}")
}

/// The name of a layer in files of kohya's scripts.
pub fn kohya_name(network: Network, path: &str) -> String {
    let prefix = match network {
        Network::Unet => "lora_unet_",
        Network::Text => "lora_te_",
    };
    flat_name(prefix, path)
}

fn flat_name(prefix: &str, path: &str) -> String {
    format!("{prefix}{}", path.replace('.', "_"))
}

/// All flat names of all layers. Two layers of one name would make it a guess which is meant.
fn flat_names(
    shapes: &BTreeMap<Layer, Vec<usize>>,
    layers_per_block: usize,
) -> Result<HashMap<String, Layer>, LoraError> {
    let has_attention = |level: usize| {
        let prefix = format!("up_blocks.{level}.attentions.");
        let from = Layer {
            network: Network::Unet,
            path: prefix.clone(),
        };
        let next = shapes.range(from..).next();
        next.is_some_and(|(layer, _)| {
            layer.network == Network::Unet && layer.path.starts_with(&prefix)
        })
    };
    let mut flat = HashMap::new();
    for layer in shapes.keys() {
        let mut names = vec![kohya_name(layer.network, &layer.path)];
        match layer.network {
            Network::Unet => names.extend(
                original_path(&layer.path, layers_per_block, has_attention)
                    .map(|path| kohya_name(Network::Unet, &path)),
            ),
            Network::Text => {
                names.push(flat_name("lora_te1_", &layer.path));
                if let Some(short) = layer.path.strip_prefix(TEXT_ROOT) {
                    names.push(kohya_name(Network::Text, short));
                    names.push(flat_name("lora_te1_", short));
                }
            }
        }
        for name in names {
            if let Some(other) = flat.insert(name, layer.clone()) {
                return Err(LoraError::Layers(format!(
                    "{} and {} have the same name in kohya's files",
                    shown(&layer.path),
                    shown(&other.path)
                )));
            }
        }
    }
    Ok(flat)
}

fn is_weight(shape: &[usize]) -> bool {
    let numbers = shape
        .iter()
        .try_fold(1_usize, |all, &size| all.checked_mul(size));
    matches!(shape.len(), 2 | 4)
        && numbers.is_some_and(|numbers| (1..=WEIGHT_NUMBERS_MAX).contains(&numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO_OUT: &str = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0";
    const Q_PROJ: &str = "text_model.encoder.layers.0.self_attn.q_proj";
    const OUT_PROJ: &str = "text_model.encoder.layers.0.self_attn.out_proj";

    fn layer(network: Network, path: &str) -> Layer {
        Layer {
            network,
            path: path.into(),
        }
    }

    fn layers() -> Layers {
        let unet = [TO_OUT, "conv_in", "up_blocks.0.upsamplers.0.conv"];
        let text = [Q_PROJ, OUT_PROJ];
        let unet = unet.map(|path| (layer(Network::Unet, path), vec![4, 4]));
        let text = text.map(|path| (layer(Network::Text, path), vec![4, 4]));
        Layers::new(unet.into_iter().chain(text), 2).unwrap()
    }

    #[test]
    fn modules_of_each_spelling_are_found() {
        let at = "down_blocks.1.attentions.0.transformer_blocks.0.attn1";
        let text = "text_model.encoder.layers.0.self_attn";
        for (module, is_processor, path) in [
            (kohya_name(Network::Unet, TO_OUT), false, TO_OUT),
            (
                "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_out_0".into(),
                false,
                TO_OUT,
            ),
            ("lora_unet_input_blocks_0_0".into(), false, "conv_in"),
            (
                "lora_unet_output_blocks_2_1_conv".into(),
                false,
                "up_blocks.0.upsamplers.0.conv",
            ),
            (format!("unet.{TO_OUT}"), false, TO_OUT),
            (format!("transformer.{TO_OUT}"), false, TO_OUT),
            (TO_OUT.into(), false, TO_OUT),
            (format!("base_model.model.{TO_OUT}"), false, TO_OUT),
            (format!("base_model.model.unet.{TO_OUT}"), false, TO_OUT),
            (format!("unet.{at}.processor.to_out"), true, TO_OUT),
            (format!("{at}.processor.to_out"), true, TO_OUT),
            (kohya_name(Network::Text, Q_PROJ), false, Q_PROJ),
            (flat_name("lora_te1_", Q_PROJ), false, Q_PROJ),
            (
                "lora_te_encoder_layers_0_self_attn_q_proj".into(),
                false,
                Q_PROJ,
            ),
            (format!("text_encoder.{Q_PROJ}"), false, Q_PROJ),
            (format!("text_encoder.{text}.to_q"), true, Q_PROJ),
            (format!("text_encoder.{text}.to_out"), true, OUT_PROJ),
            (
                "base_model.model.encoder.layers.0.self_attn.q_proj".into(),
                false,
                Q_PROJ,
            ),
        ] {
            let found = layers();
            let found = found.find(&module, is_processor);
            assert_eq!(
                found.map(|found| found.path.as_str()),
                Some(path),
                "{module}"
            );
        }
    }

    #[test]
    fn similar_names_are_not_taken_for_a_layer() {
        let at = "down_blocks.1.attentions.0.transformer_blocks.0.attn1";
        for module in [
            String::new(),
            "lora_unet_".into(),
            format!("lora_unet_{TO_OUT}"),
            format!("unet.text_encoder.{TO_OUT}"),
            format!("text_encoder.{TO_OUT}"),
            format!("unet.{Q_PROJ}"),
            format!("unet.{at}.to_out"),
            TO_OUT.replace('.', "_"),
            "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_out_0".into(),
        ] {
            assert_eq!(layers().find(&module, false), None, "{module}");
        }
    }

    #[test]
    fn the_original_names_follow_the_layers_per_block() {
        let known = [(layer(Network::Unet, TO_OUT), vec![4, 4])];
        let layers = Layers::new(known, 1).unwrap();
        let name = "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_out_0";
        assert!(layers.find(name, false).is_some());
    }

    #[test]
    fn lists_that_make_no_sense_are_refused() {
        let one = |path: &str, shape: &[usize]| (layer(Network::Unet, path), shape.to_vec());
        for (layers, reason) in [
            (vec![one("a", &[4])], "has the sizes"),
            (vec![one("a", &[4, 0])], "has the sizes"),
            (vec![one("a", &[usize::MAX, 2])], "has the sizes"),
            (vec![one("a", &[4, 4]), one("a", &[4, 4])], "twice"),
            (
                vec![one("a.b", &[4, 4]), one("a_b", &[4, 4])],
                "the same name",
            ),
        ] {
            let error = Layers::new(layers, 2).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let many = (0..=LAYERS_MAX).map(|at| one(&at.to_string(), &[1, 1]));
        assert!(Layers::new(many, 2).is_err());
        assert!(Layers::new([one("conv_in", &[4, 4])], usize::MAX).is_err());
    }
}
