//! Writes safetensors files.

use std::collections::BTreeMap;
use std::io::{self, Write};

use half::f16;
use half::slice::HalfFloatSliceExt as _;
use serde_json::{Map, Value, json};

use super::header::LENGTH_BYTES;

/// How the numbers of a file are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In 32 bits, as they are.
    Full,
    /// In 16 bits.
    Half,
}

/// A tensor for a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Named<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its sizes; none for a single number.
    pub shape: &'a [usize],
    /// Its numbers, the last axis running fastest.
    pub numbers: &'a [f32],
}

/// Writes tensors in their order, which has to be one in which names do not come twice, and what the
/// file says of itself.
pub fn write_safetensors(
    tensors: &[Named<'_>],
    metadata: &BTreeMap<String, String>,
    kept: Kept,
    to: &mut impl Write,
) -> io::Result<()> {
    let (dtype, bytes) = match kept {
        Kept::Full => ("F32", 4),
        Kept::Half => ("F16", 2),
    };
    let mut head = Map::new();
    if !metadata.is_empty() {
        head.insert("__metadata__".into(), json!(metadata));
    }
    let mut start = 0;
    for tensor in tensors {
        let end = start + tensor.numbers.len() * bytes;
        let place = json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end]});
        head.insert(tensor.name.into(), place);
        start = end;
    }
    let mut head = Value::Object(head).to_string();
    // Numbers begin at a multiple of their size, so that readers can take them where they are.
    let length = head.len().next_multiple_of(LENGTH_BYTES);
    head.extend(std::iter::repeat_n(' ', length - head.len()));
    to.write_all(&(length as u64).to_le_bytes())?;
    to.write_all(head.as_bytes())?;
    for tensor in tensors {
        match kept {
            Kept::Full => {
                let numbers = tensor.numbers.iter();
                let bytes: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
                to.write_all(&bytes)?;
            }
            Kept::Half => {
                let mut numbers = vec![f16::ZERO; tensor.numbers.len()];
                numbers.convert_from_f32_slice(tensor.numbers);
                let numbers = numbers.iter();
                let bytes: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
                to.write_all(&bytes)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Container;
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let first = [1.0, -2.5, 0.0, 4.0, 5.0, 6.0];
        let tensors = [
            Named {
                name: "b",
                shape: &[2, 3],
                numbers: &first,
            },
            Named {
                name: "a.alpha",
                shape: &[],
                numbers: &[0.5],
            },
        ];
        let metadata = BTreeMap::from([(String::from("ss_v2"), String::from("False"))]);
        for (kept, bytes) in [(Kept::Full, 28), (Kept::Half, 14)] {
            let mut file = Vec::new();
            write_safetensors(&tensors, &metadata, kept, &mut file).unwrap();
            let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            assert_eq!(length % 8, 0);
            assert_eq!(file.len(), 8 + length + bytes);
            let read = Container::from_bytes("test", file).unwrap();
            assert_eq!(read.metadata(), &metadata);
            let tensor = read.get("b").unwrap();
            assert_eq!(tensor.shape, [2, 3]);
            assert_eq!(tensor.to_f32().unwrap(), first);
            assert_eq!(read.get("a.alpha").unwrap().to_f32().unwrap(), [0.5]);
            assert!(read.get("a.alpha").unwrap().shape.is_empty());
        }
    }
}
