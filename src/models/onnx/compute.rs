//! Operators that compute.

use burn::tensor::Shape;
use burn::tensor::ops::FloatTensor;

use super::arithmetic::{self, bounded};
use super::arrange::ranked;
use super::execute::Place;
use super::host::{Host, HostData, broadcast, elements};
use super::kernels::{Kernels, plain};
use super::operator::{Binary, Fill, Operator, Padding, Unary};
use super::resize;
use super::spec::{Activation, Border, Window};
use super::value::{Inputs, Value, axes, axis, limited, pictures};

/// The window with the kernel and border that hold for pictures of this size.
pub fn settle(
    window: &Window,
    padding: Padding,
    kernel: [usize; 2],
    h: usize,
    w: usize,
) -> Result<Window, String> {
    let mut window = Window {
        kernel,
        ..window.clone()
    };
    if kernel.contains(&0) {
        return Err("its kernel is empty".into());
    }
    if padding != Padding::Given {
        let reach = window.reach();
        let total = |axis: usize, size: usize| {
            let outputs = size.div_ceil(window.stride[axis]);
            (outputs.saturating_sub(1) * window.stride[axis] + reach[axis]).saturating_sub(size)
        };
        let split = |total: usize| match padding {
            Padding::SameLower => (total.div_ceil(2), total / 2),
            _ => (total / 2, total.div_ceil(2)),
        };
        let ((top, bottom), (left, right)) = (split(total(0, h)), split(total(1, w)));
        window.border = Border {
            top,
            left,
            bottom,
            right,
        };
    }
    match window.output(h, w) {
        Some([rows, columns]) if rows > 0 && columns > 0 => Ok(window),
        _ => Err(format!("its kernel is larger than its input of {h}x{w}")),
    }
}

