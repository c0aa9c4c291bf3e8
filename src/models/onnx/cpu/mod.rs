//! The operators on the CPU, where Burn's general ones are slow.
//!
//! Feature maps are kept channels-last: a tensor of the sizes `[n, c, h, w]` whose memory is
//! `[n, h, w, c]`, which Burn sees as a permuted tensor. So every operation of Burn can be mixed in,
//! and those that matter read the memory as it lies. Vectors run over channels, whatever the size of
//! the picture; sums run over pixels in the same order on each machine.

mod band;
mod conv;
mod depthwise;
mod gemm;
mod maps;
mod pool;
mod store;
mod tail;

use burn::backend::Flex;
use burn::backend::flex::{FlexDevice, FlexTensor};
use burn::tensor::ops::FloatTensorOps;
use burn::tensor::{Shape as BurnShape, TensorData, TensorMetadata};

use self::band::Maps;
use self::conv::Conv;
use self::store::Store;
use super::kernels::{Kernels, plain};
use super::operator::{Binary, Unary};
use super::spec::{Activation, ConvSpec, Mix, Window};
use crate::models::cpu::apart;

/// Sizes of a batch of feature maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Pictures.
    pub n: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Shape {
    fn count(self) -> usize {
        self.n * self.h * self.w * self.c
    }
}

/// Threads that share the work of one operator.
fn workers() -> usize {
    rayon::current_num_threads()
}

/// Where tiles of `size` pixels begin that cover `count` of them; none when there are fewer. The last
/// tile is a whole one too, and makes a few pixels of the one before it again.
#[inline(always)]
fn whole_tiles(count: usize, size: usize) -> Option<impl Iterator<Item = usize>> {
    let last = count.checked_sub(size)?;
    Some((0..last).step_by(size).chain([last]))
}

/// A tensor whose numbers lie in one piece, in an order that the kernels can read.
struct Dense {
    tensor: FlexTensor,
    /// Whether the memory is `[n, h, w, c]`.
    last: bool,
}

impl Dense {
    /// As it lies if it can be read so, else copied in order.
    fn new(tensor: FlexTensor) -> Self {
        let sizes = plain::sizes(&tensor);
        let layout = tensor.layout();
        if let [_, c, h, w] = sizes[..] {
            let expected = [h * w * c, 1, w * c, c];
            let lies = |(axis, stride): (usize, &isize)| {
                sizes[axis] == 1 || *stride == expected[axis] as isize
            };
            if layout.strides().iter().enumerate().all(lies) {
                return Self { tensor, last: true };
            }
        }
        let tensor = if tensor.is_contiguous() {
            tensor
        } else {
            tensor.to_contiguous()
        };
        Self {
            tensor,
            last: false,
        }
    }

    /// Channels-last, copied where it lies otherwise.
    fn channels_last(tensor: FlexTensor, store: &Store) -> Self {
        let dense = Self::new(tensor);
        if dense.last {
            return dense;
        }
        let shape = dense.shape();
        let mut out = store.take(shape.count());
        maps::interleave(dense.data(), shape, &mut out);
        Self {
            tensor: finish(out, shape),
            last: true,
        }
    }

    fn shape(&self) -> Shape {
        let [n, c, h, w] = plain::four(&self.tensor);
        Shape { n, h, w, c }
    }

    fn data(&self) -> &[f32] {
        let start = self.tensor.layout().start_offset();
        &self.tensor.storage::<f32>()[start..][..self.tensor.layout().num_elements()]
    }

    fn maps(&self) -> Maps<'_> {
        if self.last {
            Maps::Last(self.data())
        } else {
            Maps::Planar(self.data())
        }
    }

    /// A tensor of the same sizes and order.
    fn like(&self, data: Vec<f32>) -> FlexTensor {
        if self.last {
            finish(data, self.shape())
        } else {
            FlexTensor::from_data(TensorData::new(data, self.tensor.shape()))
        }
    }
}

/// A tensor `[n, c, h, w]` from its numbers in the order `[n, h, w, c]`.
fn finish(data: Vec<f32>, shape: Shape) -> FlexTensor {
    let Shape { n, h, w, c } = shape;
    let data = TensorData::new(data, BurnShape::from(vec![n, h, w, c]));
    FlexTensor::from_data(data).permute(&[0, 3, 1, 2])
}

impl Kernels for Flex {
    type Conv = Conv;
    type Store = Store;

    fn conv_prepare(
        spec: ConvSpec,
        weights: &[f32],
        bias: &[f32],
        activation: Activation,
        _device: &FlexDevice,
    ) -> Conv {
        Conv::new(spec, weights, bias, &activation)
    }

    fn conv_join(first: &Conv, second: &Conv) -> Option<Conv> {
        first.then_depthwise(second)
    }

    fn conv(
        conv: &Conv,
        input: FlexTensor,
        residual: Option<FlexTensor>,
        store: &Store,
    ) -> FlexTensor {
        let input = if conv.spec().is_pointwise() {
            Dense::channels_last(input, store)
        } else {
            Dense::new(input)
        };
        let shape = input.shape();
        let [h, w] = conv
            .spec()
            .window
            .output(shape.h, shape.w)
            .unwrap_or([0, 0]);
        let to = Shape {
            n: shape.n,
            h,
            w,
            c: conv.spec().outputs,
        };
        let residual = residual.map(|tensor| Dense::channels_last(tensor, store));
        let mut out = store.take(to.count());
        conv.run(
            input.maps(),
            shape,
            residual.as_ref().map(Dense::data),
            &mut out,
        );
        finish(out, to)
    }

