//! An artist that paints in one colour and remembers what it was asked for.

use std::sync::{Arc, Mutex};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

use super::super::{
    GenerateTask, Generated, Task,
    artist::{
        About, Artist, ArtistError, ControlMode, Flow, Job, Kind, Latents, LoraUse, Mask, Painter,
        Prompted, Stage, Text, Vectors, Watch,
    },
    error::GenerateError,
    generate,
    progress::{Audience, Progress, Wish},
};
use crate::{
    imaging::{RgbImage, png_text::write_png},
    models::{
        clip::tokenizer::Tokenizer,
        prompt::{Chunk, Emphasis},
        sampling::{Betas, Schedule},
    },
};

/// What every new latent value is.
pub const NEW: f32 = 0.5;
/// The colour that it becomes.
pub const NEW_COLOUR: u8 = 128;

/// What the fake was asked for.
#[derive(Debug, Default)]
pub struct Seen {
    /// Calls in their order.
    pub calls: Vec<String>,
    /// Passes.
    pub passes: Vec<Pass>,
}

/// One pass of the sampler.
#[derive(Debug)]
pub struct Pass {
    pub sizes: [usize; 4],
    pub evaluations: usize,
    pub start_noise: f64,
    pub noise: Vec<f32>,
    pub start: Option<Latents>,
    pub positive: Vec<Prompted>,
    pub negative: Vec<Prompted>,
    pub guidance: f64,
    pub mask: Option<Mask>,
    pub hints: Vec<(String, RgbImage, f64, ControlMode)>,
    pub loras: Vec<(String, f64, f64)>,
}

/// The library.
pub struct Fake {
    pub files: Vec<(Kind, About)>,
    pub seen: Arc<Mutex<Seen>>,
}

/// The model.
pub struct Brush {
    seen: Arc<Mutex<Seen>>,
    loras: Vec<(String, f64, f64)>,
    tokenizer: Arc<Tokenizer>,
    schedule: Schedule,
}

pub fn about(name: &str, hash: char) -> About {
    About {
        name: name.to_owned(),
        file_name: format!("{name}.safetensors"),
        sha256: Some(hash.to_string().repeat(64)),
        notice: (name == "beta").then_some("beta knows little"),
    }
}

impl Fake {
    pub fn new() -> Self {
        Self {
            files: vec![
                (Kind::Checkpoint, about("alpha", 'a')),
                (Kind::Checkpoint, about("beta", 'b')),
                (Kind::Lora, about("person", 'c')),
                (Kind::Vae, about("sharp", 'd')),
                (Kind::ControlNet, about("control_canny", 'e')),
                (Kind::Embedding, about("bad-hands", 'f')),
            ],
            seen: Arc::default(),
        }
    }

    pub fn calls(&self) -> Vec<String> {
        self.seen.lock().unwrap().calls.clone()
    }

    pub fn run(&self, task: Task, payload: Value) -> Result<Generated, GenerateError> {
        self.run_before(task, payload, &mut ())
    }

    pub fn run_before(
        &self,
        task: Task,
        payload: Value,
        audience: &mut dyn Audience,
    ) -> Result<Generated, GenerateError> {
        generate(&task_of(task, payload), self, audience)
    }
}

pub fn task_of(task: Task, payload: Value) -> GenerateTask {
    let Value::Object(payload) = payload else {
        panic!("a payload is an object");
    };
    GenerateTask {
        task,
        payload,
        options: Map::new(),
    }
}

impl Artist for Fake {
    type File = About;
    type Guide = String;
    type Lora = String;
    type Painter = Brush;

    fn list(&self, kind: Kind) -> Vec<About> {
        let files = self.files.iter().filter(|(own, _)| *own == kind);
        files.map(|(_, about)| about.clone()).collect()
    }

    fn find(&self, kind: Kind, name: &str) -> Option<About> {
        let mut all = self.list(kind).into_iter();
        all.find(|about| about.name == name || about.file_name == name)
    }

