//! Whole runs against diffusers and k-diffusion, with a tiny checkpoint and with that of the demo pack.
//!
//! `tests/reference/diffusion_pictures.py` and `demo_pictures.py` made the expected latents and pictures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::imaging::RgbImage;
use crate::models::backend::Device;
use crate::models::place::Place;
use crate::models::prompt::{Chunker, EmbeddingNames, Emphasis, pad_together};
use crate::models::reference::{Fixture, folder};
use crate::models::sampling::{
    FromPicture, Method, NoiseRequest, NoiseSource, Plan, Request, ddim_of_diffusers, plan, seeds,
};
use crate::models::supply::{PackRule, Supply};
use crate::models::weights::{Container, Files};
use crate::pack::Pack;

/// k-diffusion finds the time steps between whole ones in 32-bit floats, which puts them off by up to
/// 1.5e-3 of a step; and these random networks are touchy: a change of the noise by 1e-6 moves their
/// latents by up to 6e-5.
const LATENT_TOLERANCE: f32 = 3e-3;

/// Least likeness of pictures, in decibels. A level more or less in each number would be 48.
const LEAST_LIKENESS: f64 = 50.0;

/// On the CPU's kernels.
const KERNELS: Setting = Setting {
    device: Device::Cpu,
    precision: None,
    general: false,
};

/// On Burn's own operations, which run on any device.
const GENERAL: Setting = Setting {
    general: true,
    ..KERNELS
};

fn open(path: &Path, setting: Setting) -> Painter {
    open_at(&Place::Disk(path.to_owned()), setting)
}

fn open_at(place: &Place, setting: Setting) -> Painter {
    let Files::Checkpoint(checkpoint) = Files::at(place).unwrap() else {
        panic!("{place:?} is no checkpoint");
    };
    Painter::open(*checkpoint, None, setting).unwrap()
}

fn guide(setting: Setting) -> Arc<Guide> {
    let Files::ControlNet(part) = Files::open(&folder().join("tiny_controlnet")).unwrap() else {
        panic!("the folder is no ControlNet");
    };
    Arc::new(Guide::open(&part, setting).unwrap())
}

fn vectors(file: &str) -> Arc<Vectors> {
    Arc::new(Vectors::open(&folder().join(file)).unwrap())
}

/// Everything that the runs share.
struct Bench {
    setting: Setting,
    painter: Painter,
    /// Whose words the prompts are made of.
    words: Painter,
    fixture: Fixture,
    requests: BTreeMap<String, Value>,
}

impl Bench {
    /// With the runs of `<runs>.json` and `<runs>.safetensors`.
    fn new(setting: Setting, painter: Painter, words: Painter, runs: &str) -> Self {
        let text = std::fs::read_to_string(folder().join(format!("{runs}.json"))).unwrap();
        let requests: Vec<Value> = serde_json::from_str(&text).unwrap();
        let named = |request: Value| (request["name"].as_str().unwrap().to_owned(), request);
        Self {
            setting,
            painter,
            words,
            fixture: Fixture::open(&format!("{runs}.safetensors")),
            requests: requests.into_iter().map(named).collect(),
        }
    }

    fn tiny(setting: Setting) -> Self {
        Self::in_place_of_tiny(setting, &folder().join("tiny"))
    }

    /// With another checkpoint for the runs of the tiny one.
    fn in_place_of_tiny(setting: Setting, path: &Path) -> Self {
        let words = open(&folder().join("tiny"), setting);
        Self::new(setting, open(path, setting), words, "pictures")
    }

    fn demo(setting: Setting) -> Self {
        let painter = open_at(
            &Place::Pack(Pack::Demo, String::from("Stable-diffusion/demo")),
            setting,
        );
        Self::new(setting, painter.clone(), painter, "demo")
    }

