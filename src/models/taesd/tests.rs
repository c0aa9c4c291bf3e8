//! TAESD on real photos, against the golden outputs of the test data.

use burn::backend::Flex;
use burn::tensor::TensorData;
use burn::{Dispatch, Tensor};

use super::{TinyDecoder, TinyEncoder};
use crate::imaging::{Limits, RgbImage, decode, samples};
use crate::models::nn::Layers;
use crate::models::reference::{OnCpu, place};
use crate::models::weights::{Container, Files};

/// The test data's own: latents differ by at most so much.
const LATENT_TOLERANCE: f32 = 0.02;

/// And reconstructions are as like the photo as the reference's, to so many decibels.
const LIKENESS_TOLERANCE: f64 = 0.1;

fn both<B: OnCpu>(path: &std::path::Path) -> (TinyEncoder<B>, TinyDecoder<B>) {
    let Files::Taesd(part) = Files::open(path).unwrap() else {
        panic!("{} is no TAESD", path.display());
    };
    let source = part.source();
    Layers::load(&source, place(), |builder| {
        Ok((
            TinyEncoder::new(builder, &part.config)?,
            TinyDecoder::new(builder, &part.config)?,
        ))
    })
    .unwrap()
    .0
}

fn likeness(photo: &RgbImage, other: &[f32]) -> f64 {
    let apart: f64 = photo
        .as_raw()
        .iter()
        .zip(other)
        .map(|(&wanted, &got)| {
            // As a picture has it: rounded to whole levels.
            (f64::from(wanted) - f64::from((got * 255.0).round())).powi(2)
        })
        .sum();
    10.0 * (255.0 * 255.0 * other.len() as f64 / apart).log10()
}

fn photos_come_back_as_well_as_from_the_reference<B: OnCpu>(file: &str, names: &[&str]) {
    let Some(photos) = samples::shared_photos("the reconstruction of photos") else {
        return;
    };
    let folder = photos.parent().unwrap();
    let (encoder, decoder) = both::<B>(&folder.join("models/taesd").join(file));
    let golden = folder.join("golden/taesd");
    let stored = Container::open(&golden.join("latents.safetensors")).unwrap();
    for name in names {
        let open = |end: &str| {
            let bytes = std::fs::read(golden.join(format!("{name}_{end}.png"))).unwrap();
            decode(&bytes, &Limits::default()).unwrap()
        };
        let (photo, wanted) = (open("in"), open("out"));
        let numbers: Vec<f32> = photo
            .as_raw()
            .iter()
            .map(|&x| f32::from(x) / 255.0)
            .collect();
        let sizes = [1, photo.height() as usize, photo.width() as usize, 3];
        let input = Tensor::<B, 4>::from_data(TensorData::new(numbers, sizes), &B::cpu());
        let latents = encoder.forward(input);
        let planes = latents.clone().permute([0, 3, 1, 2]).into_data();
        let planes = planes.into_vec::<f32>().unwrap();
        let key = stored.names().find(|key| key.contains(name)).unwrap();
        let golden_latents = stored.get(key).unwrap().to_f32().unwrap();
        assert_eq!(planes.len(), golden_latents.len());
        for (got, wanted) in planes.iter().zip(&golden_latents) {
            assert!(
                (got - wanted).abs() <= LATENT_TOLERANCE,
                "{name}: {got} {wanted}"
            );
        }
        let output = decoder
            .forward(latents)
            .into_data()
            .into_vec::<f32>()
            .unwrap();
        let wanted: Vec<f32> = wanted
            .as_raw()
            .iter()
            .map(|&x| f32::from(x) / 255.0)
            .collect();
        let (ours, theirs) = (likeness(&photo, &output), likeness(&photo, &wanted));
        assert!(
            (ours - theirs).abs() <= LIKENESS_TOLERANCE,
            "{name}: {ours} {theirs}"
        );
    }
}

#[test]
fn photos_come_back_as_well_as_from_the_reference_on_the_cpus_kernels() {
    photos_come_back_as_well_as_from_the_reference::<Flex>(
        "taesd_f16.safetensors",
        &["astronaut", "face", "selfie"],
    );
}

#[test]
fn photos_come_back_as_well_as_from_the_reference_on_any_device_and_from_8_bit_floats() {
    photos_come_back_as_well_as_from_the_reference::<Dispatch>(
        "original/taesd_fp8.safetensors",
        &["face"],
    );
}
