//! Options of requests.

use serde_json::{Value, json};

use super::super::settings::{Pass, Settings};
use crate::{pack::Pack, pipeline::Failure};

fn read(options: Value) -> Result<(Settings, Vec<String>), Failure> {
    let Value::Object(options) = options else {
        panic!("options are an object");
    };
    Settings::read(options, None)
}

#[test]
fn without_options_the_defaults_of_the_interface_hold() {
    let (settings, warnings) = read(json!({})).unwrap();
    assert_eq!(warnings, [""; 0]);
    assert!((0..65_536).contains(&settings.seed));
    let defaults = Settings {
        seed: settings.seed,
        ..Settings::of(None)
    };
    assert_eq!(settings, defaults);
    assert_eq!((settings.first.steps, settings.first.strength), (50, 0.45));
    let second = Pass {
        steps: 20,
        strength: 0.35,
    };
    assert_eq!(settings.second, Some(second));
    assert_eq!((settings.guidance, settings.lora_weights), (7.0, 0.9));
}

#[test]
fn every_name_is_read_and_numbers_are_moved_into_their_ranges() {
    let (settings, warnings) = read(json!({
        "additional_prompt": "hat", "additional_neg_prompt": "rain", "seed": 12,
        "lora_weights": 1.2, "cfg_scale": 5, "apply_face_fusion_before": false,
        "before_face_fusion_ratio": 0.1, "first_diffusion_steps": 100,
        "first_denoising_strength": 0.9, "second_diffusion_steps": 16,
        "second_denoising_strength": 0.25, "crop_face_preprocess": false,
        "color_shift_middle": false, "color_shift_last": false, "background_restore": true,
        "background_restore_denoising_strength": 0.2, "mask_ratio": 1.4, "display_score": true,
        "apply_face_fusion_after": false, "after_face_fusion_ratio": 0.7, "super_resolution": true,
        "super_resolution_ratio": 0.3, "candidates": 20, "allow_face_count_mismatch": true, "content_credentials": false,
        "save_image": true, "sd_model_checkpoint": "beta",
    }))
    .unwrap();
    assert_eq!(
        settings,
        Settings {
            side: 512,
            additional_prompt: String::from("hat"),
            additional_neg_prompt: String::from("rain"),
            seed: 12,
            lora_weights: 1.2,
            guidance: 5.0,
            apply_face_fusion_before: false,
            before_face_fusion_ratio: 0.2,
            apply_face_fusion_after: false,
            after_face_fusion_ratio: 0.7,
            first: Pass {
                steps: 50,
                strength: 0.6
            },
            second: Some(Pass {
                steps: 16,
                strength: 0.25
            }),
            crop_face_preprocess: false,
            color_shift_middle: false,
            color_shift_last: false,
            background_restore: Some(0.2),
            super_resolution: true,
            super_resolution_ratio: 0.3,
            mask_ratio: 1.4,
            display_score: true,
            candidates: 8,
            allow_face_count_mismatch: true,
            content_credentials: false,
            save_image: true,
            sd_model_checkpoint: Some(String::from("beta")),
        }
    );
    let moved: Vec<&str> = warnings
        .iter()
        .filter_map(|text| text.strip_prefix("`configure.")?.split('`').next())
        .collect();
    let expected = [
        "before_face_fusion_ratio",
        "first_diffusion_steps",
        "first_denoising_strength",
        "candidates",
    ];
    assert_eq!(moved, expected, "{warnings:?}");
    let (settings, _) = read(json!({"enable_second_diffusion": false})).unwrap();
    assert_eq!(settings.second, None);
    let (settings, _) = read(json!({"background_restore": true})).unwrap();
    assert_eq!(settings.background_restore, Some(0.35));
}

#[test]
fn older_names_count_where_the_newer_ones_are_missing() {
    let (settings, warnings) = read(json!({
        "append_pos_prompt": "hat", "use_fusion_before": false, "use_fusion_after": false,
        "final_fusion_ratio": 0.4, "first_control_weight": 0.5, "second_control_weight": 1.0,
    }))
    .unwrap();
    assert_eq!(settings.additional_prompt, "hat");
    assert!(!settings.apply_face_fusion_before && !settings.apply_face_fusion_after);
    // The older number is the share of what was painted.
    assert!((settings.after_face_fusion_ratio - 0.6).abs() < 1e-9);
    let about = |name: &str| warnings.iter().any(|text| text.contains(name));
    assert!(about("first_control_weight") && about("second_control_weight"));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let both = json!({"append_pos_prompt": "old", "additional_prompt": "new"});
    assert_eq!(read(both).unwrap().0.additional_prompt, "new");
    // The older number is the share of what was painted: 0.1 of it is 0.9 of the fused face.
    let (_, warnings) = read(json!({"final_fusion_ratio": 0.1})).unwrap();
    assert!(
        warnings[0].contains("`configure.after_face_fusion_ratio` is 0.9"),
        "{warnings:?}"
    );
}

#[test]
fn what_is_not_there_is_said_and_what_changes_nothing_is_not() {
    let (_, warnings) = read(json!({
        "super_resolution_method": "gpen",
        "skin_retouching_bool": false, "makeup_transfer": true, "makeup_transfer_ratio": 0.5,
        "face_shape_match": null, "lcm_accelerate": true, "batch_size": 1, "something": 1,
    }))
    .unwrap();
    let names = ["makeup_transfer", "lcm_accelerate", "something"];
    assert_eq!(warnings.len(), names.len(), "{warnings:?}");
    for name in names {
        let named = warnings
            .iter()
            .any(|text| text.starts_with(&format!("`configure.{name}`")));
        assert!(named, "{name}: {warnings:?}");
    }
}

#[test]
fn wrong_types_are_refused_and_a_pack_has_its_own_ranges() {
    for options in [
        json!({"seed": "7"}),
        json!({"candidates": 1.5}),
        json!({"display_score": 1}),
        json!({"additional_prompt": 5}),
    ] {
        assert!(read(options.clone()).is_err(), "{options}");
    }
    let options = json!({"first_denoising_strength": 0.95, "first_diffusion_steps": 4});
    let Value::Object(options) = options else {
        panic!("options are an object");
    };
    let (settings, warnings) = Settings::read(options, Some(Pack::Demo)).unwrap();
    assert_eq!((settings.first.strength, settings.first.steps), (0.95, 4));
    assert_eq!(warnings, [""; 0]);
}
