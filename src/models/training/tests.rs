//! Trainings against PyTorch and PEFT (`tests/reference/lora_training.py`).

mod sessions;

use burn::backend::Flex;
use burn::tensor::TensorData;
use burn::{Dispatch, Tensor};

use super::learner::{Batch, Gradients, Learner};
use super::recipe::{Curve, Recipe};
use crate::models::lora::kohya_name;
use crate::models::nn::{BackKernels, Maps};
use crate::models::reference::{Fixture, OnCpu, folder, place};
use crate::models::sampling::{Betas, Prediction, Schedule};
use crate::models::weights::{Checkpoint, Files};

const STEPS: usize = 10;

/// One of the reference's trainings.
struct Case {
    name: &'static str,
    /// From where latents and noise are, where they are another's.
    inputs: &'static str,
    prediction: Prediction,
    recipe: Recipe,
    micro_batches: usize,
}

fn cases() -> [Case; 4] {
    let recipe = Recipe {
        rank: 4,
        alpha: 2.0,
        unet_rate: 1e-3,
        text_rate: Some(5e-4),
        steps: STEPS,
        ..Recipe::default()
    };
    let case = |name, recipe| Case {
        name,
        inputs: name,
        prediction: Prediction::Epsilon,
        recipe,
        micro_batches: 1,
    };
    let full = Recipe {
        min_snr: Some(5.0),
        noise_offset: 0.1,
        curve: Curve::Cosine,
        ..recipe.clone()
    };
    let velocity = Recipe {
        min_snr: Some(5.0),
        text_rate: None,
        ..recipe.clone()
    };
    [
        case("plain", recipe.clone()),
        Case {
            inputs: "plain",
            ..case("first", recipe)
        },
        Case {
            micro_batches: 2,
            ..case("full", full)
        },
        Case {
            prediction: Prediction::Velocity,
            ..case("velocity", velocity)
        },
    ]
}

fn checkpoint() -> Box<Checkpoint> {
    match Files::open(&folder().join("tiny")).unwrap() {
        Files::Checkpoint(checkpoint) => checkpoint,
        _ => panic!("the folder is no checkpoint"),
    }
}

/// The tokens of each picture of a training.
fn captions(fixture: &Fixture, inputs: &str) -> Vec<Vec<u32>> {
    let name = format!("{inputs}.tokens");
    let length = fixture.sizes(&name)[1];
    let tokens = fixture.numbers(&name).chunks(length);
    tokens
        .map(|tokens| tokens.iter().map(|&token| token as u32).collect())
        .collect()
}

impl Case {
    /// The networks with the factors that the reference begins with.
    fn learner<B: OnCpu + BackKernels>(&self, fixture: &Fixture) -> Learner<B> {
        let mut learner = Learner::open(
            &checkpoint(),
            &place(),
            Schedule::new(Betas::default()).unwrap(),
            self.prediction,
            captions(fixture, self.inputs),
            &self.recipe,
        )
        .unwrap();
        for factors in &mut learner.factors {
            let module = kohya_name(factors.layer.network, &factors.layer.path);
            let parts = [("down", &mut factors.down), ("up", &mut factors.up)];
            for (end, moments) in parts {
                let name = format!("start.{module}.lora_{end}.weight");
                let sizes = moments.value.dims();
                let mut numbers = fixture.numbers(&name).to_vec();
                if self.name == "first" && end == "up" {
                    numbers.fill(0.0);
                }
                moments.value = Tensor::from_data(TensorData::new(numbers, sizes), &B::cpu());
            }
        }
        learner
    }

