//! Names and configurations against diffusers' own, for SD 1.5 and for a small odd model.

use std::collections::BTreeSet;

use serde_json::json;

use super::super::Container;
use super::super::config::infer::{self, Names, Shapes};
use super::super::config::{
    BetaSchedule, ControlNetConfig, FieldError, Fields, PredictionType, SchedulerConfig,
    TextActivation, TextConfig, UnetConfig, VaeConfig,
};
use super::super::layout::{Layout, TaesdNames, ldm};
use super::fixture::{Section, section};
use super::{Named, pack};

fn unet(section: &Section) -> UnetConfig {
    UnetConfig::read(&section.fields(), &UnetConfig::diffusers_default()).unwrap()
}

fn vae(section: &Section) -> VaeConfig {
    VaeConfig::read(&section.fields(), &VaeConfig::diffusers_default()).unwrap()
}

fn text(section: &Section) -> TextConfig {
    TextConfig::read(&section.fields(), &TextConfig::transformers_default()).unwrap()
}

fn control_net(section: &Section) -> ControlNetConfig {
    ControlNetConfig::read(&section.fields(), &ControlNetConfig::diffusers_default()).unwrap()
}

fn container(tensors: &[Named]) -> Container {
    Container::from_bytes("shapes", pack(tensors, &[])).unwrap()
}

/// That each name here is the file's, and each of the file is one here.
fn check(section: &Section, layout: &Layout) {
    for pair in &section.tensors {
        assert_eq!(layout.file_name(&pair.ours).as_ref(), Some(&pair.ldm));
        assert_eq!(layout.our_name(&pair.ldm).as_ref(), Some(&pair.ours));
    }
    let files: BTreeSet<&String> = section.tensors.iter().map(|pair| &pair.ldm).collect();
    assert_eq!(files.len(), section.tensors.len());
}

#[test]
fn names_of_the_original_code_are_those_that_diffusers_reads() {
    for (model, counts) in [("sd15", [686, 248, 196, 340]), ("odd", [208, 156, 52, 128])] {
        let sections = ["unet", "vae", "text", "control_net"].map(|name| section(model, name));
        let found = [0, 1, 2, 3].map(|at: usize| sections[at].tensors.len());
        assert_eq!(found, counts);
        let [unets, vaes, texts, controls] = &sections;
        check(unets, &Layout::ldm_unet(ldm::UNET, &unet(unets)));
        check(vaes, &Layout::ldm_vae(ldm::VAE, &vae(vaes)));
        check(
            controls,
            &Layout::ldm_control_net(ldm::CONTROL_NET, &control_net(controls)),
        );
        let small = [(
            "cond_stage_model.transformer.text_model.a".to_owned(),
            vec![1],
        )];
        check(texts, &Layout::text(ldm::TEXT, &container(&small)));
    }
}

#[test]
fn names_that_a_layout_has_no_place_for_have_no_other_name() {
    let layout = Layout::ldm_unet(ldm::UNET, &unet(&section("odd", "unet")));
    for name in [
        "down_blocks.0.attentions.0.norm.weight",
        "down_blocks.2.resnets.0.conv1.weight",
        "",
        ".",
    ] {
        assert_eq!(layout.file_name(name), None, "{name}");
    }
    for name in [
        "model.diffusion_model.input_blocks.99.0.op.weight",
        "first_stage_model.quant_conv.weight",
        "",
    ] {
        assert_eq!(layout.our_name(name), None, "{name}");
    }
}

#[test]
fn old_names_of_attention_are_found() {
    let names = ["query", "key", "value", "proj_attn"];
    let tensors = names.map(|name| {
        let name = format!("encoder.mid_block.attentions.0.{name}.weight");
        (name, vec![4, 4])
    });
    let layout = Layout::diffusers_vae("", &container(&tensors));
    for (ours, file) in ["to_q", "to_k", "to_v", "to_out.0"].into_iter().zip(names) {
        let name = |side: &str, part: &str| format!("{side}.mid_block.attentions.0.{part}.bias");
        assert_eq!(
            layout.file_name(&name("encoder", ours)),
            Some(name("encoder", file))
        );
        // Only where the file has them.
        assert_eq!(
            layout.file_name(&name("decoder", ours)),
            Some(name("decoder", ours))
        );
    }
    let other = "encoder.mid_block.attentions.0.group_norm.weight";
    assert_eq!(layout.file_name(other).as_deref(), Some(other));
}

