//! From photos of a person to the pictures that a training sees (`portrait-pipeline` section 5).
//!
//! Each photo is judged by the rules of `photog_check`, and what is usable becomes a square around the
//! face at once: of a photo itself only one is in memory at a time. When all are seen, it is decided
//! who the person is, which pictures are most like that person, and which photo stands for all
//! ([`choice`]). No photo vanishes silently: each one has its [`Fate`].
//!
//! ```text
//!   photo --> judge --> usable? --> seen before? --> crop --> background --> picture
//!                          |             |                                      |
//!                          v             v                                      v
//!                        Fate          Fate                keep(original)    choice --> Fate
//! ```
//!
//! Skin is not retouched, pictures are not captioned, and nothing here knows where files lie.

mod background;
mod choice;
pub(super) mod crop;
mod error;
mod fate;
#[cfg(test)]
mod tests;

pub use background::Background;
pub use choice::KEPT_MAX;
use choice::{Candidate, Choice, Standing, choose};
use crop::crop;
pub use error::PrepareError;
pub use fate::{Fate, Outcome, Reason, left_out};

use crate::{
    fetch::Fetcher,
    imaging::RgbImage,
    job::JobContext,
    models::face::{Embedding, Face, Fingerprint, Pose},
    pipeline::{
        Observer, PhotoSource, Verdict,
        check::{ANOTHER_PERSON, Judged, judge_each},
    },
};

/// Side of a training picture in pixels, when nothing else is asked: what Stable Diffusion 1.x was
/// trained at.
pub const SIDE: u32 = 512;
/// Largest side in pixels: 100 pictures of this size, which are in memory together, are 300 MiB.
pub const SIDE_MAX: u32 = 1024;
/// Side of the square around a face over the longer side of its box, when nothing else is asked
/// (`portrait-api` section 4.2).
pub const CROP_RATIO: f64 = 3.0;
/// Largest such ratio: a face of less than a tenth of a picture teaches nothing.
pub const CROP_RATIO_MAX: f64 = 10.0;
/// Fewest photos with which a training is not warned of (`portrait-api` section 4.1).
const PHOTOS_MIN: usize = 5;
/// Most photos that are not warned of.
const PHOTOS_MAX: usize = 20;

/// How training pictures are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Side of a picture in pixels, 1 to [`SIDE_MAX`].
    pub side: u32,
    /// Side of the square around a face over the longer side of its box, 1 to [`CROP_RATIO_MAX`].
    pub crop_ratio: f64,
    /// What everything but the person becomes.
    pub background: Background,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            side: SIDE,
            crop_ratio: CROP_RATIO,
            background: Background::default(),
        }
    }
}

/// Keeps the upright original of a photo, by its place, for the case that it becomes the reference;
/// fails with a text for people. The pixels are gone afterwards.
pub type Keep<'a> = dyn FnMut(usize, &RgbImage) -> Result<(), String> + 'a;

/// A picture to train with.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Place of its photo.
    pub photo: usize,
    /// The pixels, [`Options::side`] along both sides.
    pub picture: RgbImage,
    /// The face in this picture; its box may reach over the border.
    pub face: Face,
    /// How typical it is: the cosine between its face and the mean of the person's photos, -1 to 1.
    pub score: Option<f32>,
    /// The face as numbers, where persons are told apart.
    pub embedding: Option<Embedding>,
}

/// What a training begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// One for each photo, in their order.
    pub fates: Vec<Fate>,
    /// 1 to [`KEPT_MAX`] pictures, in the order of their photos.
    pub pictures: Vec<Picture>,
    /// Place of the photo that stands for the person; its picture is among the pictures.
    pub reference: usize,
    /// The mean of the faces of all usable photos of the person, where persons are told apart.
    pub centre: Option<Embedding>,
    /// What is to be said of the photos as a whole and of the networks; [`left_out`] gives what is to
    /// be said of single ones.
    pub warnings: Vec<String>,
}

/// A usable photo that is no copy of an earlier one.
struct Usable {
    photo: usize,
    pose: Pose,
    print: Fingerprint,
    embedding: Option<Embedding>,
    picture: RgbImage,
    face: Face,
}

/// Judges the photos, 1 to 100 of them, and makes training pictures of the best.
///
/// `keep` gets the original of each usable photo that is no copy, in the order of the photos; one of
/// them will be [`Prepared::reference`], and all others may be dropped then, as all may after an error.
/// Without a network that tells persons apart, all are taken for one person, with a warning.
pub fn prepare(
    photos: &[PhotoSource<'_>],
    options: &Options,
    fetcher: &Fetcher,
    observer: &dyn Observer,
    keep: &mut Keep<'_>,
    context: &JobContext,
) -> Result<Prepared, PrepareError> {
    let same_person = observer.same_person();
    let compared = same_person.is_ok();
    let mut usable: Vec<Usable> = Vec::new();
    let mut copies: Vec<(usize, usize)> = Vec::new();
    let visit = |at: usize, photo: &RgbImage, judged: &Judged| -> Result<(), PrepareError> {
        let look = Look::of(judged);
        // Held against those that are no copies themselves, so that of a row of shots, each a little
        // different from the one before, more than the first is left.
        let mut earlier = usable.iter();
        if let Some(first) = earlier.find(|first| first.print.is_same_shot(look.print)) {
            copies.push((at, first.photo));
            return Ok(());
        }
        keep(at, photo).map_err(PrepareError::NotKept)?;
        usable.push(Usable::made(at, photo, &look, options));
        Ok(())
    };
    let judged = judge_each(photos, fetcher, observer, compared, context, visit)?;
    let mut fates: Vec<Fate> = judged.into_iter().enumerate().map(first_fate).collect();
    for (at, first) in copies {
        let detail = format!(
            "it is the same shot as images[{first}] and adds nothing; send another photo instead"
        );
        fates[at] = Fate::left_out(at, Reason::SameShot, Some(detail));
    }
    if usable.is_empty() {
        return Err(PrepareError::NoUsablePhoto { fates });
    }
    let candidates: Vec<Candidate<'_>> = usable
        .iter()
        .map(|photo| Candidate {
            pose: photo.pose,
            embedding: photo.embedding.as_ref(),
        })
        .collect();
    let choice = choose(&candidates, same_person.as_ref().ok().copied())
        .map_err(|persons| several_persons(&persons, &usable, fates.clone()))?;
    let mut prepared = assembled(usable, choice, fates);
    let missing = same_person.err().map(|missing| {
        format!(
            "it was not checked that all photos show one person, nor which are most like that \
             person: {missing}"
        )
    });
    let notice = observer.notice().map(str::to_owned);
    let warnings = notice.into_iter().chain(missing);
    prepared.warnings = warnings
        .chain(of_numbers(photos.len(), prepared.pictures.len()))
        .collect();
    Ok(prepared)
}

/// What a check found on a usable photo.
struct Look<'a> {
    face: &'a Face,
    pose: Pose,
    print: &'a Fingerprint,
    embedding: Option<&'a Embedding>,
}

