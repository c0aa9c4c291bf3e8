//! Operators on tensors in ordinary memory: the shape arithmetic of a network.

use super::host::{Host, HostData, broadcast, elements, places, spread, strides};
use super::operator::{Binary, Reduce, Unary};
use super::value::NOTHING;
use super::wire::data_type;

/// Most numbers of a tensor that is computed here. Shapes have a handful.
pub const MAX_HOST: usize = 1 << 16;

/// Refuses tensors that are larger than shape arithmetic needs.
pub fn bounded(shape: &[usize]) -> Result<usize, String> {
    match elements(shape) {
        Some(count) if count <= MAX_HOST => Ok(count),
        _ => Err(format!(
            "it would compute {shape:?} numbers, where a shape was expected"
        )),
    }
}

/// Two tensors to one.
pub fn binary(a: &Host, b: &Host, binary: Binary) -> Result<Host, String> {
    let shape = broadcast(&a.shape, &b.shape)?;
    bounded(&shape)?;
    let pairs = spread(&a.shape, &shape).zip(spread(&b.shape, &shape));
    let data = match (&a.data, &b.data) {
        (HostData::Floats(a), HostData::Floats(b)) => {
            let pairs = pairs.map(|(i, j)| (a[i], b[j]));
            match binary {
                Binary::Equal => HostData::Ints(pairs.map(|(x, y)| i64::from(x == y)).collect()),
                Binary::Greater => HostData::Ints(pairs.map(|(x, y)| i64::from(x > y)).collect()),
                Binary::Less => HostData::Ints(pairs.map(|(x, y)| i64::from(x < y)).collect()),
                _ => HostData::Floats(
                    pairs
                        .map(|(x, y)| match binary {
                            Binary::Sub => x - y,
                            Binary::Mul => x * y,
                            Binary::Div => x / y,
                            Binary::Pow => x.powf(y),
                            Binary::Min => x.min(y),
                            Binary::Max => x.max(y),
                            _ => x + y,
                        })
                        .collect(),
                ),
            }
        }
        (HostData::Ints(a), HostData::Ints(b)) => {
            let pairs = pairs.map(|(i, j)| (a[i], b[j]));
            let values: Option<Vec<i64>> = pairs
                .map(|(x, y)| match binary {
                    Binary::Add => x.checked_add(y),
                    Binary::Sub => x.checked_sub(y),
                    Binary::Mul => x.checked_mul(y),
                    Binary::Div => x.checked_div(y),
                    Binary::Pow => x.checked_pow(u32::try_from(y).ok()?),
                    Binary::Min => Some(x.min(y)),
                    Binary::Max => Some(x.max(y)),
                    Binary::Equal => Some(i64::from(x == y)),
                    Binary::Greater => Some(i64::from(x > y)),
                    Binary::Less => Some(i64::from(x < y)),
                })
                .collect();
            HostData::Ints(values.ok_or("its integers overflow, or are divided by zero")?)
        }
        _ => return Err("its inputs have different number types".into()),
    };
    Ok(Host::new(shape, data))
}

/// A function of each number.
pub fn unary(a: &Host, unary: Unary) -> Result<Host, String> {
    let data = match &a.data {
        HostData::Ints(values) => {
            let change: fn(i64) -> i64 = match unary {
                Unary::Neg => i64::wrapping_neg,
                Unary::Abs => i64::wrapping_abs,
                Unary::Relu => |value| value.max(0),
                _ => return Err("it is not defined for integers".into()),
            };
            HostData::Ints(values.iter().map(|&value| change(value)).collect())
        }
        HostData::Floats(values) => {
            let change = |x: f32| {
                Some(match unary {
                    Unary::Relu => x.max(0.0),
                    Unary::Exp => x.exp(),
                    Unary::Log => x.ln(),
                    Unary::Sqrt => x.sqrt(),
                    Unary::Reciprocal => x.recip(),
                    Unary::Neg => -x,
                    Unary::Abs => x.abs(),
                    Unary::Floor => x.floor(),
                    Unary::Ceil => x.ceil(),
                    _ => return None,
                })
            };
            let values: Option<Vec<f32>> = values.iter().map(|&x| change(x)).collect();
            HostData::Floats(values.ok_or("it is not supported for a computed shape")?)
        }
    };
    Ok(Host::new(a.shape.clone(), data))
}

