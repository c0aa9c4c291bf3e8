//! Asks a network how usable a face is.

use super::ALIGNED_SIDE;
use crate::imaging::{Kernel, RgbImage, resize};
use crate::models::ModelError;
use crate::models::backend::Device;
use crate::models::catalog::{Entry, Role};
use crate::models::input::{Network, numbers_of};
use crate::models::place::Place;

/// Longest side of a picture that a file may ask for; aligned crops hold no more detail.
const SIDE_MAX: u32 = 4 * ALIGNED_SIDE;

/// Rates aligned faces with a network such as LightQNet. May be shared by threads.
pub struct FaceQuality {
    network: Network,
    /// Width and height of its pictures.
    size: [u32; 2],
    least: f32,
}

impl FaceQuality {
    /// Opens the network of a file and holds it against its entry.
    pub fn open(place: &Place, entry: &Entry, device: Device) -> Result<Self, ModelError> {
        let network = Network::open(place, entry, Role::FaceQuality, device)?;
        let Some(least) = entry.thresholds.quality else {
            return Err(network.refused(String::from("its entry lacks `thresholds.quality`")));
        };
        let size = network.preprocess.size.unwrap_or([ALIGNED_SIDE; 2]);
        if !size.into_iter().all(|side| (1..=SIDE_MAX).contains(&side)) {
            return Err(network.refused(format!(
                "its pictures of {}x{} pixels are larger than {SIDE_MAX} a side",
                size[0], size[1]
            )));
        }
        let outputs = network.outputs();
        let given: Vec<Option<usize>> = outputs.iter().map(numbers_of).collect();
        if !matches!(given[..], [None | Some(1)]) {
            return Err(network.refused(format!(
                "a {} has one output with one number",
                Role::FaceQuality
            )));
        }
        Ok(Self {
            network,
            size,
            least,
        })
    }

    /// How usable the face of an aligned crop is, 0 to 1.
    ///
    /// LightQNet does not see that a face was merely enlarged from a few pixels; see
    /// [`Quality`](super::Quality) for that.
    pub fn score(&self, crop: &RgbImage) -> Result<f32, ModelError> {
        let [width, height] = self.size;
        let seen = resize(crop, width, height, Kernel::Triangle);
        let numbers = self.network.run_to_numbers(&seen, self.size, 1)?;
        Ok(numbers.first().map_or(0.0, |score| score.clamp(0.0, 1.0)))
    }

    /// Least score of a usable face, from its entry.
    pub fn least(&self) -> f32 {
        self.least
    }
}
