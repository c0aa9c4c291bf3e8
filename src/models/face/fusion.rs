//! Gives the face of a picture the features of a person, with a network such as inswapper.
//!
//! Facts of the form are those of `portrait-pipeline` section 2, as InsightFace runs it.

use super::align::{Frame, align_in};
use super::{Embedding, Face};
use crate::imaging::blur::gaussian_blur_within;
use crate::imaging::morphology::erode;
use crate::imaging::{GrayImage, RgbImage, Similarity, Window, warp};
use crate::models::ModelError;
use crate::models::backend::Device;
use crate::models::catalog::{Entry, Role};
use crate::models::input::{Network, may_hold, planes};
use crate::models::onnx::{HostTensor, Port, last_weights};
use crate::models::place::Place;

/// The crop that such networks take (`portrait-pipeline` section 3.3).
const FRAME: Frame = Frame {
    side: 128,
    right: 8.0,
};
/// How many numbers describe a person.
const LENGTH: usize = 512;
/// Level above which a pixel of the warped crop counts as a part of it.
const COVERED_ABOVE: u8 = 20;
/// Pixels around the crop's place in the picture: what interpolation reaches, and one for the blur.
const MARGIN: f64 = 2.0;

/// Gives faces the features of persons. May be shared by threads.
pub struct FaceFusion {
    network: Network,
    /// What the description of a person is multiplied by, row by row.
    matrix: Option<Vec<f32>>,
}

impl FaceFusion {
    /// Opens the network of a file and holds it against its entry.
    pub fn open(place: &Place, entry: &Entry, device: Device) -> Result<Self, ModelError> {
        let network = Network::open_picking(place, entry, Role::FaceFusion, device, picture_of)?;
        let side = FRAME.side as usize;
        if network.preprocess.size != Some([FRAME.side; 2]) {
            return Err(network.refused(format!(
                "faces are aligned for {side}x{side} pixels, and it takes another size"
            )));
        }
        let outputs = network.outputs();
        let fits = |output: &Port| may_hold(output, &[1, 3, side, side]);
        if outputs.len() != 1 || !outputs.iter().all(fits) {
            return Err(network.refused(format!(
                "a {} gives one picture of {side}x{side} pixels",
                Role::FaceFusion
            )));
        }
        let matrix = last_weights(place, &[LENGTH, LENGTH])?;
        Ok(Self { network, matrix })
    }

    /// The picture with the features of `person` on a face of it, and how much of the new face should be
    /// seen: white inside of the face, black away from it, with a soft edge between.
    ///
    /// Both have the size of the picture. The first is the picture itself where the new face does not
    /// reach, with a hard edge around it: mix it with the picture by the second. A face whose points
    /// have no place, or that lies outside of the picture, changes nothing, and the mask is black.
    ///
    /// `person` has to be of the embedding that the network was trained with, which nothing in the file
    /// says but its length; another length is an error.
    pub fn fuse(
        &self,
        picture: &RgbImage,
        face: &Face,
        person: &Embedding,
    ) -> Result<(RgbImage, GrayImage), ModelError> {
        let source = self.source(person)?;
        let points = face.points.map(|point| point.map(f64::from));
        let nothing = || {
            let mask = GrayImage::new(picture.width(), picture.height());
            (picture.clone(), mask)
        };
        let placed = FRAME
            .fit(&points)
            .and_then(|place| Some((place, window(&place, picture)?)));
        let (Some((place, window)), Some(crop)) = (placed, align_in(picture, &points, FRAME))
        else {
            return Ok(nothing());
        };
        let target = planes(&crop, [FRAME.side as usize; 2], &self.network.preprocess);
        // The picture is the one with four axes; see `picture_of`.
        let is_picture_first = self.network.inputs().first().is_some_and(is_picture);
        let inputs = if is_picture_first {
            vec![target, source]
        } else {
            vec![source, target]
        };
        let outputs = self.network.run_on(inputs)?;
        let made = self.network.to_picture(outputs.first(), [FRAME.side; 2])?;
        Ok(put_back(picture, &made, &place, window))
    }