    /// The pictures of a step.
    fn batches<B: OnCpu + BackKernels>(&self, fixture: &Fixture, step: usize) -> Vec<Batch<B>> {
        let name = |part: &str| format!("{}.{part}", self.inputs);
        let batch = fixture.sizes(&name("tokens"))[0];
        let maps = |part: &str| fixture.maps::<B>(&name(part));
        let mut noise = maps("noise");
        if self.recipe.noise_offset > 0.0 {
            let offset = fixture
                .tensor::<B, 2>(&name("offset"))
                .unsqueeze_dims::<4>(&[1, 1]);
            noise = noise + offset * self.recipe.noise_offset;
        }
        let latents = maps("latents");
        let times = fixture.numbers(&name("timesteps"));
        let batch_at = |at: usize| {
            let first = (step * self.micro_batches + at) * batch;
            let rows = |maps: &Maps<B>| maps.clone().narrow(0, first, batch);
            Batch {
                latents: rows(&latents),
                noise: rows(&noise),
                times: times[first..first + batch]
                    .iter()
                    .map(|&time| time as usize)
                    .collect(),
                captions: (0..batch).collect(),
            }
        };
        (0..self.micro_batches).map(batch_at).collect()
    }
}

/// The largest difference as a share of the largest number.
fn apart(got: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(got.len(), wanted.len());
    let largest = wanted.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let difference = got.iter().zip(wanted).map(|(a, b)| (a - b).abs());
    difference.fold(0.0_f32, f32::max) / largest
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn numbers<B: BackKernels, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().into_vec().unwrap()
}

/// Losses and gradients differ from those of 64-bit floats by 1e-6 and 1e-5 in the reference itself.
fn gradients_are_those_of_pytorch<B: OnCpu + BackKernels>() {
    let fixture = Fixture::open("training.safetensors");
    for case in cases().iter().filter(|case| case.name != "first") {
        let learner: Learner<B> = case.learner(&fixture);
        let batches = case.batches(&fixture, 0);
        let Gradients { of_factors, .. } = learner.gradients(&batches, case.recipe.min_snr);
        let mut gradients = of_factors.into_iter();
        for factors in &learner.factors {
            let module = kohya_name(factors.layer.network, &factors.layer.path);
            for end in ["down", "up"] {
                let name = format!("{}.gradient.{module}.lora_{end}.weight", case.name);
                let apart = apart(&numbers(gradients.next().unwrap()), fixture.numbers(&name));
                assert!(apart < 1e-4, "{name}: {apart}");
            }
        }
    }
}

#[test]
fn gradients_are_those_of_pytorch_on_the_cpus_kernels() {
    gradients_are_those_of_pytorch::<Flex>();
}

#[test]
fn gradients_are_those_of_pytorch_on_any_device() {
    gradients_are_those_of_pytorch::<Dispatch>();
}

fn ten_steps_go_as_in_pytorch<B: OnCpu + BackKernels>() {
    let fixture = Fixture::open("training.safetensors");
    for case in cases() {
        let mut learner: Learner<B> = case.learner(&fixture);
        let losses = fixture.numbers(&format!("{}.losses", case.name));
        let norms = fixture.numbers(&format!("{}.norms", case.name));
        for step in 0..STEPS {
            let batches = case.batches(&fixture, step);
            let found = learner.step(&batches, step, &case.recipe, 1.0).unwrap();
            let own = &losses[step * case.micro_batches..][..case.micro_batches];
            let wanted = own.iter().sum::<f32>() / own.len() as f32;
            let (name, wanted) = (case.name, f64::from(wanted));
            let apart = (found.loss - wanted).abs();
            assert!(apart < 1e-4, "{name}, step {step}: {} {wanted}", found.loss);
            let apart = (found.gradient / f64::from(norms[step]) - 1.0).abs();
            assert!(
                apart < 1e-3,
                "{name}, step {step}: {} {}",
                found.gradient,
                norms[step]
            );
        }
        for factors in &learner.factors {
            let module = kohya_name(factors.layer.network, &factors.layer.path);
            for (end, moments) in [("down", &factors.down), ("up", &factors.up)] {
                let name = format!("{}.trained.{module}.lora_{end}.weight", case.name);
                let cosine = cosine(&numbers(moments.value.clone()), fixture.numbers(&name));
                assert!(cosine > 0.9999, "{name}: {cosine}");
            }
        }
    }
}

#[test]
fn ten_steps_go_as_in_pytorch_on_the_cpus_kernels() {
    ten_steps_go_as_in_pytorch::<Flex>();
}

#[test]
fn ten_steps_go_as_in_pytorch_on_any_device() {
    ten_steps_go_as_in_pytorch::<Dispatch>();
}
