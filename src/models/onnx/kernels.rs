//! The operators on tensors of a device, once for all backends.
//!
//! Each is written here with Burn's own operations, which run everywhere. A backend with something
//! better overrides it: the CPU does (see [`super::cpu`]), because there the general operations lose
//! most of their time on the small pictures and thin convolutions that face networks consist of.
//!
//! All shapes have been checked by the caller, and so has the size of the result.

use burn::tensor::backend::{Backend, ExecutionError};
use burn::tensor::ops::{ConvOptions, FloatTensor};
use burn::tensor::{Shape, Slice, TensorData, TensorMetadata, get_device_settings};

use super::operator::{Binary, Fill, Reduce, Unary};
use super::spec::{Activation, Border, ConvSpec, Mix, Window};

/// A convolution as Burn wants it.
pub struct PlainConv<B: Backend> {
    spec: ConvSpec,
    weights: FloatTensor<B>,
    bias: FloatTensor<B>,
    activation: Activation,
}

/// What a backend does for a network. `Store` keeps what is worth keeping between two runs.
pub trait Kernels: Backend {
    /// A convolution with its weights on the device.
    type Conv: Send + Sync;
    /// Memory that is used again.
    type Store: Default + Send + Sync;

    /// Prepares a convolution from weights `[outputs, inputs / groups, kh, kw]` and a bias, empty
    /// or one per output.
    fn conv_prepare(
        spec: ConvSpec,
        weights: &[f32],
        bias: &[f32],
        activation: Activation,
        device: &Self::Device,
    ) -> Self::Conv;

    /// One convolution that does what `first` and then `second` do; none where that is no gain.
    fn conv_join(_first: &Self::Conv, _second: &Self::Conv) -> Option<Self::Conv> {
        None
    }

    /// Runs a convolution on `[n, c, h, w]`. `residual`, of the output's shape, is added before the
    /// activation.
    fn conv(
        conv: &Self::Conv,
        input: FloatTensor<Self>,
        residual: Option<FloatTensor<Self>>,
        store: &Self::Store,
    ) -> FloatTensor<Self>;

    /// Applies an activation; its slopes belong to axis 1.
    fn activate(
        input: FloatTensor<Self>,
        activation: &Activation,
        _store: &Self::Store,
    ) -> FloatTensor<Self> {
        plain::activate::<Self>(input, activation)
    }

    /// Applies a function to each number.
    fn unary(input: FloatTensor<Self>, unary: Unary, _store: &Self::Store) -> FloatTensor<Self> {
        plain::unary::<Self>(input, unary)
    }

    /// `scale x + shift` with one of both for each place of axis 1.
    fn scale_shift(
        input: FloatTensor<Self>,
        scale: &[f32],
        shift: &[f32],
        _store: &Self::Store,
    ) -> FloatTensor<Self> {
        let scale = plain::along_channels::<Self>(scale, &input);
        let shift = plain::along_channels::<Self>(shift, &input);
        Self::float_add(Self::float_mul(input, scale), shift)
    }

    /// Combines two tensors of equal rank, with broadcasting.
    fn binary(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        binary: Binary,
        _store: &Self::Store,
    ) -> FloatTensor<Self> {
        plain::binary::<Self>(a, b, binary)
    }

    /// Largest of each window.
    fn max_pool(
        input: FloatTensor<Self>,
        window: &Window,
        _store: &Self::Store,
    ) -> FloatTensor<Self> {
        plain::max_pool::<Self>(input, window)
    }

    /// Mean of each window.
    fn average_pool(
        input: FloatTensor<Self>,
        window: &Window,
        count_border: bool,
        _store: &Self::Store,
    ) -> FloatTensor<Self> {
        plain::average_pool::<Self>(input, window, count_border)
    }

    /// Mean of each channel of each picture: `[n, c, 1, 1]`.
    fn global_average(input: FloatTensor<Self>, _store: &Self::Store) -> FloatTensor<Self> {
        Self::float_mean_dim(Self::float_mean_dim(input, 3), 2)
    }

