//! Writes updates in kohya's naming, which every tool reads.

use std::collections::BTreeMap;

use super::{Layer, Product, Update, kohya_name};

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its sizes; none for a single number.
    pub shape: Vec<usize>,
    /// Its numbers, the last axis running fastest.
    pub data: Vec<f32>,
}

/// What goes into a safetensors file.
#[derive(Debug, Clone, PartialEq)]
pub struct KohyaFile {
    /// The tensors in the order of the layers.
    pub tensors: Vec<Tensor>,
    /// The metadata of the file.
    pub metadata: BTreeMap<String, String>,
}

/// Updates as the tensors of kohya's scripts, with the metadata by which other tools tell the kind
/// of the file and the family of its base.
///
/// What `metadata` says goes before what is filled in. LoHa is written as LyCORIS names it, and the
/// file then names that module; all else is plain LoRA.
pub fn write_kohya(
    updates: &BTreeMap<Layer, Update>,
    metadata: BTreeMap<String, String>,
) -> KohyaFile {
    let mut tensors = Vec::new();
    for (layer, update) in updates {
        let module = kohya_name(layer.network, &layer.path);
        for (end, shape, data) in factors(update) {
            tensors.push(Tensor {
                name: format!("{module}.{end}"),
                shape,
                data,
            });
        }
        tensors.push(Tensor {
            name: format!("{module}.alpha"),
            shape: Vec::new(),
            data: vec![alpha(update)],
        });
    }
    let mut filled = description(updates);
    filled.extend(metadata);
    KohyaFile {
        tensors,
        metadata: filled,
    }
}

/// The ends of the names, the shapes and the numbers of the factors.
fn factors(update: &Update) -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
    let shape = update.shape();
    let (out, fan_in) = (shape[0], shape[1..].iter().product());
    match update.factors() {
        Product::LowRank { up, down, rank } => {
            let mut up_shape = vec![out, *rank];
            up_shape.resize(shape.len(), 1);
            let down_shape = [&[*rank], &shape[1..]].concat();
            vec![
                ("lora_down.weight", down_shape, down.clone()),
                ("lora_up.weight", up_shape, up.clone()),
            ]
        }
        Product::Hadamard {
            w1a,
            w1b,
            w2a,
            w2b,
            rank,
        } => {
            let (left, right) = (vec![out, *rank], vec![*rank, fan_in]);
            vec![
                ("hada_w1_a", left.clone(), w1a.clone()),
                ("hada_w1_b", right.clone(), w1b.clone()),
                ("hada_w2_a", left, w2a.clone()),
                ("hada_w2_b", right, w2b.clone()),
            ]
        }
    }
}

/// The alpha that gives the scale again. Zero would be read as the rank.
fn alpha(update: &Update) -> f32 {
    (f64::from(update.scale()) * update.factors().rank() as f64) as f32
}

fn description(updates: &BTreeMap<Layer, Update>) -> BTreeMap<String, String> {
    let is_lora = |update: &Update| matches!(update.factors(), Product::LowRank { .. });
    let module = if updates.values().all(is_lora) {
        "networks.lora"
    } else {
        "lycoris.kohya"
    };
    let rank = common(updates.values().map(|update| update.factors().rank()));
    let alpha = common(updates.values().map(alpha));
    [
        ("ss_v2", "False".to_owned()),
        ("ss_base_model_version", "sd_v1".to_owned()),
        ("ss_network_module", module.to_owned()),
        ("ss_network_dim", rank),
        ("ss_network_alpha", alpha),
        ("modelspec.sai_model_spec", "1.0.1".to_owned()),
        (
            "modelspec.architecture",
            "stable-diffusion-v1/lora".to_owned(),
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// The one value that all have, or the word for several.
fn common<T: PartialEq + std::fmt::Display>(mut values: impl Iterator<Item = T>) -> String {
    match values.next() {
        Some(first) if values.all(|value| value == first) => first.to_string(),
        _ => "Dynamic".into(),
    }
}
