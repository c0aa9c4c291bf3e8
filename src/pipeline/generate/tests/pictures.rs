//! Pictures from pictures.

use serde_json::json;

use super::{
    super::Task,
    fake::{Fake, NEW, NEW_COLOUR, grey, square},
};
use crate::models::sampling::{NoiseRequest, NoiseSource};

#[test]
fn one_picture_is_encoded_once_for_the_whole_batch() {
    let fake = Fake::new();
    let payload = json!({
        "init_images": [format!("data:image/png;base64,{}", grey(100, 90, 51))],
        "width": 64, "height": 64, "steps": 10, "denoising_strength": 0.5, "batch_size": 3,
        "n_iter": 2, "sampler_name": "Euler", "seed": 4,
    });
    let made = fake.run(Task::Img2img, payload).unwrap();
    let calls = fake.calls();
    assert_eq!(
        calls[2..],
        [
            "encode 1 of 64 x 64",
            // Half of ten steps, and one more, as in the web UI.
            "sample [3, 4, 8, 8] in 6",
            "decode 3 of 64 x 64",
            "sample [3, 4, 8, 8] in 6",
            "decode 3 of 64 x 64",
        ]
    );
    let seen = fake.seen.lock().unwrap();
    let start = seen.passes[1].start.as_ref().unwrap();
    assert_eq!(start.sizes, [3, 4, 8, 8]);
    assert!(start.numbers.iter().all(|value| (value - 0.2).abs() < 1e-6));
    assert!(seen.passes[0].mask.is_none());
    assert_eq!(made.pictures.len(), 6);
    assert_eq!(made.pictures[0].1.field("Denoising strength"), Some("0.5"));
    assert_eq!(made.info["denoising_strength"], 0.5);
    assert!(made.parameters["init_images"].is_null() && made.parameters["mask"].is_null());
}

#[test]
fn several_pictures_make_the_batch() {
    let fake = Fake::new();
    let payload = json!({
        "init_images": [grey(64, 64, 0), grey(80, 64, 255)], "width": 64, "height": 64, "steps": 2,
        "batch_size": 4, "include_init_images": true,
    });
    let made = fake.run(Task::Img2img, payload).unwrap();
    assert_eq!(made.pictures.len(), 2);
    assert_eq!(made.info["all_seeds"].as_array().unwrap().len(), 2);
    assert_eq!(made.parameters["init_images"].as_array().unwrap().len(), 2);
    let payload = json!({"init_images": [grey(64, 64, 0), grey(64, 64, 0)], "batch_size": 1});
    let error = fake.run(Task::Img2img, payload).unwrap_err();
    assert!(
        error.to_string().contains("`init_images` has 2 pictures"),
        "{error}"
    );
}

#[test]
fn a_mask_over_the_whole_picture_keeps_what_is_black() {
    let fake = Fake::new();
    let payload = json!({
        "init_images": [grey(128, 128, 51)], "mask": square(128, 128, 64, 128), "width": 128,
        "height": 128, "steps": 4, "mask_blur": 0, "inpainting_fill": 1, "inpaint_full_res": false,
    });
    let made = fake.run(Task::Img2img, payload).unwrap();
    let picture = &made.pictures[0].0;
    assert_eq!(picture.get_pixel(10, 100).0, [51; 3]);
    assert_eq!(picture.get_pixel(120, 120).0, [NEW_COLOUR; 3]);
    let seen = fake.seen.lock().unwrap();
    let mask = seen.passes[0].mask.as_ref().unwrap();
    assert_eq!(
        (mask.new.len(), mask.new[0], mask.new[255]),
        (256, 0.0, 1.0)
    );
    assert_eq!(mask.original, *seen.passes[0].start.as_ref().unwrap());
    let text = &made.pictures[0].1;
    assert_eq!(text.field("Mask blur"), None);
    assert_eq!(text.field("Masked content"), None);
}

#[test]
fn an_inverted_mask_makes_the_black_part_anew() {
    let fake = Fake::new();
    let payload = json!({
        "init_images": [grey(128, 128, 51)], "mask": square(128, 128, 64, 128), "width": 128,
        "height": 128, "steps": 4, "mask_blur_x": 2, "mask_blur_y": 4, "inpainting_fill": 1,
        "inpaint_full_res": false, "inpainting_mask_invert": 1,
    });
    let made = fake.run(Task::Img2img, payload).unwrap();
    let (picture, text) = &made.pictures[0];
    assert_eq!(picture.get_pixel(10, 100).0, [NEW_COLOUR; 3]);
    assert_eq!(picture.get_pixel(120, 120).0, [51; 3]);
    assert_eq!(text.field("Mask mode"), Some("Inpaint not masked"));
    assert_eq!(text.field("Mask blur"), Some("2x4"));
}

#[test]
fn work_on_the_masked_area_alone_is_put_back_in_its_place() {
    let fake = Fake::new();
    let payload = json!({
        "init_images": [grey(256, 256, 51)], "mask": square(256, 256, 100, 140), "width": 64,
        "height": 64, "steps": 4, "mask_blur": 0, "inpainting_fill": 1, "inpaint_full_res": true,
        "inpaint_full_res_padding": 12,
    });
    let made = fake.run(Task::Img2img, payload).unwrap();
    let (picture, text) = &made.pictures[0];
    assert_eq!(picture.dimensions(), (256, 256));
    assert_eq!(picture.get_pixel(120, 120).0, [NEW_COLOUR; 3]);
    assert_eq!(picture.get_pixel(92, 92).0, [51; 3]);
    assert_eq!(picture.get_pixel(10, 10).0, [51; 3]);
    assert!(fake.calls().contains(&"encode 1 of 64 x 64".to_owned()));
    assert_eq!(text.field("Inpaint area"), Some("Only masked"));
    assert_eq!(text.field("Masked area padding"), Some("12"));
    assert_eq!(text.field("Size"), Some("64x64"));
}

