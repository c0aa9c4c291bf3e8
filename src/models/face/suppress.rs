//! One face for each face: of candidates that overlap, the most certain is kept.

use super::Face;

/// Most candidates that are compared, the most certain ones. Real photos give a few for each face;
/// the bound keeps a hostile network, for which every cell is a face, from hours of comparing.
/// The same as for RetinaFace (`portrait-pipeline` section 2.1).
const CANDIDATES_MAX: usize = 5000;
/// Most faces of one photo, from the same source.
const FACES_MAX: usize = 750;

/// Goes from the most certain candidate to the least and drops each whose intersection over union
/// with a kept one is above `overlap`. The kept ones stay in that order.
pub(super) fn suppress(mut candidates: Vec<Face>, overlap: f32) -> Vec<Face> {
    candidates.sort_by(|one, other| other.score.total_cmp(&one.score));
    candidates.truncate(CANDIDATES_MAX);
    let mut kept: Vec<Face> = Vec::new();
    for candidate in candidates {
        let is_new = |face: &Face| face.bounds.iou(&candidate.bounds) <= overlap;
        if kept.len() < FACES_MAX && kept.iter().all(is_new) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::models::face::Bounds;

    fn face(score: f32, left: f32, top: f32, side: f32) -> Face {
        Face {
            score,
            bounds: Bounds {
                left,
                top,
                right: left + side,
                bottom: top + side,
            },
            ..Face::default()
        }
    }

    #[test]
    fn the_most_certain_of_overlapping_candidates_is_kept() {
        let kept = suppress(
            vec![
                face(0.7, 2.0, 0.0, 10.0),
                face(0.9, 0.0, 0.0, 10.0),
                face(0.8, 30.0, 0.0, 10.0),
            ],
            0.3,
        );
        let scores: Vec<f32> = kept.iter().map(|face| face.score).collect();
        assert_eq!(scores, [0.9, 0.8]);
    }

    #[test]
    fn candidates_that_overlap_as_much_as_allowed_are_both_kept() {
        // Half of one lies on half of the other: 50 of 150.
        let pair = vec![face(0.9, 0.0, 0.0, 10.0), face(0.8, 5.0, 0.0, 10.0)];
        let overlap = pair[0].bounds.iou(&pair[1].bounds);
        assert_eq!(overlap, 50.0 / 150.0);
        assert_eq!(suppress(pair.clone(), overlap).len(), 2);
        assert_eq!(suppress(pair, overlap - 0.001).len(), 1);
    }

    #[test]
    fn a_network_that_sees_faces_everywhere_is_cut_short() {
        let everywhere = (0..20_000).map(|at| face(0.9, 2.0 * at as f32, 0.0, 1.0));
        assert_eq!(suppress(everywhere.collect(), 0.3).len(), FACES_MAX);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_apart_and_explains_what_is_not(
            candidates in prop::collection::vec(
                (0.0..1.0_f32, 0.0..50.0_f32, 0.0..50.0_f32, 1.0..30.0_f32)
                    .prop_map(|(score, left, top, side)| face(score, left, top, side)),
                0..60,
            ),
            overlap in 0.0..1.0_f32,
        ) {
            let kept = suppress(candidates.clone(), overlap);
            for (at, one) in kept.iter().enumerate() {
                prop_assert!(candidates.contains(one));
                for other in &kept[..at] {
                    prop_assert!(other.score >= one.score);
                    prop_assert!(other.bounds.iou(&one.bounds) <= overlap);
                }
            }
            for candidate in candidates.iter().filter(|one| !kept.contains(one)) {
                let covered = kept.iter().any(|face| {
                    face.score >= candidate.score && face.bounds.iou(&candidate.bounds) > overlap
                });
                prop_assert!(covered);
            }
        }
    }
}
