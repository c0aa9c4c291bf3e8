//! What became of each photo, in words that stay the same.

use serde::{Serialize, Serializer};

use crate::pipeline::Verdict;

/// What became of one photo of a training.
///
/// It serialises to `{"photo": 3, "fate": "left_out", "reason": "no_face", "detail": "no face was
/// found; ...", "score": null, "reference": false}`: `photo` is the place in the list of photos from 0
/// on, `fate` is `used` or `left_out`, `reason` the word of a [`Reason`] and null for a used photo,
/// `detail` the same for people, `score` the likeness of -1 to 1 to the mean of the person's photos
/// with four digits, null where it is not known, and `reference` is true for one used photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Fate {
    /// Place in the list of photos.
    pub photo: usize,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it is left out, with what to do; no address and no path stands in it. Other photos are
    /// named by their place, as `images[2]`.
    pub detail: Option<String>,
    /// Cosine between its face and the mean of the person's photos.
    pub score: Option<f32>,
}

/// What became of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is trained with.
    Used,
    /// It is trained with, and is the one that stands for the person.
    Reference,
    /// It is not trained with.
    LeftOut(Reason),
}

/// Why a photo is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The check of single photos, or of the person in them, speaks against it; never a success.
    Check(Verdict),
    /// An earlier photo is the same shot.
    SameShot,
    /// There are enough photos that are more like the person.
    BeyondTheBest,
}

impl Reason {
    /// The word that travels in results and stays the same.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Check(verdict) => match verdict {
                Verdict::Success => "success",
                Verdict::DownloadFailed => "download_failed",
                Verdict::DecodeFailed => "decode_failed",
                Verdict::TooSmall => "too_small",
                Verdict::NoFace => "no_face",
                Verdict::SeveralFaces => "several_faces",
                Verdict::FaceTooSmall => "face_too_small",
                Verdict::PoorQuality => "poor_quality",
                Verdict::AnotherPerson => "another_person",
                Verdict::InternalError => "internal_error",
            },
            Self::SameShot => "same_shot",
            Self::BeyondTheBest => "beyond_the_best",
        }
    }

    /// The reason in words, those of a check where it is one.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Check(verdict) => verdict.message(),
            Self::SameShot => "same shot as an earlier photo",
            Self::BeyondTheBest => "beyond the best photos",
        }
    }
}

impl Fate {
    /// A photo that is not trained with.
    pub(super) fn left_out(photo: usize, reason: Reason, detail: Option<String>) -> Self {
        Self {
            photo,
            outcome: Outcome::LeftOut(reason),
            detail,
            score: None,
        }
    }

    /// Whether it is trained with.
    pub fn is_used(&self) -> bool {
        self.reason().is_none()
    }

    /// Why it is left out, if it is.
    pub fn reason(&self) -> Option<Reason> {
        match self.outcome {
            Outcome::Used | Outcome::Reference => None,
            Outcome::LeftOut(reason) => Some(reason),
        }
    }

    /// What a check says of it; a photo that is left out for others alone is a success.
    pub fn verdict(&self) -> Verdict {
        match self.reason() {
            Some(Reason::Check(verdict)) => verdict,
            _ => Verdict::Success,
        }
    }
}

/// One line for each photo that is left out, each named by its place in the list `name`.
pub fn left_out(fates: &[Fate], name: &str) -> Vec<String> {
    let line = |fate: &Fate| {
        let reason = fate.reason()?;
        let detail = fate.detail.as_deref().unwrap_or(reason.message());
        Some(format!("{name}[{}] is left out: {detail}", fate.photo))
    };
    fates.iter().filter_map(line).collect()
}

/// The wire form.
#[derive(Serialize)]
struct FateForm<'a> {
    photo: usize,
    fate: &'a str,
    reason: Option<&'a str>,
    detail: Option<&'a str>,
    score: Option<f64>,
    reference: bool,
}

impl Serialize for Fate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = FateForm {
            photo: self.photo,
            fate: if self.is_used() { "used" } else { "left_out" },
            reason: self.reason().map(Reason::word),
            detail: self.detail.as_deref(),
            score: self
                .score
                .map(|score| (f64::from(score) * 1e4).round() / 1e4),
            reference: self.outcome == Outcome::Reference,
        };
        form.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fate_has_its_form() {
        let reference = Fate {
            photo: 3,
            outcome: Outcome::Reference,
            detail: None,
            score: Some(0.912_345_6),
        };
        assert_eq!(
            json!(reference),
            json!({"photo": 3, "fate": "used", "reason": null, "detail": null, "score": 0.9123,
                "reference": true})
        );
        let detail = Some(String::from("no face was found"));
        let without = Fate::left_out(0, Reason::Check(Verdict::NoFace), detail);
        assert_eq!(
            json!(without),
            json!({"photo": 0, "fate": "left_out", "reason": "no_face",
                "detail": "no face was found", "score": null, "reference": false})
        );
        let lines = left_out(&[without, reference], "images");
        assert_eq!(lines, ["images[0] is left out: no face was found"]);
    }

    #[test]
    fn a_photo_that_is_left_out_for_others_alone_passes_the_check() {
        let verdict = |reason| Fate::left_out(0, reason, None).verdict();
        assert_eq!(verdict(Reason::SameShot), Verdict::Success);
        assert_eq!(verdict(Reason::BeyondTheBest), Verdict::Success);
        let another = Reason::Check(Verdict::AnotherPerson);
        assert_eq!(verdict(another), Verdict::AnotherPerson);
        assert_eq!(another.word(), "another_person");
    }
}
