//! Whether networks give the same as on the CPU's own kernels.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use photog::{
    imaging::RgbImage,
    models::{
        backend::Device,
        diffusion::{Control, ControlMode, Guide, Latents, Painter, Setting, Text},
        nn::Precision,
        weights::{Checkpoint, ControlNetConfig, Part},
    },
};
use serde_json::{Value, json};

use super::painting::{
    note,
    runs::{GUIDANCE, Run, euler, latents, picture, texts},
    weights,
};

/// Most difference with 32-bit floats, as a share of the numbers (both as root of the mean square): GPUs
/// multiply them with 10 bits of mantissa.
const FULL_APART: f64 = 1e-3;
/// Least cosine of the angle between results with 16-bit floats.
const HALF_COSINE: f64 = 0.999;
/// Least likeness of decoded pictures with 32-bit floats, in decibels: a level more or less in a third of
/// the numbers would be 53.
const FULL_DECODED: f64 = 50.0;
/// Least likeness of pictures of a whole run, in decibels, with 32 and with 16 bits: steps carry
/// differences on.
const FULL_PICTURE: f64 = 40.0;
const HALF_PICTURE: f64 = 25.0;
/// Least difference that a ControlNet has to make, or its check would show nothing.
const CONTROL_LEAST: f64 = 0.01;
/// Steps of the whole run.
const STEPS: usize = 8;
/// A time step in the middle.
const TIMESTEP: f64 = 321.0;

/// The head of a table of checks.
pub const HEAD: &str = "| check | apart | cosine | likeness dB | holds |\n\
                        | --- | ---: | ---: | ---: | --- |";

/// What came out of a comparison.
pub struct Check {
    name: String,
    /// Root of the mean square of the difference, as a share of that of the numbers.
    apart: f64,
    cosine: f64,
    /// Of pictures alone, in decibels.
    likeness: Option<f64>,
    /// Whether it is within the limits.
    pub holds: bool,
}

impl Check {
    /// As a line of a table.
    pub fn line(&self) -> String {
        let likeness = self
            .likeness
            .map_or_else(String::new, |decibels| format!("{decibels:.1}"));
        let holds = if self.holds { "yes" } else { "**no**" };
        format!(
            "| {} | {:.2e} | {:.6} | {likeness} | {holds} |",
            self.name, self.apart, self.cosine
        )
    }

    /// For other programs.
    pub fn json(&self) -> Value {
        json!({
            "name": self.name, "apart": self.apart, "cosine": self.cosine,
            "likeness_db": self.likeness, "holds": self.holds,
        })
    }
}

/// The general path on the CPU, with the tiny checkpoint.
pub fn on_the_cpu() -> Result<Vec<Check>> {
    let general = Setting {
        general: true,
        ..Setting::new(Device::Cpu)
    };
    Subject::tiny().check(&[general])
}

/// A GPU in both precisions, with the tiny checkpoint and with the real widths.
pub fn on_a_gpu(device: Device, folder: &Path) -> Result<Vec<Check>> {
    let settings = [Precision::Full, Precision::Bfloat16].map(|precision| Setting {
        precision: Some(precision),
        ..Setting::new(device)
    });
    let mut checks = Subject::tiny().check(&settings)?;
    checks.extend(Subject::of_real_widths(folder).check(&settings)?);
    Ok(checks)
}

type Open<T> = Box<dyn Fn() -> Result<Box<T>>>;

/// A checkpoint with a ControlNet.
struct Subject {
    name: &'static str,
    checkpoint: Open<Checkpoint>,
    control_net: Open<Part<ControlNetConfig>>,
    /// Of the latents: pictures, channels, rows and columns.
    sizes: [usize; 4],
}

impl Subject {
    /// Two pictures, higher than wide.
    fn tiny() -> Self {
        Self {
            name: "tiny",
            checkpoint: Box::new(weights::tiny),
            control_net: Box::new(weights::tiny_control_net),
            sizes: [2, 4, 24, 16],
        }
    }

    /// One picture of 512 x 512, whose kernels other questions need too.
    fn of_real_widths(folder: &Path) -> Self {
        let (first, second) = (folder.to_owned(), folder.to_owned());
        Self {
            name: "real widths",
            checkpoint: Box::new(move || weights::open(&first)),
            control_net: Box::new(move || weights::open_control_net(&second)),
            sizes: [1, 4, 64, 64],
        }
    }

    fn check(&self, settings: &[Setting]) -> Result<Vec<Check>> {
        note(&format!("{}: the CPU's kernels", self.name))?;
        let wanted = self.answers(Setting::new(Device::Cpu), None)?;
        let mut checks = Vec::new();
        for &setting in settings {
            let is_full = setting.precision.is_none_or(|one| one == Precision::Full);
            let precision = if is_full { "f32" } else { "bf16" };
            note(&format!("{}: {}, {precision}", self.name, setting.device))?;
            let given = self.answers(setting, Some(&wanted.texts))?;
            let name = |what: &str| format!("{}, {precision}: {what}", self.name);
            checks.extend(compare(&wanted, &given, is_full, name));
        }
        Ok(checks)
    }

