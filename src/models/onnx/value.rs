//! What flows between operators.

use std::sync::{Arc, OnceLock};

use burn::tensor::ops::FloatTensor;

use super::host::{Host, MAX_RANK, span};
use super::kernels::{Kernels, plain};

/// Most numbers of one tensor: 1 GiB.
pub const MAX_ELEMENTS: usize = 1 << 28;

/// Why a tensor without numbers is refused where it meets pixels.
pub const NOTHING: &str = "one of its tensors has no numbers";

/// A tensor of the file, on the device as soon as an operator wants it there.
pub struct Constant<B: Kernels> {
    host: Host,
    device: OnceLock<FloatTensor<B>>,
}

/// What flows between operators.
pub enum Value<B: Kernels> {
    /// On the device.
    Device(FloatTensor<B>),
    /// In ordinary memory.
    Host(Host),
    /// Part of the file.
    Constant(Arc<Constant<B>>),
}

impl<B: Kernels> Clone for Value<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Device(tensor) => Self::Device(tensor.clone()),
            Self::Host(host) => Self::Host(host.clone()),
            Self::Constant(constant) => Self::Constant(Arc::clone(constant)),
        }
    }
}

impl<B: Kernels> Value<B> {
    /// A tensor of the file.
    pub fn constant(host: Host) -> Self {
        Self::Constant(Arc::new(Constant {
            host,
            device: OnceLock::new(),
        }))
    }

    /// Its sizes.
    pub fn sizes(&self) -> Vec<usize> {
        match self {
            Self::Device(tensor) => plain::sizes(tensor),
            Self::Host(host) => host.shape.clone(),
            Self::Constant(constant) => constant.host.shape.clone(),
        }
    }

    /// The tensor in ordinary memory, if it lies there.
    pub fn host(&self) -> Option<&Host> {
        match self {
            Self::Device(_) => None,
            Self::Host(host) => Some(host),
            Self::Constant(constant) => Some(&constant.host),
        }
    }

    /// The tensor on the device, where there are none without numbers.
    pub fn device(&self, device: &B::Device) -> Result<FloatTensor<B>, String> {
        let upload = |host: &Host| {
            if host.len() == 0 {
                return Err(NOTHING.into());
            }
            Ok::<_, String>(plain::upload::<B>(
                host.as_floats()?.to_vec(),
                &host.shape,
                device,
            ))
        };
        match self {
            Self::Device(tensor) => Ok(tensor.clone()),
            Self::Host(host) => upload(host),
            Self::Constant(constant) => match constant.device.get() {
                Some(tensor) => Ok(tensor.clone()),
                None => {
                    let tensor = upload(&constant.host)?;
                    Ok(constant.device.get_or_init(|| tensor).clone())
                }
            },
        }
    }
}

/// The inputs of one operator.
pub struct Inputs<'a, B: Kernels>(pub Vec<Option<&'a Value<B>>>);

impl<'a, B: Kernels> Inputs<'a, B> {
    /// An input that may be left out.
    pub fn get(&self, index: usize) -> Option<&'a Value<B>> {
        self.0.get(index).copied().flatten()
    }

    /// An input that may not.
    pub fn need(&self, index: usize) -> Result<&'a Value<B>, String> {
        self.get(index)
            .ok_or_else(|| format!("its input {index} is missing"))
    }

    /// An input that has to be in ordinary memory.
    pub fn host(&self, index: usize) -> Result<Option<&'a Host>, String> {
        match self.get(index) {
            None => Ok(None),
            Some(value) => value.host().map(Some).ok_or_else(|| {
                format!("its input {index} is computed from pixels, which is not supported")
            }),
        }
    }

    /// A list of integers.
    pub fn ints(&self, index: usize) -> Result<Option<Vec<i64>>, String> {
        self.host(index)?
            .map(|host| host.as_ints().map(<[i64]>::to_vec))
            .transpose()
    }

    /// One number.
    pub fn number(&self, index: usize, default: f32) -> Result<f32, String> {
        let Some(host) = self.host(index)? else {
            return Ok(default);
        };
        match host.as_floats()? {
            [value] => Ok(*value),
            _ => Err(format!("its input {index} is not one number")),
        }
    }
}

/// Refuses a tensor that is larger than any network for a portrait needs.
pub fn limited(shape: &[usize]) -> Result<(), String> {
    match span(shape) {
        Some(count) if count <= MAX_ELEMENTS && shape.len() <= MAX_RANK => Ok(()),
        _ => Err(format!(
            "it would make a tensor of the sizes {shape:?}, which is too large"
        )),
    }
}

/// The sizes of a batch of pictures.
pub fn pictures(sizes: &[usize]) -> Result<[usize; 4], String> {
    <[usize; 4]>::try_from(sizes)
        .ok()
        .filter(|sizes| !sizes.contains(&0))
        .ok_or_else(|| format!("its input has the sizes {sizes:?}, where pictures were expected"))
}

/// Finds an axis that may be counted from the end.
pub fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let found = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(found)
        .ok()
        .filter(|&axis| axis < rank)
        .ok_or_else(|| format!("it names the axis {axis} of {rank}"))
}

/// Finds several axes, in rising order.
pub fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    let mut found = list
        .iter()
        .map(|&one| axis(one, rank))
        .collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    if found.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("it names an axis twice".into());
    }
    Ok(found)
}

/// Sizes from integers, none of which may be negative.
pub fn sizes_of(list: &[i64]) -> Result<Vec<usize>, String> {
    list.iter()
        .map(|&size| usize::try_from(size).map_err(|_| format!("it names the size {size}")))
        .collect()
}
