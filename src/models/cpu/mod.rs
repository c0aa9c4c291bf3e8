//! The operators of large networks on the CPU, in 32-bit floats.
//!
//! Feature maps lie channels-last, `[batch, height, width, channels]`, and tokens are
//! `[batch, tokens, channels]`, which is the same memory. All numbers of a result are summed in an
//! order that depends neither on the batch nor on the number of threads, so a picture comes out the
//! same bit for bit whatever else is computed beside it.
//!
//! Sizes are the caller's to check: a slice that does not fit its sizes is a panic, not an error.

mod attention;
mod back;
mod filter;
mod gemm;
mod matrix;
mod norm;
mod pointwise;
mod vector;
mod winograd;

pub use self::attention::{Sizes, attention, attention_with_totals};
pub use self::back::{
    AdamStep, Attended, BackFilter, adamw, attention_back, gated_gelu_back, group_norm_back,
    layer_norm_back, quick_gelu_back, sum_of_squares,
};
pub use self::filter::{Filter, Window};
pub use self::gemm::{PANEL, widest_block};
pub use self::matrix::Matrix;
pub use self::norm::{group_norm, layer_norm};
pub use self::pointwise::{concat_channels, gated_gelu, quick_gelu, silu};

/// Sizes of a batch of feature maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Pictures.
    pub batch: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl Shape {
    /// How many numbers the maps have.
    pub fn count(self) -> usize {
        self.batch * self.height * self.width * self.channels
    }
}

/// Runs a loop as a function of its own. Among others in one large function, the compiler would keep
/// its numbers in memory instead of in registers.
#[inline(never)]
pub fn apart<S: pulp::Simd, Loop: pulp::WithSimd>(simd: S, job: Loop) -> Loop::Output {
    simd.vectorize(job)
}

#[cfg(test)]
mod tests;
