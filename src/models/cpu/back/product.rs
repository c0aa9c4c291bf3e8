//! Sums of products in registers: the two loops that the way back of attention is made of.
//!
//! Both have small matrices of vectors on one side and single numbers on the other, so nothing is
//! ever summed across a vector.

use pulp::Simd;

use crate::models::cpu::apart;
use crate::models::cpu::gemm::PANEL;

/// Neighbours that are computed together.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The first of them.
    pub first: usize,
    /// How many there are.
    pub count: usize,
    /// The same, filled up to whole vectors.
    pub lanes: usize,
}

/// Cuts `count` neighbours into pieces that fit into the registers, of about one size.
pub fn cuts<S: Simd>(count: usize) -> Vec<Cut> {
    let most = match S::F32_LANES {
        16 | 4 => 4,
        8 => 2,
        _ => PANEL,
    };
    let vectors = count.div_ceil(S::F32_LANES);
    // Only the longest vectors have loops for every number of them.
    let each = match S::F32_LANES {
        16 => vectors.div_ceil(vectors.div_ceil(most).max(1)),
        _ => most,
    };
    let size = each * S::F32_LANES;
    let piece = |first: usize| {
        let count = size.min(count - first);
        let lanes = match S::F32_LANES {
            16 => count.next_multiple_of(16),
            _ => size,
        };
        Cut {
            first,
            count,
            lanes,
        }
    };
    (0..count).step_by(size.max(1)).map(piece).collect()
}

/// What becomes of a sum.
pub trait Finish: Copy {
    /// From what stands in the output and the sum of a row.
    fn finish<S: Simd>(self, simd: S, row: usize, old: S::f32s, sum: S::f32s) -> S::f32s;
}

/// Adds it to the output.
#[derive(Clone, Copy)]
pub struct Add;

impl Finish for Add {
    #[inline(always)]
    fn finish<S: Simd>(self, simd: S, _: usize, old: S::f32s, sum: S::f32s) -> S::f32s {
        simd.add_f32s(old, sum)
    }
}

/// `out[row][lane] = finish(out[row][lane], Σ_k input[row][k] weights[k][lane])`.
pub struct Product<'a, End> {
    /// Rows of `depth` numbers, `pitch` apart.
    pub input: &'a [f32],
    /// Numbers from one row to the next.
    pub pitch: usize,
    /// Terms of a sum.
    pub depth: usize,
    /// `[depth][lanes]`
    pub weights: &'a [f32],
    /// `[rows][lanes]`
    pub out: &'a mut [f32],
    /// What becomes of the sums.
    pub finish: End,
}

impl<End: Finish> Product<'_, End> {
    /// Runs it for so many lanes, as [`cuts`] gives them.
    #[inline(always)]
    pub fn run<S: Simd>(self, simd: S, lanes: usize) {
        // As many sums as fit into 32 registers, or 16 with shorter vectors.
        match S::F32_LANES {
            16 => match lanes / 16 {
                4 => apart(simd, Rows::<_, 4, 6>(self)),
                3 => apart(simd, Rows::<_, 3, 8>(self)),
                2 => apart(simd, Rows::<_, 2, 12>(self)),
                _ => apart(simd, Rows::<_, 1, 12>(self)),
            },
            8 => apart(simd, Rows::<_, 2, 6>(self)),
            4 => apart(simd, Rows::<_, 4, 5>(self)),
            _ => apart(simd, Rows::<_, PANEL, 1>(self)),
        }
    }
}

/// All rows, a few at a time.
struct Rows<'a, End, const VECTORS: usize, const ROWS: usize>(Product<'a, End>);

impl<End: Finish, const VECTORS: usize, const ROWS: usize> pulp::WithSimd
    for Rows<'_, End, VECTORS, ROWS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut job = self.0;
        let mut row = 0;
        row = job.tiles::<S, VECTORS, ROWS>(simd, row);
        if ROWS > 4 {
            row = job.tiles::<S, VECTORS, 4>(simd, row);
        }
        if ROWS > 2 {
            row = job.tiles::<S, VECTORS, 2>(simd, row);
        }
        job.tiles::<S, VECTORS, 1>(simd, row);
    }
}

