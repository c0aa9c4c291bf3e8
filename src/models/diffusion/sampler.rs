//! Carries out the plan of a sampler with the UNet.

use burn::tensor::{DType, Int, TensorData};
use burn::{Tensor, tensor::backend::Backend};

use super::control::Ready;
use super::pictures::{latents_to_maps, planes_to_maps};
use super::{DiffusionError, Flow, Job, Prompted, Stage, Text, Watch};
use crate::models::nn::{Kernels, Maps, Place, Tokens};
use crate::models::sampling::{Combination, Evaluation, HISTORY_MAX, Prediction};
use crate::models::unet::Unet;

/// After so many steps the device is waited for, so that progress is true and a stop is heard.
const STEPS_AHEAD: usize = 4;

/// Shows a preview of an estimate to who looks on.
pub(super) type Preview<'a, B> = &'a dyn Fn(Maps<B>, &mut dyn Watch) -> Result<(), DiffusionError>;

/// What a run works with.
pub(super) struct Sampler<'a, B: Kernels> {
    pub(super) unet: &'a Unet<B>,
    pub(super) place: &'a Place<B>,
    pub(super) prediction: Prediction,
    pub(super) controls: Vec<Ready<'a, B>>,
    pub(super) preview: Preview<'a, B>,
}

impl<B: Kernels> Sampler<'_, B> {
    /// Runs all steps: the latents `[b, h, w, c]` that came out.
    pub(super) fn run(
        &self,
        job: &mut Job<'_>,
        watch: &mut dyn Watch,
    ) -> Result<Maps<B>, DiffusionError> {
        let device = &self.place.device;
        let sizes = job.sizes;
        let total = job.plan.evaluations.len();
        let original = job
            .mask
            .map(|mask| latents_to_maps::<B>(&mask.original, device));
        let new = job.mask.map(|mask| {
            let [_, _, height, width] = sizes;
            planes_to_maps::<B>(mask.new.clone(), [1, 1, height, width], device)
        });
        let blend = |maps: Maps<B>| match (&original, &new) {
            (Some(original), Some(new)) => {
                original.clone() + (maps - original.clone()) * new.clone()
            }
            _ => maps,
        };
        let mut draw = || planes_to_maps::<B>(job.noise.draw(), sizes, device);

        let mut sample = draw() * job.plan.start.noise;
        if let Some(start) = job.start {
            sample = sample + latents_to_maps::<B>(start, device) * job.plan.start.latent;
        }
        let mut history: Vec<Maps<B>> = Vec::with_capacity(HISTORY_MAX);
        let mut base: Option<Maps<B>> = None;
        let mut asked = None;
        for (step, evaluation) in job.plan.evaluations.iter().enumerate() {
            if step % STEPS_AHEAD == 0 {
                self.wait()?;
            }
            match watch.step(Stage::Sample, step, total) {
                Flow::Go => {}
                Flow::Stop => return Err(DiffusionError::Stopped),
                // The newest estimate is the best picture so far.
                Flow::Finish => return Ok(blend(history.into_iter().next().unwrap_or(sample))),
            }
            if let Some(churn) = evaluation.churn {
                sample = sample + draw() * churn;
            }
            let questions = Questions::at(step, job.positive, job.negative, job.guidance);
            let answers = match asked.take().filter(|old: &Asked<B>| old.key == questions) {
                Some(old) => old,
                None => Asked {
                    questions: questions.upload(self.place),
                    key: questions,
                },
            };
            let denoised = self.denoise(&sample, evaluation, &answers, (step, total));
            asked = Some(answers);
            let denoised = blend(denoised);
            if watch.wants_preview() {
                (self.preview)(denoised.clone(), watch)?;
            }
            history.insert(0, denoised);
            history.truncate(HISTORY_MAX);
            let from = match (&evaluation.correct, base) {
                (Some(correct), Some(base)) => combine(correct, base, &history, &mut draw),
                _ => sample,
            };
            sample = combine(&evaluation.advance, from.clone(), &history, &mut draw);
            base = Some(from);
        }
        Ok(blend(sample * job.plan.finish))
    }

    fn wait(&self) -> Result<(), DiffusionError> {
        B::sync(&self.place.device).map_err(|error| DiffusionError::Device {
            device: format!("{:?}", self.place.device),
            reason: format!("{error:?}"),
        })
    }

    /// The picture that the network sees behind the noise, with guidance: `[b, h, w, c]`.
    fn denoise(
        &self,
        sample: &Maps<B>,
        evaluation: &Evaluation,
        asked: &Asked<B>,
        (step, steps): (usize, usize),
    ) -> Maps<B> {
        let scalings = self.prediction.scalings(evaluation.sigma);
        let input = (sample.clone() * scalings.input).cast(self.place.precision.dtype());
        let answers: Vec<Maps<B>> = asked
            .questions
            .iter()
            .map(|group| {
                let latents = input.clone().select(0, group.pictures.clone());
                let times = vec![evaluation.timestep; group.negative.len()];
                let speaking = self
                    .controls
                    .iter()
                    .filter(|ready| ready.speaks(step, steps));
                let said = speaking
                    .map(|ready| ready.says(latents.clone(), &times, &group.text, &group.negative))
                    .reduce(|mut all, said| {
                        all.add(said);
                        all
                    });
                let answer = self.unet.forward(latents, &times, &group.text, said);
                answer.cast(DType::F32)
            })
            .collect();
        let guided = asked.key.guide(&answers);
        sample.clone() * scalings.skip + guided * scalings.output
    }
}

