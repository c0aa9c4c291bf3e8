//! What the heavy operators do, apart from their numbers. Shared by the graph and all kernels.

/// Zeros around a picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Border {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Border {
    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether opposite sides are equal.
    pub fn is_symmetric(&self) -> bool {
        self.top == self.bottom && self.left == self.right
    }
}

impl std::ops::Add for Border {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            top: self.top + other.top,
            left: self.left + other.left,
            bottom: self.bottom + other.bottom,
            right: self.right + other.right,
        }
    }
}

/// What happens to each value of a feature map after an operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Activation {
    /// Bounded from below and above; without bounds these are infinite. `0, inf` is Relu.
    Clip(f32, f32),
    /// Negative values are multiplied with a slope: one for all channels, or one for each.
    Slope(Vec<f32>),
}

impl Activation {
    /// Leaves values as they are.
    pub const NONE: Self = Self::Clip(f32::NEG_INFINITY, f32::INFINITY);
    /// Sets negative values to zero.
    pub const RELU: Self = Self::Clip(0.0, f32::INFINITY);
}

/// Numbers in the longest vector of a processor, with 512 bits.
const LANES_MAX: usize = 16;

/// A convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// How the kernel moves.
    pub window: Window,
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl ConvSpec {
    /// Most numbers that its weights take in working order: full vectors of outputs in each group.
    /// None when that is beyond counting.
    pub fn packed(&self) -> Option<usize> {
        let [kh, kw] = self.window.kernel;
        let each = (self.inputs / self.groups)
            .checked_mul(kh)?
            .checked_mul(kw)?;
        let outputs = if self.is_depthwise() {
            self.outputs.next_multiple_of(LANES_MAX)
        } else {
            let outputs = (self.outputs / self.groups).next_multiple_of(LANES_MAX);
            outputs.checked_mul(self.groups)?
        };
        each.checked_mul(outputs)
    }

    /// Whether each channel has a kernel of its own.
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.inputs && self.groups == self.outputs
    }

    /// Whether it is a matrix product over the channels of each pixel.
    pub fn is_pointwise(&self) -> bool {
        self.groups == 1
            && self.window.kernel == [1, 1]
            && self.window.stride == [1, 1]
            && self.window.border.is_empty()
    }
}

/// Largest kernel, stride, dilation and border of a window.
pub const MAX_WINDOW: usize = 1024;

/// A number of rows or columns about a window, none when it is out of range.
pub fn window_size(value: i64) -> Option<usize> {
    usize::try_from(value)
        .ok()
        .filter(|&size| size <= MAX_WINDOW)
}

/// A rectangle that moves over a picture, as in convolution and pooling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width, in taps.
    pub kernel: [usize; 2],
    /// Rows and columns from one output to the next.
    pub stride: [usize; 2],
    /// Rows and columns from one tap to the next.
    pub dilation: [usize; 2],
    /// Around the input.
    pub border: Border,
    /// Whether a last position that reaches past the border counts, as long as it starts inside.
    pub ceil: bool,
}

impl Window {
    /// Rows and columns from the first tap to after the last.
    pub fn reach(&self) -> [usize; 2] {
        [0, 1].map(|axis| (self.kernel[axis] - 1) * self.dilation[axis] + 1)
    }

    /// The sizes `[n, c, h, w]` of pictures with the border around them.
    pub fn bordered(&self, [n, c, h, w]: [usize; 4]) -> [usize; 4] {
        let Border {
            top,
            left,
            bottom,
            right,
        } = self.border;
        // Sizes and borders are far below half of what a word holds.
        [n, c, h + top + bottom, w + left + right]
    }

    /// Height and width of the output for an input of this height and width; none when the window
    /// is larger than the padded input.
    pub fn output(&self, h: usize, w: usize) -> Option<[usize; 2]> {
        let Border {
            top,
            left,
            bottom,
            right,
        } = self.border;
        let reach = self.reach();
        let along = |size: usize, before: usize, after: usize, axis: usize| {
            let free = (size + before + after).checked_sub(reach[axis])?;
            let stride = self.stride[axis];
            if !self.ceil {
                return Some(free / stride + 1);
            }
            let count = free.div_ceil(stride) + 1;
            let inside = (count - 1) * stride < size + before;
            Some(if inside { count } else { count - 1 })
        };
        Some([along(h, top, bottom, 0)?, along(w, left, right, 1)?])
    }
}

/// Along one axis of a resized picture: for each output the two inputs that it is mixed from and
/// the share of the second.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// `(first, second, share of the second)` for each output.
    pub taps: Vec<(usize, usize, f32)>,
}

impl Mix {
    /// Whether each output is one input.
    pub fn is_copy(&self) -> bool {
        self.taps.iter().all(|&(_, _, share)| share == 0.0)
    }
}
