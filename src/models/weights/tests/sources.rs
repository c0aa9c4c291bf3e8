//! What a network's constructor sees.

use std::sync::Arc;

use super::super::layout::{Layout, Network};
use super::super::{Container, Source};
use super::{error, named, pack, raw};

fn source(network: Network, bytes: Vec<u8>) -> Source {
    let container = Container::from_bytes("net.safetensors", bytes).unwrap();
    Source::new(Arc::new(container), Arc::new(Layout::equal(network)))
}

fn unet(tensors: &[(&str, &[usize])]) -> Source {
    source(Network::Unet, pack(&named(tensors), &[]))
}

#[test]
fn scopes_read_what_their_names_say() {
    let all = unet(&[("a.b.weight", &[2, 2]), ("a.b.bias", &[2]), ("c", &[])]);
    let scope = all.at("a").at("b");
    assert_eq!(scope.tensor("weight", &[2, 2]).unwrap(), [0.0; 4]);
    assert_eq!(scope.tensor("bias", &[2]).unwrap(), [1.0, 0.0]);
    assert_eq!(all.tensor("c", &[]).unwrap(), [2.0]);
    assert_eq!(scope.shape("weight").unwrap(), [2, 2]);
    assert_eq!(scope.shape("wight"), None);
    all.finish().unwrap();
}

#[test]
fn a_convolution_of_one_pixel_is_a_linear_layer() {
    let all = unet(&[("conv", &[3, 2, 1, 1]), ("linear", &[3, 2])]);
    assert_eq!(all.tensor("conv", &[3, 2]).unwrap().len(), 6);
    assert_eq!(all.tensor("linear", &[3, 2, 1, 1]).unwrap().len(), 6);
    all.finish().unwrap();
    for wrong in [&[2, 3][..], &[6], &[3, 2, 1], &[3, 2, 2, 1]] {
        let all = unet(&[("conv", &[3, 2, 1, 1])]);
        all.tensor("conv", wrong).unwrap();
        assert!(
            error(all.finish()).contains("1 tensor is of another shape"),
            "{wrong:?}"
        );
    }
}

#[test]
fn one_error_lists_all_that_is_wrong() {
    let all = unet(&[("a", &[2]), ("b", &[3]), ("left.x", &[1]), ("over", &[1])]);
    all.leave("left");
    assert_eq!(all.tensor("b", &[4]).unwrap(), [0.0; 4]);
    for name in ["m1", "m2"] {
        assert_eq!(all.tensor(name, &[2, 3]).unwrap(), [0.0; 6]);
    }
    assert_eq!(
        error(all.finish()),
        "the UNet of net.safetensors does not fit its configuration: 2 tensors are missing: m1, \
         m2; 1 tensor is of another shape or type: b (wanted [4], the file has [3]); 2 tensors are \
         not understood: a, over. The file is damaged, or of another kind of model than it looks \
         like; take another file, or check its config.json"
    );
}

#[test]
fn long_lists_are_cut() {
    let all = unet(&[("a", &[2])]);
    for at in 0..5000 {
        all.tensor(&format!("{at}{}", "x".repeat(400)), &[1])
            .unwrap();
    }
    let text = error(all.finish());
    assert!(text.contains("5000 tensors are missing"), "{text}");
    assert!(text.contains(" and 4988 more"), "{text}");
    assert!(text.len() < 3000, "{}", text.len());
}

#[test]
fn integers_are_no_weights() {
    let head = r#"{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#;
    let all = source(Network::Unet, raw(head, &[1, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(all.tensor("a", &[1]).unwrap(), [0.0]);
    assert!(error(all.finish()).contains("a (its numbers are I64)"));
}

#[test]
fn what_is_made_up_is_bounded() {
    let all = unet(&[("a", &[2])]);
    let text = error(all.tensor("b", &[usize::MAX, 2]));
    assert!(text.contains("1 tensor is missing: b"), "{text}");
    assert!(error(all.tensor("c", &[1 << 20, 1 << 11])).contains("missing: b, c"));
    assert!(error(all.tensor("a", &[1 << 31])).contains("a (wanted"));
}

#[test]
fn known_leftovers_are_harmless_beside_their_network_only() {
    let beside: [(Network, &[&str]); 2] = [
        (
            Network::Text,
            &[
                "text_model.embeddings.position_ids",
                "logit_scale",
                "text_projection.weight",
                "vision_model.encoder.layers.0.mlp.fc1.weight",
                "visual_projection.weight",
                "model_ema.decay",
            ],
        ),
        (
            Network::Vae,
            &[
                "loss.logvar",
                "model_ema.num_updates",
                "betas",
                "alphas_cumprod_prev",
            ],
        ),
    ];
    for (network, names) in beside {
        let tensors: Vec<(&str, &[usize])> = names.iter().map(|&name| (name, &[1][..])).collect();
        let bytes = pack(&named(&tensors), &[]);
        source(network, bytes.clone()).finish().unwrap();
        assert!(
            error(source(Network::Unet, bytes).finish()).contains("not understood"),
            "{network}"
        );
    }
}
