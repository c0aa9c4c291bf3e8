//! Operators that move numbers without changing them.

use burn::tensor::Shape;
use burn::tensor::ops::FloatTensor;

use super::arithmetic::{self, bounded};
use super::execute::Place;
use super::host::{Host, MAX_RANK, broadcast, elements};
use super::kernels::{Kernels, plain};
use super::operator::Operator;
use super::value::{Inputs, NOTHING, Value, axes, axis, limited, sizes_of};

impl<B: Kernels> Place<'_, B> {
    /// Operators that move numbers without changing them.
    #[allow(clippy::too_many_lines)] // One arm for each operator; parted it reads worse.
    pub fn arrange(&self, operator: &Operator, inputs: &Inputs<'_, B>) -> Result<Value<B>, String> {
        let input = inputs.need(0)?;
        let from = input.sizes();
        match operator {
            Operator::Concat { axis: at } => self.concat(inputs, *at),
            Operator::Slice(given) => {
                let (starts, ends, at, steps) = match given {
                    Some([starts, ends, at]) => (starts.clone(), ends.clone(), at.clone(), None),
                    None => {
                        let starts = inputs.ints(1)?.ok_or("its starts are missing")?;
                        let ends = inputs.ints(2)?.ok_or("its ends are missing")?;
                        let at = inputs.ints(3)?;
                        let at = at.unwrap_or_else(|| (0..starts.len() as i64).collect());
                        (starts, ends, at, inputs.ints(4)?)
                    }
                };
                let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
                if starts.len() != ends.len() || at.len() != ends.len() || steps.len() != at.len() {
                    return Err("its starts, ends, axes and steps differ in number".into());
                }
                // Refuses an axis that is named twice.
                axes(&at, from.len())?;
                let mut value = input.clone();
                for (((&start, &end), &at), &step) in starts.iter().zip(&ends).zip(&at).zip(&steps)
                {
                    let at = axis(at, from.len())?;
                    let places = slice(from[at], start, end, step)?;
                    value = self.select(&value, at, &places)?;
                }
                Ok(value)
            }
            Operator::Gather { axis: at } => {
                let at = axis(*at, from.len())?;
                let indices = inputs.host(1)?.ok_or("its indices are missing")?;
                let size = from[at] as i64;
                let places = indices.as_ints()?.iter().map(|&index| {
                    let place = if index < 0 { index + size } else { index };
                    usize::try_from(place)
                        .ok()
                        .filter(|&place| place < from[at])
                });
                let places: Option<Vec<usize>> = places.collect();
                let places = places.ok_or("an index is outside its input")?;
                let mut shape = from[..at].to_vec();
                shape.extend(&indices.shape);
                shape.extend(&from[at + 1..]);
                limited(&shape)?;
                self.reshape(&self.select(input, at, &places)?, shape)
            }
            Operator::Squeeze(given) => {
                let given = match given {
                    Some(given) => Some(given.clone()),
                    None => inputs.ints(1)?,
                };
                let drop = match given {
                    Some(given) => axes(&given, from.len())?,
                    None => (0..from.len()).filter(|&at| from[at] == 1).collect(),
                };
                if drop.iter().any(|&at| from[at] != 1) {
                    return Err(format!(
                        "it drops an axis of {from:?} that is longer than 1"
                    ));
                }
                let kept = (0..from.len())
                    .filter(|at| !drop.contains(at))
                    .map(|at| from[at]);
                self.reshape(input, kept.collect())
            }
            Operator::Unsqueeze(given) => {
                let given = match given {
                    Some(given) => given.clone(),
                    None => inputs.ints(1)?.ok_or("its axes are missing")?,
                };
                let mut shape = from.clone();
                for at in axes(&given, from.len() + given.len())? {
                    shape.insert(at.min(shape.len()), 1);
                }
                self.reshape(input, shape)
            }
            Operator::Reshape { allow_zero } => {
                let wanted = inputs.ints(1)?.ok_or("its shape is missing")?;
                self.reshape(input, reshaped(&from, &wanted, *allow_zero)?)
            }
            Operator::Flatten { axis: at } => {
                let at = if *at == from.len() as i64 {
                    from.len()
                } else {
                    axis(*at, from.len())?
                };
                let product = |part: &[usize]| elements(part).unwrap_or(0);
                self.reshape(input, vec![product(&from[..at]), product(&from[at..])])
            }
            Operator::Transpose(order) => {
                let order = match order {
                    None => (0..from.len()).rev().collect(),
                    Some(order) => {
                        axes(order, from.len())?;
                        order
                            .iter()
                            .map(|&one| axis(one, from.len()))
                            .collect::<Result<Vec<_>, _>>()?
                    }
                };
                if order.len() != from.len() {
                    return Err("it does not name all axes".into());
                }
                match input.host() {
                    Some(host) => Ok(Value::Host(arithmetic::transpose(host, &order))),
                    None => Ok(Value::Device(B::float_permute(
                        input.device(self.device)?,
                        &order,
                    ))),
                }
            }
            _ => {
                let wanted = sizes_of(&inputs.ints(1)?.ok_or("its shape is missing")?)?;
                let shape = broadcast(&from, &wanted)?;
                limited(&shape)?;
                match input.host() {
                    Some(host) if bounded(&shape).is_ok() => {
                        arithmetic::expand(host, &shape).map(Value::Host)
                    }
                    _ if shape.contains(&0) => Err(NOTHING.into()),
                    _ => {
                        let tensor = ranked::<B>(input.device(self.device)?, shape.len());
                        Ok(Value::Device(B::float_expand(tensor, Shape::from(shape))))
                    }
                }
            }
        }
    }

    fn concat(&self, inputs: &Inputs<'_, B>, at: i64) -> Result<Value<B>, String> {
        let values = (0..inputs.0.len())
            .map(|i| inputs.need(i))
            .collect::<Result<Vec<_>, _>>()?;
        let mut shape = inputs.need(0)?.sizes();
        let at = axis(at, shape.len())?;
        shape[at] = 0;
        for value in &values {
            let sizes = value.sizes();
            let fits = sizes.len() == shape.len()
                && (0..shape.len()).all(|i| i == at || sizes[i] == shape[i]);
            if !fits {
                return Err("the sizes of its inputs do not fit together".into());
            }
            shape[at] = shape[at].saturating_add(sizes[at]);
        }
        limited(&shape)?;
        let hosts: Option<Vec<&Host>> = values.iter().map(|value| value.host()).collect();
        if let Some(hosts) = hosts
            && bounded(&shape).is_ok()
        {
            return arithmetic::concat(&hosts, at).map(Value::Host);
        }
        let parts = values.iter().filter(|value| value.sizes()[at] > 0);
        let tensors = parts.map(|value| value.device(self.device));
        Ok(Value::Device(B::concat(
            tensors.collect::<Result<_, _>>()?,
            at,
            self.store,
        )))
    }

    /// Parts of a tensor.
    pub fn split(
        &self,
        inputs: &Inputs<'_, B>,
        at: i64,
        sizes: Option<&[i64]>,
        outputs: usize,
    ) -> Result<Vec<Value<B>>, String> {
        let input = inputs.need(0)?;
        let from = input.sizes();
        let at = axis(at, from.len())?;
        let sizes = match sizes {
            Some(sizes) => Some(sizes.to_vec()),
            None => inputs.ints(1)?,
        };
        let sizes = match sizes {
            Some(sizes) => sizes_of(&sizes)?,
            None => {
                let size = from[at].div_ceil(outputs.max(1));
                (0..outputs)
                    .map(|i| from[at].saturating_sub(i * size).min(size))
                    .collect()
            }
        };
        if sizes
            .iter()
            .try_fold(0_usize, |sum, &size| sum.checked_add(size))
            != Some(from[at])
        {
            return Err(format!("its parts do not make {}", from[at]));
        }
        let mut first = 0;
        sizes
            .iter()
            .map(|&size| {
                let places: Vec<usize> = (first..first + size).collect();
                first += size;
                self.select(input, at, &places)
            })
            .collect()
    }

    /// The given places of an axis.
    pub fn select(
        &self,
        value: &Value<B>,
        at: usize,
        places: &[usize],
    ) -> Result<Value<B>, String> {
        let mut shape = value.sizes();
        if places.iter().copied().eq(0..shape[at]) {
            return Ok(value.clone());
        }
        shape[at] = places.len();
        limited(&shape)?;
        match value.host() {
            Some(host) if bounded(&shape).is_ok() => {
                arithmetic::select(host, at, places).map(Value::Host)
            }
            _ if places.is_empty() => Err(NOTHING.into()),
            _ => {
                let places = places.iter().map(|&place| place as i64).collect();
                Ok(Value::Device(plain::select::<B>(
                    value.device(self.device)?,
                    at,
                    places,
                )))
            }
        }
    }

    /// Other sizes for the same numbers.
    pub fn reshape(&self, value: &Value<B>, shape: Vec<usize>) -> Result<Value<B>, String> {
        if elements(&shape) != elements(&value.sizes()) || shape.len() > MAX_RANK {
            return Err(format!("{:?} cannot become {shape:?}", value.sizes()));
        }
        match value.host() {
            Some(host) => Ok(Value::Host(host.clone().reshaped(shape))),
            None => {
                let tensor = value.device(self.device)?;
                Ok(Value::Device(B::float_reshape(tensor, Shape::from(shape))))
            }
        }
    }
}

