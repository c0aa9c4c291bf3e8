//! Operators that look at each number once.

use std::marker::PhantomData;

use pulp::Simd;
use rayon::prelude::*;

use super::vector::{gelu, swish};

/// Numbers that one thread handles at a time; below it nobody else is woken.
pub const PIECE: usize = 32 * 1024;

/// `x / (1 + e^-x)`.
pub fn silu(input: &[f32], out: &mut [f32]) {
    assert_eq!(input.len(), out.len(), "each number has an output");
    pairs::<Silu>(input, input, out);
}

/// `x / (1 + e^(-1.702 x))`, which is close to GELU.
pub fn quick_gelu(input: &[f32], out: &mut [f32]) {
    assert_eq!(input.len(), out.len(), "each number has an output");
    pairs::<QuickGelu>(input, input, out);
}

/// `out[rows][width] = first * GELU(second)` for rows `[first, second]` of `2 width` numbers. GELU is
/// the exact one, `x Φ(x)`, within 1e-6.
pub fn gated_gelu(input: &[f32], width: usize, out: &mut [f32]) {
    assert_eq!(
        input.len(),
        2 * out.len(),
        "each pair of numbers has an output"
    );
    if out.is_empty() {
        return;
    }
    let rows = (PIECE / width).max(1);
    in_pieces(out, rows * width, |first, out| {
        let input = &input[2 * first..];
        pulp::Arch::new().dispatch(Gates { input, width, out });
    });
}

/// Puts the channels of two maps of as many pixels beside each other.
pub fn concat_channels(a: &[f32], b: &[f32], channels: [usize; 2], out: &mut [f32]) {
    let [first, second] = channels;
    let all = first + second;
    assert_eq!(
        a.len() + b.len(),
        out.len(),
        "the output has the sizes of both"
    );
    assert_eq!(a.len() * all, out.len() * first, "both have as many pixels");
    if out.is_empty() {
        return;
    }
    let pixels = (PIECE / all).max(1);
    in_pieces(out, pixels * all, |start, out| {
        let pixel = start / all;
        let (a, b) = (&a[pixel * first..], &b[pixel * second..]);
        for (i, out) in out.chunks_exact_mut(all).enumerate() {
            let (left, right) = out.split_at_mut(first);
            left.copy_from_slice(&a[i * first..][..first]);
            right.copy_from_slice(&b[i * second..][..second]);
        }
    });
}

/// Calls `job(first, out)` for pieces of `out` of this size, the last one smaller.
pub fn in_pieces(out: &mut [f32], size: usize, job: impl Fn(usize, &mut [f32]) + Send + Sync) {
    if out.len() <= size {
        job(0, out);
    } else {
        out.par_chunks_mut(size)
            .enumerate()
            .for_each(|(i, out)| job(i * size, out));
    }
}

/// A function of two numbers, whole vectors of them at a time.
pub trait Pairwise {
    fn apply<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s;
}

struct Silu;
impl Pairwise for Silu {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, a: S::f32s, _: S::f32s) -> S::f32s {
        swish(simd, a, 1.0)
    }
}

struct QuickGelu;
impl Pairwise for QuickGelu {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, a: S::f32s, _: S::f32s) -> S::f32s {
        swish(simd, a, 1.702)
    }
}

struct GateGelu;
impl Pairwise for GateGelu {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        simd.mul_f32s(a, gelu(simd, b))
    }
}

/// Applies it to all pairs.
pub fn pairs<F: Pairwise>(a: &[f32], b: &[f32], out: &mut [f32]) {
    in_pieces(out, PIECE, |first, out| {
        let (a, b) = (&a[first..][..out.len()], &b[first..][..out.len()]);
        pulp::Arch::new().dispatch(Pairs {
            a,
            b,
            out,
            function: PhantomData::<F>,
        });
    });
}

struct Pairs<'a, F> {
    a: &'a [f32],
    b: &'a [f32],
    out: &'a mut [f32],
    function: PhantomData<F>,
}

impl<F: Pairwise> pulp::WithSimd for Pairs<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { a, b, out, .. } = self;
        let (a, a_rest) = S::as_simd_f32s(a);
        let (b, b_rest) = S::as_simd_f32s(b);
        let (out, rest) = S::as_mut_simd_f32s(out);
        for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
            *out = F::apply(simd, *a, *b);
        }
        if !rest.is_empty() {
            let (a, b) = (
                simd.partial_load_f32s(a_rest),
                simd.partial_load_f32s(b_rest),
            );
            simd.partial_store_f32s(rest, F::apply(simd, a, b));
        }
    }
}

struct Gates<'a> {
    input: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl pulp::WithSimd for Gates<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.width;
        let rows = self.input.chunks_exact(2 * width);
        for (out, input) in self.out.chunks_exact_mut(width).zip(rows) {
            let (a, b) = input.split_at(width);
            let job = Pairs {
                a,
                b,
                out,
                function: PhantomData::<GateGelu>,
            };
            pulp::WithSimd::with_simd(job, simd);
        }
    }
}