/// Chooses by a condition.
pub fn choose(condition: &Host, a: &Host, b: &Host) -> Result<Host, String> {
    let shape = broadcast(&condition.shape, &broadcast(&a.shape, &b.shape)?)?;
    bounded(&shape)?;
    let conditions = condition.as_ints()?;
    let places = spread(&condition.shape, &shape)
        .zip(spread(&a.shape, &shape))
        .zip(spread(&b.shape, &shape))
        .map(|((c, i), j)| (conditions[c] != 0, i, j));
    let data = match (&a.data, &b.data) {
        (HostData::Floats(a), HostData::Floats(b)) => HostData::Floats(
            places
                .map(|(first, i, j)| if first { a[i] } else { b[j] })
                .collect(),
        ),
        (HostData::Ints(a), HostData::Ints(b)) => HostData::Ints(
            places
                .map(|(first, i, j)| if first { a[i] } else { b[j] })
                .collect(),
        ),
        _ => return Err("its inputs have different number types".into()),
    };
    Ok(Host::new(shape, data))
}

/// To another number type.
pub fn cast(a: &Host, to: i32) -> Result<Host, String> {
    let data = match (&a.data, to) {
        (HostData::Floats(values), data_type::FLOAT | data_type::DOUBLE) => {
            HostData::Floats(values.clone())
        }
        (HostData::Ints(values), data_type::FLOAT | data_type::DOUBLE) => {
            HostData::Floats(values.iter().map(|&value| value as f32).collect())
        }
        (HostData::Floats(values), data_type::INT32 | data_type::INT64) => {
            HostData::Ints(values.iter().map(|&value| value as i64).collect())
        }
        (HostData::Ints(values), data_type::INT32 | data_type::INT64) => {
            HostData::Ints(values.clone())
        }
        (HostData::Floats(values), data_type::BOOL) => HostData::Ints(
            values
                .iter()
                .map(|&value| i64::from(value != 0.0))
                .collect(),
        ),
        (HostData::Ints(values), data_type::BOOL) => {
            HostData::Ints(values.iter().map(|&value| i64::from(value != 0)).collect())
        }
        _ => return Err(format!("a cast to the number type {to} is not supported")),
    };
    Ok(Host::new(a.shape.clone(), data))
}

/// From a start in equal steps to before an end.
pub fn range(start: &Host, end: &Host, step: &Host) -> Result<Host, String> {
    let ends = [start, end, step];
    if ends.iter().any(|host| host.len() != 1) {
        return Err("an input is not one number".into());
    }
    let as_number = |host: &Host| match &host.data {
        HostData::Ints(values) => values[0] as f64,
        HostData::Floats(values) => f64::from(values[0]),
    };
    let [first, last, step] = ends.map(as_number);
    let count = ((last - first) / step).ceil().max(0.0);
    if !count.is_finite() {
        return Err(format!(
            "it would go from {first} to {last} in steps of {step}"
        ));
    }
    let count = bounded(&[count as usize])?;
    let values = (0..count).map(|i| first + i as f64 * step);
    let data = match &ends[0].data {
        HostData::Ints(_) => HostData::Ints(values.map(|value| value as i64).collect()),
        HostData::Floats(_) => HostData::Floats(values.map(|value| value as f32).collect()),
    };
    Ok(Host::new(vec![count], data))
}

/// Tensors after one another.
pub fn concat(parts: &[&Host], axis: usize) -> Result<Host, String> {
    let Some(first) = parts.first() else {
        return Err("it has no input".into());
    };
    let mut shape = first.shape.clone();
    shape[axis] = 0;
    for part in parts {
        let fits = part.shape.len() == shape.len()
            && (0..shape.len()).all(|i| i == axis || part.shape[i] == shape[i]);
        if !fits {
            return Err("the sizes of its inputs do not fit together".into());
        }
        shape[axis] = shape[axis].saturating_add(part.shape[axis]);
    }
    bounded(&shape)?;
    let outer: usize = shape[..axis].iter().product();
    let inner: usize = shape[axis + 1..].iter().product();
    let lengths: Vec<usize> = parts.iter().map(|part| part.shape[axis] * inner).collect();
    let data = if parts.iter().all(|part| part.as_floats().is_ok()) {
        HostData::Floats(interleave(parts, &lengths, outer, |part| part.as_floats())?)
    } else {
        HostData::Ints(interleave(parts, &lengths, outer, |part| part.as_ints())?)
    };
    Ok(Host::new(shape, data))
}

