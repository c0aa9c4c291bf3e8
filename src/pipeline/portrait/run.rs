//! A portrait, step by step (`portrait-pipeline` section 8).

use crate::{
    domain::{PersonId, Words},
    imaging::{
        GrayImage, Kernel, RgbImage, blend::blend, blur::gaussian_blur, morphology::dilate, resize,
    },
    job::JobContext,
    models::face::{Embedding, Face},
    pipeline::{Observer, generate::GenerateError},
};

use super::{
    around::Around,
    error::PortraitError,
    extras::Extras,
    fusion::{Fusion, fused, laid_over},
    masks::{boxes, combined, joins, scale, surroundings, window},
    painting::{Guide, Made, Order, Painting},
    part::Part,
    progress::Passes,
    settings::{Pass, Settings},
    subject::Subject,
};

/// How many times as wide and high a portrait becomes that is enlarged.
const ENLARGED: u32 = 2;
/// Deviation of the bell that softens masks, in pixels of work whose shorter side is 512.
const MASK_BLUR: f64 = 8.0;
/// Least overlap (intersection over union) of a face of the template with the one that was made of it.
const SAME_PLACE: f32 = 0.2;
/// Pixels around all faces in the pass over the joins.
const JOINS_MARGIN: u32 = 50;
/// The pass over the joins.
const JOINS: Pass = Pass {
    steps: 30,
    strength: 0.3,
};
/// Steps of the pass over the surroundings.
const SURROUNDINGS_STEPS: usize = 30;
/// What guides where the surroundings of faces are made anew.
const SURROUNDINGS_GUIDES: [(Guide, f64); 2] = [(Guide::Canny, 1.0), (Guide::Color, 1.0)];

/// What a portrait is made with.
pub(super) struct Means<'a> {
    /// Finds and compares faces.
    pub(super) observer: &'a dyn Observer,
    /// Networks that may be there.
    pub(super) extras: &'a dyn Extras,
    /// Paints.
    pub(super) painting: &'a dyn Painting,
    /// The fixed words.
    pub(super) words: &'a Words,
    /// The checkpoint, by name.
    pub(super) checkpoint: &'a str,
    /// The settings.
    pub(super) settings: &'a Settings,
}

/// A finished portrait.
#[derive(Debug, Clone, PartialEq)]
pub struct Portrait {
    /// The pixels: as many as the template has, or twice as many a side.
    pub picture: RgbImage,
    /// The seed.
    pub seed: i64,
    /// The checkpoint, by name.
    pub checkpoint: String,
    /// Who is seen, from left to right.
    pub persons: Vec<PersonId>,
    /// How like its person each face is: the cosine to the face of the reference photo, -1 to 1; none
    /// where no face was found or persons are not told apart.
    pub scores: Vec<Option<f32>>,
    /// What is to be known about it.
    pub warnings: Vec<String>,
}

/// Makes the persons of the faces of a template, from left to right.
pub(super) fn portrait(
    template: &RgbImage,
    subjects: &[Subject],
    means: &Means<'_>,
    context: &JobContext,
) -> Result<Portrait, PortraitError> {
    let Settings {
        second,
        background_restore,
        seed,
        ..
    } = *means.settings;
    let mut faces = means.observer.observe(template)?.faces().to_vec();
    faces.sort_by(|one, other| one.bounds.left.total_cmp(&other.bounds.left));
    let mut warnings = Vec::new();
    counts_fit(faces.len(), subjects, means.settings, &mut warnings)?;
    let filled = faces.len().min(subjects.len());
    let passes = filled * (1 + usize::from(second.is_some()))
        + usize::from(filled > 1)
        + usize::from(background_restore.is_some());
    let mut work = Work {
        means,
        context,
        picture: template.clone(),
        passes: Passes::new(context, passes),
        warnings,
    };
    for (at, subject) in subjects.iter().take(filled).enumerate() {
        let name = format!("face {} of {filled}", at + 1);
        work.fill(&faces, at, subject, &name)?;
    }
    let (filled_faces, stay) = faces.split_at(filled);
    if filled > 1 {
        work.mend_joins(filled_faces, stay)?;
    }
    if let Some(strength) = background_restore {
        work.restore_surroundings(&faces, strength)?;
    }
    let found = means.observer.observe(&work.picture)?;
    let score = |(subject, face): (&Subject, &Face)| {
        let person = subject.reference.as_ref()?.embedding.as_ref()?;
        likeness(&work.picture, found.faces(), face, person, means.observer)
    };
    let scores = subjects.iter().zip(filled_faces).map(score).collect();
    work.enlarge()?;
    let persons = subjects.iter().take(filled);
    Ok(Portrait {
        scores,
        seed,
        checkpoint: means.checkpoint.to_owned(),
        persons: persons.map(|subject| subject.id.clone()).collect(),
        warnings: work.warnings,
        picture: work.picture,
    })
}

