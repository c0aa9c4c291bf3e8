//! Why there is nothing to train with.

use std::collections::BTreeMap;

use super::Fate;
use crate::{domain::Problem, job::CancelReason, pipeline::Failure};

/// Most photos of one person that a text names.
const PHOTOS_NAMED_MAX: usize = 10;

/// Why photos become no training pictures.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PrepareError {
    /// No photo is left.
    #[error("{}", without_a_photo(.fates))]
    NoUsablePhoto {
        /// What became of each photo.
        fates: Vec<Fate>,
    },
    /// The photos show several persons, and none of them clearly more often than the others.
    #[error("{}", of_several(.persons))]
    SeveralPersons {
        /// Places of the usable photos by the person that they show, the most frequent person first.
        persons: Vec<Vec<usize>>,
        /// What is known of each photo: those that show a person count as another person's.
        fates: Vec<Fate>,
    },
    /// An original could not be kept.
    #[error("a photo could not be kept for the training: {0}")]
    NotKept(String),
    /// The job has to stop.
    #[error("{}", Failure::from(*.0).message)]
    Stopped(CancelReason),
}

impl PrepareError {
    /// What became of each photo, as far as all were looked at.
    pub fn fates(&self) -> &[Fate] {
        match self {
            Self::NoUsablePhoto { fates } | Self::SeveralPersons { fates, .. } => fates,
            Self::NotKept(_) | Self::Stopped(_) => &[],
        }
    }
}

impl From<CancelReason> for PrepareError {
    fn from(reason: CancelReason) -> Self {
        Self::Stopped(reason)
    }
}

impl From<PrepareError> for Failure {
    fn from(error: PrepareError) -> Self {
        let problem = match error {
            PrepareError::NoUsablePhoto { .. } | PrepareError::SeveralPersons { .. } => {
                Problem::NoUsableImage
            }
            PrepareError::NotKept(_) => Problem::InternalError,
            PrepareError::Stopped(reason) => return reason.into(),
        };
        Self::new(problem, error.to_string())
    }
}

fn without_a_photo(fates: &[Fate]) -> String {
    if let [only] = fates
        && let Some(detail) = &only.detail
    {
        return format!("the only photo cannot be used: {detail}");
    }
    let mut counts: BTreeMap<u8, (usize, &str)> = BTreeMap::new();
    for reason in fates.iter().filter_map(Fate::reason) {
        let code = match reason {
            super::Reason::Check(verdict) => verdict.code(),
            _ => u8::MAX,
        };
        counts.entry(code).or_insert((0, reason.message())).0 += 1;
    }
    let mut counts: Vec<_> = counts.into_values().collect();
    counts.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let reasons: Vec<_> = counts
        .iter()
        .map(|(count, message)| format!("{message} ({count})"))
        .collect();
    format!(
        "none of the {} photos can be used: {}; each photo has to show the face of one person alone, \
         sharp, lit and not covered, and to have more than 512 x 512 pixels",
        fates.len(),
        reasons.join(", ")
    )
}

fn of_several(persons: &[Vec<usize>]) -> String {
    let all: usize = persons.iter().map(Vec::len).sum();
    let mut groups: Vec<String> = persons
        .iter()
        .zip(["one person", "another", "a third"])
        .map(|(photos, who)| format!("{} of {who} ({})", photos.len(), named(photos)))
        .collect();
    let rest: usize = persons.iter().skip(groups.len()).map(Vec::len).sum();
    if rest > 0 {
        groups.push(format!("{rest} of others"));
    }
    format!(
        "the {all} usable photos show several persons, and none of them in a clear majority: {}; send \
         photos of one person only",
        groups.join(", ")
    )
}

/// Photos by their places.
fn named(photos: &[usize]) -> String {
    let mut names: Vec<String> = photos
        .iter()
        .take(PHOTOS_NAMED_MAX)
        .map(|at| format!("images[{at}]"))
        .collect();
    if photos.len() > PHOTOS_NAMED_MAX {
        names.push(format!("{} more", photos.len() - PHOTOS_NAMED_MAX));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Verdict, train::Reason};

    #[test]
    fn a_refusal_counts_what_speaks_against_the_photos() {
        let verdicts = [Verdict::TooSmall, Verdict::NoFace, Verdict::NoFace];
        let fates: Vec<Fate> = (0..)
            .zip(verdicts)
            .map(|(at, verdict)| Fate::left_out(at, Reason::Check(verdict), None))
            .collect();
        let error = PrepareError::NoUsablePhoto { fates };
        let text = error.to_string();
        let told =
            "none of the 3 photos can be used: no face detected (2), image too small (1); each";
        assert!(text.starts_with(told), "{text}");
        assert_eq!(error.fates().len(), 3);
        assert_eq!(Failure::from(error).problem, Problem::NoUsableImage);
    }

    #[test]
    fn what_is_wrong_with_a_single_photo_is_said_in_full() {
        let detail = Some(String::from("no face was found; send another"));
        let fates = vec![Fate::left_out(0, Reason::Check(Verdict::NoFace), detail)];
        let text = PrepareError::NoUsablePhoto { fates }.to_string();
        assert_eq!(
            text,
            "the only photo cannot be used: no face was found; send another"
        );
    }

    #[test]
    fn a_refusal_names_the_photos_of_each_person_and_stays_short() {
        let text = |persons: Vec<Vec<usize>>| {
            let fates = Vec::new();
            PrepareError::SeveralPersons { persons, fates }.to_string()
        };
        assert_eq!(
            text(vec![vec![0, 2], vec![1]]),
            "the 3 usable photos show several persons, and none of them in a clear majority: 2 of one \
             person (images[0], images[2]), 1 of another (images[1]); send photos of one person only"
        );
        let many = text((0..8).map(|at| (at * 12..at * 12 + 12).collect()).collect());
        assert!(
            many.contains("60 of others") && many.contains("images[9], 2 more"),
            "{many}"
        );
        assert!(many.len() < 700);
    }

    #[test]
    fn a_stop_keeps_its_reason() {
        let error = PrepareError::from(CancelReason::Deadline);
        assert_eq!(Failure::from(error).problem, Problem::Timeout);
        let full = PrepareError::NotKept(String::from("the disk is full"));
        assert_eq!(Failure::from(full).problem, Problem::InternalError);
    }
}
