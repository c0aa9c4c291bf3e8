//! Finds the faces of a photo with the network of a file.

use std::borrow::Cow;

use super::scrfd::Scrfd;
use super::suppress::suppress;
use super::yunet::YuNet;
use super::{Bounds, Face};
use crate::imaging::{Kernel, RgbImage, resize};
use crate::models::ModelError;
use crate::models::backend::Device;
use crate::models::catalog::{DetectorKind, Entry, Role};
use crate::models::input::Network;
use crate::models::onnx::{HostTensor, Port};
use crate::models::place::Place;

/// A detector has one grid of cells for each of these sizes of a cell, in pixels of its input.
pub(super) const STRIDES: [usize; 3] = [8, 16, 32];
/// Longer side of the photo as a network of any size sees it. The goldens of the test data were made
/// with it, and YuNet was trained at it; a face of an eighth of the photo is 80 pixels wide then.
const LONG_SIDE: u32 = 640;
/// Both sides of an input are a multiple of this, so that the coarsest grid has whole cells.
const SIDE_MULTIPLE: u32 = 32;
/// Longest side of an input that a file may fix: more than any published detector has, and little
/// enough that a claim in a list costs no memory to speak of.
const FIXED_SIDE_MAX: u32 = 2048;
/// How far a face may reach over each border, as a share of the photo's side. The goldens stay
/// below 0.03; what goes further is cut there.
const REACH: f32 = 1.0;

/// How the outputs of a kind of detector are read.
pub(super) trait Decode: Send + Sync {
    /// All candidates with a score of at least `least`, in pixels of the input of `size`, width and
    /// height. Outputs of another form than they have to have are an error, and so is a score that
    /// is no number.
    fn candidates(
        &self,
        outputs: &[HostTensor],
        size: [usize; 2],
        least: f32,
    ) -> Result<Vec<Face>, String>;
}

/// Finds faces. May be shared by threads.
pub struct FaceDetector {
    network: Network,
    decode: Box<dyn Decode>,
    /// Least certainty of a face.
    score: f32,
    /// Most overlap of two faces.
    overlap: f32,
}

impl FaceDetector {
    /// Opens the network of a file and holds it against its entry.
    pub fn open(place: &Place, entry: &Entry, device: Device) -> Result<Self, ModelError> {
        let network = Network::open(place, entry, Role::FaceDetector, device)?;
        let (Some(score), Some(overlap)) = (entry.thresholds.score, entry.thresholds.overlap)
        else {
            return Err(network.refused(String::from(
                "its entry lacks `thresholds.score` or `thresholds.overlap`",
            )));
        };
        if let Some(size) = network.preprocess.size {
            let is_usable = |side: u32| {
                (1..=FIXED_SIDE_MAX).contains(&side) && side.is_multiple_of(SIDE_MULTIPLE)
            };
            if !size.into_iter().all(is_usable) {
                return Err(network.refused(format!(
                    "its pictures of {}x{} pixels are not multiples of {SIDE_MULTIPLE} up to \
                     {FIXED_SIDE_MAX}",
                    size[0], size[1]
                )));
            }
        }
        let decode = decoder(entry.detector, network.outputs());
        Ok(Self {
            decode: decode.map_err(|reason| network.refused(reason))?,
            network,
            score,
            overlap,
        })
    }

    /// The faces of a photo, the largest first.
    ///
    /// A bystander far away and a poster on the wall are faces too; which one the photo is about is
    /// for the caller to say, and the largest is a good guess.
    pub fn detect(&self, photo: &RgbImage) -> Result<Vec<Face>, ModelError> {
        let (width, height) = photo.dimensions();
        if width == 0 || height == 0 {
            return Ok(Vec::new());
        }
        let fit = Fit::new([width, height], self.network.preprocess.size);
        let seen = if fit.scaled == [width, height] {
            Cow::Borrowed(photo)
        } else {
            Cow::Owned(resize(
                photo,
                fit.scaled[0],
                fit.scaled[1],
                Kernel::Triangle,
            ))
        };
        let outputs = self.network.run(&seen, fit.input)?;
        let size = fit.input.map(|side| side as usize);
        let candidates = self.decode.candidates(&outputs, size, self.score);
        let candidates = candidates.map_err(|reason| self.network.failed(reason))?;
        let kept = suppress(candidates, self.overlap);
        Ok(in_photo(kept, [width, height], fit.scaled))
    }
}

fn decoder(kind: Option<DetectorKind>, outputs: &[Port]) -> Result<Box<dyn Decode>, String> {
    Ok(match kind {
        Some(DetectorKind::YuNet) => Box::new(YuNet::new(outputs)?),
        Some(DetectorKind::Scrfd) => Box::new(Scrfd::new(outputs)?),
        None => return Err(String::from("its entry does not say how it is read")),
    })
}

/// How a photo lies in the input of a network: scaled, in the left upper corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fit {
    /// Width and height of the scaled photo.
    scaled: [u32; 2],
    /// Width and height of the input.
    input: [u32; 2],
}

