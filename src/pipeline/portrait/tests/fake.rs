//! An observer that knows where faces are, a painter that fills what it may with one colour, and a data
//! folder with persons.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{
    domain::PersonId,
    imaging::{GrayImage, RgbImage},
    job::{CancelReason, CancelToken, FinishToken, JobContext, ProgressSink},
    models::{
        ModelError,
        face::{Bounds, Classes, Embedding, Face, FacePart},
    },
    pack::Pack,
    pipeline::{
        FaceSource, Observer,
        check::Observation,
        generate::{Audience, GenerateError, Progress, Wish},
        train::{Base, ModelTrouble},
    },
};

use super::super::{
    Extras,
    painting::{Guide, Made, Order, Painting},
};

/// A face of this width around a place, its eyes turned by so many degrees.
pub fn face([x, y]: [f32; 2], width: f32, degrees: f32) -> Face {
    let (sine, cosine) = degrees.to_radians().sin_cos();
    let unit = width / 100.0;
    let point = |[right, down]: [f32; 2]| {
        let (right, down) = (right * unit, down * unit);
        [
            x + right * cosine - down * sine,
            y + right * sine + down * cosine,
        ]
    };
    Face {
        score: 0.9,
        bounds: Bounds {
            left: x - 50.0 * unit,
            top: y - 65.0 * unit,
            right: x + 50.0 * unit,
            bottom: y + 65.0 * unit,
        },
        points: [
            [-20.0, -15.0],
            [20.0, -15.0],
            [0.0, 5.0],
            [-15.0, 32.0],
            [15.0, 32.0],
        ]
        .map(point),
    }
}

/// A picture in which every pixel differs from its neighbours.
pub fn pattern(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        [(x * 7 + y * 3) as u8, (y * 5 + x) as u8, (x ^ y) as u8].into()
    })
}

/// Sees faces by the size of the picture. A face is described by the colour of its middle.
#[derive(Debug, Default, Clone)]
pub struct Eyes(pub HashMap<(u32, u32), Vec<Face>>);

impl Eyes {
    pub fn with(mut self, size: (u32, u32), faces: &[Face]) -> Self {
        self.0.insert(size, faces.to_vec());
        self
    }
}

impl Observer for Eyes {
    fn observe(&self, photo: &RgbImage) -> Result<Observation, ModelError> {
        let faces = self.0.get(&photo.dimensions());
        Ok(Observation::Faces(faces.cloned().unwrap_or_default()))
    }

