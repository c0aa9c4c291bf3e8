//! `photog generate`: pictures from words, or from a picture and words.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    device, out, packs,
    progress::{Progress as Bar, Unit},
    signals,
};
use crate::{
    config::Settings,
    job::CancelToken,
    models::{
        diffusion::{NetworkLoader, Networks, Setting},
        weights::Files,
    },
    pipeline::generate::{
        Audience, GenerateTask, Generated, Progress, SIDES, Task, Wish, generate,
    },
    store::write_atomic,
};

/// Flags of `photog generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// What the picture shall show; `(word:1.2)` weighs a part, `<lora:NAME:0.8>` adds a LoRA
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// Where the picture goes, as PNG; of several pictures each has its number before the ending
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What the picture shall not show
    #[arg(long, value_name = "TEXT", default_value = "")]
    negative: String,
    /// Checkpoint by name, title or hash [default: the first by name]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// VAE instead of the checkpoint's own
    #[arg(long, value_name = "NAME")]
    vae: Option<String>,
    /// Seed of the first picture; the next ones count up [default: drawn]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<i64>,
    /// Steps of the sampler
    #[arg(long, value_name = "N", default_value_t = 20)]
    steps: u32,
    /// Width in pixels, a multiple of 8 [default: of the starting picture, or what the checkpoint was
    /// trained with]
    #[arg(long, value_name = "PIXELS")]
    width: Option<u32>,
    /// Height in pixels, a multiple of 8 [default: as for the width]
    #[arg(long, value_name = "PIXELS")]
    height: Option<u32>,
    /// Sampler, as the WebUI names it
    #[arg(long, value_name = "NAME", default_value = "DPM++ 2M")]
    sampler: String,
    /// How the levels of noise are spread: automatic, karras, exponential, uniform, sgm_uniform ...
    #[arg(long, value_name = "NAME", default_value = "automatic")]
    scheduler: String,
    /// How much the prompt is preferred to the negative one
    #[arg(long, value_name = "X", default_value_t = 7.0)]
    cfg: f64,
    /// LoRA and its weight; may be given several times
    #[arg(long, value_name = "NAME:WEIGHT")]
    lora: Vec<String>,
    /// Last layer of the text encoder that counts, from the end
    #[arg(long, value_name = "N", default_value_t = 1)]
    clip_skip: u32,
    /// How many pictures
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    count: u32,
    /// How many of them at once
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: u32,
    /// Picture to start from
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Mask of that picture: white is made anew, black stays
    #[arg(long, value_name = "FILE", requires = "init")]
    mask: Option<PathBuf>,
    /// How much of the picture changes, 0 to 1
    #[arg(long, value_name = "S", default_value_t = 0.75)]
    strength: f64,
    /// Softness of the mask's edge, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 4)]
    mask_blur: u32,
    /// Work on the masked area alone, enlarged to the size of the picture
    #[arg(long, requires = "mask")]
    only_masked: bool,
    /// Hint for a ControlNet: NAME:FILE, and after another `:` its weight; may be given several times
    #[arg(long, value_name = "NAME:FILE[:WEIGHT]")]
    control: Vec<String>,
    /// How the hints are made of their pictures: none, canny, tile_resample, color ...
    #[arg(long, value_name = "NAME", default_value = "none")]
    control_module: String,
}