    fn name<'f>(&self, file: &'f About) -> &'f str {
        &file.name
    }

    fn about(&self, file: &About) -> About {
        file.clone()
    }

    fn painter(&self, checkpoint: &About, vae: Option<&About>) -> Result<Arc<Brush>, ArtistError> {
        let vae = vae.map_or("own", |vae| &vae.name);
        let call = format!("open {} with VAE {vae}", checkpoint.name);
        self.seen.lock().unwrap().calls.push(call);
        Ok(Arc::new(Brush {
            seen: Arc::clone(&self.seen),
            loras: Vec::new(),
            tokenizer: Tokenizer::standard(),
            schedule: Schedule::new(Betas::default()).unwrap(),
        }))
    }

    fn guide(&self, file: &About) -> Result<Arc<String>, ArtistError> {
        Ok(Arc::new(file.name.clone()))
    }

    fn lora(&self, file: &About) -> Result<Arc<String>, ArtistError> {
        Ok(Arc::new(file.name.clone()))
    }

    fn embedding(&self, _file: &About) -> Result<Arc<Vectors>, ArtistError> {
        let (count, width) = (2, 2);
        let numbers = vec![7.0; count * width];
        Ok(Arc::new(Vectors {
            count,
            width,
            numbers,
        }))
    }
}

impl Painter for Brush {
    type Guide = String;
    type Lora = String;

