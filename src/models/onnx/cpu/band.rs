//! Bands: a few rows of a feature map with the zeros around them that a kernel reaches into.
//!
//! A convolution that works on a band never asks whether it stands at a border, and a band is small
//! enough to stay in the cache of one core.

use super::Shape;
use crate::models::onnx::spec::Border;

/// Where the numbers of a feature map lie.
#[derive(Clone, Copy)]
pub enum Maps<'a> {
    /// `[n, h, w, c]`: the channels of a pixel are together.
    Last(&'a [f32]),
    /// `[n, c, h, w]`: the pixels of a channel are together.
    Planar(&'a [f32]),
}

/// Consecutive rows of one padded picture, channels last.
pub struct Band {
    /// `[rows, left + w + right, c]`.
    pub data: Vec<f32>,
    /// Numbers per row.
    pub row: usize,
    /// The first row held, counted in the padded picture.
    first: usize,
    /// How many rows are held.
    held: usize,
}

impl Band {
    /// A band for up to `rows` rows of pictures of this shape with this border.
    pub fn new(rows: usize, shape: Shape, border: Border) -> Self {
        let row = (border.left + shape.w + border.right) * shape.c;
        Self {
            data: vec![0.0; rows * row],
            row,
            first: 0,
            held: 0,
        }
    }

    /// Moves the band so that it holds the rows `first..first + count` of the padded picture, and
    /// says which of these the caller has to make: all after those that it held before.
    pub fn advance(&mut self, first: usize, count: usize) -> std::ops::Range<usize> {
        let kept = (self.first + self.held)
            .saturating_sub(first)
            .min(self.held)
            .min(count);
        if kept > 0 {
            let from = (first - self.first) * self.row;
            self.data.copy_within(from..from + kept * self.row, 0);
        }
        self.first = first;
        self.held = count;
        first + kept..first + count
    }

    /// The place of row `y` of the padded picture without the border, and which row of the picture
    /// itself belongs there. Where none does, the place is filled with zeros.
    #[inline(always)]
    pub fn place(&mut self, y: usize, shape: Shape, border: Border) -> Option<(usize, &mut [f32])> {
        let row = &mut self.data[(y - self.first) * self.row..][..self.row];
        if y < border.top || y >= border.top + shape.h {
            row.fill(0.0);
            return None;
        }
        Some((
            y - border.top,
            &mut row[border.left * shape.c..][..shape.w * shape.c],
        ))
    }
}

/// Copies row `y` of picture `n` into `row`, channels last, with `pitch` numbers from one pixel to
/// the next.
#[inline(always)]
pub fn copy_row(maps: Maps<'_>, shape: Shape, n: usize, y: usize, row: &mut [f32], pitch: usize) {
    let Shape { h, w, c, .. } = shape;
    match maps {
        Maps::Last(data) => {
            let line = &data[(n * h + y) * w * c..][..w * c];
            if pitch == c {
                row.copy_from_slice(line);
                return;
            }
            for (pixel, line) in row.chunks_exact_mut(pitch).zip(line.chunks_exact(c)) {
                pixel[..c].copy_from_slice(line);
            }
        }
        Maps::Planar(data) => {
            let line = |channel: usize| &data[((n * c + channel) * h + y) * w..][..w];
            if [c, pitch] == [3, 3] {
                // A colour picture is the usual first input.
                let (red, green, blue) = (line(0), line(1), line(2));
                let pixels = red.iter().zip(green).zip(blue);
                for (pixel, ((&red, &green), &blue)) in row.as_chunks_mut().0.iter_mut().zip(pixels)
                {
                    *pixel = [red, green, blue];
                }
                return;
            }
            for channel in 0..c {
                for (pixel, &value) in row.chunks_exact_mut(pitch).zip(line(channel)) {
                    pixel[channel] = value;
                }
            }
        }
    }
}