impl Fit {
    /// A photo is made smaller and never larger. For a network of any size the longer side becomes
    /// [`LONG_SIDE`]; for one of a fixed size the photo has to fit into it.
    fn new(photo: [u32; 2], fixed: Option<[u32; 2]>) -> Self {
        let [width, height] = photo.map(f64::from);
        let [wide, high] = fixed.unwrap_or([LONG_SIDE; 2]).map(f64::from);
        let scale = (wide / width).min(high / height).min(1.0);
        // Halves to the even number, as the goldens were made.
        let scaled = [width, height].map(|side| ((side * scale).round_ties_even() as u32).max(1));
        Self {
            scaled,
            input: fixed.unwrap_or_else(|| scaled.map(|side| side.next_multiple_of(SIDE_MULTIPLE))),
        }
    }
}

/// Brings faces from the scaled photo to the photo itself, drops those that do not touch it or have
/// no extent, and puts the largest first.
fn in_photo(faces: Vec<Face>, photo: [u32; 2], scaled: [u32; 2]) -> Vec<Face> {
    // Rounding gives the two sides slightly different scales.
    let to_photo = |axis: usize| {
        let side = photo[axis] as f32;
        let scale = side / scaled[axis] as f32;
        move |place: f32| (place * scale).clamp(-REACH * side, (1.0 + REACH) * side)
    };
    let is_seen = |bounds: &Bounds| {
        let seen = bounds.within(photo[0], photo[1]);
        seen.width() > 0.0 && seen.height() > 0.0
    };
    let mut faces: Vec<Face> = faces
        .into_iter()
        .filter(Face::is_finite)
        .map(|face| face.map(to_photo(0), to_photo(1)))
        .filter(|face| is_seen(&face.bounds))
        .collect();
    faces.sort_by(|one, other| other.bounds.area().total_cmp(&one.bounds.area()));
    faces
}

/// The numbers of an output that has to have `count` rows of `channels` numbers.
pub(super) fn rows(output: &HostTensor, count: usize, channels: usize) -> Result<&[f32], String> {
    let has_channels = output.shape.last() == Some(&channels);
    if has_channels && output.data.len() == count * channels {
        return Ok(&output.data);
    }
    Err(format!(
        "an output has the shape {:?} where {count} rows of {channels} numbers have to be",
        output.shape
    ))
}

/// Checks a score; it is cut to 0 to 1.
pub(super) fn checked_score(score: f32) -> Result<f32, String> {
    if score.is_finite() {
        Ok(score.clamp(0.0, 1.0))
    } else {
        Err(String::from("a score is not finite"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photo_is_made_smaller_and_never_larger() {
        let cases = [
            ([4912, 7360], None, [427, 640], [448, 640]),
            ([512, 512], None, [512, 512], [512, 512]),
            ([150, 150], None, [150, 150], [160, 160]),
            ([1, 1], None, [1, 1], [32, 32]),
            ([4000, 8], None, [640, 1], [640, 32]),
            ([30_000, 1], None, [640, 1], [640, 32]),
            ([1280, 960], Some([320, 320]), [320, 240], [320, 320]),
            ([100, 960], Some([640, 320]), [33, 320], [640, 320]),
            ([100, 100], Some([640, 640]), [100, 100], [640, 640]),
        ];
        for (photo, fixed, scaled, input) in cases {
            assert_eq!(Fit::new(photo, fixed), Fit { scaled, input }, "{photo:?}");
        }
    }

    #[test]
    fn faces_come_back_to_the_photo_with_the_largest_first() {
        let face = |left: f32, side: f32| Face {
            score: 0.9,
            bounds: Bounds {
                left,
                top: 10.0,
                right: left + side,
                bottom: 10.0 + side,
            },
            points: [[left, 20.0]; 5],
        };
        let found = vec![
            face(10.0, 5.0),
            face(30.0, 20.0),
            // In the padding, without extent, and without sense.
            face(150.0, 20.0),
            face(40.0, 0.0),
            face(f32::NAN, 20.0),
            face(f32::INFINITY, 20.0),
        ];
        let faces = in_photo(found, [200, 300], [100, 100]);
        assert_eq!(faces.len(), 2);
        assert_eq!(
            faces[0].bounds,
            Bounds {
                left: 60.0,
                top: 30.0,
                right: 100.0,
                bottom: 90.0
            }
        );
        assert_eq!(faces[0].points[0], [60.0, 60.0]);
        assert_eq!(faces[1].bounds.left, 20.0);
    }

    #[test]
    fn a_face_that_reaches_far_out_is_cut() {
        let huge = Face {
            score: 1.0,
            bounds: Bounds {
                left: -1e30,
                top: -1e30,
                right: 1e30,
                bottom: 1e30,
            },
            points: [[1e30, -1e30]; 5],
        };
        let faces = in_photo(vec![huge], [100, 50], [100, 50]);
        assert_eq!(faces[0].bounds.width(), 300.0);
        assert_eq!(faces[0].bounds.height(), 150.0);
        assert_eq!(faces[0].points[4], [200.0, -50.0]);
    }
}
