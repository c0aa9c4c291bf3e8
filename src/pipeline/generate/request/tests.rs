use serde_json::{Value, json};

use super::*;

fn text(payload: &Value) -> Result<TextToImage, String> {
    TextToImage::read(payload.as_object().unwrap()).map_err(|error| error.to_string())
}

/// What the Python client `webuiapi` 0.9 sends for a call with nothing but a prompt.
fn client_payload() -> Value {
    let payload = r#"{
        "enable_hr": false, "hr_scale": 2, "hr_upscaler": "Latent", "hr_second_pass_steps": 0,
        "hr_resize_x": 0, "hr_resize_y": 0, "hr_checkpoint_name": null, "hr_sampler_name": null,
        "hr_scheduler": null, "hr_prompt": "", "hr_negative_prompt": "",
        "denoising_strength": 0.7, "firstphase_width": 0, "firstphase_height": 0,
        "prompt": "a cat", "styles": [], "seed": -1, "subseed": -1, "subseed_strength": 0.0,
        "seed_resize_from_h": 0, "seed_resize_from_w": 0, "batch_size": 1, "n_iter": 1,
        "steps": 20, "cfg_scale": 7.0, "width": 512, "height": 512, "restore_faces": false,
        "tiling": false, "do_not_save_samples": false, "do_not_save_grid": false,
        "negative_prompt": "", "eta": 1.0, "s_churn": 0, "s_tmax": 0, "s_tmin": 0, "s_noise": 1,
        "override_settings": {}, "override_settings_restore_afterwards": true,
        "sampler_name": "Euler a", "scheduler": "automatic", "sampler_index": "Euler a",
        "script_name": null, "script_args": [], "send_images": true, "save_images": false,
        "alwayson_scripts": {"ControlNet": {"args": []}}
    }"#;
    serde_json::from_str(payload).unwrap()
}

#[test]
fn the_python_clients_payload_is_taken_without_a_word() {
    let request = text(&client_payload()).unwrap();
    assert_eq!(request.common.warnings, [""; 0]);
    assert_eq!(request.common.method, Method::EulerAncestral);
    assert_eq!(request.common.steps, 20);
    assert_eq!(request.hires, None);
    let mut payload = client_payload();
    payload["enable_hr"] = json!(true);
    let hires = text(&payload).unwrap().hires.unwrap();
    assert_eq!(hires.target.pixels(), (1024, 1024));
    assert_eq!((hires.steps, hires.method), (20, Method::EulerAncestral));
}

#[test]
fn every_member_may_be_null_and_then_has_its_default() {
    let mut payload = client_payload();
    for value in payload.as_object_mut().unwrap().values_mut() {
        *value = Value::Null;
    }
    assert_eq!(text(&payload), text(&json!({})));
    let common = text(&json!({})).unwrap().common;
    assert_eq!((common.steps, common.guidance, common.seed), (50, 7.0, -1));
    assert_eq!((common.width, common.height), (512, 512));
    assert_eq!(common.method, Method::Euler);
    let mut image = serde_json::Map::new();
    for name in ImageToImage::echo(&image, false).keys() {
        image.insert(name.clone(), Value::Null);
    }
    image.insert("init_images".to_owned(), json!(["AAAA"]));
    let request = ImageToImage::read(&image).unwrap();
    assert_eq!((request.strength, request.mask_blur), (0.75, [4.0; 2]));
    assert!(request.is_masked_area_only && request.rounds_mask);
    assert_eq!(request.content, Content::Fill);
}

#[test]
fn numbers_out_of_bounds_are_refused_by_name() {
    for (name, value) in [
        ("steps", json!(0)),
        ("steps", json!(151)),
        ("steps", json!(7.5)),
        ("width", json!(63)),
        ("height", json!(2049)),
        ("batch_size", json!(9)),
        ("n_iter", json!(101)),
        ("cfg_scale", json!(30.5)),
        ("cfg_scale", json!("much")),
        ("denoising_strength", json!(1.1)),
        ("subseed_strength", json!(-1)),
        ("prompt", json!(7)),
        ("override_settings", json!([])),
        ("styles", json!("x")),
        ("send_images", json!("maybe")),
    ] {
        let error = text(&json!({name: value})).unwrap_err();
        assert!(error.starts_with(&format!("`{name}` ")), "{error}");
    }
}

