//! What a session promises whatever it learns: breaks, memory, files.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::imaging::RgbImage;
use crate::models::backend::Device;
use crate::models::diffusion::{DiffusionError, Lesson, LoraUse, Painter, Setting};
use crate::models::lora::{self, Layer, Update, write_kohya};
use crate::models::training::{Photo, Session};
use crate::models::weights::{Container, Kept, Named, write_safetensors};

use super::*;

const PHOTOS: usize = 3;

fn recipe() -> Recipe {
    Recipe {
        rank: 4,
        alpha: 2.0,
        unet_rate: 1e-3,
        text_rate: Some(5e-4),
        min_snr: Some(5.0),
        noise_offset: 0.1,
        curve: Curve::Cosine,
        steps: 6,
        pictures: 2,
        at_once: 2,
        seed: 7,
        ..Recipe::default()
    }
}

/// A session with some latents of the reference; `spoil` may change those of each photo.
fn session_with<B: OnCpu + BackKernels>(
    recipe: &Recipe,
    spoil: impl Fn(usize, Maps<B>) -> Maps<B>,
) -> Session<B> {
    let fixture = Fixture::open("training.safetensors");
    let learner = Learner::open(
        &checkpoint(),
        &place(),
        Schedule::new(Betas::default()).unwrap(),
        Prediction::Epsilon,
        captions(&fixture, "plain"),
        recipe,
    )
    .unwrap();
    let latents = fixture.maps::<B>("plain.latents");
    let photo = |at: usize| {
        let mean = spoil(at, latents.clone().narrow(0, at, 1));
        let deviation = mean.ones_like() * 0.1;
        Photo {
            means: [mean.clone(), mean.flip([2])],
            deviations: [deviation.clone(), deviation],
            caption: 0,
        }
    };
    Session::new(learner, (0..PHOTOS).map(photo).collect(), recipe.clone())
}

fn session(recipe: &Recipe) -> Session<Flex> {
    session_with(recipe, |_, latents| latents)
}

fn steps<B: BackKernels>(session: &mut Session<B>, count: usize) {
    for _ in 0..count {
        assert!(session.step(1.0).unwrap().is_number());
    }
}

fn container(bytes: Vec<u8>) -> Container {
    Container::from_bytes("state", bytes).unwrap()
}

/// All numbers of a file, by their names.
fn tensors(bytes: Vec<u8>) -> BTreeMap<String, Vec<f32>> {
    let file = container(bytes);
    let numbers = |name: &str| file.get(name).unwrap().to_f32().unwrap();
    file.names()
        .map(|name| (name.to_owned(), numbers(name)))
        .collect()
}

#[test]
fn a_training_that_goes_on_after_a_break_ends_where_it_would_have_ended() {
    let recipe = recipe();
    let mut whole = session(&recipe);
    steps(&mut whole, 6);
    let mut before = session(&recipe);
    steps(&mut before, 2);
    let state = before.state("two of six").unwrap();
    let mut after = session(&recipe);
    // What it has learned on its own is forgotten.
    steps(&mut after, 1);
    assert_eq!(after.restore(&container(state)).unwrap(), "two of six");
    assert_eq!(after.steps_done(), 2);
    steps(&mut after, 4);
    assert_eq!(after.state("").unwrap(), whole.state("").unwrap());
    assert_eq!(after.updates().unwrap(), whole.updates().unwrap());
}

#[test]
fn fewer_pictures_at_once_make_the_same_step() {
    let recipe = Recipe {
        pictures: 4,
        at_once: 4,
        ..recipe()
    };
    let mut whole = session(&recipe);
    let found = whole.step(1.0).unwrap();
    let wanted = tensors(whole.state("").unwrap());
    for halvings in [1, 2] {
        let mut halved = session(&recipe);
        for _ in 0..halvings {
            assert!(halved.halve_at_once());
        }
        assert_eq!(halved.halve_at_once(), halvings == 1);
        let own = halved.step(1.0).unwrap();
        assert!((own.loss / found.loss - 1.0).abs() < 1e-6, "{own:?}");
        assert!((own.gradient / found.gradient - 1.0).abs() < 1e-5);
        for (name, numbers) in tensors(halved.state("").unwrap()) {
            let wanted = &wanted[&name];
            // What begins at zero has no gradient in its partner yet.
            if wanted.iter().all(|number| *number == 0.0) {
                assert_eq!(numbers, *wanted, "{name}");
            } else if [".first", ".second"].iter().any(|end| name.ends_with(end)) {
                assert!(apart(&numbers, wanted) < 1e-4, "{name}");
            } else {
                // A step turns gradients into their signs; those near zero may turn around.
                let likeness = cosine(&numbers, wanted);
                assert!(likeness > 0.999_99, "{name}: {likeness}");
            }
        }
    }
}

#[test]
fn a_state_of_another_training_is_refused_and_changes_nothing() {
    let recipe = recipe();
    let mut own = session(&recipe);
    steps(&mut own, 3);
    let before = own.state("kept").unwrap();
    let state_of = |recipe: Recipe, count: usize| {
        let mut other = session(&recipe);
        steps(&mut other, count);
        container(other.state("another's").unwrap())
    };
    let rank = Recipe {
        rank: 2,
        ..recipe.clone()
    };
    let without_text = Recipe {
        text_rate: None,
        ..recipe.clone()
    };
    let longer = Recipe {
        steps: 20,
        ..recipe.clone()
    };
    let lora = container(lora_file(&own.updates().unwrap()));
    for (file, told) in [
        (state_of(rank, 1), "another recipe"),
        (state_of(without_text, 1), "another recipe"),
        (state_of(longer, 7), "how many steps"),
        (lora, "no saved state"),
    ] {
        let text = own.restore(&file).unwrap_err();
        assert!(text.contains(told), "{text}");
        assert_eq!(own.steps_done(), 3, "{told}");
        assert!(own.state("kept").unwrap() == before, "{told}");
    }
    let mut other = session(&recipe);
    other.restore(&container(before)).unwrap();
    assert_eq!(other.steps_done(), 3);
}

