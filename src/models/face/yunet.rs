//! Reads the outputs of YuNet.
//!
//! For each grid there are `cls` and `obj` (both already between 0 and 1), `bbox` and `kps`, with
//! one row for each cell, row by row. In column `c` and row `r` of a grid of `t` pixels a cell:
//!
//! ```text
//! score    sqrt(cls * obj)
//! centre   ((c + bbox0) * t, (r + bbox1) * t)
//! size     (exp(bbox2) * t, exp(bbox3) * t)
//! point k  ((c + kps2k) * t, (r + kps2k+1) * t)
//! ```
//!
//! The same as OpenCV's `FaceDetectorYN` does; files for pictures of one size and of any size are
//! read alike.

use super::detector::{Decode, STRIDES, checked_score, rows};
use super::{Bounds, Face};
use crate::models::onnx::{HostTensor, Port};

/// What each grid has: the name before the size of a cell, and how many numbers a cell has.
const KINDS: [(&str, usize); 4] = [("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)];

/// Which output is which: for each grid in the order of [`STRIDES`], the places of [`KINDS`].
pub(super) struct YuNet([[usize; KINDS.len()]; STRIDES.len()]);

impl YuNet {
    /// Finds the outputs by their names.
    pub(super) fn new(outputs: &[Port]) -> Result<Self, String> {
        let mut places = [[0; KINDS.len()]; STRIDES.len()];
        for (stride, places) in STRIDES.into_iter().zip(&mut places) {
            for ((kind, channels), place) in KINDS.into_iter().zip(places) {
                let name = format!("{kind}_{stride}");
                let found = outputs.iter().position(|port| port.name == name);
                *place = found.ok_or_else(|| {
                    format!("it has no output `{name}`, which every YuNet with five points has")
                })?;
                let given = outputs[*place].dims.last().copied().flatten();
                if given.is_some_and(|given| given != channels) {
                    return Err(format!(
                        "its output `{name}` is {}, and a YuNet has {channels} numbers for a cell",
                        outputs[*place]
                    ));
                }
            }
        }
        Ok(Self(places))
    }
}

impl Decode for YuNet {
    fn candidates(
        &self,
        outputs: &[HostTensor],
        [width, height]: [usize; 2],
        least: f32,
    ) -> Result<Vec<Face>, String> {
        let mut faces = Vec::new();
        for (stride, places) in STRIDES.into_iter().zip(&self.0) {
            let columns = width / stride;
            let cells = columns * (height / stride);
            let numbers = |kind: usize| {
                let output = outputs.get(places[kind]).ok_or("an output is missing")?;
                rows(output, cells, KINDS[kind].1)
            };
            let (classes, objects) = (numbers(0)?, numbers(1)?);
            let (boxes, points) = (numbers(2)?, numbers(3)?);
            let scores = classes.iter().zip(objects);
            for (cell, (class, object)) in scores.enumerate() {
                let score = (checked_score(*class)? * checked_score(*object)?).sqrt();
                if score < least {
                    continue;
                }
                let column = (cell % columns) as f32;
                let row = (cell / columns) as f32;
                let stride = stride as f32;
                let middle = &boxes[cell * 4..cell * 4 + 4];
                let (x, y) = ((column + middle[0]) * stride, (row + middle[1]) * stride);
                let half_width = middle[2].exp() * stride / 2.0;
                let half_height = middle[3].exp() * stride / 2.0;
                let points = &points[cell * 10..cell * 10 + 10];
                faces.push(Face {
                    score,
                    bounds: Bounds {
                        left: x - half_width,
                        top: y - half_height,
                        right: x + half_width,
                        bottom: y + half_height,
                    },
                    points: std::array::from_fn(|point| {
                        [
                            (points[2 * point] + column) * stride,
                            (points[2 * point + 1] + row) * stride,
                        ]
                    }),
                });
            }
        }
        faces.retain(Face::is_finite);
        Ok(faces)
    }
}
