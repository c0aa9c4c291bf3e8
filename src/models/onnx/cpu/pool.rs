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
        let (picture, y) = (&data[index / rows * h * w * c..][..h * w * c], index % rows);
        let inside =
            |at: usize, before: usize, size: usize| at.checked_sub(before).filter(|&at| at < size);
        Arch::new().dispatch(|| {
            for (x, out) in out.chunks_exact_mut(c).enumerate() {
                out.fill(if let Kind::Max = kind { f32::MIN } else { 0.0 });
                for ky in 0..kh {
                    let at = y * window.stride[0] + ky * window.dilation[0];
                    let Some(iy) = inside(at, window.border.top, h) else {
                        continue;
                    };
                    for kx in 0..kw {
                        let at = x * window.stride[1] + kx * window.dilation[1];
                        let Some(ix) = inside(at, window.border.left, w) else {
                            continue;
                        };
                        let pixel = &picture[(iy * w + ix) * c..][..c];
                        let pairs = out.iter_mut().zip(pixel);
                        match kind {
                            Kind::Max => {
                                pairs.for_each(|(out, &x)| *out = if x > *out { x } else { *out })
                            }
                            Kind::Mean { .. } => pairs.for_each(|(out, &x)| *out += x),
                        }
                    }
                }
                if let Kind::Mean { .. } = kind {
                    let share = 1.0 / (row_shares[y] * column_shares[x]);
                    out.iter_mut().for_each(|sum| *sum *= share);
                }
            }
        });
    };
    const ALONE: usize = 64 * 1024;
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