#[test]
fn text_encoders_may_leave_their_module_out() {
    let names = [
        "embeddings.token_embedding.weight",
        "encoder.layers.11.self_attn.q_proj.bias",
        "final_layer_norm.weight",
    ];
    for prefix in ["", ldm::TEXT] {
        for module in ["", "text_model."] {
            let files = names.map(|name| (format!("{prefix}{module}{name}"), vec![1]));
            let layout = Layout::text(prefix, &container(&files));
            for (name, (file, _)) in names.iter().zip(&files) {
                assert_eq!(
                    layout.file_name(&format!("text_model.{name}")).as_ref(),
                    Some(file)
                );
            }
        }
    }
}

#[test]
fn the_decoder_of_a_small_vae_counts_one_layer_more() {
    let cases = [
        (
            TaesdNames::Diffusers,
            "encoder.layers.14",
            "decoder.layers.18",
        ),
        (TaesdNames::Both, "encoder.14", "decoder.19"),
        (TaesdNames::Encoder, "14", ""),
        (TaesdNames::Decoder, "", "19"),
    ];
    for (names, encoder, decoder) in cases {
        let layout = Layout::taesd(names);
        for (ours, file) in [
            ("encoder.layers.14", encoder),
            ("decoder.layers.18", decoder),
        ] {
            let found = layout.file_name(&format!("{ours}.bias"));
            let wanted = (!file.is_empty()).then(|| format!("{file}.bias"));
            assert_eq!(found, wanted, "{names:?}");
        }
    }
}

#[test]
fn the_configuration_of_sd15_is_read_with_its_own_numbers() {
    let config = unet(&section("sd15", "unet"));
    assert_eq!(
        config,
        UnetConfig {
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            attention: vec![true, true, true, false],
            heads: vec![8; 4],
            cross_attention_dim: 768,
            use_linear_projection: false,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            sample_size: 64,
        }
    );
    let config = vae(&section("sd15", "vae"));
    assert_eq!(config.block_out_channels, [128, 256, 512, 512]);
    assert_eq!((config.layers_per_block, config.latent_channels), (2, 4));
    assert_eq!((config.scaling_factor, config.downscale()), (0.18215, 8));
    let config = text(&section("sd15", "text"));
    assert_eq!((config.hidden_size, config.num_hidden_layers), (768, 12));
    assert_eq!(
        (config.num_attention_heads, config.intermediate_size),
        (12, 3072)
    );
    assert_eq!(config.hidden_act, TextActivation::QuickGelu);
    let config = control_net(&section("sd15", "control_net"));
    assert_eq!(
        config.conditioning_embedding_out_channels,
        [16, 32, 96, 256]
    );
    assert_eq!(config.hint_blocks(), 6);
}

/// That of SD 1.5 is told from a file with a hole of 2 GB, in `kinds`.
#[test]
fn shapes_tell_the_widths_and_depths_of_an_odd_model() {
    let sections = ["unet", "vae", "text", "control_net"].map(|name| section("odd", name));
    let [unets, vaes, texts, controls] = &sections;
    let wanted = UnetConfig {
        heads: vec![8; 2],
        norm_num_groups: 32,
        // Shapes do not tell it, and it only advises.
        sample_size: 64,
        ..unet(unets)
    };
    let found = infer::unet(&Shapes::new(&container(&unets.ldm()), ldm::UNET));
    assert_eq!(found.unwrap(), wanted);
    let wanted = TextConfig {
        num_attention_heads: 1,
        ..text(texts)
    };
    let found = infer::text(&Shapes::new(&container(&texts.ldm()), ldm::TEXT));
    assert_eq!(found.unwrap(), wanted);
    for (names, prefix) in [(Names::Ldm, ldm::VAE), (Names::Diffusers, "")] {
        let tensors = if names == Names::Ldm {
            vaes.ldm()
        } else {
            vaes.ours()
        };
        let found = infer::vae(&Shapes::new(&container(&tensors), prefix), names);
        assert_eq!(
            found.unwrap(),
            VaeConfig {
                norm_num_groups: 32,
                ..vae(vaes)
            }
        );
    }
    for (names, prefix) in [(Names::Ldm, ldm::CONTROL_NET), (Names::Diffusers, "")] {
        let tensors = if names == Names::Ldm {
            controls.ldm()
        } else {
            controls.ours()
        };
        let found = infer::control_net(&Shapes::new(&container(&tensors), prefix), names);
        let mut wanted = control_net(controls);
        wanted.unet.heads = vec![8; 2];
        wanted.unet.norm_num_groups = 32;
        wanted.unet.sample_size = 64;
        assert_eq!(found.unwrap(), wanted);
    }
}

