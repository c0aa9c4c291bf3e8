//! Large pictures a piece at a time, so that memory does not grow with the picture.
//!
//! Tiles overlap, and where they do, one fades into the other. The middle of the network sees only
//! its tile, so colours may differ by a little from those of the whole picture.

use std::ops::ControlFlow;

use burn::Tensor;
use burn::tensor::TensorData;
use burn::tensor::backend::ExecutionError;

use super::{Decoder, Encoder, Posterior};
use crate::models::nn::{Kernels, Maps};

/// How a picture is cut, in latent pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Rows and columns of a tile.
    pub side: usize,
    /// How much of it the next one covers too; less than half of the side.
    pub overlap: usize,
}

impl Default for Tiling {
    /// Tiles of 768 pixels that overlap by 128.
    fn default() -> Self {
        Self {
            side: 96,
            overlap: 16,
        }
    }
}

impl Tiling {
    /// Starts and length of the tiles along a side.
    fn along(&self, size: usize) -> (Vec<usize>, usize) {
        if size <= self.side {
            return (vec![0], size);
        }
        let step = self.side - self.overlap.min(self.side / 2);
        let last = size - self.side;
        let mut starts: Vec<usize> = (0..last).step_by(step).collect();
        starts.push(last);
        (starts, self.side)
    }
}

/// Why tiles did not become a picture.
#[derive(Debug)]
pub enum TileError {
    /// The caller asked to stop.
    Stopped,
    /// The device failed.
    Device(ExecutionError),
}

/// As [`Decoder::forward`], in tiles. `between` is called before each with how many are done and how
/// many there are.
pub fn decode_tiled<B: Kernels>(
    decoder: &Decoder<B>,
    latents: Maps<B>,
    tiling: Tiling,
    between: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Maps<B>, TileError> {
    let decode = |tile: Maps<B>| decoder.forward(tile);
    in_tiles(latents, tiling, (1, decoder.factor()), decode, between)
}

/// As [`Encoder::forward`], in tiles.
pub fn encode_tiled<B: Kernels>(
    encoder: &Encoder<B>,
    pictures: Maps<B>,
    tiling: Tiling,
    between: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Posterior<B>, TileError> {
    let encode = |tile: Maps<B>| encoder.moments_of(tile);
    let moments = in_tiles(pictures, tiling, (encoder.factor(), 1), encode, between)?;
    Ok(encoder.posterior(moments))
}

/// Runs `network` on tiles of `input`, whose sizes are multiples of `from`, and puts what comes out,
/// `to` numbers for each `from`, together.
pub(super) fn in_tiles<B: Kernels>(
    input: Maps<B>,
    tiling: Tiling,
    (from, to): (usize, usize),
    network: impl Fn(Maps<B>) -> Maps<B>,
    between: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Maps<B>, TileError> {
    let [batch, height, width, _] = input.dims();
    let (height, width) = (height / from, width / from);
    let (rows, tile_height) = tiling.along(height);
    let (columns, tile_width) = tiling.along(width);
    let total = rows.len() * columns.len();
    if total == 1 {
        return match between(0, 1) {
            ControlFlow::Continue(()) => Ok(network(input)),
            ControlFlow::Break(()) => Err(TileError::Stopped),
        };
    }
    let mut canvas = Canvas::new([batch, to * height, to * width]);
    let device = input.device();
    for (row, &y) in rows.iter().enumerate() {
        for (column, &x) in columns.iter().enumerate() {
            if between(row * columns.len() + column, total).is_break() {
                return Err(TileError::Stopped);
            }
            let tile = input
                .clone()
                .narrow(1, from * y, from * tile_height)
                .narrow(2, from * x, from * tile_width);
            let output = network(tile);
            let sizes = output.dims();
            let numbers = output
                .try_into_data()
                .map_err(TileError::Device)?
                .convert::<f32>()
                .into_vec::<f32>()
                .unwrap_or_default();
            canvas.paint(&numbers, sizes, [to * y, to * x], to * tiling.overlap);
        }
    }
    let (numbers, sizes) = canvas.finish();
    Ok(Tensor::from_data(TensorData::new(numbers, sizes), &device))
}

/// Sums of weighted tiles.
struct Canvas {
    /// Pictures, rows, columns.
    sizes: [usize; 3],
    channels: usize,
    sums: Vec<f32>,
    weights: Vec<f32>,
}

impl Canvas {
    fn new(sizes: [usize; 3]) -> Self {
        Self {
            sizes,
            channels: 0,
            sums: Vec::new(),
            weights: vec![0.0; sizes[1] * sizes[2]],
        }
    }

    /// Adds a tile of these sizes at a place. It fades in and out over `fade` pixels.
    fn paint(&mut self, tile: &[f32], sizes: [usize; 4], at: [usize; 2], fade: usize) {
        let [batch, height, width] = self.sizes;
        let [_, tile_height, tile_width, channels] = sizes;
        self.channels = channels;
        self.sums.resize(batch * height * width * channels, 0.0);
        let weight = |place: usize, size: usize| {
            let inside = (place + 1).min(size - place);
            (inside as f32 / (fade + 1) as f32).min(1.0)
        };
        for y in 0..tile_height {
            for x in 0..tile_width {
                let weight = weight(y, tile_height) * weight(x, tile_width);
                let place = (at[0] + y) * width + at[1] + x;
                self.weights[place] += weight;
                for picture in 0..batch {
                    let from = ((picture * tile_height + y) * tile_width + x) * channels;
                    let to = (picture * height * width + place) * channels;
                    let pairs = self.sums[to..][..channels]
                        .iter_mut()
                        .zip(&tile[from..][..channels]);
                    pairs.for_each(|(sum, number)| *sum += weight * number);
                }
            }
        }
    }

    fn finish(self) -> (Vec<f32>, [usize; 4]) {
        let [batch, height, width] = self.sizes;
        let mut numbers = self.sums;
        let pixels = numbers.chunks_exact_mut(self.channels.max(1));
        for (pixel, weight) in pixels.zip(self.weights.iter().cycle()) {
            for number in pixel {
                *number /= weight;
            }
        }
        (numbers, [batch, height, width, self.channels])
    }
}
