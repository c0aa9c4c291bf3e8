//! What is known about a face in a photo.

/// Five points of a face, `[x, y]` each: the eye on the left of the picture, the eye on its right,
/// the tip of the nose, the corner of the mouth on the left of the picture, and that on its right.
pub type Points = [[f32; 2]; 5];

/// A rectangle, by its sides in pixels of the upright photo.
///
/// It may reach over the border of the photo, because a detector says where a face ends even when
/// that is no longer to be seen; [`within`](Self::within) cuts it off.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bounds {
    /// Left side.
    pub left: f32,
    /// Upper side.
    pub top: f32,
    /// Right side.
    pub right: f32,
    /// Lower side.
    pub bottom: f32,
}

impl Bounds {
    /// Width; zero where right is left of left.
    pub fn width(&self) -> f32 {
        (self.right - self.left).max(0.0)
    }

    /// Height; zero where the lower side is above the upper.
    pub fn height(&self) -> f32 {
        (self.bottom - self.top).max(0.0)
    }

    /// Width times height.
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// Intersection over union with another: 1 for the same rectangle, 0 for two that do not touch.
    pub fn iou(&self, other: &Self) -> f32 {
        let common = Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        };
        let union = self.area() + other.area() - common.area();
        if union > 0.0 {
            common.area() / union
        } else {
            0.0
        }
    }

    /// What of this lies in a photo of this size.
    pub fn within(&self, width: u32, height: u32) -> Self {
        let (width, height) = (width as f32, height as f32);
        Self {
            left: self.left.clamp(0.0, width),
            top: self.top.clamp(0.0, height),
            right: self.right.clamp(0.0, width),
            bottom: self.bottom.clamp(0.0, height),
        }
    }
}

/// A face in a photo.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Face {
    /// How certain the detector is, 0 to 1.
    pub score: f32,
    /// Where it is.
    pub bounds: Bounds,
    /// Its five points.
    pub points: Points,
}

impl Face {
    /// Whether all its numbers are finite.
    pub(super) fn is_finite(&self) -> bool {
        let Bounds {
            left,
            top,
            right,
            bottom,
        } = self.bounds;
        [self.score, left, top, right, bottom]
            .iter()
            .chain(self.points.as_flattened())
            .all(|number| number.is_finite())
    }

    /// The same with every coordinate put through a function, one for each axis.
    pub(crate) fn map(&self, x: impl Fn(f32) -> f32, y: impl Fn(f32) -> f32) -> Self {
        Self {
            score: self.score,
            bounds: Bounds {
                left: x(self.bounds.left),
                top: y(self.bounds.top),
                right: x(self.bounds.right),
                bottom: y(self.bounds.bottom),
            },
            points: self.points.map(|point| [x(point[0]), y(point[1])]),
        }
    }
}
