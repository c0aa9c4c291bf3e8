//! The operations in Burn's own terms, for any backend.

use burn::Tensor;
use burn::tensor::DType;
use burn::tensor::activation::{gelu, silu};
use burn::tensor::backend::Backend;
use burn::tensor::module::conv2d;
use burn::tensor::ops::{ConvOptions, PadMode};

use super::{Maps, Norm, Tokens, Window};

/// A matrix as Burn wants it.
#[derive(Debug)]
pub struct PlainMatrix<B: Backend> {
    /// `[outputs, inputs]`
    weight: Tensor<B, 2>,
    bias: Option<Tensor<B, 1>>,
}

/// A convolution as Burn wants it.
#[derive(Debug)]
pub struct PlainFilter<B: Backend> {
    /// `[outputs, inputs, k, k]`
    weight: Tensor<B, 4>,
    bias: Tensor<B, 1>,
    window: Window,
}

pub fn matrix<B: Backend>(weight: Tensor<B, 2>, bias: Option<Tensor<B, 1>>) -> PlainMatrix<B> {
    PlainMatrix { weight, bias }
}

pub fn linear<B: Backend>(
    matrix: &PlainMatrix<B>,
    input: Tokens<B>,
    residual: Option<Tokens<B>>,
) -> Tokens<B> {
    let [batch, tokens, inputs] = input.dims();
    let rows = input.reshape([batch * tokens, inputs]);
    let mut output = rows.matmul(matrix.weight.clone().transpose());
    if let Some(bias) = &matrix.bias {
        output = output + bias.clone().unsqueeze();
    }
    let [_, outputs] = output.dims();
    let output = output.reshape([batch, tokens, outputs]);
    match residual {
        Some(residual) => output + residual,
        None => output,
    }
}

pub fn filter<B: Backend>(
    weight: Tensor<B, 4>,
    bias: Tensor<B, 1>,
    window: Window,
) -> PlainFilter<B> {
    PlainFilter {
        weight,
        bias,
        window,
    }
}

pub fn conv<B: Backend>(
    filter: &PlainFilter<B>,
    input: Maps<B>,
    residual: Option<Maps<B>>,
) -> Maps<B> {
    let Window {
        stride,
        before,
        after,
        ..
    } = filter.window;
    let mut input = input.permute([0, 3, 1, 2]); // [b, h, w, c] -> [b, c, h, w]
    let mut padding = before;
    if before != after {
        input = input.pad((before, after, before, after), PadMode::Constant(0.0));
        padding = 0;
    }
    let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
    let output = conv2d(
        input,
        filter.weight.clone(),
        Some(filter.bias.clone()),
        options,
    );
    let output = output.permute([0, 2, 3, 1]); // [b, c, h, w] -> [b, h, w, c]
    match residual {
        Some(residual) => output + residual,
        None => output,
    }
}

pub fn group_norm<B: Backend>(
    norm: &Norm<B>,
    groups: usize,
    input: Maps<B>,
    with_silu: bool,
) -> Maps<B> {
    let dtype = input.dtype();
    let [batch, height, width, channels] = input.dims();
    let grouped = [batch, height * width, groups, channels / groups];
    let input = input.cast(DType::F32).reshape(grouped);
    let mean = input.clone().mean_dim(1).mean_dim(3);
    let centred = input - mean;
    let variance = centred.clone().square().mean_dim(1).mean_dim(3);
    let normal = centred / (variance + norm.epsilon).sqrt();
    let output = normal.reshape([batch, height, width, channels]) * norm.scale.clone().unsqueeze()
        + norm.shift.clone().unsqueeze();
    let output = if with_silu { silu(output) } else { output };
    output.cast(dtype)
}

pub fn layer_norm<B: Backend>(norm: &Norm<B>, input: Tokens<B>) -> Tokens<B> {
    let dtype = input.dtype();
    let input = input.cast(DType::F32);
    let centred = input.clone() - input.mean_dim(2);
    let variance = centred.clone().square().mean_dim(2);
    let normal = centred / (variance + norm.epsilon).sqrt();
    let output = normal * norm.scale.clone().unsqueeze() + norm.shift.clone().unsqueeze();
    output.cast(dtype)
}

pub fn gated_gelu<B: Backend>(input: Tokens<B>) -> Tokens<B> {
    let [_, _, channels] = input.dims();
    let value = input.clone().narrow(2, 0, channels / 2);
    let gate = input.narrow(2, channels / 2, channels / 2);
    value * gelu(gate)
}

pub fn double<B: Backend>(input: Maps<B>) -> Maps<B> {
    let [batch, height, width, channels] = input.dims();
    let rows: Tensor<B, 6> = input
        .reshape([batch, height, 1, width, 1, channels])
        .expand([batch, height, 2, width, 2, channels]);
    rows.reshape([batch, 2 * height, 2 * width, channels])
}
