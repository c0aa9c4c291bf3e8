//! The device that was asked for, if it is there.

use crate::{
    config::DeviceChoice,
    models::backend::{Device, cuda_devices},
};

/// The device to use. The error says what is missing and what to do.
pub fn choose(choice: DeviceChoice) -> Result<Device, String> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Auto => Ok(match cuda_devices() {
            Ok(_) => Device::Cuda(0),
            Err(_) => Device::Cpu,
        }),
        DeviceChoice::Cuda(number) => {
            let number = number as usize;
            match cuda_devices() {
                Ok(count) if number < count => Ok(Device::Cuda(number)),
                Ok(count) => Err(format!(
                    "device cuda:{number} was asked for, and there are {count} GPUs, counted from \
                     0; choose one of them"
                )),
                Err(reason) => Err(format!(
                    "device cuda:{number} was asked for, and {reason}; install the driver, or use \
                     --device cpu"
                )),
            }
        }
    }
}
