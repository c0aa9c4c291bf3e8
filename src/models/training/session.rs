//! A training from its first step to its last, on one backend.

use std::collections::BTreeMap;

use burn::Tensor;
use burn::tensor::TensorData;

use super::adapters::{self, Factors};
use super::draws::{Draw, Draws};
use super::learner::{Batch, Found, Learner};
use super::recipe::Recipe;
use crate::models::lora::{Layer, Update, kohya_name};
use crate::models::nn::{BackKernels, Maps, Moments};
use crate::models::weights::{Container, Kept, Named, write_safetensors};

/// What the file of a state says that it is.
const KIND: (&str, &str) = ("photog_training_state", "1");
/// Where the file of a state has the number of steps that are done.
const STEPS_DONE: &str = "steps_done";
/// Where it has the recipe.
const RECIPE: &str = "recipe";
/// Where it has the caller's note.
const NOTE: &str = "note";

/// The latents that a photo may have, and its caption.
pub struct Photo<B: BackKernels> {
    /// Means `[1, h, w, c]` in the scale of the UNet, in 32-bit floats: as it is, and mirrored.
    pub means: [Maps<B>; 2],
    /// Standard deviations, likewise.
    pub deviations: [Maps<B>; 2],
    /// Which caption it has.
    pub caption: usize,
}

/// A training.
pub struct Session<B: BackKernels> {
    learner: Learner<B>,
    photos: Vec<Photo<B>>,
    recipe: Recipe,
    steps_done: usize,
}

impl<B: BackKernels> Session<B> {
    /// Before its first step. There is at least one photo, and all have latents of one size.
    pub fn new(learner: Learner<B>, photos: Vec<Photo<B>>, recipe: Recipe) -> Self {
        Self {
            learner,
            photos,
            recipe,
            steps_done: 0,
        }
    }

    /// Steps that are done.
    pub fn steps_done(&self) -> usize {
        self.steps_done
    }

    /// Lets half as many pictures go through the networks at once from now on, which gives the same
    /// result with less memory. False where it is one already.
    pub fn halve_at_once(&mut self) -> bool {
        let at_once = self.recipe.at_once.min(self.recipe.pictures);
        self.recipe.at_once = at_once.div_ceil(2).max(1);
        at_once > 1
    }

    /// Makes the next step, at this share of the recipe's rates. Where it found no number, nothing was
    /// learned and the step is not done.
    pub fn step(&mut self, rate_share: f64) -> Result<Found, String> {
        let Recipe {
            pictures, at_once, ..
        } = self.recipe;
        let first = (self.steps_done * pictures) as u64;
        let times = self.learner.times();
        let [_, height, width, channels] = self.photos[0].means[0].dims();
        let draw = |index: u64| {
            let latent = [channels, height, width];
            Draws::new(self.recipe.seed).draw(index, self.photos.len(), times, latent)
        };
        let draws: Vec<Draw> = (first..first + pictures as u64).map(draw).collect();
        let passes = pictures.div_ceil(at_once.max(1));
        let batches: Vec<Batch<B>> = draws
            .chunks(pictures.div_ceil(passes))
            .map(|draws| self.batch(draws))
            .collect();
        let found = self
            .learner
            .step(&batches, self.steps_done, &self.recipe, rate_share)?;
        if found.is_number() {
            self.steps_done += 1;
        }
        Ok(found)
    }

    fn batch(&self, draws: &[Draw]) -> Batch<B> {
        let device = self.learner.device();
        let [_, height, width, channels] = self.photos[0].means[0].dims();
        let maps = |numbers: Vec<f32>| -> Maps<B> {
            let sizes = [1, channels, height, width];
            let planes = Tensor::<B, 4>::from_data(TensorData::new(numbers, sizes), device);
            planes.permute([0, 2, 3, 1])
        };
        let latent = |draw: &Draw| {
            let photo = &self.photos[draw.photo];
            let side = usize::from(draw.mirrored && self.recipe.mirrored);
            photo.means[side].clone()
                + photo.deviations[side].clone() * maps(draw.latent_noise.clone())
        };
        let noise = |draw: &Draw| {
            let share = self.recipe.noise_offset as f32;
            let pixels = height * width;
            let offset = |at: usize| draw.offset[at / pixels] * share;
            let numbers = draw.noise.iter().enumerate();
            maps(numbers.map(|(at, number)| number + offset(at)).collect())
        };
        Batch {
            latents: Tensor::cat(draws.iter().map(latent).collect(), 0),
            noise: Tensor::cat(draws.iter().map(noise).collect(), 0),
            times: draws.iter().map(|draw| draw.time).collect(),
            captions: draws
                .iter()
                .map(|draw| self.photos[draw.photo].caption)
                .collect(),
        }
    }

