//! What a file or folder is, and that its networks can be read whole.

use std::collections::BTreeMap;
use std::io::{Seek as _, Write as _};

use serde_json::{Value, json};

use super::super::{Checkpoint, Files, Part, PredictionType, Source, WeightsError};
use super::fixture::section;
use super::{Named, error, named, open_folder, open_one, pack, raw};

const UNET_CONFIG: &str = r#"{"norm_num_groups": 8, "attention_head_dim": 4}"#;
const VAE_CONFIG: &str = r#"{"norm_num_groups": 8}"#;
const TEXT_CONFIG: &str = r#"{"num_attention_heads": 5}"#;
const METADATA: [(&str, &str); 4] = [
    ("photog.unet_config", UNET_CONFIG),
    ("photog.vae_config", VAE_CONFIG),
    ("photog.text_config", TEXT_CONFIG),
    ("photog.controlnet_config", UNET_CONFIG),
];

/// All tensors of the odd model by the original code's names.
fn odd_tensors() -> Vec<Named> {
    let networks = ["unet", "vae", "text"].into_iter();
    networks
        .flat_map(|network| section("odd", network).ldm())
        .collect()
}

/// The odd model as the folder that diffusers would write.
fn odd_folder() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for (network, folder, weights) in [
        ("unet", "unet", "diffusion_pytorch_model.safetensors"),
        ("vae", "vae", "diffusion_pytorch_model.fp16.safetensors"),
        ("text", "text_encoder", "model.safetensors"),
    ] {
        let section = section("odd", network);
        let config = Value::Object(section.config.clone()).to_string();
        files.insert(format!("{folder}/config.json"), config.into_bytes());
        files.insert(format!("{folder}/{weights}"), pack(&section.ours(), &[]));
    }
    let index = json!({"_class_name": "StableDiffusionPipeline"}).to_string();
    files.insert("model_index.json".to_owned(), index.into_bytes());
    files
}

fn checkpoint(files: Result<Files, WeightsError>) -> Checkpoint {
    match files.unwrap() {
        Files::Checkpoint(found) => *found,
        _ => panic!("this is no checkpoint"),
    }
}

/// Reads all tensors of a network by their names here.
fn read_all(source: &Source, model: &str, network: &str) {
    for pair in section(model, network).tensors {
        assert!(
            source.view(&pair.ours, &pair.shape).is_some(),
            "{}",
            pair.ours
        );
    }
    source.finish().unwrap();
}

fn read_checkpoint(found: &Checkpoint, model: &str) {
    read_all(&found.unet.source(), model, "unet");
    read_all(&found.vae.source(), model, "vae");
    read_all(&found.text.source(), model, "text");
}

#[test]
fn a_single_file_and_a_folder_of_a_model_are_the_same_model() {
    let single = checkpoint(open_one(pack(&odd_tensors(), &METADATA)));
    let folder = checkpoint(open_folder(&odd_folder()));
    let unet = super::super::UnetConfig {
        // The one thing that a single file does not tell; it only advises.
        sample_size: folder.unet.config.sample_size,
        ..single.unet.config.clone()
    };
    assert_eq!(unet, folder.unet.config);
    assert_eq!(single.vae.config, folder.vae.config);
    assert_eq!(single.text.config, folder.text.config);
    assert_eq!(single.scheduler, folder.scheduler);
    for found in [&single, &folder] {
        read_checkpoint(found, "odd");
        assert_eq!(found.prediction_type(), PredictionType::Epsilon);
        assert_eq!(found.tokenizer, None);
    }
}