impl<'a> Look<'a> {
    fn of(judged: &'a Judged) -> Self {
        let (Some([face]), Some(pose), Some(print)) = (
            judged.report.faces.as_deref(),
            judged.report.pose,
            &judged.fingerprint,
        ) else {
            unreachable!("a usable photo has one face, which was measured");
        };
        Self {
            face,
            pose,
            print,
            embedding: judged.embedding.as_ref(),
        }
    }
}

impl Usable {
    fn made(at: usize, photo: &RgbImage, look: &Look<'_>, options: &Options) -> Self {
        let side = options.side.clamp(1, SIDE_MAX);
        let ratio = options.crop_ratio.clamp(1.0, CROP_RATIO_MAX);
        let crop = crop(photo, look.face, look.pose.roll, ratio, side);
        Self {
            photo: at,
            pose: look.pose,
            print: look.print.clone(),
            embedding: look.embedding.cloned(),
            picture: options.background.applied(crop.picture, &crop.face),
            face: crop.face,
        }
    }
}

/// What a check alone makes of a photo.
fn first_fate((photo, judged): (usize, Judged)) -> Fate {
    let report = judged.report;
    match report.verdict {
        Verdict::Success => Fate {
            photo,
            outcome: Outcome::Used,
            detail: None,
            score: None,
        },
        verdict => Fate::left_out(photo, Reason::Check(verdict), report.detail),
    }
}

/// The refusal of photos that show these persons, each given by places among the usable ones.
fn several_persons(
    persons: &[Vec<usize>],
    usable: &[Usable],
    mut fates: Vec<Fate>,
) -> PrepareError {
    let photo = |at: &usize| usable[*at].photo;
    let persons: Vec<Vec<usize>> = persons
        .iter()
        .map(|person| person.iter().map(photo).collect())
        .collect();
    for at in persons.iter().flatten() {
        let reason = Reason::Check(Verdict::AnotherPerson);
        fates[*at] = Fate::left_out(*at, reason, Some(ANOTHER_PERSON.into()));
    }
    PrepareError::SeveralPersons { persons, fates }
}

/// Takes the chosen pictures and writes down what became of all photos.
fn assembled(usable: Vec<Usable>, choice: Choice, mut fates: Vec<Fate>) -> Prepared {
    let mut pictures = Vec::new();
    let mut reference = 0;
    let decided = choice.standings.into_iter().zip(choice.scores);
    for (photo, (standing, score)) in usable.into_iter().zip(decided) {
        let at = photo.photo;
        let fate = match standing {
            Standing::Reference | Standing::Used => {
                pictures.push(Picture {
                    photo: at,
                    picture: photo.picture,
                    face: photo.face,
                    score,
                    embedding: photo.embedding,
                });
                let mut outcome = Outcome::Used;
                if standing == Standing::Reference {
                    outcome = Outcome::Reference;
                    reference = at;
                }
                Fate {
                    photo: at,
                    outcome,
                    detail: None,
                    score,
                }
            }
            Standing::Stranger => {
                let reason = Reason::Check(Verdict::AnotherPerson);
                Fate::left_out(at, reason, Some(ANOTHER_PERSON.into()))
            }
            Standing::BeyondTheBest => {
                let detail = format!(
                    "{KEPT_MAX} other photos are more like the person, and with more of them each \
                     one would count less"
                );
                Fate::left_out(at, Reason::BeyondTheBest, Some(detail))
            }
        };
        fates[at] = Fate { score, ..fate };
    }
    Prepared {
        fates,
        pictures,
        reference,
        centre: choice.centre,
        warnings: Vec::new(),
    }
}

/// What is to be said of so many photos of which so many are used.
fn of_numbers(sent: usize, used: usize) -> impl Iterator<Item = String> {
    let many = (sent > PHOTOS_MAX).then(|| {
        format!("{sent} photos were sent, and a training uses the best {KEPT_MAX} at most")
    });
    let few = (used < PHOTOS_MIN).then(|| {
        let photos = if used == 1 { "photo is" } else { "photos are" };
        format!(
            "only {used} {photos} used; a likeness that holds from all sides takes {PHOTOS_MIN} to \
             {PHOTOS_MAX}"
        )
    });
    many.into_iter().chain(few)
}
