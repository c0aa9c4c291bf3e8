//! Reads the outputs of SCRFD with five points.
//!
//! For each grid there are three outputs with one row for each of two anchors in each cell, row by
//! row: the score (already between 0 and 1), the distances from the corner of the cell to the left,
//! upper, right and lower side, and the offsets of five points from that corner, all but the score
//! in cells. In column `c` and row `r` of a grid of `t` pixels a cell:
//!
//! ```text
//! sides    (c - d0) * t, (r - d1) * t, (c + d2) * t, (r + d3) * t
//! point k  ((c + k2k) * t, (r + k2k+1) * t)
//! ```
//!
//! The same as InsightFace's `SCRFD` does. Its files give outputs numbers for names and not all in
//! the same order, so an output is known by its form: the numbers of a row say what it is, and the
//! number of rows says of which grid.

use super::detector::{Decode, STRIDES, checked_score, rows};
use super::{Bounds, Face};
use crate::models::onnx::{HostTensor, Port};

/// Anchors of a cell; they differ in what they were trained for and not in their place.
const ANCHORS: usize = 2;
/// Numbers of a row: score, sides, points.
const KINDS: [usize; 3] = [1, 4, 10];
/// Outputs of a network.
const OUTPUTS: usize = KINDS.len() * STRIDES.len();

/// SCRFD needs nothing to be remembered.
pub(super) struct Scrfd;

impl Scrfd {
    /// Checks what of the outputs is known before running.
    pub(super) fn new(outputs: &[Port]) -> Result<Self, String> {
        if outputs.len() == OUTPUTS - STRIDES.len() {
            return Err(String::from(
                "it is a SCRFD without points; take one with five points, which has 9 outputs",
            ));
        }
        if outputs.len() != OUTPUTS {
            return Err(format!(
                "it has {} outputs, and a SCRFD with five points has {OUTPUTS}",
                outputs.len()
            ));
        }
        for kind in KINDS {
            let may_be = |port: &&Port| {
                let numbers = port.dims.last().copied().flatten();
                numbers.is_none_or(|numbers| numbers == kind)
            };
            if outputs.iter().filter(may_be).count() < STRIDES.len() {
                return Err(format!(
                    "it has not the three outputs with rows of {kind} numbers that a SCRFD with \
                     five points has"
                ));
            }
        }
        Ok(Self)
    }
}

impl Decode for Scrfd {
    fn candidates(
        &self,
        outputs: &[HostTensor],
        [width, height]: [usize; 2],
        least: f32,
    ) -> Result<Vec<Face>, String> {
        let mut faces = Vec::new();
        for stride in STRIDES {
            let columns = width / stride;
            let count = ANCHORS * columns * (height / stride);
            let numbers = |channels: usize| {
                // Grids of one input never have the same number of cells.
                let found = outputs
                    .iter()
                    .find_map(|output| rows(output, count, channels).ok());
                found.ok_or_else(|| {
                    format!(
                        "no output has {count} rows of {channels} numbers for cells of {stride}"
                    )
                })
            };
            let (scores, sides, points) = (numbers(1)?, numbers(4)?, numbers(10)?);
            for (anchor, score) in scores.iter().enumerate() {
                let score = checked_score(*score)?;
                if score < least {
                    continue;
                }
                let cell = anchor / ANCHORS;
                let column = (cell % columns) as f32;
                let row = (cell / columns) as f32;
                let stride = stride as f32;
                let sides = &sides[anchor * 4..anchor * 4 + 4];
                let points = &points[anchor * 10..anchor * 10 + 10];
                faces.push(Face {
                    score,
                    bounds: Bounds {
                        left: (column - sides[0]) * stride,
                        top: (row - sides[1]) * stride,
                        right: (column + sides[2]) * stride,
                        bottom: (row + sides[3]) * stride,
                    },
                    points: std::array::from_fn(|point| {
                        [
                            (column + points[2 * point]) * stride,
                            (row + points[2 * point + 1]) * stride,
                        ]
                    }),
                });
            }
        }
        faces.retain(Face::is_finite);
        Ok(faces)
    }
}
