//! Convolution with square kernels over channels-last maps.
//!
//! Each tap of the kernel reads the channels of one input pixel where they lie; a tap that stands
//! outside the map reads zeros. So there are no columns, no padded copy, and no doubled map.

use super::Shape;
use super::gemm::{Packed, Run, Source};
use super::winograd;

/// How a kernel goes over a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Input pixels from one output to the next.
    pub stride: usize,
    /// Rows of zeros above and columns of zeros left of the map.
    pub before: usize,
    /// Rows of zeros below and columns of zeros right of it.
    pub after: usize,
    /// The input is read as if each pixel were a square of two by two.
    pub doubled: bool,
}

impl Window {
    /// An odd kernel whose output has the size of its input.
    pub fn same(kernel: usize) -> Self {
        Self {
            kernel,
            stride: 1,
            before: kernel / 2,
            after: kernel / 2,
            doubled: false,
        }
    }

    /// Pixels of the output for `size` of the input; none when the kernel does not fit.
    pub fn output(&self, size: usize) -> usize {
        let size = if self.doubled { 2 * size } else { size };
        let room = self.before + size + self.after;
        room.checked_sub(self.kernel)
            .map_or(0, |room| room / self.stride + 1)
    }
}

/// A convolution with its weights in working order.
#[derive(Clone, Debug)]
pub struct Filter {
    inputs: usize,
    window: Window,
    packed: Packed,
    /// What taps outside the map read.
    zeros: Vec<f32>,
}

impl Filter {
    /// Packs weights `[outputs][inputs][kernel][kernel]` and a bias of one number per output. None of
    /// the sizes may be zero.
    pub fn new(
        weight: &[f32],
        outputs: usize,
        inputs: usize,
        bias: Option<&[f32]>,
        window: Window,
    ) -> Self {
        let taps = window.kernel * window.kernel;
        assert_eq!(
            weight.len(),
            outputs * inputs * taps,
            "the weights have their sizes"
        );
        let at = |tap: usize, input: usize, output: usize| {
            weight[(output * inputs + input) * taps + tap]
        };
        Self {
            inputs,
            window,
            packed: Packed::new(taps, inputs, outputs, at, bias),
            zeros: vec![0.0; inputs],
        }
    }

    /// Sizes of the output for an input of `shape`.
    pub fn output(&self, shape: Shape) -> Shape {
        Shape {
            batch: shape.batch,
            height: self.window.output(shape.height),
            width: self.window.output(shape.width),
            channels: self.packed.width(),
        }
    }

    /// Fills `out` with the convolution of `input` plus bias plus `residual`, which is as large as
    /// the output.
    pub fn run(&self, input: &[f32], shape: Shape, residual: Option<&[f32]>, out: &mut [f32]) {
        assert_eq!(shape.channels, self.inputs, "the weights fit the channels");
        assert_eq!(input.len(), shape.count(), "the input has its sizes");
        let to = self.output(shape);
        assert_eq!(out.len(), to.count(), "the output has its sizes");
        let map = Map {
            input,
            shape,
            to,
            window: self.window,
            zeros: &self.zeros,
        };
        let Window { kernel, stride, .. } = self.window;
        // The choice must not depend on the batch.
        if [kernel, stride] == [3, 1] && winograd::fits(self.inputs, to.channels) {
            winograd::run(&self.packed, &map, residual, out);
        } else {
            self.packed.run(&map, residual, out);
        }
    }
}

/// An input with the kernel that goes over it.
pub struct Map<'a> {
    input: &'a [f32],
    shape: Shape,
    /// Sizes of the output.
    pub to: Shape,
    window: Window,
    zeros: &'a [f32],
}

impl Map<'_> {
    /// The channels of a pixel, counted from the corner of the zeros around the map.
    #[inline(always)]
    pub fn at(&self, n: usize, y: usize, x: usize) -> &[f32] {
        let Shape {
            height,
            width,
            channels,
            ..
        } = self.shape;
        // Before the map it wraps around to a large number, which is outside too.
        let shift = u32::from(self.window.doubled);
        let y = y.wrapping_sub(self.window.before) >> shift;
        let x = x.wrapping_sub(self.window.before) >> shift;
        if y >= height || x >= width {
            return self.zeros;
        }
        let pixel = (n * height + y) * width + x;
        &self.input[pixel * channels..][..channels]
    }
}

impl Source for Map<'_> {
    #[inline(always)]
    fn run(&self, row: usize, run: &Run) -> &[f32] {
        let Window { kernel, stride, .. } = self.window;
        let (above, x) = (row / self.to.width, row % self.to.width);
        let (n, y) = (above / self.to.height, above % self.to.height);
        let pixel = self.at(
            n,
            y * stride + run.tap / kernel,
            x * stride + run.tap % kernel,
        );
        &pixel[run.channel..][..run.length]
    }
}
