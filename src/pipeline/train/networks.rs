//! The models of the data folder, or of a pack, at work on a training.

use std::{collections::BTreeMap, sync::Arc};

use super::model::{Base, Model, ModelTrouble, Models, Order, Training};
use crate::{
    imaging::{RgbImage, mask::latent_mask},
    models::{
        diffusion::{
            DiffusionError, Flow, Job, Latents, Lesson, LoraUse, Mask, Networks, Painter, Prompted,
            Stage, Text, Trainer, Watch,
        },
        library::LoadError,
        lora::{Layer, Update},
        prompt::{Chunk, Chunker, EmbeddingNames, Emphasis},
        sampling::{FromPicture, Method, NoiseRequest, NoiseSource, Request, Spacing, plan},
        training::{Found, Recipe},
        weights::Container,
    },
};

impl Models for Networks {
    fn base(&self, name: Option<&str>) -> Result<Base, ModelTrouble> {
        let found = self
            .find_checkpoint(name)
            .map_err(|error| ModelTrouble::Missing(error.to_string()))?;
        let listed = found.listed;
        Ok(Base {
            sha256: self.known_sha256(&listed).map(|hash| hash.to_string()),
            pack: listed.place.pack(),
            name: listed.name,
        })
    }

    fn open(&self, base: &Base) -> Result<Arc<dyn Model>, ModelTrouble> {
        let missing = |text: String| ModelTrouble::Missing(text);
        let found = self
            .find_checkpoint(Some(&base.name))
            .map_err(|error| missing(error.to_string()))?;
        let vae = self.vae_of(&found.listed);
        match self.painter(&found.listed, vae.as_ref()) {
            Ok(painter) => Ok(Arc::new(Opened(painter))),
            Err(LoadError::Loader(error)) => Err(error.into()),
            Err(other) => Err(missing(other.to_string())),
        }
    }
}

/// A checkpoint of the library.
struct Opened(Arc<Painter>);

impl Model for Opened {
    fn tokens(&self, caption: &str) -> Result<Vec<u32>, DiffusionError> {
        let first = first_chunk(&self.0, caption)?;
        Ok(first.map_or_else(Vec::new, |chunk| chunk.ids.to_vec()))
    }

    fn train(
        &self,
        lessons: &[Lesson],
        captions: &[Vec<u32>],
        recipe: &Recipe,
    ) -> Result<Box<dyn Training>, DiffusionError> {
        Ok(Box::new(self.0.trainer(lessons, captions, recipe)?))
    }

    fn pictures(
        &self,
        lora: Option<&Arc<Container>>,
        orders: &[Order<'_>],
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<RgbImage>, DiffusionError> {
        let uses = lora.map(|file| LoraUse {
            file: Arc::clone(file),
            name: String::from("in training"),
            text_weight: 1.0,
            unet_weight: 1.0,
        });
        let painter = self.0.with_loras(uses.as_slice())?;
        let pictures = orders.iter();
        pictures
            .map(|order| picture(&painter, order, &mut Stopper(stop)))
            .collect()
    }
}

impl Training for Trainer {
    fn steps_done(&self) -> usize {
        Trainer::steps_done(self)
    }

    fn step(&mut self, rate_share: f64) -> Result<Found, DiffusionError> {
        Trainer::step(self, rate_share)
    }

    fn updates(&self) -> Result<BTreeMap<Layer, Update>, DiffusionError> {
        Trainer::updates(self)
    }

    fn state(&self, note: &str) -> Result<Vec<u8>, DiffusionError> {
        Trainer::state(self, note)
    }

    fn restore(&mut self, file: &Container) -> Result<String, DiffusionError> {
        Trainer::restore(self, file)
    }
}

/// Makes one picture.
fn picture(
    painter: &Painter,
    order: &Order<'_>,
    watch: &mut dyn Watch,
) -> Result<RgbImage, DiffusionError> {
    let mut request = Request::new(Method::Dpm2m, Spacing::Automatic, order.steps);
    request.from_picture = order
        .repaint
        .map(|repaint| FromPicture::new(repaint.strength));
    let plan = plan(painter.schedule(), &request).map_err(self::request)?;
    let (start, mask) = match order.repaint {
        Some(repaint) => {
            let start = painter.encode(std::slice::from_ref(&repaint.picture), None, watch)?;
            let [.., rows, columns] = start.sizes;
            let new = latent_mask(&repaint.mask, columns as u32, rows as u32, false);
            let original = start.clone();
            (Some(start), Some(Mask { new, original }))
        }
        None => (None, None),
    };
    let side = order.side as usize / painter.factor();
    let channels = painter.latent_channels();
    let sizes = start
        .as_ref()
        .map_or([1, channels, side, side], |start: &Latents| start.sizes);
    let [_, channels, rows, columns] = sizes;
    let noise = NoiseRequest::new([channels, rows, columns], vec![order.seed]);
    let mut noise = NoiseSource::new(noise).map_err(self::request)?;
    let text = |words: &str| Ok::<_, DiffusionError>([Prompted::always(encode(painter, words)?)]);
    let job = Job {
        plan: &plan,
        noise: &mut noise,
        sizes,
        start: start.as_ref(),
        positive: &text(order.prompt)?,
        negative: &text(order.negative)?,
        guidance: order.guidance,
        mask: mask.as_ref(),
        controls: &[],
    };
    let made = painter.sample(job, watch)?;
    let pictures = painter.decode(&made, watch)?;
    pictures
        .into_iter()
        .next()
        .ok_or_else(|| DiffusionError::Request(String::from("the decoder gave no picture")))
}

/// What the UNet attends to for some words.
fn encode(painter: &Painter, words: &str) -> Result<Text, DiffusionError> {
    let first = first_chunk(painter, words)?;
    painter.encode_text(first.as_slice(), &|_| None, 1, Emphasis::None)
}

/// Some words as the text encoder takes them, as far as it takes them at once.
fn first_chunk(painter: &Painter, words: &str) -> Result<Option<Chunk>, DiffusionError> {
    let names = EmbeddingNames::default();
    let mut chunker = Chunker::new(painter.tokenizer(), &names);
    chunker.emphasis = Emphasis::None;
    let chunks = chunker.chunks(words).map_err(request)?;
    Ok(chunks.into_iter().next())
}

fn request(error: impl std::fmt::Display) -> DiffusionError {
    DiffusionError::Request(error.to_string())
}

/// Stops between steps when it is told to.
struct Stopper<'a>(&'a dyn Fn() -> bool);

impl Watch for Stopper<'_> {
    fn step(&mut self, _stage: Stage, _done: usize, _total: usize) -> Flow {
        if (self.0)() { Flow::Stop } else { Flow::Go }
    }
}
