//! The way back through the layers on the CPU's own kernels.

use burn::Tensor;
use burn::backend::Flex;

use super::cpu::{Dense, shape_of, tensor};
use super::{AdamStep, BackKernels, Maps, Moments, Norm, Tokens, Window};
use crate::models::cpu::{self, Attended, Shape, Sizes};

impl BackKernels for Flex {
    type BackFilter = cpu::BackFilter;
    /// For each query of each head the total of its weights.
    type Kept = Vec<f32>;

    fn back_filter(weight: Tensor<Self, 4>, window: Window) -> Self::BackFilter {
        let [outputs, inputs, ..] = weight.dims();
        let weight = Dense::new(weight);
        cpu::BackFilter::new(weight.numbers(), outputs, inputs, window.into())
    }

    fn apply_back_filter(
        filter: &Self::BackFilter,
        gradient: Maps<Self>,
        height: usize,
        width: usize,
    ) -> Maps<Self> {
        let of = shape_of(&gradient);
        let shape = Shape {
            height,
            width,
            channels: filter.inputs(),
            ..of
        };
        let gradient = Dense::new(gradient);
        let mut out = vec![0.0; shape.count()];
        filter.run(gradient.numbers(), shape, &mut out);
        tensor(out, [shape.batch, height, width, shape.channels])
    }

    fn norm_groups_back(
        norm: &Norm<Self>,
        groups: usize,
        input: Maps<Self>,
        silu: bool,
        gradient: Maps<Self>,
    ) -> Maps<Self> {
        let sizes = input.dims();
        let [batch, height, width, channels] = sizes;
        let (scale, shift) = (
            Dense::new(norm.scale.clone()),
            Dense::new(norm.shift.clone()),
        );
        let (input, gradient) = (Dense::new(input), Dense::new(gradient));
        let mut out = vec![0.0; sizes.iter().product()];
        cpu::group_norm_back(
            input.numbers(),
            gradient.numbers(),
            [batch, height * width, channels],
            groups,
            [scale.numbers(), shift.numbers()],
            norm.epsilon as f32,
            silu,
            &mut out,
        );
        tensor(out, sizes)
    }

    fn norm_tokens_back(
        norm: &Norm<Self>,
        input: Tokens<Self>,
        gradient: Tokens<Self>,
    ) -> Tokens<Self> {
        let sizes = input.dims();
        let scale = Dense::new(norm.scale.clone());
        let (input, gradient) = (Dense::new(input), Dense::new(gradient));
        let mut out = vec![0.0; sizes.iter().product()];
        cpu::layer_norm_back(
            input.numbers(),
            gradient.numbers(),
            scale.numbers(),
            norm.epsilon as f32,
            &mut out,
        );
        tensor(out, sizes)
    }

    fn attend_keeping(
        query: Tokens<Self>,
        key: Tokens<Self>,
        value: Tokens<Self>,
        heads: usize,
        causal: bool,
    ) -> (Tokens<Self>, Self::Kept) {
        let dims = query.dims();
        let sizes = sizes(&query, &key, heads);
        let [query, key, value] = [query, key, value].map(Dense::new);
        let mut out = vec![0.0; dims.iter().product()];
        let mut totals = vec![0.0; sizes.batch * heads * sizes.queries];
        cpu::attention_with_totals(
            [query.numbers(), key.numbers(), value.numbers()],
            sizes,
            causal,
            &mut out,
            Some(&mut totals),
        );
        (tensor(out, dims), totals)
    }

    fn attend_back(
        [query, key, value]: [Tokens<Self>; 3],
        heads: usize,
        causal: bool,
        (output, totals): (Tokens<Self>, Self::Kept),
        gradient: Tokens<Self>,
    ) -> [Tokens<Self>; 3] {
        let dims = [query.dims(), key.dims(), value.dims()];
        let sizes = sizes(&query, &key, heads);
        let [query, key, value, output, gradient] =
            [query, key, value, output, gradient].map(Dense::new);
        let [mut of_query, mut of_key, mut of_value] =
            dims.map(|dims| vec![0.0; dims.iter().product()]);
        cpu::attention_back(
            Attended {
                query: query.numbers(),
                key: key.numbers(),
                value: value.numbers(),
                out: output.numbers(),
                totals: &totals,
            },
            gradient.numbers(),
            sizes,
            causal,
            [&mut of_query, &mut of_key, &mut of_value],
        );
        let [query, key, value] = dims;
        [
            tensor(of_query, query),
            tensor(of_key, key),
            tensor(of_value, value),
        ]
    }

    fn gated_gelu_back(input: Tokens<Self>, gradient: Tokens<Self>) -> Tokens<Self> {
        let sizes = input.dims();
        let (input, gradient) = (Dense::new(input), Dense::new(gradient));
        let mut out = vec![0.0; sizes.iter().product()];
        cpu::gated_gelu_back(input.numbers(), gradient.numbers(), sizes[2] / 2, &mut out);
        tensor(out, sizes)
    }

    fn quick_gelu_back(input: Tokens<Self>, gradient: Tokens<Self>) -> Tokens<Self> {
        let sizes = input.dims();
        let (input, gradient) = (Dense::new(input), Dense::new(gradient));
        let mut out = vec![0.0; sizes.iter().product()];
        cpu::quick_gelu_back(input.numbers(), gradient.numbers(), &mut out);
        tensor(out, sizes)
    }

    fn sum_of_squares(numbers: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let sum = cpu::sum_of_squares(Dense::new(numbers).numbers());
        tensor(vec![sum as f32], [1, 1])
    }

    fn adamw(
        moments: Moments<Self>,
        gradient: Tensor<Self, 2>,
        factor: &Tensor<Self, 2>,
        step: &AdamStep,
    ) -> Moments<Self> {
        let sizes = gradient.dims();
        let numbers = |tensor: Tensor<Self, 2>| Dense::new(tensor).numbers().to_vec();
        let [mut value, mut first, mut second] =
            [moments.value, moments.first, moments.second].map(numbers);
        let AdamStep {
            rate,
            betas,
            epsilon,
            decay,
            number,
        } = *step;
        let factor = Dense::new(factor.clone());
        let step = cpu::AdamStep {
            rate,
            betas,
            epsilon,
            decay,
            number,
            factor: factor.numbers()[0],
        };
        let gradient = Dense::new(gradient);
        cpu::adamw(
            &mut value,
            gradient.numbers(),
            &mut first,
            &mut second,
            &step,
        );
        Moments {
            value: tensor(value, sizes),
            first: tensor(first, sizes),
            second: tensor(second, sizes),
        }
    }
}

fn sizes(query: &Tokens<Flex>, key: &Tokens<Flex>, heads: usize) -> Sizes {
    let [batch, queries, channels] = query.dims();
    let [_, keys, _] = key.dims();
    Sizes {
        batch,
        queries,
        keys,
        heads,
        head: channels / heads,
    }
}
