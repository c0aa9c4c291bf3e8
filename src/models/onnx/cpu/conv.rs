//! Convolution on the CPU: full, grouped, pointwise and depthwise.
//!
//! A depthwise convolution may be preceded by a pointwise one whose rows are made while they are
//! needed and never leave the cache; this pair is what small detectors and embeddings consist of.

use pulp::Simd;
use rayon::prelude::*;

use super::band::{Band, Maps, copy_row};
use super::depthwise::Depthwise;
use super::gemm::{PANEL, Packed, Places, Runs, Target, multiply};
use super::{Shape, workers};
use crate::models::onnx::spec::{Activation, ConvSpec, Window};

/// Numbers of a band that one core works on: half of a common second-level cache.
const BAND_NUMBERS: usize = 64 * 1024;

/// Multiplications below which a convolution stays on one thread: waking another takes longer.
const ALONE: usize = 100_000;

#[derive(Clone, Debug)]
enum Kernel {
    /// One matrix per group.
    Matrices(Vec<Packed>),
    /// One kernel per channel, after a pointwise convolution or alone.
    Depthwise {
        before: Option<Box<Packed>>,
        kernel: Depthwise,
    },
}

/// A convolution with its weights in working order.
#[derive(Clone, Debug)]
pub struct Conv {
    spec: ConvSpec,
    kernel: Kernel,
}

impl Conv {
    /// Packs weights `[outputs, inputs / groups, kh, kw]` and a bias, empty or one per output.
    pub fn new(spec: ConvSpec, weights: &[f32], bias: &[f32], activation: &Activation) -> Self {
        let [kh, kw] = spec.window.kernel;
        let kernel = if spec.is_depthwise() {
            let kernel = Depthwise::new(&spec, weights, bias, activation);
            Kernel::Depthwise {
                before: None,
                kernel,
            }
        } else {
            let inputs = spec.inputs / spec.groups;
            let outputs = spec.outputs / spec.groups;
            let pack = |group: usize| {
                let first = group * outputs;
                // The order of the loop: kernel row, kernel column, input channel.
                let weight = |k: usize, output: usize| {
                    let (tap, input) = (k / inputs, k % inputs);
                    weights[((first + output) * inputs + input) * kh * kw + tap]
                };
                let bias = if bias.is_empty() {
                    bias
                } else {
                    &bias[first..][..outputs]
                };
                let activation = match activation {
                    Activation::Slope(slopes) if slopes.len() > 1 => {
                        Activation::Slope(slopes[first..][..outputs].to_vec())
                    }
                    other => other.clone(),
                };
                Packed::new(inputs * kh * kw, outputs, weight, bias, &activation)
            };
            Kernel::Matrices((0..spec.groups).map(pack).collect())
        };
        Self { spec, kernel }
    }

    /// Puts `self`, a pointwise convolution, before a depthwise one, so that both run as one.
    /// None when the two are not of these kinds.
    pub fn then_depthwise(&self, next: &Self) -> Option<Self> {
        let (
            Kernel::Matrices(matrices),
            Kernel::Depthwise {
                before: None,
                kernel,
            },
        ) = (&self.kernel, &next.kernel)
        else {
            return None;
        };
        let [matrix] = matrices.as_slice() else {
            return None;
        };
        // Channels that do not fit are refused by name when the two run one after the other.
        if !self.spec.is_pointwise() || self.spec.outputs != next.spec.inputs {
            return None;
        }
        let spec = ConvSpec {
            inputs: self.spec.inputs,
            ..next.spec.clone()
        };
        let kernel = Kernel::Depthwise {
            before: Some(Box::new(matrix.clone())),
            kernel: kernel.clone(),
        };
        Some(Self { spec, kernel })
    }

    /// What it does.
    pub fn spec(&self) -> &ConvSpec {
        &self.spec
    }

