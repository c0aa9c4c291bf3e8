//! The UNet and its blocks against diffusers.

use burn::backend::Flex;
use burn::{Dispatch, Tensor};

use super::Unet;
use super::encoder::{resnet_sizes, time_length, transformer_sizes};
use super::resnet::Resnet;
use super::time::TimeEmbedding;
use super::transformer::{Attention, Block, Transformer};
use crate::models::controlnet::ControlNet;
use crate::models::nn::{Builder, Layers, Window};
use crate::models::reference::{Fixture, OnCpu, folder, place};
use crate::models::weights::{Checkpoint, ControlNetConfig, Files, Part, UnetConfig, WeightsError};

/// Sums of products are added in another order; 1e-5 is what that leaves of 32-bit floats after
/// some tens of layers.
const TOLERANCE: f32 = 1e-5;

fn checkpoint() -> Box<Checkpoint> {
    match Files::open(&folder().join("tiny")).unwrap() {
        Files::Checkpoint(checkpoint) => checkpoint,
        _ => panic!("the folder is no checkpoint"),
    }
}

fn control_net() -> Box<Part<ControlNetConfig>> {
    match Files::open(&folder().join("tiny_controlnet")).unwrap() {
        Files::ControlNet(part) => part,
        _ => panic!("the folder is no ControlNet"),
    }
}