#[test]
fn an_empty_mask_means_the_whole_picture_and_is_said() {
    let fake = Fake::new();
    let payload = json!({
        "init_images": [grey(64, 64, 51)], "mask": grey(64, 64, 0), "width": 64, "height": 64,
        "steps": 2,
    });
    let made = fake.run(Task::Img2img, payload).unwrap();
    assert!(fake.seen.lock().unwrap().passes[0].mask.is_none());
    assert!(
        made.info["comments"]
            .to_string()
            .contains("the mask is empty")
    );
}

#[test]
fn masked_content_is_colours_noise_or_nothing() {
    let start = |content: u32| {
        let fake = Fake::new();
        let payload = json!({
            "init_images": [grey(64, 64, 51)], "mask": square(64, 64, 32, 64), "width": 64,
            "height": 64, "steps": 4, "mask_blur": 0, "inpaint_full_res": false, "seed": 8,
            "inpainting_fill": content,
        });
        let made = fake.run(Task::Img2img, payload).unwrap();
        let label = made.pictures[0]
            .1
            .field("Masked content")
            .map(str::to_owned);
        let start = fake.seen.lock().unwrap().passes[0].start.clone().unwrap();
        (start.numbers, label)
    };
    let noise = NoiseSource::new(NoiseRequest::new([4, 8, 8], vec![8]))
        .unwrap()
        .draw();
    for (content, label) in [
        (0, Some("fill")),
        (2, Some("latent noise")),
        (3, Some("latent nothing")),
    ] {
        let (numbers, said) = start(content);
        assert_eq!(said.as_deref(), label);
        assert!((numbers[0] - 0.2).abs() < 0.01);
        let expected = match content {
            0 => 0.2,
            2 => noise[63],
            _ => 0.0,
        };
        assert!(
            (numbers[63] - expected).abs() < 0.01,
            "{content}: {}",
            numbers[63]
        );
    }
}

#[test]
fn the_mode_for_latent_pictures_encodes_the_picture_in_its_own_size() {
    let fake = Fake::new();
    let payload = json!({
        "init_images": [grey(100, 50, 51)], "width": 128, "height": 64, "steps": 2,
        "resize_mode": 3,
    });
    fake.run(Task::Img2img, payload).unwrap();
    assert!(fake.calls().contains(&"encode 1 of 96 x 48".to_owned()));
    let seen = fake.seen.lock().unwrap();
    assert_eq!(seen.passes[0].start.as_ref().unwrap().sizes, [1, 4, 8, 16]);
}

#[test]
fn strength_and_first_noise_follow_request_and_settings() {
    let pass = |more: serde_json::Value| {
        let fake = Fake::new();
        let mut payload = json!({
            "init_images": [grey(64, 64, 1)], "width": 64, "height": 64, "steps": 20,
            "denoising_strength": 0.4, "sampler_name": "Euler",
        });
        payload
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        fake.run(Task::Img2img, payload).unwrap();
        let seen = fake.seen.lock().unwrap();
        (seen.passes[0].evaluations, seen.passes[0].start_noise)
    };
    let (evaluations, plain) = pass(json!({}));
    assert_eq!(evaluations, 9);
    assert_eq!(
        pass(json!({"override_settings": {"img2img_fix_steps": true}})).0,
        20
    );
    let (_, half) = pass(json!({"initial_noise_multiplier": 0.5}));
    assert!((half * 2.0 - plain).abs() < 1e-9);
    let (_, half) = pass(json!({"override_settings": {"initial_noise_multiplier": 0.5}}));
    assert!((half * 2.0 - plain).abs() < 1e-9);
}

#[test]
fn a_guiding_network_without_a_picture_looks_at_the_requests_own_crop() {
    let fake = Fake::new();
    let unit = json!({"module": "none", "model": "control_canny"});
    let payload = json!({
        "init_images": [square(256, 256, 100, 140)], "mask": square(256, 256, 100, 140),
        "width": 64, "height": 64, "steps": 2, "mask_blur": 0, "inpaint_full_res": true,
        "alwayson_scripts": {"controlnet": {"args": [unit]}},
    });
    fake.run(Task::Img2img, payload).unwrap();
    let seen = fake.seen.lock().unwrap();
    let hint = &seen.passes[0].hints[0].1;
    assert_eq!(hint.dimensions(), (64, 64));
    // The region is the white square alone.
    let blacks = hint
        .enumerate_pixels()
        .filter(|(_, _, pixel)| pixel.0 != [255; 3]);
    assert_eq!(blacks.map(|(x, y, p)| (x, y, p.0)).collect::<Vec<_>>(), []);
}

#[test]
fn pictures_that_cannot_be_read_are_refused_by_name() {
    let fake = Fake::new();
    for (payload, status, part) in [
        (json!({}), 404, "Init image not found"),
        (json!({"init_images": []}), 404, "Init image not found"),
        (
            json!({"init_images": ["http://a.b/c"]}),
            422,
            "send the picture itself",
        ),
        (json!({"init_images": ["AAAA"]}), 422, "`init_images[0]`"),
        (
            json!({"init_images": [grey(64, 64, 1)], "mask": "AAAA"}),
            422,
            "`mask`",
        ),
        (
            json!({"init_images": [grey(64, 64, 1)], "mask_blur": 101}),
            422,
            "`mask_blur`",
        ),
        (json!({"init_images": [1]}), 422, "`init_images`"),
    ] {
        let error = fake.run(Task::Img2img, payload).unwrap_err();
        assert_eq!(error.status(), status, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!((f32::from(NEW_COLOUR) / 255.0 - NEW).abs() < 0.01);
}
