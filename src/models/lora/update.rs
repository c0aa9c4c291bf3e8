//! What a LoRA adds to one layer.

use super::product::multiply;

/// Highest rank that is taken. The layers of SD 1.x are at most 1280 wide in what they give.
pub const RANK_MAX: usize = 2048;
/// Largest number in a factor: the largest of half precision. With [`RANK_MAX`] and [`SCALE_MAX`] it
/// keeps every update finite.
pub const FACTOR_MAX: f32 = 65504.0;
/// Largest scale.
pub const SCALE_MAX: f32 = 1e6;

/// What is added to the weight of one layer, without the user's multiplier.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    shape: Vec<usize>,
    product: Product,
    scale: f32,
}

/// The factors of an update. Matrices lie by rows; `out` is the first size of the layer's weight, and
/// `fan_in` the product of its other sizes.
#[derive(Debug, Clone, PartialEq)]
pub enum Product {
    /// LoRA and LoCon: `up · down`.
    LowRank {
        /// `[out, rank]`.
        up: Vec<f32>,
        /// `[rank, fan_in]`.
        down: Vec<f32>,
        /// Their common size.
        rank: usize,
    },
    /// LoHa: `(w1a · w1b) ⊙ (w2a · w2b)`, number by number.
    Hadamard {
        /// `[out, rank]`.
        w1a: Vec<f32>,
        /// `[rank, fan_in]`.
        w1b: Vec<f32>,
        /// `[out, rank]`.
        w2a: Vec<f32>,
        /// `[rank, fan_in]`.
        w2b: Vec<f32>,
        /// Their common size.
        rank: usize,
    },
}

impl Product {
    /// The common size of the factors.
    pub fn rank(&self) -> usize {
        match *self {
            Self::LowRank { rank, .. } | Self::Hadamard { rank, .. } => rank,
        }
    }

    /// The pairs of left and right factors.
    fn pairs(&self) -> impl Iterator<Item = (&[f32], &[f32])> {
        let (first, second) = match self {
            Self::LowRank { up, down, .. } => ((up, down), None),
            Self::Hadamard {
                w1a, w1b, w2a, w2b, ..
            } => ((w1a, w1b), Some((w2a, w2b))),
        };
        std::iter::once(first)
            .chain(second)
            .map(|(left, right)| (&left[..], &right[..]))
    }
}

impl Update {
    /// An update of a layer whose weight has this shape, `[out, in]` or `[out, in, height, width]`.
    ///
    /// An error says which size does not fit or which number cannot be used; see [`RANK_MAX`],
    /// [`FACTOR_MAX`] and [`SCALE_MAX`].
    pub fn new(shape: &[usize], product: Product, scale: f32) -> Result<Self, String> {
        let (out, fan_in) = matrix(shape)
            .filter(|_| matches!(shape.len(), 2 | 4))
            .ok_or_else(|| format!("a weight of the sizes {shape:?} cannot have an update"))?;
        let rank = product.rank();
        check_rank(rank)?;
        for (left, right) in product.pairs() {
            if Some(left.len()) != out.checked_mul(rank) {
                return Err(format!("its left factor has {} numbers", left.len()));
            }
            if Some(right.len()) != fan_in.checked_mul(rank) {
                return Err(format!("its right factor has {} numbers", right.len()));
            }
            check_numbers(left)?;
            check_numbers(right)?;
        }
        check_scale(scale)?;
        Ok(Self {
            shape: shape.to_vec(),
            product,
            scale,
        })
    }

    /// The shape of the layer's weight.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The factors, for those who multiply them elsewhere.
    pub fn factors(&self) -> &Product {
        &self.product
    }

    /// What their product is multiplied with: alpha by rank.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// What is added to the weight, in its shape: `scale · product`. Always finite.
    pub fn delta(&self) -> Vec<f32> {
        let fan_in = self.shape[1..].iter().product();
        let rank = self.product.rank();
        let mut products = self
            .product
            .pairs()
            .map(|(left, right)| multiply(left, right, rank, fan_in));
        let mut delta = products.next().unwrap_or_default();
        for other in products {
            for (number, other) in delta.iter_mut().zip(other) {
                *number *= other;
            }
        }
        for number in &mut delta {
            *number *= self.scale;
        }
        delta
    }
}

/// Refuses a rank that no file for these networks has.
pub(super) fn check_rank(rank: usize) -> Result<(), String> {
    if (1..=RANK_MAX).contains(&rank) {
        return Ok(());
    }
    Err(format!(
        "it has the rank {rank}, and 1 to {RANK_MAX} are taken"
    ))
}

