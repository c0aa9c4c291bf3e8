//! Says of each pixel around a face to which part of it it belongs.

use crate::imaging::mask::resize_mask;
use crate::imaging::{GrayImage, Kernel, RgbImage, resize};
use crate::models::ModelError;
use crate::models::backend::Device;
use crate::models::catalog::{Entry, Role};
use crate::models::input::{Network, may_hold};
use crate::models::place::Place;

/// Longest side of a picture that a file may ask for: twice that of the published networks.
const SIDE_MAX: u32 = 1024;

/// A part of a face, or what is around it: the classes of the data set `CelebAMask-HQ`, in its order.
/// Left and right are named as there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FacePart {
    /// None of the others.
    Background,
    /// Skin of the face.
    Skin,
    /// Left brow.
    LeftBrow,
    /// Right brow.
    RightBrow,
    /// Left eye.
    LeftEye,
    /// Right eye.
    RightEye,
    /// Spectacles.
    Glasses,
    /// Left ear.
    LeftEar,
    /// Right ear.
    RightEar,
    /// What hangs at an ear.
    Earring,
    /// Nose.
    Nose,
    /// Inside of the mouth: teeth and tongue.
    Mouth,
    /// Upper lip.
    UpperLip,
    /// Lower lip.
    LowerLip,
    /// Neck.
    Neck,
    /// What hangs around the neck.
    Necklace,
    /// Clothes.
    Cloth,
    /// Hair.
    Hair,
    /// What is worn on the head.
    Hat,
}

impl FacePart {
    /// How many classes there are.
    pub const COUNT: usize = 19;
}

/// The part that each pixel of a picture belongs to, at the size in which a network sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The class of each pixel, row by row: a [`FacePart`] as a number.
    pub class: Vec<u8>,
}

impl Classes {
    /// Where the picture shows one of these parts: white there and black elsewhere, then brought to
    /// another size, so that borders are grey. A side of zero counts as one.
    ///
    /// In a larger size this is the reference's bilinear interpolation up to rounding
    /// (`portrait-pipeline` section 2.3); in a smaller one each pixel is a mean of those that it
    /// covers, where the reference leaves pixels out.
    pub fn mask(&self, parts: &[FacePart], width: u32, height: u32) -> GrayImage {
        let is_wanted = |class: u8| parts.iter().any(|part| *part as u8 == class);
        let levels = self
            .class
            .iter()
            .map(|class| if is_wanted(*class) { 255 } else { 0 });
        // Without a pixel for each place there is nothing to be seen.
        let mask = GrayImage::from_raw(self.width, self.height, levels.collect());
        resize_mask(&mask.unwrap_or_default(), width, height, Kernel::Triangle)
    }
}

/// Parts faces with a network such as `BiSeNet`. May be shared by threads.
pub struct FaceParser {
    network: Network,
    /// Width and height of its pictures.
    size: [u32; 2],
}

impl FaceParser {
    /// Opens the network of a file and holds it against its entry.
    pub fn open(place: &Place, entry: &Entry, device: Device) -> Result<Self, ModelError> {
        let network = Network::open(place, entry, Role::FaceParsing, device)?;
        let Some(size) = network.preprocess.size else {
            return Err(network.refused(String::from("its entry lacks `preprocess.size`")));
        };
        if !size.into_iter().all(|side| (1..=SIDE_MAX).contains(&side)) {
            return Err(network.refused(format!(
                "its pictures of {}x{} pixels are larger than {SIDE_MAX} a side",
                size[0], size[1]
            )));
        }
        // The others, where there are any, only help while training.
        let main = network.outputs().first();
        if !main.is_some_and(|output| may_hold(output, &scores(size))) {
            return Err(network.refused(format!(
                "a {} gives {} scores for each of its {}x{} pixels first",
                Role::FaceParsing,
                FacePart::COUNT,
                size[0],
                size[1]
            )));
        }
        Ok(Self { network, size })
    }

    /// The part that each pixel of a picture most likely belongs to.
    ///
    /// The picture should be a face with half of its width and height around it, as a detector bounds
    /// it, because that is what such networks are trained for. It may have any size and is brought to
    /// the network's without regard to its proportions.
    pub fn parse(&self, picture: &RgbImage) -> Result<Classes, ModelError> {
        let [width, height] = self.size;
        let seen = resize(picture, width, height, Kernel::Triangle);
        let outputs = self.network.run(&seen, self.size)?;
        let scores = outputs
            .first()
            .filter(|output| output.shape == scores(self.size))
            .ok_or_else(|| {
                self.network
                    .failed(String::from("it gave something else than it announced"))
            })?;
        let pixels = width as usize * height as usize;
        let mut best = vec![f32::NEG_INFINITY; pixels];
        let mut class = vec![0; pixels];
        for (part, plane) in (0_u8..).zip(scores.data.chunks_exact(pixels)) {
            let places = best.iter_mut().zip(&mut class).zip(plane);
            for ((best, class), score) in places {
                if !score.is_finite() {
                    return Err(self
                        .network
                        .failed(String::from("it gave numbers that are not finite")));
                }
                if score > best {
                    (*best, *class) = (*score, part);
                }
            }
        }
        Ok(Classes {
            width,
            height,
            class,
        })
    }
}

/// The sizes of what a network gives for a picture of this width and height.
fn scores([width, height]: [u32; 2]) -> [usize; 4] {
    [1, FacePart::COUNT, height as usize, width as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Skin on the left, hair on the right.
    fn halves(width: u32, height: u32) -> Classes {
        let part = |at: u32| {
            if at % width < width / 2 {
                FacePart::Skin
            } else {
                FacePart::Hair
            }
        };
        Classes {
            width,
            height,
            class: (0..width * height).map(|at| part(at) as u8).collect(),
        }
    }

    #[test]
    fn a_mask_is_the_union_of_its_parts() {
        let classes = halves(4, 2);
        let row = |parts: &[FacePart]| classes.mask(parts, 4, 2).into_raw()[..4].to_vec();
        assert_eq!(row(&[FacePart::Skin]), [255, 255, 0, 0]);
        assert_eq!(row(&[FacePart::Hair, FacePart::Hat]), [0, 0, 255, 255]);
        assert_eq!(row(&[FacePart::Skin, FacePart::Hair]), [255; 4]);
        assert_eq!(row(&[]), [0; 4]);
        assert_eq!(FacePart::Hat as usize + 1, FacePart::COUNT);
    }

    #[test]
    fn a_mask_has_the_size_that_is_asked_for_and_grey_borders() {
        let mask = halves(4, 2).mask(&[FacePart::Skin], 8, 3);
        assert_eq!(mask.dimensions(), (8, 3));
        let row: Vec<u8> = mask.into_raw()[..8].to_vec();
        assert_eq!(row, [255, 255, 255, 191, 64, 0, 0, 0]);
        assert_eq!(halves(4, 2).mask(&[], 0, 0).dimensions(), (1, 1));
    }

    #[test]
    fn classes_without_a_pixel_for_each_place_show_nothing() {
        let broken = Classes {
            width: 9,
            height: 9,
            class: vec![1; 5],
        };
        assert!(
            broken
                .mask(&[FacePart::Skin], 3, 3)
                .iter()
                .all(|level| *level == 0)
        );
    }
}
