//! What portraits need of the networks that make pictures. No tensor is known on this side, and tests
//! paint with a fake.

use serde_json::{Map, json};

use crate::{
    imaging::{GrayImage, RgbImage},
    models::{
        diffusion::Networks,
        sampling::{Method, Spacing},
    },
    pipeline::{
        generate::{
            Audience, Content, GenerateError, Given, ImageToImage, Module, Options, Passes,
            Preparation, ResizeMode, Unit,
            artist::{Artist, ControlMode, Kind},
            repaint,
        },
        train::{Base, ModelTrouble, Models},
    },
};

/// A network that guides, by what it looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guide {
    /// The edges of the picture.
    Canny,
    /// The picture in squares of one colour.
    Color,
    /// The picture itself.
    Tile,
}

impl Guide {
    /// The name of its file.
    const fn model(self) -> &'static str {
        match self {
            Self::Canny => "control_v11p_sd15_canny",
            Self::Color => "control_sd15_random_color",
            Self::Tile => "control_v11f1e_sd15_tile",
        }
    }

    const fn module(self) -> Module {
        match self {
            Self::Canny => Module::Canny,
            Self::Color => Module::Colour,
            Self::Tile => Module::Tile,
        }
    }
}

/// Pictures that are to be made anew in part.
#[derive(Debug)]
pub struct Order<'a> {
    /// The checkpoint, by name.
    pub checkpoint: &'a str,
    /// What shall be seen, with tags of LoRAs.
    pub prompt: &'a str,
    /// What shall not be seen.
    pub negative: &'a str,
    /// How much the two are pulled apart.
    pub guidance: f64,
    /// One picture, or one for each that is made; all of one size.
    pub pictures: Vec<RgbImage>,
    /// How many are made.
    pub count: usize,
    /// White where something is made anew.
    pub mask: &'a GrayImage,
    /// Softness of its border, as the deviation of a bell in pixels.
    pub mask_blur: f64,
    /// Steps of the sampler.
    pub steps: usize,
    /// How much changes.
    pub strength: f64,
    /// Seed of the first; the next ones count up.
    pub seed: i64,
    /// What guides, and how much; those that are not there are left out.
    pub guides: &'a [(Guide, f64)],
}

/// What was made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Made {
    /// The pictures.
    pub pictures: Vec<RgbImage>,
    /// What is to be known about them.
    pub warnings: Vec<String>,
}

/// Paints.
pub trait Painting: Send + Sync {
    /// The checkpoint of this name, or the first.
    fn base(&self, name: Option<&str>) -> Result<Base, ModelTrouble>;
    /// Whether there is a LoRA of this name.
    fn has_lora(&self, name: &str) -> bool;
    /// Makes pictures anew in part.
    fn repaint(&self, order: Order<'_>, audience: &mut dyn Audience)
    -> Result<Made, GenerateError>;
}

/// By the rules of the web UI (`portrait-pipeline` sections 8.7 and 9.3).
impl Painting for Networks {
    fn base(&self, name: Option<&str>) -> Result<Base, ModelTrouble> {
        Models::base(self, name)
    }

    fn has_lora(&self, name: &str) -> bool {
        Artist::find(self, Kind::Lora, name).is_some()
    }

    fn repaint(
        &self,
        order: Order<'_>,
        audience: &mut dyn Audience,
    ) -> Result<Made, GenerateError> {
        let settings =
            Map::from_iter([("sd_model_checkpoint".to_owned(), json!(order.checkpoint))]);
        let options = Options::read(&Map::new(), &settings)?;
        let there = |guide: Guide| Artist::find(self, Kind::ControlNet, guide.model()).is_some();
        let units = order.guides.iter().filter(|(guide, _)| there(*guide));
        let units: Vec<Unit> = units.map(|(guide, weight)| unit(*guide, *weight)).collect();
        // What guides looks at the first picture only, so that each of several is made by itself.
        let batches = if units.is_empty() || order.pictures.len() == 1 {
            vec![(order.pictures, order.count)]
        } else {
            let each = order.pictures.into_iter();
            each.map(|picture| (vec![picture], 1)).collect()
        };
        let mut made = Made::default();
        let mut seed = order.seed;
        for (pictures, count) in batches {
            let mut request = ImageToImage::of(pictures)?;
            request.strength = order.strength;
            request.mask = Some(Given::Ready(order.mask.clone()));
            request.mask_blur = [order.mask_blur; 2];
            request.rounds_mask = true;
            request.content = Content::Original;
            request.is_masked_area_only = false;
            let common = &mut request.common;
            order.prompt.clone_into(&mut common.prompt);
            order.negative.clone_into(&mut common.negative_prompt);
            common.seed = seed;
            common.method = Method::Dpm2mSde;
            common.spacing = Spacing::Karras;
            common.batch_size = count;
            common.steps = order.steps;
            common.guidance = order.guidance;
            (common.width, common.height) = order.mask.dimensions();
            common.units.clone_from(&units);
            let repainted = repaint(&request, options.clone(), self, audience)?;
            seed += count as i64;
            made.pictures.extend(repainted.pictures);
            made.warnings.extend(repainted.warnings);
        }
        Ok(made)
    }
}

/// A network that looks at the picture that is made anew, and to which the prompt is more important.
fn unit(guide: Guide, weight: f64) -> Unit {
    Unit {
        place: String::new(),
        model: guide.model().to_owned(),
        image: None,
        preparation: Preparation {
            module: guide.module(),
            resolution: 512,
            thresholds: [100.0, 200.0],
            resize: ResizeMode::Crop,
            is_pixel_perfect: true,
        },
        weight,
        start: 0.0,
        end: 1.0,
        mode: ControlMode::Prompt,
        passes: Passes::Both,
        follows_crop: false,
    }
}
