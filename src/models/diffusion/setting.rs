//! Where networks run, and in which precision.

use burn::Dispatch;
use burn::backend::Flex;
use burn::backend::flex::FlexDevice;

use crate::models::backend::Device;
use crate::models::nn::{Place, Precision};
use crate::models::weights::Container;

/// Where networks run, and in which precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The device.
    pub device: Device,
    /// What weights and activations are kept in; without it what suits the device: 32 bits on the
    /// CPU, bfloat16 on a GPU.
    pub precision: Option<Precision>,
    /// Whether networks run on Burn's own operations on the CPU too, as they do on a GPU. They are
    /// slower there; it is for comparing both.
    pub general: bool,
}

impl Setting {
    /// For a device, with what suits it.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            precision: None,
            general: false,
        }
    }

    /// Whether networks run on Burn's own operations.
    pub(super) fn is_general(self) -> bool {
        self.general || self.device != Device::Cpu
    }

    fn precision(self) -> Precision {
        self.precision.unwrap_or(match self.device {
            Device::Cpu => Precision::Full,
            Device::Cuda(_) => Precision::Bfloat16,
        })
    }

    /// Whether numbers have 32 bits.
    pub(super) fn is_full(self) -> bool {
        self.precision() == Precision::Full
    }

    pub(super) fn cpu(self) -> Place<Flex> {
        Place {
            device: FlexDevice,
            precision: self.precision(),
        }
    }

    /// For Burn's own operations.
    pub fn general(self) -> Place<Dispatch> {
        Place {
            device: self.device.dispatch(),
            precision: self.precision(),
        }
    }

    /// Memory that the tensors of a file take on the device.
    pub(super) fn bytes_of(self, container: &Container) -> u64 {
        let numbers = container
            .names()
            .filter_map(|name| container.get(name))
            .map(|view| view.shape.iter().product::<usize>() as u64);
        let each = match self.precision() {
            Precision::Full => 4,
            Precision::Bfloat16 | Precision::Float16 => 2,
        };
        numbers.sum::<u64>() * each
    }
}