    /// Runs a request and holds its latents, and its pictures where the file has them, against the
    /// file's. What differs is said.
    fn check(&self, name: &str) -> Option<String> {
        let request = &self.requests[name];
        let latents = self.run(request);
        let wanted = self.fixture.numbers(&format!("{name}.latent"));
        let largest = wanted.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let apart = latents
            .numbers
            .iter()
            .zip(wanted)
            .fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        assert_eq!(latents.numbers.len(), wanted.len());
        if latents.numbers.iter().any(|number| !number.is_finite()) {
            return Some(format!("{name}: not all are numbers"));
        }
        if apart / largest > LATENT_TOLERANCE {
            return Some(format!("{name}: {} of the largest number", apart / largest));
        }
        let picture = format!("{name}.picture");
        if self.fixture.names().any(|other| other == picture) {
            let made = self.painter.decode(&latents, &mut ()).unwrap();
            let made: Vec<u8> = made.into_iter().flat_map(RgbImage::into_raw).collect();
            let likeness = likeness(&made, self.fixture.numbers(&picture));
            if likeness < LEAST_LIKENESS {
                return Some(format!("{name}: {likeness} dB"));
            }
        }
        None
    }

    fn run(&self, request: &Value) -> Latents {
        let painter = self.prepared(request);
        let number = |key: &str| request[key].as_u64().unwrap() as usize;
        let (pictures, steps) = (number("batch_size"), number("steps"));
        let sizes = [pictures, 4, number("height") / 8, number("width") / 8];
        let plan = self.plan(request, steps);
        let mut noise = NoiseSource::new(NoiseRequest::new(
            [4, sizes[2], sizes[3]],
            seeds(request["seed"].as_i64().unwrap(), pictures, 0.0),
        ))
        .unwrap();
        let [positive, negative] = self.texts(&painter, request);
        let init = request.get("init_image").map(|name| {
            let picture = self.picture(name.as_str().unwrap());
            painter.encode(&[picture], None, &mut ()).unwrap()
        });
        let mask = request.get("mask").map(|_| Mask {
            new: self.fixture.numbers("inpaint.mask.latent").to_vec(),
            original: init.clone().unwrap(),
        });
        let controls: Vec<Control> = request
            .get("control")
            .map(|name| Control {
                net: guide(self.setting),
                hint: self.picture(name.as_str().unwrap()),
                weight: request["control_weight"].as_f64().unwrap(),
                start: 0.0,
                end: 1.0,
                mode: ControlMode::Balanced,
            })
            .into_iter()
            .collect();
        let job = Job {
            plan: &plan,
            noise: &mut noise,
            sizes,
            start: init.as_ref(),
            positive: &vec![positive; pictures],
            negative: &vec![negative; pictures],
            guidance: request["cfg_scale"].as_f64().unwrap(),
            mask: mask.as_ref(),
            controls: &controls,
        };
        painter.sample(job, &mut ()).unwrap()
    }

    /// The checkpoint with the request's LoRA in it.
    fn prepared(&self, request: &Value) -> Painter {
        let Some(file) = request.get("lora").and_then(Value::as_str) else {
            return self.painter.clone();
        };
        let weight = request["lora_weight"].as_f64().unwrap();
        let lora = |file: &str| LoraUse {
            file: Arc::new(Container::open(&folder().join(file)).unwrap()),
            name: file.to_owned(),
            text_weight: weight,
            unet_weight: weight,
        };
        self.painter.with_loras(&[lora(file)]).unwrap()
    }

    fn plan(&self, request: &Value, steps: usize) -> Plan {
        let sampler = request["sampler_name"].as_str().unwrap();
        if sampler == "DDIM" {
            return ddim_of_diffusers(self.painter.schedule(), steps);
        }
        let spacing = request["scheduler"].as_str();
        // The runs were made with "Automatic" as the model's own levels.
        let spacing = spacing.map(|name| if name == "Automatic" { "Uniform" } else { name });
        let (method, spacing) = Method::parse(sampler, spacing.unwrap()).unwrap();
        let mut wanted = Request::new(method, spacing, steps);
        let strength = request.get("denoising_strength").and_then(Value::as_f64);
        wanted.from_picture = strength.map(FromPicture::new);
        plan(self.painter.schedule(), &wanted).unwrap()
    }