/// What `read` says of a configuration with one field changed.
fn refusal(network: &str, field: &str, value: serde_json::Value) -> Result<(), FieldError> {
    let mut config = section("sd15", network).config;
    config.insert(field.to_owned(), value);
    let fields = Fields::new(config);
    match network {
        "unet" => UnetConfig::read(&fields, &UnetConfig::diffusers_default()).map(drop),
        "vae" => VaeConfig::read(&fields, &VaeConfig::diffusers_default()).map(drop),
        "text" => TextConfig::read(&fields, &TextConfig::transformers_default()).map(drop),
        _ => ControlNetConfig::read(&fields, &ControlNetConfig::diffusers_default()).map(drop),
    }
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for (network, field, value) in [
        ("unet", "class_embed_type", json!("timestep")),
        ("unet", "addition_embed_type", json!("text_time")),
        ("unet", "dual_cross_attention", json!(true)),
        (
            "unet",
            "only_cross_attention",
            json!([true, true, true, false]),
        ),
        (
            "unet",
            "down_block_types",
            json!(["AttnDownBlock2D", "DownBlock2D"]),
        ),
        (
            "unet",
            "up_block_types",
            json!(["CrossAttnUpBlock2D", "UpBlock2D"]),
        ),
        ("unet", "mid_block_type", json!(null)),
        (
            "unet",
            "mid_block_type",
            json!("UNetMidBlock2DSimpleCrossAttn"),
        ),
        ("unet", "time_cond_proj_dim", json!(256)),
        ("unet", "transformer_layers_per_block", json!([1, 2, 10, 1])),
        ("unet", "layers_per_block", json!([2, 2, 2, 1])),
        ("unet", "act_fn", json!("gelu")),
        ("unet", "resnet_time_scale_shift", json!("scale_shift")),
        ("unet", "conv_in_kernel", json!(1)),
        ("vae", "down_block_types", json!(["AttnDownEncoderBlock2D"])),
        ("vae", "use_quant_conv", json!(false)),
        ("vae", "shift_factor", json!(0.1159)),
        ("vae", "latents_mean", json!([0.0])),
        ("text", "hidden_act", json!("relu")),
        ("text", "model_type", json!("t5")),
        (
            "control_net",
            "controlnet_conditioning_channel_order",
            json!("bgr"),
        ),
        ("control_net", "class_embed_type", json!("projection")),
    ] {
        match refusal(network, field, value) {
            Err(FieldError::NotBuilt(text)) => assert!(text.contains(field), "{text}"),
            other => panic!("{network}.{field}: {other:?}"),
        }
    }
}

