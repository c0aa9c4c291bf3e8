//! Trainings on a checkpoint, whichever device it is on.

use std::collections::BTreeMap;

use burn::Dispatch;
use burn::backend::Flex;
use burn::tensor::DType;

use super::guard::guarded;
use super::painter::OnDevice as Studios;
use super::pictures::to_maps;
use super::studio::{Home, Studio};
use super::{DiffusionError, Painter};
use crate::imaging::RgbImage;
use crate::models::backend::{Device, memory};
use crate::models::lora::{Layer, Update};
use crate::models::nn::{BackKernels, Precision};
use crate::models::sampling::{Prediction, Schedule};
use crate::models::training::{Found, Learner, Photo, Plan, Recipe, Session};
use crate::models::weights::Container;

/// A picture to learn from.
#[derive(Clone, Debug)]
pub struct Lesson {
    /// Its pixels, with sides that are multiples of [`Painter::factor`].
    pub picture: RgbImage,
    /// Which of the captions it has.
    pub caption: usize,
}

/// A training. It belongs to the thread that works on it.
pub struct Trainer {
    session: OnDevice,
    device: String,
}

enum OnDevice {
    Cpu(Box<Running<Flex>>),
    General(Box<Running<Dispatch>>),
}

struct Running<B: BackKernels> {
    session: Session<B>,
    device: B::Device,
}

impl<B: BackKernels> Running<B> {
    fn step(&mut self, rate_share: f64, name: &str) -> Result<Found, DiffusionError> {
        let Self { session, device } = self;
        loop {
            let made = guarded::<B, _>(device, name, || {
                session
                    .step(rate_share)
                    .map_err(|reason| failed(name, reason))
            });
            match made {
                Err(DiffusionError::OutOfMemory { .. }) if session.halve_at_once() => {}
                made => return made,
            }
        }
    }
}

impl Painter {
    /// Prepares a training. All pictures have one size; `captions` are the tokens of each text, at
    /// most as many as the text encoder takes at a time.
    pub fn trainer(
        &self,
        lessons: &[Lesson],
        captions: &[Vec<u32>],
        recipe: &Recipe,
    ) -> Result<Trainer, DiffusionError> {
        self.check_lessons(lessons, captions)?;
        let recipe = &Recipe {
            at_once: self.at_once(lessons, recipe)?,
            ..recipe.clone()
        };
        let (schedule, prediction) = (self.schedule(), self.prediction());
        let of = (lessons, captions);
        Ok(match &self.studio {
            Studios::Cpu(studio) => Trainer {
                device: studio.name().to_owned(),
                session: OnDevice::Cpu(Box::new(open(studio, schedule, prediction, of, recipe)?)),
            },
            Studios::General(studio) => Trainer {
                device: studio.name().to_owned(),
                session: OnDevice::General(Box::new(open(
                    studio, schedule, prediction, of, recipe,
                )?)),
            },
        })
    }

    /// How many pictures go through the networks at once with the memory that is there. Where not even
    /// one can, the error says what would fit.
    fn at_once(&self, lessons: &[Lesson], recipe: &Recipe) -> Result<usize, DiffusionError> {
        let wanted = recipe.at_once.clamp(1, recipe.pictures.max(1));
        let (name, precision, copies) = match &self.studio {
            Studios::Cpu(studio) => (studio.name(), studio.place().precision, 2),
            Studios::General(studio) => (studio.name(), studio.place().precision, 1),
        };
        let device = Device::named(name);
        let Some(there) = device.and_then(memory) else {
            return Ok(wanted);
        };
        // On the processor the checkpoint has been taken off already.
        let there = match device {
            Some(Device::Cuda(_)) => there.saturating_sub(self.bytes()),
            _ => there,
        };
        let (factor, first) = (self.factor(), &lessons[0].picture);
        let plan = Plan {
            unet: &self.files().checkpoint.unet.config,
            text: &self.files().checkpoint.text.config,
            weights: self.bytes(),
            copies,
            number: if precision == Precision::Full { 4 } else { 2 },
            latent: [first.height(), first.width()].map(|side| side as usize / factor),
        };
        if let Some(at_once) = plan.at_once(recipe, there) {
            return Ok(at_once.min(wanted));
        }
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        let advice = match plan.advice(recipe, there, factor) {
            Some(settings) => format!("{settings} would fit"),
            None => String::from("no other settings would fit, take another device"),
        };
        Err(DiffusionError::TooMuch(format!(
            "the training needs about {:.1} GB beside the checkpoint and {name} has {:.1} GB left; {advice}",
            gigabytes(plan.bytes(recipe, 1)),
            gigabytes(there),
        )))
    }

