//! Previews: what a latent shows, at a small part of the decoder's price.

use burn::backend::Flex;
use burn::{Dispatch, Tensor};

use super::Setting;
use super::pictures::{from_numbers, latents_to_maps, numbers_of};
use super::{DiffusionError, Latents};
use crate::imaging::RgbImage;
use crate::models::nn::{Kernels, Layers, Maps, Place};
use crate::models::taesd::TinyDecoder;
use crate::models::weights::{Part, TaesdConfig};

/// Red, green and blue of each of the four channels of SD 1.x, and what is added: the WebUI's "Approx
/// cheap", from "Decoding latents to RGB without upscaling" (Keturn, huggingface.co, 2022).
const COLOURS: [[f32; 3]; 4] = [
    [0.298, 0.207, 0.208],
    [0.187, 0.286, 0.173],
    [-0.158, 0.189, 0.264],
    [-0.184, -0.271, -0.473],
];

/// A TAESD on its device.
pub struct Previewer {
    decoder: OnDevice,
    bytes: u64,
}

enum OnDevice {
    Cpu(TinyDecoder<Flex>, Place<Flex>),
    General(Box<(TinyDecoder<Dispatch>, Place<Dispatch>)>),
}

impl Previewer {
    /// Loads its decoder.
    pub fn open(part: &Part<TaesdConfig>, setting: Setting) -> Result<Self, DiffusionError> {
        fn load<B: Kernels>(
            part: &Part<TaesdConfig>,
            place: Place<B>,
        ) -> Result<TinyDecoder<B>, DiffusionError> {
            let source = part.source();
            source.leave("encoder");
            let (decoder, _) = Layers::load(&source, place, |builder| {
                TinyDecoder::new(builder, &part.config)
            })?;
            Ok(decoder)
        }
        let decoder = if setting.is_general() {
            let place = setting.general();
            OnDevice::General(Box::new((load(part, place.clone())?, place)))
        } else {
            let place = setting.cpu();
            OnDevice::Cpu(load(part, place.clone())?, place)
        };
        Ok(Self {
            decoder,
            bytes: setting.bytes_of(part.container()),
        })
    }

    /// Memory of its weights.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Pictures of latents.
    pub fn pictures(&self, latents: &Latents) -> Result<Vec<RgbImage>, DiffusionError> {
        fn run<B: Kernels>(
            decoder: &TinyDecoder<B>,
            place: &Place<B>,
            latents: &Latents,
        ) -> Result<Vec<RgbImage>, DiffusionError> {
            let maps: Maps<B> = latents_to_maps(latents, &place.device);
            let pictures: Tensor<B, 4> = decoder.forward(maps.cast(place.precision.dtype()));
            let sizes = pictures.dims();
            let numbers = numbers_of(pictures, "previews")?;
            Ok(from_numbers(&numbers, sizes, 0.0, 1.0))
        }
        match &self.decoder {
            OnDevice::Cpu(decoder, place) => run(decoder, place, latents),
            OnDevice::General(both) => run(&both.0, &both.1, latents),
        }
    }
}

/// Pictures of latents with one pixel for each of theirs, by a fixed mixture of their channels. None
/// for latents of other models.
pub(super) fn cheap(latents: &Latents) -> Option<Vec<RgbImage>> {
    let [_, channels, height, width] = latents.sizes;
    if channels != COLOURS.len() {
        return None;
    }
    let plane = height * width;
    let picture = |numbers: &[f32]| {
        let pixels = (0..plane).flat_map(|pixel| {
            (0..3).map(move |colour| {
                let mixed: f32 = (0..channels)
                    .map(|channel| numbers[channel * plane + pixel] * COLOURS[channel][colour])
                    .sum();
                mixed
            })
        });
        pixels.collect::<Vec<f32>>()
    };
    let numbers: Vec<f32> = latents
        .numbers
        .chunks_exact((channels * plane).max(1))
        .flat_map(picture)
        .collect();
    Some(from_numbers(
        &numbers,
        [latents.sizes[0], height, width, 3],
        -1.0,
        1.0,
    ))
}
