//! Which checkpoints become the LoRA (`portrait-pipeline` section 7): those of the pictures that are
//! most like the person, each as often as it made one of them.

use std::collections::BTreeMap;

use crate::models::{lora::Tensor, weights::Container};

/// Of all pictures that were made, so many count: ten of the 32 of a training with EasyPhoto's settings.
const BEST_SHARE: (usize, usize) = (10, 32);
/// Most pictures that count.
const BEST_MAX: usize = 10;

/// A picture of a checkpoint, as far as the choice looks at it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// The step after which the checkpoint was written.
    pub step: u32,
    /// How like the person the picture is.
    pub score: Option<f32>,
}

/// Places of the pictures that count, the best first; none where no picture has a score.
pub fn best(pictures: &[Scored]) -> Vec<usize> {
    let (share, of) = BEST_SHARE;
    let count = (pictures.len() * share).div_ceil(of).min(BEST_MAX);
    let mut scored: Vec<(usize, f32)> = pictures
        .iter()
        .enumerate()
        .filter_map(|(at, picture)| Some((at, picture.score?)))
        .collect();
    // Of equals the later one: it has learned longer.
    scored.sort_by(|one, other| other.1.total_cmp(&one.1).then(other.0.cmp(&one.0)));
    scored.into_iter().take(count).map(|(at, _)| at).collect()
}

/// How often each step counts.
pub fn weights(pictures: &[Scored], best: &[usize]) -> BTreeMap<u32, usize> {
    let mut weights = BTreeMap::new();
    for at in best {
        *weights.entry(pictures[*at].step).or_insert(0) += 1;
    }
    weights
}

/// The mean of checkpoints of one training, each with its weight, tensor by tensor.
///
/// It is that of the factors and not of their products: along one training they drift slowly, so it is
/// close to that, and it has the rank of each. `None` when the files are not of one training.
pub fn merge(checkpoints: &[(&Container, usize)]) -> Option<Vec<Tensor>> {
    let (first, _) = checkpoints.first()?;
    let all: usize = checkpoints.iter().map(|(_, weight)| weight).sum();
    let mean = |name: &str| {
        let shape = first.get(name)?.shape.to_vec();
        let mut sum = vec![0.0_f64; shape.iter().product()];
        for (file, weight) in checkpoints {
            let numbers = file
                .get(name)
                .filter(|view| view.shape == shape)?
                .to_f32()?;
            for (sum, number) in sum.iter_mut().zip(numbers) {
                *sum += f64::from(number) * *weight as f64;
            }
        }
        Some(Tensor {
            name: name.to_owned(),
            shape,
            data: sum.iter().map(|sum| (sum / all as f64) as f32).collect(),
        })
    };
    first.names().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::weights::{Kept, Named, write_safetensors};

    fn scored(pictures: &[(u32, f32)]) -> Vec<Scored> {
        let scored = |&(step, score): &(u32, f32)| Scored {
            step,
            score: (score >= 0.0).then_some(score),
        };
        pictures.iter().map(scored).collect()
    }

    #[test]
    fn the_best_third_of_the_pictures_chooses_and_none_without_a_face() {
        let pictures = scored(&[(100, 0.2), (100, 0.9), (200, -1.0), (200, 0.8), (300, 0.7)]);
        let best = best(&pictures);
        assert_eq!(best, [1, 3]);
        assert_eq!(
            weights(&pictures, &best),
            BTreeMap::from([(100, 1), (200, 1)])
        );
        assert!(super::best(&scored(&[(100, -1.0)])).is_empty());
    }

    #[test]
    fn of_many_pictures_ten_count_and_of_equals_the_later() {
        let many: Vec<(u32, f32)> = (0..64).map(|at| (at, 0.5)).collect();
        let best = best(&scored(&many));
        assert_eq!(best.len(), 10);
        assert_eq!(best[0], 63);
    }

    fn checkpoint(names: &[&str], number: f32) -> Container {
        let numbers = [number, 2.0 * number];
        let tensors: Vec<Named<'_>> = names
            .iter()
            .map(|name| Named {
                name,
                shape: &[2, 1],
                numbers: &numbers,
            })
            .collect();
        let mut file = Vec::new();
        write_safetensors(&tensors, &BTreeMap::new(), Kept::Full, &mut file).unwrap();
        Container::from_bytes("test", file).unwrap()
    }

    #[test]
    fn checkpoints_are_averaged_by_their_weights() {
        let [one, three] = [1.0, 3.0].map(|number| checkpoint(&["a", "b"], number));
        let merged = merge(&[(&one, 1), (&three, 3)]).unwrap();
        assert_eq!(merged.len(), 2);
        assert_eq!(
            (merged[0].name.as_str(), &merged[0].shape),
            ("a", &vec![2, 1])
        );
        assert_eq!(merged[1].data, [2.5, 5.0]);
        assert_eq!(merge(&[]), None);
    }

    #[test]
    fn checkpoints_of_different_trainings_are_not_averaged() {
        let (one, other) = (checkpoint(&["a"], 1.0), checkpoint(&["b"], 1.0));
        assert_eq!(merge(&[(&one, 1), (&other, 1)]), None);
    }
}
