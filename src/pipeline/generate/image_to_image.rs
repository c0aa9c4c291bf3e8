//! Pictures from pictures, wholly or in part.

use super::{
    artist::{Artist, Latents, Mask, Painter},
    batch::{Course, Painted, Sampling, Seeds, each_batch, latent_size},
    error::GenerateError,
    inpaint::Area,
    latents::{Interpolation, repeat, resample},
    prompts::Asked,
    record::{Record, decimal},
    request::{Content, ImageToImage, PIXELS, Passes},
    session::Session,
};
use crate::{
    imaging::{
        Kernel, RgbImage,
        fit::{Fit, fit},
        mask::latent_mask,
        resize,
    },
    models::sampling::{FromPicture, NoiseRequest, NoiseSource},
};

/// The resize mode that works on latent pictures.
const LATENT_MODE: u32 = 3;
/// Longest side of a picture that is not brought to size before it is encoded, in pixels.
const ENCODED_SIDE_MAX: u32 = 4096;

/// Pictures that are made at once: as many as there are to begin from, if these are several.
pub(super) fn batch_size(request: &ImageToImage) -> Result<usize, GenerateError> {
    let (images, asked) = (request.init_images.len(), request.common.batch_size);
    match images {
        1 => Ok(asked),
        _ if images <= asked => Ok(images),
        _ => {
            let reason = format!(
                "has {images} pictures and `batch_size` is {asked}; send one, or at most so many"
            );
            Err(GenerateError::field("init_images", reason))
        }
    }
}

/// Makes the pictures of a request.
pub(super) fn image_to_image<A: Artist>(
    session: &mut Session<'_, A>,
    request: &ImageToImage,
    seeds: &Seeds,
) -> Result<Vec<Painted>, GenerateError> {
    let common = &request.common;
    let batch_size = batch_size(request)?;
    let begun = Begun::read(session, request)?;
    let sampling = pass(session, request, &begun)?;
    let (latents, mask) = begun.encode(session, request, seeds, batch_size)?;
    let record = Record::new(common, seeds);
    each_batch(session, &record, batch_size, 1, |session, _, places| {
        let [_, channels, rows, columns] = latents.sizes;
        let mut noise = seeds.noise(places, [channels, rows, columns])?;
        let (sizes, mask) = (latents.sizes, mask.as_ref());
        let made = sampling.run(session, &mut noise, sizes, Some(&latents), mask)?;
        let painter = &sampling.words.painter;
        let pictures = painter.decode(&made, &mut session.steps)?;
        Ok(begun.finish(&pictures))
    })
}

/// The pass over the pictures.
fn pass<A: Artist>(
    session: &mut Session<'_, A>,
    request: &ImageToImage,
    begun: &Begun,
) -> Result<Sampling<A::Painter>, GenerateError> {
    let common = &request.common;
    let own = session.options.noise_multiplier;
    let noise_scale = request.noise_multiplier.unwrap_or(own);
    let course = Course {
        method: common.method,
        spacing: common.spacing,
        steps: common.steps,
        from_picture: Some(FromPicture {
            strength: request.strength,
            keeps_steps: session.options.fixes_steps,
            noise_scale,
        }),
    };
    describe(session, request, begun.area.is_some(), noise_scale);
    let guides = session.guides(&common.units)?;
    let first = &begun.pictures[0];
    let part = begun.area.as_ref().filter(|area| area.is_part());
    let crop = part.map(|area| |picture: &RgbImage| area.crop_as(picture, first.dimensions()));
    let crop = crop
        .as_ref()
        .map(|crop| crop as &dyn Fn(&RgbImage) -> RgbImage);
    let size = (common.width, common.height);
    Ok(Sampling {
        plan: course.plan(session.painter.schedule(), common, &session.options)?,
        words: session.words(&Asked::first(common))?,
        guidance: common.guidance,
        controls: guides.controls(Passes::First, size, Some(first), crop)?,
    })
}

/// The pictures of a request, before anything is made of them.
struct Begun {
    /// As they came, but for work on the whole: there they have the size of the work.
    pictures: Vec<RgbImage>,
    area: Option<Area>,
}

impl Begun {
    fn read<A: Artist>(
        session: &mut Session<'_, A>,
        request: &ImageToImage,
    ) -> Result<Self, GenerateError> {
        let given = request.init_images.iter().enumerate();
        let pictures =
            given.map(|(at, given)| session.reader.given(&format!("init_images[{at}]"), given));
        let mut pictures = pictures.collect::<Result<Vec<_>, _>>()?;
        let size = pictures[0].dimensions();
        let is_uneven = pictures.iter().any(|picture| picture.dimensions() != size);
        let keeps_size = request.resize_mode == LATENT_MODE;
        if is_uneven && (keeps_size || (request.mask.is_some() && request.is_masked_area_only)) {
            let reason = "has pictures of several sizes; send them in one size";
            return Err(GenerateError::field("init_images", reason));
        }
        let how = Fit::from_number(request.resize_mode).unwrap_or(Fit::Stretch);
        let area = match &request.mask {
            Some(mask) => Area::of(request, mask, size, how)?,
            None => None,
        };
        if request.mask.is_some() && area.is_none() {
            session.notes.warnings.push(String::from(
                "the mask is empty, so the whole picture was worked on",
            ));
        }
        let (width, height) = (request.common.width, request.common.height);
        let is_part = area.as_ref().is_some_and(Area::is_part);
        // With a mask the original covers the result, so it has to have its size.
        if !is_part && (!keeps_size || area.is_some()) {
            pictures = pictures
                .iter()
                .map(|picture| fit(picture, width, height, how))
                .collect();
        }
        Ok(Self { pictures, area })
    }

