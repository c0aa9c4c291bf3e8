//! The simple operators on feature maps: they read each number once.

use pulp::Arch;
use rayon::prelude::*;

use super::Shape;
use crate::models::onnx::operator::Binary;
use crate::models::onnx::spec::{Activation, Mix};

/// Numbers that are handled by one thread at a time; below it nobody else is woken.
const PIECE: usize = 64 * 1024;

/// Calls `job(first, out)` for pieces of `out` that are multiples of `unit` long.
fn in_pieces(out: &mut [f32], unit: usize, job: impl Fn(usize, &mut [f32]) + Send + Sync) {
    let size = PIECE.next_multiple_of(unit.max(1));
    if out.len() <= size {
        job(0, out);
    } else {
        out.par_chunks_mut(size)
            .enumerate()
            .for_each(|(i, out)| job(i * size, out));
    }
}

/// `[n, c, h, w]` to `[n, h, w, c]`.
pub fn interleave(input: &[f32], shape: Shape, out: &mut [f32]) {
    let (pixels, c) = (shape.h * shape.w, shape.c);
    if pixels * c == 0 {
        return;
    }
    for (out, input) in out
        .chunks_exact_mut(pixels * c)
        .zip(input.chunks_exact(pixels * c))
    {
        for (channel, line) in input.chunks_exact(pixels).enumerate() {
            for (out, &value) in out[channel..].iter_mut().step_by(c).zip(line) {
                *out = value;
            }
        }
    }
}

/// Applies an activation. `inner` numbers of a channel lie beside each other.
pub fn activate(input: &[f32], activation: &Activation, inner: usize, out: &mut [f32]) {
    match activation {
        Activation::Clip(low, high) => in_pieces(out, 1, |first, out| {
            let input = &input[first..][..out.len()];
            Arch::new().dispatch(|| {
                for (out, &x) in out.iter_mut().zip(input) {
                    *out = x.max(*low).min(*high);
                }
            });
        }),
        Activation::Slope(slopes) if slopes.len() == 1 => in_pieces(out, 1, |first, out| {
            let input = &input[first..][..out.len()];
            let slope = slopes[0];
            Arch::new().dispatch(|| {
                for (out, &x) in out.iter_mut().zip(input) {
                    *out = x.max(0.0) + slope * x.min(0.0);
                }
            });
        }),
        Activation::Slope(slopes) => {
            each_channel(input, inner, slopes, slopes, out, |x, slope, _| {
                x.max(0.0) + slope * x.min(0.0)
            });
        }
    }
}

/// `scale x + shift` for each channel, of which `inner` numbers lie beside each other.
pub fn scale_shift(input: &[f32], scale: &[f32], shift: &[f32], inner: usize, out: &mut [f32]) {
    each_channel(input, inner, scale, shift, out, |x, scale, shift| {
        x * scale + shift
    });
}

/// Applies a function with two numbers of the channel.
fn each_channel(
    input: &[f32],
    inner: usize,
    first: &[f32],
    second: &[f32],
    out: &mut [f32],
    function: impl Fn(f32, f32, f32) -> f32 + Copy + Send + Sync,
) {
    let unit = first.len() * inner;
    in_pieces(out, unit, |start, out| {
        let input = &input[start..][..out.len()];
        Arch::new().dispatch(|| {
            for (out, input) in out.chunks_exact_mut(unit).zip(input.chunks_exact(unit)) {
                if inner == 1 {
                    let numbers = first.iter().zip(second);
                    for ((out, &x), (&a, &b)) in out.iter_mut().zip(input).zip(numbers) {
                        *out = function(x, a, b);
                    }
                    continue;
                }
                let lines = out.chunks_exact_mut(inner).zip(input.chunks_exact(inner));
                for ((out, input), (&a, &b)) in lines.zip(first.iter().zip(second)) {
                    for (out, &x) in out.iter_mut().zip(input) {
                        *out = function(x, a, b);
                    }
                }
            }
        });
    });
}