    /// What the network takes for a person, of unit length.
    fn source(&self, person: &Embedding) -> Result<HostTensor, ModelError> {
        let numbers = person.as_slice();
        if numbers.len() != LENGTH {
            return Err(self.network.failed(format!(
                "it takes persons of {LENGTH} numbers, and the face-embedding in use gives {}; bring \
                 the face-embedding that it was trained with, such as arcface-w600k-r50, with `photog \
                 models import PATH`, or move this file away",
                numbers.len()
            )));
        }
        let data = match &self.matrix {
            None => numbers.to_vec(),
            Some(matrix) => {
                let mut sums = vec![0.0_f32; LENGTH];
                for (number, row) in numbers.iter().zip(matrix.chunks_exact(LENGTH)) {
                    let products = row.iter().map(|weight| number * weight);
                    sums.iter_mut().zip(products).for_each(|(sum, x)| *sum += x);
                }
                let unit = Embedding::new(sums).ok_or_else(|| {
                    self.network
                        .failed(String::from("its matrix makes nothing of a person"))
                })?;
                unit.as_slice().to_vec()
            }
        };
        Ok(HostTensor {
            shape: vec![1, LENGTH],
            data,
        })
    }
}

/// The input for the picture of a network with another one for the person.
fn picture_of(inputs: &[Port]) -> Result<&Port, String> {
    let (picture, person) = match inputs {
        [picture, person] if is_picture(picture) => (picture, person),
        [person, picture] => (picture, person),
        _ => return Err(format!("it has {} inputs, and needs two", inputs.len())),
    };
    if !is_picture(picture) || !may_hold(person, &[1, LENGTH]) {
        return Err(format!(
            "it takes no picture with {LENGTH} numbers for a person"
        ));
    }
    Ok(picture)
}

fn is_picture(port: &Port) -> bool {
    port.dims.len() == 4
}

/// The part of a picture that may show something of a crop; `place` says where in the crop the places
/// of the picture are. `None` when that is nothing.
fn window(place: &Similarity, picture: &RgbImage) -> Option<Window> {
    let back = place.inverse()?;
    let end = f64::from(FRAME.side);
    let corners = [[-1.0, -1.0], [end, -1.0], [-1.0, end], [end, end]].map(|at| back.apply(at));
    let span = |axis: usize, length: u32| {
        let values = corners.map(|corner| corner[axis]);
        let least = values.into_iter().fold(f64::INFINITY, f64::min) - MARGIN;
        let most = values.into_iter().fold(f64::NEG_INFINITY, f64::max) + MARGIN;
        // Casts of negative and of huge numbers end at the ends of the type.
        let (start, end) = (least.floor() as u32, most.ceil() as u32);
        let length = end.min(length).checked_sub(start)?;
        (length > 0).then_some((start, length))
    };
    let (left, width) = span(0, picture.width())?;
    let (top, height) = span(1, picture.height())?;
    Some(Window {
        left,
        top,
        width,
        height,
    })
}

/// Puts a crop back to its place in a picture, and makes the mask to mix it by.
fn put_back(
    picture: &RgbImage,
    made: &RgbImage,
    place: &Similarity,
    window: Window,
) -> (RgbImage, GrayImage) {
    let Window {
        left,
        top,
        width,
        height,
    } = window;
    let [x, y] = place.apply([f64::from(left), f64::from(top)]);
    let place = Similarity { x, y, ..*place };
    let white = RgbImage::from_pixel(FRAME.side, FRAME.side, [255; 3].into());
    let white = warp(&white, &place, width, height);
    let new = warp(made, &place, width, height);
    let mut fused = picture.clone();
    let mut covered = GrayImage::new(width, height);
    for (x, y, level) in covered.enumerate_pixels_mut() {
        let cover = white.get_pixel(x, y).0[0];
        if cover > COVERED_ABOVE {
            level.0 = [255];
        }
        if cover == 255 {
            fused.put_pixel(left + x, top + y, *new.get_pixel(x, y));
        }
    }
    let mut mask = GrayImage::new(picture.width(), picture.height());
    for (x, y, level) in soft(&covered).enumerate_pixels() {
        mask.put_pixel(left + x, top + y, *level);
    }
    (fused, mask)
}

