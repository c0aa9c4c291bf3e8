//! The residual block of the UNet and of the autoencoder.

use burn::Tensor;

use crate::models::nn::{Builder, Conv, GroupNorm, Kernels, Linear, Maps, Window};
use crate::models::weights::WeightsError;

/// Two convolutions beside a shortcut.
#[derive(Clone)]
pub struct Resnet<B: Kernels> {
    norm1: GroupNorm<B>,
    conv1: Conv<B>,
    time: Option<Linear<B>>,
    norm2: GroupNorm<B>,
    conv2: Conv<B>,
    shortcut: Option<Conv<B>>,
}

/// Sizes of a [`Resnet`].
#[derive(Clone, Copy, Debug)]
pub struct ResnetSizes {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Length of the embedding of the time step; none in the autoencoder.
    pub time: Option<usize>,
    /// Groups of the norms.
    pub groups: usize,
    /// Epsilon of the norms.
    pub epsilon: f64,
}

impl<B: Kernels> Resnet<B> {
    /// Reads the block.
    pub fn new(builder: &Builder<'_, B>, sizes: ResnetSizes) -> Result<Self, WeightsError> {
        let ResnetSizes {
            inputs,
            outputs,
            time,
            groups,
            epsilon,
        } = sizes;
        let around = Window::same(3);
        let time = time.map(|time| builder.linear("time_emb_proj", time, outputs));
        let shortcut = (inputs != outputs)
            .then(|| builder.conv("conv_shortcut", inputs, outputs, Window::same(1)));
        Ok(Self {
            norm1: builder.group_norm("norm1", inputs, groups, epsilon)?,
            conv1: builder.conv("conv1", inputs, outputs, around)?,
            time: time.transpose()?,
            norm2: builder.group_norm("norm2", outputs, groups, epsilon)?,
            conv2: builder.conv("conv2", outputs, outputs, around)?,
            shortcut: shortcut.transpose()?,
        })
    }

    /// `[b, h, w, inputs]` to `[b, h, w, outputs]`. `time` `[b, time]` is the embedding of the time
    /// step after SiLU.
    pub fn forward(&self, input: Maps<B>, time: Option<&Tensor<B, 2>>) -> Maps<B> {
        let mut hidden = self.conv1.forward(self.norm1.forward_silu(input.clone()));
        if let (Some(project), Some(time)) = (&self.time, time) {
            let shift = project.forward_rows(time.clone()); // [b, outputs]
            hidden = hidden + shift.unsqueeze_dims(&[1, 1]);
        }
        let hidden = self.norm2.forward_silu(hidden);
        let input = match &self.shortcut {
            Some(shortcut) => shortcut.forward(input),
            None => input,
        };
        self.conv2.add_to(input, hidden)
    }
}
