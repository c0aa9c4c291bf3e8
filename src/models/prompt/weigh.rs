//! Weights on what an encoder made of a chunk.

use super::Emphasis;
use super::chunks::CHUNK_LENGTH;

/// Multiplies the vector of each token with the weight of the token. `vectors` are those of one
/// chunk, `[CHUNK_LENGTH, width]`, token by token, after the encoder's last normalisation.
///
/// With [`Emphasis::Original`] all are scaled once more so that the mean over the chunk is what it
/// was, which keeps a picture from burning; unless the new mean is so near to zero that the scale
/// would be infinite. [`Emphasis::None`] and [`Emphasis::Ignore`] change nothing.
///
/// # Panics
///
/// When `vectors` do not have the same width for each token: the caller mixed up its tensors.
pub fn weigh(vectors: &mut [f32], weights: &[f32; CHUNK_LENGTH], emphasis: Emphasis) {
    assert!(
        vectors.len().is_multiple_of(CHUNK_LENGTH),
        "{} numbers are not a vector for each of {CHUNK_LENGTH} tokens",
        vectors.len()
    );
    let changes = matches!(emphasis, Emphasis::Original | Emphasis::NoNorm);
    if !changes || vectors.is_empty() || weights.iter().all(|&weight| weight == 1.0) {
        return;
    }
    let before = sum(vectors);
    let width = vectors.len() / CHUNK_LENGTH;
    for (vector, weight) in vectors.chunks_exact_mut(width).zip(weights) {
        for value in vector {
            *value *= weight;
        }
    }
    // A ratio of means of as many numbers is the ratio of their sums.
    let scale = (before / sum(vectors)) as f32;
    if emphasis == Emphasis::Original && scale.is_finite() {
        for value in vectors {
            *value *= scale;
        }
    }
}

fn sum(values: &[f32]) -> f64 {
    values.iter().copied().map(f64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 3;

    fn vectors() -> Vec<f32> {
        let values = 0..CHUNK_LENGTH * WIDTH;
        values
            .map(|at| ((at * 37 % 101) as f32 - 30.0) / 10.0)
            .collect()
    }

    fn weighed(weights: &[f32; CHUNK_LENGTH], emphasis: Emphasis) -> Vec<f32> {
        let mut vectors = vectors();
        weigh(&mut vectors, weights, emphasis);
        vectors
    }

    fn weights() -> [f32; CHUNK_LENGTH] {
        let mut weights = [1.0; CHUNK_LENGTH];
        [weights[1], weights[5], weights[76]] = [2.0, -0.5, 1.5];
        weights
    }

    #[test]
    fn each_vector_is_multiplied_with_the_weight_of_its_token() {
        let weighed = weighed(&weights(), Emphasis::NoNorm);
        for (at, (value, old)) in weighed.iter().zip(vectors()).enumerate() {
            assert_eq!(*value, old * weights()[at / WIDTH]);
        }
    }

    #[test]
    fn the_original_emphasis_restores_the_mean_with_one_scale() {
        let original = weighed(&weights(), Emphasis::Original);
        let plain = weighed(&weights(), Emphasis::NoNorm);
        let mean = |values: &[f32]| sum(values) / values.len() as f64;
        assert!((mean(&original) - mean(&vectors())).abs() < 1e-6);
        assert!((mean(&plain) - mean(&vectors())).abs() > 1e-3);
        let scale = original[0] / plain[0];
        for (one, other) in original.iter().zip(&plain) {
            assert!((one - other * scale).abs() < 1e-5);
        }
    }

    #[test]
    fn nothing_changes_without_emphasis_or_weights() {
        assert_eq!(weighed(&weights(), Emphasis::Ignore), vectors());
        assert_eq!(weighed(&weights(), Emphasis::None), vectors());
        assert_eq!(weighed(&[1.0; CHUNK_LENGTH], Emphasis::Original), vectors());
    }

    #[test]
    fn a_mean_of_zero_is_left_as_it_is() {
        let mut vectors = vec![1.0; CHUNK_LENGTH];
        weigh(&mut vectors, &[0.0; CHUNK_LENGTH], Emphasis::Original);
        assert_eq!(vectors, [0.0; CHUNK_LENGTH]);
    }

    #[test]
    #[should_panic(expected = "are not a vector for each")]
    fn vectors_of_another_length_are_a_mistake_of_the_caller() {
        weigh(&mut [0.0; 78], &[1.0; CHUNK_LENGTH], Emphasis::Original);
    }
}