#[test]
fn a_step_that_finds_no_number_is_not_made() {
    let recipe = Recipe {
        pictures: 1,
        at_once: 1,
        ..recipe()
    };
    let mut session =
        session_with::<Flex>(
            &recipe,
            |at, latents| {
                if at == 0 { latents * f32::NAN } else { latents }
            },
        );
    let mut before = session.state("").unwrap();
    // In each round of photos every one comes once, the spoiled one too.
    let mut good = 0;
    while session.step(1.0).unwrap().is_number() {
        good += 1;
        assert!(good < PHOTOS);
        assert_eq!(session.steps_done(), good);
        before = session.state("").unwrap();
    }
    assert_eq!(session.steps_done(), good);
    assert!(session.state("").unwrap() == before);
    assert!(!session.step(0.3).unwrap().is_number());
}

fn lora_file(updates: &BTreeMap<Layer, Update>) -> Vec<u8> {
    let file = write_kohya(updates, BTreeMap::new());
    let tensors: Vec<Named<'_>> = file
        .tensors
        .iter()
        .map(|tensor| Named {
            name: &tensor.name,
            shape: &tensor.shape,
            numbers: &tensor.data,
        })
        .collect();
    let mut bytes = Vec::new();
    write_safetensors(&tensors, &file.metadata, Kept::Full, &mut bytes).unwrap();
    bytes
}

struct File(Container);

impl lora::Tensors for File {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.names()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.0.get(name)?.shape.to_vec())
    }

    fn values(&self, name: &str) -> Result<Vec<f32>, String> {
        Ok(self.0.get(name).unwrap().to_f32().unwrap())
    }

    fn metadata(&self) -> &BTreeMap<String, String> {
        self.0.metadata()
    }
}

#[test]
fn what_was_learned_is_read_back_from_its_file() {
    let mut session = session(&recipe());
    steps(&mut session, 2);
    let updates = session.updates().unwrap();
    let shapes = updates
        .iter()
        .map(|(layer, update)| (layer.clone(), update.shape().to_vec()));
    let known = lora::Layers::new(shapes, 2).unwrap();
    let file = File(container(lora_file(&updates)));
    assert_eq!(lora::read(&file, &known).unwrap().updates, updates);
    for update in updates.values() {
        assert_eq!((update.scale(), update.factors().rank()), (0.5, 4));
        assert!(update.delta().iter().any(|number| *number != 0.0));
    }
}

fn painter(general: bool) -> Painter {
    let setting = Setting {
        device: Device::Cpu,
        precision: None,
        general,
    };
    Painter::open(*checkpoint(), None, setting).unwrap()
}

/// Pictures that are no flat areas, of this side.
fn lessons(side: u32, count: u8) -> Vec<Lesson> {
    let picture = |seed: u8| {
        RgbImage::from_fn(side, side, |x, y| {
            [(x * 13) as u8 ^ seed, (y * 7) as u8, (x * y) as u8].into()
        })
    };
    (0..count)
        .map(|seed| Lesson {
            picture: picture(seed * 40),
            caption: 0,
        })
        .collect()
}

#[test]
fn a_painter_trains_and_takes_what_was_learned() {
    let tokens = captions(&Fixture::open("training.safetensors"), "plain");
    for general in [false, true] {
        let painter = painter(general);
        let side = 8 * painter.factor() as u32;
        let lessons = lessons(side, 2);
        let start = || painter.trainer(&lessons, &tokens[..1], &recipe()).unwrap();
        let mut trainer = start();
        for _ in 0..2 {
            assert!(trainer.step(1.0).unwrap().is_number());
        }
        let updates = trainer.updates().unwrap();
        let state = trainer.state("a note").unwrap();
        let mut later = start();
        assert_eq!(later.restore(&container(state)).unwrap(), "a note");
        assert_eq!(
            (later.steps_done(), &later.updates().unwrap()),
            (2, &updates)
        );
        let uses = [LoraUse {
            file: Arc::new(container(lora_file(&updates))),
            name: String::from("learned"),
            text_weight: 1.0,
            unet_weight: 1.0,
        }];
        painter.with_loras(&uses).unwrap();
    }
}

#[test]
fn lessons_that_do_not_fit_each_other_are_refused_in_words() {
    let painter = painter(false);
    let side = 8 * painter.factor() as u32;
    let tokens = captions(&Fixture::open("training.safetensors"), "plain");
    let mut mixed = lessons(side, 2);
    mixed.extend(lessons(side * 2, 1));
    let mut unsaid = lessons(side, 1);
    unsaid[0].caption = 1;
    let uneven = [tokens[0].clone(), tokens[0][1..].to_vec()];
    for (lessons, captions, told) in [
        (Vec::new(), &tokens[..1], "no picture"),
        (mixed, &tokens[..1], "not of one size"),
        (unsaid, &tokens[..1], "no caption"),
        (lessons(side + 1, 1), &tokens[..1], "multiples of"),
        (lessons(0, 1), &tokens[..1], "multiples of"),
        (lessons(side, 1), &uneven[..], "not of one length"),
    ] {
        match painter.trainer(&lessons, captions, &recipe()) {
            Err(DiffusionError::Request(text)) => assert!(text.contains(told), "{text}"),
            Err(error) => panic!("{told}: {error}"),
            Ok(_) => panic!("{told}: it was taken"),
        }
    }
}
