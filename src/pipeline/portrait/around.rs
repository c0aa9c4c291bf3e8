//! One face of a template and what is around it: where it is worked on, and which of its pixels.

use crate::{
    imaging::{
        GrayImage, RgbImage,
        blend::blend,
        blur::box_blur,
        color_transfer::{ColorStatistics, transfer},
    },
    models::face::{Face, FacePart},
};

use super::{
    error::PortraitError,
    extras::Extras,
    masks::{Masks, combined, window},
    part::Part,
    settings::Settings,
};

/// How many times as large as a face the part around it is.
const CROP_RATIO: f64 = 3.0;
/// The same of what a network for the parts of a face looks at.
const PARSED_RATIO: f64 = 1.5;
/// Shorter side of it, in pixels.
const PARSED_SIDE: u32 = 512;
/// What a face is made of (`portrait-pipeline` section 8.6): neither ears nor hair.
const FACE: [FacePart; 9] = [
    FacePart::Skin,
    FacePart::LeftBrow,
    FacePart::RightBrow,
    FacePart::LeftEye,
    FacePart::RightEye,
    FacePart::Nose,
    FacePart::Mouth,
    FacePart::UpperLip,
    FacePart::LowerLip,
];
const EYES: [FacePart; 2] = [FacePart::LeftEye, FacePart::RightEye];
const LIPS: [FacePart; 2] = [FacePart::UpperLip, FacePart::LowerLip];
/// Least share of a face's box that a network has to see as face; with less it has missed it.
const PARSED_MIN: f32 = 0.1;

/// One face under way: the part of the template around it.
pub(super) struct Around {
    pub(super) part: Part,
    /// The pixels of the part as they were.
    pub(super) original: RgbImage,
    /// The face in it.
    pub(super) face: Face,
    pub(super) masks: Masks,
}

impl Around {
    /// What is around one of the faces of a picture. Where a network sees the parts of the face, its masks
    /// are that network's.
    pub(super) fn of(
        picture: &RgbImage,
        faces: &[Face],
        at: usize,
        settings: &Settings,
        extras: &dyn Extras,
    ) -> Result<Self, PortraitError> {
        let part = if settings.crop_face_preprocess {
            Part::around(&faces[at], CROP_RATIO, picture.dimensions(), settings.side)
        } else {
            Part::whole(picture.dimensions(), settings.side)
        };
        let others = faces.iter().enumerate().filter(|(other, _)| *other != at);
        let others: Vec<Face> = others.map(|(_, face)| part.seen(face)).collect();
        let face = part.seen(&faces[at]);
        let masks = Masks::of(&face, &others, settings.mask_ratio, part.size);
        let parsed = parsed(picture, &faces[at], &part, extras)?;
        Ok(Self {
            masks: match parsed {
                Some(parsed) => masks.seen(&face, parsed),
                None => masks,
            },
            original: part.cut(picture),
            part,
            face,
        })
    }

    /// A picture with the colours that the face had, where the mask says so.
    pub(super) fn recolored(&self, picture: &RgbImage, mask: &GrayImage) -> RgbImage {
        let face = Some(&self.masks.face);
        let statistics = (
            ColorStatistics::of(picture, face),
            ColorStatistics::of(&self.original, face),
        );
        let (Some(from), Some(to)) = statistics else {
            return picture.clone();
        };
        let soft = box_blur(mask, window(32.0, self.part.size));
        // A blur may not reach what belongs to another face.
        let soft = combined(&soft, &self.masks.wide, u8::min);
        blend(picture, &transfer(picture, &from, &to), &soft)
    }
}

/// Where face, eyes and lips are in the work, as a network sees them; `None` where there is no network or it
/// does not see the face.
fn parsed(
    picture: &RgbImage,
    face: &Face,
    part: &Part,
    extras: &dyn Extras,
) -> Result<Option<[GrayImage; 3]>, PortraitError> {
    let near = Part::around(face, PARSED_RATIO, picture.dimensions(), PARSED_SIDE);
    let Some(classes) = extras.parse(&near.cut(picture))? else {
        return Ok(None);
    };
    let mask = |parts: &[FacePart]| {
        let seen = classes.mask(parts, classes.width, classes.height);
        part.carried(&seen, &near)
    };
    let masks = [mask(&FACE), mask(&EYES), mask(&LIPS)];
    let seen = masks[0].iter().filter(|level| **level > 0).count() as f32;
    let is_seen = seen >= part.seen(face).bounds.area() * PARSED_MIN;
    Ok(is_seen.then_some(masks))
}