    /// Resizes a picture `[n, c, h, w]`.
    fn resize(
        input: FloatTensor<Self>,
        rows: &Mix,
        columns: &Mix,
        _store: &Self::Store,
    ) -> FloatTensor<Self> {
        plain::resize::<Self>(input, rows, columns)
    }

    /// Puts tensors after one another.
    fn concat(
        inputs: Vec<FloatTensor<Self>>,
        axis: usize,
        _store: &Self::Store,
    ) -> FloatTensor<Self> {
        Self::float_cat(inputs, axis)
    }

    /// Takes back a tensor that nobody needs any more.
    fn recycle(_input: FloatTensor<Self>, _store: &Self::Store) {}
}

/// The operations in Burn's own terms.
pub mod plain {
    use super::{
        Activation, Backend, Binary, Border, ConvOptions, ConvSpec, ExecutionError, Fill,
        FloatTensor, Mix, PlainConv, Reduce, Shape, Slice, TensorData, TensorMetadata, Unary,
        Window, get_device_settings,
    };

    /// The sizes of a tensor.
    pub fn sizes(tensor: &impl TensorMetadata) -> Vec<usize> {
        tensor.shape().to_vec()
    }

    /// A tensor on the device.
    pub fn upload<B: Backend>(
        values: Vec<f32>,
        shape: &[usize],
        device: &B::Device,
    ) -> FloatTensor<B> {
        B::float_from_data(TensorData::new(values, Shape::from(shape.to_vec())), device)
    }

    /// A tensor in ordinary memory.
    pub fn download<B: Backend>(tensor: FloatTensor<B>) -> Result<Vec<f32>, String> {
        let data: Result<TensorData, ExecutionError> =
            burn::tensor::try_read_sync(B::float_into_data(tensor))
                .ok_or("the device does not answer")?;
        let data = data.map_err(|error| format!("the device failed: {error:?}"))?;
        data.into_vec::<f32>()
            .map_err(|error| format!("the device gave no numbers: {error:?}"))
    }

    pub(super) fn along_channels<B: Backend>(
        values: &[f32],
        like: &FloatTensor<B>,
    ) -> FloatTensor<B> {
        let mut shape = vec![1; like.shape().num_dims()];
        shape[1] = values.len();
        upload::<B>(values.to_vec(), &shape, &B::float_device(like))
    }

    /// See [`super::Kernels::conv_prepare`].
    pub fn conv_prepare<B: Backend>(
        spec: ConvSpec,
        weights: &[f32],
        bias: &[f32],
        activation: Activation,
        device: &B::Device,
    ) -> PlainConv<B> {
        let [kh, kw] = spec.window.kernel;
        let shape = [spec.outputs, spec.inputs / spec.groups, kh, kw];
        let weights = upload::<B>(weights.to_vec(), &shape, device);
        let bias = if bias.is_empty() {
            vec![0.0; spec.outputs]
        } else {
            bias.to_vec()
        };
        let bias = upload::<B>(bias, &[spec.outputs], device);
        PlainConv {
            spec,
            weights,
            bias,
            activation,
        }
    }

    /// See [`super::Kernels::conv`].
    pub fn conv<B: Backend>(
        conv: &PlainConv<B>,
        input: FloatTensor<B>,
        residual: Option<FloatTensor<B>>,
    ) -> FloatTensor<B> {
        let window = &conv.spec.window;
        let (input, padding) = padded::<B>(input, window.border, 0.0);
        let options = ConvOptions::new(window.stride, padding, window.dilation, conv.spec.groups);
        let output = B::conv2d(
            input,
            conv.weights.clone(),
            Some(conv.bias.clone()),
            options,
        );
        let output = match residual {
            Some(residual) => B::float_add(output, residual),
            None => output,
        };
        activate::<B>(output, &conv.activation)
    }

    /// Adds the border where Burn's own padding, which is the same on opposite sides, cannot.
    fn padded<B: Backend>(
        input: FloatTensor<B>,
        border: Border,
        value: f32,
    ) -> (FloatTensor<B>, [usize; 2]) {
        if border.is_symmetric() {
            return (input, [border.top, border.left]);
        }
        let Border {
            top,
            left,
            bottom,
            right,
        } = border;
        let amounts = [(0, 0), (0, 0), (top, bottom), (left, right)];
        (pad::<B>(input, &amounts, Fill::Constant, value), [0, 0])
    }