/// `sample * base + denoised[0] * history[0] + ... [+ noise * draw()]`
fn combine<B: Backend>(
    combination: &Combination,
    base: Tensor<B, 4>,
    history: &[Tensor<B, 4>],
    draw: &mut impl FnMut() -> Tensor<B, 4>,
) -> Tensor<B, 4> {
    let mut sum = base * combination.sample;
    for (factor, denoised) in combination.denoised.iter().zip(history) {
        sum = sum + denoised.clone() * *factor;
    }
    match combination.noise {
        Some(noise) => sum + draw() * noise,
        None => sum,
    }
}

/// A text that the network is asked about for a picture.
#[derive(Clone, Debug, PartialEq)]
struct Question {
    picture: usize,
    text: Text,
    is_negative: bool,
    /// Share of its answer in the guided one.
    share: f64,
}

/// All questions of a step, in groups of texts of equal length. A group is asked at once.
#[derive(Clone, Debug, PartialEq)]
struct Questions {
    groups: Vec<Vec<Question>>,
    pictures: usize,
}

impl Questions {
    fn at(step: usize, positive: &[Prompted], negative: &[Prompted], guidance: f64) -> Self {
        let mut groups: Vec<Vec<Question>> = Vec::new();
        let mut ask = |question: Question| {
            let group = groups
                .iter_mut()
                .find(|group| group[0].text.tokens == question.text.tokens);
            match group {
                Some(group) => group.push(question),
                None => groups.push(vec![question]),
            }
        };
        for (picture, prompted) in positive.iter().enumerate() {
            for (text, weight) in prompted.at(step) {
                ask(Question {
                    picture,
                    text: text.clone(),
                    is_negative: false,
                    share: weight * guidance,
                });
            }
        }
        // D = D_negative + guidance * sum of weight * (D_positive - D_negative)
        for (picture, prompted) in negative.iter().enumerate() {
            let positive = positive.get(picture).map_or(&[][..], |one| one.at(step));
            let taken: f64 = positive.iter().map(|(_, weight)| weight * guidance).sum();
            let texts = prompted.at(step);
            if (1.0 - taken).abs() < 1e-9 {
                continue;
            }
            for (text, _) in texts.iter().take(1) {
                ask(Question {
                    picture,
                    text: text.clone(),
                    is_negative: true,
                    share: 1.0 - taken,
                });
            }
        }
        Self {
            groups,
            pictures: positive.len(),
        }
    }

    fn upload<B: Kernels>(&self, place: &Place<B>) -> Vec<Group<B>> {
        let group = |questions: &Vec<Question>| {
            let Text { tokens, width, .. } = questions[0].text;
            let numbers: Vec<f32> = questions
                .iter()
                .flat_map(|question| question.text.numbers.iter().copied())
                .collect();
            let data = TensorData::new(numbers, [questions.len(), tokens, width]);
            let pictures: Vec<i32> = questions
                .iter()
                .map(|question| question.picture as i32)
                .collect();
            let count = pictures.len();
            Group {
                text: Tensor::<B, 3>::from_data(data, &place.device).cast(place.precision.dtype()),
                pictures: Tensor::from_data(TensorData::new(pictures, [count]), &place.device),
                negative: questions
                    .iter()
                    .map(|question| question.is_negative)
                    .collect(),
            }
        };
        self.groups.iter().map(group).collect()
    }

    /// The guided answer of each picture from those of each group.
    fn guide<B: Kernels>(&self, answers: &[Maps<B>]) -> Maps<B> {
        let one = |picture: usize| {
            let questions = self
                .groups
                .iter()
                .zip(answers)
                .flat_map(|(group, answers)| {
                    let asked = group.iter().enumerate();
                    asked
                        .filter(move |(_, question)| question.picture == picture)
                        .map(|(index, question)| {
                            answers.clone().narrow(0, index, 1) * question.share
                        })
                });
            questions.reduce(|sum, answer| sum + answer)
        };
        let guided: Vec<Maps<B>> = (0..self.pictures).filter_map(one).collect();
        Tensor::cat(guided, 0)
    }
}

/// A group on the device.
struct Group<B: Kernels> {
    /// `[questions, tokens, width]`
    text: Tokens<B>,
    /// The picture of each question.
    pictures: Tensor<B, 1, Int>,
    negative: Vec<bool>,
}

/// Questions with their texts on the device.
struct Asked<B: Kernels> {
    key: Questions,
    questions: Vec<Group<B>>,
}
