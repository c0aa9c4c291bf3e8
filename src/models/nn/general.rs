//! Burn's own operations on whatever device it was given: what runs on a GPU.

use burn::{Dispatch, Tensor};

use super::plain::{self, PlainFilter, PlainMatrix};
use super::plain_back::{self, PlainBackFilter};
use super::{BackKernels, Kernels, Maps, Tokens, Window, attention};

impl Kernels for Dispatch {
    type Matrix = PlainMatrix<Self>;
    type Filter = PlainFilter<Self>;

    fn matrix(weight: Tensor<Self, 2>, bias: Option<Tensor<Self, 1>>) -> Self::Matrix {
        plain::matrix(weight, bias)
    }

    fn apply_matrix(
        matrix: &Self::Matrix,
        input: Tokens<Self>,
        residual: Option<Tokens<Self>>,
    ) -> Tokens<Self> {
        plain::linear(matrix, input, residual)
    }

    fn filter(weight: Tensor<Self, 4>, bias: Tensor<Self, 1>, window: Window) -> Self::Filter {
        plain::filter(weight, bias, window)
    }

    fn apply_filter(
        filter: &Self::Filter,
        input: Maps<Self>,
        residual: Option<Maps<Self>>,
    ) -> Maps<Self> {
        plain::conv(filter, input, residual)
    }
}

impl BackKernels for Dispatch {
    type BackFilter = PlainBackFilter<Self>;
    type Kept = ();

    fn back_filter(weight: Tensor<Self, 4>, window: Window) -> Self::BackFilter {
        plain_back::back_filter(weight, window)
    }

    fn apply_back_filter(
        filter: &Self::BackFilter,
        gradient: Maps<Self>,
        height: usize,
        width: usize,
    ) -> Maps<Self> {
        plain_back::conv(filter, gradient, height, width)
    }

    fn attend_keeping(
        query: Tokens<Self>,
        key: Tokens<Self>,
        value: Tokens<Self>,
        heads: usize,
        causal: bool,
    ) -> (Tokens<Self>, Self::Kept) {
        (attention::general(query, key, value, heads, causal), ())
    }

    fn attend_back(
        went_in: [Tokens<Self>; 3],
        heads: usize,
        causal: bool,
        (came_out, ()): (Tokens<Self>, Self::Kept),
        gradient: Tokens<Self>,
    ) -> [Tokens<Self>; 3] {
        plain_back::attention(went_in, heads, causal, came_out, gradient)
    }
}
