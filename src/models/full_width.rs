//! The networks in the real widths of Stable Diffusion 1.5, against diffusers.
//!
//! No weights are stored: both sides compute them by the formula of `tests/reference/diffusion_full.py`.

use std::borrow::Cow;

use burn::backend::Flex;
use burn::tensor::TensorData;
use burn::{Tensor, tensor::backend::BackendTypes};
use half::f16;
use rayon::prelude::*;

use super::clip::TextEncoder;
use super::nn::{Layers, Maps};
use super::reference::{Fixture, OnCpu, place};
use super::unet::Unet;
use super::vae::{Decoder, Encoder};
use super::weights::{Checkpoint, Files};

/// Ten times what is seen, after 860 million products in another order.
const TOLERANCE: f32 = 1e-4;

/// The number between -1 and 1 that a name has at a place.
fn uniform(seed: u64, place: usize) -> f32 {
    let mut z = seed.wrapping_add((place as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// FNV-1a.
fn seed(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// A parameter as 16-bit floats.
fn parameter(name: &str, shape: &[usize]) -> Vec<u8> {
    let seed = seed(name);
    let count: usize = shape.iter().product();
    let fan_in: usize = shape[1..].iter().product();
    let scale = (3.0 / fan_in as f64).sqrt() as f32;
    let value = |place: usize| {
        let u = uniform(seed, place);
        if name.ends_with("embedding.weight") {
            0.035 * u
        } else if shape.len() > 1 {
            scale * u
        } else if name.ends_with(".weight") {
            1.0 + 0.1 * u
        } else {
            0.05 * u
        }
    };
    let mut bytes = vec![0; 2 * count];
    bytes.par_chunks_mut(2).enumerate().for_each(|(i, bytes)| {
        bytes.copy_from_slice(&f16::from_f32(value(i)).to_le_bytes());
    });
    bytes
}

/// Names and shapes of a network, and its configuration.
fn listed(network: &str) -> (String, Vec<(String, Vec<usize>)>) {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/reference/fixtures/layouts.txt"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let begin = format!("= sd15 {network} ");
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&begin));
    let config = lines.next().unwrap()[begin.len()..].to_owned();
    let mut name = String::new();
    let lines = lines.take_while(|line| !line.starts_with("= "));
    let listed = lines.map(|line| {
        let parts: Vec<&str> = line.split('\t').collect();
        name.truncate(parts[0].parse().unwrap());
        name.push_str(parts[1]);
        let shape = parts[4].split('x').map(|size| size.parse().unwrap());
        (name.clone(), shape.collect())
    });
    (config, listed.collect())
}

/// A file with all parameters of a list.
fn file(parameters: &[(String, Vec<usize>)]) -> Vec<u8> {
    let mut head = serde_json::Map::new();
    let mut offset = 0;
    for (name, shape) in parameters {
        let end = offset + 2 * shape.iter().product::<usize>();
        let entry = serde_json::json!({
            "dtype": "F16", "shape": shape, "data_offsets": [offset, end],
        });
        head.insert(name.clone(), entry);
        offset = end;
    }
    let head = serde_json::to_vec(&head).unwrap();
    let mut bytes = Vec::with_capacity(8 + head.len() + offset);
    bytes.extend((head.len() as u64).to_le_bytes());
    bytes.extend(head);
    for (name, shape) in parameters {
        bytes.extend(parameter(name, shape));
    }
    bytes
}

fn checkpoint() -> Box<Checkpoint> {
    let mut files: Vec<(String, Cow<'static, [u8]>)> = Vec::new();
    let index = serde_json::json!({"_class_name": "StableDiffusionPipeline"});
    files.push((
        String::from("model_index.json"),
        index.to_string().into_bytes().into(),
    ));
    let scheduler = serde_json::json!({"_class_name": "DDIMScheduler"});
    files.push((
        String::from("scheduler/scheduler_config.json"),
        scheduler.to_string().into_bytes().into(),
    ));
    for (network, folder, name) in [
        ("unet", "unet", "diffusion_pytorch_model"),
        ("vae", "vae", "diffusion_pytorch_model"),
        ("text", "text_encoder", "model"),
    ] {
        let (config, parameters) = listed(network);
        files.push((format!("{folder}/config.json"), config.into_bytes().into()));
        files.push((
            format!("{folder}/{name}.safetensors"),
            file(&parameters).into(),
        ));
    }
    match Files::from_memory("full", files).unwrap() {
        Files::Checkpoint(checkpoint) => checkpoint,
        _ => panic!("the files are no checkpoint"),
    }
}

/// An input, in the order of its file: uniform with a variance of 1, times a factor.
fn input<const D: usize>(name: &str, sizes: [usize; D], factor: f32) -> Tensor<Flex, D> {
    let (seed, scale) = (seed(name), 3_f64.sqrt() as f32);
    let count = sizes.iter().product();
    let numbers: Vec<f32> = (0..count)
        .map(|place| scale * uniform(seed, place) * factor)
        .collect();
    let device: <Flex as BackendTypes>::Device = Flex::cpu();
    Tensor::from_data(TensorData::new(numbers, sizes), &device)
}

fn maps(name: &str, sizes: [usize; 4], factor: f32) -> Maps<Flex> {
    input(name, sizes, factor).permute([0, 2, 3, 1])
}

#[test]
fn networks_in_their_real_widths_are_those_of_diffusers() {
    let fixture = Fixture::open("full.safetensors");
    for name in fixture
        .names()
        .filter_map(|name| name.strip_prefix("weight."))
    {
        let networks = ["unet", "vae", "text"].into_iter();
        let all = networks.flat_map(|network| listed(network).1);
        let (_, shape) = all.into_iter().find(|(other, _)| other == name).unwrap();
        let bytes = parameter(name, &shape);
        let numbers = bytes.chunks_exact(2);
        let first: Vec<f32> = numbers
            .map(|bytes| f16::from_le_bytes([bytes[0], bytes[1]]).to_f32())
            .take(8)
            .collect();
        let wanted = fixture.numbers(&format!("weight.{name}"));
        assert_eq!(&first[..wanted.len()], wanted, "{name}");
    }

    let checkpoint = checkpoint();
    let part = &checkpoint.unet;
    let (unet, _) = Layers::load(&part.source(), place(), |builder| {
        Unet::new(builder, &part.config)
    })
    .unwrap();
    let noise = unet.forward(
        maps("input.unet.x", [1, 4, 8, 8], 1.0),
        &[321.0],
        &input("input.unet.text", [1, 77, 768], 1.0),
        None,
    );
    fixture.same_maps("unet.eps", noise, TOLERANCE);
    drop(unet);

    let part = &checkpoint.vae;
    let ((encoder, decoder), _) = Layers::load(&part.source(), place(), |builder| {
        Ok((
            Encoder::new(builder, &part.config)?,
            Decoder::new(builder, &part.config)?,
        ))
    })
    .unwrap();
    let posterior = encoder.forward(maps("input.vae.x", [1, 3, 32, 32], 0.5));
    fixture.same_maps("vae.mean", posterior.mean, TOLERANCE);
    fixture.same_maps("vae.logvar", posterior.log_variance, TOLERANCE);
    let latents = maps("input.vae.z", [1, 4, 4, 4], 1.0) * part.config.scaling_factor;
    fixture.same_maps("vae.y", decoder.forward(latents), TOLERANCE);

    let part = &checkpoint.text;
    let (encoder, _) = Layers::<Flex>::load(&part.source(), place(), |builder| {
        TextEncoder::new(builder, &part.config)
    })
    .unwrap();
    let tokens = fixture.numbers("text.tokens").iter();
    let tokens = vec![tokens.map(|&token| token as u32).collect()];
    for (name, skip) in [("text.last", 0), ("text.skip.2", 1)] {
        let states = encoder.forward(encoder.embed(&tokens), skip);
        let [_, length, width] = states.dims();
        let sample = states
            .reshape([length * width / 16, 16])
            .narrow(1, 0, 1)
            .squeeze_dim::<1>(1);
        fixture.same(&format!("{name}.sample"), sample, TOLERANCE);
    }
}
