//! Turns with a scale and a shift in the plane, and the one that brings points closest to others.

/// A turn with a scale and a shift in the plane: no shear and no mirroring.
///
/// With points as complex numbers it is `p -> a * p + b` for two complex numbers `a` and `b`; here
/// `a` is `re + i * im` and `b` is `x + i * y`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarity {
    /// Scale times cosine of the turn.
    pub re: f64,
    /// Scale times sine of the turn.
    pub im: f64,
    /// Shift to the right, in pixels.
    pub x: f64,
    /// Shift downwards, in pixels.
    pub y: f64,
}

impl Similarity {
    /// Where a point goes.
    pub fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [
            self.re * x - self.im * y + self.x,
            self.im * x + self.re * y + self.y,
        ]
    }

    /// How much longer distances become.
    pub fn scale(&self) -> f64 {
        self.re.hypot(self.im)
    }

    /// The way back; `None` when everything falls into one point.
    pub fn inverse(&self) -> Option<Self> {
        let square = self.re * self.re + self.im * self.im;
        if !square.is_normal() {
            return None;
        }
        let (re, im) = (self.re / square, -self.im / square);
        Some(Self {
            re,
            im,
            x: -(re * self.x - im * self.y),
            y: -(im * self.x + re * self.y),
        })
    }

    /// The same seen from coordinates whose origin lies at `origin` of the present ones, on the side
    /// where points go to.
    pub fn from_origin(&self, [x, y]: [f64; 2]) -> Self {
        Self {
            x: self.x - x,
            y: self.y - y,
            ..*self
        }
    }
}

/// The similarity that brings the points `from` closest to the points `to`, by the sum of squared
/// distances between those of the same place in the list.
///
/// This is Umeyama's solution (1991, `portrait-pipeline` section 3.2): that of points which were mirrored
/// is the best without a mirroring. With points as complex numbers, `p` those of `from` and `q` those of
/// `to`, both around their means, it has the closed form
///
/// ```text
/// a = sum(conj(p) * q) / sum(|p|^2),   b = mean of to - a * mean of from
/// ```
///
/// `None` when the points of either list are all in one place or are not finite, when the lists are not
/// of the same length, and, but for rounding, when no turn is better than others, as for a square and its
/// mirror image.
pub fn similarity_between(from: &[[f64; 2]], to: &[[f64; 2]]) -> Option<Similarity> {
    if from.len() != to.len() {
        return None;
    }
    // Counted from the first point, so that the mean of points in one place is exactly that place.
    let mean = |points: &[[f64; 2]], axis: usize| {
        let first = points.first().map_or(0.0, |point| point[axis]);
        let sum: f64 = points.iter().map(|point| point[axis] - first).sum();
        first + sum / points.len() as f64
    };
    let [from_x, from_y] = [0, 1].map(|axis| mean(from, axis));
    let [to_x, to_y] = [0, 1].map(|axis| mean(to, axis));
    let (mut re, mut im, mut square) = (0.0, 0.0, 0.0);
    for (point, place) in from.iter().zip(to) {
        let (px, py) = (point[0] - from_x, point[1] - from_y);
        let (qx, qy) = (place[0] - to_x, place[1] - to_y);
        re += px * qx + py * qy;
        im += px * qy - py * qx;
        square += px * px + py * py;
    }
    let (re, im) = (re / square, im / square);
    let fitted = Similarity {
        re,
        im,
        x: to_x - (re * from_x - im * from_y),
        y: to_y - (im * from_x + re * from_y),
    };
    let is_usable = fitted.scale().is_normal() && fitted.x.is_finite() && fitted.y.is_finite();
    is_usable.then_some(fitted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    /// What `tests/reference/similarities.py` asked scikit-image for.
    #[derive(Deserialize)]
    struct Case {
        name: String,
        from: Vec<[f64; 2]>,
        to: Vec<[f64; 2]>,
        /// Scale times cosine, scale times sine, shift right, shift down.
        similarity: [f64; 4],
    }

    #[test]
    fn points_are_brought_to_others_as_scikit_image_does_it() {
        let cases = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/reference/fixtures/similarities.json"
        ));
        let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
        assert!(cases.len() > 5);
        for Case {
            name,
            from,
            to,
            similarity,
        } in cases
        {
            let fitted = similarity_between(&from, &to).unwrap();
            let made = [fitted.re, fitted.im, fitted.x, fitted.y];
            for (made, expected) in made.into_iter().zip(similarity) {
                let most = 1e-9 * expected.abs().max(1.0);
                assert!((made - expected).abs() < most, "{name}: {fitted:?}");
            }
        }
    }

    #[test]
    fn points_that_say_nothing_give_no_similarity() {
        let square = [[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]];
        let mirrored = square.map(|[x, y]| [-x, y]);
        let other = square.map(|[x, y]| [x + 3.0, y]);
        assert!(similarity_between(&square, &other).is_some());
        assert_eq!(similarity_between(&square, &mirrored), None);
        assert_eq!(similarity_between(&square, &other[..3]), None);
        assert_eq!(similarity_between(&square[..1], &other[..1]), None);
        assert_eq!(similarity_between(&[], &[]), None);
        for place in [0.0, 17.0, 0.1, 1e300, f64::NAN, f64::INFINITY] {
            let one_place = [[place; 2]; 3];
            assert_eq!(
                similarity_between(&one_place, &square[..3]),
                None,
                "{place}"
            );
            assert_eq!(
                similarity_between(&square[..3], &one_place),
                None,
                "{place}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_way_there_and_back_ends_where_it_began(
            (re, im) in (-4.0..4.0_f64, -4.0..4.0_f64),
            (x, y) in (-900.0..900.0_f64, -900.0..900.0_f64),
            point in [-900.0..900.0_f64, -900.0..900.0_f64],
        ) {
            let there = Similarity { re, im, x, y };
            prop_assume!(there.scale() > 1e-3);
            let back = there.inverse().unwrap().apply(there.apply(point));
            prop_assert!((back[0] - point[0]).abs() < 1e-6);
            prop_assert!((back[1] - point[1]).abs() < 1e-6);
        }

        #[test]
        fn no_other_similarity_comes_closer(
            points in prop::collection::vec(
                ([0.0..500.0_f64, 0.0..500.0_f64], [0.0..500.0_f64, 0.0..500.0_f64]),
                2..9,
            ),
            step in prop::array::uniform4(-0.01..0.01_f64),
        ) {
            let (from, to): (Vec<_>, Vec<_>) = points.into_iter().unzip();
            let distance = |similarity: &Similarity| -> f64 {
                from.iter()
                    .zip(&to)
                    .map(|(point, place)| {
                        let found = similarity.apply(*point);
                        (found[0] - place[0]).powi(2) + (found[1] - place[1]).powi(2)
                    })
                    .sum()
            };
            let fitted = similarity_between(&from, &to).unwrap();
            let other = Similarity {
                re: fitted.re + step[0],
                im: fitted.im + step[1],
                x: fitted.x + step[2],
                y: fitted.y + step[3],
            };
            prop_assert!(distance(&fitted) <= distance(&other) * (1.0 + 1e-9) + 1e-6);
        }
    }
}
