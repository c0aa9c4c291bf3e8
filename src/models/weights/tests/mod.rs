//! Tests of the whole module: hostile files, layouts against diffusers, and what files are.

mod fixture;
mod folders;
mod hostile;
mod kinds;
mod layouts;
mod sources;

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use super::{Files, WeightsError};

/// Name and shape of a tensor.
type Named = (String, Vec<usize>);

/// A safetensors file with such tensors of halves, all zero but those of one number per tensor,
/// which tell tensors apart: the first number of tensor `n` is `n` modulo 512.
fn pack(tensors: &[Named], metadata: &[(&str, &str)]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .enumerate()
        .map(|(at, (_, shape))| {
            let mut bytes = vec![0; 2 * shape.iter().product::<usize>()];
            let mark = half::f16::from_f32((at % 512) as f32).to_le_bytes();
            let length = bytes.len().min(2);
            bytes[..length].copy_from_slice(&mark[..length]);
            bytes
        })
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
        let view = TensorView::new(Dtype::F16, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    let metadata: HashMap<String, String> = metadata
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    serialize(views, Some(metadata)).unwrap()
}

/// A safetensors file from the text of its head and its numbers.
fn raw(head: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (head.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn named(names: &[(&str, &[usize])]) -> Vec<Named> {
    let names = names.iter();
    names
        .map(|(name, shape)| ((*name).to_owned(), shape.to_vec()))
        .collect()
}

/// Opens one file in memory.
fn open_one(bytes: Vec<u8>) -> Result<Files, WeightsError> {
    Files::from_memory("pack", [("model.safetensors".to_owned(), bytes.into())])
}

/// Opens a folder in memory.
fn open_folder(files: &BTreeMap<String, Vec<u8>>) -> Result<Files, WeightsError> {
    let files = files.clone().into_iter();
    Files::from_memory("pack", files.map(|(path, bytes)| (path, bytes.into())))
}

/// The text of the error that this is.
fn error<T>(result: Result<T, WeightsError>) -> String {
    match result {
        Ok(_) => panic!("this is no error"),
        Err(error) => error.to_string(),
    }
}