    /// See [`super::Kernels::activate`].
    pub fn activate<B: Backend>(input: FloatTensor<B>, activation: &Activation) -> FloatTensor<B> {
        match activation {
            Activation::Clip(0.0, f32::INFINITY) => B::relu(input),
            Activation::Clip(low, high) => {
                let bounded = |value: f32| value.is_finite();
                let input = if bounded(*low) {
                    B::float_clamp_min(input, (*low).into())
                } else {
                    input
                };
                if bounded(*high) {
                    B::float_clamp_max(input, (*high).into())
                } else {
                    input
                }
            }
            Activation::Slope(slopes) if slopes.len() == 1 => {
                B::leaky_relu(input, slopes[0].into())
            }
            Activation::Slope(slopes) => {
                let slopes = along_channels::<B>(slopes, &input);
                prelu::<B>(input, slopes)
            }
        }
    }

    /// Negative values times a slope of equal rank, with broadcasting.
    pub fn prelu<B: Backend>(input: FloatTensor<B>, slopes: FloatTensor<B>) -> FloatTensor<B> {
        let below = B::float_clamp_max(input.clone(), 0_f32.into());
        B::float_add(B::relu(input), B::float_mul(below, slopes))
    }

    /// See [`super::Kernels::unary`].
    pub fn unary<B: Backend>(input: FloatTensor<B>, unary: Unary) -> FloatTensor<B> {
        match unary {
            Unary::Relu => B::relu(input),
            Unary::LeakyRelu(alpha) => B::leaky_relu(input, alpha.into()),
            Unary::Sigmoid => B::sigmoid(input),
            Unary::HardSigmoid(alpha, beta) => hard_sigmoid::<B>(input, alpha, beta),
            Unary::HardSwish => {
                B::float_mul(input.clone(), hard_sigmoid::<B>(input, 1.0 / 6.0, 0.5))
            }
            Unary::Tanh => B::float_tanh(input),
            Unary::Exp => B::float_exp(input),
            Unary::Log => B::float_log(input),
            Unary::Sqrt => B::float_sqrt(input),
            Unary::Reciprocal => B::float_recip(input),
            Unary::Neg => B::float_neg(input),
            Unary::Abs => B::float_abs(input),
            Unary::Floor => B::float_floor(input),
            Unary::Ceil => B::float_ceil(input),
            Unary::Erf => B::float_erf(input),
        }
    }

    fn hard_sigmoid<B: Backend>(input: FloatTensor<B>, alpha: f32, beta: f32) -> FloatTensor<B> {
        let line = B::float_add_scalar(B::float_mul_scalar(input, alpha.into()), beta.into());
        B::float_clamp(line, 0_f32.into(), 1_f32.into())
    }

    /// See [`super::Kernels::binary`]. Comparisons are not for tensors of a device.
    pub fn binary<B: Backend>(
        a: FloatTensor<B>,
        b: FloatTensor<B>,
        binary: Binary,
    ) -> FloatTensor<B> {
        match binary {
            Binary::Add => B::float_add(a, b),
            Binary::Sub => B::float_sub(a, b),
            Binary::Mul => B::float_mul(a, b),
            Binary::Div => B::float_div(a, b),
            Binary::Pow => B::float_powf(a, b),
            Binary::Min => smaller::<B>(a, b, false),
            Binary::Max => smaller::<B>(a, b, true),
            Binary::Equal | Binary::Greater | Binary::Less => {
                unreachable!("comparisons are refused before")
            }
        }
    }

