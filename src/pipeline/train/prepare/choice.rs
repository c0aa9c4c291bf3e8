//! Which of the usable photos are trained with: who the person is, which photos are most like that
//! person, and which one stands for all.

use crate::{
    models::face::{Embedding, Pose},
    pipeline::check::of_the_person,
};

/// Most photos that one training uses (`portrait-pipeline` section 5, step 3): more of them only make
/// each one count less.
pub const KEPT_MAX: usize = 15;
/// Least share of the photos, in percent, that the person has to be in. Below it nobody can say who
/// was meant, and a training of the wrong person costs more than a question.
const MAJORITY_PERCENT: usize = 60;

/// A usable photo as it stands for election.
pub(super) struct Candidate<'a> {
    pub(super) pose: Pose,
    /// There for all of them or for none.
    pub(super) embedding: Option<&'a Embedding>,
}

/// What was decided on a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is used, and stands for all.
    Reference,
    /// It is used.
    Used,
    /// It shows somebody else.
    Stranger,
    /// [`KEPT_MAX`] others are more like the person.
    BeyondTheBest,
}

/// The decision on all candidates.
pub(super) struct Choice {
    /// One for each candidate, in their order; exactly one is the reference.
    pub(super) standings: Vec<Standing>,
    /// Cosine of each with the mean of the person's photos, where persons are compared.
    pub(super) scores: Vec<Option<f32>>,
    /// That mean.
    pub(super) centre: Option<Embedding>,
}