/// Combines two maps of the same sizes.
pub fn combine(a: &[f32], b: &[f32], binary: Binary, out: &mut [f32]) {
    in_pieces(out, 1, |first, out| {
        let (a, b) = (&a[first..][..out.len()], &b[first..][..out.len()]);
        combine_lines(a, b, binary, out);
    });
}

/// Combines maps with one number for each picture and channel.
pub fn combine_channels(a: &[f32], b: &[f32], shape: Shape, binary: Binary, out: &mut [f32]) {
    let picture = shape.h * shape.w * shape.c;
    if picture == 0 {
        return;
    }
    let pictures = out.chunks_exact_mut(picture).zip(a.chunks_exact(picture));
    for ((out, a), b) in pictures.zip(b.chunks_exact(shape.c)) {
        in_pieces(out, shape.c, |first, out| {
            let a = &a[first..][..out.len()];
            for (out, a) in out.chunks_exact_mut(shape.c).zip(a.chunks_exact(shape.c)) {
                combine_lines(a, b, binary, out);
            }
        });
    }
}

fn combine_lines(a: &[f32], b: &[f32], binary: Binary, out: &mut [f32]) {
    let triples = out.iter_mut().zip(a.iter().zip(b));
    Arch::new().dispatch(|| match binary {
        Binary::Sub => triples.for_each(|(out, (a, b))| *out = a - b),
        Binary::Mul => triples.for_each(|(out, (a, b))| *out = a * b),
        Binary::Div => triples.for_each(|(out, (a, b))| *out = a / b),
        _ => triples.for_each(|(out, (a, b))| *out = a + b),
    });
}

/// The mean of each channel of each picture.
pub fn mean(input: &[f32], shape: Shape, out: &mut [f32]) {
    let Shape { h, w, c, .. } = shape;
    let share = 1.0 / (h * w) as f32;
    for (out, picture) in out.chunks_exact_mut(c).zip(input.chunks_exact(h * w * c)) {
        out.fill(0.0);
        Arch::new().dispatch(|| {
            for pixel in picture.chunks_exact(c) {
                out.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += x);
            }
            out.iter_mut().for_each(|sum| *sum *= share);
        });
    }
}

/// Resizes pictures.
pub fn resize(input: &[f32], shape: Shape, rows: &Mix, columns: &Mix, out: &mut [f32]) {
    let Shape { h, w, c, .. } = shape;
    let row_out = columns.taps.len() * c;
    let (whole_rows, whole_columns) = (rows.is_copy(), columns.is_copy());
    let line = |y: usize, out: &mut [f32]| {
        let picture = &input[y / rows.taps.len() * h * w * c..][..h * w * c];
        let (first, second, down) = rows.taps[y % rows.taps.len()];
        let (top, bottom) = (
            &picture[first * w * c..][..w * c],
            &picture[second * w * c..][..w * c],
        );
        Arch::new().dispatch(|| {
            for (out, &(first, second, right)) in out.chunks_exact_mut(c).zip(&columns.taps) {
                if whole_rows && whole_columns {
                    out.copy_from_slice(&top[first * c..][..c]);
                    continue;
                }
                let corner = |row: &'_ [f32], x: usize, i: usize| row[x * c..][..c][i];
                for (i, out) in out.iter_mut().enumerate() {
                    let above = mix(corner(top, first, i), corner(top, second, i), right);
                    let below = mix(corner(bottom, first, i), corner(bottom, second, i), right);
                    *out = mix(above, below, down);
                }
            }
        });
    };
    if out.len() <= PIECE {
        out.chunks_exact_mut(row_out)
            .enumerate()
            .for_each(|(y, out)| line(y, out));
    } else {
        out.par_chunks_exact_mut(row_out)
            .enumerate()
            .for_each(|(y, out)| line(y, out));
    }
}

fn mix(a: f32, b: f32, share: f32) -> f32 {
    a + (b - a) * share
}
