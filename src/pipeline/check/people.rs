//! Whether all photos show one person.

use crate::models::face::Embedding;

/// Which of the faces show the person that most of them show.
///
/// Two faces match when their cosine reaches `threshold`. The person is the one of the face with
/// most matches, the more alike ones first and then the earlier one; a face belongs to the person
/// when it matches the mean of the others that match this face. Comparing with a mean is milder than
/// comparing each with each, as a hard photo need not match every other one, and stricter too, as
/// one chance likeness is not enough.
///
/// Measured with `MobileFaceNet` on the 79 photos of 18 persons of the test data. Single pairs, 238
/// of one person and 2843 of two:
///
/// | threshold | 0.25 | 0.30 | 0.35 | 0.40 | 0.45 |
/// | --- | --- | --- | --- | --- | --- |
/// | one person taken for two | 0 | 0 | 2 | 6 | 9 |
/// | two persons taken for one | 12 | 3 | 1 | 0 | 0 |
///
/// The list of networks has 0.35, because the mean forgives a pair below it and nothing forgives two
/// persons in one training. By the rule above, at 0.35, the photos of each person alone are of one
/// person, and in each of 875 groups of one person's photos with one of a stranger the stranger and
/// nobody else is found. Against the mean of the others, photos of the person have at least 0.62 and
/// those of strangers at most 0.32.
pub(in crate::pipeline) fn of_the_person(faces: &[&Embedding], threshold: f32) -> Vec<bool> {
    let matches = |one: &Embedding| {
        let cosines = faces.iter().map(|other| one.cosine(other));
        let matching: Vec<f32> = cosines.filter(|cosine| *cosine >= threshold).collect();
        (matching.len(), matching.iter().sum::<f32>())
    };
    let mut best: Option<(&Embedding, (usize, f32))> = None;
    for face in faces {
        let found = matches(face);
        if best.is_none_or(|(_, most)| found > most) {
            best = Some((face, found));
        }
    }
    let Some((centre, _)) = best else {
        return Vec::new();
    };
    let group: Vec<usize> = (0..faces.len())
        .filter(|at| centre.cosine(faces[*at]) >= threshold)
        .collect();
    let belongs = |(at, face): (usize, &&Embedding)| {
        let others = group.iter().filter(|other| **other != at);
        let mean = Embedding::mean(others.map(|other| faces[*other]));
        // Without others it is the centre itself.
        mean.is_none_or(|mean| mean.cosine(face) >= threshold)
    };
    faces.iter().enumerate().map(belongs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A face at so many degrees on a circle; at 60 degrees the cosine is a half.
    fn face(degrees: f32) -> Embedding {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        Embedding::new(vec![cosine, sine]).unwrap()
    }

    fn of(degrees: &[f32]) -> Vec<bool> {
        let faces: Vec<Embedding> = degrees.iter().copied().map(face).collect();
        of_the_person(&faces.iter().collect::<Vec<_>>(), 0.5)
    }

    #[test]
    fn the_odd_one_out_is_found_wherever_it_stands() {
        assert_eq!(of(&[0.0, 10.0, 20.0, 120.0]), [true, true, true, false]);
        assert_eq!(of(&[120.0, 0.0, 10.0, 20.0]), [false, true, true, true]);
        assert_eq!(of(&[0.0, 120.0, 10.0]), [true, false, true]);
    }

    #[test]
    fn without_a_majority_the_first_person_counts() {
        assert_eq!(of(&[0.0, 120.0]), [true, false]);
        assert_eq!(of(&[0.0, 180.0, 90.0]), [true, false, false]);
    }

    #[test]
    fn the_closer_pair_wins_among_equals() {
        assert_eq!(of(&[0.0, 40.0, 150.0, 155.0]), [false, false, true, true]);
    }

    #[test]
    fn a_hard_photo_need_not_match_every_other_one() {
        // 0 and 70 do not match each other, but both match what lies between.
        assert_eq!(of(&[0.0, 35.0, 70.0]), [true, true, true]);
    }

    #[test]
    fn a_chance_likeness_to_one_photo_is_not_enough() {
        // 95 matches 40 and no other; 40 matches most and is the centre.
        assert_eq!(of(&[-10.0, 95.0, 0.0, 40.0]), [true, false, true, true]);
    }

    #[test]
    fn one_or_none_is_of_one_person() {
        assert_eq!(of(&[3.0]), [true]);
        assert_eq!(of(&[]), [false; 0]);
    }
}