#[test]
fn sides_are_cut_to_whole_latent_pixels_and_that_is_said() {
    let request = text(&json!({"width": "515", "height": 640.0})).unwrap();
    assert_eq!((request.common.width, request.common.height), (512, 640));
    assert_eq!(request.common.warnings.len(), 1);
}

#[test]
fn what_is_not_built_is_refused_or_said() {
    for (payload, part) in [
        (json!({"script_name": "xyz"}), "script_name"),
        (json!({"refiner_checkpoint": "x"}), "refiner_checkpoint"),
        (
            json!({"enable_hr": true, "hr_checkpoint_name": "x"}),
            "hr_checkpoint_name",
        ),
        (
            json!({"alwayson_scripts": {"ADetailer": {"args": [true]}}}),
            "\"ADetailer\"",
        ),
        (
            json!({"alwayson_scripts": {"ControlNet": {"args": 1}}}),
            "list `args`",
        ),
        (
            json!({"alwayson_scripts": {"ControlNet": {"args": [{"model": "m", "module": "depth"}]}}}),
            "asks for \"depth\"",
        ),
        (
            json!({"alwayson_scripts": {"ControlNet": {"args": [{}]}}}),
            "args[0].model",
        ),
    ] {
        let error = text(&payload).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    let ignored =
        json!({"restore_faces": true, "tiling": 1, "styles": ["x"], "infotext": "Steps: 1"});
    assert_eq!(text(&ignored).unwrap().common.warnings.len(), 4);
    for name in ["None", "none", ""] {
        assert!(text(&json!({"script_name": name, "refiner_checkpoint": name})).is_ok());
    }
}

#[test]
fn units_are_read_in_all_spellings() {
    let image = json!({"image": "AAAA", "mask": "AAAA"});
    let payload = json!({"alwayson_scripts": {"controlnet": {"args": [
        {"model": "m", "input_image": "AAAA", "control_mode": 2, "resize_mode": 0},
        {"model": "m", "image": image, "control_mode": "Balanced",
         "resize_mode": "Scale to Fit (Inner Fit)", "guidance_end": "0.5"},
        {"model": "m", "weight": 0},
        {"model": "m", "enabled": false},
    ]}}});
    let common = text(&payload).unwrap().common;
    let [one, two] = &common.units[..] else {
        panic!("{:?}", common.units);
    };
    assert_eq!(one.image.as_deref(), Some("AAAA"));
    assert_eq!(one.mode, super::super::artist::ControlMode::Control);
    assert_eq!((two.image.as_deref(), two.end), (Some("AAAA"), 0.5));
    assert_eq!(
        two.preparation.resize,
        super::super::hints::ResizeMode::Crop
    );
    assert_eq!(common.warnings.len(), 1);
    let eleven = vec![json!({"model": "m"}); 11];
    let payload = json!({"alwayson_scripts": {"controlnet": {"args": eleven}}});
    assert!(text(&payload).unwrap_err().contains("11 units"));
}

#[test]
fn an_old_size_of_the_first_pass_makes_the_size_the_target() {
    let payload = json!({
        "enable_hr": true, "width": 1024, "height": 768, "firstphase_width": 512,
        "firstphase_height": 384,
    });
    let request = text(&payload).unwrap();
    assert_eq!((request.common.width, request.common.height), (512, 384));
    assert_eq!(request.hires.unwrap().target.pixels(), (1024, 768));
}

#[test]
fn an_echo_has_all_defaults_and_no_long_texts() {
    let long = "A".repeat(100_000);
    let given = json!({
        "steps": 3, "mine": {"x": long, "y": [1, long]}, "init_images": [long], "mask": long,
    });
    let given = given.as_object().unwrap();
    let echo = ImageToImage::echo(given, false);
    assert_eq!(
        (&echo["steps"], &echo["mask_round"]),
        (&json!(3), &json!(true))
    );
    assert_eq!(echo["mine"], json!({"x": null, "y": [1, null]}));
    assert!(echo["init_images"].is_null());
    assert_eq!(
        ImageToImage::echo(given, true)["init_images"],
        json!([long])
    );
}