    /// Prompt and negative prompt.
    fn texts(&self, painter: &Painter, request: &Value) -> [Prompted; 2] {
        let learned = request.get("embedding").map(|file| {
            let vectors = vectors(file.as_str().unwrap());
            let name = if vectors.count == 1 {
                "tiny_embedding_webui"
            } else {
                "<two-vectors>"
            };
            (name, vectors)
        });
        let tokenizer = self.words.tokenizer();
        let names = learned.iter().map(|(name, vectors)| (*name, vectors.count));
        let names = EmbeddingNames::new(tokenizer, names);
        let chunker = Chunker::new(tokenizer, &names);
        let mut chunks = ["prompt", "negative_prompt"].map(|key| {
            // Here, as in the WebUI, signs beside each other are one word; diffusers takes the name of
            // an embedding out before.
            let prompt = request[key].as_str().unwrap().replace(">,", "> ,");
            chunker.chunks(&prompt).unwrap()
        });
        if request.get("pad_negative_prompt").is_some() {
            pad_together(&mut chunks, tokenizer);
        }
        let find = |name: &str| {
            let found = learned.as_ref().filter(|(known, _)| *known == name);
            found.map(|(_, vectors)| Arc::clone(vectors))
        };
        let skip = request
            .get("clip_skip")
            .and_then(Value::as_u64)
            .unwrap_or(1) as usize;
        chunks.map(|chunks| {
            let text = painter.encode_text(&chunks, &find, skip, Emphasis::Original);
            Prompted::always(text.unwrap())
        })
    }

    /// The first picture of another run.
    fn picture(&self, name: &str) -> RgbImage {
        let name = format!("{name}.picture");
        let [_, height, width, _] = self.fixture.sizes(&name).try_into().unwrap();
        let bytes = self.fixture.numbers(&name)[..height * width * 3]
            .iter()
            .map(|&value| value as u8)
            .collect();
        RgbImage::from_raw(width as u32, height as u32, bytes).unwrap()
    }
}

/// Peak signal to noise ratio in decibels.
fn likeness(made: &[u8], wanted: &[f32]) -> f64 {
    assert_eq!(made.len(), wanted.len());
    let apart: f64 = made
        .iter()
        .zip(wanted)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum();
    10.0 * (255.0 * 255.0 / (apart / made.len() as f64).max(1e-10)).log10()
}

fn all_runs_are_those_of_the_references(setting: Setting) {
    let bench = Bench::tiny(setting);
    let velocity = Bench::in_place_of_tiny(setting, &velocity_folder());
    let check = |(name, request): (&String, &Value)| {
        if request.get("model").is_some() {
            velocity.check(name)
        } else {
            bench.check(name)
        }
    };
    let wrong: Vec<String> = bench.requests.iter().filter_map(check).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The tiny checkpoint with the scheduler of one that predicts velocities.
fn velocity_folder() -> PathBuf {
    let copy = tempfile::tempdir().unwrap().keep();
    for entry in ["unet", "vae", "text_encoder", "tokenizer", "scheduler"] {
        std::fs::create_dir(copy.join(entry)).unwrap();
        for file in std::fs::read_dir(folder().join("tiny").join(entry)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.join(entry).join(file.file_name())).unwrap();
        }
    }
    std::fs::copy(
        folder().join("tiny/model_index.json"),
        copy.join("model_index.json"),
    )
    .unwrap();
    std::fs::copy(
        folder().join("tiny_v_prediction.json"),
        copy.join("scheduler/scheduler_config.json"),
    )
    .unwrap();
    copy
}