/// The numbers are a hole of 2 GB in the file, so that it takes no room.
#[test]
fn a_single_file_of_sd15_is_understood_without_a_word_about_its_shape() {
    let mut tensors = serde_json::Map::new();
    let mut end = 0;
    for network in ["unet", "vae", "text"] {
        for (name, shape) in section("sd15", network).ldm() {
            let begin = end;
            end += 2 * shape.iter().product::<usize>() as u64;
            let entry = json!({"dtype": "F16", "shape": shape, "data_offsets": [begin, end]});
            tensors.insert(name, entry);
        }
    }
    for name in [
        "betas",
        "model_ema.decay",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
    ] {
        let entry = json!({"dtype": "I64", "shape": [1], "data_offsets": [end, end + 8]});
        tensors.insert(name.to_owned(), entry);
        end += 8;
    }
    let head = Value::Object(tensors).to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sd15.safetensors");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&(head.len() as u64).to_le_bytes()).unwrap();
    file.write_all(head.as_bytes()).unwrap();
    let begin = file.stream_position().unwrap();
    file.set_len(begin + end).unwrap();

    let found = checkpoint(Files::open(&path));
    read_checkpoint(&found, "sd15");
    let read = |network| section("sd15", network).fields();
    let unet = super::super::UnetConfig::diffusers_default();
    let unet = super::super::UnetConfig::read(&read("unet"), &unet).unwrap();
    assert_eq!(found.unet.config, unet);
    let vae = super::super::VaeConfig::diffusers_default();
    let vae = super::super::VaeConfig::read(&read("vae"), &vae).unwrap();
    assert_eq!(found.vae.config, vae);
    let text = super::super::TextConfig::transformers_default();
    let text = super::super::TextConfig::read(&read("text"), &text).unwrap();
    assert_eq!(found.text.config, text);
    assert_eq!(found.scheduler, super::super::SchedulerConfig::default());
}

#[test]
fn what_shapes_cannot_tell_is_asked_for() {
    let text = error(open_one(pack(&odd_tensors(), &[])));
    assert!(text.contains("photog.unet_config"), "{text}");
    let broken = [("photog.unet_config", "[]")];
    let text = error(open_one(pack(&odd_tensors(), &broken)));
    assert!(text.contains("is no JSON object"), "{text}");
}