    /// What all networks say. The UNet and the ControlNet are asked about `given` texts, so that they
    /// show their own difference alone.
    fn answers(&self, setting: Setting, given: Option<&[Text; 2]>) -> Result<Answers> {
        let painter = Painter::open(*(self.checkpoint)()?, None, setting)?;
        let [pictures, _, height, width] = self.sizes;
        let factor = painter.factor() as u32;
        let pixels = picture(width as u32 * factor, height as u32 * factor);
        let texts = texts(&painter)?;
        let control = Control {
            net: Arc::new(Guide::open(&*(self.control_net)()?, setting)?),
            hint: pixels.clone(),
            weight: 1.0,
            start: 0.0,
            end: 1.0,
            mode: ControlMode::Balanced,
        };
        let start = latents("start", self.sizes);
        let run = |texts, guidance, controls| Run {
            texts,
            sizes: self.sizes,
            guidance,
            controls,
        };
        let asked = given.unwrap_or(&texts);
        let controls = std::slice::from_ref(&control);
        let unet = run(asked, 1.0, &[]).answer(&painter, &start, TIMESTEP)?;
        let guided = run(asked, 1.0, controls).answer(&painter, &start, TIMESTEP)?;
        let encoded = painter.encode(&vec![pixels; pictures], None, &mut ())?;
        let decoded = painter.decode(&latents("decode", self.sizes), &mut ())?;
        let plan = euler(&painter, STEPS)?;
        let made = run(&texts, GUIDANCE, &[]).sample(&painter, &plan, &mut ())?;
        let made = painter.decode(&made, &mut ())?;
        Ok(Answers {
            texts,
            unet,
            guided,
            encoded,
            decoded,
            made,
        })
    }
}

/// What the networks said.
struct Answers {
    texts: [Text; 2],
    unet: Latents,
    /// With the ControlNet.
    guided: Latents,
    encoded: Latents,
    decoded: Vec<RgbImage>,
    /// Of a whole run.
    made: Vec<RgbImage>,
}

fn compare(
    wanted: &Answers,
    given: &Answers,
    is_full: bool,
    name: impl Fn(&str) -> String,
) -> Vec<Check> {
    let numbers = |what: &str, wanted: &[f32], given: &[f32]| {
        let (apart, cosine) = distance(wanted, given);
        let near = if is_full {
            apart <= FULL_APART
        } else {
            cosine >= HALF_COSINE
        };
        Check {
            name: name(what),
            apart,
            cosine,
            likeness: None,
            holds: near && varies(wanted),
        }
    };
    let pictures = |what: &str, wanted: &[RgbImage], given: &[RgbImage], least: Option<f64>| {
        let (wanted, given) = (centred(wanted), centred(given));
        let (apart, cosine) = distance(&wanted, &given);
        let likeness = likeness(&wanted, &given);
        let near = least.map_or(cosine >= HALF_COSINE, |least| likeness >= least);
        Check {
            name: name(what),
            apart,
            cosine,
            likeness: Some(likeness),
            holds: near && varies(&wanted),
        }
    };
    let mut guided = numbers(
        "UNet with ControlNet",
        &wanted.guided.numbers,
        &given.guided.numbers,
    );
    let (said, _) = distance(&wanted.unet.numbers, &wanted.guided.numbers);
    guided.holds &= said >= CONTROL_LEAST;
    let whole = if is_full { FULL_PICTURE } else { HALF_PICTURE };
    vec![
        numbers(
            "text encoder",
            &wanted.texts[0].numbers,
            &given.texts[0].numbers,
        ),
        numbers("UNet", &wanted.unet.numbers, &given.unet.numbers),
        guided,
        numbers(
            "VAE encoder",
            &wanted.encoded.numbers,
            &given.encoded.numbers,
        ),
        pictures(
            "VAE decoder",
            &wanted.decoded,
            &given.decoded,
            is_full.then_some(FULL_DECODED),
        ),
        pictures("picture of 8 steps", &wanted.made, &given.made, Some(whole)),
    ]
}

/// Root of the mean square of the difference as a share of that of the numbers, and the cosine of the
/// angle between both. What is no number, or too few of them, is apart from all.
fn distance(wanted: &[f32], given: &[f32]) -> (f64, f64) {
    if wanted.len() != given.len() {
        return (f64::INFINITY, -1.0);
    }
    let (mut apart, mut product, mut ours, mut theirs) = (0.0, 0.0, 0.0, 0.0);
    for (&a, &b) in wanted.iter().zip(given) {
        let (a, b) = (f64::from(a), f64::from(b));
        apart += (a - b) * (a - b);
        product += a * b;
        ours += a * a;
        theirs += b * b;
    }
    ((apart / ours).sqrt(), product / (ours * theirs).sqrt())
}

/// Peak signal to noise ratio of bytes, in decibels, at most 100.
fn likeness(wanted: &[f32], given: &[f32]) -> f64 {
    if wanted.len() != given.len() {
        return 0.0;
    }
    let pairs = wanted.iter().zip(given);
    let apart: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let mean = (apart / wanted.len() as f64).max(255.0 * 255.0 * 1e-10);
    10.0 * (255.0 * 255.0 / mean).log10()
}

/// Whether numbers are not all about the same: a flat answer would agree with anything flat.
fn varies(numbers: &[f32]) -> bool {
    let most = numbers.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let least = numbers.iter().fold(f32::INFINITY, |a, &b| a.min(b));
    most - least > 0.01 * most.abs().max(least.abs())
}

/// All bytes of pictures, around 0.
fn centred(pictures: &[RgbImage]) -> Vec<f32> {
    let bytes = pictures.iter().flat_map(RgbImage::as_raw);
    bytes.map(|&byte| f32::from(byte) - 127.5).collect()
}