/// The mask shrunk by a tenth of its size and blurred by as much.
///
/// All happens inside of its own window: what is shrunk ends further from the window's border than the
/// blur reaches, but at the border of the picture, where the picture's own would be seen the same way.
fn soft(covered: &GrayImage) -> GrayImage {
    let white = covered
        .enumerate_pixels()
        .filter(|(_, _, level)| level.0[0] > 0);
    let (mut least, mut most) = ([u32::MAX; 2], [0; 2]);
    for (x, y, _) in white {
        for (axis, place) in [x, y].into_iter().enumerate() {
            least[axis] = least[axis].min(place);
            most[axis] = most[axis].max(place);
        }
    }
    let [width, height] = [0, 1].map(|axis| f64::from(most[axis].saturating_sub(least[axis])));
    let size = (width * height).sqrt() as u32;
    let shrunk = erode(covered, (size / 10).max(10));
    gaussian_blur_within(&shrunk, (size / 20).max(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(dims: &[Option<usize>]) -> Port {
        Port {
            name: String::from("input"),
            dims: dims.to_vec(),
        }
    }

    #[test]
    fn the_picture_is_found_in_either_order() {
        let picture = port(&[Some(1), Some(3), Some(128), Some(128)]);
        let person = port(&[Some(1), Some(512)]);
        for inputs in [
            [picture.clone(), person.clone()],
            [person.clone(), picture.clone()],
        ] {
            assert_eq!(picture_of(&inputs), Ok(&picture));
        }
        let short = port(&[Some(1), Some(128)]);
        for inputs in [
            vec![picture.clone()],
            vec![picture.clone(), short],
            vec![picture.clone(), picture.clone()],
            vec![person.clone(), person],
        ] {
            assert!(picture_of(&inputs).is_err(), "{inputs:?}");
        }
    }

    #[test]
    fn a_crop_outside_of_the_picture_has_no_window() {
        let picture = RgbImage::new(50, 40);
        let stay = Similarity {
            re: 1.0,
            im: 0.0,
            x: 0.0,
            y: 0.0,
        };
        let seen = window(&stay, &picture).unwrap();
        assert_eq!((seen.left, seen.width, seen.height), (0, 50, 40));
        for (x, y) in [(200.0, 0.0), (0.0, -100.0), (-1e300, 1e300)] {
            let away = Similarity { x, y, ..stay };
            assert_eq!(window(&away, &picture), None, "{x} {y}");
        }
    }

    #[test]
    fn only_the_face_is_changed_and_the_mask_stays_inside_of_it() {
        let picture = RgbImage::from_pixel(300, 260, [9; 3].into());
        let made = RgbImage::from_pixel(FRAME.side, FRAME.side, [200; 3].into());
        // The crop lies at 60 to 124 in both directions.
        let place = Similarity {
            re: 2.0,
            im: 0.0,
            x: -120.0,
            y: -120.0,
        };
        let part = window(&place, &picture).unwrap();
        let (fused, mask) = put_back(&picture, &made, &place, part);
        assert_eq!(mask.dimensions(), picture.dimensions());
        assert_eq!(fused.get_pixel(92, 92).0, [200; 3]);
        assert_eq!(mask.get_pixel(92, 92).0, [255]);
        for (x, y, level) in mask.enumerate_pixels() {
            let is_new = fused.get_pixel(x, y).0 == [200; 3];
            // An even window shrinks by a pixel less on one side, so the blur's last weight gets out.
            assert!(is_new || level.0[0] < 4, "{x} {y}: {level:?}");
            let is_inside = (60..124).contains(&x) && (60..124).contains(&y);
            assert!(is_inside || !is_new, "{x} {y}");
        }
    }
}