#[test]
fn a_tensor_too_much_too_few_or_misshapen_is_named() {
    let mut tensors = odd_tensors();
    let name = |rest: &str| format!("model.diffusion_model.{rest}");
    tensors.retain(|(found, _)| *found != name("out.0.bias"));
    for (found, shape) in &mut tensors {
        if *found == name("time_embed.0.bias") {
            shape.push(1);
        }
    }
    tensors.push((name("surplus.weight"), vec![1]));
    let found = checkpoint(open_one(pack(&tensors, &METADATA)));
    let source = found.unet.source();
    for pair in section("odd", "unet").tensors {
        let numbers = source.tensor(&pair.ours, &pair.shape).unwrap();
        assert_eq!(numbers.len(), pair.shape.iter().product::<usize>());
    }
    let text = error(source.finish());
    for part in [
        "1 tensor is missing: model.diffusion_model.out.0.bias",
        "model.diffusion_model.time_embed.0.bias (wanted [64], the file has [64, 1])",
        "1 tensor is not understood: model.diffusion_model.surplus.weight",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_prediction_type_comes_from_the_file() {
    let with = |key: &'static str, value: &'static str| {
        let mut metadata = METADATA.to_vec();
        metadata.push((key, value));
        open_one(pack(&odd_tensors(), &metadata))
    };
    let velocity = r#"{"prediction_type": "v_prediction"}"#;
    for (key, value) in [
        ("modelspec.prediction_type", "v"),
        ("photog.scheduler_config", velocity),
    ] {
        assert_eq!(
            checkpoint(with(key, value)).prediction_type(),
            PredictionType::Velocity
        );
    }
    let text = error(with("modelspec.prediction_type", "x0"));
    assert!(text.contains("predicts `x0`"), "{text}");
    let mut tensors = odd_tensors();
    tensors.extend(named(&[("v_pred", &[0])]));
    let marked = checkpoint(open_one(pack(&tensors, &METADATA)));
    assert_eq!(marked.prediction_type(), PredictionType::Velocity);
    let mut files = odd_folder();
    files.insert(
        "scheduler/scheduler_config.json".to_owned(),
        velocity.as_bytes().to_vec(),
    );
    assert_eq!(
        checkpoint(open_folder(&files)).prediction_type(),
        PredictionType::Velocity
    );
}

#[test]
fn a_folder_brings_its_tokenizer() {
    let mut files = odd_folder();
    files.insert("tokenizer/vocab.json".to_owned(), b"{}".to_vec());
    assert!(error(open_folder(&files)).contains("only one of vocab.json"));
    files.insert("tokenizer/merges.txt".to_owned(), b"a b".to_vec());
    let tokenizer = checkpoint(open_folder(&files)).tokenizer.unwrap();
    assert_eq!(
        (tokenizer.vocab.as_str(), tokenizer.merges.as_str()),
        ("{}", "a b")
    );
}

#[test]
fn parts_of_a_folder_that_are_not_there_are_named() {
    for (gone, reason) in [
        (
            "vae/config.json",
            "pack/vae/config.json cannot be used: it is not there",
        ),
        (
            "text_encoder/model.safetensors",
            "pack/text_encoder/ cannot be used: no .safetensors",
        ),
        (
            "unet/config.json",
            "pack/unet/config.json cannot be used: it is not there",
        ),
    ] {
        let mut files = odd_folder();
        files.remove(gone).unwrap();
        let text = error(open_folder(&files));
        assert!(text.contains(reason), "{text}");
    }
    let mut files = odd_folder();
    files.insert("unet/config.json".to_owned(), b"[1]".to_vec());
    assert!(error(open_folder(&files)).contains("no JSON object"));
    files.insert("unet/config.json".to_owned(), vec![0xff]);
    assert!(error(open_folder(&files)).contains("is no text"));
}

fn vae_part(files: Result<Files, WeightsError>) -> Part<super::super::VaeConfig> {
    match files.unwrap() {
        Files::Vae(part) => part,
        _ => panic!("this is no VAE"),
    }
}

#[test]
fn a_vae_alone_is_read_by_all_its_names() {
    let vae = section("odd", "vae");
    let bare: Vec<Named> = vae
        .ldm()
        .into_iter()
        .map(|(name, shape)| (name["first_stage_model.".len()..].to_owned(), shape))
        .collect();
    let mut old = vae.ours();
    for (name, _) in &mut old {
        for (ours, file) in [
            (".to_q.", ".query."),
            (".to_k.", ".key."),
            (".to_v.", ".value."),
            (".to_out.0.", ".proj_attn."),
        ] {
            *name = name.replace(ours, file);
        }
    }
    let mut with_judge = bare.clone();
    with_judge.extend(named(&[
        ("loss.discriminator.main.0.weight", &[1]),
        ("model_ema.decay", &[]),
    ]));
    let mut files = BTreeMap::new();
    for tensors in [vae.ldm(), bare, vae.ours(), old, with_judge] {
        let file = pack(&tensors, &METADATA);
        read_all(&vae_part(open_one(file.clone())).source(), "odd", "vae");
        files.insert("diffusion_pytorch_model.safetensors".to_owned(), file);
    }
    let mut config = vae.config.clone();
    config.insert("_class_name".to_owned(), "AutoencoderKL".into());
    files.insert(
        "config.json".to_owned(),
        Value::Object(config).to_string().into_bytes(),
    );
    files.insert(
        "diffusion_pytorch_model.safetensors".to_owned(),
        pack(&vae.ours(), &[]),
    );
    read_all(&vae_part(open_folder(&files)).source(), "odd", "vae");
}

#[test]
fn a_control_net_is_read_by_all_its_names() {
    let control = section("odd", "control_net");
    let bare: Vec<Named> = control
        .ldm()
        .into_iter()
        .map(|(name, shape)| (name["control_model.".len()..].to_owned(), shape))
        .collect();
    // Some of the first ones were published with the whole model that they belong to.
    let mut whole = control.ldm();
    whole.extend(odd_tensors());
    let mut config = control.config.clone();
    config.insert("_class_name".to_owned(), "ControlNetModel".into());
    let folder = BTreeMap::from([
        (
            "config.json".to_owned(),
            Value::Object(config).to_string().into_bytes(),
        ),
        (
            "diffusion_pytorch_model.safetensors".to_owned(),
            pack(&control.ours(), &[]),
        ),
    ]);
    let opened = [control.ldm(), bare, control.ours(), whole]
        .map(|tensors| open_one(pack(&tensors, &METADATA)))
        .into_iter()
        .chain([open_folder(&folder)]);
    for files in opened {
        let Files::ControlNet(part) = files.unwrap() else {
            panic!("this is no ControlNet");
        };
        assert_eq!(
            part.config.conditioning_embedding_out_channels,
            [8, 12, 16, 24]
        );
        read_all(&part.source(), "odd", "control_net");
    }
}

#[test]
fn a_small_vae_is_told_by_its_ends() {
    let cases: [(&[&str], bool, bool); 4] = [
        (
            &["encoder.layers.14.weight", "decoder.layers.0.weight"],
            true,
            true,
        ),
        (&["encoder.14.weight", "decoder.1.weight"], true, true),
        (&["0.weight", "14.weight"], true, false),
        (&["1.weight", "19.weight"], false, true),
    ];
    for (names, has_encoder, has_decoder) in cases {
        // The encoder ends with 4 of 16 channels, the decoder begins with 16 of 4.
        let tensors = names.iter().map(|name| {
            let is_end = name.contains("14.");
            let shape = if is_end { [4, 16, 3, 3] } else { [16, 4, 3, 3] };
            ((*name).to_owned(), shape.to_vec())
        });
        let files = open_one(pack(&tensors.collect::<Vec<_>>(), &[])).unwrap();
        let Files::Taesd(part) = files else {
            panic!("{names:?}");
        };
        assert_eq!(
            (part.config.has_encoder, part.config.has_decoder),
            (has_encoder, has_decoder)
        );
        assert_eq!((part.config.latent_channels, part.config.channels), (4, 16));
    }
}

/// The two published spellings of the same weights, from the test data.
#[test]
fn both_spellings_of_a_real_small_vae_give_the_same_numbers() {
    let data = std::env::var_os("PHOTOG_TEST_DATA").unwrap_or_else(|| "../shared/data".into());
    let folder = std::path::Path::new(&data).join("models/taesd");
    if !folder.is_dir() {
        println!(
            "skipped: {} is not there (PHOTOG_TEST_DATA)",
            folder.display()
        );
        return;
    }
    let open = |name: &str| match Files::open(&folder.join(name)).unwrap() {
        Files::Taesd(part) => part,
        _ => panic!("{name} is no TAESD"),
    };
    let (half, eighth) = (
        open("taesd_f16.safetensors"),
        open("original/taesd_fp8.safetensors"),
    );
    assert_eq!(half.config, eighth.config);
    let (one, other) = (half.source(), eighth.source());
    for name in eighth.container().names() {
        let shape = other.shape(name).unwrap();
        let (ours, theirs) = (
            one.tensor(name, &shape).unwrap(),
            other.tensor(name, &shape).unwrap(),
        );
        // Weights are the same; biases are 32-bit in one file and halves in the other.
        for (a, b) in ours.iter().zip(&theirs) {
            let limit = if name.ends_with("weight") {
                0.0
            } else {
                1e-3 * b.abs() + 1e-6
            };
            assert!((a - b).abs() <= limit, "{name}: {a} {b}");
        }
    }
    one.finish().unwrap();
    other.finish().unwrap();
}

#[test]
fn loras_and_embeddings_are_told_apart() {
    for name in [
        "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",
        "unet.down_blocks.0.attentions.0.proj_in.lora_A.weight",
        "unet.mid_block.attentions.0.attn1.processor.to_q_lora.down.weight",
        "text_encoder.q_proj.lora_linear_layer.down.weight",
        "lora_unet_x.hada_w1_a",
        "lora_unet_x.lokr_w1",
    ] {
        let files = open_one(pack(&named(&[(name, &[4, 8])]), &[])).unwrap();
        assert!(matches!(files, Files::Lora(_)), "{name}");
    }
    for name in ["emb_params", "<person>"] {
        let files = open_one(pack(&named(&[(name, &[2, 768])]), &[])).unwrap();
        assert!(matches!(files, Files::Embedding(_)), "{name}");
    }
    let lora = pack(&named(&[("unet.a.lora_A.weight", &[1, 1])]), &[]);
    let name = "pytorch_lora_weights.safetensors".to_owned();
    let files = BTreeMap::from([(name, lora), ("README.md".to_owned(), Vec::new())]);
    assert!(matches!(open_folder(&files).unwrap(), Files::Lora(_)));
}

#[test]
fn other_families_are_refused_by_name() {
    let four: &[usize] = &[2, 2, 3, 3];
    let cases: [(&[&str], &str); 10] = [
        (
            &["model.diffusion_model.a", "conditioner.embedders.0.a"],
            "SDXL",
        ),
        (
            &["model.diffusion_model.a", "cond_stage_model.model.a"],
            "Stable Diffusion 2",
        ),
        (
            &["model.diffusion_model.joint_blocks.0.a"],
            "Stable Diffusion 3",
        ),
        (&["double_blocks.0.a"], "Flux"),
        (&["down_blocks.0.a"], "a UNet alone"),
        (
            &["input_hint_block.0.weight", "lora_controlnet"],
            "Control-LoRA",
        ),
        (&["adapter.body.0.a"], "T2I-Adapter"),
        (&["model.diffusion_model.a"], "has no VAE"),
        (
            &["model.diffusion_model.a", "first_stage_model.a"],
            "has no text encoder",
        ),
        (
            &["unheard.of"],
            "are not those of a model that photog knows",
        ),
    ];
    for (names, reason) in cases {
        let tensors: Vec<(&str, &[usize])> = names.iter().map(|&name| (name, four)).collect();
        let text = error(open_one(pack(&named(&tensors), &[])));
        assert!(text.contains(reason), "{text}");
    }
    let text = error(open_one(raw("{}", &[])));
    assert!(text.contains("holds no tensors"), "{text}");
}

#[test]
fn other_pipelines_are_refused_by_name() {
    for (class, reason) in [
        ("StableDiffusionXLPipeline", "SDXL"),
        ("StableDiffusion3Pipeline", "Stable Diffusion 3"),
        ("FluxPipeline", "Flux"),
        ("StableDiffusionInstructPix2PixPipeline", "InstructPix2Pix"),
        ("KandinskyPipeline", "KandinskyPipeline"),
    ] {
        let mut files = odd_folder();
        let index = json!({"_class_name": class}).to_string();
        files.insert("model_index.json".to_owned(), index.into_bytes());
        let text = error(open_folder(&files));
        assert!(text.contains(reason), "{text}");
    }
    let mut files = odd_folder();
    files.insert("text_encoder_2/config.json".to_owned(), b"{}".to_vec());
    assert!(error(open_folder(&files)).contains("SDXL"));
}

#[test]
fn input_channels_tell_what_a_unet_wants_to_see() {
    for (channels, reason) in [
        (4, None),
        (9, None),
        (8, Some("InstructPix2Pix")),
        (5, Some("depth")),
        (7, Some("7 input channels")),
    ] {
        let mut tensors = odd_tensors();
        for (name, shape) in &mut tensors {
            if name == "model.diffusion_model.input_blocks.0.0.weight" {
                shape[1] = channels;
            }
        }
        let files = open_one(pack(&tensors, &METADATA));
        match reason {
            None => assert_eq!(checkpoint(files).unet.config.in_channels, channels),
            Some(reason) => {
                let text = error(files);
                assert!(text.contains(reason), "{text}");
            }
        }
    }
}

#[test]
fn parts_of_different_models_are_not_put_together() {
    let mut files = odd_folder();
    let mut config = section("odd", "text").config;
    config.insert("hidden_size".to_owned(), 45.into());
    let config = Value::Object(config).to_string();
    files.insert("text_encoder/config.json".to_owned(), config.into_bytes());
    let text = error(open_folder(&files));
    assert!(
        text.contains("wants texts of width 40 and its text encoder gives 45"),
        "{text}"
    );
}

/// Names are as hostile as numbers are.
#[test]
fn shapes_that_make_no_sense_are_refused() {
    for (name, shape) in [
        (
            "model.diffusion_model.input_blocks.0.0.weight",
            vec![1 << 40, 0],
        ),
        (
            "model.diffusion_model.input_blocks.1.0.in_layers.2.weight",
            vec![],
        ),
        (
            "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight",
            vec![8],
        ),
        ("first_stage_model.decoder.conv_in.weight", vec![0, 1 << 50]),
        (
            "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
            vec![0, 0],
        ),
    ] {
        let mut tensors = odd_tensors();
        let found = tensors.iter_mut().find(|(found, _)| found == name);
        found.expect("the model has this tensor").1 = shape;
        let text = error(open_one(pack(&tensors, &METADATA)));
        assert!(
            text.contains(name) && text.contains("has the shape"),
            "{text}"
        );
    }
}
