//! Describes a face by numbers, so that two faces can be compared.

use super::{ALIGNED_SIDE, Face, align};
use crate::imaging::RgbImage;
use crate::models::ModelError;
use crate::models::backend::Device;
use crate::models::catalog::{Entry, Role};
use crate::models::input::{Network, numbers_of};
use crate::models::place::Place;

/// A face as a direction: a list of numbers whose squares have a sum of one. Only those of one
/// network can be compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(Vec<f32>);

impl Embedding {
    /// Brings a list of numbers to unit length; `None` when they are all zero or not all finite, and
    /// so have no direction.
    pub fn new(numbers: Vec<f32>) -> Option<Self> {
        // In double precision squares of single precision neither overflow nor vanish.
        let square: f64 = numbers
            .iter()
            .map(|number| f64::from(*number).powi(2))
            .sum();
        if !square.is_finite() || square <= 0.0 {
            return None;
        }
        let length = square.sqrt();
        let unit = numbers
            .into_iter()
            .map(|number| (f64::from(number) / length) as f32);
        Some(Self(unit.collect()))
    }

    /// Cosine of the angle between two faces: near 1 for the same person, near 0 for two; 0 where
    /// the lists differ in length.
    pub fn cosine(&self, other: &Self) -> f32 {
        if self.0.len() != other.0.len() {
            return 0.0;
        }
        let products = self.0.iter().zip(&other.0).map(|(one, other)| one * other);
        products.sum::<f32>().clamp(-1.0, 1.0)
    }

    /// The mean direction of several faces; `None` when there are none, when they differ in length,
    /// or when they cancel each other out.
    pub fn mean<'a>(faces: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let sum = faces.map(|face| face.0.clone()).reduce(|mut sum, face| {
            sum.truncate(face.len());
            sum.iter_mut()
                .zip(face)
                .for_each(|(sum, number)| *sum += number);
            sum
        });
        Self::new(sum?)
    }

    /// Its numbers.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }
}

/// Describes faces. May be shared by threads.
pub struct FaceEmbedder {
    network: Network,
    /// How many numbers describe a face.
    length: usize,
    same_person: f32,
}

impl FaceEmbedder {
    /// Opens the network of a file and holds it against its entry.
    pub fn open(place: &Place, entry: &Entry, device: Device) -> Result<Self, ModelError> {
        let network = Network::open(place, entry, Role::FaceEmbedding, device)?;
        let (Some(length), Some(same_person)) =
            (entry.embedding_length, entry.thresholds.same_person)
        else {
            return Err(network.refused(String::from(
                "its entry lacks `embedding_length` or `thresholds.same_person`",
            )));
        };
        if network
            .preprocess
            .size
            .is_some_and(|size| size != [ALIGNED_SIDE; 2])
        {
            return Err(network.refused(format!(
                "faces are aligned for {ALIGNED_SIDE}x{ALIGNED_SIDE} pixels, and it takes another \
                 size"
            )));
        }
        let [output] = network.outputs() else {
            return Err(network.refused(format!(
                "it has {} outputs, and a {} has one",
                network.outputs().len(),
                Role::FaceEmbedding
            )));
        };
        let given = match numbers_of(output) {
            Some(given) => given,
            // The file leaves it open, so the network is asked.
            None => network
                .run(&RgbImage::new(0, 0), [ALIGNED_SIDE; 2])?
                .first()
                .map_or(0, |output| output.data.len()),
        };
        if given != length || length == 0 {
            return Err(network.refused(format!(
                "it gives {given} numbers for a face, and its entry says {length}"
            )));
        }
        Ok(Self {
            network,
            length,
            same_person,
        })
    }

    /// Describes a face of a photo.
    pub fn embed(&self, photo: &RgbImage, face: &Face) -> Result<Embedding, ModelError> {
        self.embed_aligned(&align(photo, &face.points))
    }

    /// Describes the face of an aligned crop.
    pub fn embed_aligned(&self, crop: &RgbImage) -> Result<Embedding, ModelError> {
        let numbers = self
            .network
            .run_to_numbers(crop, [ALIGNED_SIDE; 2], self.length)?;
        Embedding::new(numbers).ok_or_else(|| {
            self.network
                .failed(String::from("it gave nothing but zeros for a face"))
        })
    }

    /// Least cosine between two faces of one person, from its entry.
    pub fn same_person(&self) -> f32 {
        self.same_person
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_without_a_direction_are_refused() {
        for numbers in [
            vec![],
            vec![0.0; 4],
            vec![1.0, f32::NAN],
            vec![f32::INFINITY, 1.0],
        ] {
            assert_eq!(Embedding::new(numbers), None);
        }
    }

    #[test]
    fn cosines_are_those_of_the_directions() {
        let embedding = |numbers: &[f32]| Embedding::new(numbers.to_vec()).unwrap();
        let east = embedding(&[3.0, 0.0]);
        assert_eq!(east.cosine(&embedding(&[1e-30, 0.0])), 1.0);
        assert_eq!(east.cosine(&embedding(&[0.0, 1e30])), 0.0);
        assert_eq!(east.cosine(&embedding(&[-5.0, 0.0])), -1.0);
        let diagonal = east.cosine(&embedding(&[1.0, 1.0]));
        assert!((diagonal - 0.5_f32.sqrt()).abs() < 1e-6);
        assert_eq!(east.cosine(&embedding(&[1.0, 1.0, 1.0])), 0.0);
    }

    proptest! {
        #[test]
        fn every_embedding_has_unit_length(
            numbers in prop::collection::vec(-1e3..1e3_f32, 1..600),
        ) {
            prop_assume!(numbers.iter().any(|number| number.abs() > 1e-3));
            let embedding = Embedding::new(numbers).unwrap();
            prop_assert!((embedding.cosine(&embedding) - 1.0).abs() < 1e-5);
        }
    }
}
