//! The embedding of the time step.

use burn::Tensor;
use burn::tensor::TensorData;

use super::encoder::time_length;
use crate::models::nn::{Builder, Kernels, Linear};
use crate::models::weights::{UnetConfig, WeightsError};

/// Longest period of the waves (Vaswani et al., "Attention Is All You Need", 3.5).
const LONGEST_PERIOD: f64 = 10_000.0;

/// Waves of the time step, and two linear layers.
#[derive(Clone)]
pub struct TimeEmbedding<B: Kernels> {
    first: Linear<B>,
    second: Linear<B>,
    waves: usize,
    cosine_first: bool,
    shift: f64,
    precision: burn::tensor::DType,
}

impl<B: Kernels> TimeEmbedding<B> {
    /// Reads it.
    pub fn new(builder: &Builder<'_, B>, config: &UnetConfig) -> Result<Self, WeightsError> {
        let (waves, length) = (config.block_out_channels[0], time_length(config));
        Ok(Self {
            first: builder.linear("linear_1", waves, length)?,
            second: builder.linear("linear_2", length, length)?,
            waves,
            cosine_first: config.flip_sin_to_cos,
            shift: config.freq_shift,
            precision: builder.dtype(),
        })
    }

    /// `[b, time]` after SiLU, of one time step for each picture. Time steps may lie between two
    /// whole ones.
    pub fn forward(&self, times: &[f64], device: &B::Device) -> Tensor<B, 2> {
        let waves: Vec<f32> = times.iter().flat_map(|&time| self.waves(time)).collect();
        let data = TensorData::new(waves, [times.len(), self.waves]);
        let waves = Tensor::<B, 2>::from_data(data, device).cast(self.precision);
        B::silu(
            self.second
                .forward_rows(B::silu(self.first.forward_rows(waves))),
        )
    }

    fn waves(&self, time: f64) -> Vec<f32> {
        let half = self.waves / 2;
        // As diffusers does, the frequencies and their product with the time are 32-bit floats:
        // at time 999 the rounding is seen in the fifth digit.
        let angle = |index: usize| {
            let exponent = -LONGEST_PERIOD.ln() * index as f64 / (half as f64 - self.shift);
            time as f32 * (exponent as f32).exp()
        };
        let sines = (0..half).map(|index| angle(index).sin());
        let cosines = (0..half).map(|index| angle(index).cos());
        if self.cosine_first {
            cosines.chain(sines).collect()
        } else {
            sines.chain(cosines).collect()
        }
    }
}
