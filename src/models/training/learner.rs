//! Networks that learn: from latents, noise and captions to a loss and its gradients.

use burn::Tensor;
use burn::tensor::{DType, Int, TensorData};

use super::adapters::{Factors, Leaves, adapters_of};
use super::objective;
use super::optimizer::{adam, clip};
use super::recipe::Recipe;
use crate::models::clip::TextEncoder;
use crate::models::lora::Network;
use crate::models::nn::{BackKernels, Layers, Learning, Maps, Place, Tokens};
use crate::models::sampling::{Prediction, Schedule};
use crate::models::unet::Unet;
use crate::models::weights::{Checkpoint, WeightsError};

/// Pictures that go through the networks at once.
#[derive(Clone, Debug)]
pub struct Batch<B: BackKernels> {
    /// Latents in the scale of the UNet, `[b, h, w, c]`, in 32-bit floats.
    pub latents: Maps<B>,
    /// What is added to them, `[b, h, w, c]`.
    pub noise: Maps<B>,
    /// A time step for each.
    pub times: Vec<usize>,
    /// Which caption each has.
    pub captions: Vec<usize>,
}

/// Networks with what learns beside them.
pub struct Learner<B: BackKernels> {
    place: Place<B>,
    schedule: Schedule,
    prediction: Prediction,
    unet: Unet<Learning<B>>,
    text: TextEncoder<Learning<B>>,
    /// All of one length.
    captions: Vec<Vec<u32>>,
    /// What the UNet attends to, where the text encoder does not learn: `[captions, tokens, width]`.
    fixed: Option<Tokens<B>>,
    /// Those of the UNet, then those of the text encoder.
    pub factors: Vec<Factors<B>>,
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Mean of the weighted squares of errors.
    pub loss: f64,
    /// Length of all gradients together, before it was limited.
    pub gradient: f64,
}

impl Found {
    /// Whether both are finite numbers, so that there was something to learn from.
    pub fn is_number(self) -> bool {
        self.loss.is_finite() && self.gradient.is_finite()
    }
}

impl<B: BackKernels> Learner<B> {
    /// Loads the networks of a checkpoint. `captions` are the tokens of each, all equally many.
    pub fn open(
        checkpoint: &Checkpoint,
        place: &Place<B>,
        schedule: Schedule,
        prediction: Prediction,
        captions: Vec<Vec<u32>>,
        recipe: &Recipe,
    ) -> Result<Self, WeightsError> {
        let learning = Place::<Learning<B>> {
            device: place.device.clone(),
            precision: place.precision,
        };
        let part = &checkpoint.unet;
        let (unet, layers) = Layers::load(&part.source(), learning.clone(), |builder| {
            Unet::new(builder, &part.config)
        })?;
        let mut factors = adapters_of(Network::Unet, &layers, recipe, &place.device);
        let part = &checkpoint.text;
        let (text, layers) = Layers::load(&part.source(), learning, |builder| {
            TextEncoder::new(builder, &part.config)
        })?;
        let mut fixed = None;
        if recipe.text_rate.is_some() {
            factors.extend(adapters_of(Network::Text, &layers, recipe, &place.device));
        } else {
            fixed = Some(text.forward(text.embed(&captions), 0).inner());
        }
        Ok(Self {
            place: place.clone(),
            schedule,
            prediction,
            unet,
            text,
            captions,
            fixed,
            factors,
        })
    }

    /// How many time steps there are.
    pub fn times(&self) -> usize {
        self.schedule.train_steps()
    }

    /// Where it runs.
    pub fn device(&self) -> &B::Device {
        &self.place.device
    }

    /// The mean of the weighted squares of the network's errors over a batch.
    fn loss(&self, batch: &Batch<B>, min_snr: Option<f64>) -> Tensor<Learning<B>, 1> {
        let dtype = self.place.precision.dtype();
        let of_each = |number: &dyn Fn(usize) -> f64| -> Maps<B> {
            let numbers: Vec<f32> = batch
                .times
                .iter()
                .map(|&time| number(time) as f32)
                .collect();
            let sizes = [batch.times.len(), 1, 1, 1];
            Tensor::from_data(TensorData::new(numbers, sizes), &self.place.device)
        };
        let mix = |[of_picture, of_noise]: [Maps<B>; 2]| {
            batch.latents.clone() * of_picture + batch.noise.clone() * of_noise
        };
        let (schedule, prediction) = (&self.schedule, self.prediction);
        let noisy = mix([0, 1].map(|at| of_each(&|time| objective::shares(schedule, time)[at])));
        let target = mix(
            [1, 0].map(|at| of_each(&|time| objective::target(schedule, prediction, time)[at]))
        );
        let weight = of_each(&|time| objective::weight(schedule, prediction, min_snr, time));
        let times: Vec<f64> = batch.times.iter().map(|&time| time as f64).collect();
        let noisy = Tensor::from_inner(noisy.cast(dtype));
        let said = self
            .unet
            .forward(noisy, &times, &self.text(&batch.captions), None);
        let error = said.cast(DType::F32) - Tensor::from_inner(target);
        (error.square() * Tensor::from_inner(weight)).mean()
    }