/// Decides on candidates, of which there is at least one. Without a `threshold`, the least cosine
/// between two faces of one person, persons are not compared and the first candidates are used.
///
/// `Err` with the candidates by person, the most frequent one first, if nobody is in a clear majority
/// of them.
pub(super) fn choose(
    candidates: &[Candidate<'_>],
    threshold: Option<f32>,
) -> Result<Choice, Vec<Vec<usize>>> {
    let faces: Vec<&Embedding> = candidates.iter().filter_map(|c| c.embedding).collect();
    let is_compared = faces.len() == candidates.len();
    let Some(threshold) = threshold.filter(|_| is_compared) else {
        return Ok(elect(candidates, &vec![true; candidates.len()], None));
    };
    let belongs = of_the_person(&faces, threshold);
    let count = belongs.iter().filter(|belongs| **belongs).count();
    if count * 100 < faces.len() * MAJORITY_PERCENT {
        return Err(by_person(&faces, threshold));
    }
    let person = faces.iter().zip(&belongs).filter(|(_, belongs)| **belongs);
    let centre = Embedding::mean(person.map(|(face, _)| *face));
    Ok(elect(candidates, &belongs, centre))
}

/// The faces by whom they show, as [`of_the_person`] finds one person after another.
fn by_person(faces: &[&Embedding], threshold: f32) -> Vec<Vec<usize>> {
    let mut left: Vec<usize> = (0..faces.len()).collect();
    let mut persons = Vec::new();
    while !left.is_empty() {
        let of_left: Vec<&Embedding> = left.iter().map(|at| faces[*at]).collect();
        let mut belongs = of_the_person(&of_left, threshold);
        // Rounding may leave a person without a face at a cosine of just the threshold.
        if !belongs.contains(&true) {
            belongs[0] = true;
        }
        let mut belongs = belongs.into_iter();
        let (person, others) = left.iter().partition(|_| belongs.next() == Some(true));
        persons.push(person);
        left = others;
    }
    persons
}

/// Takes the best of those who belong, and one of these for all.
fn elect(candidates: &[Candidate<'_>], belongs: &[bool], centre: Option<Embedding>) -> Choice {
    let scores: Vec<Option<f32>> = candidates
        .iter()
        .map(|candidate| Some(centre.as_ref()?.cosine(candidate.embedding?)))
        .collect();
    // Without scores all are alike, and a stable sort leaves them in their order.
    let likeness = |at: usize| scores[at].unwrap_or(1.0);
    let mut best: Vec<usize> = (0..candidates.len()).filter(|at| belongs[*at]).collect();
    best.sort_by(|one, other| likeness(*other).total_cmp(&likeness(*one)));
    best.truncate(KEPT_MAX);
    best.sort_unstable();

    let mut standings: Vec<Standing> = belongs
        .iter()
        .map(|belongs| match belongs {
            true => Standing::BeyondTheBest,
            false => Standing::Stranger,
        })
        .collect();
    for at in &best {
        standings[*at] = Standing::Used;
    }
    // The earlier one of two that are worth the same.
    let worth = |at: usize| {
        let pose = &candidates[at].pose;
        (pose.is_frontal(), likeness(at) * levelness(pose))
    };
    let reference = best.into_iter().reduce(|one, other| {
        if worth(other) > worth(one) {
            other
        } else {
            one
        }
    });
    if let Some(reference) = reference {
        standings[reference] = Standing::Reference;
    }
    Choice {
        standings,
        scores,
        centre,
    }
}

/// 1 for level eyes and 0 for a face on its side or upside down (`portrait-pipeline` section 3.4).
fn levelness(pose: &Pose) -> f32 {
    ((90.0 - pose.roll.abs()) / 90.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A face at so many degrees on a circle; at 60 degrees the cosine is a half.
    fn face(degrees: f32) -> Embedding {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        Embedding::new(vec![cosine, sine]).unwrap()
    }

    fn level() -> Pose {
        Pose::default()
    }

    /// The choice among faces at these degrees with these poses.
    fn of(faces: &[(f32, Pose)]) -> Result<Choice, Vec<Vec<usize>>> {
        let faces: Vec<_> = faces.iter().map(|(at, pose)| (face(*at), *pose)).collect();
        let candidates: Vec<_> = faces
            .iter()
            .map(|(embedding, pose)| Candidate {
                pose: *pose,
                embedding: Some(embedding),
            })
            .collect();
        choose(&candidates, Some(0.5))
    }

    fn of_level(degrees: &[f32]) -> Result<Choice, Vec<Vec<usize>>> {
        of(&degrees.iter().map(|at| (*at, level())).collect::<Vec<_>>())
    }

    fn standings(faces: &[(f32, Pose)]) -> Vec<Standing> {
        of(faces)
            .unwrap_or_else(|persons| panic!("{persons:?}"))
            .standings
    }

    use Standing::{BeyondTheBest, Reference, Stranger, Used};

    #[test]
    fn the_face_in_the_middle_stands_for_all() {
        let choice = of_level(&[-20.0, 0.0, 20.0]).unwrap_or_else(|_| panic!());
        assert_eq!(choice.standings, [Used, Reference, Used]);
        let scores: Vec<f32> = choice.scores.into_iter().flatten().collect();
        assert!((scores[1] - 1.0).abs() < 1e-5 && (scores[0] - 0.939_69).abs() < 1e-4);
        assert!(choice.centre.unwrap().cosine(&face(0.0)) > 0.999);
    }

    #[test]
    fn one_photo_is_its_own_centre() {
        let choice = of_level(&[33.0]).unwrap_or_else(|_| panic!());
        assert_eq!(choice.standings, [Reference]);
        assert!(choice.scores[0].unwrap() > 0.999);
    }

    #[test]
    fn a_level_face_that_looks_to_the_camera_is_preferred() {
        let rolled = Pose {
            roll: -40.0,
            ..level()
        };
        let turned = Pose {
            yaw: 60.0,
            ..level()
        };
        let faces = [
            (0.0, turned),
            (0.0, rolled),
            (25.0, level()),
            (-25.0, rolled),
        ];
        assert_eq!(standings(&faces), [Used, Used, Reference, Used]);
        assert_eq!(
            standings(&[(0.0, turned), (9.0, rolled)]),
            [Used, Reference]
        );
        assert_eq!(
            standings(&[(0.0, turned), (0.0, turned)]),
            [Reference, Used]
        );
        let upside_down = Pose {
            roll: 175.0,
            ..level()
        };
        assert_eq!(standings(&[(0.0, upside_down)]), [Reference]);
    }

    #[test]
    fn strangers_are_left_out_and_do_not_move_the_centre() {
        let choice = of_level(&[0.0, 100.0, 10.0, -10.0, 200.0]).unwrap_or_else(|_| panic!());
        assert_eq!(
            choice.standings,
            [Reference, Stranger, Used, Used, Stranger]
        );
        assert!(choice.scores[0].unwrap() > 0.999);
        assert!(choice.scores[1].unwrap() < 0.0);
    }

    #[test]
    fn without_a_clear_majority_all_persons_are_named() {
        let persons = |degrees: &[f32]| of_level(degrees).err();
        assert_eq!(persons(&[0.0, 120.0]), Some(vec![vec![0], vec![1]]));
        let equal = [0.0, 120.0, 5.0, 125.0];
        assert_eq!(persons(&equal), Some(vec![vec![0, 2], vec![1, 3]]));
        let three = [240.0, 0.0, 120.0, 121.0, 2.0, 122.0];
        assert_eq!(
            persons(&three),
            Some(vec![vec![2, 3, 5], vec![1, 4], vec![0]])
        );
        // Three of five are 60 in a hundred, and two of three more.
        assert_eq!(persons(&[0.0, 1.0, 2.0, 120.0, 121.0]), None);
        assert_eq!(persons(&[0.0, 1.0, 120.0]), None);
    }

    #[test]
    fn the_best_fifteen_are_kept_and_of_equals_the_earlier_ones() {
        let mut degrees: Vec<f32> = (0..20)
            .map(|at| if at % 2 == 0 { 1.0 } else { -1.0 })
            .collect();
        degrees[0] = 30.0;
        degrees[7] = -30.0;
        let choice = of_level(&degrees).unwrap_or_else(|_| panic!());
        let at = |standing| -> Vec<usize> {
            let all = choice.standings.iter().enumerate();
            all.filter(|(_, own)| **own == standing)
                .map(|(at, _)| at)
                .collect()
        };
        assert_eq!(at(Used).len() + at(Reference).len(), KEPT_MAX);
        let beyond = at(BeyondTheBest);
        assert_eq!((beyond.len(), beyond[0], beyond[1]), (5, 0, 7));
        assert!(choice.scores[0] < choice.scores[1]);
    }

    #[test]
    fn without_embeddings_the_first_fifteen_are_kept() {
        let candidate = |at: u8| Candidate {
            pose: Pose {
                roll: if at == 3 { 0.0 } else { 9.0 },
                ..level()
            },
            embedding: None,
        };
        let candidates: Vec<_> = (0..17).map(candidate).collect();
        for threshold in [None, Some(0.5)] {
            let choice = choose(&candidates, threshold).unwrap_or_else(|_| panic!());
            let mut expected = [Used; 17];
            expected[3] = Reference;
            expected[15..].fill(BeyondTheBest);
            assert_eq!(choice.standings, expected);
            assert!(choice.centre.is_none() && choice.scores.iter().all(Option::is_none));
        }
    }
}