/// Whether there are as many faces as persons, or that may differ.
fn counts_fit(
    faces: usize,
    subjects: &[Subject],
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> Result<(), PortraitError> {
    let persons = subjects.len();
    if faces == 0 {
        return Err(PortraitError::NoFace);
    }
    if faces == persons {
        return Ok(());
    }
    if !settings.allow_face_count_mismatch {
        return Err(PortraitError::FaceCount { faces, persons });
    }
    if faces > persons {
        warnings.push(format!(
            "the template shows {faces} faces; those from the {}. on stay as they are",
            persons + 1
        ));
    }
    for subject in subjects.iter().skip(faces) {
        warnings.push(format!(
            "there is no face for `{}`, who is not in the portrait",
            subject.id
        ));
    }
    Ok(())
}

/// How like a person that face of a picture is which lies where `place` is; none where there is none.
fn likeness(
    picture: &RgbImage,
    found: &[Face],
    place: &Face,
    person: &Embedding,
    observer: &dyn Observer,
) -> Option<f32> {
    let overlap = |face: &&Face| face.bounds.iou(&place.bounds);
    let nearest = found
        .iter()
        .max_by(|one, other| overlap(one).total_cmp(&overlap(other)))?;
    if overlap(&nearest) < SAME_PLACE {
        return None;
    }
    Some(person.cosine(&observer.embed(picture, nearest).ok()?))
}

/// The work on one portrait.
struct Work<'a> {
    means: &'a Means<'a>,
    context: &'a JobContext,
    /// The template, as far as it is done.
    picture: RgbImage,
    passes: Passes<'a>,
    warnings: Vec<String>,
}

