//! Where networks run: the one place that knows which backends of Burn are built in.

use std::fmt;
use std::path::Path;

use burn::DispatchDevice;
use burn::backend::cuda::CudaDevice;

/// A device for networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor of this machine.
    Cpu,
    /// An NVIDIA GPU, by its number.
    Cuda(usize),
}

impl Device {
    /// The same for Burn.
    pub(super) fn dispatch(self) -> DispatchDevice {
        match self {
            Self::Cpu => DispatchDevice::Flex(burn::backend::flex::FlexDevice),
            Self::Cuda(index) => DispatchDevice::Cuda(CudaDevice::new(index)),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// How many NVIDIA GPUs can be used. The error says why there is none.
pub fn cuda_devices() -> Result<usize, String> {
    use burn::tensor::backend::Backend;

    // The driver's library panics where it is missing, so the driver itself is looked for first.
    let driver = ["/dev/nvidiactl", "/dev/dxg"]
        .iter()
        .any(|node| Path::new(node).exists());
    if !driver {
        return Err("no NVIDIA driver is loaded on this machine".into());
    }
    match std::panic::catch_unwind(|| burn::backend::Cuda::<f32, i32>::device_count(0)) {
        Ok(0) => Err("the NVIDIA driver finds no GPU".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("the library of the NVIDIA driver (libcuda) cannot be loaded".into()),
    }
}