#[test]
fn all_runs_on_the_cpus_kernels_are_those_of_the_references() {
    all_runs_are_those_of_the_references(KERNELS);
}

#[test]
fn all_runs_on_any_device_are_those_of_the_references() {
    all_runs_are_those_of_the_references(GENERAL);
}

#[test]
fn the_demo_pack_gives_the_pictures_that_diffusers_makes_of_its_folder() {
    for setting in [KERNELS, GENERAL] {
        let bench = Bench::demo(setting);
        assert!(!bench.requests.is_empty());
        let wrong: Vec<String> = bench
            .requests
            .keys()
            .filter_map(|name| bench.check(name))
            .collect();
        assert!(wrong.is_empty(), "{setting:?}: {wrong:#?}");
    }
}

/// `photog train --pack demo` wrote the LoRA, in 24 steps on the photos of one of the sample people;
/// `tests/reference/lora_loads.py` has seen diffusers take every tensor of it, and made the picture.
#[test]
fn a_lora_that_was_trained_here_gives_the_picture_that_diffusers_makes_with_it() {
    for setting in [KERNELS, GENERAL] {
        let base = Bench::demo(setting);
        let bench = Bench::new(setting, base.painter, base.words, "demo_lora");
        assert_eq!(bench.check("lora"), None, "{setting:?}");
        let mut plain = bench.requests["lora"].clone();
        plain.as_object_mut().unwrap().remove("lora");
        let apart = bench.run(&plain).numbers.into_iter();
        let wanted = bench.fixture.numbers("lora.latent");
        let most = apart.zip(wanted).map(|(a, b)| (a - b).abs());
        assert!(most.fold(0.0, f32::max) > 0.1, "the LoRA changes nothing");
    }
}

#[test]
fn a_single_file_gives_the_pictures_of_its_folder() {
    let single = Bench::in_place_of_tiny(KERNELS, &folder().join("tiny_single.safetensors"));
    let folder = Bench::tiny(KERNELS);
    let request = &single.requests["euler"];
    assert_eq!(single.run(request), folder.run(request));
}

#[test]
fn both_spellings_of_a_lora_give_the_same_pictures_and_leave_the_base_as_it_was() {
    let bench = Bench::tiny(KERNELS);
    let request = bench.requests["lora"].clone();
    let mut plain = request.clone();
    plain.as_object_mut().unwrap().remove("lora");
    let before = bench.run(&plain);
    let kohya = bench.run(&request);
    let mut other = request;
    other["lora"] = Value::from("tiny_lora_diffusers.safetensors");
    let diffusers = bench.run(&other);
    let apart = |a: &Latents, b: &Latents| {
        let pairs = a.numbers.iter().zip(&b.numbers);
        pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()))
    };
    // The factors were rounded to 16 bits in one of the files.
    assert!(
        apart(&kohya, &diffusers) < 0.01,
        "{}",
        apart(&kohya, &diffusers)
    );
    assert!(apart(&kohya, &before) > 0.1);
    assert_eq!(bench.run(&plain), before);
}

#[test]
fn the_checkpoint_of_a_pack_is_loaded_once_and_let_go_like_any_other() {
    let home = tempfile::tempdir().unwrap();
    let supply = Supply::new(home.path(), PackRule::Always(Pack::Demo));
    let networks = Networks::new(supply, NetworkLoader::new(KERNELS), 1 << 30);
    let demo = networks.find_checkpoint(None).unwrap().listed;
    let one = networks.painter(&demo, None).unwrap();
    let two = networks.clone().painter(&demo, None).unwrap();
    assert!(Arc::ptr_eq(&one, &two));
    assert!(one.bytes() > 0);
    let loaded = networks.loaded();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].bytes, one.bytes());
    assert_eq!(networks.unload(None).in_use, 1);
    drop((one, two));
    assert_eq!(networks.unload(None).dropped, 1);
}