    /// What the UNet attends to for each picture: `[b, tokens, width]`.
    fn text(&self, captions: &[usize]) -> Tokens<Learning<B>> {
        let all = match &self.fixed {
            Some(fixed) => Tensor::from_inner(fixed.clone()),
            None => self.text.forward(self.text.embed(&self.captions), 0),
        };
        let all = all.cast(self.place.precision.dtype());
        let [_, tokens, width] = all.dims();
        if self.captions.len() == 1 {
            return all.expand([captions.len(), tokens, width]);
        }
        let which: Vec<i32> = captions.iter().map(|&caption| caption as i32).collect();
        let which = TensorData::new(which, [captions.len()]);
        all.select(
            0,
            Tensor::<Learning<B>, 1, Int>::from_data(which, &self.place.device),
        )
    }

    /// The mean loss over the pictures of one step and its gradients for all factors, in as many passes
    /// as there are batches.
    pub fn gradients(&self, batches: &[Batch<B>], min_snr: Option<f64>) -> Gradients<B> {
        let pictures: usize = batches.iter().map(|batch| batch.times.len()).sum();
        let mut sum: Option<Gradients<B>> = None;
        for batch in batches {
            let leaves: Vec<Leaves<B>> = self.factors.iter().map(Factors::put).collect();
            let share = batch.times.len() as f64 / pictures as f64;
            let loss = self.loss(batch, min_snr) * share;
            let mut found = loss.backward();
            let mut of_leaf = |leaf: &Tensor<Learning<B>, 2>| {
                leaf.grad_remove(&mut found)
                    .unwrap_or_else(|| leaf.clone().inner().zeros_like())
            };
            let own = Gradients {
                loss: loss.inner(),
                of_factors: leaves.iter().flatten().map(&mut of_leaf).collect(),
            };
            sum = Some(match sum {
                Some(sum) => sum.plus(own),
                None => own,
            });
        }
        sum.unwrap_or_else(|| Gradients {
            loss: Tensor::zeros([1], &self.place.device),
            of_factors: Vec::new(),
        })
    }

    /// Learns from the pictures of one step, in as many passes as there are batches, and says what it
    /// found. `step` counts from 0, and the rates are this share of the recipe's. Nothing is changed where
    /// the loss or the gradient is not a number.
    pub fn step(
        &mut self,
        batches: &[Batch<B>],
        step: usize,
        recipe: &Recipe,
        rate_share: f64,
    ) -> Result<Found, String> {
        let Gradients { loss, of_factors } = self.gradients(batches, recipe.min_snr);
        let Some([factor, length]) = clip(&of_factors, recipe.clip) else {
            return Err(String::from("there is nothing to learn from"));
        };
        let both = Tensor::cat(vec![loss, length.reshape([1])], 0);
        let both = both
            .try_into_data()
            .map_err(|error| format!("{error:?}"))?
            .into_vec::<f32>()
            .map_err(|error| format!("{error:?}"))?;
        let found = Found {
            loss: f64::from(both[0]),
            gradient: f64::from(both[1]),
        };
        if !found.is_number() {
            return Ok(found);
        }
        let share = recipe.curve.share(step, recipe.steps) * rate_share;
        let mut gradients = of_factors.into_iter();
        for factors in &mut self.factors {
            let rate = match factors.layer.network {
                Network::Unet => recipe.unet_rate,
                Network::Text => recipe.text_rate.unwrap_or(0.0),
            };
            let adam = adam(step as u32 + 1, rate * share, recipe.decay);
            let both = [&mut factors.down, &mut factors.up];
            for (moments, gradient) in both.into_iter().zip(&mut gradients) {
                *moments = B::adamw(moments.clone(), gradient, &factor, &adam);
            }
        }
        Ok(found)
    }
}

/// A loss with its gradients.
pub struct Gradients<B: BackKernels> {
    /// Mean of the weighted squares of errors, a single number.
    pub loss: Tensor<B, 1>,
    /// Those of `down` and of `up` of each of the learner's factors, in their order.
    pub of_factors: Vec<Tensor<B, 2>>,
}

impl<B: BackKernels> Gradients<B> {
    fn plus(self, other: Self) -> Self {
        let both = self.of_factors.into_iter().zip(other.of_factors);
        Self {
            loss: self.loss + other.loss,
            of_factors: both.map(|(one, other)| one + other).collect(),
        }
    }
}
