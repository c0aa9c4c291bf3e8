//! Runs of a checkpoint through its public interface.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use photog::{
    imaging::RgbImage,
    models::{
        diffusion::{Control, Flow, Job, Latents, Painter, Prompted, Stage, Text, Watch},
        prompt::{Chunk, Chunker, EmbeddingNames, Emphasis},
        sampling::{
            Combination, Evaluation, Method, NoiseRequest, NoiseSource, Plan, Request, Spacing,
            Start, plan, seeds,
        },
    },
};

use super::weights::{hash, uniform};

/// What pictures are to show, and what not; words that the tiny checkpoint knows too.
const PROMPTS: [&str; 2] = [
    "a portrait photo of a smiling woman, green eyes",
    "blurry, ugly",
];

/// Guidance that asks the network about both texts in one pass.
pub const GUIDANCE: f64 = 7.0;

/// The chunk of each prompt.
pub fn chunks(painter: &Painter) -> Result<[Vec<Chunk>; 2]> {
    let tokenizer = painter.tokenizer();
    let names = EmbeddingNames::new(tokenizer, []);
    let chunker = Chunker::new(tokenizer, &names);
    let [shown, kept_out] = PROMPTS.map(|prompt| chunker.chunks(prompt));
    Ok([shown?, kept_out?])
}

/// A text of one prompt.
pub fn encode(painter: &Painter, chunks: &[Chunk]) -> Result<Text> {
    Ok(painter.encode_text(chunks, &|_| None, 1, Emphasis::Original)?)
}

/// Both texts.
pub fn texts(painter: &Painter) -> Result<[Text; 2]> {
    let [shown, kept_out] = chunks(painter)?;
    Ok([encode(painter, &shown)?, encode(painter, &kept_out)?])
}

/// Latents of variance 1.
pub fn latents(name: &str, sizes: [usize; 4]) -> Latents {
    let (seed, deviation) = (hash(name), 3_f32.sqrt());
    let count = sizes.iter().product();
    let number = |place| deviation * uniform(seed, place);
    Latents {
        sizes,
        numbers: (0..count).map(number).collect(),
    }
}

/// A picture of waves, so that neighbouring pixels are alike.
pub fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |speed: f32, phase: f32| {
            let angle = (x as f32 * 0.7 + y as f32) * speed + phase;
            (127.5 + 100.0 * angle.sin()) as u8
        };
        image::Rgb([wave(0.05, 0.0), wave(0.08, 1.0), wave(0.03, 2.0)])
    })
}

/// The plan of a run with Euler's method from noise.
pub fn euler(painter: &Painter, steps: usize) -> Result<Plan> {
    let request = Request::new(Method::Euler, Spacing::Automatic, steps);
    Ok(plan(painter.schedule(), &request)?)
}

/// What a run is made of beside its plan.
pub struct Run<'a> {
    /// Both texts.
    pub texts: &'a [Text; 2],
    /// Pictures, channels, rows and columns.
    pub sizes: [usize; 4],
    /// 1 asks about the first text alone.
    pub guidance: f64,
    /// What guides it.
    pub controls: &'a [Control],
}

impl Run<'_> {
    /// Carries out a plan from noise.
    pub fn sample(&self, painter: &Painter, plan: &Plan, watch: &mut dyn Watch) -> Result<Latents> {
        self.carry_out(painter, plan, None, watch)
    }

    /// What the UNet itself says of latents at a time step, with guidance 1: a plan of one step that
    /// takes the sampler's own arithmetic off again.
    pub fn answer(&self, painter: &Painter, start: &Latents, timestep: f64) -> Result<Latents> {
        // At this sigma half of the variance is noise. The denoised picture is
        // `skip * sample + output * answer`.
        let sigma = 1.0;
        let scalings = painter.prediction().scalings(sigma);
        let evaluation = Evaluation {
            churn: None,
            sigma,
            timestep,
            correct: None,
            advance: Combination {
                sample: -scalings.skip / scalings.output,
                denoised: vec![1.0 / scalings.output],
                noise: None,
            },
        };
        let plan = Plan {
            start: Start {
                latent: 1.0,
                noise: 0.0,
            },
            evaluations: vec![evaluation],
            finish: 1.0,
        };
        self.carry_out(painter, &plan, Some(start), &mut ())
    }

    fn carry_out(
        &self,
        painter: &Painter,
        plan: &Plan,
        start: Option<&Latents>,
        watch: &mut dyn Watch,
    ) -> Result<Latents> {
        let [pictures, channels, height, width] = self.sizes;
        let request = NoiseRequest::new([channels, height, width], seeds(1, pictures, 0.0));
        let mut noise = NoiseSource::new(request)?;
        let [positive, negative] = [0, 1].map(|index| {
            let text = Prompted::always(self.texts[index].clone());
            vec![text; pictures]
        });
        let job = Job {
            plan,
            noise: &mut noise,
            sizes: self.sizes,
            start,
            positive: &positive,
            negative: &negative,
            guidance: self.guidance,
            mask: None,
            controls: self.controls,
        };
        Ok(painter.sample(job, watch)?)
    }
}

/// The first picture of latents.
pub fn decode(painter: &Painter, latents: &Latents) -> Result<RgbImage> {
    let pictures = painter.decode(latents, &mut ())?;
    pictures.into_iter().next().context("no picture came out")
}

/// Notes when each step begins.
#[derive(Default)]
pub struct Clock(Vec<Instant>);

impl Clock {
    /// How long each step took but the first, when the last one ends now. This is true only where steps
    /// are done when they return, as on the CPU.
    pub fn steps(mut self) -> Vec<Duration> {
        self.0.push(Instant::now());
        let pairs = self.0.windows(2).skip(1);
        pairs.map(|pair| pair[1] - pair[0]).collect()
    }
}

impl Watch for Clock {
    fn step(&mut self, _stage: Stage, _done: usize, _total: usize) -> Flow {
        self.0.push(Instant::now());
        Flow::Go
    }
}