#[test]
fn sizes_that_make_no_sense_are_refused_by_name() {
    for (network, field, value) in [
        ("unet", "block_out_channels", json!([])),
        (
            "unet",
            "block_out_channels",
            json!([320, 640, 1280, 1_000_000_000]),
        ),
        ("unet", "block_out_channels", json!(vec![32; 9])),
        ("unet", "block_out_channels", json!("320")),
        ("unet", "layers_per_block", json!(100_000)),
        ("unet", "layers_per_block", json!(0)),
        ("unet", "layers_per_block", json!([2, 2])),
        ("unet", "in_channels", json!(-4)),
        ("unet", "attention_head_dim", json!([8, 8])),
        ("unet", "norm_eps", json!(1e300)),
        ("unet", "use_linear_projection", json!("yes")),
        ("unet", "down_block_types", json!(["DownBlock2D"])),
        ("vae", "layers_per_block", json!(17)),
        ("vae", "scaling_factor", json!(0)),
        ("text", "vocab_size", json!(1_u64 << 40)),
        ("text", "num_hidden_layers", json!(65)),
        ("text", "hidden_size", json!(1.5)),
        (
            "control_net",
            "conditioning_embedding_out_channels",
            json!([0]),
        ),
    ] {
        match refusal(network, field, value) {
            Err(FieldError::Wrong(text)) => assert!(text.contains(field), "{text}"),
            other => panic!("{network}.{field}: {other:?}"),
        }
    }
    for (network, field, value) in [
        ("unet", "norm_num_groups", json!(7)),
        ("unet", "attention_head_dim", json!(7)),
        ("vae", "norm_num_groups", json!(5)),
        ("text", "num_attention_heads", json!(7)),
    ] {
        let result = refusal(network, field, value);
        assert!(
            matches!(result, Err(FieldError::Wrong(_))),
            "{field}: {result:?}"
        );
    }
}

#[test]
fn old_and_new_spellings_of_heads_mean_the_same() {
    for (field, value, heads) in [
        (
            "attention_head_dim",
            json!([5, 10, 20, 20]),
            vec![5, 10, 20, 20],
        ),
        (
            "num_attention_heads",
            json!([5, 10, 20, 20]),
            vec![5, 10, 20, 20],
        ),
        ("num_attention_heads", json!(4), vec![4; 4]),
        ("use_linear_projection", json!(true), vec![8; 4]),
    ] {
        let mut config = section("sd15", "unet").config;
        config.insert(field.to_owned(), value);
        let config = UnetConfig::read(&Fields::new(config), &UnetConfig::diffusers_default());
        let config = config.unwrap();
        assert_eq!(config.heads, heads, "{field}");
        assert_eq!(
            config.use_linear_projection,
            field == "use_linear_projection"
        );
    }
}

#[test]
fn both_halves_of_clip_may_share_a_configuration() {
    let config = json!({"model_type": "clip", "text_config": {
        "hidden_size": 768, "num_attention_heads": 12, "hidden_act": "gelu"}});
    let fields = Fields::new(config.as_object().unwrap().clone());
    let config = TextConfig::read(&fields, &TextConfig::transformers_default()).unwrap();
    assert_eq!(
        (config.hidden_size, config.hidden_act),
        (768, TextActivation::Gelu)
    );
}

#[test]
fn noise_schedules_are_read_as_diffusers_writes_them() {
    let read = |value: serde_json::Value| {
        let fields = Fields::new(value.as_object().unwrap().clone());
        SchedulerConfig::read(&fields, &SchedulerConfig::diffusers_default())
    };
    let config = read(
        json!({"_class_name": "PNDMScheduler", "beta_start": 0.00085,
        "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
        "trained_betas": null, "clip_sample": false}),
    );
    assert_eq!(config.unwrap(), SchedulerConfig::default());
    let config = read(json!({"prediction_type": "v_prediction"})).unwrap();
    assert_eq!(config.prediction_type, PredictionType::Velocity);
    assert_eq!(config.beta_schedule, BetaSchedule::Linear);
    for (field, value) in [
        ("prediction_type", json!("sample")),
        ("beta_schedule", json!("squaredcos_cap_v2")),
        ("trained_betas", json!([0.1])),
    ] {
        match read(json!({field: value})) {
            Err(FieldError::NotBuilt(text)) => assert!(text.contains(field), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(
        read(json!({"beta_start": 2})),
        Err(FieldError::Wrong(_))
    ));
}

#[test]
fn the_size_of_the_training_only_advises() {
    let mut config = section("odd", "unet").config;
    for (given, taken) in [
        (json!(96), 96),
        (json!([64, 96]), 64),
        (json!(null), 64),
        (json!(0), 64),
        (json!("large"), 64),
    ] {
        config.insert(String::from("sample_size"), given.clone());
        let fields = Fields::new(config.clone());
        let read = UnetConfig::read(&fields, &UnetConfig::diffusers_default()).unwrap();
        assert_eq!(read.sample_size, taken, "{given}");
    }
}
