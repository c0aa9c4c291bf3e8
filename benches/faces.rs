//! How fast are faces found, described and judged, and does a GPU give the same as the CPU?
//!
//! Times the networks and the whole check of a photo of 12 megapixels on the files of the test data;
//! `peers/faces.py` does the same with onnxruntime and OpenCV, with the same names of steps. With
//! `--compare` it times nothing and holds the results of a GPU against those of the CPU. Commands,
//! goals and results: `README.md`.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use image::codecs::jpeg::JpegEncoder;
use photog::{
    fetch::{Fetcher, NetworkPolicy},
    imaging::{self, Kernel, RgbImage, resize},
    job::{CancelToken, FinishToken, JobContext},
    models::{
        backend::Device,
        catalog::{Catalog, Role},
        face::{Face, FaceModels, align},
        onnx::{HostTensor, OnnxModel},
    },
    pipeline::{PhotoSource, Verdict, judge_photos},
    store::Mounts,
};

const DETECTOR: &str = "models/yunet_n/original/yunet_n_dynamic.onnx";
const EMBEDDER: &str = "models/mobilefacenet/mobilefacenet.onnx";
const QUALITY: &str = "models/lightqnet_050/lightqnet_050.onnx";
/// A photo of one person from a phone, 3024 x 4032, and the rows of it that become 4000 x 3000.
const PORTRAIT: &str = "images/persons/p01/04.jpg";
const PORTRAIT_ROWS: std::ops::Range<u32> = 800..3068;
const PHOTO_SIZE: (u32, u32) = (4000, 3000);
const PHOTO_QUALITY: u8 = 90;
/// Goal for the whole check of 12 megapixels.
const CHECK_GOAL: Duration = Duration::from_secs(1);
/// Goal for the memory of a process that checks it, in megabytes.
const MEMORY_GOAL_MB: f64 = 400.0;
/// Largest difference between two devices that is accepted.
const DIFFERENCE_MAX: f32 = 1e-2;

