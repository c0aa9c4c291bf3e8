//! The sample people, trained, and pictures of them held against their photos.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use photog::{
    fetch::{Fetcher, NetworkPolicy},
    imaging::write_jpeg,
    job::{CancelToken, FinishToken, JobContext},
    models::{
        backend::Device,
        diffusion::{NetworkLoader, Networks, Setting},
        face::Embedding,
        shelf::Shelf,
        supply::{PackRule, Supply},
        weights::Container,
    },
    pack::Pack,
    people::People,
    pipeline::{
        FaceSource as _, Observer, PhotoSource,
        train::{
            Means, Resume, Settings, Task, likeness,
            model::{Model, Models as _, Order},
            train,
        },
    },
    store::{DataFolder, Mounts},
};

use crate::say;

/// Longest time that a training may take on two cores, in seconds.
const TIME_GOAL: f64 = 120.0;
/// Least difference that training makes to the mean likeness.
const LIKENESS_GOAL: f32 = 0.2;
const SEED: i64 = 500;
const STEPS: usize = 20;
const GUIDANCE: f64 = 4.0;

/// Trains each of the sample people with the default settings of the pack, makes pictures of the words
/// that they were trained with, with and without what was learned, and prints how like the people they are.
pub fn train_and_compare(count: usize, keep: Option<&Path>) -> Result<()> {
    let home = tempfile::tempdir()?;
    let supply = Supply::new(home.path(), PackRule::Always(Pack::Demo));
    let faces = Shelf::new(supply.clone(), Device::Cpu).observer()?;
    let networks = Networks::new(
        supply,
        NetworkLoader::new(Setting::new(Device::Cpu)),
        u64::MAX,
    );
    let people = People::new(DataFolder::open(home.path())?);
    let samples = Pack::Demo.people();
    let settings = Settings::of(Some(Pack::Demo));
    let base = networks.base(None)?;
    let model = networks.open(&base)?;
    let persons: Vec<Embedding> = samples
        .iter()
        .map(|person| centre(person.photos.iter().map(|photo| photo.bytes), &*faces))
        .collect::<Result<_>>()?;
    let names: Vec<&str> = samples.iter().map(|person| person.name.as_str()).collect();
    let caption = settings.whole_caption();
    let without = pictures(&*model, None, &caption, count, &*faces, &persons)?;
    say(&format!(
        "{count} pictures of `{caption}` for each person, {STEPS} steps, guidance {GUIDANCE}; mean cosine to \
         the photos of"
    ))?;
    say(&format!(
        "| trained | seconds | steps | {} |",
        names.join(" | ")
    ))?;
    say(&format!(
        "| --- | ---: | ---: |{}",
        " ---: |".repeat(names.len())
    ))?;
    say(&line("nobody", None, &without.means))?;
    let (mut gains, mut nearest, mut longest) = (Vec::new(), 0, 0.0_f64);
    for (at, person) in samples.iter().enumerate() {
        let photos: Vec<PhotoSource<'_>> = person
            .photos
            .iter()
            .map(|photo| PhotoSource::Bytes(photo.bytes))
            .collect();
        let task = Task {
            id: person.name.parse()?,
            photos: &photos,
            settings: settings.clone(),
            overwrite: false,
            resume: Resume::Refuse,
            job: None,
            warnings: Vec::new(),
        };
        let means = Means {
            people: &people,
            fetcher: &Fetcher::new(Mounts::default(), NetworkPolicy::default()),
            faces: &*faces,
            models: &networks,
            templates: &[],
        };
        let started = Instant::now();
        let trained = train(&task, &means, &context())?;
        let seconds = started.elapsed().as_secs_f64();
        longest = longest.max(seconds);
        let lora = Arc::new(Container::open(&home.path().join(&trained.lora))?);
        let with = pictures(&*model, Some(&lora), &caption, count, &*faces, &persons)?;
        say(&line(
            &person.name,
            Some((seconds, trained.train_steps)),
            &with.means,
        ))?;
        gains.push(with.means[at] - without.means[at]);
        let own = with.means[at];
        nearest += usize::from(with.means.iter().all(|mean| *mean <= own));
        if let Some(folder) = keep {
            fs::create_dir_all(folder)?;
            for (number, file) in with.files.iter().enumerate() {
                fs::write(folder.join(format!("{}-{number}.jpg", person.name)), file)?;
            }
        }
    }
    let gain = gains.iter().sum::<f32>() / gains.len() as f32;
    say(&format!(
        "likeness grows by {gain:.3} in the mean (goal {LIKENESS_GOAL}); pictures of {nearest} of {} people are \
         nearest to their own person; the longest training took {longest:.0} s (goal {TIME_GOAL:.0} on two \
         cores)",
        samples.len()
    ))?;
    ensure!(gain >= LIKENESS_GOAL, "the likeness grows too little");
    ensure!(
        nearest == samples.len(),
        "pictures are nearest to another person"
    );
    Ok(())
}

fn line(name: &str, training: Option<(f64, u32)>, means: &[f32]) -> String {
    let (seconds, steps) = training.map_or((String::new(), String::new()), |(seconds, steps)| {
        (format!("{seconds:.0}"), steps.to_string())
    });
    let means: Vec<String> = means.iter().map(|mean| format!("{mean:.3}")).collect();
    format!("| {name} | {seconds} | {steps} | {} |", means.join(" | "))
}

/// Pictures, and how like each person they are in the mean; one without a face counts as zero.
struct Compared {
    files: Vec<Vec<u8>>,
    means: Vec<f32>,
}

fn pictures(
    model: &dyn Model,
    lora: Option<&Arc<Container>>,
    caption: &str,
    count: usize,
    faces: &dyn Observer,
    persons: &[Embedding],
) -> Result<Compared> {
    let order = |number: usize| Order {
        prompt: caption,
        negative: "",
        side: 256,
        repaint: None,
        steps: STEPS,
        guidance: GUIDANCE,
        seed: SEED + number as i64,
    };
    let orders: Vec<Order<'_>> = (0..count).map(order).collect();
    let made = model.pictures(lora, &orders, &|| false)?;
    let mean = |person: &Embedding| {
        let scores = made.iter();
        let scores = scores.map(|picture| likeness(picture, person, faces).unwrap_or(0.0));
        scores.sum::<f32>() / count as f32
    };
    Ok(Compared {
        means: persons.iter().map(mean).collect(),
        files: made
            .iter()
            .map(|picture| Ok(write_jpeg(picture, 95)?))
            .collect::<Result<_>>()?,
    })
}

/// The mean of the faces of some photos.
fn centre<'a>(photos: impl Iterator<Item = &'a [u8]>, faces: &dyn Observer) -> Result<Embedding> {
    let mut found = Vec::new();
    for bytes in photos {
        let photo = photog::imaging::decode(bytes, &photog::imaging::Limits::default())?;
        let observation = faces.observe(&photo)?;
        let face = observation
            .faces()
            .first()
            .context("a photo shows no face")?;
        found.push(faces.embed(&photo, face)?);
    }
    Embedding::mean(found.iter()).context("there are no photos")
}

fn context() -> JobContext {
    JobContext {
        cancel: CancelToken::default(),
        finish: FinishToken::default(),
        deadline: Instant::now() + Duration::from_secs(24 * 60 * 60),
        progress: Arc::new(()),
        device: String::from("cpu"),
    }
}
