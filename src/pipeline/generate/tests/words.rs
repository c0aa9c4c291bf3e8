//! Pictures from words.

use serde_json::{Value, json};

use super::{
    super::{GenerateError, Task, Wish, artist::ControlMode},
    fake::{Fake, Listener, NEW_COLOUR, about, grey},
};
use crate::{
    imaging::RgbImage,
    job::CancelReason,
    models::sampling::{NoiseRequest, NoiseSource},
};

fn noise(seeds: &[i64], shape: [usize; 3]) -> Vec<f32> {
    let request = NoiseRequest::new(shape, seeds.to_vec());
    NoiseSource::new(request).unwrap().draw()
}

#[test]
fn one_picture_takes_one_pass() {
    let fake = Fake::new();
    let payload = json!({
        "prompt": "a face", "negative_prompt": "blur", "steps": 4, "width": 64, "height": 128,
        "seed": 5, "sampler_name": "Euler a", "cfg_scale": 6.5, "odd": [1],
    });
    let made = fake.run(Task::Txt2img, payload).unwrap();
    assert_eq!(
        fake.calls(),
        [
            "open alpha with VAE own",
            "text of 1 chunks, skip 1, Original",
            "text of 1 chunks, skip 1, Original",
            "sample [1, 4, 16, 8] in 4",
            "decode 1 of 64 x 128",
        ]
    );
    let (picture, text) = &made.pictures[0];
    assert_eq!(picture.dimensions(), (64, 128));
    assert_eq!(picture.get_pixel(0, 0).0, [NEW_COLOUR; 3]);
    assert_eq!(
        text.to_text(),
        format!(
            "a face\nNegative prompt: blur\nSteps: 4, Sampler: Euler a, Schedule type: Automatic, \
             CFG scale: 6.5, Seed: 5, Size: 64x128, Model hash: aaaaaaaaaa, Model: alpha, Version: \
             photog {}",
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(made.parameters["odd"], json!([1]));
    assert_eq!(made.parameters["n_iter"], 1);
    assert_eq!(made.parameters["sampler_index"], "Euler");
    let seen = fake.seen.lock().unwrap();
    let pass = &seen.passes[0];
    assert_eq!(pass.noise, noise(&[5], [4, 16, 8]));
    assert_eq!((pass.guidance, pass.start.is_none()), (6.5, true));
    assert_eq!(pass.positive[0].stretches.len(), 1);
    assert_ne!(pass.positive[0], pass.negative[0]);
}

#[test]
fn batches_count_seeds_up_and_info_lists_them() {
    let fake = Fake::new();
    let payload = json!({
        "steps": 1, "width": 64, "height": 64, "seed": 100, "subseed": 7, "batch_size": 2,
        "n_iter": 2, "sampler_name": "DPM++ 2M",
    });
    let made = fake.run(Task::Txt2img, payload).unwrap();
    let seen = fake.seen.lock().unwrap();
    assert_eq!(seen.passes[0].noise, noise(&[100, 101], [4, 8, 8]));
    assert_eq!(seen.passes[1].noise, noise(&[102, 103], [4, 8, 8]));
    assert_eq!(seen.passes[1].positive.len(), 2);
    let info = &made.info;
    assert_eq!(info["all_seeds"], json!([100, 101, 102, 103]));
    assert_eq!(info["all_subseeds"], json!([7, 8, 9, 10]));
    assert_eq!(info["infotexts"].as_array().unwrap().len(), 4);
    assert_eq!(made.pictures[3].1.field("Seed"), Some("103"));
    assert_eq!(made.pictures[3].1.field("Schedule type"), Some("Karras"));
    for name in [
        "prompt",
        "all_prompts",
        "negative_prompt",
        "all_negative_prompts",
        "seed",
        "subseed",
        "subseed_strength",
        "width",
        "height",
        "sampler_name",
        "cfg_scale",
        "steps",
        "batch_size",
        "restore_faces",
        "face_restoration_model",
        "sd_model_name",
        "sd_model_hash",
        "sd_vae_name",
        "sd_vae_hash",
        "seed_resize_from_w",
        "seed_resize_from_h",
        "denoising_strength",
        "extra_generation_params",
        "index_of_first_image",
        "styles",
        "job_timestamp",
        "clip_skip",
        "is_using_inpainting_conditioning",
        "version",
    ] {
        assert!(info.get(name).is_some(), "{name}");
    }
    assert_eq!(info["job_timestamp"].as_str().unwrap().len(), 14);
}

#[test]
fn an_open_seed_is_drawn_once_and_told() {
    let fake = Fake::new();
    let payload = json!({"steps": 1, "width": 64, "height": 64, "n_iter": 3});
    let made = fake.run(Task::Txt2img, payload).unwrap();
    let seed = made.info["seed"].as_i64().unwrap();
    assert!((0..4_294_967_294).contains(&seed));
    assert_eq!(made.info["all_seeds"], json!([seed, seed + 1, seed + 2]));
    let seen = fake.seen.lock().unwrap();
    assert_eq!(seen.passes[2].noise, noise(&[seed + 2], [4, 8, 8]));
}

#[test]
fn variations_keep_the_seed_and_count_the_other_one_up() {
    let fake = Fake::new();
    let payload = json!({
        "steps": 1, "width": 64, "height": 64, "seed": 3, "subseed": 9, "subseed_strength": 1.0,
        "batch_size": 2, "seed_resize_from_w": 128, "seed_resize_from_h": 64,
    });
    let made = fake.run(Task::Txt2img, payload).unwrap();
    assert_eq!(made.info["all_seeds"], json!([3, 3]));
    assert_eq!(made.info["all_subseeds"], json!([9, 10]));
    let text = &made.pictures[1].1;
    assert_eq!(text.field("Variation seed"), Some("10"));
    assert_eq!(text.field("Variation seed strength"), Some("1.0"));
    assert_eq!(text.field("Seed resize from"), Some("128x64"));
}

#[test]
fn loras_schedules_and_parts_of_the_prompt_reach_the_model() {
    let fake = Fake::new();
    let payload = json!({
        "prompt": "[cat:dog:0.5] <lora:person:0.5:0.8> AND a hat :0.5 <lora:gone:1> <hypernet:x:1>",
        "negative_prompt": "bad-hands",
        "steps": 10, "width": 64, "height": 64,
        "override_settings": {"CLIP_stop_at_last_layers": 2, "sd_vae": "sharp", "odd": 1},
    });
    let made = fake.run(Task::Txt2img, payload).unwrap();
    let seen = fake.seen.lock().unwrap();
    let pass = &seen.passes[0];
    assert_eq!(pass.loras, [("person".to_owned(), 0.5, f64::from(0.8_f32))]);
    let stretches = &pass.positive[0].stretches;
    let ends: Vec<usize> = stretches.iter().map(|(end, _)| *end).collect();
    assert_eq!(ends, [5, 10]);
    let weights: Vec<f64> = stretches[0].1.iter().map(|(_, weight)| *weight).collect();
    assert_eq!(weights.len(), 2);
    assert_ne!(stretches[0].1[0].0, stretches[1].1[0].0);
    assert_eq!(stretches[0].1[1].0, stretches[1].1[1].0);
    // Four texts, each encoded once.
    let texts = seen.calls.iter().filter(|call| call.starts_with("text"));
    let texts: Vec<_> = texts.collect();
    assert_eq!(texts.len(), 4);
    assert!(texts.iter().all(|text| text.contains("skip 2")));
    assert_eq!(seen.calls[0], "open alpha with VAE sharp");
    let comments = made.info["comments"].to_string();
    assert!(
        comments.contains("gone") && comments.contains("<hypernet:…>"),
        "{comments}"
    );
    let text = &made.pictures[0].1;
    assert_eq!(text.field("Lora hashes"), Some("person: cccccccccccc"));
    assert_eq!(text.field("TI hashes"), Some("bad-hands: ffffffffffff"));
    assert_eq!(text.field("Clip skip"), Some("2"));
    assert_eq!(text.field("VAE"), Some("sharp.safetensors"));
    assert_eq!(text.field("VAE hash"), Some("dddddddddd"));
    assert!(text.prompt.contains("<lora:person"));
}

#[test]
fn parts_of_different_length_are_made_equally_long() {
    let fake = Fake::new();
    let long = "word ".repeat(100);
    let payload = json!({
        "prompt": format!("{long} AND short"), "negative_prompt": "x", "steps": 1,
        "width": 64, "height": 64,
    });
    fake.run(Task::Txt2img, payload).unwrap();
    let seen = fake.seen.lock().unwrap();
    let texts = &seen.passes[0].positive[0].stretches[0].1;
    assert_eq!([texts[0].0.tokens, texts[1].0.tokens], [154, 154]);
    assert_eq!(texts[1].0.numbers.len(), 154);
    assert_eq!(texts[1].0.numbers[153], texts[1].0.numbers[76]);
    assert_eq!(seen.passes[0].negative[0].stretches[0].1[0].0.tokens, 77);
}

#[test]
fn prompts_that_would_fill_the_memory_are_refused() {
    let changes = (1..=100).map(|step| format!("[a:b:{step}]"));
    let changes = changes.collect::<Vec<_>>().join(" ");
    let words = "word ".repeat(1500);
    let payload = json!({
        "prompt": format!("{words} AND {changes}"), "steps": 100, "width": 64, "height": 64,
    });
    let fake = Fake::new();
    let error = fake.run(Task::Txt2img, payload).unwrap_err();
    assert!(
        error.to_string().contains("changes with each step"),
        "{error}"
    );
    assert_eq!(fake.calls().len(), 1);
}

#[test]
fn an_interruption_before_the_first_step_gives_no_picture() {
    let mut listener = Listener::new(|_| Wish::Interrupt);
    let payload = json!({"steps": 8, "width": 64, "height": 64});
    let made = Fake::new()
        .run_before(Task::Txt2img, payload, &mut listener)
        .unwrap();
    assert_eq!(made.pictures, []);
    assert!(made.info["comments"].to_string().contains("no picture"));
}

#[test]
fn a_second_pass_goes_over_the_enlarged_latent_picture() {
    let fake = Fake::new();
    let payload = json!({
        "prompt": "p", "steps": 6, "width": 64, "height": 64, "seed": 1, "batch_size": 2,
        "sampler_name": "Euler", "enable_hr": true, "hr_scale": 2, "denoising_strength": 0.5,
        "hr_second_pass_steps": 4, "hr_upscaler": "Latent", "hr_prompt": "q <lora:person:1>",
        "hr_sampler_name": "Euler a", "hr_checkpoint_name": "Use same checkpoint",
    });
    let mut listener = Listener::new(|_| Wish::Go);
    let made = fake
        .run_before(Task::Txt2img, payload, &mut listener)
        .unwrap();
    let seen = fake.seen.lock().unwrap();
    let passes = &seen.calls[seen.calls.len() - 3..];
    assert_eq!(
        passes,
        [
            "sample [2, 4, 8, 8] in 6",
            "sample [2, 4, 16, 16] in 4",
            "decode 2 of 128 x 128"
        ]
    );
    let second = &seen.passes[1];
    assert_eq!(second.sizes, [2, 4, 16, 16]);
    assert_eq!(second.noise, noise(&[1, 2], [4, 16, 16]));
    assert_eq!(second.start.as_ref().unwrap().sizes, [2, 4, 16, 16]);
    assert_eq!(second.loras.len(), 1);
    assert_eq!(made.pictures[1].0.dimensions(), (128, 128));
    let text = &made.pictures[0].1;
    for (name, value) in [
        ("Size", "64x64"),
        ("Denoising strength", "0.5"),
        ("Hires upscale", "2.0"),
        ("Hires steps", "4"),
        ("Hires upscaler", "Latent"),
        ("Hires sampler", "Euler a"),
        ("Hires prompt", "q <lora:person:1>"),
    ] {
        assert_eq!(text.field(name), Some(value), "{name}");
    }
    assert_eq!(listener.heard.last().unwrap().job_count, 2);
    let mut fractions = listener.heard.iter().map(|progress| progress.fraction);
    assert!(fractions.clone().is_sorted() && fractions.next_back().unwrap() > 0.9);
}

#[test]
fn a_picture_may_be_enlarged_as_picture_and_cut() {
    let fake = Fake::new();
    let payload = json!({
        "steps": 2, "width": 64, "height": 64, "enable_hr": true, "hr_upscaler": "Lanczos",
        "hr_resize_x": 128, "hr_resize_y": 96, "sampler_name": "Euler",
    });
    let made = fake.run(Task::Txt2img, payload).unwrap();
    let calls = fake.calls();
    assert_eq!(
        calls[calls.len() - 5..],
        [
            "sample [1, 4, 8, 8] in 2",
            "decode 1 of 64 x 64",
            "encode 1 of 128 x 128",
            "sample [1, 4, 12, 16] in 2",
            "decode 1 of 128 x 96"
        ]
    );
    assert_eq!(made.pictures[0].1.field("Hires resize"), Some("128x96"));
}

#[test]
fn guiding_networks_get_pictures_of_the_passes_sizes() {
    let fake = Fake::new();
    let unit = |hr: &str, image: String| {
        json!({
            "module": "canny", "model": "control_canny [0123abcd]", "weight": 0.7, "image": image,
            "control_mode": "My prompt is more important", "hr_option": hr, "mask": null,
            "resize_mode": "Resize and Fill", "processor_res": 64, "threshold_a": 64,
            "threshold_b": 64, "low_vram": false, "enabled": true,
        })
    };
    let units = json!([
        unit("Both", grey(40, 40, 9)),
        unit("High res only", format!("data:image/png;base64,{}", grey(40, 80, 9))),
        {"enabled": false, "model": "None"},
    ]);
    let payload = json!({
        "steps": 2, "width": 64, "height": 128, "enable_hr": true,
        "alwayson_scripts": {"ControlNet": {"args": units}, "ADetailer": {"args": [false]}},
    });
    let made = fake.run(Task::Txt2img, payload).unwrap();
    let seen = fake.seen.lock().unwrap();
    let sizes = |pass: usize| {
        let hints = seen.passes[pass].hints.iter();
        hints
            .map(|(_, hint, ..)| hint.dimensions())
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(0), [(64, 128)]);
    assert_eq!(sizes(1), [(128, 256); 2]);
    let (net, _, weight, mode) = &seen.passes[0].hints[0];
    assert_eq!(
        (net.as_str(), *weight, *mode),
        ("control_canny", 0.7, ControlMode::Prompt)
    );
    let text = made.pictures[0].1.field("ControlNet 0").unwrap();
    assert!(
        text.starts_with("Module: canny, Model: control_canny, Weight: 0.7"),
        "{text}"
    );
}

#[test]
fn an_interruption_gives_what_there_is_and_begins_no_other_batch() {
    let fake = Fake::new();
    let mut listener = Listener::new(|progress| match (progress.job_no, progress.step) {
        (2, 3) => Wish::Interrupt,
        _ => Wish::Go,
    });
    let payload = json!({"steps": 8, "width": 64, "height": 64, "n_iter": 4, "enable_hr": true});
    let made = fake
        .run_before(Task::Txt2img, payload, &mut listener)
        .unwrap();
    assert_eq!(made.pictures.len(), 2);
    // The second picture never saw its second pass.
    assert_eq!(made.pictures[0].0.width(), 128);
    assert_eq!(made.pictures[1].0.width(), 64);
    assert!(
        made.info["comments"]
            .to_string()
            .contains("batch 2 of 4 was interrupted")
    );
    assert_eq!(made.info["infotexts"].as_array().unwrap().len(), 2);
}

#[test]
fn a_skipped_batch_is_ended_and_the_next_one_made() {
    let fake = Fake::new();
    let mut listener = Listener::new(|progress| match (progress.job_no, progress.step) {
        (0, 3) => Wish::Skip,
        _ => Wish::Go,
    });
    let payload = json!({"steps": 8, "width": 64, "height": 64, "n_iter": 2});
    let made = fake
        .run_before(Task::Txt2img, payload, &mut listener)
        .unwrap();
    assert_eq!(made.pictures.len(), 2);
    let steps = |job: usize| {
        let heard = listener.heard.iter().filter(|it| it.job_no == job);
        heard.map(|progress| progress.step).max().unwrap()
    };
    assert_eq!([steps(0), steps(1)], [3, 7]);
    assert!(
        made.info["comments"]
            .to_string()
            .contains("batch 1 of 2 was skipped")
    );
}

#[test]
fn a_stop_ends_everything_with_its_reason() {
    for reason in [CancelReason::User, CancelReason::Deadline] {
        let mut listener = Listener::new(move |progress| match progress.step {
            2 => Wish::Stop(reason),
            _ => Wish::Go,
        });
        let payload = json!({"steps": 8, "width": 64, "height": 64});
        let error = Fake::new()
            .run_before(Task::Txt2img, payload, &mut listener)
            .unwrap_err();
        assert_eq!(error, GenerateError::Stopped(reason));
        assert_eq!(listener.heard.last().unwrap().textinfo, "step 3 of 8");
    }
}

#[test]
fn previews_are_small_and_come_every_so_many_steps() {
    let mut listener = Listener::new(|_| Wish::Go);
    listener.every = 4;
    let payload = json!({"steps": 8, "width": 64, "height": 64, "batch_size": 2});
    Fake::new()
        .run_before(Task::Txt2img, payload, &mut listener)
        .unwrap();
    let sizes: Vec<_> = listener.previews.iter().map(RgbImage::dimensions).collect();
    assert_eq!(sizes, [(512, 4); 2]);
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let run = |payload: Value| Fake::new().run(Task::Txt2img, payload).unwrap_err();
    let unit = |model: &str| json!({"ControlNet": {"args": [{"model": model}]}});
    for (payload, status, part) in [
        (json!({"sampler_name": "Heun"}), 404, "Sampler not found"),
        (
            json!({"override_settings": {"sd_model_checkpoint": "gamma"}}),
            422,
            "\"gamma\"",
        ),
        (
            json!({"override_settings": {"sd_vae": "gone"}}),
            422,
            "VAE \"gone\"",
        ),
        (
            json!({"alwayson_scripts": unit("depth")}),
            422,
            "ControlNet \"depth\"",
        ),
        (
            json!({"alwayson_scripts": unit("control_canny")}),
            422,
            "args[0].image`",
        ),
        (json!({"prompt": "<lora::1>"}), 422, "`prompt`"),
        (
            json!({"negative_prompt": "(".repeat(200) + "a" + &")".repeat(200)}),
            422,
            "`negative_prompt`",
        ),
        (
            json!({"enable_hr": true, "hr_upscaler": "R-ESRGAN 4x+"}),
            422,
            "hr_upscaler",
        ),
    ] {
        let error = run(payload);
        assert_eq!(error.status(), status, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let mut empty = Fake::new();
    empty.files.clear();
    let error = empty.run(Task::Txt2img, json!({})).unwrap_err();
    assert_eq!((error.status(), error), (503, GenerateError::NoCheckpoint));
}

#[test]
fn a_checkpoint_is_chosen_by_the_request_and_has_the_vae_beside_it() {
    let mut fake = Fake::new();
    fake.files
        .push((super::super::artist::Kind::Vae, about("beta", '9')));
    let payload = json!({
        "steps": 1, "width": 64, "height": 64,
        "override_settings": {"sd_model_checkpoint": "beta.safetensors"},
    });
    let made = fake.run(Task::Txt2img, payload).unwrap();
    assert_eq!(fake.calls()[0], "open beta with VAE beta");
    assert_eq!(made.info["sd_model_name"], "beta");
    assert_eq!(made.info["sd_vae_name"], "beta.safetensors");
}

#[test]
fn what_is_to_be_said_of_a_model_is_the_first_comment() {
    let fake = Fake::new();
    let ask = |model: &str| {
        let payload = json!({
            "prompt": "a cat", "width": 64, "height": 64, "steps": 2, "tiling": true,
            "override_settings": {"sd_model_checkpoint": model},
        });
        let made = fake.run(Task::Txt2img, payload).unwrap();
        made.info["comments"].as_array().unwrap().clone()
    };
    let comments = ask("beta");
    assert_eq!(
        (comments.len(), &comments[0]),
        (2, &"beta knows little".into())
    );
    assert_eq!(ask("alpha").len(), 1);
}