    fn check_lessons(
        &self,
        lessons: &[Lesson],
        captions: &[Vec<u32>],
    ) -> Result<(), DiffusionError> {
        let refuse = |text: &str| Err(DiffusionError::Request(text.to_owned()));
        let Some(first) = lessons.first() else {
            return refuse("there is no picture to learn from");
        };
        let size = first.picture.dimensions();
        let factor = self.factor() as u32;
        let fits = |lesson: &Lesson| {
            lesson.picture.dimensions() == size && lesson.caption < captions.len()
        };
        if !lessons.iter().all(fits) {
            return refuse("the pictures are not of one size, or one has no caption");
        }
        if size.0 == 0 || size.1 == 0 || size.0 % factor != 0 || size.1 % factor != 0 {
            return Err(DiffusionError::Request(format!(
                "the pictures have {} x {} pixels, and both sides have to be multiples of {factor}",
                size.0, size.1
            )));
        }
        let length = captions.first().map_or(0, Vec::len);
        if length == 0 || captions.iter().any(|caption| caption.len() != length) {
            return refuse("the captions are not of one length");
        }
        Ok(())
    }
}

fn open<B: Home + BackKernels>(
    studio: &Studio<B>,
    schedule: &Schedule,
    prediction: Prediction,
    (lessons, captions): (&[Lesson], &[Vec<u32>]),
    recipe: &Recipe,
) -> Result<Running<B>, DiffusionError> {
    let place = studio.place();
    let session = guarded::<B, _>(&place.device, studio.name(), || {
        let photo = |lesson: &Lesson| {
            let mirrored = crate::imaging::mirror(&lesson.picture);
            let posteriors = [&lesson.picture, &mirrored].map(|picture| {
                let maps = to_maps(
                    std::slice::from_ref(picture),
                    studio.picture_place(),
                    -1.0,
                    1.0,
                );
                studio.encoder().forward(maps)
            });
            let both = posteriors.each_ref();
            Photo {
                means: both.map(|posterior| posterior.mode().cast(DType::F32)),
                deviations: both.map(|posterior| posterior.deviation().cast(DType::F32)),
                caption: lesson.caption,
            }
        };
        let photos = lessons.iter().map(photo).collect();
        let learner = Learner::open(
            &studio.files().checkpoint,
            place,
            schedule.clone(),
            prediction,
            captions.to_vec(),
            recipe,
        )?;
        Ok(Session::new(learner, photos, recipe.clone()))
    })?;
    Ok(Running {
        session,
        device: place.device.clone(),
    })
}

impl Trainer {
    /// Steps that are done.
    pub fn steps_done(&self) -> usize {
        match &self.session {
            OnDevice::Cpu(running) => running.session.steps_done(),
            OnDevice::General(running) => running.session.steps_done(),
        }
    }

    /// Makes the next step, at this share of the recipe's rates. Where it found no number
    /// ([`Found::is_number`]), nothing was learned and the step is not done.
    ///
    /// Where memory runs out, fewer pictures go through the networks at once from then on.
    pub fn step(&mut self, rate_share: f64) -> Result<Found, DiffusionError> {
        match &mut self.session {
            OnDevice::Cpu(running) => running.step(rate_share, &self.device),
            OnDevice::General(running) => running.step(rate_share, &self.device),
        }
    }

    /// What has been learned so far, for each layer.
    pub fn updates(&self) -> Result<BTreeMap<Layer, Update>, DiffusionError> {
        match &self.session {
            OnDevice::Cpu(running) => running.session.updates(),
            OnDevice::General(running) => running.session.updates(),
        }
        .map_err(|reason| failed(&self.device, reason))
    }

    /// The file from which [`restore`](Self::restore) goes on, so that the rest comes out as it would
    /// have without the break. `note` is kept in it.
    pub fn state(&self, note: &str) -> Result<Vec<u8>, DiffusionError> {
        match &self.session {
            OnDevice::Cpu(running) => running.session.state(note),
            OnDevice::General(running) => running.session.state(note),
        }
        .map_err(|reason| failed(&self.device, reason))
    }

    /// Goes on from a saved state of a training with the same pictures and recipe, and gives the note
    /// that is in it.
    pub fn restore(&mut self, file: &Container) -> Result<String, DiffusionError> {
        match &mut self.session {
            OnDevice::Cpu(running) => running.session.restore(file),
            OnDevice::General(running) => running.session.restore(file),
        }
        .map_err(|reason| {
            DiffusionError::Request(format!(
                "the saved state does not belong to this training: {reason}; begin it anew"
            ))
        })
    }
}

fn failed(device: &str, reason: String) -> DiffusionError {
    DiffusionError::Device {
        device: device.to_owned(),
        reason,
    }
}