    fn embed(&self, photo: &RgbImage, face: &Face) -> Result<Embedding, ModelError> {
        let middle = |low: f32, high: f32| low.midpoint(high) as u32;
        let bounds = face.bounds;
        let at = (
            middle(bounds.left, bounds.right),
            middle(bounds.top, bounds.bottom),
        );
        let [red, green, _] = photo.get_pixel(at.0, at.1).0.map(f32::from);
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

/// What the painter was asked for.
#[derive(Debug)]
pub struct Seen {
    pub checkpoint: String,
    pub prompt: String,
    pub negative: String,
    pub pictures: Vec<RgbImage>,
    pub count: usize,
    pub mask: GrayImage,
    pub steps: usize,
    pub strength: f64,
    pub seed: i64,
    pub guides: Vec<(Guide, f64)>,
}

/// Fills what it may with a colour, a different one for each seed.
pub struct Brush {
    pub seen: Mutex<Vec<Seen>>,
    /// The checkpoints that there are.
    pub bases: Vec<&'static str>,
    pub pack: Option<Pack>,
    /// LoRAs without a record.
    pub loras: Vec<&'static str>,
    pub color: fn(i64) -> [u8; 3],
}

impl Default for Brush {
    fn default() -> Self {
        Self {
            seen: Mutex::default(),
            bases: vec!["alpha", "beta"],
            pack: None,
            loras: Vec::new(),
            color: |seed| [200, (seed % 200) as u8, 40],
        }
    }
}

impl Painting for Brush {
    fn base(&self, name: Option<&str>) -> Result<Base, ModelTrouble> {
        let found = match name {
            None => self.bases.first(),
            Some(name) => self.bases.iter().find(|base| **base == name),
        };
        let name =
            found.ok_or_else(|| ModelTrouble::Missing(String::from("bring a checkpoint")))?;
        Ok(Base {
            name: (*name).to_owned(),
            sha256: None,
            pack: self.pack,
        })
    }

    fn has_lora(&self, name: &str) -> bool {
        self.loras.contains(&name)
    }

    fn repaint(
        &self,
        order: Order<'_>,
        audience: &mut dyn Audience,
    ) -> Result<Made, GenerateError> {
        let progress = Progress {
            fraction: 0.5,
            step: 1,
            steps: 2,
            textinfo: String::from("step 1 of 2"),
            ..Progress::default()
        };
        if let Wish::Stop(reason) = audience.report(&progress) {
            return Err(GenerateError::Stopped(reason));
        }
        let paint = |at: usize| {
            let mut picture = order.pictures[at % order.pictures.len()].clone();
            for (pixel, level) in picture.pixels_mut().zip(order.mask.iter()) {
                if *level > 0 {
                    pixel.0 = (self.color)(order.seed + at as i64);
                }
            }
            picture
        };
        let pictures = (0..order.count).map(paint).collect();
        self.seen.lock().unwrap().push(Seen {
            checkpoint: order.checkpoint.to_owned(),
            prompt: order.prompt.to_owned(),
            negative: order.negative.to_owned(),
            count: order.count,
            mask: order.mask.clone(),
            steps: order.steps,
            strength: order.strength,
            seed: order.seed,
            guides: order.guides.to_vec(),
            pictures: order.pictures,
        });
        Ok(Made {
            pictures,
            warnings: vec![String::from("painted by a brush")],
        })
    }
}

/// Optional networks that do what the test says.
#[derive(Default)]
pub struct Bag {
    /// The part at a place of what is parsed, both sides from 0 to 1.
    pub parts: Option<fn(f32, f32) -> FacePart>,
    /// The colour of all features.
    pub features: Option<[u8; 3]>,
    /// How many times larger pictures become, and in which colour.
    pub enlarged: Option<(u32, [u8; 3])>,
    /// Whether enlarging fails.
    pub is_broken: bool,
}

impl Extras for Bag {
    fn parse(&self, _face: &RgbImage) -> Result<Option<Classes>, ModelError> {
        const SIDE: u32 = 100;
        Ok(self.parts.map(|part| {
            let side = |at: u32| (at as f32 + 0.5) / SIDE as f32;
            let places = (0..SIDE * SIDE).map(|at| part(side(at % SIDE), side(at / SIDE)) as u8);
            Classes {
                width: SIDE,
                height: SIDE,
                class: places.collect(),
            }
        }))
    }

    fn fuse(
        &self,
        picture: &RgbImage,
        _face: &Face,
        _person: &Embedding,
    ) -> Result<Option<(RgbImage, GrayImage)>, ModelError> {
        let (width, height) = picture.dimensions();
        Ok(self.features.map(|color| {
            let everywhere = GrayImage::from_pixel(width, height, [255].into());
            (
                RgbImage::from_pixel(width, height, color.into()),
                everywhere,
            )
        }))
    }

    fn enlarge(
        &self,
        picture: &RgbImage,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<Option<RgbImage>, ModelError> {
        assert!(keep_going());
        if self.is_broken {
            return Err(ModelError::List(String::from("broken")));
        }
        let (width, height) = picture.dimensions();
        Ok(self.enlarged.map(|(times, color)| {
            RgbImage::from_pixel(width * times, height * times, color.into())
        }))
    }
}

/// Notes what is told.
#[derive(Default)]
pub struct Told {
    pub notes: Mutex<Vec<(f64, String)>>,
    /// Cancels at this note.
    pub stop_at: Option<(usize, CancelToken)>,
}

impl ProgressSink for Told {
    fn report(&self, fraction: f64, note: &str) {
        let mut notes = self.notes.lock().unwrap();
        notes.push((fraction, note.to_owned()));
        if let Some((at, cancel)) = &self.stop_at
            && notes.len() == *at
        {
            cancel.cancel(CancelReason::User);
        }
    }
}

pub fn context(progress: Arc<dyn ProgressSink>, cancel: CancelToken) -> JobContext {
    JobContext {
        cancel,
        finish: FinishToken::default(),
        deadline: Instant::now() + Duration::from_secs(600),
        progress,
        device: String::from("cpu"),
    }
}

pub fn id(text: &str) -> PersonId {
    text.parse().unwrap()
}
