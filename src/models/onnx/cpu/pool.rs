//! Largest and mean values of windows.

use burn::backend::flex::FlexTensor;
use pulp::Arch;
use rayon::prelude::*;

use super::store::Store;
use super::{Dense, Shape, finish};
use crate::models::onnx::kernels::plain;
use crate::models::onnx::spec::Window;

/// What is taken of a window.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// The largest value; the border never wins.
    Max,
    /// The mean; the border counts as zeros, or not at all.
    Mean { count_border: bool },
}

/// Comparisons or sums below which nobody else is woken.
const ALONE: usize = 64 * 1024;

/// Pools channels-last maps.
pub fn run(input: &Dense, window: &Window, kind: Kind, store: &Store) -> FlexTensor {
    let shape = input.shape();
    let Shape { n, h, w, c } = shape;
    let [rows, columns] = window.output(h, w).unwrap_or([0, 0]);
    let to = Shape {
        n,
        h: rows,
        w: columns,
        c,
    };
    let mut out = store.take(to.count());
    let data = input.data();
    let count_border = matches!(kind, Kind::Mean { count_border: true });
    let [row_shares, column_shares] = plain::shares(h, w, window, count_border);
    let [kh, kw] = window.kernel;
    let row = |index: usize, out: &mut [f32]| {
        let y = index % rows;
        Arch::new().dispatch(Row {
            picture: &data[index / rows * h * w * c..][..h * w * c],
            shape,
            window,
            kind,
            y,
            share: 1.0 / row_shares[y],
            column_shares: &column_shares,
            out,
        });
    };
    if out.len() * kh * kw <= ALONE {
        out.chunks_exact_mut(columns * c)
            .enumerate()
            .for_each(|(y, out)| row(y, out));
    } else {
        let rows_each = (n * rows).div_ceil(super::workers());
        out.par_chunks_mut(rows_each * columns * c)
            .enumerate()
            .for_each(|(i, out)| {
                for (y, out) in out.chunks_exact_mut(columns * c).enumerate() {
                    row(i * rows_each + y, out);
                }
            });
    }
    finish(out, to)
}

/// One row of output.
struct Row<'a> {
    picture: &'a [f32],
    /// Of the input.
    shape: Shape,
    window: &'a Window,
    kind: Kind,
    y: usize,
    /// What a sum over rows is multiplied with for their mean.
    share: f32,
    /// How many columns each mean is of.
    column_shares: &'a [f32],
    out: &'a mut [f32],
}

impl pulp::WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        let Shape { h, w, c, .. } = self.shape;
        let Window {
            kernel: [kh, kw],
            stride,
            dilation,
            border,
            ..
        } = *self.window;
        let inside =
            |at: usize, before: usize, size: usize| at.checked_sub(before).filter(|&at| at < size);
        for (x, out) in self.out.chunks_exact_mut(c).enumerate() {
            out.fill(if let Kind::Max = self.kind {
                f32::MIN
            } else {
                0.0
            });
            for ky in 0..kh {
                let Some(iy) = inside(self.y * stride[0] + ky * dilation[0], border.top, h) else {
                    continue;
                };
                for kx in 0..kw {
                    let at = x * stride[1] + kx * dilation[1];
                    let Some(ix) = inside(at, border.left, w) else {
                        continue;
                    };
                    let pixel = &self.picture[(iy * w + ix) * c..][..c];
                    match self.kind {
                        Kind::Max => raise::<S>(simd, out, pixel),
                        Kind::Mean { .. } => {
                            for (sum, x) in out.iter_mut().zip(pixel) {
                                *sum += x;
                            }
                        }
                    }
                }
            }
            if let Kind::Mean { .. } = self.kind {
                let share = self.share / self.column_shares[x];
                for sum in out.iter_mut() {
                    *sum *= share;
                }
            }
        }
    }
}

/// Keeps the larger of two values for each channel, and what was there beside NaN.
#[inline(always)]
fn raise<S: pulp::Simd>(simd: S, largest: &mut [f32], pixel: &[f32]) {
    let (vectors, rest) = S::as_mut_simd_f32s(largest);
    let (others, other_rest) = S::as_simd_f32s(pixel);
    for (vector, other) in vectors.iter_mut().zip(others) {
        *vector = simd.max_f32s(*other, *vector);
    }
    for (value, other) in rest.iter_mut().zip(other_rest) {
        *value = other.max(*value);
    }
}
