//! Pictures and latents of ordinary memory as tensors, and back.

use crate::imaging::RgbImage;
use burn::Tensor;
use burn::tensor::TensorData;

use super::{DiffusionError, Latents};
use crate::models::nn::{Kernels, Maps, Place};

/// Pictures of one size as `[b, h, w, 3]` with values from `low` to `high`.
pub(super) fn to_maps<B: Kernels>(
    pictures: &[RgbImage],
    place: &Place<B>,
    low: f32,
    high: f32,
) -> Maps<B> {
    let (width, height) = pictures.first().map_or((0, 0), RgbImage::dimensions);
    let scale = (high - low) / 255.0;
    let numbers: Vec<f32> = pictures
        .iter()
        .flat_map(RgbImage::as_raw)
        .map(|&value| f32::from(value) * scale + low)
        .collect();
    let sizes = [pictures.len(), height as usize, width as usize, 3];
    Tensor::<B, 4>::from_data(TensorData::new(numbers, sizes), &place.device)
        .cast(place.precision.dtype())
}

/// `[b, h, w, 3]` with values from `low` to `high` as pictures. As in the WebUI, a value is cut off to
/// the next lower whole one.
pub(super) fn from_numbers(
    numbers: &[f32],
    sizes: [usize; 4],
    low: f32,
    high: f32,
) -> Vec<RgbImage> {
    let [_, height, width, _] = sizes;
    let scale = 255.0 / (high - low);
    let pixels = (height * width * 3).max(1);
    let picture = |numbers: &[f32]| {
        let bytes = numbers
            .iter()
            .map(|&number| ((number - low) * scale).clamp(0.0, 255.0) as u8)
            .collect();
        RgbImage::from_raw(width as u32, height as u32, bytes).unwrap_or_default()
    };
    numbers.chunks_exact(pixels).map(picture).collect()
}

/// Latents on the device, in 32-bit floats: `[b, h, w, c]`.
pub(super) fn latents_to_maps<B: Kernels>(latents: &Latents, device: &B::Device) -> Maps<B> {
    planes_to_maps(latents.numbers.clone(), latents.sizes, device)
}

/// Numbers `[b, c, h, w]` on the device: `[b, h, w, c]`.
pub(super) fn planes_to_maps<B: Kernels>(
    numbers: Vec<f32>,
    sizes: [usize; 4],
    device: &B::Device,
) -> Maps<B> {
    Tensor::<B, 4>::from_data(TensorData::new(numbers, sizes), device).permute([0, 2, 3, 1])
}

/// Latents `[b, h, w, c]` in ordinary memory.
pub(super) fn latents_of<B: Kernels>(
    maps: Maps<B>,
    device: &str,
) -> Result<Latents, DiffusionError> {
    let planes = maps.permute([0, 3, 1, 2]);
    let sizes = planes.dims();
    Ok(Latents {
        sizes,
        numbers: numbers_of(planes, device)?,
    })
}

/// The numbers of a tensor, in order.
pub(super) fn numbers_of<B: Kernels, const D: usize>(
    tensor: Tensor<B, D>,
    device: &str,
) -> Result<Vec<f32>, DiffusionError> {
    let failed = |reason: String| DiffusionError::Device {
        device: device.to_owned(),
        reason,
    };
    let data = tensor
        .try_into_data()
        .map_err(|error| failed(format!("{error:?}")))?;
    data.convert::<f32>()
        .into_vec::<f32>()
        .map_err(|error| failed(format!("{error:?}")))
}
