//! UniPC (Zhao et al. 2023): a predictor like DPM-Solver++ of higher order, and a corrector that uses
//! each denoised picture once more, for the step that led to it.
//!
//! Time is `-ln(sigma)`, and a step from `s` to `t` is `h` long. Earlier places are told relative to it,
//! `r_k = (time_k - time_s) / h`, and `r = 1` is the place where the step ends. Variance exploding, both
//! the predictor and the corrector are
//!
//! ```text
//! x' = (s' / s) x - (exp(-h) - 1) D_s - B sum_k w_k (D_k - D_s) / r_k
//! ```
//!
//! with `B = -h` (bh1) or `exp(-h) - 1` (bh2). The weights solve `sum_k r_k^(m-1) w_k = b_m`, where
//! `b_m = m! phi_(m+1)(-h) (-h) / B` with `phi_1(z) = (exp(z) - 1) / z` and
//! `phi_(m+1)(z) = (phi_m(z) - 1 / m!) / z`. The corrector's sum has the end of the step, the predictor's
//! has not. Where one weight is sought, the authors take a half.

use super::super::plan::{BhVariant, Combination, Evaluation, UniPc};

/// A level of noise and its time step.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub sigma: f64,
    pub timestep: f64,
}

/// One evaluation at each place but the last, which is where the sample is at the end. Sigma falls from
/// place to place, and may be zero at the end.
///
/// The order rises at the start, as denoised pictures come in, and falls at the end where the options say
/// so. It is less than asked for in runs that are shorter, which the WebUI refuses.
pub fn unipc(places: &[Place], options: UniPc) -> Vec<Evaluation> {
    let steps = places.len() - 1;
    let order = |step: usize| {
        let left = if options.lower_order_final {
            steps - step
        } else {
            steps
        };
        options.order.min(step + 1).min(left)
    };
    let evaluation = |step: usize| {
        let place = places[step];
        let leap = |from: usize| Leap::new(places, from, order(from), options.variant);
        Evaluation {
            churn: None,
            sigma: place.sigma,
            timestep: place.timestep,
            correct: step.checked_sub(1).map(|last| leap(last).corrector()),
            advance: leap(step).predictor(),
        }
    };
    (0..steps).map(evaluation).collect()
}

/// One step from a place to the next.
struct Leap {
    /// Sigma of the end as a share of that of the start.
    kept: f64,
    /// `exp(-h) - 1`.
    decay: f64,
    /// `B` of the formula.
    scale: f64,
    /// `-h`.
    length: f64,
    /// Where earlier denoised pictures are, newest first; as many as the order asks for.
    ratios: Vec<f64>,
}

impl Leap {
    fn new(places: &[Place], from: usize, order: usize, variant: BhVariant) -> Self {
        let time = |place: usize| -places[place].sigma.ln();
        let kept = places[from + 1].sigma / places[from].sigma;
        let length = -(time(from + 1) - time(from));
        let decay = kept - 1.0;
        // A step to sigma zero is endless, and has no places relative to it.
        let count = if length.is_finite() { order - 1 } else { 0 };
        let ratio = |back: usize| (time(from - back) - time(from)) / -length;
        Self {
            kept,
            decay,
            scale: match variant {
                BhVariant::Bh1 => length,
                BhVariant::Bh2 => decay,
            },
            length,
            ratios: (1..=count).map(ratio).collect(),
        }
    }

    fn predictor(&self) -> Combination {
        let weights = match self.ratios.len() {
            0 => Vec::new(),
            1 => vec![0.5],
            _ => self.weights(&self.ratios),
        };
        let mut denoised = vec![-self.decay];
        self.spread(&weights, &mut denoised);
        Combination {
            sample: self.kept,
            denoised,
            noise: None,
        }
    }

    fn corrector(&self) -> Combination {
        let mut ratios = self.ratios.clone();
        ratios.push(1.0);
        let mut weights = match ratios.len() {
            1 => vec![0.5],
            _ => self.weights(&ratios),
        };
        let newest = self.scale * weights.pop().unwrap_or_default();
        let mut denoised = vec![newest - self.decay];
        self.spread(&weights, &mut denoised);
        denoised.insert(0, -newest);
        Combination {
            sample: self.kept,
            denoised,
            noise: None,
        }
    }

    /// Adds the terms of the earlier denoised pictures behind the first coefficient, that of `D_s`.
    fn spread(&self, weights: &[f64], denoised: &mut Vec<f64>) {
        for (weight, ratio) in weights.iter().zip(&self.ratios) {
            let coefficient = self.scale * weight / ratio;
            denoised[0] += coefficient;
            denoised.push(-coefficient);
        }
    }

    /// The weights of these places.
    fn weights(&self, ratios: &[f64]) -> Vec<f64> {
        let length = self.length;
        let mut factorial = 1.0;
        let mut phi = length.exp_m1() / length;
        let mut rows = Vec::with_capacity(ratios.len());
        for power in 0..ratios.len() {
            factorial *= (power + 1) as f64;
            phi = (phi - 1.0 / factorial) / length;
            let mut row: Vec<f64> = ratios.iter().map(|r| r.powi(power as i32)).collect();
            row.push(factorial * phi * length / self.scale);
            rows.push(row);
        }
        solve(rows)
    }
}

/// Solves linear equations by elimination; each row ends with its right side. The rows here are powers of
/// distinct numbers, so no pivot is zero.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let count = rows.len();
    for column in 0..count {
        let size = |row: &usize| rows[*row][column].abs();
        let pivot = (column..count).max_by(|a, b| size(a).total_cmp(&size(b)));
        rows.swap(column, pivot.unwrap_or(column));
        let base = rows[column].clone();
        for (index, row) in rows.iter_mut().enumerate() {
            if index != column {
                let factor = row[column] / base[column];
                for (value, base) in row.iter_mut().zip(&base) {
                    *value -= factor * base;
                }
            }
        }
    }
    (0..count)
        .map(|index| rows[index][count] / rows[index][index])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elimination_solves_a_small_system() {
        let rows = vec![
            vec![0.0, 2.0, 1.0, 7.0],
            vec![1.0, 1.0, 1.0, 6.0],
            vec![3.0, -1.0, 2.0, 7.0],
        ];
        for (got, want) in solve(rows).into_iter().zip([1.0, 2.0, 3.0]) {
            assert!((got - want).abs() < 1e-12);
        }
    }

    #[test]
    fn a_picture_that_is_known_already_is_reached_by_every_order() {
        // When all denoised pictures are equal, each step is x' = D + s'/s (x - D). A step to zero has no
        // places relative to it, whatever order is asked for.
        let sigmas = [14.0, 7.0, 3.0, 1.0, 0.4, 0.1, 0.0];
        let places = sigmas.map(|sigma| Place {
            sigma,
            timestep: sigma,
        });
        for order in 1..=3 {
            for variant in [BhVariant::Bh1, BhVariant::Bh2] {
                for lower_order_final in [false, true] {
                    let options = UniPc {
                        order,
                        variant,
                        lower_order_final,
                    };
                    for (step, evaluation) in unipc(&places, options).iter().enumerate() {
                        let both = evaluation.correct.iter().chain([&evaluation.advance]);
                        for combination in both {
                            let sum: f64 = combination.denoised.iter().sum();
                            let kept = combination.sample + sum;
                            assert!((kept - 1.0).abs() < 1e-12, "{options:?} {step}: {kept}");
                        }
                    }
                }
            }
        }
    }
}
