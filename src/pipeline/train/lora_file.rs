//! The LoRA as a file that other tools read too (`portrait-pipeline` section 12).

use std::collections::BTreeMap;

use super::{error::TrainError, hash::sha256};
use crate::models::{
    lora::KohyaFile,
    weights::{Kept, Named, write_safetensors},
};

/// Bytes of the length before the head of a safetensors file.
const LENGTH_BYTES: usize = 8;

/// The bytes of the file, with its hashes.
pub(super) fn lora_file(file: KohyaFile) -> Result<Vec<u8>, TrainError> {
    let tensors: Vec<Named<'_>> = file
        .tensors
        .iter()
        .map(|tensor| Named {
            name: &tensor.name,
            shape: &tensor.shape,
            numbers: &tensor.data,
        })
        .collect();
    let mut metadata = file.metadata;
    let bytes = written(&tensors, &metadata)?;
    // As kohya's scripts do, the hash is that of what stands after the head, so that the metadata can
    // hold it.
    let length = bytes
        .first_chunk()
        .map_or(0, |length| u64::from_le_bytes(*length)) as usize;
    let hash = sha256(bytes.get(LENGTH_BYTES + length..).unwrap_or_default());
    metadata.insert("modelspec.hash_sha256".into(), format!("0x{hash}"));
    metadata.insert("sshs_model_hash".into(), hash);
    written(&tensors, &metadata)
}

fn written(
    tensors: &[Named<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, TrainError> {
    let mut bytes = Vec::new();
    write_safetensors(tensors, metadata, Kept::Half, &mut bytes)?;
    Ok(bytes)
}
