//! The layers on the CPU's own kernels.

use burn::Tensor;
use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{TensorData, TensorPrimitive};

use super::{Kernels, Maps, Norm, Tokens, Window};
use crate::models::cpu::{self, Shape, Sizes};

/// A tensor whose numbers lie in order.
pub(super) struct Dense(FlexTensor);

impl Dense {
    pub(super) fn new<const D: usize>(tensor: Tensor<Flex, D>) -> Self {
        let tensor = tensor.into_primitive().tensor();
        Self(if tensor.is_contiguous() {
            tensor
        } else {
            tensor.to_contiguous()
        })
    }

    pub(super) fn numbers(&self) -> &[f32] {
        let layout = self.0.layout();
        &self.0.storage::<f32>()[layout.start_offset()..][..layout.num_elements()]
    }
}

pub(super) fn tensor<const D: usize>(numbers: Vec<f32>, sizes: [usize; D]) -> Tensor<Flex, D> {
    let tensor = FlexTensor::from_data(TensorData::new(numbers, sizes));
    Tensor::from_primitive(TensorPrimitive::Float(tensor))
}

pub(super) fn shape_of(maps: &Maps<Flex>) -> Shape {
    let [batch, height, width, channels] = maps.dims();
    Shape {
        batch,
        height,
        width,
        channels,
    }
}

impl From<Window> for cpu::Window {
    fn from(window: Window) -> Self {
        let Window {
            kernel,
            stride,
            before,
            after,
        } = window;
        Self {
            kernel,
            stride,
            before,
            after,
            doubled: false,
        }
    }
}

impl Kernels for Flex {
    type Matrix = cpu::Matrix;
    type Filter = cpu::Filter;

    fn matrix(weight: Tensor<Self, 2>, bias: Option<Tensor<Self, 1>>) -> Self::Matrix {
        let [outputs, inputs] = weight.dims();
        let (weight, bias) = (Dense::new(weight), bias.map(Dense::new));
        let bias = bias.as_ref().map(Dense::numbers);
        cpu::Matrix::new(weight.numbers(), outputs, inputs, bias)
    }

    fn apply_matrix(
        matrix: &Self::Matrix,
        input: Tokens<Self>,
        residual: Option<Tokens<Self>>,
    ) -> Tokens<Self> {
        let [batch, tokens, _] = input.dims();
        let (input, residual) = (Dense::new(input), residual.map(Dense::new));
        let sizes = [batch, tokens, matrix.outputs()];
        let mut out = vec![0.0; sizes.iter().product()];
        let residual = residual.as_ref().map(Dense::numbers);
        matrix.run(input.numbers(), residual, &mut out);
        tensor(out, sizes)
    }

    fn filter(weight: Tensor<Self, 4>, bias: Tensor<Self, 1>, window: Window) -> Self::Filter {
        let [outputs, inputs, ..] = weight.dims();
        let (weight, bias) = (Dense::new(weight), Dense::new(bias));
        let bias = Some(bias.numbers());
        cpu::Filter::new(weight.numbers(), outputs, inputs, bias, window.into())
    }

    fn apply_filter(
        filter: &Self::Filter,
        input: Maps<Self>,
        residual: Option<Maps<Self>>,
    ) -> Maps<Self> {
        let shape = shape_of(&input);
        let (input, residual) = (Dense::new(input), residual.map(Dense::new));
        let to = filter.output(shape);
        let mut out = vec![0.0; to.count()];
        let residual = residual.as_ref().map(Dense::numbers);
        filter.run(input.numbers(), shape, residual, &mut out);
        tensor(out, [to.batch, to.height, to.width, to.channels])
    }

    fn norm_groups(norm: &Norm<Self>, groups: usize, input: Maps<Self>, silu: bool) -> Maps<Self> {
        let sizes = input.dims();
        let [batch, height, width, channels] = sizes;
        let (input, scale, shift) = (
            Dense::new(input),
            Dense::new(norm.scale.clone()),
            Dense::new(norm.shift.clone()),
        );
        let mut out = vec![0.0; sizes.iter().product()];
        cpu::group_norm(
            input.numbers(),
            [batch, height * width, channels],
            groups,
            [scale.numbers(), shift.numbers()],
            norm.epsilon as f32,
            silu,
            &mut out,
        );
        tensor(out, sizes)
    }

    fn norm_tokens(norm: &Norm<Self>, input: Tokens<Self>) -> Tokens<Self> {
        let sizes = input.dims();
        let (input, scale, shift) = (
            Dense::new(input),
            Dense::new(norm.scale.clone()),
            Dense::new(norm.shift.clone()),
        );
        let mut out = vec![0.0; sizes.iter().product()];
        let affine = [scale.numbers(), shift.numbers()];
        cpu::layer_norm(input.numbers(), affine, norm.epsilon as f32, &mut out);
        tensor(out, sizes)
    }

    fn attend(
        query: Tokens<Self>,
        key: Tokens<Self>,
        value: Tokens<Self>,
        heads: usize,
        causal: bool,
    ) -> Tokens<Self> {
        let sizes = query.dims();
        let [batch, queries, channels] = sizes;
        let [_, keys, _] = key.dims();
        let of = Sizes {
            batch,
            queries,
            keys,
            heads,
            head: channels / heads,
        };
        let [query, key, value] = [query, key, value].map(Dense::new);
        let mut out = vec![0.0; sizes.iter().product()];
        let (query, key, value) = (query.numbers(), key.numbers(), value.numbers());
        cpu::attention(query, key, value, of, causal, &mut out);
        tensor(out, sizes)
    }

    fn gated_gelu(input: Tokens<Self>) -> Tokens<Self> {
        let [batch, tokens, channels] = input.dims();
        let sizes = [batch, tokens, channels / 2];
        let input = Dense::new(input);
        let mut out = vec![0.0; sizes.iter().product()];
        cpu::gated_gelu(input.numbers(), channels / 2, &mut out);
        tensor(out, sizes)
    }

    fn silu<const D: usize>(input: Tensor<Self, D>) -> Tensor<Self, D> {
        let sizes = input.dims();
        let input = Dense::new(input);
        let mut out = vec![0.0; sizes.iter().product()];
        cpu::silu(input.numbers(), &mut out);
        tensor(out, sizes)
    }

    fn quick_gelu(input: Tokens<Self>) -> Tokens<Self> {
        let sizes = input.dims();
        let input = Dense::new(input);
        let mut out = vec![0.0; sizes.iter().product()];
        cpu::quick_gelu(input.numbers(), &mut out);
        tensor(out, sizes)
    }

    fn join(first: Maps<Self>, second: Maps<Self>) -> Maps<Self> {
        let [batch, height, width, left] = first.dims();
        let [.., right] = second.dims();
        let (first, second) = (Dense::new(first), Dense::new(second));
        let sizes = [batch, height, width, left + right];
        let mut out = vec![0.0; sizes.iter().product()];
        let (first, second) = (first.numbers(), second.numbers());
        cpu::concat_channels(first, second, [left, right], &mut out);
        tensor(out, sizes)
    }
}