    /// What has been learned so far, for each layer.
    pub fn updates(&self) -> Result<BTreeMap<Layer, Update>, String> {
        adapters::updates(&self.learner.factors, self.recipe.scale(), numbers_of)
    }

    /// The file from which [`restore`](Self::restore) goes on, with a note of the caller in it.
    pub fn state(&self, note: &str) -> Result<Vec<u8>, String> {
        let mut all = Vec::new();
        for factors in &self.learner.factors {
            for (name, moments) in parts(factors) {
                for (end, tensor) in ["", ".first", ".second"].into_iter().zip([
                    &moments.value,
                    &moments.first,
                    &moments.second,
                ]) {
                    let numbers = numbers_of(tensor.clone())?;
                    all.push((format!("{name}{end}"), tensor.dims(), numbers));
                }
            }
        }
        let tensors: Vec<Named<'_>> = all
            .iter()
            .map(|(name, shape, numbers)| Named {
                name,
                shape,
                numbers,
            })
            .collect();
        let metadata = BTreeMap::from([
            (KIND.0.to_owned(), KIND.1.to_owned()),
            (STEPS_DONE.to_owned(), self.steps_done.to_string()),
            (RECIPE.to_owned(), self.recipe_as_text()),
            (NOTE.to_owned(), note.to_owned()),
        ]);
        let mut file = Vec::new();
        write_safetensors(&tensors, &metadata, Kept::Full, &mut file)
            .map_err(|error| error.to_string())?;
        Ok(file)
    }

    /// Goes on from a state, and gives the note that is in it. An error says what does not fit; the
    /// session is then as it was.
    pub fn restore(&mut self, file: &Container) -> Result<String, String> {
        let of = |name: &str| file.metadata().get(name).map(String::as_str);
        if of(KIND.0) != Some(KIND.1) {
            return Err(String::from("the file is no saved state of a training"));
        }
        let steps_done: usize = of(STEPS_DONE)
            .and_then(|text| text.parse().ok())
            .filter(|&done| done <= self.recipe.steps)
            .ok_or("the file does not say how many steps are done")?;
        if of(RECIPE) != Some(&self.recipe_as_text()) {
            return Err(String::from("it was trained by another recipe"));
        }
        let device = self.learner.device().clone();
        let read = |name: &str, sizes: [usize; 2]| {
            let view = file.get(name).filter(|view| view.shape == sizes);
            let numbers = view.and_then(|view| view.to_f32());
            let numbers = numbers.ok_or_else(|| format!("{name} is missing or has other sizes"))?;
            Ok::<_, String>(adapters::matrix(numbers, sizes, &device))
        };
        let mut restored = Vec::new();
        for factors in &self.learner.factors {
            for (name, moments) in parts(factors) {
                let sizes = moments.value.dims();
                restored.push(Moments {
                    value: read(&name, sizes)?,
                    first: read(&format!("{name}.first"), sizes)?,
                    second: read(&format!("{name}.second"), sizes)?,
                });
            }
        }
        let mut restored = restored.into_iter();
        for factors in &mut self.learner.factors {
            for moments in [&mut factors.down, &mut factors.up] {
                if let Some(found) = restored.next() {
                    *moments = found;
                }
            }
        }
        self.steps_done = steps_done;
        Ok(of(NOTE).unwrap_or_default().to_owned())
    }

    /// The recipe, as far as results depend on it.
    fn recipe_as_text(&self) -> String {
        let recipe = Recipe {
            at_once: 0,
            ..self.recipe.clone()
        };
        format!("{recipe:?}")
    }
}

/// The factors of a layer with their names in the file of a state.
fn parts<B: BackKernels>(factors: &Factors<B>) -> [(String, &Moments<B>); 2] {
    let module = kohya_name(factors.layer.network, &factors.layer.path);
    [
        (format!("{module}.down"), &factors.down),
        (format!("{module}.up"), &factors.up),
    ]
}

fn numbers_of<B: BackKernels>(tensor: Tensor<B, 2>) -> Result<Vec<f32>, String> {
    let data = tensor
        .try_into_data()
        .map_err(|error| format!("{error:?}"))?;
    data.into_vec::<f32>().map_err(|error| format!("{error:?}"))
}
