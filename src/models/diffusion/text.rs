//! Texts: chunks of tokens to what the UNet attends to.

use std::sync::Arc;

use burn::Tensor;
use burn::tensor::TensorData;

use super::pictures::numbers_of;
use super::{DiffusionError, Text, Vectors};
use crate::models::clip::TextEncoder;
use crate::models::nn::{Kernels, Place, Tokens};
use crate::models::prompt::{Chunk, Emphasis, weigh};

/// Finds a learned word by its name.
pub type FindVectors<'a> = &'a dyn Fn(&str) -> Option<Arc<Vectors>>;

/// Encodes the chunks of one prompt. `clip_skip` counts as the WebUI does: 1 takes all layers.
pub(super) fn encode<B: Kernels>(
    encoder: &TextEncoder<B>,
    place: &Place<B>,
    chunks: &[Chunk],
    find: FindVectors<'_>,
    clip_skip: usize,
    emphasis: Emphasis,
    device: &str,
) -> Result<Text, DiffusionError> {
    check(encoder, chunks, clip_skip)?;
    let ids: Vec<Vec<u32>> = chunks.iter().map(|chunk| chunk.ids.to_vec()).collect();
    let mut vectors = encoder.embed(&ids); // [chunks, tokens, width]
    let [_, tokens, width] = vectors.dims();
    for (index, chunk) in chunks.iter().enumerate() {
        for placement in &chunk.embeddings {
            let learned = find(&placement.name).ok_or_else(|| {
                DiffusionError::Request(format!(
                    "the embedding {} is not there any more",
                    placement.name
                ))
            })?;
            vectors = place_vectors(vectors, &learned, index, placement.position, place)?;
        }
    }
    let encoded = encoder.forward(vectors, clip_skip - 1);
    let mut numbers = numbers_of(encoded, device)?;
    for (chunk, numbers) in chunks.iter().zip(numbers.chunks_exact_mut(tokens * width)) {
        weigh(numbers, &chunk.weights, emphasis);
    }
    Ok(Text {
        tokens: chunks.len() * tokens,
        width,
        numbers: numbers.into(),
    })
}

fn check<B: Kernels>(
    encoder: &TextEncoder<B>,
    chunks: &[Chunk],
    clip_skip: usize,
) -> Result<(), DiffusionError> {
    let refuse = |text: String| Err(DiffusionError::Request(text));
    if !(1..=encoder.layers()).contains(&clip_skip) {
        return refuse(format!(
            "a clip skip of {clip_skip} is not possible, the text encoder has {} layers; take 1 to \
             leave none out",
            encoder.layers()
        ));
    }
    let longest = chunks.iter().map(|chunk| chunk.ids.len()).max();
    if longest.is_none_or(|longest| longest > encoder.positions()) {
        return refuse(format!(
            "the text encoder takes {} tokens at a time, and the tokenizer made more",
            encoder.positions()
        ));
    }
    let last = chunks.iter().flat_map(|chunk| chunk.ids).max();
    if last.is_some_and(|last| last as usize >= encoder.vocabulary()) {
        return refuse(String::from(
            "the tokenizer knows words that the text encoder does not; they are of different models",
        ));
    }
    Ok(())
}

/// Puts learned vectors in the place of tokens from `position` of a chunk on.
fn place_vectors<B: Kernels>(
    vectors: Tokens<B>,
    learned: &Vectors,
    chunk: usize,
    position: usize,
    place: &Place<B>,
) -> Result<Tokens<B>, DiffusionError> {
    let [_, tokens, width] = vectors.dims();
    if learned.width != width || position + learned.count > tokens {
        return Err(DiffusionError::Request(format!(
            "an embedding with vectors of {} numbers does not fit this model, whose words have \
             {width}",
            learned.width
        )));
    }
    let data = TensorData::new(learned.numbers.clone(), [1, learned.count, width]);
    let learned_tensor =
        Tensor::<B, 3>::from_data(data, &place.device).cast(place.precision.dtype());
    Ok(vectors.slice_assign(
        [
            chunk..chunk + 1,
            position..position + learned.count,
            0..width,
        ],
        learned_tensor,
    ))
}
