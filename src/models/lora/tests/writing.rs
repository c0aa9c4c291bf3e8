//! What is written can be read again, by us and by others.

use std::collections::BTreeMap;

use super::{CONV, File, PROJ_IN, Q_PROJ, TO_Q, known, layer};
use crate::models::lora::{KohyaFile, Layer, Network, Product, Update, read, write_kohya};

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|at| at as f32 * 0.25 - 1.0).collect()
}

fn low_rank(shape: &[usize], rank: usize, alpha: f32) -> Update {
    let fan_in: usize = shape[1..].iter().product();
    let product = Product::LowRank {
        up: numbers(shape[0] * rank),
        down: numbers(fan_in * rank),
        rank,
    };
    Update::new(shape, product, alpha / rank as f32).unwrap()
}

fn hadamard() -> Update {
    let product = Product::Hadamard {
        w1a: numbers(8),
        w1b: numbers(12),
        w2a: numbers(8),
        w2b: numbers(12),
        rank: 2,
    };
    Update::new(&[4, 6], product, 0.5).unwrap()
}

fn updates() -> BTreeMap<Layer, Update> {
    BTreeMap::from([
        (layer(Network::Unet, TO_Q), low_rank(&[4, 6], 3, 2.0)),
        (layer(Network::Unet, CONV), low_rank(&[4, 6, 3, 3], 3, 2.0)),
        (
            layer(Network::Unet, PROJ_IN),
            low_rank(&[4, 6, 1, 1], 3, 2.0),
        ),
        (layer(Network::Text, Q_PROJ), low_rank(&[4, 6], 3, 2.0)),
    ])
}

fn as_file(written: KohyaFile) -> File {
    let tensors = written.tensors.into_iter();
    File {
        tensors: tensors
            .map(|tensor| (tensor.name, (tensor.shape, tensor.data)))
            .collect(),
        metadata: written.metadata,
        config: None,
    }
}

#[test]
fn what_is_written_reads_the_same() {
    let mut updates = updates();
    let file = as_file(write_kohya(&updates, BTreeMap::new()));
    assert_eq!(read(&file, &known()).unwrap().updates, updates);
    updates.insert(layer(Network::Unet, TO_Q), hadamard());
    let file = as_file(write_kohya(&updates, BTreeMap::new()));
    assert_eq!(read(&file, &known()).unwrap().updates, updates);
}

#[test]
fn tensors_have_the_names_and_shapes_of_kohyas_scripts() {
    let written = write_kohya(&updates(), BTreeMap::new());
    let conv = "lora_unet_mid_block_resnets_0_conv1";
    let text = "lora_te_text_model_encoder_layers_0_self_attn_q_proj";
    for (name, shape) in [
        (format!("{conv}.lora_down.weight"), &[3, 6, 3, 3][..]),
        (format!("{conv}.lora_up.weight"), &[4, 3, 1, 1]),
        (format!("{conv}.alpha"), &[]),
        (format!("{text}.lora_down.weight"), &[3, 6]),
        (format!("{text}.lora_up.weight"), &[4, 3]),
    ] {
        let tensor = written.tensors.iter().find(|tensor| tensor.name == name);
        let tensor = tensor.unwrap_or_else(|| panic!("{name}"));
        assert_eq!(tensor.shape, shape, "{name}");
        assert_eq!(tensor.data.len(), shape.iter().product::<usize>(), "{name}");
    }
    assert_eq!(written.tensors.len(), 12);
}

#[test]
fn metadata_say_what_the_file_is() {
    let given = BTreeMap::from([("ss_output_name".to_owned(), "someone".to_owned())]);
    let written = write_kohya(&updates(), given).metadata;
    assert_eq!(written["ss_output_name"], "someone");
    assert_eq!(written["ss_base_model_version"], "sd_v1");
    assert_eq!(written["ss_network_module"], "networks.lora");
    assert_eq!(written["ss_network_dim"], "3");
    assert_eq!(written["ss_network_alpha"], "2");
    let given = BTreeMap::from([("ss_network_alpha".to_owned(), "2.0".to_owned())]);
    assert_eq!(
        write_kohya(&updates(), given).metadata["ss_network_alpha"],
        "2.0"
    );

    let mut mixed = updates();
    mixed.insert(layer(Network::Unet, TO_Q), hadamard());
    let written = write_kohya(&mixed, BTreeMap::new()).metadata;
    assert_eq!(written["ss_network_module"], "lycoris.kohya");
    assert_eq!(written["ss_network_dim"], "Dynamic");
}
