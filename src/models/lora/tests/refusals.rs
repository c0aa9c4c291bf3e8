//! What is refused, and what is taken although it looks odd.

use super::{CONV, File, PROJ_IN, Q_PROJ, TO_Q, known, layer};
use crate::models::lora::{
    Layer, LoraError, NUMBERS_MAX, Network, Product, RANK_MAX, TENSORS_MAX, Tensors, kohya_name,
    read,
};

fn unet(path: &str, end: &str) -> String {
    format!("{}.{end}", kohya_name(Network::Unet, path))
}

/// A file with one module of rank 2 on a layer.
fn plain(path: &str, down: &[usize], up: &[usize]) -> File {
    File::default()
        .with(&unet(path, "lora_down.weight"), down)
        .with(&unet(path, "lora_up.weight"), up)
}

fn linear() -> File {
    plain(TO_Q, &[2, 6], &[4, 2])
}

fn loha(path: &str, fan_in: usize) -> File {
    File::default()
        .with(&unet(path, "hada_w1_a"), &[4, 2])
        .with(&unet(path, "hada_w1_b"), &[2, fan_in])
        .with(&unet(path, "hada_w2_a"), &[4, 2])
        .with(&unet(path, "hada_w2_b"), &[2, fan_in])
}

/// The text of the error that a file gives.
#[track_caller]
fn refusal(file: &File) -> String {
    match read(file, &known()) {
        Ok(lora) => panic!("taken: {:?}", lora.updates.keys()),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn assert_refused(file: &File, reason: &str) {
    let text = refusal(file);
    assert!(text.contains(reason), "{text}");
}

#[track_caller]
fn scale(file: &File) -> f32 {
    let lora = read(file, &known()).unwrap_or_else(|error| panic!("{error}"));
    lora.updates[&layer(Network::Unet, TO_Q)].scale()
}

#[test]
fn shapes_that_mean_the_same_are_taken() {
    for file in [
        linear(),
        plain(TO_Q, &[2, 6, 1, 1], &[4, 2, 1, 1]),
        plain(PROJ_IN, &[2, 6, 1, 1], &[4, 2, 1, 1]),
        plain(PROJ_IN, &[2, 6], &[4, 2]),
        plain(CONV, &[2, 6, 3, 3], &[4, 2, 1, 1]),
        plain(CONV, &[2, 54], &[4, 2]),
        loha(TO_Q, 6),
        loha(CONV, 54),
    ] {
        let lora = read(&file, &known()).unwrap_or_else(|error| panic!("{error}"));
        let (layer, update) = lora.updates.iter().next().unwrap();
        assert_eq!(Some(update.shape()), known().shape(layer));
        assert_eq!(
            update.delta().len(),
            update.shape().iter().product::<usize>()
        );
        // All factors hold 0.5, so every sum over the rank of 2 is 0.5.
        let expected = match update.factors() {
            Product::LowRank { .. } => 0.5,
            Product::Hadamard { .. } => 0.25,
        };
        assert!(update.delta().iter().all(|&number| number == expected));
    }
}

#[test]
fn the_scale_is_that_of_the_first_source_that_has_one() {
    let (scale_name, alpha_name) = (unet(TO_Q, "scale"), unet(TO_Q, "alpha"));
    assert_eq!(scale(&linear()), 1.0);
    let configured = File {
        config: Some(r#"{"lora_alpha": 6}"#.into()),
        ..linear()
    };
    assert_eq!(scale(&configured), 3.0);
    let with_alpha = configured.with(&alpha_name, &[]);
    assert_eq!(scale(&with_alpha), 0.25);
    assert_eq!(scale(&with_alpha.clone().with(&scale_name, &[1])), 0.5);
    let mut zero = with_alpha;
    zero.tensors.insert(alpha_name, (vec![], vec![0.0]));
    assert_eq!(scale(&zero), 1.0);
}

#[test]
fn settings_inside_a_file_count_for_their_network_only() {
    let file = linear();
    let inside = |key: &str| {
        let text = format!(r#"{{"{key}lora_alpha": 6}}"#);
        file.clone().with_metadata("lora_adapter_metadata", &text)
    };
    assert_eq!(scale(&inside("unet.")), 3.0);
    assert_eq!(scale(&inside("")), 3.0);
    assert_eq!(scale(&inside("text_encoder.")), 1.0);
}

#[test]
fn shapes_that_do_not_fit_the_layer_are_refused() {
    for (file, reason) in [
        (plain(TO_Q, &[2, 5], &[4, 2]), "the layer takes [rank, 6]"),
        (plain(TO_Q, &[2, 6], &[5, 2]), "the layer takes [4, rank]"),
        (plain(TO_Q, &[2, 6], &[4, 3]), "different ranks, 3 and 2"),
        (plain(TO_Q, &[2, 6, 3, 3], &[4, 2]), "[rank, 6]"),
        (plain(TO_Q, &[6], &[4, 2]), "[rank, 6]"),
        (plain(TO_Q, &[], &[4, 2]), "[rank, 6]"),
        (plain(TO_Q, &[0, 6], &[4, 0]), "the rank 0"),
        (plain(CONV, &[2, 6, 1, 1], &[4, 2]), "[rank, 6, 3, 3]"),
        (plain(CONV, &[2, 6, 3, 3], &[4, 2, 3, 3]), "[4, rank]"),
        (plain(CONV, &[2, 6], &[4, 2]), "[rank, 6, 3, 3]"),
        (loha(CONV, 6), "[rank, 6, 3, 3]"),
        (
            loha(TO_Q, 6).with(&unet(TO_Q, "hada_w2_a"), &[4, 3]),
            "different ranks",
        ),
        (
            plain(TO_Q, &[RANK_MAX + 1, 6], &[4, RANK_MAX + 1]),
            "the rank 2049",
        ),
        (
            linear().with(&unet(TO_Q, "alpha"), &[2]),
            "not a single number",
        ),
    ] {
        assert_refused(&file, reason);
    }
}

#[test]
fn modules_that_are_not_whole_are_refused() {
    let down = unet(TO_Q, "lora_down.weight");
    let up = unet(TO_Q, "lora_up.weight");
    let alpha = unet(TO_Q, "alpha");
    assert_refused(&linear().without(&down), "its down (A) factor is missing");
    assert_refused(&linear().without(&up), "its up (B) factor is missing");
    let only_alpha = linear().with(&alpha, &[]).without(&down).without(&up);
    assert_refused(&only_alpha, "no factors");
    let half = loha(TO_Q, 6).without(&unet(TO_Q, "hada_w2_b"));
    assert_refused(&half, "hada_w2_b is missing");
    let both = linear().with(&unet(TO_Q, "hada_w1_a"), &[4, 2]);
    assert_refused(&both, "of LoRA and of LoHa");
}

#[test]
fn numbers_that_cannot_be_used_are_refused() {
    for end in ["lora_down.weight", "lora_up.weight", "alpha", "scale"] {
        for number in [f32::NAN, f32::INFINITY, -1e30] {
            let mut file = linear()
                .with(&unet(TO_Q, "alpha"), &[])
                .with(&unet(TO_Q, "scale"), &[]);
            if end == "alpha" {
                file = file.without(&unet(TO_Q, "scale"));
            }
            let (_, values) = file.tensors.get_mut(&unet(TO_Q, end)).unwrap();
            *values.last_mut().unwrap() = number;
            assert_refused(&file, "not finite or beyond");
        }
    }
}

#[test]
fn a_reader_that_gives_other_numbers_than_it_said_is_an_error() {
    let mut file = linear();
    let name = unet(TO_Q, "lora_down.weight");
    file.tensors.get_mut(&name).unwrap().1.pop();
    assert_refused(&file, "its right factor has 11 numbers");
}

#[test]
fn a_layer_is_changed_once() {
    let peft = |file: File, adapter: &str| {
        file.with(&format!("unet.{TO_Q}.lora_A{adapter}.weight"), &[2, 6])
            .with(&format!("unet.{TO_Q}.lora_B{adapter}.weight"), &[4, 2])
    };
    assert!(read(&peft(File::default(), ".default"), &known()).is_ok());
    assert_refused(&peft(linear(), ""), "as the module");
    let two = peft(peft(File::default(), ".default"), ".other");
    assert_refused(&two, "is there twice");
}

#[test]
fn modules_without_a_layer_are_named() {
    let file = linear()
        .with("lora_unet_nowhere.lora_down.weight", &[2, 6])
        .with("lora_unet_nowhere.lora_up.weight", &[4, 2]);
    assert_refused(&file, "1 of the 2 modules");
    assert_refused(&file, "lora_unet_nowhere");
    let many = (0..50).fold(File::default(), |file, at| {
        file.with(&format!("lora_unet_{at}\n.lora_down.weight"), &[2, 6])
    });
    assert_refused(&many, "50 of the 50 modules");
    assert_refused(&many, "and 42 more");
    assert!(!refusal(&many).contains('\n'));
}

#[test]
fn files_that_are_no_lora_are_told_so() {
    assert_refused(&File::default(), "not a LoRA file");
    let checkpoint = File::default().with("model.diffusion_model.out.2.weight", &[4, 6]);
    assert_refused(&checkpoint, "not a LoRA file");
    let more = linear().with("something.else", &[1]);
    assert_refused(&more, "unknown meaning");
}

#[test]
fn other_kinds_and_families_are_refused_by_name() {
    for (end, kind) in [
        ("lokr_w1", "LoKr"),
        ("on_input", "IA3"),
        ("diff", "full difference"),
        ("w_norm", "norm"),
        ("a1.weight", "GLoRA"),
        ("oft_blocks", "OFT"),
        ("dora_scale", "DoRA"),
        ("lora_mid.weight", "Tucker"),
        ("hada_t1", "Tucker"),
    ] {
        let file = linear().with(&unet(TO_Q, end), &[1]);
        let error = read(&file, &known()).unwrap_err();
        assert!(matches!(error, LoraError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(kind), "{error}");
    }
    let sdxl = linear().with_metadata("ss_base_model_version", "sdxl_base_v1-0");
    assert_refused(&sdxl, "SDXL");
    assert_refused(&linear().with_metadata("ss_v2", "True"), "SD 2.x");
    let encoder = linear().with("lora_te2_text_model_x.alpha", &[]);
    assert_refused(&encoder, "SDXL");
}

#[test]
fn files_beyond_all_bounds_are_refused_before_numbers_are_read() {
    let many = (0..=TENSORS_MAX).fold(File::default(), |file, at| {
        file.with(&format!("lora_unet_{at}.alpha"), &[])
    });
    assert_refused(&many, "over 16384 tensors");

    let wide = NUMBERS_MAX / RANK_MAX;
    let known = super::Layers::new(
        [
            (layer(Network::Unet, "a"), vec![1, wide]),
            (layer(Network::Unet, "b"), vec![1, 1]),
        ],
        2,
    );
    let file = Hollow(vec![
        ("lora_unet_a.lora_down.weight", vec![RANK_MAX, wide]),
        ("lora_unet_a.lora_up.weight", vec![1, RANK_MAX]),
    ]);
    let error = read(&file, &known.unwrap()).unwrap_err();
    assert!(matches!(error, LoraError::TooLarge(_)), "{error}");
}

/// Tensors of any size, whose numbers nobody may read.
struct Hollow(Vec<(&'static str, Vec<usize>)>);

impl Tensors for Hollow {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| *name)
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, shape)| shape.clone())
    }

    fn values(&self, name: &str) -> Result<Vec<f32>, String> {
        panic!("{name} is read")
    }

    fn metadata(&self) -> &std::collections::BTreeMap<String, String> {
        static NONE: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
        &NONE
    }
}

#[test]
fn tensors_that_cannot_be_read_are_named() {
    struct Torn(File);
    impl Tensors for Torn {
        fn names(&self) -> impl Iterator<Item = &str> {
            self.0.names()
        }
        fn shape(&self, name: &str) -> Option<Vec<usize>> {
            self.0.shape(name)
        }
        fn values(&self, _: &str) -> Result<Vec<f32>, String> {
            Err("the disk is gone".into())
        }
        fn metadata(&self) -> &std::collections::BTreeMap<String, String> {
            self.0.metadata()
        }
    }
    let error = read(&Torn(linear()), &known()).unwrap_err().to_string();
    assert!(
        error.contains("lora_up.weight") && error.contains("the disk is gone"),
        "{error}"
    );
}

#[test]
fn both_text_prefixes_are_the_one_text_encoder() {
    for prefix in ["lora_te_", "lora_te1_"] {
        let module = format!("{prefix}{}", Q_PROJ.replace('.', "_"));
        let file = File::default()
            .with(&format!("{module}.lora_down.weight"), &[2, 6])
            .with(&format!("{module}.lora_up.weight"), &[4, 2]);
        let lora = read(&file, &known()).unwrap();
        let expected: Layer = layer(Network::Text, Q_PROJ);
        assert!(lora.updates.keys().eq([&expected]));
    }
}