impl<End: Finish> Product<'_, End> {
    /// As many tiles of so many rows as there are from `row` on. Returns the first row after them.
    #[inline(always)]
    fn tiles<S: Simd, const VECTORS: usize, const ROWS: usize>(
        &mut self,
        simd: S,
        mut row: usize,
    ) -> usize {
        let (weights, _) = S::as_simd_f32s(self.weights);
        let (out, _) = S::as_mut_simd_f32s(self.out);
        while (row + ROWS) * VECTORS <= out.len() {
            let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
            for (i, numbers) in rows.iter_mut().enumerate() {
                *numbers = &self.input[(row + i) * self.pitch..][..self.depth];
            }
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
            for (k, weights) in (0..self.depth).zip(weights.chunks_exact(VECTORS)) {
                for (sums, numbers) in sums.iter_mut().zip(&rows) {
                    let number = simd.splat_f32s(numbers[k]);
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = simd.mul_add_f32s(*weight, number, *sum);
                    }
                }
            }
            let out = &mut out[row * VECTORS..][..ROWS * VECTORS];
            finish(simd, row, sums, self.finish, out);
            row += ROWS;
        }
        row
    }
}

/// Takes the sums by value: its loops need them in memory, and only the copy shall be there.
#[inline(always)]
fn finish<S: Simd, const VECTORS: usize, const ROWS: usize>(
    simd: S,
    row: usize,
    sums: [[S::f32s; VECTORS]; ROWS],
    end: impl Finish,
    out: &mut [S::f32s],
) {
    for (i, (out, sums)) in out.chunks_exact_mut(VECTORS).zip(&sums).enumerate() {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = end.finish(simd, row + i, *out, *sum);
        }
    }
}

/// `out[column][lane] += Σ_row input[row][column] weights[row][lane]`.
pub struct Columns<'a> {
    /// Rows of `width` numbers, `pitch` apart.
    pub input: &'a [f32],
    /// Numbers from one row to the next.
    pub pitch: usize,
    /// Columns of the input.
    pub width: usize,
    /// `[rows][lanes]`
    pub weights: &'a [f32],
    /// `[columns][lanes]`
    pub out: &'a mut [f32],
}

impl Columns<'_> {
    /// Runs it for so many lanes, as [`cuts`] gives them.
    #[inline(always)]
    pub fn run<S: Simd>(self, simd: S, lanes: usize) {
        match S::F32_LANES {
            16 => match lanes / 16 {
                4 => apart(simd, Turned::<4, 6>(self)),
                3 => apart(simd, Turned::<3, 8>(self)),
                2 => apart(simd, Turned::<2, 12>(self)),
                _ => apart(simd, Turned::<1, 12>(self)),
            },
            8 => apart(simd, Turned::<2, 6>(self)),
            4 => apart(simd, Turned::<4, 5>(self)),
            _ => apart(simd, Turned::<PANEL, 1>(self)),
        }
    }
}

/// All columns, a few at a time.
struct Turned<'a, const VECTORS: usize, const ROWS: usize>(Columns<'a>);

impl<const VECTORS: usize, const ROWS: usize> pulp::WithSimd for Turned<'_, VECTORS, ROWS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut job = self.0;
        let mut column = 0;
        column = job.tiles::<S, VECTORS, ROWS>(simd, column);
        if ROWS > 4 {
            column = job.tiles::<S, VECTORS, 4>(simd, column);
        }
        if ROWS > 2 {
            column = job.tiles::<S, VECTORS, 2>(simd, column);
        }
        job.tiles::<S, VECTORS, 1>(simd, column);
    }
}

impl Columns<'_> {
    /// As many tiles of so many columns as there are from `column` on. Returns the first column after
    /// them.
    #[inline(always)]
    fn tiles<S: Simd, const VECTORS: usize, const ROWS: usize>(
        &mut self,
        simd: S,
        mut column: usize,
    ) -> usize {
        let (weights, _) = S::as_simd_f32s(self.weights);
        let (out, _) = S::as_mut_simd_f32s(self.out);
        while column + ROWS <= self.width {
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
            let rows = self.input[column..].chunks(self.pitch);
            for (weights, row) in weights.chunks_exact(VECTORS).zip(rows) {
                let Some(numbers) = row.first_chunk::<ROWS>() else {
                    break;
                };
                for (sums, number) in sums.iter_mut().zip(numbers) {
                    let number = simd.splat_f32s(*number);
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = simd.mul_add_f32s(*weight, number, *sum);
                    }
                }
            }
            let out = &mut out[column * VECTORS..][..ROWS * VECTORS];
            finish(simd, column, sums, Add, out);
            column += ROWS;
        }
        column
    }
}