    fn activate(input: FlexTensor, activation: &Activation, store: &Store) -> FlexTensor {
        let input = Dense::new(input);
        let mut out = store.take(input.data().len());
        let shape = plain::sizes(&input.tensor);
        let inner = if input.last {
            1
        } else {
            shape[2.min(shape.len())..].iter().product()
        };
        maps::activate(input.data(), activation, inner, &mut out);
        input.like(out)
    }

    fn unary(input: FlexTensor, unary: Unary, store: &Store) -> FlexTensor {
        let Unary::Sigmoid = unary else {
            return plain::unary::<Self>(input, unary);
        };
        let input = Dense::new(input);
        let mut out = store.take(input.data().len());
        for (out, &x) in out.iter_mut().zip(input.data()) {
            *out = 1.0 / (1.0 + (-x).exp());
        }
        input.like(out)
    }

    fn scale_shift(input: FlexTensor, scale: &[f32], shift: &[f32], store: &Store) -> FlexTensor {
        let input = Dense::new(input);
        let shape = plain::sizes(&input.tensor);
        let mut out = store.take(input.data().len());
        let inner = if input.last {
            1
        } else {
            shape[2.min(shape.len())..].iter().product()
        };
        maps::scale_shift(input.data(), scale, shift, inner, &mut out);
        input.like(out)
    }

    fn binary(a: FlexTensor, b: FlexTensor, binary: Binary, store: &Store) -> FlexTensor {
        let (left, right) = (plain::sizes(&a), plain::sizes(&b));
        let simple = matches!(
            binary,
            Binary::Add | Binary::Sub | Binary::Mul | Binary::Div
        );
        if !simple || left.len() != 4 {
            return plain::binary::<Self>(a, b, binary);
        }
        let per_channel = |sizes: &[usize], of: &[usize]| {
            of[2] * of[3] > 1 && sizes[2] * sizes[3] == 1 && sizes[..2] == of[..2]
        };
        if left == right {
            let a = Dense::channels_last(a, store);
            let b = Dense::channels_last(b, store);
            let mut out = store.take(a.data().len());
            maps::combine(a.data(), b.data(), binary, &mut out);
            a.like(out)
        } else if per_channel(&right, &left) {
            let a = Dense::channels_last(a, store);
            let b = Dense::channels_last(b, store);
            let mut out = store.take(a.data().len());
            maps::combine_channels(a.data(), b.data(), a.shape(), binary, &mut out);
            a.like(out)
        } else {
            plain::binary::<Self>(a, b, binary)
        }
    }

    fn max_pool(input: FlexTensor, window: &Window, store: &Store) -> FlexTensor {
        let input = Dense::channels_last(input, store);
        pool::run(&input, window, pool::Kind::Max, store)
    }

    fn average_pool(
        input: FlexTensor,
        window: &Window,
        count_border: bool,
        store: &Store,
    ) -> FlexTensor {
        let input = Dense::channels_last(input, store);
        pool::run(&input, window, pool::Kind::Mean { count_border }, store)
    }

    fn global_average(input: FlexTensor, store: &Store) -> FlexTensor {
        let input = Dense::channels_last(input, store);
        let shape = input.shape();
        let mut out = store.take(shape.n * shape.c);
        maps::mean(input.data(), shape, &mut out);
        finish(
            out,
            Shape {
                h: 1,
                w: 1,
                ..shape
            },
        )
    }

    fn resize(input: FlexTensor, rows: &Mix, columns: &Mix, store: &Store) -> FlexTensor {
        let input = Dense::channels_last(input, store);
        let shape = input.shape();
        let to = Shape {
            h: rows.taps.len(),
            w: columns.taps.len(),
            ..shape
        };
        let mut out = store.take(to.count());
        maps::resize(input.data(), shape, rows, columns, &mut out);
        finish(out, to)
    }

    fn concat(inputs: Vec<FlexTensor>, axis: usize, store: &Store) -> FlexTensor {
        let pictures = axis == 1 && inputs.iter().all(|input| input.layout().num_dims() == 4);
        if !pictures {
            return Flex::float_cat(inputs, axis);
        }
        let parts: Vec<Dense> = inputs
            .into_iter()
            .map(|input| Dense::channels_last(input, store))
            .collect();
        let c = parts.iter().map(|part| part.shape().c).sum();
        let to = Shape {
            c,
            ..parts[0].shape()
        };
        let mut out = store.take(to.count());
        let mut first = 0;
        for part in &parts {
            let own = part.shape().c;
            for (out, part) in out.chunks_exact_mut(c).zip(part.data().chunks_exact(own)) {
                out[first..first + own].copy_from_slice(part);
            }
            first += own;
        }
        finish(out, to)
    }

    fn recycle(input: FlexTensor, store: &Store) {
        if input.layout().num_dims() == 4 && input.is_unique() {
            let last = input.permute(&[0, 2, 3, 1]);
            // What has two owners cannot be taken apart without a copy.
            drop(input);
            if last.is_contiguous() && last.layout().start_offset() == 0 {
                store.give(last);
            }
        }
    }
}
