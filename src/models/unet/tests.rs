//! The UNet against diffusers.

use burn::Dispatch;
use burn::backend::Flex;

use super::Unet;
use crate::models::nn::{Builder, Kernels, Layers};
use crate::models::reference::{Fixture, folder, place};
use crate::models::weights::{Checkpoint, Files, UnetConfig, WeightsError};

/// Sums of products are added in another order; 1e-5 is what that leaves of 32-bit floats after
/// some tens of layers.
const TOLERANCE: f32 = 1e-5;

fn checkpoint() -> Box<Checkpoint> {
    match Files::open(&folder().join("tiny")).unwrap() {
        Files::Checkpoint(checkpoint) => checkpoint,
        _ => panic!("the folder is no checkpoint"),
    }
}

fn build<B: Kernels, N>(
    new: impl FnOnce(&Builder<'_, B>, &UnetConfig) -> Result<N, WeightsError>,
) -> N {
    let part = checkpoint().unet;
    let build = |builder: &Builder<'_, B>| new(builder, &part.config);
    Layers::load(&part.source(), place(), build).unwrap().0
}

fn noise_is_that_of_diffusers<B: Kernels>() {
    let fixture = Fixture::open("networks.safetensors");
    let unet: Unet<B> = build(Unet::new);
    for case in ["one", "two", "odd", "long_text"] {
        let part = |name: &str| format!("unet.{case}.{name}");
        let noise = unet.forward(
            fixture.maps(&part("x")),
            &fixture.wide(&part("t")),
            &fixture.tokens(&part("text")),
            None,
        );
        fixture.same_maps(&part("eps"), noise, TOLERANCE);
    }
}

#[test]
fn noise_is_that_of_diffusers_on_the_cpus_kernels() {
    noise_is_that_of_diffusers::<Flex>();
}

#[test]
fn noise_is_that_of_diffusers_on_any_device() {
    noise_is_that_of_diffusers::<Dispatch>();
}