fn build<B: OnCpu, N>(
    new: impl FnOnce(&Builder<'_, B>, &UnetConfig) -> Result<N, WeightsError>,
) -> N {
    let part = checkpoint().unet;
    let source = part.source();
    // Of a block alone, all others stay unread.
    for rest in [
        "conv_in",
        "conv_out",
        "conv_norm_out",
        "time_embedding",
        "mid_block",
    ] {
        source.leave(rest);
    }
    for rest in ["down_blocks", "up_blocks"] {
        source.leave(rest);
    }
    Layers::load(&source, place(), |builder| new(builder, &part.config))
        .unwrap()
        .0
}

fn noise_is_that_of_diffusers<B: OnCpu>() {
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

fn control_is_that_of_diffusers<B: OnCpu>() {
    let fixture = Fixture::open("networks.safetensors");
    let unet: Unet<B> = build(Unet::new);
    let part = control_net();
    let source = part.source();
    let (net, _) = Layers::load(&source, place::<B>(), |builder| {
        ControlNet::new(builder, &part.config)
    })
    .unwrap();
    let hint = net.prepare_hint(fixture.maps::<B>("controlnet.hint") / 255.0);
    fixture.same_maps(
        "block.controlnet.controlnet_cond_embedding.out",
        hint.clone(),
        TOLERANCE,
    );
    let latents = fixture.maps::<B>("controlnet.x");
    let times = fixture.wide("controlnet.t");
    let text = fixture.tokens("controlnet.text");
    let said = net.forward(latents.clone(), hint, &times, &text);
    for (index, skip) in said.skips.iter().enumerate() {
        fixture.same_maps(&format!("controlnet.down.{index}"), skip.clone(), TOLERANCE);
    }
    fixture.same_maps("controlnet.mid", said.middle.clone(), TOLERANCE);
    let noise = unet.forward(latents, &times, &text, Some(said));
    fixture.same_maps("controlnet.eps", noise, TOLERANCE);
}

#[test]
fn control_is_that_of_diffusers_on_the_cpus_kernels() {
    control_is_that_of_diffusers::<Flex>();
}

#[test]
fn control_is_that_of_diffusers_on_any_device() {
    control_is_that_of_diffusers::<Dispatch>();
}

fn blocks_are_those_of_diffusers<B: OnCpu>() {
    let fixture = Fixture::open("networks.safetensors");
    let of = |path: &str, end: &str| format!("block.unet.{path}.{end}");
    let text = fixture.tokens::<B>("unet.one.text");

    for (path, inputs, outputs) in [
        ("down_blocks.0.resnets.0", 8, 8),
        ("up_blocks.0.resnets.0", 32, 16),
    ] {
        let resnet: Resnet<B> = build(|builder, config| {
            Resnet::new(&builder.at(path), resnet_sizes(config, inputs, outputs))
        });
        let time = B::silu(fixture.tensor::<B, 2>(&of(path, "time")));
        let output = resnet.forward(fixture.maps(&of(path, "in")), Some(&time));
        fixture.same_maps(&of(path, "out"), output, TOLERANCE);
    }

    let path = "down_blocks.0.attentions.0";
    let transformer: Transformer<B> =
        build(|builder, config| Transformer::new(&builder.at(path), transformer_sizes(config, 0)));
    let output = transformer.forward(fixture.maps(&of(path, "in")), &text);
    fixture.same_maps(&of(path, "out"), output, TOLERANCE);

    let path = "down_blocks.0.attentions.0.transformer_blocks.0";
    let block: Block<B> =
        build(|builder, config| Block::new(&builder.at(path), 8, config.cross_attention_dim, 2));
    let output = block.forward(fixture.tokens(&of(path, "in")), &text);
    fixture.same(&of(path, "out"), output, TOLERANCE);

    for (name, context) in [("attn1", None), ("attn2", Some(&text))] {
        let path = format!("{path}.{name}");
        let input = fixture.tokens::<B>(&of(&path, "in"));
        let context = context.unwrap_or(&input).clone();
        let [_, _, width] = context.dims();
        let attention: Attention<B> =
            build(|builder, _| Attention::new(&builder.at(&path), 8, width, 2));
        let output = attention.add_to(Tensor::zeros_like(&input), input, context);
        fixture.same(&of(&path, "out"), output, TOLERANCE);
    }

    let path = format!("{path}.ff");
    let (widen, narrow) = build::<B, _>(|builder, _| {
        let builder = builder.at(&path);
        Ok((
            builder.linear("net.0.proj", 8, 64)?,
            builder.linear("net.2", 32, 8)?,
        ))
    });
    let wide = B::gated_gelu(widen.forward(fixture.tokens(&of(&path, "in"))));
    fixture.same(&of(&path, "out"), narrow.forward(wide), TOLERANCE);
}

#[test]
fn blocks_are_those_of_diffusers_on_the_cpus_kernels() {
    blocks_are_those_of_diffusers::<Flex>();
}

#[test]
fn blocks_are_those_of_diffusers_on_any_device() {
    blocks_are_those_of_diffusers::<Dispatch>();
}

fn sizes_and_times_are_those_of_diffusers<B: OnCpu>() {
    let fixture = Fixture::open("networks.safetensors");
    let path = "block.unet.down_blocks.0.downsamplers.0";
    let halve = build::<B, _>(|builder, _| {
        builder.conv("down_blocks.0.downsamplers.0.conv", 8, 8, Window::halving())
    });
    let output = halve.forward(fixture.maps(&format!("{path}.in")));
    fixture.same_maps(&format!("{path}.out"), output, TOLERANCE);

    let path = "block.unet.up_blocks.0.upsamplers.0";
    let double = build::<B, _>(|builder, _| {
        builder.conv("up_blocks.0.upsamplers.0.conv", 16, 16, Window::same(3))
    });
    let output = double.forward(B::double(fixture.maps(&format!("{path}.in"))));
    fixture.same_maps(&format!("{path}.out"), output, TOLERANCE);

    let time: TimeEmbedding<B> =
        build(|builder, config| TimeEmbedding::new(&builder.at("time_embedding"), config));
    let embedded = time.forward(&fixture.wide("block.unet.time_proj.in"), &B::cpu());
    // The network takes it after SiLU, the file has it before.
    let wanted = B::silu(fixture.tensor::<B, 2>("block.unet.time_embedding.out"));
    let apart = (embedded.clone() - wanted.clone())
        .abs()
        .max()
        .into_scalar();
    let largest = wanted.abs().max().into_scalar();
    let as_f32 = |number| burn::tensor::ElementConversion::elem::<f32>(number);
    assert!(as_f32(apart) <= TOLERANCE * as_f32(largest));
    assert_eq!(embedded.dims()[1], time_length(&checkpoint().unet.config));
}

#[test]
fn sizes_and_times_are_those_of_diffusers_on_the_cpus_kernels() {
    sizes_and_times_are_those_of_diffusers::<Flex>();
}

#[test]
fn sizes_and_times_are_those_of_diffusers_on_any_device() {
    sizes_and_times_are_those_of_diffusers::<Dispatch>();
}

#[test]
fn a_picture_does_not_depend_on_its_batch() {
    let fixture = Fixture::open("networks.safetensors");
    let unet: Unet<Flex> = build(Unet::new);
    let (latents, text) = (
        fixture.maps::<Flex>("unet.two.x"),
        fixture.tokens("unet.two.text"),
    );
    let times = fixture.wide("unet.two.t");
    let both = unet.forward(latents.clone(), &times, &text, None);
    for index in 0..2 {
        let one = unet.forward(
            latents.clone().narrow(0, index, 1),
            &times[index..=index],
            &text.clone().narrow(0, index, 1),
            None,
        );
        let of_both = both.clone().narrow(0, index, 1);
        let bits = |maps: Tensor<Flex, 4>| maps.into_data().into_vec::<f32>().unwrap();
        assert!(bits(one) == bits(of_both), "picture {index} differs");
    }
}
