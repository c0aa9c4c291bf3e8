//! The text encoder against transformers.

use burn::Dispatch;
use burn::backend::Flex;

use super::TextEncoder;
use crate::models::nn::Layers;
use crate::models::reference::{Fixture, OnCpu, folder, place};
use crate::models::weights::Files;

/// See the tests of the UNet.
const TOLERANCE: f32 = 1e-5;

fn encoder<B: OnCpu>() -> TextEncoder<B> {
    let Files::Checkpoint(checkpoint) = Files::open(&folder().join("tiny")).unwrap() else {
        panic!("the folder is no checkpoint");
    };
    let part = &checkpoint.text;
    let source = part.source();
    Layers::load(&source, place(), |builder| {
        TextEncoder::new(builder, &part.config)
    })
    .unwrap()
    .0
}

fn texts_are_those_of_transformers<B: OnCpu>() {
    let fixture = Fixture::open("networks.safetensors");
    let encoder = encoder::<B>();
    let tokens: Vec<Vec<u32>> = fixture
        .numbers("text.tokens")
        .chunks(77)
        .map(|row| row.iter().map(|&token| token as u32).collect())
        .collect();
    let encoded = encoder.forward(encoder.embed(&tokens), 0);
    fixture.same("text.last", encoded, TOLERANCE);
    for clip_skip in [2, 3] {
        let encoded = encoder.forward(encoder.embed(&tokens[..1]), clip_skip - 1);
        fixture.same(&format!("text.skip.{clip_skip}"), encoded, TOLERANCE);
    }
}

#[test]
fn texts_are_those_of_transformers_on_the_cpus_kernels() {
    texts_are_those_of_transformers::<Flex>();
}

#[test]
fn texts_are_those_of_transformers_on_any_device() {
    texts_are_those_of_transformers::<Dispatch>();
}