/// Measures face networks and the check of photos, or compares two devices.
#[derive(Parser)]
#[command(name = "faces")]
struct Cli {
    /// Folder with models and photos
    #[arg(long, env = "PHOTOG_TEST_DATA", default_value = "../shared/data")]
    data: PathBuf,
    /// Threads; as many as cores without it
    #[arg(long)]
    threads: Option<usize>,
    /// Runs of each network
    #[arg(long, default_value_t = 50)]
    iterations: usize,
    /// JPEG of the whole check; made when left out
    #[arg(long)]
    photo: Option<PathBuf>,
    /// Hold the results of this device against those of the CPU
    #[arg(long, value_name = "cuda|cuda:N")]
    compare: Option<String>,
    /// One run of everything: shows that the bench works, no more
    #[arg(long)]
    smoke: bool,
    /// Only check the photo three times; for the measurement of memory
    #[arg(long, hide = true)]
    check_only: bool,
    /// Given by cargo; without it everything is as with `--smoke`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    if !cli.data.join(DETECTOR).is_file() {
        say(&format!(
            "skipped: there is no {DETECTOR} in {}",
            cli.data.display()
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = cli.threads {
        pool = pool.num_threads(threads);
    }
    pool.build_global()?;
    let home = tempfile::tempdir()?;
    install(&cli.data, home.path())?;
    if let Some(device) = &cli.compare {
        return compare(&cli.data, home.path(), device);
    }
    let models = open(home.path(), Device::Cpu)?;
    let photo = match &cli.photo {
        Some(photo) => photo.clone(),
        None => make_photo(&cli.data, &home.path().join("photo.jpg"))?,
    };
    if cli.check_only {
        (0..3).try_for_each(|_| check(&models, &photo))?;
        return Ok(ExitCode::SUCCESS);
    }
    measure_all(&cli, &models, &photo)
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// Lays the networks out as in a data folder.
fn install(data: &Path, home: &Path) -> Result<()> {
    let catalog = Catalog::built_in();
    for (name, file) in [
        ("yunet", DETECTOR),
        ("mobilefacenet", EMBEDDER),
        ("lightqnet", QUALITY),
    ] {
        let entry = catalog
            .find(name)
            .with_context(|| format!("{name} is not in the list"))?;
        let place = entry.path(home);
        fs::create_dir_all(place.parent().unwrap_or(home))?;
        fs::copy(data.join(file), place).with_context(|| format!("{file} could not be copied"))?;
    }
    Ok(())
}

fn open(home: &Path, device: Device) -> Result<FaceModels> {
    Ok(FaceModels::open(&Catalog::built_in(), home, None, device)?)
}

fn read(path: &Path) -> Result<RgbImage> {
    let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(imaging::decode(&bytes, &imaging::Limits::default())?)
}

/// A JPEG of 12 megapixels with one face, enlarged from a photo of the test data.
fn make_photo(data: &Path, path: &Path) -> Result<PathBuf> {
    let portrait = read(&data.join(PORTRAIT))?;
    let rows = PORTRAIT_ROWS.len() as u32;
    let part = RgbImage::from_fn(portrait.width(), rows, |x, y| {
        *portrait.get_pixel(x, y + PORTRAIT_ROWS.start)
    });
    let large = resize(&part, PHOTO_SIZE.0, PHOTO_SIZE.1, Kernel::Triangle);
    let file = BufWriter::new(File::create(path)?);
    JpegEncoder::new_with_quality(file, PHOTO_QUALITY).encode_image(&large)?;
    Ok(path.to_owned())
}

fn check(models: &FaceModels, photo: &Path) -> Result<()> {
    let fetcher = Fetcher::new(Mounts::default(), NetworkPolicy::default());
    let context = JobContext {
        cancel: CancelToken::default(),
        finish: FinishToken::default(),
        deadline: Instant::now() + Duration::from_secs(600),
        progress: Arc::new(()),
        device: String::from("cpu"),
    };
    let photos = [PhotoSource::Path(photo)];
    let judged = judge_photos(&photos, true, &fetcher, models, &context)
        .map_err(|reason| anyhow::anyhow!("the check was stopped: {reason:?}"))?;
    let report = &judged.reports[0];
    ensure!(
        report.verdict == Verdict::Success,
        "the photo is not usable: {:?}",
        report.detail
    );
    Ok(())
}

/// Median and least time of an action, after a warm-up.
fn measure(name: &str, runs: usize, mut action: impl FnMut() -> Result<()>) -> Result<Duration> {
    measure_with(name, runs, || (), |()| action())
}

/// The same where each run takes something that is made before its time begins.
fn measure_with<T>(
    name: &str,
    runs: usize,
    prepare: impl Fn() -> T,
    mut action: impl FnMut(T) -> Result<()>,
) -> Result<Duration> {
    for _ in 0..runs.div_ceil(10) {
        action(prepare())?;
    }
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let prepared = prepare();
        let start = Instant::now();
        action(prepared)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    say(&format!(
        "| {name} | {:.2} | {:.2} | {runs} |",
        ms(median),
        ms(times[0])
    ))?;
    Ok(median)
}

/// A picture as the input of a network that takes planes of `(x - mean) * scale`.
fn planes(picture: &RgbImage, size: [usize; 2], mean: f32, scale: f32) -> HostTensor {
    let [height, width] = size;
    let mut data = vec![0.0; 3 * height * width];
    for (x, y, pixel) in picture.enumerate_pixels() {
        for (plane, value) in pixel.0.into_iter().rev().enumerate() {
            let at = (plane * height + y as usize) * width + x as usize;
            data[at] = (f32::from(value) - mean) * scale;
        }
    }
    HostTensor {
        shape: vec![1, 3, height, width],
        data,
    }
}

fn measure_all(cli: &Cli, models: &FaceModels, photo: &Path) -> Result<ExitCode> {
    let is_smoke = cli.smoke || !cli.bench;
    let runs = if is_smoke { 1 } else { cli.iterations.max(1) };
    let few = if is_smoke { 1 } else { (runs / 5).max(3) };
    let portrait = read(&cli.data.join(PORTRAIT))?;
    let small = resize(&portrait, 480, 640, Kernel::Triangle);
    let face = models.detector.detect(&portrait)?;
    let face = face.first().context("no face was found in the portrait")?;
    let crop = align(&portrait, &face.points);
    let network = |file: &str| OnnxModel::open(&cli.data.join(file), Device::Cpu);
    let (detector, embedder, quality) = (network(DETECTOR)?, network(EMBEDDER)?, network(QUALITY)?);
    // A network takes its input over, so each run has a copy of its own.
    let time = |name: &str, model: &OnnxModel, input: HostTensor| {
        let copy = || vec![input.clone()];
        measure_with(name, runs, copy, |inputs| {
            std::hint::black_box(model.run(inputs)?);
            Ok(())
        })
    };
    say(&format!(
        "- threads: {}\n- profile: {}\n- runs: {}\n\n| step | median ms | least ms | runs |\n\
         | --- | ---: | ---: | ---: |",
        rayon::current_num_threads(),
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        },
        if is_smoke {
            "smoke, figures without meaning"
        } else {
            "as in the table"
        },
    ))?;
    let tall = planes(&small, [640, 480], 0.0, 1.0);
    time("detector network, 480 x 640", &detector, tall)?;
    let square = planes(&small, [640, 640], 0.0, 1.0);
    time("detector network, 640 x 640", &detector, square)?;
    measure(
        "detection with resize and decoding, 3024 x 4032",
        runs,
        || {
            std::hint::black_box(models.detector.detect(&portrait)?);
            Ok(())
        },
    )?;
    let input = planes(&crop, [112, 112], 127.5, 1.0 / 64.0);
    time("embedding network, one crop", &embedder, input)?;
    let input = planes(
        &resize(&crop, 96, 96, Kernel::Triangle),
        [96, 96],
        128.0,
        1.0 / 128.0,
    );
    time("quality network, one crop", &quality, input)?;
    let whole = measure("whole check of the photo", few, || check(models, photo))?;
    measure("of which decoding the JPEG", few, || {
        std::hint::black_box(read(photo)?);
        Ok(())
    })?;
    let peak = peak_of_check(cli, photo)?;
    say(&format!(
        "\n- peak resident MB of a process that checks the photo three times: {peak:.1}"
    ))?;
    if is_smoke || cfg!(debug_assertions) {
        return Ok(ExitCode::SUCCESS);
    }
    let holds = whole < CHECK_GOAL && peak < MEMORY_GOAL_MB;
    say(&format!(
        "- goal, a check under {CHECK_GOAL:?} and {MEMORY_GOAL_MB} MB: {}",
        if holds { "holds" } else { "missed" }
    ))?;
    Ok(if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Largest resident memory, in MB of 10^6 bytes, of a process that loads the networks and checks
/// the photo three times.
fn peak_of_check(cli: &Cli, photo: &Path) -> Result<f64> {
    let program = std::env::current_exe()?;
    let mut command = Command::new("/usr/bin/env");
    command.args(["python3", "-c", PEAK]).arg(program);
    command
        .arg("--check-only")
        .arg("--data")
        .arg(&cli.data)
        .arg("--photo")
        .arg(photo);
    if let Some(threads) = cli.threads {
        command.arg("--threads").arg(threads.to_string());
    }
    let output = command
        .output()
        .context("python3 is needed to measure memory")?;
    ensure!(
        output.status.success(),
        "the measured check failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let kib: f64 = String::from_utf8_lossy(&output.stdout).trim().parse()?;
    Ok(kib * 1024.0 / 1e6)
}

/// Runs a program and prints the largest memory of it in KiB; Rust's library does not tell it.
const PEAK: &str = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); \
                    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";

/// Holds what a device finds in all photos of the test data against what the CPU finds.
fn compare(data: &Path, home: &Path, device: &str) -> Result<ExitCode> {
    let number = match device.strip_prefix("cuda") {
        Some("") => 0,
        Some(rest) => rest
            .trim_start_matches(':')
            .parse()
            .context("name cuda or cuda:N")?,
        None => bail!("name cuda or cuda:N"),
    };
    match photog::models::backend::cuda_devices() {
        Ok(count) if number < count => {}
        Ok(count) => bail!("there are {count} GPUs, counted from 0"),
        Err(reason) => bail!("nothing was compared: {reason}"),
    }
    let (cpu, gpu) = (open(home, Device::Cpu)?, open(home, Device::Cuda(number))?);
    let mut photos = Vec::new();
    collect(&data.join("images"), &mut photos)?;
    photos.sort();
    let catalog = Catalog::built_in();
    let detector = catalog.present(Role::FaceDetector, home, None);
    let threshold = detector.and_then(|(entry, _)| entry.thresholds.score);
    let threshold = threshold.context("there is no face-detector")?;
    let (mut faces, mut worst) = (0, 0.0_f32);
    let mut note = |name: &Path, what: &str, difference: f32| -> Result<()> {
        if difference.is_nan() || difference > DIFFERENCE_MAX {
            say(&format!(
                "{}: {what} differs by {difference}",
                name.display()
            ))?;
        }
        worst = if difference.is_nan() {
            f32::INFINITY
        } else {
            worst.max(difference)
        };
        Ok(())
    };
    for path in &photos {
        // Files that are damaged or of another kind are part of the test data.
        let Ok(photo) = read(path) else { continue };
        let (ours, theirs) = (cpu.detector.detect(&photo)?, gpu.detector.detect(&photo)?);
        let beside = |face: &Face, others: &[Face]| {
            let overlap = |other: &&Face| other.bounds.iou(&face.bounds);
            let best = others
                .iter()
                .max_by(|a, b| overlap(a).total_cmp(&overlap(b)));
            best.filter(|best| overlap(best) > 0.5).copied()
        };
        // At the threshold itself one side may find a face alone.
        for (these, those) in [(&ours, &theirs), (&theirs, &ours)] {
            for face in these {
                if beside(face, those).is_none() {
                    note(path, "a face of one side", (face.score - threshold).abs())?;
                }
            }
        }
        for face in &ours {
            let Some(other) = beside(face, &theirs) else {
                continue;
            };
            faces += 1;
            let size = face.bounds.width().max(face.bounds.height());
            note(path, "the score", (face.score - other.score).abs())?;
            note(path, "the box", 1.0 - face.bounds.iou(&other.bounds))?;
            for (a, b) in face.points.iter().zip(&other.points) {
                note(path, "a point", (a[0] - b[0]).hypot(a[1] - b[1]) / size)?;
            }
            let crop = align(&photo, &face.points);
            if let (Ok(one), Ok(two)) = (cpu.embedder(), gpu.embedder()) {
                let (one, two) = (one.embed_aligned(&crop)?, two.embed_aligned(&crop)?);
                for (a, b) in one.as_slice().iter().zip(two.as_slice()) {
                    note(path, "the embedding", (a - b).abs())?;
                }
            }
            if let (Some(one), Some(two)) = (&cpu.quality, &gpu.quality) {
                let difference = one.score(&crop)? - two.score(&crop)?;
                note(path, "the quality", difference.abs())?;
            }
        }
    }
    let holds = worst <= DIFFERENCE_MAX && faces > 0;
    say(&format!(
        "{faces} faces in {} files: largest difference {worst:.6} between the CPU and {device}; at \
         most {DIFFERENCE_MAX} is accepted: {}",
        photos.len(),
        if holds { "holds" } else { "missed" }
    ))?;
    Ok(if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn collect(folder: &Path, photos: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, photos)?;
        } else {
            photos.push(path);
        }
    }
    Ok(())
}
