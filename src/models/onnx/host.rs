//! Tensors in ordinary memory: weights as they come from the file, and the small ones with which a
//! network computes its own shapes.

use super::wire::{self, data_type};

/// The numbers of a tensor in ordinary memory.
#[derive(Clone, Debug, PartialEq)]
pub enum HostData {
    /// 32-bit floating point.
    Floats(Vec<f32>),
    /// Integers of any width, and truth values as 0 and 1.
    Ints(Vec<i64>),
}

/// A tensor in ordinary memory, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Its sizes; none for a single number.
    pub shape: Vec<usize>,
    /// As many numbers as the sizes say.
    pub data: HostData,
}

/// How many elements a tensor of these sizes has; none when that is beyond counting.
pub fn elements(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
}

/// The same where an axis without places counts as one with one: of a tensor without numbers, the
/// other axes may claim anything.
pub fn span(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size.max(1)))
}

impl Host {
    /// A tensor; the caller vouches for the sizes.
    pub fn new(shape: Vec<usize>, data: HostData) -> Self {
        let host = Self { shape, data };
        debug_assert_eq!(elements(&host.shape), Some(host.len()));
        host
    }

    /// A list of integers.
    pub fn ints(values: Vec<i64>) -> Self {
        Self::new(vec![values.len()], HostData::Ints(values))
    }

    /// How many numbers it has.
    pub fn len(&self) -> usize {
        match &self.data {
            HostData::Floats(values) => values.len(),
            HostData::Ints(values) => values.len(),
        }
    }

    /// Its integers; an error when it holds floating point.
    pub fn as_ints(&self) -> Result<&[i64], String> {
        match &self.data {
            HostData::Ints(values) => Ok(values),
            HostData::Floats(_) => Err("an input holds numbers with a point, not integers".into()),
        }
    }

    /// Its floating point numbers; an error when it holds integers.
    pub fn as_floats(&self) -> Result<&[f32], String> {
        match &self.data {
            HostData::Floats(values) => Ok(values),
            HostData::Ints(_) => Err("an input holds integers, not numbers with a point".into()),
        }
    }

    /// The same with other sizes for as many numbers.
    pub fn reshaped(self, shape: Vec<usize>) -> Self {
        Self::new(shape, self.data)
    }

    /// Numbers chosen by place: `at(i)` says where output `i` comes from.
    pub fn pick(&self, shape: Vec<usize>, at: impl Iterator<Item = usize>) -> Self {
        let data = match &self.data {
            HostData::Floats(values) => HostData::Floats(at.map(|i| values[i]).collect()),
            HostData::Ints(values) => HostData::Ints(at.map(|i| values[i]).collect()),
        };
        Self::new(shape, data)
    }
}

/// How many numbers lie between neighbours along each axis.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Goes through all places of a tensor in order.
pub fn places(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    let count = elements(shape).unwrap_or(0);
    let mut place = vec![0; shape.len()];
    (0..count).map(move |i| {
        if i > 0 {
            for axis in (0..shape.len()).rev() {
                place[axis] += 1;
                if place[axis] < shape[axis] {
                    break;
                }
                place[axis] = 0;
            }
        }
        place.clone()
    })
}

/// The shape that two shapes broadcast to.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| {
        (axis + shape.len())
            .checked_sub(rank)
            .map_or(1, |axis| shape[axis])
    };
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => Err(format!("the sizes {a:?} and {b:?} do not fit together")),
        })
        .collect()
}

/// Where in a tensor of sizes `from` each element of its broadcast to `to` lies.
pub fn spread<'a>(from: &'a [usize], to: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    let strides = strides(from);
    let missing = to.len() - from.len();
    places(to).map(move |place| {
        let own = place[missing..].iter().zip(from).zip(&strides);
        own.map(|((&at, &size), &stride)| if size == 1 { 0 } else { at * stride })
            .sum()
    })
}

