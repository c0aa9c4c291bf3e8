//! Pictures of the person that a training makes of itself on the way, and how like the person they
//! are (`portrait-pipeline` section 7).
//!
//! The same few pictures with the same noise at every checkpoint: the face of each template is made
//! anew, or, without a template, a picture is made of the caption alone.

use std::sync::Arc;

use super::{
    model::{Model, Order, Repaint},
    prepare::crop::{Crop, crop},
};
use crate::{
    imaging::{GrayImage, RgbImage},
    models::{
        diffusion::DiffusionError,
        face::{Embedding, Face},
        weights::Container,
    },
    pack::Pack,
    pipeline::Observer,
};

/// Most templates, and so pictures of one checkpoint.
const TEMPLATES_MAX: usize = 4;
/// Pictures of one checkpoint where there is no template.
const FROM_WORDS: usize = 2;
/// How much larger than the face the part of a template is that the picture shows.
const CROP_RATIO: f64 = 3.0;
/// How much larger than the face the part is that is made anew.
const MASK_RATIO: f32 = 1.3;
/// How much changes there.
const STRENGTH: f64 = 0.65;
/// What pictures shall not show.
const NEGATIVE: &str = "blurry, deformed, disfigured, bad anatomy, several people, text, watermark, \
    low quality";
/// Seed of the first picture; the next ones count up.
const SEED: i64 = 12_345;

/// How pictures are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Style {
    /// What they show: the caption of the training.
    pub prompt: String,
    /// What they shall not show.
    pub negative: String,
    /// Sides in pixels.
    pub side: u32,
    /// Steps of the sampler.
    pub steps: usize,
    /// How much the prompt is preferred.
    pub guidance: f64,
}

impl Style {
    /// That of pictures of a caption by the networks of a pack, or by any others.
    pub fn of(pack: Option<Pack>, caption: &str, side: u32) -> Self {
        let usual = Self {
            prompt: caption.to_owned(),
            negative: String::from(NEGATIVE),
            side,
            steps: 20,
            guidance: 9.0,
        };
        match pack {
            None => usual,
            // They know few words, and a high guidance makes their skins white.
            Some(Pack::Demo) => Self {
                negative: String::new(),
                guidance: 4.0,
                ..usual
            },
        }
    }
}

/// The pictures of each checkpoint.
pub struct Portraits {
    style: Style,
    templates: Vec<Repaint>,
}

/// A picture and how like the person it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The pixels.
    pub picture: RgbImage,
    /// The cosine between its largest face and the mean of the person's; none where it shows no face
    /// or persons are not told apart.
    pub score: Option<f32>,
}

impl Portraits {
    /// Pictures after these templates, as far as they show a face.
    pub fn new(style: Style, templates: &[RgbImage], observer: &dyn Observer) -> Self {
        let repaint = |template: &RgbImage| {
            let observation = observer.observe(template).ok()?;
            let face = observation.faces().first()?;
            Some(repaint(template, face, style.side))
        };
        let templates = templates
            .iter()
            .filter_map(repaint)
            .take(TEMPLATES_MAX)
            .collect();
        Self { style, templates }
    }

    /// How many pictures a checkpoint has.
    pub fn count(&self) -> usize {
        match self.templates.len() {
            0 => FROM_WORDS,
            count => count,
        }
    }

    /// Makes the pictures with a LoRA, or without one, and judges them.
    pub fn make(
        &self,
        model: &dyn Model,
        lora: Option<&Arc<Container>>,
        person: Option<&Embedding>,
        observer: &dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Judged>, DiffusionError> {
        let order = |index: usize| Order {
            prompt: &self.style.prompt,
            negative: &self.style.negative,
            side: self.style.side,
            repaint: self.templates.get(index),
            steps: self.style.steps,
            guidance: self.style.guidance,
            seed: SEED + index as i64,
        };
        let orders: Vec<Order<'_>> = (0..self.count()).map(order).collect();
        let pictures = model.pictures(lora, &orders, stop)?;
        let judge = |picture: RgbImage| Judged {
            score: person.and_then(|person| likeness(&picture, person, observer)),
            picture,
        };
        Ok(pictures.into_iter().map(judge).collect())
    }
}

/// How like a person the largest face of a picture is.
pub fn likeness(picture: &RgbImage, person: &Embedding, observer: &dyn Observer) -> Option<f32> {
    let observation = observer.observe(picture).ok()?;
    let face = observation.faces().first()?;
    let found = observer.embed(picture, face).ok()?;
    Some(person.cosine(&found))
}

/// The part of a template around a face, in which the face is made anew.
fn repaint(template: &RgbImage, face: &Face, side: u32) -> Repaint {
    let Crop { picture, face } = crop(template, face, 0.0, CROP_RATIO, side);
    let bounds = face.bounds;
    let grow = |low: f32, high: f32| {
        let (middle, half) = (low.midpoint(high), (high - low) / 2.0 * MASK_RATIO);
        middle - half..middle + half
    };
    let across = grow(bounds.left, bounds.right);
    let down = grow(bounds.top, bounds.bottom);
    let mask = GrayImage::from_fn(side, side, |x, y| {
        let inside = across.contains(&(x as f32 + 0.5)) && down.contains(&(y as f32 + 0.5));
        [if inside { 255 } else { 0 }].into()
    });
    Repaint {
        picture,
        mask,
        strength: STRENGTH,
    }
}
