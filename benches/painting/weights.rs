//! Checkpoints for benches: one of the real widths of Stable Diffusion 1.5 with random weights, and the
//! tiny one of the tests.
//!
//! Names, shapes and configurations are those of diffusers, from the fixtures of the tests. The weights
//! keep activations in the range of a trained network, so speed and rounding are as there.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};
use half::f16;
use photog::models::weights::{Checkpoint, ControlNetConfig, Files, Part};
use rayon::prelude::*;
use serde_json::{Value, json};

/// Configurations, names and shapes of the networks.
const LAYOUTS: &str = include_str!("../../tests/reference/fixtures/layouts.txt");

/// The folder of the ControlNet beside the checkpoint's networks.
const CONTROL_NET: &str = "controlnet";

/// The class in the configuration of a ControlNet alone.
const CONTROL_NET_CLASS: &str = "ControlNetModel";

/// Written last: where it is, all the rest is.
const INDEX: &str = "model_index.json";

macro_rules! tiny {
    ($path:literal) => {
        include_bytes!(concat!("../../tests/reference/fixtures/diffusion/", $path)).as_slice()
    };
}

/// The tiny checkpoint of the tests.
pub fn tiny() -> Result<Box<Checkpoint>> {
    let files = [
        ("model_index.json", tiny!("tiny/model_index.json")),
        (
            "scheduler/scheduler_config.json",
            tiny!("tiny/scheduler/scheduler_config.json"),
        ),
        ("tokenizer/vocab.json", tiny!("tiny/tokenizer/vocab.json")),
        ("tokenizer/merges.txt", tiny!("tiny/tokenizer/merges.txt")),
        (
            "text_encoder/config.json",
            tiny!("tiny/text_encoder/config.json"),
        ),
        (
            "text_encoder/model.safetensors",
            tiny!("tiny/text_encoder/model.safetensors"),
        ),
        ("unet/config.json", tiny!("tiny/unet/config.json")),
        (
            "unet/diffusion_pytorch_model.safetensors",
            tiny!("tiny/unet/diffusion_pytorch_model.safetensors"),
        ),
        ("vae/config.json", tiny!("tiny/vae/config.json")),
        (
            "vae/diffusion_pytorch_model.safetensors",
            tiny!("tiny/vae/diffusion_pytorch_model.safetensors"),
        ),
    ];
    as_checkpoint(in_memory("tiny", &files)?)
}

/// The tiny ControlNet of the tests.
pub fn tiny_control_net() -> Result<Box<Part<ControlNetConfig>>> {
    let files = [
        ("config.json", tiny!("tiny_controlnet/config.json")),
        (
            "diffusion_pytorch_model.safetensors",
            tiny!("tiny_controlnet/diffusion_pytorch_model.safetensors"),
        ),
    ];
    as_control_net(in_memory("tiny_controlnet", &files)?)
}