    /// The smaller numbers of two tensors that broadcast, or the larger ones.
    fn smaller<B: Backend>(a: FloatTensor<B>, b: FloatTensor<B>, larger: bool) -> FloatTensor<B> {
        let shape: Vec<usize> = sizes(&a)
            .into_iter()
            .zip(sizes(&b))
            .map(|(a, b)| a.max(b))
            .collect();
        let a = B::float_expand(a, Shape::from(shape.clone()));
        let b = B::float_expand(b, Shape::from(shape));
        let kind = get_device_settings::<B>(&B::float_device(&a)).bool_dtype;
        let (one, other) = if larger {
            (b.clone(), a.clone())
        } else {
            (a.clone(), b.clone())
        };
        let is_below = B::float_lower(one, other, kind);
        B::float_mask_where(b, is_below, a)
    }

    /// See [`super::Kernels::max_pool`].
    pub fn max_pool<B: Backend>(input: FloatTensor<B>, window: &Window) -> FloatTensor<B> {
        let input = whole::<B>(input, window, f32::MIN);
        B::max_pool2d(
            input,
            window.kernel,
            window.stride,
            [0, 0],
            window.dilation,
            false,
        )
    }

    /// See [`super::Kernels::average_pool`].
    pub fn average_pool<B: Backend>(
        input: FloatTensor<B>,
        window: &Window,
        count_border: bool,
    ) -> FloatTensor<B> {
        let device = B::float_device(&input);
        let [n, c, h, w] = four(&input);
        let [kh, kw] = window.kernel;
        let [rows, columns] = shares(h, w, window, count_border);
        let input = whole::<B>(input, window, 0.0);
        let mean = B::avg_pool2d(input, window.kernel, window.stride, [0, 0], true, false);
        if rows.iter().all(|&share| share == kh as f32)
            && columns.iter().all(|&share| share == kw as f32)
        {
            return mean;
        }
        // Burn has divided by the whole window; the border does not always count.
        let size = (kh * kw) as f32;
        let correction = rows
            .iter()
            .flat_map(|row| columns.iter().map(move |column| size / (row * column)))
            .collect();
        let correction = upload::<B>(correction, &[1, 1, rows.len(), columns.len()], &device);
        let shape = Shape::from(vec![n, c, rows.len(), columns.len()]);
        B::float_mul(mean, B::float_expand(correction, shape))
    }

    /// How many taps of the window count, for each output row and each output column.
    pub fn shares(h: usize, w: usize, window: &Window, count_border: bool) -> [Vec<f32>; 2] {
        let Border {
            top,
            left,
            bottom,
            right,
        } = window.border;
        let [rows, columns] = window.output(h, w).unwrap_or([0, 0]);
        let along = |axis: usize, outputs: usize, size: usize, before: usize, after: usize| {
            let counted = if count_border {
                0..before + size + after
            } else {
                before..before + size
            };
            (0..outputs)
                .map(|output| {
                    let start = output * window.stride[axis];
                    let taps = (0..window.kernel[axis])
                        .filter(|tap| counted.contains(&(start + tap * window.dilation[axis])));
                    taps.count().max(1) as f32
                })
                .collect()
        };
        [
            along(0, rows, h, top, bottom),
            along(1, columns, w, left, right),
        ]
    }

    /// Pads or cuts a picture so that every window lies wholly inside.
    fn whole<B: Backend>(input: FloatTensor<B>, window: &Window, value: f32) -> FloatTensor<B> {
        let [_, _, h, w] = four(&input);
        let [rows, columns] = window.output(h, w).unwrap_or([1, 1]);
        let reach = window.reach();
        let Border { top, left, .. } = window.border;
        let after = |axis: usize, outputs: usize, size: usize, before: usize| {
            let end = (outputs - 1) * window.stride[axis] + reach[axis];
            end.saturating_sub(size + before)
        };
        let amounts = [
            (0, 0),
            (0, 0),
            (top, after(0, rows, h, top)),
            (left, after(1, columns, w, left)),
        ];
        if amounts.iter().all(|&amount| amount == (0, 0)) {
            return input;
        }
        pad::<B>(input, &amounts, Fill::Constant, value)
    }

    /// The four sizes of a batch of pictures.
    pub fn four(tensor: &impl TensorMetadata) -> [usize; 4] {
        let sizes = sizes(tensor);
        std::array::from_fn(|axis| sizes.get(axis).copied().unwrap_or(1))
    }

