//! The autoencoder against diffusers.

use std::ops::ControlFlow;

use burn::Dispatch;
use burn::backend::Flex;

use super::*;
use crate::models::nn::{Layers, maps_of};
use crate::models::reference::{Fixture, OnCpu, folder, place};
use crate::models::weights::{Files, Part};

/// See the tests of the UNet.
const TOLERANCE: f32 = 1e-5;

fn part() -> Part<VaeConfig> {
    match Files::open(&folder().join("tiny")).unwrap() {
        Files::Checkpoint(checkpoint) => checkpoint.vae,
        _ => panic!("the folder is no checkpoint"),
    }
}

fn both<B: OnCpu>() -> (Encoder<B>, Decoder<B>) {
    let part = part();
    let source = part.source();
    let (networks, _) = Layers::load(&source, place(), |builder| {
        Ok((
            Encoder::new(builder, &part.config)?,
            Decoder::new(builder, &part.config)?,
        ))
    })
    .unwrap();
    networks
}

fn both_ways_are_those_of_diffusers<B: OnCpu>() {
    let fixture = Fixture::open("networks.safetensors");
    let (encoder, decoder) = both::<B>();
    for case in ["wide", "small"] {
        let name = |end: &str| format!("vae.encode.{case}.{end}");
        let posterior = encoder.forward(fixture.maps(&name("x")));
        fixture.same_maps(&name("mean"), posterior.mean, TOLERANCE);
        fixture.same_maps(&name("logvar"), posterior.log_variance, TOLERANCE);
    }
    for case in ["wide", "two"] {
        let name = |end: &str| format!("vae.decode.{case}.{end}");
        // The file's latents are not in the scale of the UNet.
        let latents = fixture.maps::<B>(&name("z")) * part().config.scaling_factor;
        fixture.same_maps(&name("y"), decoder.forward(latents), TOLERANCE);
    }
}

#[test]
fn both_ways_are_those_of_diffusers_on_the_cpus_kernels() {
    both_ways_are_those_of_diffusers::<Flex>();
}

#[test]
fn both_ways_are_those_of_diffusers_on_any_device() {
    both_ways_are_those_of_diffusers::<Dispatch>();
}

#[test]
fn blocks_are_those_of_diffusers() {
    let fixture = Fixture::open("networks.safetensors");
    let part = part();
    let source = part.source();
    for rest in ["encoder", "decoder", "quant_conv", "post_quant_conv"] {
        source.leave(rest);
    }
    for (path, inputs, outputs) in [
        ("encoder.down_blocks.2.resnets.0", 8, 16),
        ("encoder.down_blocks.3.resnets.0", 16, 16),
        ("decoder.up_blocks.2.resnets.0", 16, 8),
    ] {
        let (block, _) = Layers::<Flex>::load(&source, place(), |builder| {
            resnet(&builder.at(path), &part.config, inputs, outputs)
        })
        .unwrap();
        let output = block.forward(fixture.maps(&format!("block.vae.{path}.in")), None);
        fixture.same_maps(&format!("block.vae.{path}.out"), output, TOLERANCE);
    }
    let path = "encoder.down_blocks.1.downsamplers.0";
    let (halve, _) = Layers::<Flex>::load(&source, place(), |builder| {
        builder.conv(&format!("{path}.conv"), 8, 8, Window::halving_after())
    })
    .unwrap();
    let output = halve.forward(fixture.maps(&format!("block.vae.{path}.in")));
    fixture.same_maps(&format!("block.vae.{path}.out"), output, TOLERANCE);
    let path = "encoder.mid_block.attentions.0";
    let (attention, _) = Layers::<Flex>::load(&source, place(), |builder| {
        blocks::Attention::new(&builder.at(path), 16, part.config.norm_num_groups)
    })
    .unwrap();
    let output = attention.forward(fixture.maps(&format!("block.vae.{path}.in")));
    fixture.same_maps(&format!("block.vae.{path}.out"), output, TOLERANCE);
}

#[test]
fn tiles_cover_the_whole_picture_and_one_tile_is_the_picture() {
    let (_, decoder) = both::<Flex>();
    let fixture = Fixture::open("networks.safetensors");
    let latents = fixture.maps::<Flex>("vae.decode.wide.z"); // [1, 3, 5, 4]
    let whole = decoder.forward(latents.clone());
    let tiled = |side: usize, overlap: usize| {
        let mut tiles = 0;
        let picture = decode_tiled(
            &decoder,
            latents.clone(),
            Tiling { side, overlap },
            &mut |_, _| {
                tiles += 1;
                ControlFlow::Continue(())
            },
        );
        (picture.unwrap(), tiles)
    };
    let bits = |maps: Maps<Flex>| maps.into_data().into_vec::<f32>().unwrap();
    let (one, tiles) = tiled(5, 2);
    assert!(tiles == 1 && bits(one) == bits(whole.clone()));
    let (many, tiles) = tiled(3, 1);
    assert_eq!((many.dims(), tiles), (whole.dims(), 2));
    assert!(bits(many).iter().all(|number| number.is_finite()));
}

#[test]
fn tiles_of_a_network_without_surroundings_are_the_whole() {
    // Pixels doubled to eight by eight are the same whether they are cut or not, so only the joints
    // can be wrong.
    let numbers: Vec<f32> = (0..2 * 9 * 11 * 3)
        .map(|i| (i as f32 * 0.37).sin())
        .collect();
    let data = burn::tensor::TensorData::new(numbers, [2, 9 * 11, 3]);
    let tokens = burn::Tensor::<Flex, 3>::from_data(data, &Flex::cpu());
    let latents = maps_of(tokens, 9, 11);
    let enlarge = |maps: Maps<Flex>| (0..3).fold(maps, |maps, _| <Flex as Kernels>::double(maps));
    let tiling = Tiling {
        side: 4,
        overlap: 2,
    };
    let tiled = tiles::in_tiles(latents.clone(), tiling, (1, 8), enlarge, &mut |_, _| {
        ControlFlow::Continue(())
    });
    let apart = (tiled.unwrap() - enlarge(latents))
        .abs()
        .max()
        .into_scalar();
    assert!(apart < 1e-6, "{apart}");
}

#[test]
fn a_stop_is_heard_between_tiles() {
    let (encoder, _) = both::<Flex>();
    let fixture = Fixture::open("networks.safetensors");
    let pictures = fixture.maps::<Flex>("vae.encode.wide.x");
    let tiling = Tiling {
        side: 2,
        overlap: 0,
    };
    let mut asked = Vec::new();
    let result = encode_tiled(&encoder, pictures, tiling, &mut |done, total| {
        asked.push((done, total));
        if done < 2 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    assert!(matches!(result, Err(TileError::Stopped)));
    assert_eq!(asked, [(0, 6), (1, 6), (2, 6)]);
}
