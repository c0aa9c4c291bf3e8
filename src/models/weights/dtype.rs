//! Types of numbers in a safetensors file, and their way to `f32`.

use half::slice::HalfFloatSliceExt as _;
use half::{bf16, f16};

/// How many numbers are turned at once; small enough for the stack and the first cache.
const BLOCK: usize = 2048;

/// The type of a tensor's numbers, as safetensors spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// `F64`: IEEE double.
    F64,
    /// `F32`: IEEE single.
    F32,
    /// `F16`: IEEE half.
    F16,
    /// `BF16`: the upper half of an IEEE single.
    Bf16,
    /// `F8_E4M3`: 4 bits of exponent, 3 of mantissa, no infinity.
    F8E4m3,
    /// `F8_E5M2`: the upper half of an IEEE half.
    F8E5m2,
    /// `I64`: signed integer.
    I64,
    /// Another type of whole bytes, which can be stored but not used as weights.
    Other {
        /// The file's name for it.
        name: &'static str,
        /// Size of a number in bytes.
        bytes: usize,
    },
}

/// Types that are only stored. Those of parts of a byte (`F4`, `F6_E2M3`, `F6_E3M2`) are not here:
/// no model of this kind has them.
const OTHERS: [(&str, usize); 10] = [
    ("BOOL", 1),
    ("U8", 1),
    ("I8", 1),
    ("F8_E8M0", 1),
    ("I16", 2),
    ("U16", 2),
    ("I32", 4),
    ("U32", 4),
    ("U64", 8),
    ("C64", 8),
];

impl Dtype {
    /// The type with this name, if it is known.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "F64" => Self::F64,
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "F8_E4M3" => Self::F8E4m3,
            "F8_E5M2" => Self::F8E5m2,
            "I64" => Self::I64,
            _ => {
                let (name, bytes) = *OTHERS.iter().find(|(known, _)| *known == name)?;
                Self::Other { name, bytes }
            }
        })
    }

    /// Size of a number in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F8E4m3 | Self::F8E5m2 => 1,
            Self::Other { bytes, .. } => bytes,
        }
    }

    /// The file's name for the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F8E4m3 => "F8_E4M3",
            Self::F8E5m2 => "F8_E5M2",
            Self::I64 => "I64",
            Self::Other { name, .. } => name,
        }
    }

    /// Whether such numbers can be weights.
    pub fn is_float(self) -> bool {
        !matches!(self, Self::I64 | Self::Other { .. })
    }

    /// The numbers of little-endian bytes; `None` for a type that is no float.
    ///
    /// `F64` is rounded; all other types are exact.
    pub(super) fn to_f32(self, bytes: &[u8]) -> Option<Vec<f32>> {
        Some(match self {
            Self::F64 => each(bytes, |number| f64::from_le_bytes(number) as f32),
            Self::F32 => each(bytes, f32::from_le_bytes),
            Self::F16 => halves(bytes, f16::from_le_bytes, |from, to| {
                from.convert_to_f32_slice(to);
            }),
            Self::Bf16 => halves(bytes, bf16::from_le_bytes, |from, to| {
                from.convert_to_f32_slice(to);
            }),
            Self::F8E4m3 => looked_up(bytes, e4m3),
            Self::F8E5m2 => looked_up(bytes, |byte| f16::from_bits(u16::from(byte) << 8).to_f32()),
            Self::I64 | Self::Other { .. } => return None,
        })
    }

    /// The integers of little-endian bytes; `None` for a type other than `I64`.
    pub(super) fn to_i64(self, bytes: &[u8]) -> Option<Vec<i64>> {
        (self == Self::I64).then(|| each(bytes, i64::from_le_bytes))
    }
}

fn each<const N: usize, T>(bytes: &[u8], turn: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|&chunk| turn(chunk))
        .collect()
}

/// Block by block, since the processor's own instruction for halves takes several at once.
fn halves<H: Copy + Default>(
    bytes: &[u8],
    read: impl Fn([u8; 2]) -> H,
    turn: impl Fn(&[H], &mut [f32]),
) -> Vec<f32> {
    let chunks = bytes.as_chunks().0;
    let mut numbers = vec![0.0; chunks.len()];
    let mut block = [H::default(); BLOCK];
    for (from, to) in chunks.chunks(BLOCK).zip(numbers.chunks_mut(BLOCK)) {
        for (slot, &chunk) in block.iter_mut().zip(from) {
            *slot = read(chunk);
        }
        turn(&block[..from.len()], to);
    }
    numbers
}

fn looked_up(bytes: &[u8], turn: impl Fn(u8) -> f32) -> Vec<f32> {
    let table: [f32; 256] = std::array::from_fn(|byte| turn(byte as u8));
    bytes.iter().map(|&byte| table[usize::from(byte)]).collect()
}

/// Sign, 4 bits of exponent with bias 7, 3 of mantissa; the largest pattern is not a number
/// (Micikevicius et al. 2022, "FP8 Formats for Deep Learning", table 1).
fn e4m3(byte: u8) -> f32 {
    let (exponent, mantissa) = (byte >> 3 & 15, f32::from(byte & 7));
    let size = match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa * 2.0_f32.powi(-9),
        _ => (1.0 + mantissa / 8.0) * 2.0_f32.powi(i32::from(exponent) - 7),
    };
    if byte & 0x80 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_float_type_gives_its_numbers() {
        let cases: [(&str, &[u8], f32); 8] = [
            ("F64", &0.1_f64.to_le_bytes(), 0.1),
            ("F32", &(-0.1_f32).to_le_bytes(), -0.1),
            ("F16", &[0x00, 0x3e], 1.5),
            ("F16", &[0x01, 0x00], 5.960_464_5e-8),
            ("BF16", &[0xc0, 0x3f], 1.5),
            ("F8_E4M3", &[0x01], 0.001_953_125),
            ("F8_E4M3", &[0xfe], -448.0),
            ("F8_E5M2", &[0x7b], 57_344.0),
        ];
        for (name, bytes, wanted) in cases {
            let dtype = Dtype::parse(name).unwrap();
            assert_eq!(dtype.name(), name);
            assert_eq!(dtype.bytes(), bytes.len(), "{name}");
            assert_eq!(dtype.to_f32(bytes).unwrap(), [wanted], "{name}");
        }
        assert!(e4m3(0x7f).is_nan() && e4m3(0xff).is_nan());
    }

    #[test]
    fn long_halves_come_in_their_order() {
        let numbers: Vec<f32> = (0..BLOCK * 2 + 7).map(|n| (n % 2049) as f32).collect();
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|&number| f16::from_f32(number).to_le_bytes())
            .collect();
        assert_eq!(Dtype::F16.to_f32(&bytes).unwrap(), numbers);
    }

    #[test]
    fn what_is_no_float_is_not_taken_for_one() {
        for name in ["I64", "BOOL", "U8", "I32", "C64", "F8_E8M0"] {
            let dtype = Dtype::parse(name).unwrap();
            assert_eq!(dtype.name(), name);
            assert!(dtype.to_f32(&[0; 8]).is_none(), "{name}");
        }
        assert_eq!(Dtype::I64.to_i64(&(-3_i64).to_le_bytes()).unwrap(), [-3]);
        assert!(Dtype::parse("F4").is_none());
    }
}
