//! Whole runs, with a network that is a formula, and the file of expected samples, which
//! `tests/reference/sampling.py` makes.

mod plans;
mod references;

use std::fs;

use safetensors::{Dtype, SafeTensors};

use super::*;

const VALUES: usize = 16;

struct Fixture {
    bytes: Vec<u8>,
}

impl Fixture {
    fn open() -> Self {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/reference/fixtures/sampling.safetensors"
        );
        let bytes = fs::read(path).unwrap();
        Self { bytes }
    }

    fn values(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap_or_else(|_| panic!("{name}"));
        match tensor.dtype() {
            Dtype::F64 => {
                let words = tensor.data().as_chunks().0.iter();
                words.map(|&word| f64::from_le_bytes(word)).collect()
            }
            _ => {
                let words = tensor.data().as_chunks().0.iter();
                words
                    .map(|&word| f64::from(f32::from_le_bytes(word)))
                    .collect()
            }
        }
    }

    /// The samples of a plan in their order, variance exploding, and the last one without the finish.
    fn run(&self, plan: &Plan, prediction: Prediction) -> Vec<Vec<f64>> {
        let (noise, latent) = (self.values("noise"), self.values("latent"));
        let mut draws = noise.chunks_exact(VALUES);
        let mut draw = || draws.next().unwrap();
        let mut x = add(
            &scaled(plan.start.latent, &latent),
            plan.start.noise,
            draw(),
        );
        let mut base = x.clone();
        let mut path = vec![x.clone()];
        let mut history: Vec<Vec<f64>> = Vec::new();
        for evaluation in &plan.evaluations {
            if let Some(scale) = evaluation.churn {
                x = add(&x, scale, draw());
            }
            let scalings = prediction.scalings(evaluation.sigma);
            let answer = network(&scaled(scalings.input, &x), evaluation.timestep);
            let denoised = add(&scaled(scalings.skip, &x), scalings.output, &answer);
            history.insert(0, denoised);
            history.truncate(HISTORY_MAX);
            base = match &evaluation.correct {
                Some(correct) => combine(correct, &base, &history),
                None => x,
            };
            x = combine(&evaluation.advance, &base, &history);
            if let Some(scale) = evaluation.advance.noise {
                x = add(&x, scale, draw());
            }
            path.push(x.clone());
        }
        path
    }

    fn assert_path(&self, case: &str, plan: &Plan, tolerance: f64) {
        let path = self.run(plan, Prediction::Epsilon);
        self.assert_same(case, &path, tolerance);
    }

    fn assert_same(&self, case: &str, path: &[Vec<f64>], tolerance: f64) {
        let expected = self.values(&format!("path/{case}"));
        assert_eq!(path.len() * VALUES, expected.len(), "{case}");
        for (index, (got, want)) in path.iter().zip(expected.chunks_exact(VALUES)).enumerate() {
            let error = error(got, want);
            assert!(
                error < tolerance,
                "{case}: sample {index} is off by {error:e}"
            );
        }
    }
}

fn network(x: &[f64], timestep: f64) -> Vec<f64> {
    let value = |place: usize| {
        let bend = 0.6 + 0.4 * (timestep / 170.0).sin();
        let bent = (x[place] * bend + 0.3 * place as f64 / VALUES as f64).tanh();
        0.9 * bent + 0.2 * (timestep / 90.0).cos() * x[(place + 1) % VALUES]
    };
    (0..VALUES).map(value).collect()
}

fn scaled(scale: f64, values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| scale * value).collect()
}

fn add(values: &[f64], scale: f64, other: &[f64]) -> Vec<f64> {
    let pairs = values.iter().zip(other);
    pairs.map(|(value, other)| value + scale * other).collect()
}

fn combine(combination: &Combination, base: &[f64], history: &[Vec<f64>]) -> Vec<f64> {
    assert!(
        combination.denoised.len() <= history.len(),
        "a picture that is not there"
    );
    let terms = combination.denoised.iter().zip(history);
    let start = scaled(combination.sample, base);
    terms.fold(start, |sum, (&factor, picture)| add(&sum, factor, picture))
}

/// The largest difference as a share of the largest value.
fn error(got: &[f64], want: &[f64]) -> f64 {
    let largest = want
        .iter()
        .fold(0.0, |most: f64, value| most.max(value.abs()));
    let pairs = got.iter().zip(want);
    // A value that is no number has to be seen too.
    let error = pairs.map(|(got, want)| (got - want).abs());
    error.fold(0.0, |most: f64, error| {
        if error > most || error.is_nan() {
            error
        } else {
            most
        }
    }) / largest
}

fn schedule() -> Schedule {
    Schedule::new(Betas::default()).unwrap()
}

fn planned(
    method: Method,
    spacing: Spacing,
    steps: usize,
    change: impl FnOnce(&mut Request),
) -> Plan {
    let mut request = Request::new(method, spacing, steps);
    change(&mut request);
    plan(&schedule(), &request).unwrap()
}

fn from_picture(strength: f64) -> impl FnOnce(&mut Request) {
    move |request| request.from_picture = Some(FromPicture::new(strength))
}

/// All steps of DDIM as diffusers spaces them, "leading" with an offset of 1, down to the lowest.
pub(in crate::models) fn ddim_of_diffusers(schedule: &Schedule, steps: usize) -> Plan {
    let stride = schedule.train_steps() / steps;
    let timesteps: Vec<usize> = (0..steps).rev().map(|step| step * stride + 1).collect();
    Plan {
        start: Start {
            latent: 1.0,
            noise: 1.0 / schedule.signal(timesteps[0]).sqrt(),
        },
        evaluations: method::ddim(schedule, &timesteps, 0, 0.0),
        finish: schedule.signal(0).sqrt(),
    }
}