impl<B: Kernels> Place<'_, B> {
    /// Operators that compute.
    pub fn compute(&self, operator: &Operator, inputs: &Inputs<'_, B>) -> Result<Value<B>, String> {
        let input = inputs.need(0)?;
        let from = input.sizes();
        match operator {
            Operator::Binary(binary) => {
                let mut value = input.clone();
                for index in 1..inputs.0.len() {
                    value = self.binary(&value, inputs.need(index)?, *binary)?;
                }
                return Ok(value);
            }
            Operator::Unary(unary) if input.host().is_some() => {
                if let Some(host) = input.host()
                    && bounded(&from).is_ok()
                    && let Ok(host) = arithmetic::unary(host, *unary)
                {
                    return Ok(Value::Host(host));
                }
            }
            Operator::Reduce {
                kind,
                axes: given,
                keep,
                noop,
            } => {
                let given = match given {
                    Some(given) => Some(given.clone()),
                    None => inputs.ints(1)?,
                };
                let over = match given.filter(|given| !given.is_empty()) {
                    Some(given) => axes(&given, from.len())?,
                    None if *noop => return Ok(input.clone()),
                    None => (0..from.len()).collect(),
                };
                let mut left = from.clone();
                for &at in &over {
                    left[at] = 1;
                }
                let reduced = match input.host() {
                    Some(host) if bounded(&left).is_ok() => {
                        Value::Host(arithmetic::reduce(host, &over, *kind)?)
                    }
                    _ => {
                        let tensor = input.device(self.device)?;
                        Value::Device(plain::reduce::<B>(tensor, &over, *kind))
                    }
                };
                if *keep {
                    return Ok(reduced);
                }
                let kept = (0..from.len())
                    .filter(|at| !over.contains(at))
                    .map(|at| from[at]);
                return self.reshape(&reduced, kept.collect());
            }
            _ => {}
        }
        let tensor = input.device(self.device)?;
        self.compute_device(operator, inputs, tensor, &from)
            .map(Value::Device)
    }

    #[allow(clippy::too_many_lines)] // One arm for each operator; parted it reads worse.
    fn compute_device(
        &self,
        operator: &Operator,
        inputs: &Inputs<'_, B>,
        tensor: FloatTensor<B>,
        from: &[usize],
    ) -> Result<FloatTensor<B>, String> {
        let store = self.store;
        Ok(match operator {
            Operator::Unary(Unary::Relu) => B::activate(tensor, &Activation::RELU, store),
            Operator::Unary(Unary::LeakyRelu(slope)) if from.len() > 1 => {
                B::activate(tensor, &Activation::Slope(vec![*slope]), store)
            }
            Operator::Unary(unary) => B::unary(tensor, *unary, store),
            Operator::Clip { low, high } => {
                let low = inputs.number(1, *low)?;
                let high = inputs.number(2, *high)?;
                B::activate(tensor, &Activation::Clip(low, high), store)
            }
            Operator::PRelu => {
                let slopes = inputs.need(1)?;
                let mut shape = slopes.sizes();
                // The slopes broadcast to the input and never the other way.
                while shape.len() < from.len() {
                    shape.insert(0, 1);
                }
                if broadcast(from, &shape)? != from {
                    return Err(format!(
                        "slopes of {shape:?} do not fit an input of {from:?}"
                    ));
                }
                if let (Some(host), [1, c, 1, 1]) = (slopes.host(), shape.as_slice())
                    && *c == from[1]
                {
                    let slopes = Activation::Slope(host.as_floats()?.to_vec());
                    return Ok(B::activate(tensor, &slopes, store));
                }
                let slopes = slopes.device(self.device)?;
                plain::prelu::<B>(tensor, B::float_reshape(slopes, Shape::from(shape)))
            }
            Operator::MaxPool { window, padding } => {
                let [n, c, h, w] = pictures(from)?;
                let window = settle(window, *padding, window.kernel, h, w)?;
                limited(&window.bordered([n, c, h, w]))?;
                let [rows, columns] = window.output(h, w).unwrap_or([0, 0]);
                limited(&[n, c, rows, columns])?;
                B::max_pool(tensor, &window, store)
            }
            Operator::AveragePool {
                window,
                padding,
                count_border,
            } => {
                let [n, c, h, w] = pictures(from)?;
                let window = settle(window, *padding, window.kernel, h, w)?;
                limited(&window.bordered([n, c, h, w]))?;
                let [rows, columns] = window.output(h, w).unwrap_or([0, 0]);
                limited(&[n, c, rows, columns])?;
                B::average_pool(tensor, &window, *count_border, store)
            }
            Operator::GlobalAveragePool => {
                pictures(from)?;
                B::global_average(tensor, store)
            }
            Operator::GlobalMaxPool => {
                pictures(from)?;
                B::float_max_dim(B::float_max_dim(tensor, 3), 2)
            }
            Operator::Resize {
                linear,
                place,
                nearest,
                scales,
            } => {
                let [n, c, h, w] = pictures(from)?;
                let rule = resize::Rule {
                    linear: *linear,
                    place: *place,
                    nearest: *nearest,
                };
                let factors = inputs.host(*scales)?.filter(|host| host.len() > 0);
                let sizes = inputs.ints(*scales + 1)?;
                let [rows, columns] = resize::mixes(rule, [n, c, h, w], factors, sizes.as_deref())?;
                let [to_h, to_w] = [&rows, &columns].map(|mix| mix.taps.len());
                limited(&[n, c, to_h, to_w])?;
                // What lies between the two axes, and the mixes as matrices.
                limited(&[n, c, h, to_w])?;
                limited(&[to_h, h])?;
                limited(&[to_w, w])?;
                B::resize(tensor, &rows, &columns, store)
            }
            Operator::InstanceNormalization { epsilon } => {
                pictures(from)?;
                let mean = |tensor| B::float_mean_dim(B::float_mean_dim(tensor, 3), 2);
                let centred = B::float_sub(tensor.clone(), mean(tensor));
                let variance = mean(B::float_mul(centred.clone(), centred.clone()));
                let deviation = B::float_sqrt(B::float_add_scalar(variance, (*epsilon).into()));
                let values = |index: usize| {
                    let host = inputs.host(index)?.ok_or("an input is missing")?;
                    let values = host.as_floats()?;
                    if values.len() == from[1] {
                        Ok(values)
                    } else {
                        Err("its inputs do not fit")
                    }
                    .map_err(String::from)
                };
                B::scale_shift(
                    B::float_div(centred, deviation),
                    values(1)?,
                    values(2)?,
                    store,
                )
            }
            Operator::Gemm {
                alpha,
                beta,
                transposed,
            } => self.gemm(inputs, [*alpha, *beta], *transposed)?,
            Operator::MatMul => self.matmul(tensor, from, inputs.need(1)?)?,
            Operator::Softmax { axis: at, flat } => {
                let at = axis(*at, from.len())?;
                if *flat && at + 1 < from.len() {
                    let product = |part: &[usize]| elements(part).unwrap_or(0);
                    let shape = Shape::from(vec![product(&from[..at]), product(&from[at..])]);
                    let matrix = plain::softmax::<B>(B::float_reshape(tensor, shape), 1);
                    B::float_reshape(matrix, Shape::from(from.to_vec()))
                } else {
                    plain::softmax::<B>(tensor, at)
                }
            }
            Operator::Pad {
                fill,
                amounts,
                value,
            } => {
                let given = match amounts {
                    Some(amounts) => amounts.clone(),
                    None => inputs.ints(1)?.ok_or("its amounts are missing")?,
                };
                if inputs.get(3).is_some() {
                    return Err("axes as an input are not supported".into());
                }
                let value = inputs.number(2, *value)?;
                let (cuts, amounts) = borders(&given, from, *fill)?;
                let mut whole = Value::Device(tensor);
                for (at, places) in cuts {
                    whole = self.select(&whole, at, &places)?;
                }
                plain::pad::<B>(whole.device(self.device)?, &amounts, *fill, value)
            }
            Operator::DepthToSpace {
                block,
                column_first,
            } => {
                let [n, c, h, w] = pictures(from)?;
                let area = block * block;
                if c % area != 0 {
                    return Err(format!("{c} channels are no multiple of {area}"));
                }
                let (deep, order) = if *column_first {
                    (vec![n, c / area, *block, *block, h, w], [0, 1, 4, 2, 5, 3])
                } else {
                    (vec![n, *block, *block, c / area, h, w], [0, 3, 4, 1, 5, 2])
                };
                let tensor = B::float_reshape(tensor, Shape::from(deep));
                let tensor = B::float_permute(tensor, &order);
                B::float_reshape(tensor, Shape::from(vec![n, c / area, h * block, w * block]))
            }
            Operator::SpaceToDepth { block } => {
                let [n, c, h, w] = pictures(from)?;
                if h % block != 0 || w % block != 0 {
                    return Err(format!("{h}x{w} is no multiple of {block}"));
                }
                let deep = vec![n, c, h / block, *block, w / block, *block];
                let tensor = B::float_reshape(tensor, Shape::from(deep));
                let tensor = B::float_permute(tensor, &[0, 3, 5, 1, 2, 4]);
                let shape = vec![n, c * block * block, h / block, w / block];
                B::float_reshape(tensor, Shape::from(shape))
            }
            _ => return Err("its weights are computed from pixels, which is not supported".into()),
        })
    }

    fn binary(&self, a: &Value<B>, b: &Value<B>, binary: Binary) -> Result<Value<B>, String> {
        let shape = broadcast(&a.sizes(), &b.sizes())?;
        limited(&shape)?;
        // An exponent may be an integer where the base is none.
        let exponent = match (binary, a.host().map(Host::as_floats)) {
            (Binary::Pow, Some(Ok(_))) => in_floats(b),
            _ => b.clone(),
        };
        let b = &exponent;
        if let (Some(a), Some(b)) = (a.host(), b.host())
            && bounded(&shape).is_ok()
        {
            return arithmetic::binary(a, b, binary).map(Value::Host);
        }
        if matches!(binary, Binary::Equal | Binary::Greater | Binary::Less) {
            return arithmetic::binary(&self.fetch(a)?, &self.fetch(b)?, binary).map(Value::Host);
        }
        let (a, b) = (in_floats(a), in_floats(b));
        let a = ranked::<B>(a.device(self.device)?, shape.len());
        let b = ranked::<B>(b.device(self.device)?, shape.len());
        Ok(Value::Device(B::binary(a, b, binary, self.store)))
    }

    /// A matrix product, with a vector counting as a row on the left and as a column on the right.
    fn matmul(
        &self,
        left: FloatTensor<B>,
        from: &[usize],
        right: &Value<B>,
    ) -> Result<FloatTensor<B>, String> {
        let (mut rows, mut columns) = (from.to_vec(), right.sizes());
        let vectors = [rows.len() == 1, columns.len() == 1];
        if vectors[0] {
            rows.insert(0, 1);
        }
        if vectors[1] {
            columns.push(1);
        }
        let ([.., _, depth], [.., height, _]) = (rows.as_slice(), columns.as_slice()) else {
            return Err("a single number cannot be multiplied as a matrix".into());
        };
        if depth != height {
            return Err(format!("{rows:?} cannot be multiplied with {columns:?}"));
        }
        let (above, beside) = (rows.len() - 2, columns.len() - 2);
        let mut shape = broadcast(&rows[..above], &columns[..beside])?;
        let rank = shape.len() + 2;
        shape.extend([rows[above], columns[beside + 1]]);
        limited(&shape)?;
        let left = ranked::<B>(B::float_reshape(left, Shape::from(rows)), rank);
        let right = right.device(self.device)?;
        let right = ranked::<B>(B::float_reshape(right, Shape::from(columns)), rank);
        let product = B::float_matmul(left, right);
        if vectors[0] {
            shape.remove(rank - 2);
        }
        if vectors[1] {
            shape.pop();
        }
        Ok(B::float_reshape(product, Shape::from(shape)))
    }

    fn gemm(
        &self,
        inputs: &Inputs<'_, B>,
        [alpha, beta]: [f32; 2],
        transposed: [bool; 2],
    ) -> Result<FloatTensor<B>, String> {
        let mut matrices = Vec::new();
        for (index, transposed) in transposed.into_iter().enumerate() {
            let matrix = inputs.need(index)?.device(self.device)?;
            if plain::sizes(&matrix).len() != 2 {
                return Err(format!("its input {index} is no matrix"));
            }
            matrices.push(if transposed {
                B::float_swap_dims(matrix, 0, 1)
            } else {
                matrix
            });
        }
        let (Some(b), Some(a)) = (matrices.pop(), matrices.pop()) else {
            return Err("it needs two matrices".into());
        };
        let (left, right) = (plain::sizes(&a), plain::sizes(&b));
        if left[1] != right[0] {
            return Err(format!("{left:?} cannot be multiplied with {right:?}"));
        }
        let shape = [left[0], right[1]];
        limited(&shape)?;
        let scaled = |tensor: FloatTensor<B>, by: f32| {
            if (by - 1.0).abs() < f32::EPSILON {
                tensor
            } else {
                B::float_mul_scalar(tensor, by.into())
            }
        };
        let product = scaled(B::float_matmul(a, b), alpha);
        let Some(c) = inputs.get(2) else {
            return Ok(product);
        };
        if broadcast(&c.sizes(), &shape)? != shape {
            return Err("its third input does not fit".into());
        }
        let c = ranked::<B>(c.device(self.device)?, 2);
        Ok(B::float_add(product, scaled(c, beta)))
    }
}