/// Makes the pictures.
pub fn run(args: &GenerateArgs, settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let config = settings.check()?;
    let started = Instant::now();
    let device = device::choose(config.device).map_err(anyhow::Error::msg)?;
    let folder = args.output.parent().unwrap_or(Path::new(""));
    if !folder.as_os_str().is_empty() && !folder.is_dir() {
        anyhow::bail!(
            "there is no folder {}; make it, or choose another place with --output",
            folder.display()
        );
    }
    let loader = NetworkLoader::new(Setting::new(device));
    let networks = Networks::new(packs::of_command(&config), loader, u64::MAX);
    let task = task(args, &networks)?;
    let cancel = CancelToken::default();
    signals::cancel_on_signal(&cancel)?;
    let mut shown = Shown {
        bar: Bar::new("making pictures, step", Unit::Count),
        cancel,
    };
    let made = generate(&task, &networks, &mut shown);
    shown.bar.end();
    let made = made.context("no picture was made")?;
    let files = written(args, &made)?;
    for comment in made.info["comments"].as_array().into_iter().flatten() {
        packs::tell(comment.as_str());
    }
    if as_json {
        out::json(&json!({
            "files": files,
            "warnings": made.info["comments"],
            "info": made.info,
            "seconds": started.elapsed().as_secs_f64(),
        }))?;
    } else {
        for file in &files {
            out::line(file)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows the steps, and hears of a stop between them.
struct Shown {
    bar: Bar,
    cancel: CancelToken,
}

impl Audience for Shown {
    fn report(&mut self, progress: &Progress) -> Wish {
        let steps = progress.steps.max(1);
        let done = progress.job_no * steps + progress.step;
        self.bar
            .set(done as u64, Some((progress.job_count * steps) as u64));
        match self.cancel.reason() {
            Some(reason) => Wish::Stop(reason),
            None => Wish::Go,
        }
    }
}

/// The request in the WebUI's form, which is what the service takes too.
fn task(args: &GenerateArgs, networks: &Networks) -> anyhow::Result<GenerateTask> {
    let mut prompt = args.prompt.clone();
    for lora in &args.lora {
        let (name, weight) = lora
            .rsplit_once(':')
            .filter(|(_, weight)| weight.parse::<f64>().is_ok())
            .unwrap_or((lora, "1"));
        prompt = format!("{prompt} <lora:{name}:{weight}>");
    }
    let mut payload = json!({
        "prompt": prompt,
        "negative_prompt": args.negative,
        "seed": args.seed.unwrap_or(-1),
        "steps": args.steps,
        "sampler_name": args.sampler,
        "scheduler": args.scheduler,
        "cfg_scale": args.cfg,
        "batch_size": args.batch.min(args.count),
        "n_iter": args.count.div_ceil(args.batch.max(1)),
    });
    let mut task = Task::Txt2img;
    let mut size = None;
    if let Some(init) = &args.init {
        task = Task::Img2img;
        let (bytes, own) = picture(init)?;
        size = Some(own);
        payload["init_images"] = json!([bytes]);
        payload["denoising_strength"] = json!(args.strength);
        payload["mask_blur"] = json!(args.mask_blur);
        payload["inpainting_fill"] = json!(1);
        payload["inpaint_full_res"] = json!(args.only_masked);
        if let Some(mask) = &args.mask {
            payload["mask"] = json!(picture(mask)?.0);
        }
    }
    let size = size.unwrap_or_else(|| {
        let side = native_side(networks, args.model.as_deref());
        (side, side)
    });
    payload["width"] = json!(args.width.unwrap_or(size.0));
    payload["height"] = json!(args.height.unwrap_or(size.1));
    let units = args
        .control
        .iter()
        .map(|control| unit(control, &args.control_module));
    let units = units.collect::<anyhow::Result<Vec<Value>>>()?;
    if !units.is_empty() {
        payload["alwayson_scripts"] = json!({"ControlNet": {"args": units}});
    }
    let mut options = Map::new();
    options.insert("CLIP_stop_at_last_layers".into(), json!(args.clip_skip));
    if let Some(model) = &args.model {
        options.insert("sd_model_checkpoint".into(), json!(model));
    }
    if let Some(vae) = &args.vae {
        options.insert("sd_vae".into(), json!(vae));
    }
    let Value::Object(payload) = payload else {
        unreachable!("the request was written as an object");
    };
    Ok(GenerateTask {
        task,
        payload,
        options,
    })
}

/// Sides of pictures that the checkpoint was trained with, as far as they can be made. One that is
/// not there or cannot be opened is told of when the picture is made.
fn native_side(networks: &Networks, model: Option<&str>) -> u32 {
    const USUAL: u32 = 512;
    let found = networks.find_checkpoint(model);
    let opened = found.map(|found| Files::at(&found.listed.place));
    match opened {
        Ok(Ok(Files::Checkpoint(checkpoint))) => {
            let side = u32::try_from(checkpoint.native_side()).unwrap_or(u32::MAX);
            (side / 8 * 8).clamp(*SIDES.start(), *SIDES.end())
        }
        _ => USUAL,
    }
}

/// A picture in base64, and a size of multiples of 8 that it has or nearly has.
fn picture(path: &Path) -> anyhow::Result<(String, (u32, u32))> {
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("{shown} cannot be read"))?;
    let picture = crate::imaging::decode(&bytes, &crate::imaging::Limits::default())
        .with_context(|| format!("{shown} cannot be used"))?;
    let fitting = |side: u32| (side / 8 * 8).max(64);
    let size = (fitting(picture.width()), fitting(picture.height()));
    Ok((BASE64_STANDARD.encode(bytes), size))
}

/// A ControlNet with its hint.
fn unit(control: &str, module: &str) -> anyhow::Result<Value> {
    let (name, rest) = control.split_once(':').with_context(|| {
        format!("--control {control} names no hint picture; write NAME:FILE or NAME:FILE:WEIGHT")
    })?;
    let (file, weight) = match rest.rsplit_once(':') {
        Some((file, weight)) if weight.parse::<f64>().is_ok() => (file, weight.parse()?),
        _ => (rest, 1.0),
    };
    Ok(json!({
        "enabled": true,
        "module": module,
        "model": name,
        "image": picture(Path::new(file))?.0,
        "weight": weight,
    }))
}

/// Writes the pictures; the paths that they have.
fn written(args: &GenerateArgs, made: &Generated) -> anyhow::Result<Vec<String>> {
    let files = made.files()?;
    let files = &files[..files.len().min(args.count as usize)];
    let mut paths = Vec::with_capacity(files.len());
    for (number, file) in files.iter().enumerate() {
        let path = if files.len() == 1 {
            args.output.clone()
        } else {
            numbered(&args.output, number + 1)
        };
        write_atomic(&path, file)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        paths.push(path.display().to_string());
    }
    Ok(paths)
}

/// `a/b.png` with its number: `a/b-2.png`.
fn numbered(path: &Path, number: usize) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().map_or_else(
        || String::from("png"),
        |ending| ending.to_string_lossy().into_owned(),
    );
    path.with_file_name(format!("{stem}-{number}.{ending}"))
}
