//! The way back of operators that look at each number once.

use pulp::Simd;

use crate::models::cpu::pointwise::{PIECE, Pairwise, in_pieces, pairs};
use crate::models::cpu::vector::{gelu_and_slope, swish_slope};

/// Fills `out` with the gradient of the input of [`crate::models::cpu::quick_gelu`], given that of its
/// output: with `s = 1 / (1 + e^(-1.702 x))` it is `gradient * (s + 1.702 x s (1 - s))`.
pub fn quick_gelu_back(input: &[f32], gradient: &[f32], out: &mut [f32]) {
    assert_eq!(input.len(), gradient.len(), "each number has a gradient");
    assert_eq!(input.len(), out.len(), "each number has an output");
    pairs::<QuickGelu>(input, gradient, out);
}

/// Fills `out` with the gradient of the input of [`crate::models::cpu::gated_gelu`], given that of its
/// output, `[rows][width]`. In rows `[first, second]` of `2 width` numbers it is
/// `gradient * GELU(second)` for the first half and `gradient * first * (Φ(second) + second φ(second))`
/// for the second.
pub fn gated_gelu_back(input: &[f32], gradient: &[f32], width: usize, out: &mut [f32]) {
    assert_eq!(
        input.len(),
        2 * gradient.len(),
        "each pair of numbers has a gradient"
    );
    assert_eq!(input.len(), out.len(), "each number has an output");
    if out.is_empty() {
        return;
    }
    let rows = (PIECE / (2 * width)).max(1);
    in_pieces(out, rows * 2 * width, |first, out| {
        pulp::Arch::new().dispatch(Gates {
            input: &input[first..],
            gradient: &gradient[first / 2..],
            width,
            out,
        });
    });
}

struct QuickGelu;
impl Pairwise for QuickGelu {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: S::f32s, gradient: S::f32s) -> S::f32s {
        simd.mul_f32s(gradient, swish_slope(simd, x, 1.702))
    }
}

struct Gates<'a> {
    input: &'a [f32],
    gradient: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl pulp::WithSimd for Gates<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.width;
        let rows = self.input.chunks_exact(2 * width);
        let rows = rows.zip(self.gradient.chunks_exact(width));
        for (out, (input, gradient)) in self.out.chunks_exact_mut(2 * width).zip(rows) {
            let (first, second) = input.split_at(width);
            let (to_first, to_second) = out.split_at_mut(width);
            let (first, first_rest) = S::as_simd_f32s(first);
            let (second, second_rest) = S::as_simd_f32s(second);
            let (gradient, gradient_rest) = S::as_simd_f32s(gradient);
            let (to_first, to_first_rest) = S::as_mut_simd_f32s(to_first);
            let (to_second, to_second_rest) = S::as_mut_simd_f32s(to_second);
            let numbers = first.iter().zip(second).zip(gradient);
            let outs = to_first.iter_mut().zip(to_second);
            for ((to_first, to_second), ((first, second), gradient)) in outs.zip(numbers) {
                [*to_first, *to_second] = gates(simd, *first, *second, *gradient);
            }
            if !to_first_rest.is_empty() {
                let first = simd.partial_load_f32s(first_rest);
                let second = simd.partial_load_f32s(second_rest);
                let gradient = simd.partial_load_f32s(gradient_rest);
                let [first, second] = gates(simd, first, second, gradient);
                simd.partial_store_f32s(to_first_rest, first);
                simd.partial_store_f32s(to_second_rest, second);
            }
        }
    }
}

/// The gradients of a pair.
#[inline(always)]
fn gates<S: Simd>(simd: S, first: S::f32s, second: S::f32s, gradient: S::f32s) -> [S::f32s; 2] {
    let [value, slope] = gelu_and_slope(simd, second);
    let to_second = simd.mul_f32s(simd.mul_f32s(gradient, first), slope);
    [simd.mul_f32s(gradient, value), to_second]
}