    /// See [`super::Kernels::resize`]: two matrix products, since either axis is a mix of inputs.
    pub fn resize<B: Backend>(input: FloatTensor<B>, rows: &Mix, columns: &Mix) -> FloatTensor<B> {
        let device = B::float_device(&input);
        let [_, _, h, w] = four(&input);
        let matrix = |mix: &Mix, size: usize| {
            let mut matrix = vec![0.0; mix.taps.len() * size];
            for (line, &(first, second, share)) in matrix.chunks_exact_mut(size).zip(&mix.taps) {
                line[first] += 1.0 - share;
                line[second] += share;
            }
            upload::<B>(matrix, &[1, 1, mix.taps.len(), size], &device)
        };
        let right = B::float_swap_dims(matrix(columns, w), 2, 3);
        B::float_matmul(matrix(rows, h), B::float_matmul(input, right))
    }

    /// Adds a border of `(before, after)` for each axis.
    pub fn pad<B: Backend>(
        input: FloatTensor<B>,
        amounts: &[(usize, usize)],
        fill: Fill,
        value: f32,
    ) -> FloatTensor<B> {
        let device = B::float_device(&input);
        let mut output = input;
        for (axis, &(before, after)) in amounts.iter().enumerate() {
            if before == 0 && after == 0 {
                continue;
            }
            let shape = sizes(&output);
            let size = shape[axis];
            if fill == Fill::Constant {
                let border = |count: usize| {
                    let mut shape = shape.clone();
                    shape[axis] = count;
                    let count = shape.iter().product();
                    upload::<B>(vec![value; count], &shape, &device)
                };
                let mut parts = Vec::new();
                if before > 0 {
                    parts.push(border(before));
                }
                parts.push(output);
                if after > 0 {
                    parts.push(border(after));
                }
                output = B::float_cat(parts, axis);
                continue;
            }
            let inside = |place: i64| {
                let last = size as i64 - 1;
                match fill {
                    Fill::Reflect if place < 0 => -place,
                    Fill::Reflect if place > last => 2 * last - place,
                    _ => place.clamp(0, last),
                }
            };
            let places = (0..(before + size + after) as i64).map(|i| inside(i - before as i64));
            output = select::<B>(output, axis, places.collect());
        }
        output
    }

    /// The given places of an axis; they must exist.
    pub fn select<B: Backend>(
        input: FloatTensor<B>,
        axis: usize,
        places: Vec<i64>,
    ) -> FloatTensor<B> {
        let device = B::float_device(&input);
        // A run of places is a view, which needs no copy.
        let first = places.first().copied().unwrap_or(0);
        if places
            .iter()
            .zip(first..)
            .all(|(&place, expected)| place == expected)
        {
            let mut slices = vec![Slice::full(); input.shape().num_dims()];
            let start = first as isize;
            slices[axis] = Slice::new(start, Some(start + places.len() as isize), 1);
            return B::float_slice(input, &slices);
        }
        let shape = Shape::from(vec![places.len()]);
        let data = TensorData::new(places, shape).convert::<B::IntElem>();
        B::float_select(input, axis, B::int_from_data(data, &device))
    }

    /// Reduces the given axes to length 1.
    pub fn reduce<B: Backend>(
        input: FloatTensor<B>,
        axes: &[usize],
        kind: Reduce,
    ) -> FloatTensor<B> {
        axes.iter().fold(input, |input, &axis| match kind {
            Reduce::Sum => B::float_sum_dim(input, axis),
            Reduce::Mean => B::float_mean_dim(input, axis),
            Reduce::Max => B::float_max_dim(input, axis),
            Reduce::Min => B::float_min_dim(input, axis),
            Reduce::Prod => B::float_prod_dim(input, axis),
        })
    }

    /// Exponentials along an axis that sum to one.
    pub fn softmax<B: Backend>(input: FloatTensor<B>, axis: usize) -> FloatTensor<B> {
        let highest = B::float_max_dim(input.clone(), axis);
        let exponentials = B::float_exp(B::float_sub(input, highest));
        let sum = B::float_sum_dim(exponentials.clone(), axis);
        B::float_div(exponentials, sum)
    }
}
