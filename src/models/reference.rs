//! Expected values of the diffusion networks, for tests. `tests/reference` makes the files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::Tensor;
use burn::tensor::TensorData;
use safetensors::{Dtype, SafeTensors};

use super::backend::Device;
use super::nn::{Kernels, Maps, Place, Precision, Tokens};

/// The folder of the files.
pub fn folder() -> PathBuf {
    let manifest = env!("CARGO_MANIFEST_DIR");
    Path::new(manifest).join("tests/reference/fixtures/diffusion")
}

/// The tensors of a file.
pub struct Fixture(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Fixture {
    /// Reads a file.
    pub fn open(name: &str) -> Self {
        let bytes = std::fs::read(folder().join(name)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let read = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
            let data = view.data();
            let four = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).unwrap();
            let numbers = match view.dtype() {
                Dtype::F32 => data
                    .chunks_exact(4)
                    .map(|bytes| f32::from_le_bytes(four(bytes)))
                    .collect(),
                Dtype::I32 => data
                    .chunks_exact(4)
                    .map(|bytes| i32::from_le_bytes(four(bytes)) as f32)
                    .collect(),
                Dtype::F16 => data
                    .chunks_exact(2)
                    .map(|bytes| half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32())
                    .collect(),
                Dtype::U8 => data.iter().map(|&byte| f32::from(byte)).collect(),
                other => panic!("{name} is of the kind {other:?}"),
            };
            (name.to_owned(), (view.shape().to_vec(), numbers))
        };
        Self(file.iter().map(read).collect())
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The numbers of a tensor.
    pub fn numbers(&self, name: &str) -> &[f32] {
        &self.get(name).1
    }

    /// The sizes of a tensor.
    pub fn sizes(&self, name: &str) -> &[usize] {
        &self.get(name).0
    }

    /// The same numbers as 64-bit floats.
    pub fn wide(&self, name: &str) -> Vec<f64> {
        self.numbers(name).iter().map(|&x| f64::from(x)).collect()
    }

    /// A tensor as it stands.
    pub fn tensor<B: OnCpu, const D: usize>(&self, name: &str) -> Tensor<B, D> {
        let (sizes, numbers) = self.get(name);
        let data = TensorData::new(numbers.clone(), sizes.clone());
        Tensor::from_data(data, &B::cpu())
    }

    /// Tokens `[b, s, c]`.
    pub fn tokens<B: OnCpu>(&self, name: &str) -> Tokens<B> {
        self.tensor(name)
    }

    /// Feature maps, which the files have as `[b, c, h, w]`.
    pub fn maps<B: OnCpu>(&self, name: &str) -> Maps<B> {
        self.tensor(name).permute([0, 2, 3, 1])
    }

    /// That maps are those of the file, up to a share of its largest number.
    #[track_caller]
    pub fn same_maps<B: Kernels>(&self, name: &str, got: Maps<B>, tolerance: f32) {
        self.same(name, got.permute([0, 3, 1, 2]), tolerance);
    }

    /// That a tensor is that of the file, up to a share of its largest number.
    #[track_caller]
    pub fn same<B: Kernels, const D: usize>(&self, name: &str, got: Tensor<B, D>, tolerance: f32) {
        let (sizes, wanted) = self.get(name);
        assert_eq!(got.dims().as_slice(), sizes.as_slice(), "sizes of {name}");
        let got = got.into_data().into_vec::<f32>().unwrap();
        let largest = wanted.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let apart = got.iter().zip(wanted).fold(0.0_f32, |most, (a, b)| {
            // A number that is none is apart from all.
            if a.is_nan() {
                f32::INFINITY
            } else {
                most.max((a - b).abs())
            }
        });
        let share = apart / largest;
        assert!(share <= tolerance, "{name}: {share} of the largest number");
    }

    fn get(&self, name: &str) -> &(Vec<usize>, Vec<f32>) {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("the fixture has no {name}"))
    }
}

/// A backend with the device that tests run on.
pub trait OnCpu: Kernels {
    /// The CPU of this backend.
    fn cpu() -> Self::Device;
}

impl OnCpu for burn::backend::Flex {
    fn cpu() -> Self::Device {
        burn::backend::flex::FlexDevice
    }
}

impl OnCpu for burn::Dispatch {
    fn cpu() -> Self::Device {
        Device::Cpu.dispatch()
    }
}

/// The device of tests, in full precision.
pub fn place<B: OnCpu>() -> Place<B> {
    Place {
        device: B::cpu(),
        precision: Precision::Full,
    }
}
