//! The way back of convolutions.

use rayon::prelude::*;

use crate::models::cpu::{Filter, Matrix, Shape, Window};

/// Computes the gradient of a convolution's input.
///
/// An input pixel is read by the taps of the kernel at the outputs around it. Where the kernel goes
/// from pixel to pixel, its gradient is a convolution of theirs, with the kernel turned by half a
/// circle and with inputs and outputs exchanged. Where the kernel steps over pixels, that convolution
/// would multiply mostly zeros; there the gradient of an output is multiplied with all taps, and each
/// input pixel adds up what is its own.
#[derive(Clone, Debug)]
pub struct BackFilter {
    way: Way,
    /// Of the convolution.
    window: Window,
    inputs: usize,
    outputs: usize,
}

#[derive(Clone, Debug)]
enum Way {
    Turned(Filter),
    /// From the outputs to all taps of the inputs, `[taps * inputs][outputs]`.
    Taps(Matrix),
}

impl BackFilter {
    /// Packs the weights `[outputs][inputs][kernel][kernel]` of a convolution of a map as it is, with
    /// fewer zeros on each side than the kernel is wide. None of the sizes may be zero.
    pub fn new(weight: &[f32], outputs: usize, inputs: usize, window: Window) -> Self {
        let Window {
            kernel,
            stride,
            before,
            after,
            doubled,
        } = window;
        let taps = kernel * kernel;
        assert_eq!(
            weight.len(),
            outputs * inputs * taps,
            "the weights have their sizes"
        );
        assert!(!doubled, "the map is convolved as it is");
        assert!(before.max(after) < kernel, "no output sees zeros alone");
        let mut moved = Vec::with_capacity(weight.len());
        let way = if stride == 1 {
            for input in 0..inputs {
                for output in 0..outputs {
                    let own = &weight[(output * inputs + input) * taps..][..taps];
                    moved.extend(own.iter().rev());
                }
            }
            let turned = Window {
                before: kernel - 1 - before,
                after: kernel - 1 - after,
                ..window
            };
            Way::Turned(Filter::new(&moved, inputs, outputs, None, turned))
        } else {
            for tap in 0..taps {
                for input in 0..inputs {
                    let own = &weight[input * taps + tap..];
                    moved.extend(own.iter().step_by(inputs * taps));
                }
            }
            Way::Taps(Matrix::new(&moved, taps * inputs, outputs, None))
        };
        Self {
            way,
            window,
            inputs,
            outputs,
        }
    }

    /// Channels of the convolution's input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Fills `out`, the gradient of an input of `shape`, given that of the output.
    pub fn run(&self, gradient: &[f32], shape: Shape, out: &mut [f32]) {
        assert_eq!(shape.channels, self.inputs, "the weights fit the channels");
        assert_eq!(out.len(), shape.count(), "the input has its sizes");
        let from = Shape {
            batch: shape.batch,
            height: self.window.output(shape.height),
            width: self.window.output(shape.width),
            channels: self.outputs,
        };
        assert_eq!(gradient.len(), from.count(), "the gradient has its sizes");
        if gradient.is_empty() {
            out.fill(0.0);
            return;
        }
        match &self.way {
            Way::Turned(filter) => filter.run(gradient, from, None, out),
            Way::Taps(matrix) => {
                let pixels = from.batch * from.height * from.width;
                let mut taps = vec![0.0; pixels * matrix.outputs()];
                matrix.run(gradient, None, &mut taps);
                let [height, width] = [from.height, from.width];
                let line = shape.width * shape.channels;
                let lines = out.par_chunks_exact_mut(line).enumerate();
                lines.for_each(|(i, out)| {
                    let (n, y) = (i / shape.height, i % shape.height);
                    out.fill(0.0);
                    for (row, tap) in self.readers(y, height) {
                        let row = (n * height + row) * width;
                        self.add(&taps[row * matrix.outputs()..], tap, width, out);
                    }
                });
            }
        }
    }

    /// The outputs, of so many in a line, that read an input pixel, and the tap that each reads it with.
    fn readers(&self, pixel: usize, outputs: usize) -> impl Iterator<Item = (usize, usize)> {
        let Window {
            kernel,
            stride,
            before,
            ..
        } = self.window;
        (0..kernel).filter_map(move |tap| {
            let place = (pixel + before).checked_sub(tap)?;
            let output = place / stride;
            (place % stride == 0 && output < outputs).then_some((output, tap))
        })
    }

    /// Adds to a line of pixels what a line of `width` outputs has for them in one row of its taps.
    fn add(&self, taps: &[f32], row: usize, width: usize, out: &mut [f32]) {
        let kernel = self.window.kernel;
        for (x, out) in out.chunks_exact_mut(self.inputs).enumerate() {
            for (column, tap) in self.readers(x, width) {
                let place = (column * kernel + row) * kernel + tap;
                let own = &taps[place * self.inputs..][..self.inputs];
                for (out, own) in out.iter_mut().zip(own) {
                    *out += own;
                }
            }
        }
    }
}
