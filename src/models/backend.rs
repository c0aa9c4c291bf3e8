//! Where networks run: the one place that knows which backends of Burn are built in.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::nvidia;
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
    /// The device of this name, as it is displayed.
    pub fn named(name: &str) -> Option<Self> {
        match name.strip_prefix("cuda:") {
            Some(number) => number.parse().ok().map(Self::Cuda),
            None => (name == "cpu").then_some(Self::Cpu),
        }
    }

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

/// Memory of a GPU that is never there for networks: the driver's own, kernels, what is between pieces.
const GPU_RESERVE: u64 = 600_000_000;

/// Memory that is there for networks: on a GPU all of it but for what the driver takes, on the processor
/// what the system says is free. `None` where that is not told.
pub fn memory(device: Device) -> Option<u64> {
    match device {
        Device::Cpu => {
            let text = std::fs::read_to_string("/proc/meminfo").ok()?;
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("MemAvailable:"))?;
            let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
            Some(kib * 1024)
        }
        Device::Cuda(index) => {
            let driver = nvidia::driver().ok()?;
            Some(driver.gpus.get(index)?.bytes.saturating_sub(GPU_RESERVE))
        }
    }
}

/// Runs what may panic inside of a device's library. The error is what the panic said; what the work has
/// left half done must not be looked at again.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        said.unwrap_or("it gave no reason").to_owned()
    })
}

/// Files of a driver in a machine, and in Windows' Linux.
pub const DRIVER_NODES: [&str; 2] = ["/dev/nvidiactl", "/dev/dxg"];

/// How many NVIDIA GPUs can be used. The error says why there is none.
pub fn cuda_devices() -> Result<usize, String> {
    use burn::tensor::backend::Backend;

    // The driver's library panics where it is missing, so the driver itself is looked for first.
    let driver = DRIVER_NODES.iter().any(|node| Path::new(node).exists());
    if !driver {
        return Err("no NVIDIA driver is loaded on this machine".into());
    }
    match catch_unwind(|| burn::backend::Cuda::<f32, i32>::device_count(0)) {
        Ok(0) => Err("the NVIDIA driver finds no GPU".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("the library of the NVIDIA driver (libcuda) cannot be loaded".into()),
    }
}
