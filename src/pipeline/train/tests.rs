//! Whole trainings without networks: what is learned are a few numbers that follow from the steps
//! alone, and every photo says by its first pixel whom it shows.

mod breaks;
mod engine;
mod failures;
mod persons;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    model::{Base, Model, ModelTrouble, Models, Order, Training},
    *,
};
use crate::{
    domain::PersonId,
    fetch::{Fetcher, NetworkPolicy},
    imaging::{RgbImage, samples},
    job::{CancelToken, FinishToken, JobContext},
    models::{
        ModelError,
        diffusion::{DiffusionError, Lesson},
        face::{Bounds, Embedding, Face, Pose},
        lora::{Layer, Network, Product, Update},
        training::{Found, Recipe},
        weights::{Container, Kept, Named, write_safetensors},
    },
    people::{People, Person},
    pipeline::{
        FaceSource, Observer, PhotoSource,
        check::{Observation, Portrait},
    },
    store::{DataFolder, Mounts},
};

/// Side of the photos in pixels.
const PHOTO_SIDE: u32 = 600;
/// Side of the training pictures.
const SMALL: usize = 64;
/// Directions of two persons.
const ANNA: [u8; 2] = [200, 20];
const BEN: [u8; 2] = [20, 200];
/// Nobody.
const NOBODY: [u8; 2] = [0, 0];

/// Numbers that are learned: an `up` of 4 x 2 and a `down` of 2 x 3.
const LEARNED: usize = 14;

/// What happens in a step, by its number from 1 on and its share of the rate.
type Happens = dyn Fn(usize, f64) -> Result<Found, DiffusionError> + Send + Sync;
/// Whom a picture shows, by the step of its checkpoint and its number there.
type Shows = dyn Fn(u32, usize) -> [u8; 2] + Send + Sync;

/// Networks that are made up.
#[derive(Clone)]
struct MadeUp {
    happens: Arc<Happens>,
    shows: Arc<Shows>,
    log: Arc<Mutex<Log>>,
}

/// What was asked of them.
#[derive(Default)]
struct Log {
    /// How many pictures each training had, and its recipe.
    trainings: Vec<(usize, Recipe)>,
    /// Every step, with its share of the rate.
    steps: Vec<(usize, f64)>,
    /// Steps of the checkpoints that pictures were made with, and how many began with a template.
    pictures: Vec<(u32, usize)>,
}

#[expect(clippy::unnecessary_wraps, reason = "what a step comes to is a result")]
fn loss(loss: f64) -> Result<Found, DiffusionError> {
    let gradient = 1.0;
    Ok(Found { loss, gradient })
}

impl MadeUp {
    /// Whose pictures all show the person, and whose steps come to this.
    fn new(
        happens: impl Fn(usize, f64) -> Result<Found, DiffusionError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            happens: Arc::new(happens),
            shows: Arc::new(|_, _| ANNA),
            log: Arc::default(),
        }
    }

    fn showing(shows: impl Fn(u32, usize) -> [u8; 2] + Send + Sync + 'static) -> Self {
        Self {
            shows: Arc::new(shows),
            ..Self::default()
        }
    }

    fn steps(&self) -> Vec<(usize, f64)> {
        self.log.lock().unwrap().steps.clone()
    }

    fn numbers_of_steps(&self) -> Vec<usize> {
        self.steps().into_iter().map(|(number, _)| number).collect()
    }
}

impl Default for MadeUp {
    fn default() -> Self {
        Self::new(|step, _| loss(1.0 / step as f64))
    }
}

impl Models for MadeUp {
    fn base(&self, name: Option<&str>) -> Result<Base, ModelTrouble> {
        match name {
            None | Some("made-up" | "other") => Ok(Base {
                name: name.unwrap_or("made-up").to_owned(),
                sha256: Some("ab".repeat(32)),
                pack: None,
            }),
            Some(_) => Err(ModelTrouble::Missing(String::from("there is none"))),
        }
    }

    fn open(&self, _base: &Base) -> Result<Arc<dyn Model>, ModelTrouble> {
        Ok(Arc::new(self.clone()))
    }
}

impl Model for MadeUp {
    fn tokens(&self, caption: &str) -> Result<Vec<u32>, DiffusionError> {
        Ok(caption.bytes().map(u32::from).collect())
    }

    fn train(
        &self,
        lessons: &[Lesson],
        captions: &[Vec<u32>],
        recipe: &Recipe,
    ) -> Result<Box<dyn Training>, DiffusionError> {
        assert_eq!(captions.len(), 1);
        for lesson in lessons {
            assert_eq!(lesson.picture.dimensions(), (SMALL as u32, SMALL as u32));
        }
        let mut log = self.log.lock().unwrap();
        log.trainings.push((lessons.len(), recipe.clone()));
        Ok(Box::new(Learning {
            of: self.clone(),
            steps_done: 0,
            numbers: vec![0.0; LEARNED],
        }))
    }

