//! Files of other writers, held against what PEFT and LyCORIS make of them.
//! `tests/reference/lora_files.py` made them.

use std::{collections::BTreeMap, fs};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::{File, layer};
use crate::models::lora::{Layer, Layers, Lora, Network, Product, Update, read};

const FOLDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/reference/fixtures/lora/"
);

/// Largest difference from the reference, by the largest number of the update.
const TOLERANCE: f32 = 1e-6;

fn text(file: &str) -> String {
    fs::read_to_string(format!("{FOLDER}{file}")).unwrap()
}

fn open(file: &str) -> File {
    let bytes = fs::read(format!("{FOLDER}{file}.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |dtype, data: &[u8]| -> Vec<f32> {
        match dtype {
            Dtype::F32 => data
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| f32::from_le_bytes(bytes))
                .collect(),
            Dtype::F16 => data
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| from_half(u16::from_le_bytes(bytes)))
                .collect(),
            other => panic!("{other:?}"),
        }
    };
    let tensors = tensors.iter().map(|(name, tensor)| {
        let values = numbers(tensor.dtype(), tensor.data());
        (name.to_owned(), (tensor.shape().to_vec(), values))
    });
    File {
        tensors: tensors.collect(),
        metadata: header.metadata().iter().flatten().map(own).collect(),
        config: None,
    }
}

fn own((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

/// A number of half precision that is neither infinite nor below the normal ones.
fn from_half(bits: u16) -> f32 {
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f32::from(bits & 0x3ff);
    let size = match exponent {
        0 => fraction * 2.0_f32.powi(-24),
        _ => (1024.0 + fraction) * 2.0_f32.powi(exponent - 25),
    };
    if bits >> 15 == 0 { size } else { -size }
}

fn known() -> Layers {
    let shapes: Value = serde_json::from_str(&text("layers.json")).unwrap();
    let of = |network, key: &str| -> Vec<_> {
        let layers = shapes[key].as_object().unwrap().iter();
        layers
            .map(|(path, shape)| {
                let shape = serde_json::from_value(shape.clone()).unwrap();
                (layer(network, path), shape)
            })
            .collect()
    };
    let layers = [of(Network::Unet, "unet"), of(Network::Text, "text")].concat();
    let layers_per_block = shapes["layers_per_block"].as_u64().unwrap();
    Layers::new(layers, layers_per_block as usize).unwrap()
}

/// What the reference adds to each layer.
fn expected(adapter: &str) -> BTreeMap<Layer, (Vec<usize>, Vec<f32>)> {
    let tensors = open("expected").tensors.into_iter();
    let of_adapter = tensors.filter_map(|(name, tensor)| {
        let (network, path) = name.strip_prefix(adapter)?[1..].split_once('/').unwrap();
        let network = match network {
            "unet" => Network::Unet,
            _ => Network::Text,
        };
        Some((layer(network, path), tensor))
    });
    of_adapter.collect()
}

/// Holds updates against those of the reference for the same layers.
#[track_caller]
fn assert_same(
    updates: &BTreeMap<Layer, Update>,
    expected: &BTreeMap<Layer, (Vec<usize>, Vec<f32>)>,
) {
    assert!(!expected.is_empty());
    assert!(updates.keys().eq(expected.keys()), "{:?}", updates.keys());
    for ((layer, update), (shape, values)) in updates.iter().zip(expected.values()) {
        assert_eq!(update.shape(), shape, "{layer:?}");
        let delta = update.delta();
        assert_eq!(delta.len(), values.len(), "{layer:?}");
        let largest = values.iter().fold(0.0, |all: f32, one| all.max(one.abs()));
        assert!(largest > 0.1, "{layer:?}");
        for (found, expected) in delta.iter().zip(values) {
            assert!(
                (found - expected).abs() <= TOLERANCE * largest,
                "{layer:?}: {found}, and not {expected}"
            );
        }
    }
}

#[track_caller]
fn read_file(file: &File) -> Lora {
    read(file, &known()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn all_spellings_of_one_adapter_give_the_same_updates() {
    for file in ["diffusers", "kohya", "kohya_original", "middle"] {
        assert_same(&read_file(&open(file)).updates, &expected("plain"));
    }
}

#[test]
fn the_first_attention_processors_give_the_same_updates() {
    let lora = read_file(&open("old"));
    let mut expected = expected("plain");
    assert_eq!(lora.updates.len(), 6);
    expected.retain(|layer, _| lora.updates.contains_key(layer));
    assert_same(&lora.updates, &expected);
}

#[test]
fn a_folder_of_peft_is_scaled_by_the_settings_beside_it() {
    for (file, adapter, network) in [
        ("peft_unet", "plain", Network::Unet),
        ("peft_text_encoder", "plain", Network::Text),
        ("peft_root", "root", Network::Text),
    ] {
        let mut folder = open(file);
        folder.config = Some(text(&format!("{file}.json")));
        let mut expected = expected(adapter);
        expected.retain(|layer, _| layer.network == network);
        assert_same(&read_file(&folder).updates, &expected);
    }
}

#[test]
fn loha_and_locon_are_those_of_lycoris() {
    let lora = read_file(&open("lycoris"));
    assert_same(&lora.updates, &expected("lycoris"));
    let is_hadamard = |update: &&Update| matches!(update.factors(), Product::Hadamard { .. });
    assert_eq!(lora.updates.values().filter(is_hadamard).count(), 3);
}

#[test]
fn a_file_of_two_spellings_changes_layers_twice() {
    let mut both = open("kohya");
    both.tensors.extend(open("kohya_original").tensors);
    let error = read(&both, &known()).unwrap_err().to_string();
    assert!(error.contains("as the module"), "{error}");
}

#[test]
fn what_a_file_says_of_itself_is_kept() {
    let lora = read_file(&open("kohya"));
    assert_eq!(lora.alias.as_deref(), Some("someone"));
    assert_eq!(lora.base.as_deref(), Some("sd_v1"));
    assert_eq!(lora.metadata["ss_v2"], "False");
    let lora = read_file(&open("middle"));
    assert_eq!((lora.alias, lora.base), (None, None));
}