/// With axes of length 1 in front.
pub fn ranked<B: Kernels>(tensor: FloatTensor<B>, rank: usize) -> FloatTensor<B> {
    let mut shape = plain::sizes(&tensor);
    if shape.len() >= rank {
        return tensor;
    }
    while shape.len() < rank {
        shape.insert(0, 1);
    }
    B::float_reshape(tensor, Shape::from(shape))
}

/// The places that a slice takes from an axis of this size.
fn slice(size: usize, start: i64, end: i64, step: i64) -> Result<Vec<usize>, String> {
    let size = size as i64;
    let from_end = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
    Ok(match step {
        0 => return Err("its step is 0".into()),
        1.. => {
            let (start, end) = (from_end(start).clamp(0, size), from_end(end).clamp(0, size));
            let step = usize::try_from(step).unwrap_or(usize::MAX);
            (start..end).step_by(step).map(|at| at as usize).collect()
        }
        _ => {
            // In this order, for an axis without places.
            let (start, end) = (
                from_end(start).max(0).min(size - 1),
                from_end(end).max(-1).min(size - 1),
            );
            let step = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
            (end + 1..=start)
                .rev()
                .step_by(step)
                .map(|at| at as usize)
                .collect()
        }
    })
}

/// The sizes that a reshape asks for: 0 keeps a size, one -1 takes what is left.
fn reshaped(from: &[usize], wanted: &[i64], allow_zero: bool) -> Result<Vec<usize>, String> {
    let mut shape = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (at, &size) in wanted.iter().enumerate() {
        shape.push(match size {
            -1 if open.is_none() => {
                open = Some(at);
                1
            }
            0 if !allow_zero => *from.get(at).ok_or("it keeps an axis that is not there")?,
            _ => usize::try_from(size).map_err(|_| format!("it asks for the size {size}"))?,
        });
    }
    if let Some(at) = open {
        let known = elements(&shape).filter(|&known| known > 0);
        let total = elements(from).unwrap_or(0);
        match known {
            Some(known) if total.is_multiple_of(known) => shape[at] = total / known,
            _ => return Err(format!("{from:?} cannot become {wanted:?}")),
        }
    }
    Ok(shape)
}