impl Work<'_> {
    /// Makes a person of one face.
    fn fill(
        &mut self,
        faces: &[Face],
        at: usize,
        subject: &Subject,
        name: &str,
    ) -> Result<(), PortraitError> {
        let settings = self.means.settings;
        let around = Around::of(&self.picture, faces, at, settings, self.means.extras)?;
        let begin = self.begun_with(&around, subject)?;
        let guides = [(Guide::Canny, 0.5), (Guide::Color, 0.85)];
        let first = self.paint(
            vec![begin],
            &around.masks.wide,
            settings.first,
            Some(subject),
            &guides,
            format!("{name}, first pass"),
        )?;
        let recolor = |pictures: Vec<RgbImage>, wanted: bool| -> Vec<RgbImage> {
            if !wanted {
                return pictures;
            }
            let pictures = pictures.iter();
            pictures
                .map(|picture| around.recolored(picture, &around.masks.face))
                .collect()
        };
        let mut pictures = recolor(first, settings.color_shift_middle);
        if settings.apply_face_fusion_after {
            let ratio = settings.after_face_fusion_ratio;
            for picture in &mut pictures {
                if let Some(fused) = self.fused_by_network(picture, &around, subject, ratio)? {
                    *picture = fused;
                }
            }
        }
        let mut changed = around.masks.wide.clone();
        if let Some(second) = settings.second {
            let guides = [(Guide::Canny, 1.0), (Guide::Tile, 1.0)];
            pictures = self.paint(
                pictures,
                &around.masks.seams,
                second,
                Some(subject),
                &guides,
                format!("{name}, second pass"),
            )?;
            changed = combined(&changed, &around.masks.seams, u8::max);
        }
        let pictures = recolor(pictures, settings.color_shift_last);
        let best = self.best(pictures, &around, subject);
        let Some(best) = best else {
            return Err(GenerateError::Fault(String::from("nothing was painted")).into());
        };
        let share = soft(&changed)?;
        let share = combined(&share, &around.masks.allowed, u8::min);
        around.part.put_back(&mut self.picture, &best, &share);
        Ok(())
    }

    /// What painting begins with: the part itself, or with the person's face over it, by a network or by
    /// the reference photo.
    fn begun_with(&self, around: &Around, subject: &Subject) -> Result<RgbImage, PortraitError> {
        let settings = self.means.settings;
        let Some(reference) = &subject.reference else {
            return Ok(around.original.clone());
        };
        if !settings.apply_face_fusion_before {
            return Ok(around.original.clone());
        }
        let ratio = settings.before_face_fusion_ratio;
        if let Some(fused) = self.fused_by_network(&around.original, around, subject, ratio)? {
            return Ok(fused);
        }
        let fusion = self.fusion(ratio);
        let photo = (&reference.photo, &reference.face);
        let Around {
            original,
            face,
            masks,
            ..
        } = around;
        Ok(fused(original, face, masks, photo, fusion))
    }

    fn fusion(&self, ratio: f64) -> Fusion {
        let matches_template = self.means.settings.color_shift_middle;
        Fusion {
            ratio,
            matches_colors: matches_template,
            keeps_lips: matches_template,
        }
    }

    /// A picture of the part with the person's features on the face, where there is a network for it.
    fn fused_by_network(
        &self,
        picture: &RgbImage,
        around: &Around,
        subject: &Subject,
        ratio: f64,
    ) -> Result<Option<RgbImage>, PortraitError> {
        let person = subject.reference.as_ref();
        let Some(person) = person.and_then(|reference| reference.embedding.as_ref()) else {
            return Ok(None);
        };
        let fused = self.means.extras.fuse(picture, &around.face, person)?;
        let over = |(fused, there): (RgbImage, GrayImage)| {
            laid_over(picture, &around.masks, (&fused, &there), self.fusion(ratio))
        };
        Ok(fused.map(over))
    }

    /// Makes the picture larger, by a network and by interpolation in shares, where that is asked for.
    fn enlarge(&mut self) -> Result<(), PortraitError> {
        if !self.means.settings.super_resolution {
            return Ok(());
        }
        let mut keep_going = || self.context.checkpoint().is_ok();
        let larger = self.means.extras.enlarge(&self.picture, &mut keep_going);
        // Where it was stopped, that is the reason.
        self.context.checkpoint()?;
        let why = match larger {
            Ok(Some(larger)) => {
                self.take_larger(&larger);
                return Ok(());
            }
            Ok(None) => String::from(
                "it needs a network, and there is no `super-resolution` in the data folder; `photog \
                 models list` tells more",
            ),
            // The portrait itself is done, and is not lost for that.
            Err(error) => error.to_string(),
        };
        let warning = format!("`configure.super_resolution` was ignored: {why}");
        self.warnings.push(warning);
        Ok(())
    }

    /// Takes a larger picture by its share, and interpolates the rest.
    fn take_larger(&mut self, larger: &RgbImage) {
        let [width, height] =
            [self.picture.width(), self.picture.height()].map(|side| side * ENLARGED);
        let sized = |picture: &RgbImage| resize(picture, width, height, Kernel::Lanczos);
        let share = (self.means.settings.super_resolution_ratio * 255.0).round() as u8;
        let share = GrayImage::from_pixel(width, height, [share].into());
        self.picture = blend(&sized(&self.picture), &sized(larger), &share);
    }

    /// The candidate that is most like the person; the first where that cannot be told.
    fn best(
        &self,
        pictures: Vec<RgbImage>,
        around: &Around,
        subject: &Subject,
    ) -> Option<RgbImage> {
        let observer = self.means.observer;
        let person = subject.reference.as_ref();
        let person = person.and_then(|reference| reference.embedding.as_ref());
        let score = |picture: &RgbImage| {
            let found = observer.observe(picture).ok()?;
            likeness(picture, found.faces(), &around.face, person?, observer)
        };
        if pictures.len() == 1 {
            return pictures.into_iter().next();
        }
        let scored = pictures.into_iter().map(|picture| {
            let score = score(&picture).unwrap_or(f32::NEG_INFINITY);
            (score, picture)
        });
        // Of equal ones the first stays.
        let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map(|(_, picture)| picture)
    }

    /// One pass of painting, with the words of a person or of nobody.
    fn paint(
        &mut self,
        pictures: Vec<RgbImage>,
        mask: &GrayImage,
        pass: Pass,
        subject: Option<&Subject>,
        guides: &[(Guide, f64)],
        name: String,
    ) -> Result<Vec<RgbImage>, PortraitError> {
        let Means {
            settings,
            words,
            painting,
            checkpoint,
            ..
        } = *self.means;
        self.context.checkpoint()?;
        let count = match subject {
            Some(_) => settings.candidates,
            None => 1,
        };
        let prompt = prompt(subject, settings, words);
        let negative = joined([&settings.additional_neg_prompt, &words.negative]);
        let order = Order {
            checkpoint,
            prompt: &prompt,
            negative: &negative,
            guidance: settings.guidance,
            pictures,
            count,
            mask,
            mask_blur: MASK_BLUR * scale(mask.dimensions()),
            steps: pass.steps,
            strength: pass.strength,
            seed: settings.seed,
            guides,
        };
        let Made { pictures, warnings } = painting.repaint(order, self.passes.begin(name))?;
        self.passes.end();
        for warning in warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        Ok(pictures)
    }

    /// Where pictures of several people meet. Faces that stay are not touched.
    fn mend_joins(&mut self, faces: &[Face], stay: &[Face]) -> Result<(), PortraitError> {
        let size = self.picture.dimensions();
        let bounds: Vec<_> = faces.iter().map(|face| face.bounds).collect();
        let part = Part::around_all(&bounds, JOINS_MARGIN, size, self.means.settings.side);
        let [seen, stay] = [faces, stay]
            .map(|faces| -> Vec<Face> { faces.iter().map(|face| part.seen(face)).collect() });
        let windows = [64.0, 32.0].map(|usual| window(usual, part.size));
        let mask = joins(&seen, &stay, windows, part.size);
        let stays = boxes(&stay, part.size);
        self.paint_part(&part, &mask, &stays, JOINS, String::from("joins"))
    }

    /// All but the faces.
    fn restore_surroundings(&mut self, faces: &[Face], strength: f64) -> Result<(), PortraitError> {
        let part = Part::whole(self.picture.dimensions(), self.means.settings.side);
        let seen: Vec<Face> = faces.iter().map(|face| part.seen(face)).collect();
        let mask = surroundings(&seen, window(32.0, part.size), part.size);
        let pass = Pass {
            steps: SURROUNDINGS_STEPS,
            strength,
        };
        let stays = GrayImage::new(part.size.0, part.size.1);
        self.paint_part(&part, &mask, &stays, pass, String::from("surroundings"))
    }

    /// Paints a part by a mask, and puts it back without touching what `stays`.
    fn paint_part(
        &mut self,
        part: &Part,
        mask: &GrayImage,
        stays: &GrayImage,
        pass: Pass,
        name: String,
    ) -> Result<(), PortraitError> {
        let pictures = vec![part.cut(&self.picture)];
        let made = self.paint(pictures, mask, pass, None, &SURROUNDINGS_GUIDES, name)?;
        let share = combined(&soft(mask)?, stays, u8::saturating_sub);
        if let Some(made) = made.first() {
            part.put_back(&mut self.picture, made, &share);
        }
        Ok(())
    }
}

/// What of the picture is replaced where these pixels were made anew: all of them, and softly what is
/// around them, which hardly changed.
fn soft(changed: &GrayImage) -> Result<GrayImage, PortraitError> {
    let blur = MASK_BLUR * scale(changed.dimensions());
    let grown = dilate(changed, 2 * (2.0 * blur).ceil() as u32 + 1);
    gaussian_blur(&grown, blur, blur)
        .map_err(|error| GenerateError::Fault(error.to_string()).into())
}

/// The words of a pass: the person's, with the LoRA, those of the request and the fixed ones.
fn prompt(subject: Option<&Subject>, settings: &Settings, words: &Words) -> String {
    let (caption, lora) = match subject {
        Some(subject) => (
            subject.caption.clone(),
            format!("<lora:{}:{}>", subject.id, settings.lora_weights),
        ),
        None => (String::new(), String::new()),
    };
    joined([&caption, &lora, &settings.additional_prompt, &words.prompt])
}

/// The texts that say something, with commas between them.
fn joined<const N: usize>(texts: [&String; N]) -> String {
    let said = texts.into_iter().map(|text| text.trim());
    let said: Vec<&str> = said.filter(|text| !text.is_empty()).collect();
    said.join(", ")
}
