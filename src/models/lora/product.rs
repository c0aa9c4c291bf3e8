//! Products of matrices in ordinary memory, for updates that no device multiplies.

/// Rows of the result that are computed at once.
const ROWS: usize = 4;
/// Columns of the result that are computed at once; with [`ROWS`] their sums fit the registers of
/// any processor.
const COLUMNS: usize = 8;

/// `left · right` for `left` of `[rows, inner]` and `right` of `[inner, columns]`, both by rows.
///
/// Each number of the result is summed up in the order of `inner`, so it does not depend on how the
/// work is cut.
pub(super) fn multiply(left: &[f32], right: &[f32], inner: usize, columns: usize) -> Vec<f32> {
    let rows = left.len().checked_div(inner).unwrap_or(0);
    let mut result = vec![0.0; rows * columns];
    if result.is_empty() {
        return result;
    }
    // Both are laid out in the order in which they are read, short blocks filled up with zeros.
    let mut blocks = vec![[0.0; ROWS]; rows.div_ceil(ROWS) * inner];
    for (at, row) in left.chunks(inner).enumerate() {
        let block = &mut blocks[at / ROWS * inner..][..inner];
        for (packed, &number) in block.iter_mut().zip(row) {
            packed[at % ROWS] = number;
        }
    }
    let mut panel = vec![[0.0; COLUMNS]; inner];
    for start in (0..columns).step_by(COLUMNS) {
        let width = COLUMNS.min(columns - start);
        for (packed, row) in panel.iter_mut().zip(right.chunks(columns)) {
            packed[..width].copy_from_slice(&row[start..start + width]);
        }
        let results = result.chunks_mut(ROWS * columns);
        for (block, results) in blocks.chunks(inner).zip(results) {
            let sums = tile(block, &panel);
            for (row, sums) in results.chunks_mut(columns).zip(sums) {
                row[start..start + width].copy_from_slice(&sums[..width]);
            }
        }
    }
    result
}

/// The products of [`ROWS`] rows and [`COLUMNS`] columns.
fn tile(block: &[[f32; ROWS]], panel: &[[f32; COLUMNS]]) -> [[f32; COLUMNS]; ROWS] {
    let mut sums = [[0.0; COLUMNS]; ROWS];
    for (factors, values) in block.iter().zip(panel) {
        for (sums, factor) in sums.iter_mut().zip(factors) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += factor * value;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition_whatever_the_sizes() {
        let numbers = |count: usize| -> Vec<f32> {
            (0..count).map(|at| (at * 37 % 101) as f32 - 50.0).collect()
        };
        for (rows, inner, columns) in [(1, 1, 1), (4, 3, 16), (5, 2, 17), (9, 7, 45), (3, 8, 4)] {
            let (left, right) = (numbers(rows * inner), numbers(inner * columns));
            let mut expected = Vec::new();
            for row in 0..rows {
                for column in 0..columns {
                    expected.push(
                        (0..inner)
                            .map(|at| left[row * inner + at] * right[at * columns + column])
                            .sum::<f32>(),
                    );
                }
            }
            assert_eq!(
                multiply(&left, &right, inner, columns),
                expected,
                "{rows}x{inner}x{columns}"
            );
        }
    }
}