/// Reads a tensor of the file. `external` gives the bytes of a tensor that lies in another file.
pub fn read_tensor(tensor: &wire::Tensor, external: Option<&[u8]>) -> Result<Host, String> {
    let name = &tensor.name;
    let shape = tensor
        .dims
        .iter()
        .map(|&size| usize::try_from(size).map_err(|_| format!("`{name}` has the size {size}")))
        .collect::<Result<Vec<usize>, String>>()?;
    let count = elements(&shape).ok_or_else(|| format!("`{name}` has impossible sizes"))?;
    if shape.len() > MAX_RANK {
        return Err(format!("`{name}` has {} axes", shape.len()));
    }
    if count == 0 && span(&shape).is_none_or(|span| span > MAX_EMPTY_SPAN) {
        return Err(format!("`{name}` has impossible sizes"));
    }
    if tensor.data_location != 0 && external.is_none() {
        return Err(format!(
            "`{name}` lies in another file, which cannot be used here"
        ));
    }
    let raw = external.unwrap_or(&tensor.raw_data);
    let floats = |width: usize, read: fn(&[u8]) -> f32| raw.chunks_exact(width).map(read).collect();
    let ints = |width: usize, read: fn(&[u8]) -> i64| raw.chunks_exact(width).map(read).collect();
    // Whoever claims more elements than there are bytes is found out before anything is allocated.
    let held = |width: usize, plain: usize| {
        let held = if raw.is_empty() {
            plain
        } else {
            raw.len() / width
        };
        let whole = raw.len().is_multiple_of(width);
        if held == count && whole {
            return Ok(raw.is_empty());
        }
        Err(format!("`{name}` claims {count} numbers and holds {held}"))
    };
    let data = match tensor.data_type {
        data_type::FLOAT => HostData::Floats(if held(4, tensor.float_data.len())? {
            tensor.float_data.clone()
        } else {
            floats(4, |bytes| f32::from_le_bytes(fixed(bytes)))
        }),
        data_type::DOUBLE => HostData::Floats(if held(8, tensor.double_data.len())? {
            tensor
                .double_data
                .iter()
                .map(|&value| value as f32)
                .collect()
        } else {
            floats(8, |bytes| f64::from_le_bytes(fixed(bytes)) as f32)
        }),
        data_type::FLOAT16 => HostData::Floats(if held(2, tensor.int32_data.len())? {
            tensor
                .int32_data
                .iter()
                .map(|&bits| half(bits as u16))
                .collect()
        } else {
            floats(2, |bytes| half(u16::from_le_bytes(fixed(bytes))))
        }),
        data_type::INT64 => HostData::Ints(if held(8, tensor.int64_data.len())? {
            tensor.int64_data.clone()
        } else {
            ints(8, |bytes| i64::from_le_bytes(fixed(bytes)))
        }),
        data_type::INT32 => HostData::Ints(if held(4, tensor.int32_data.len())? {
            tensor
                .int32_data
                .iter()
                .map(|&value| i64::from(value))
                .collect()
        } else {
            ints(4, |bytes| i64::from(i32::from_le_bytes(fixed(bytes))))
        }),
        data_type::BOOL => HostData::Ints(if held(1, tensor.int32_data.len())? {
            tensor
                .int32_data
                .iter()
                .map(|&value| i64::from(value != 0))
                .collect()
        } else {
            ints(1, |bytes| i64::from(bytes[0] != 0))
        }),
        other => {
            return Err(format!(
                "`{name}` has the number type {other}, which is not supported"
            ));
        }
    };
    Ok(Host::new(shape, data))
}

/// Most axes of a tensor.
pub const MAX_RANK: usize = 8;
/// Most that the other axes of a tensor without numbers may claim.
const MAX_EMPTY_SPAN: usize = 1 << 20;

/// The first bytes; chunks of the right length come in.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|i| bytes[i])
}

/// A 16-bit floating point number (IEEE 754 binary16) in 32 bits.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f32::from(bits & 0x3ff);
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_numbers_keep_their_value() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x0001, 5.960_464_5e-8),
            (0, 0.0),
        ] {
            assert_eq!(half(bits).to_bits(), f32::to_bits(value), "{bits:#x}");
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn a_tensor_that_claims_more_than_it_holds_is_refused() {
        let tensor = wire::Tensor {
            dims: vec![1 << 40, 1 << 20],
            data_type: data_type::FLOAT,
            raw_data: vec![0; 16].into(),
            ..Default::default()
        };
        let error = read_tensor(&tensor, None).unwrap_err();
        assert!(
            error.contains("claims") && error.contains("holds 4"),
            "{error}"
        );
        let tensor = wire::Tensor {
            dims: vec![i64::MAX, i64::MAX],
            ..tensor
        };
        assert!(read_tensor(&tensor, None).is_err());
    }

    #[test]
    fn shapes_broadcast_from_the_last_axis_on() {
        assert_eq!(broadcast(&[2, 1, 3], &[4, 1]), Ok(vec![2, 4, 3]));
        assert!(broadcast(&[2, 3], &[2]).is_err());
        assert_eq!(spread(&[2, 1], &[2, 2]).collect::<Vec<_>>(), [0, 0, 1, 1]);
    }
}