    /// Runs on `input` of `shape` and fills `out`, which has the output's size, channels last.
    /// `residual`, channels last too, is added before the activation; a convolution with a kernel
    /// per channel does not take one.
    pub fn run(&self, input: Maps<'_>, shape: Shape, residual: Option<&[f32]>, out: &mut [f32]) {
        let Some([h, w]) = self.spec.window.output(shape.h, shape.w) else {
            return;
        };
        let to = Shape {
            n: shape.n,
            h,
            w,
            c: self.spec.outputs,
        };
        if out.is_empty() {
            return;
        }
        let depth = match &self.kernel {
            Kernel::Matrices(matrices) => matrices[0].depth(),
            Kernel::Depthwise { before, kernel } => {
                kernel.taps() + before.as_ref().map_or(0, |before| before.depth())
            }
        };
        let work = out.len() * depth;
        let pieces = if work < ALONE { 1 } else { workers() };
        match (&self.kernel, input) {
            (Kernel::Matrices(matrices), Maps::Last(data)) if self.spec.is_pointwise() => {
                let pixels = (shape.n * h * w).div_ceil(pieces);
                let c = shape.c;
                let job = |(i, out): (usize, &mut [f32])| {
                    let first = i * pixels;
                    let count = out.len() / to.c;
                    let residual = residual.map(|all| &all[first * to.c..][..out.len()]);
                    let data = &data[first * c..][..count * c];
                    pulp::Arch::new().dispatch(Pointwise {
                        matrix: &matrices[0],
                        data,
                        residual,
                        out,
                    });
                };
                in_pieces(out, pixels * to.c, job);
            }
            _ => {
                let rows = h.div_ceil(pieces);
                let picture = h * w * to.c;
                let mut parts = Vec::new();
                for (n, out) in out.chunks_exact_mut(picture).enumerate() {
                    for (i, out) in out.chunks_mut(rows * w * to.c).enumerate() {
                        let first = n * picture + i * rows * w * to.c;
                        let residual = residual.map(|all| &all[first..][..out.len()]);
                        parts.push(Rows {
                            conv: self,
                            input,
                            shape,
                            to,
                            n,
                            y: i * rows,
                            residual,
                            out,
                        });
                    }
                }
                if parts.len() == 1 {
                    for part in parts {
                        pulp::Arch::new().dispatch(part);
                    }
                } else {
                    parts
                        .into_par_iter()
                        .with_max_len(1)
                        .for_each(|part| pulp::Arch::new().dispatch(part));
                }
            }
        }
    }
}

fn in_pieces(out: &mut [f32], size: usize, job: impl Fn((usize, &mut [f32])) + Sync + Send) {
    if size >= out.len() {
        job((0, out));
    } else {
        out.par_chunks_mut(size)
            .enumerate()
            .with_max_len(1)
            .for_each(job);
    }
}

struct Pointwise<'a> {
    matrix: &'a Packed,
    data: &'a [f32],
    residual: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl pulp::WithSimd for Pointwise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (depth, width) = (self.matrix.depth(), self.matrix.width());
        // So many pixels that they stay in the cache while one block of weights after another
        // passes over them.
        let strip = (BAND_NUMBERS / 2 / depth).max(48);
        for (i, out) in self.out.chunks_mut(strip * width).enumerate() {
            let count = out.len() / width;
            let residual = self
                .residual
                .map(|all| &all[i * strip * width..][..out.len()]);
            let data = &self.data[i * strip * depth..][..count * depth];
            let runs = Runs {
                offsets: &[0],
                length: depth,
            };
            let mut target = Target {
                data: out,
                stride: width,
                first: 0,
                residual,
                padded: false,
            };
            multiply(
                simd,
                self.matrix,
                data,
                count,
                &Places::Every(depth),
                &runs,
                &mut target,
            );
        }
    }
}