fn interleave<'a, T: Copy + 'a>(
    parts: &[&'a Host],
    lengths: &[usize],
    outer: usize,
    values: impl Fn(&'a Host) -> Result<&'a [T], String>,
) -> Result<Vec<T>, String> {
    let mut out = Vec::new();
    for i in 0..outer {
        for (part, &length) in parts.iter().zip(lengths) {
            out.extend_from_slice(&values(part)?[i * length..][..length]);
        }
    }
    Ok(out)
}

/// The given places of an axis.
pub fn select(a: &Host, axis: usize, at: &[usize]) -> Result<Host, String> {
    let mut shape = a.shape.clone();
    shape[axis] = at.len();
    bounded(&shape)?;
    let strides = strides(&a.shape);
    let from = places(&shape).map(|mut place| {
        place[axis] = at[place[axis]];
        place
            .iter()
            .zip(&strides)
            .map(|(at, stride)| at * stride)
            .sum()
    });
    Ok(a.pick(shape.clone(), from))
}

/// Another order of axes.
pub fn transpose(a: &Host, order: &[usize]) -> Host {
    let shape: Vec<usize> = order.iter().map(|&axis| a.shape[axis]).collect();
    let strides = strides(&a.shape);
    let from = places(&shape).map(|place| {
        place
            .iter()
            .zip(order)
            .map(|(at, &axis)| at * strides[axis])
            .sum()
    });
    a.pick(shape.clone(), from)
}

/// Broadcast to a shape.
pub fn expand(a: &Host, shape: &[usize]) -> Result<Host, String> {
    let shape = broadcast(&a.shape, shape)?;
    bounded(&shape)?;
    Ok(a.pick(shape.clone(), spread(&a.shape, &shape)))
}

/// Reduces the given axes to length 1.
pub fn reduce(a: &Host, axes: &[usize], kind: Reduce) -> Result<Host, String> {
    if a.len() == 0 {
        return Err(NOTHING.into());
    }
    let mut shape = a.shape.clone();
    for &axis in axes {
        shape[axis] = 1;
    }
    let count = elements(&shape).unwrap_or(0);
    let owner: Vec<usize> = spread(&shape, &a.shape).collect();
    let data = match &a.data {
        HostData::Ints(values) => {
            let mut out: Vec<Option<i64>> = vec![None; count];
            for (&value, &at) in values.iter().zip(&owner) {
                out[at] = Some(match out[at] {
                    None => value,
                    Some(sum) => match kind {
                        Reduce::Sum => sum.wrapping_add(value),
                        Reduce::Prod => sum.wrapping_mul(value),
                        Reduce::Max => sum.max(value),
                        Reduce::Min => sum.min(value),
                        Reduce::Mean => return Err("a mean of integers is not supported".into()),
                    },
                });
            }
            HostData::Ints(out.into_iter().map(Option::unwrap_or_default).collect())
        }
        HostData::Floats(values) => {
            let mut out: Vec<Option<f32>> = vec![None; count];
            for (&value, &at) in values.iter().zip(&owner) {
                out[at] = Some(match out[at] {
                    None => value,
                    Some(sum) => match kind {
                        Reduce::Sum | Reduce::Mean => sum + value,
                        Reduce::Prod => sum * value,
                        Reduce::Max => sum.max(value),
                        Reduce::Min => sum.min(value),
                    },
                });
            }
            let share = if kind == Reduce::Mean {
                count as f32 / values.len() as f32
            } else {
                1.0
            };
            HostData::Floats(
                out.into_iter()
                    .map(|sum| sum.unwrap_or(0.0) * share)
                    .collect(),
            )
        }
    };
    Ok(Host::new(shape, data))
}
