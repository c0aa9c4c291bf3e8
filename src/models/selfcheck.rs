//! Small products on a device beside those of the processor: whether it computes, and computes right.
//!
//! Drivers, compilers and headers fit each other only when a kernel has been compiled and run; version
//! numbers do not show it.

use std::fmt;

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, TensorData};
use burn::{Dispatch, Tensor};

use super::backend::{Device, caught};

/// A product that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Of matrices of 32-bit floats.
    Matrices,
    /// Of matrices of 16-bit floats with the range of 32 (bfloat16).
    HalfMatrices,
    /// A convolution of 32-bit floats.
    Convolution,
}

impl Product {
    /// All of them, the plainest first.
    pub const ALL: [Self; 3] = [Self::Matrices, Self::HalfMatrices, Self::Convolution];

    /// Most difference that is right, as a share of the largest number. GPUs multiply 32-bit floats with
    /// 10 bits of mantissa; bfloat16 has 7.
    fn tolerance(self) -> f32 {
        match self {
            Self::Matrices | Self::Convolution => 5e-3,
            Self::HalfMatrices => 3e-2,
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Matrices => "matrices of 32-bit floats",
            Self::HalfMatrices => "matrices of bfloat16",
            Self::Convolution => "a convolution",
        })
    }
}

/// Makes a product on a device and on the processor. The error says in which way the device fails; its
/// library's panics are errors too.
pub fn try_product(product: Product, device: Device) -> Result<(), String> {
    // The product is made of constants, and nothing of it is looked at after a panic.
    let made = caught(|| compute(product, device))??;
    let wanted = compute(product, Device::Cpu)?;
    compare(&wanted, &made, product.tolerance())
}

/// In the precision of the product on a GPU, and in 32-bit floats on the processor.
fn compute(product: Product, device: Device) -> Result<Vec<f32>, String> {
    let dtype = match (product, device) {
        (Product::HalfMatrices, Device::Cuda(_)) => DType::BF16,
        _ => DType::F32,
    };
    let made: Tensor<Dispatch, 1> = match product {
        Product::Matrices | Product::HalfMatrices => {
            let left: Tensor<Dispatch, 2> = input([128, 192], device).cast(dtype);
            let right: Tensor<Dispatch, 2> = input([192, 64], device).cast(dtype);
            left.matmul(right).flatten(0, 1)
        }
        Product::Convolution => {
            let maps: Tensor<Dispatch, 4> = input([1, 32, 16, 16], device);
            let weight: Tensor<Dispatch, 4> = input([32, 32, 3, 3], device);
            let options = ConvOptions::new([1; 2], [1; 2], [1; 2], 1);
            conv2d(maps, weight, None, options).flatten(0, 3)
        }
    };
    let data = made
        .cast(DType::F32)
        .try_into_data()
        .map_err(|error| format!("{error:?}"))?;
    data.into_vec::<f32>().map_err(|error| format!("{error:?}"))
}

/// Numbers between -1 and 1 without an order that a wrong kernel could keep by chance.
fn input<const D: usize>(sizes: [usize; D], device: Device) -> Tensor<Dispatch, D> {
    let count: usize = sizes.iter().product();
    let number = |place: usize| {
        let state = (place as u32).wrapping_mul(2_654_435_761) ^ 0x9E37_79B9;
        (state.wrapping_mul(0x85EB_CA6B) >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let numbers: Vec<f32> = (0..count).map(number).collect();
    Tensor::from_data(TensorData::new(numbers, sizes), &device.dispatch())
}

fn compare(wanted: &[f32], made: &[f32], tolerance: f32) -> Result<(), String> {
    if wanted.len() != made.len() {
        return Err(format!(
            "it gave {} numbers instead of {}",
            made.len(),
            wanted.len()
        ));
    }
    let largest = wanted.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let mut apart = 0.0_f32;
    for (a, b) in wanted.iter().zip(made) {
        if b.is_nan() {
            return Err(String::from("it gave what is no number"));
        }
        apart = apart.max((a - b).abs());
    }
    let share = apart / largest;
    if share <= tolerance {
        return Ok(());
    }
    Err(format!(
        "it is wrong by {share:.1e} of the largest number; at most {tolerance:.0e} is right"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_agrees_with_itself() {
        for product in Product::ALL {
            assert_eq!(try_product(product, Device::Cpu), Ok(()), "{product}");
        }
    }

    #[test]
    fn products_are_those_of_sums_written_out() {
        let made = compute(Product::Matrices, Device::Cpu).unwrap();
        let numbers = |sizes| {
            let data = input::<2>(sizes, Device::Cpu).into_data();
            data.into_vec::<f32>().unwrap()
        };
        let (left, right) = (numbers([128, 192]), numbers([192, 64]));
        let (row, column) = (5, 17);
        let wanted: f32 = (0..192)
            .map(|inner| left[row * 192 + inner] * right[inner * 64 + column])
            .sum();
        assert!((made[row * 64 + column] - wanted).abs() < 1e-4);
    }

    #[test]
    fn wrong_missing_and_no_numbers_are_told() {
        let wanted = [1.0, -2.0, 0.5];
        assert_eq!(compare(&wanted, &[1.0, -2.001, 0.5], 1e-3), Ok(()));
        assert!(compare(&wanted, &[1.0, -1.9, 0.5], 1e-3).is_err());
        assert!(compare(&wanted, &[1.0, -2.0], 1e-3).is_err());
        assert!(compare(&wanted, &[1.0, f32::NAN, 0.5], 1e-3).is_err());
    }
}