/// Consecutive output rows of one picture.
struct Rows<'a> {
    conv: &'a Conv,
    input: Maps<'a>,
    shape: Shape,
    to: Shape,
    n: usize,
    /// The first of the output rows.
    y: usize,
    residual: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl pulp::WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            conv,
            input,
            shape,
            to,
            n,
            y,
            residual,
            out,
        } = self;
        let spec = &conv.spec;
        let border = spec.window.border;
        // What the kernel itself sees. A depthwise one takes channels in whole panels, and after a
        // pointwise convolution they are its outputs.
        let seen = match &conv.kernel {
            Kernel::Depthwise { .. } => Shape {
                c: spec.outputs.next_multiple_of(PANEL),
                ..shape
            },
            Kernel::Matrices(_) => shape,
        };
        let [reach, _] = spec.window.reach();
        let row_in = (border.left + seen.w + border.right) * seen.c;
        let row_out = to.w * to.c;
        let fitting = (BAND_NUMBERS / row_in).saturating_sub(reach) / spec.window.stride[0] + 1;
        let fitting = fitting.clamp(1, (out.len() / row_out).max(1));
        let mut band = Band::new((fitting - 1) * spec.window.stride[0] + reach, seen, border);
        let mut reading = None;
        let mut unpacked = Vec::new();
        for (i, out) in out.chunks_mut(fitting * row_out).enumerate() {
            let rows = out.len() / row_out;
            let first = (y + i * fitting) * spec.window.stride[0];
            let residual = residual.map(|all| &all[i * fitting * row_out..][..out.len()]);
            let needed = (rows - 1) * spec.window.stride[0] + reach;
            for y in band.advance(first, needed) {
                let Some((y, row)) = band.place(y, seen, border) else {
                    continue;
                };
                let Kernel::Depthwise {
                    before: Some(before),
                    ..
                } = &conv.kernel
                else {
                    copy_row(input, shape, n, y, row, seen.c);
                    continue;
                };
                let data = match input {
                    Maps::Last(data) => &data[(n * shape.h + y) * shape.w * shape.c..],
                    Maps::Planar(_) => {
                        unpacked.resize(shape.w * shape.c, 0.0);
                        copy_row(input, shape, n, y, &mut unpacked, shape.c);
                        unpacked.as_slice()
                    }
                };
                let data = &data[..shape.w * shape.c];
                let runs = Runs {
                    offsets: &[0],
                    length: shape.c,
                };
                let mut target = Target {
                    data: row,
                    stride: seen.c,
                    first: 0,
                    residual: None,
                    padded: true,
                };
                multiply(
                    simd,
                    before,
                    data,
                    shape.w,
                    &Places::Every(shape.c),
                    &runs,
                    &mut target,
                );
            }
            match &conv.kernel {
                Kernel::Matrices(matrices) => {
                    // The first band has the most rows, and all are read alike.
                    let reading =
                        reading.get_or_insert_with(|| Reading::new(spec, row_in, fitting, to.w));
                    full(simd, matrices, reading, &band, to.c, residual, out);
                }
                Kernel::Depthwise { kernel, .. } => kernel.run(simd, &band, to.w, out),
            }
        }
    }
}

/// Where the numbers of each output lie in a band. A table is faster than a division.
struct Reading {
    /// The first number of each output, row by row.
    places: Vec<usize>,
    /// The runs of an output, relative to it.
    offsets: Vec<usize>,
    /// Numbers in each run.
    length: usize,
    /// Channels of a group.
    inputs: usize,
}

impl Reading {
    /// For `rows` rows of `width` outputs from a band with `row` numbers a row.
    fn new(spec: &ConvSpec, row: usize, rows: usize, width: usize) -> Self {
        let Window {
            kernel: [kh, kw],
            stride,
            dilation,
            ..
        } = spec.window;
        let inputs = spec.inputs / spec.groups;
        let down = |ky: usize| ky * dilation[0] * row;
        // Kernel columns lie beside each other in memory unless groups or dilation part them.
        let (offsets, length): (Vec<usize>, usize) =
            if spec.groups == 1 && (dilation[1] == 1 || kw == 1) {
                ((0..kh).map(down).collect(), kw * inputs)
            } else {
                let right = |kx: usize| kx * dilation[1] * spec.inputs;
                let taps = (0..kh).flat_map(|ky| (0..kw).map(move |kx| down(ky) + right(kx)));
                (taps.collect(), inputs)
            };
        let place = |y: usize, x: usize| y * stride[0] * row + x * stride[1] * spec.inputs;
        Self {
            places: (0..rows)
                .flat_map(|y| (0..width).map(move |x| place(y, x)))
                .collect(),
            offsets,
            length,
            inputs,
        }
    }
}

/// A convolution over a band that holds all rows that `out` needs.
#[inline(always)]
fn full<S: Simd>(
    simd: S,
    matrices: &[Packed],
    reading: &Reading,
    band: &Band,
    channels: usize,
    residual: Option<&[f32]>,
    out: &mut [f32],
) {
    let runs = Runs {
        offsets: &reading.offsets,
        length: reading.length,
    };
    let count = out.len() / channels;
    for (group, matrix) in matrices.iter().enumerate() {
        let places = Places::Listed(&reading.places, group * reading.inputs);
        let mut target = Target {
            data: &mut *out,
            stride: channels,
            first: group * matrix.width(),
            residual,
            padded: false,
        };
        multiply(simd, matrix, &band.data, count, &places, &runs, &mut target);
    }
}