/// Integers beside pixels, such as an exponent, count as numbers.
fn in_floats<B: Kernels>(value: &Value<B>) -> Value<B> {
    match value.host().map(|host| (host, &host.data)) {
        Some((host, HostData::Ints(values))) => {
            let values = values.iter().map(|&value| value as f32).collect();
            Value::Host(Host::new(host.shape.clone(), HostData::Floats(values)))
        }
        _ => value.clone(),
    }
}

/// An axis and the places that are left of it.
type Cut = (usize, Vec<usize>);

/// How many places come before and after each axis.
type Amounts = Vec<(usize, usize)>;

/// The border of each axis from ONNX's list, which names all starts and then all ends. A negative
/// amount cuts instead.
fn borders(given: &[i64], from: &[usize], fill: Fill) -> Result<(Vec<Cut>, Amounts), String> {
    if given.len() != 2 * from.len() {
        return Err("it does not name all axes".into());
    }
    let (before, after) = given.split_at(from.len());
    let (mut cuts, mut amounts, mut shape) = (Vec::new(), Vec::new(), Vec::new());
    for (axis, &size) in from.iter().enumerate() {
        let split = |amount: i64| {
            let size = usize::try_from(amount.unsigned_abs()).unwrap_or(usize::MAX);
            if amount < 0 { (size, 0) } else { (0, size) }
        };
        let ((first, before), (last, after)) = (split(before[axis]), split(after[axis]));
        let end = size.saturating_sub(last);
        if first >= end {
            return Err(format!("it cuts more than there is of {from:?}"));
        }
        if first + last > 0 {
            cuts.push((axis, (first..end).collect()));
        }
        let size = end - first;
        if fill == Fill::Reflect && (before >= size || after >= size) {
            return Err("its border is larger than what it mirrors".into());
        }
        amounts.push((before, after));
        shape.push(size.saturating_add(before).saturating_add(after));
    }
    limited(&shape)?;
    Ok((cuts, amounts))
}