/// Refuses numbers that would make pictures of noise or none.
fn check_numbers(numbers: &[f32]) -> Result<(), String> {
    // A number that is not one fails every comparison.
    let is_usable = |number: &f32| number.abs() <= FACTOR_MAX;
    match numbers.iter().find(|number| !is_usable(number)) {
        None => Ok(()),
        Some(number) => Err(format!(
            "a factor holds {number}, which is not finite or beyond {FACTOR_MAX}"
        )),
    }
}

/// Refuses a scale that is not finite or too large.
fn check_scale(scale: f32) -> Result<(), String> {
    if scale.abs() <= SCALE_MAX {
        return Ok(());
    }
    Err(format!(
        "its scale is {scale}, which is not finite or beyond {SCALE_MAX}"
    ))
}

/// A shape as that of a matrix: the first size, and the product of the others.
pub(super) fn matrix(shape: &[usize]) -> Option<(usize, usize)> {
    let (&rows, rest) = shape.split_first()?;
    let columns = rest
        .iter()
        .try_fold(1_usize, |all, &size| all.checked_mul(size))?;
    Some((rows, columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn low_rank(up: &[f32], down: &[f32], rank: usize) -> Product {
        Product::LowRank {
            up: up.to_vec(),
            down: down.to_vec(),
            rank,
        }
    }

    #[test]
    fn a_low_rank_update_is_the_scaled_product() {
        let product = low_rank(&[1.0, 2.0], &[3.0, 4.0, 5.0], 1);
        let update = Update::new(&[2, 3], product, 0.5).unwrap();
        assert_eq!(update.delta(), [1.5, 2.0, 2.5, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn a_hadamard_update_multiplies_two_products_and_scales_once() {
        let product = Product::Hadamard {
            w1a: vec![1.0, 2.0],
            w1b: vec![3.0, 4.0],
            w2a: vec![5.0, 6.0],
            w2b: vec![7.0, 8.0],
            rank: 1,
        };
        let update = Update::new(&[2, 1, 1, 2], product, 0.5).unwrap();
        assert_eq!(
            update.delta(),
            [
                0.5 * 3.0 * 35.0,
                0.5 * 4.0 * 40.0,
                0.5 * 6.0 * 42.0,
                0.5 * 8.0 * 48.0
            ]
        );
    }

    #[test]
    fn updates_are_finite_at_the_bounds_of_what_is_taken() {
        let many = vec![FACTOR_MAX; RANK_MAX];
        let product = Product::Hadamard {
            w1a: many.clone(),
            w1b: many.clone(),
            w2a: many.clone(),
            w2b: many,
            rank: RANK_MAX,
        };
        let delta = Update::new(&[1, 1], product, SCALE_MAX).unwrap().delta();
        assert!(delta[0].is_finite(), "{delta:?}");
    }

    #[test]
    fn factors_that_do_not_fit_or_cannot_be_used_are_refused() {
        let ones = |count| vec![1.0; count];
        let make = |shape: &[usize], up: Vec<f32>, down: Vec<f32>, rank, scale| {
            Update::new(shape, Product::LowRank { up, down, rank }, scale)
        };
        assert!(make(&[2, 3], ones(2), ones(3), 1, 1.0).is_ok());
        for result in [
            make(&[2, 3], ones(3), ones(3), 1, 1.0),
            make(&[2, 3], ones(2), ones(2), 1, 1.0),
            make(&[2, 3], vec![], vec![], 0, 1.0),
            make(&[2], ones(2), ones(1), 1, 1.0),
            make(&[], vec![], vec![], 1, 1.0),
            make(&[usize::MAX, 3], ones(2), ones(6), 2, 1.0),
            make(
                &[1, 1],
                ones(RANK_MAX + 1),
                ones(RANK_MAX + 1),
                RANK_MAX + 1,
                1.0,
            ),
            make(&[1, 1], vec![f32::NAN], ones(1), 1, 1.0),
            make(&[1, 1], ones(1), vec![f32::INFINITY], 1, 1.0),
            make(&[1, 1], ones(1), vec![-65505.0], 1, 1.0),
            make(&[1, 1], ones(1), ones(1), 1, f32::NAN),
            make(&[1, 1], ones(1), ones(1), 1, 2.0 * SCALE_MAX),
        ] {
            assert!(result.is_err());
        }
    }
}
