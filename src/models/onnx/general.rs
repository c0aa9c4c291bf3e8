//! Burn's own operations on whatever device it was given: what runs on a GPU.

use burn::Dispatch;
use burn::tensor::backend::BackendTypes;
use burn::tensor::ops::FloatTensor;

use super::kernels::{Kernels, PlainConv, plain};
use super::spec::{Activation, ConvSpec};

impl Kernels for Dispatch {
    type Conv = PlainConv<Self>;
    type Store = ();

    fn conv_prepare(
        spec: ConvSpec,
        weights: &[f32],
        bias: &[f32],
        activation: Activation,
        device: &<Self as BackendTypes>::Device,
    ) -> Self::Conv {
        plain::conv_prepare::<Self>(spec, weights, bias, activation, device)
    }

    fn conv(
        conv: &Self::Conv,
        input: FloatTensor<Self>,
        residual: Option<FloatTensor<Self>>,
        (): &Self::Store,
    ) -> FloatTensor<Self> {
        plain::conv::<Self>(conv, input, residual)
    }
}