    /// The latent pictures of a batch, and what of them is made anew.
    fn encode<A: Artist>(
        &self,
        session: &mut Session<'_, A>,
        request: &ImageToImage,
        seeds: &Seeds,
        batch_size: usize,
    ) -> Result<(Latents, Option<Mask>), GenerateError> {
        let works = self.pictures.iter().map(|picture| match &self.area {
            Some(area) => Ok(area.prepare(picture, request.content)),
            None => whole_sides(picture),
        });
        let works = works.collect::<Result<Vec<_>, _>>()?;
        let painter = session.painter.clone();
        let mut latents = painter.encode(&works, None, &mut session.steps)?;
        let [columns, rows] = latent_size(request.common.width, request.common.height);
        if latents.sizes[2..] != [rows, columns] {
            latents = resample(&latents, rows, columns, Interpolation::Linear);
        }
        if works.len() == 1 {
            latents = repeat(&latents, batch_size);
        }
        let Some(area) = &self.area else {
            return Ok((latents, None));
        };
        let is_rounded = request.rounds_mask;
        let new = latent_mask(area.latent(), columns as u32, rows as u32, is_rounded);
        hide(
            &mut latents,
            &new,
            request.content,
            &seeds.first[..batch_size],
        )?;
        let original = latents.clone();
        Ok((latents, Some(Mask { new, original })))
    }

    /// What was made, with what is kept of the originals over it.
    fn finish(&self, made: &[RgbImage]) -> Vec<RgbImage> {
        let originals = self.pictures.iter().cycle();
        let both = made.iter().zip(originals);
        both.map(|(made, original)| match &self.area {
            Some(area) => area.lay_over(original, made),
            None => made.clone(),
        })
        .collect()
    }
}

/// The picture with sides that can be encoded; only one in the mode for latent pictures has others.
fn whole_sides(picture: &RgbImage) -> Result<RgbImage, GenerateError> {
    let (width, height) = picture.dimensions();
    if width.max(height) > ENCODED_SIDE_MAX {
        let reason = format!(
            "has a picture of {width} x {height} pixels, and `resize_mode` 3 takes sides up to \
             {ENCODED_SIDE_MAX}; send a smaller one or take another mode"
        );
        return Err(GenerateError::field("init_images", reason));
    }
    let side = |side: u32| (side / PIXELS * PIXELS).max(PIXELS);
    let (whole_width, whole_height) = (side(width), side(height));
    if (whole_width, whole_height) == (width, height) {
        return Ok(picture.clone());
    }
    Ok(resize(picture, whole_width, whole_height, Kernel::Lanczos))
}

/// Replaces what is made anew in latent pictures by noise or by nothing, where the request asks for it.
fn hide(
    latents: &mut Latents,
    new: &[f32],
    content: Content,
    seeds: &[i64],
) -> Result<(), GenerateError> {
    let [_, channels, rows, columns] = latents.sizes;
    let noise = match content {
        Content::Fill | Content::Original => return Ok(()),
        Content::LatentNothing => None,
        Content::LatentNoise => {
            let request = NoiseRequest::new([channels, rows, columns], seeds.to_vec());
            Some(NoiseSource::new(request)?.draw())
        }
    };
    for (at, value) in latents.numbers.iter_mut().enumerate() {
        let share = new[at % new.len()];
        let other = noise.as_ref().map_or(0.0, |noise| noise[at]);
        *value = *value * (1.0 - share) + other * share;
    }
    Ok(())
}

/// What the texts of the pictures say of the picture that they were made of.
fn describe<A: Artist>(
    session: &mut Session<'_, A>,
    request: &ImageToImage,
    is_masked: bool,
    noise_scale: f64,
) {
    session.say("Denoising strength", decimal(request.strength));
    if is_masked {
        if request.inverts_mask {
            session.say("Mask mode", "Inpaint not masked");
        }
        let [across, down] = request.mask_blur;
        if across > 0.0 && across == down {
            session.say("Mask blur", across.to_string());
        } else if across != down {
            session.say("Mask blur", format!("{across}x{down}"));
        }
        if request.is_masked_area_only {
            session.say("Inpaint area", "Only masked");
            session.say("Masked area padding", request.padding.to_string());
        }
        if let Some(label) = request.content.label() {
            session.say("Masked content", label);
        }
    }
    if noise_scale != 1.0 {
        session.say("Noise multiplier", decimal(noise_scale));
    }
}