    fn pictures(
        &self,
        lora: Option<&Arc<Container>>,
        orders: &[Order<'_>],
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<RgbImage>, DiffusionError> {
        let step = lora.map_or("0", |file| &file.metadata()["ss_steps"]);
        let step = step.parse().unwrap();
        let templates = orders.iter().filter(|order| order.repaint.is_some());
        let noted = (step, templates.count());
        self.log.lock().unwrap().pictures.push(noted);
        let mut pictures = Vec::new();
        for (at, order) in orders.iter().enumerate() {
            pictures.push(picture((self.shows)(step, at), order.side));
            if stop() {
                return Err(DiffusionError::Stopped);
            }
        }
        Ok(pictures)
    }
}

/// A grey picture of somebody.
fn picture([red, green]: [u8; 2], side: u32) -> RgbImage {
    let mut picture = RgbImage::from_pixel(side, side, [90; 3].into());
    let blue = u8::from([red, green] != NOBODY);
    picture.put_pixel(0, 0, [red, green, blue].into());
    picture
}

struct Learning {
    of: MadeUp,
    steps_done: usize,
    numbers: Vec<f32>,
}

impl Training for Learning {
    fn steps_done(&self) -> usize {
        self.steps_done
    }

    fn step(&mut self, rate_share: f64) -> Result<Found, DiffusionError> {
        let next = self.steps_done + 1;
        self.of.log.lock().unwrap().steps.push((next, rate_share));
        let found = (self.of.happens)(next, rate_share)?;
        if found.is_number() {
            self.steps_done = next;
            for (at, number) in self.numbers.iter_mut().enumerate() {
                // Depends on all steps before, and on the rate of each.
                *number = *number * 0.75 + rate_share as f32 * (next * (at + 3) % 17) as f32 / 32.0;
            }
        }
        Ok(found)
    }

    fn updates(&self) -> Result<BTreeMap<Layer, Update>, DiffusionError> {
        let (up, down) = self.numbers.split_at(8);
        let product = Product::LowRank {
            up: up.to_vec(),
            down: down.to_vec(),
            rank: 2,
        };
        let layer = Layer {
            network: Network::Unet,
            path: String::from("mid_block.attentions.0.proj_in"),
        };
        let update = Update::new(&[4, 3], product, 0.5).unwrap();
        Ok(BTreeMap::from([(layer, update)]))
    }

    fn state(&self, note: &str) -> Result<Vec<u8>, DiffusionError> {
        let tensors = [Named {
            name: "numbers",
            shape: &[LEARNED],
            numbers: &self.numbers,
        }];
        let words = [
            ("steps", self.steps_done.to_string()),
            ("note", note.into()),
        ];
        let metadata = words.map(|(key, value)| (key.to_owned(), value));
        let mut file = Vec::new();
        write_safetensors(&tensors, &metadata.into(), Kept::Full, &mut file).unwrap();
        Ok(file)
    }

    fn restore(&mut self, file: &Container) -> Result<String, DiffusionError> {
        self.numbers = file.get("numbers").unwrap().to_f32().unwrap();
        self.steps_done = file.metadata()["steps"].parse().unwrap();
        Ok(file.metadata()["note"].clone())
    }
}

/// Sees in each picture the face that its first pixel tells of.
#[derive(Clone)]
struct Eyes;

impl Observer for Eyes {
    fn observe(&self, photo: &RgbImage) -> Result<Observation, ModelError> {
        if photo.get_pixel(0, 0).0 == [0; 3] {
            return Ok(Observation::Faces(Vec::new()));
        }
        let share = photo.width() as f32 / PHOTO_SIDE as f32;
        let points = [[250, 260], [310, 260], [280, 296], [256, 320], [304, 320]];
        let points = points.map(|point| point.map(|at| at as f32 * share));
        let face = Face {
            score: 0.9,
            bounds: Bounds {
                left: 220.0 * share,
                top: 200.0 * share,
                right: 340.0 * share,
                bottom: 360.0 * share,
            },
            points,
        };
        Ok(Observation::Portrait(Portrait {
            face,
            pose: Pose::of(&face.points),
            flaw: None,
        }))
    }

    fn embed(&self, photo: &RgbImage, _face: &Face) -> Result<Embedding, ModelError> {
        let [red, green, _] = photo.get_pixel(0, 0).0.map(f32::from);
        Ok(Embedding::new(vec![red, green]).unwrap())
    }

    fn same_person(&self) -> Result<f32, ModelError> {
        Ok(0.5)
    }
}

impl FaceSource for Eyes {
    fn observer(&self) -> Result<Arc<dyn Observer>, ModelError> {
        Ok(Arc::new(self.clone()))
    }
}

/// A photo of this person, unlike any with another seed.
fn photo([red, green]: [u8; 2], seed: u32) -> Vec<u8> {
    let mut picture = RgbImage::from_fn(PHOTO_SIDE, PHOTO_SIDE, |x, y| {
        let block = (x / 60 + 10 * (y / 60) + 101 * seed).wrapping_mul(2_654_435_761);
        let grey = (block ^ (block >> 15)).wrapping_mul(2_246_822_519);
        [grey.to_be_bytes()[0]; 3].into()
    });
    let blue = u8::from([red, green] != NOBODY);
    picture.put_pixel(0, 0, [red, green, blue].into());
    samples::encode(picture, image::ImageFormat::Png)
}

fn photos(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|seed| photo(ANNA, seed)).collect()
}

fn context() -> JobContext {
    JobContext {
        cancel: CancelToken::default(),
        finish: FinishToken::default(),
        deadline: Instant::now() + Duration::from_secs(3600),
        progress: Arc::new(()),
        device: String::from("cpu"),
    }
}

fn fetcher() -> Fetcher {
    Fetcher::new(Mounts::default(), NetworkPolicy::default())
}

fn anna() -> PersonId {
    "anna".parse().unwrap()
}

/// Everything that a training depends on.
struct Wanted {
    photos: Vec<Vec<u8>>,
    settings: Settings,
    overwrite: bool,
    resume: Resume<'static>,
    models: MadeUp,
    templates: Vec<RgbImage>,
    context: JobContext,
}

/// Twenty steps with a checkpoint after every fifth.
fn wanted(models: &MadeUp) -> Wanted {
    Wanted {
        photos: photos(2),
        settings: Settings {
            resolution: SMALL,
            steps_per_photos: 10,
            max_train_steps: 20,
            val_and_checkpointing_steps: 5,
            background: Background::Keep,
            ..Settings::of(None)
        },
        overwrite: false,
        resume: Resume::Same("print"),
        models: models.clone(),
        templates: Vec::new(),
        context: context(),
    }
}

/// A data folder.
struct Bench {
    home: TempDir,
    people: People,
}

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let people = People::new(DataFolder::open(home.path()).unwrap());
        Self { home, people }
    }

    fn train(&self, wanted: &Wanted) -> Result<Person, TrainError> {
        let photos: Vec<_> = wanted
            .photos
            .iter()
            .map(|file| PhotoSource::Bytes(file))
            .collect();
        let task = Task {
            id: anna(),
            photos: &photos,
            settings: wanted.settings.clone(),
            overwrite: wanted.overwrite,
            resume: wanted.resume,
            job: Some(String::from("job-1")),
            warnings: vec![String::from("said of the request")],
        };
        let means = Means {
            people: &self.people,
            fetcher: &fetcher(),
            faces: &Eyes,
            models: &wanted.models,
            templates: &wanted.templates,
        };
        train(&task, &means, &wanted.context)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    /// A file in the place where the person is trained.
    fn staged(&self, below: &str) -> PathBuf {
        self.path("photog/training/anna").join(below)
    }

    /// All files of the data folder.
    fn files(&self) -> Vec<PathBuf> {
        files_below(self.home.path())
    }

    /// Whether something can be gone on with.
    fn is_unfinished(&self) -> bool {
        !self.people.unfinished().unwrap().is_empty()
    }

    #[track_caller]
    fn has_nothing(&self) {
        assert_eq!(self.files(), [] as [PathBuf; 0]);
        assert!(!self.staged("").exists());
        assert!(self.people.list().unwrap().people.is_empty());
    }

    /// What a person's LoRA says and holds, but for the time at which it was written.
    fn lora(&self, person: &Person) -> (BTreeMap<String, String>, BTreeMap<String, Vec<f32>>) {
        let file = Container::open(&self.path(&person.lora)).unwrap();
        let mut about = file.metadata().clone();
        assert!(about.remove("modelspec.date").is_some());
        (about, numbers(&file))
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn numbers(file: &Container) -> BTreeMap<String, Vec<f32>> {
    let numbers = |name: &str| file.get(name).unwrap().to_f32().unwrap();
    file.names()
        .map(|name| (name.to_owned(), numbers(name)))
        .collect()
}

#[track_caller]
fn is_said(person: &Person, words: &str) {
    let said = person.warnings.iter().any(|text| text.contains(words));
    assert!(said, "{words}: {:?}", person.warnings);
}