fn in_memory(name: &str, files: &[(&str, &'static [u8])]) -> Result<Files> {
    let owned = files
        .iter()
        .map(|&(path, bytes)| (path.to_owned(), Cow::Borrowed(bytes)));
    Ok(Files::from_memory(name, owned)?)
}

/// Writes a checkpoint of the real widths, as diffusers does, with 16-bit floats; a ControlNet too where
/// it is wanted. What is there already stays.
pub fn write(folder: &Path, with_control_net: bool) -> Result<()> {
    if !folder.join(INDEX).is_file() {
        network(&folder.join("unet"), "diffusion_pytorch_model", "unet")?;
        network(&folder.join("vae"), "diffusion_pytorch_model", "vae")?;
        network(&folder.join("text_encoder"), "model", "text")?;
        let index = json!({"_class_name": "StableDiffusionPipeline"});
        fs::write(folder.join(INDEX), index.to_string())?;
    }
    let control_net = folder.join(CONTROL_NET);
    if with_control_net && !control_net.join("config.json").is_file() {
        network(&control_net, "diffusion_pytorch_model", "control_net")?;
    }
    Ok(())
}

/// The checkpoint that [`write`] wrote.
pub fn open(folder: &Path) -> Result<Box<Checkpoint>> {
    as_checkpoint(Files::open(folder)?)
}

/// The ControlNet that [`write`] wrote.
pub fn open_control_net(folder: &Path) -> Result<Box<Part<ControlNetConfig>>> {
    as_control_net(Files::open(&folder.join(CONTROL_NET))?)
}

fn as_checkpoint(files: Files) -> Result<Box<Checkpoint>> {
    match files {
        Files::Checkpoint(checkpoint) => Ok(checkpoint),
        _ => bail!("the files are no checkpoint"),
    }
}

fn as_control_net(files: Files) -> Result<Box<Part<ControlNetConfig>>> {
    match files {
        Files::ControlNet(part) => Ok(part),
        _ => bail!("the files are no ControlNet"),
    }
}

/// A tensor of a network.
struct Listed {
    name: String,
    shape: Vec<usize>,
}

impl Listed {
    fn bytes(&self) -> usize {
        2 * self.shape.iter().product::<usize>()
    }
}

/// Configuration and tensors of a network of Stable Diffusion 1.5.
fn listed(network: &str) -> Result<(Value, Vec<Listed>)> {
    let begin = format!("= sd15 {network} ");
    let mut lines = LAYOUTS.lines().skip_while(|line| !line.starts_with(&begin));
    let head = lines
        .next()
        .with_context(|| format!("layouts.txt has no {network}"))?;
    let mut config: Value = serde_json::from_str(&head[begin.len()..])?;
    if network == "control_net" {
        config["_class_name"] = Value::from(CONTROL_NET_CLASS);
    }
    // A line says how much of the last name stays, what follows, and last the shape.
    let mut name = String::new();
    let mut tensors = Vec::new();
    for line in lines.take_while(|line| !line.starts_with("= ")) {
        let parts: Vec<&str> = line.split('\t').collect();
        ensure!(parts.len() == 5, "layouts.txt has a broken line: {line}");
        name.truncate(parts[0].parse()?);
        name.push_str(parts[1]);
        let sizes = parts[4].split('x').map(str::parse);
        tensors.push(Listed {
            name: name.clone(),
            shape: sizes.collect::<Result<_, _>>()?,
        });
    }
    Ok((config, tensors))
}

/// Writes the folder of a network; its configuration last.
fn network(folder: &Path, file: &str, name: &str) -> Result<()> {
    let (config, tensors) = listed(name)?;
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{file}.safetensors"));
    let mut out = BufWriter::new(
        File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?,
    );
    let mut head = serde_json::Map::new();
    let mut offset = 0;
    for tensor in &tensors {
        let end = offset + tensor.bytes();
        let entry = json!({
            "dtype": "F16", "shape": tensor.shape, "data_offsets": [offset, end],
        });
        head.insert(tensor.name.clone(), entry);
        offset = end;
    }
    let head = serde_json::to_vec(&head)?;
    out.write_all(&(head.len() as u64).to_le_bytes())?;
    out.write_all(&head)?;
    for tensor in &tensors {
        out.write_all(&numbers(tensor))?;
    }
    out.into_inner()?.sync_all()?;
    fs::write(folder.join("config.json"), config.to_string())?;
    Ok(())
}

/// The numbers of a tensor: norms near 1, biases near 0, and others such that what goes through keeps
/// its variance.
fn numbers(tensor: &Listed) -> Vec<u8> {
    let seed = hash(&tensor.name);
    let (is_matrix, is_norm) = (tensor.shape.len() > 1, tensor.name.ends_with(".weight"));
    let (centre, scale) = if tensor.name.ends_with("embedding.weight") {
        (0.0, 0.035)
    } else if is_matrix {
        let inputs: usize = tensor.shape[1..].iter().product();
        (0.0, (3.0 / inputs as f64).sqrt() as f32)
    } else if is_norm {
        (1.0, 0.1)
    } else {
        (0.0, 0.05)
    };
    let mut bytes = vec![0; tensor.bytes()];
    let numbers = bytes.par_chunks_mut(2).enumerate().with_min_len(1 << 12);
    numbers.for_each(|(place, bytes)| {
        let number = f16::from_f32(centre + scale * uniform(seed, place));
        bytes.copy_from_slice(&number.to_le_bytes());
    });
    bytes
}

/// The number between -1 and 1 of a seed at a place (SplitMix64).
pub fn uniform(seed: u64, place: usize) -> f32 {
    let mut state = seed.wrapping_add((place as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^= state >> 31;
    (state >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// FNV-1a.
pub fn hash(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}
