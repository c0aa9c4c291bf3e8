//! A matrix product with bias: the linear layers.

use super::gemm::{Packed, Run, Source};

/// A linear layer with its weights in working order.
#[derive(Clone, Debug)]
pub struct Matrix {
    inputs: usize,
    packed: Packed,
}

impl Matrix {
    /// Packs weights `[outputs][inputs]` and a bias of one number per output. None of the sizes may
    /// be zero.
    pub fn new(weight: &[f32], outputs: usize, inputs: usize, bias: Option<&[f32]>) -> Self {
        assert_eq!(
            weight.len(),
            outputs * inputs,
            "the weights have their sizes"
        );
        let at = |_, input: usize, output: usize| weight[output * inputs + input];
        Self {
            inputs,
            packed: Packed::new(1, inputs, outputs, at, bias),
        }
    }

    /// Numbers in a row of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers in a row of the output.
    pub fn outputs(&self) -> usize {
        self.packed.width()
    }

    /// `out[rows][outputs] = input[rows][inputs] * weights + bias + residual`, the residual as large
    /// as the output.
    pub fn run(&self, input: &[f32], residual: Option<&[f32]>, out: &mut [f32]) {
        let rows = input.len() / self.inputs;
        assert_eq!(input.len(), rows * self.inputs, "the input has whole rows");
        assert_eq!(out.len(), rows * self.outputs(), "each row has an output");
        let rows = Rows {
            input,
            inputs: self.inputs,
        };
        self.packed.run(&rows, residual, out);
    }
}

struct Rows<'a> {
    input: &'a [f32],
    inputs: usize,
}

impl Source for Rows<'_> {
    #[inline(always)]
    fn run(&self, row: usize, run: &Run) -> &[f32] {
        &self.input[row * self.inputs + run.channel..][..run.length]
    }
}