    fn with_loras(&self, loras: &[LoraUse<String>]) -> Result<Self, ArtistError> {
        let loras = loras.iter();
        Ok(Self {
            seen: Arc::clone(&self.seen),
            loras: loras
                .map(|lora| (lora.file.to_string(), lora.text_weight, lora.unet_weight))
                .collect(),
            tokenizer: Arc::clone(&self.tokenizer),
            schedule: self.schedule.clone(),
        })
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn latent_channels(&self) -> usize {
        4
    }

    fn factor(&self) -> usize {
        8
    }

    fn encode_text(
        &self,
        chunks: &[Chunk],
        embeddings: &dyn Fn(&str) -> Option<Arc<Vectors>>,
        clip_skip: usize,
        emphasis: Emphasis,
    ) -> Result<Text, ArtistError> {
        let call = format!(
            "text of {} chunks, skip {clip_skip}, {emphasis:?}",
            chunks.len()
        );
        self.seen.lock().unwrap().calls.push(call);
        for placed in chunks.iter().flat_map(|chunk| &chunk.embeddings) {
            assert!(embeddings(&placed.name).is_some());
        }
        // Each token is its id, and the last of a text tells texts apart.
        let ids = chunks.iter().flat_map(|chunk| chunk.ids);
        Ok(Text {
            tokens: chunks.len() * 77,
            width: 1,
            numbers: ids.map(|id| id as f32).collect(),
        })
    }

    fn sample(&self, job: Job<'_, String>, watch: &mut dyn Watch) -> Result<Latents, ArtistError> {
        let total = job.plan.evaluations.len();
        let noise = job.noise.draw();
        assert_eq!(noise.len(), job.sizes.iter().product::<usize>());
        let controls = job.controls.iter();
        let mut seen = self.seen.lock().unwrap();
        seen.calls
            .push(format!("sample {:?} in {total}", job.sizes));
        seen.passes.push(Pass {
            sizes: job.sizes,
            evaluations: total,
            start_noise: job.plan.start.noise,
            noise,
            start: job.start.cloned(),
            positive: job.positive.to_vec(),
            negative: job.negative.to_vec(),
            guidance: job.guidance,
            mask: job.mask.cloned(),
            hints: controls
                .map(|it| (it.net.to_string(), it.hint.clone(), it.weight, it.mode))
                .collect(),
            loras: self.loras.clone(),
        });
        drop(seen);
        for step in 0..total {
            match watch.step(Stage::Sample, step, total) {
                Flow::Go => {}
                Flow::Finish => break,
                Flow::Stop => return Err(ArtistError::Stopped),
            }
            if watch.wants_preview() {
                watch.preview(vec![RgbImage::new(1024, 8); job.sizes[0]]);
            }
        }
        let mut made = Latents {
            sizes: job.sizes,
            numbers: vec![NEW; job.sizes.iter().product()],
        };
        if let Some(mask) = job.mask {
            let originals = mask.original.numbers.iter();
            for (at, (value, original)) in made.numbers.iter_mut().zip(originals).enumerate() {
                let new = mask.new[at % mask.new.len()];
                *value = *value * new + original * (1.0 - new);
            }
        }
        Ok(made)
    }

    fn encode(
        &self,
        pictures: &[RgbImage],
        posterior_noise: Option<&Latents>,
        watch: &mut dyn Watch,
    ) -> Result<Latents, ArtistError> {
        assert!(posterior_noise.is_none());
        let (width, height) = pictures[0].dimensions();
        assert!(width % 8 == 0 && height % 8 == 0);
        let call = format!("encode {} of {width} x {height}", pictures.len());
        self.seen.lock().unwrap().calls.push(call);
        watch.step(Stage::Encode, 0, 1);
        let (rows, columns) = (height as usize / 8, width as usize / 8);
        let mut numbers = Vec::new();
        for picture in pictures {
            for _ in 0..4 {
                for place in 0..rows * columns {
                    let (x, y) = (
                        (place % columns) as u32 * 8 + 4,
                        (place / columns) as u32 * 8 + 4,
                    );
                    numbers.push(f32::from(picture.get_pixel(x, y).0[0]) / 255.0);
                }
            }
        }
        Ok(Latents {
            sizes: [pictures.len(), 4, rows, columns],
            numbers,
        })
    }

    fn decode(
        &self,
        latents: &Latents,
        watch: &mut dyn Watch,
    ) -> Result<Vec<RgbImage>, ArtistError> {
        let [pictures, channels, rows, columns] = latents.sizes;
        let call = format!("decode {pictures} of {} x {}", columns * 8, rows * 8);
        self.seen.lock().unwrap().calls.push(call);
        assert_eq!(watch.step(Stage::Decode, 0, 1), Flow::Go);
        let planes = latents.numbers.chunks_exact(channels * rows * columns);
        Ok(planes
            .map(|plane| {
                RgbImage::from_fn(columns as u32 * 8, rows as u32 * 8, |x, y| {
                    let place = (y / 8) as usize * columns + (x / 8) as usize;
                    [(plane[place] * 255.0).round() as u8; 3].into()
                })
            })
            .collect())
    }
}

/// A picture in base64.
pub fn base64_of(picture: &RgbImage) -> String {
    BASE64_STANDARD.encode(write_png(picture, &[]).unwrap())
}

/// A picture of one grey in base64.
pub fn grey(width: u32, height: u32, level: u8) -> String {
    base64_of(&RgbImage::from_pixel(width, height, [level; 3].into()))
}

/// A black picture with a white square, in base64: a mask.
pub fn square(width: u32, height: u32, from: u32, to: u32) -> String {
    base64_of(&RgbImage::from_fn(width, height, |x, y| {
        let is_inside = (from..to).contains(&x) && (from..to).contains(&y);
        [if is_inside { 255 } else { 0 }; 3].into()
    }))
}

/// Says something at a chosen report, and remembers all of them.
pub struct Listener {
    pub heard: Vec<Progress>,
    pub previews: Vec<RgbImage>,
    pub every: usize,
    pub say: Box<dyn FnMut(&Progress) -> Wish>,
}

impl Listener {
    pub fn new(say: impl FnMut(&Progress) -> Wish + 'static) -> Self {
        Self {
            heard: Vec::new(),
            previews: Vec::new(),
            every: 0,
            say: Box::new(say),
        }
    }
}

impl Audience for Listener {
    fn report(&mut self, progress: &Progress) -> Wish {
        self.heard.push(progress.clone());
        (self.say)(progress)
    }

    fn preview_every(&mut self) -> usize {
        self.every
    }

    fn preview(&mut self, picture: RgbImage) {
        self.previews.push(picture);
    }
}
