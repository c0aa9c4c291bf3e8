//! The ONNX file format: the part of its protobuf messages that a network for inference uses.
//!
//! Field numbers are those of the ONNX schema (`onnx.proto`, IR version 10). Fields that are not
//! named here are skipped while reading. What would change the meaning of a network if it were
//! skipped (subgraphs, functions, sparse weights) is named, so that it can be refused.

use prost::Message;
use prost::bytes::{Buf, Bytes};

/// Largest file that is read: several times the largest published face network.
pub const MAX_FILE: u64 = 1 << 30;
/// Most messages that a file may hold; each costs a few hundred bytes once it is decoded.
const MAX_MESSAGES: usize = 400_000;
/// Most bytes of integers that a file may hold; each may grow to eight bytes.
const MAX_INTEGER_BYTES: usize = 32 << 20;

#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSet>,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(bytes = "bytes", repeated, tag = "25")]
    pub functions: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub struct OperatorSet {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfo>,
    #[prost(bytes = "bytes", repeated, tag = "15")]
    pub sparse_initializer: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(float, tag = "2")]
    pub f: f32,
    #[prost(int64, tag = "3")]
    pub i: i64,
    #[prost(bytes = "bytes", tag = "4")]
    pub s: Bytes,
    #[prost(message, optional, tag = "5")]
    pub t: Option<Tensor>,
    #[prost(float, repeated, tag = "7")]
    pub floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    pub kind: i32,
    #[prost(string, tag = "21")]
    pub reference: String,
}

/// Values of [`Attribute::kind`].
pub mod attribute_kind {
    pub const FLOAT: i32 = 1;
    pub const INT: i32 = 2;
    pub const STRING: i32 = 3;
    pub const TENSOR: i32 = 4;
    pub const FLOATS: i32 = 6;
    pub const INTS: i32 = 7;
}

#[derive(Clone, PartialEq, Message)]
pub struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "bytes", tag = "9")]
    pub raw_data: Bytes,
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<Entry>,
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

/// Values of [`Tensor::data_type`].
pub mod data_type {
    pub const FLOAT: i32 = 1;
    pub const INT32: i32 = 6;
    pub const INT64: i32 = 7;
    pub const BOOL: i32 = 9;
    pub const FLOAT16: i32 = 10;
    pub const DOUBLE: i32 = 11;
}

#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ValueInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Type {
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TensorType {
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShape>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TensorShape {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Dimension {
    #[prost(int64, tag = "1")]
    pub dim_value: i64,
}

/// Reads a model; the error says why it is none. Weights stay in `bytes` and are not copied.
pub fn read(bytes: Bytes) -> Result<Model, String> {
    let mut count = Count::default();
    count.message(&bytes, MODEL)?;
    Model::decode(bytes).map_err(|error| format!("it is no ONNX file: {error}"))
}

/// Which fields of a message are messages, and which are integers in a row.
struct Layout {
    messages: &'static [(u32, &'static Layout)],
    integers: &'static [u32],
}

const LEAF: &Layout = &Layout {
    messages: &[],
    integers: &[],
};
const TENSOR: &Layout = &Layout {
    messages: &[(13, LEAF)],
    integers: &[1, 5, 7],
};
const ATTRIBUTE: &Layout = &Layout {
    messages: &[(5, TENSOR)],
    integers: &[8],
};
const NODE: &Layout = &Layout {
    messages: &[(1, LEAF), (2, LEAF), (5, ATTRIBUTE)],
    integers: &[],
};
const SHAPE: &Layout = &Layout {
    messages: &[(1, LEAF)],
    integers: &[],
};
const TENSOR_TYPE: &Layout = &Layout {
    messages: &[(2, SHAPE)],
    integers: &[],
};
const TYPE: &Layout = &Layout {
    messages: &[(1, TENSOR_TYPE)],
    integers: &[],
};
const VALUE_INFO: &Layout = &Layout {
    messages: &[(2, TYPE)],
    integers: &[],
};
const GRAPH: &Layout = &Layout {
    messages: &[
        (1, NODE),
        (5, TENSOR),
        (11, VALUE_INFO),
        (12, VALUE_INFO),
        (15, LEAF),
    ],
    integers: &[],
};
const MODEL: &Layout = &Layout {
    messages: &[(7, GRAPH), (8, LEAF), (25, LEAF)],
    integers: &[],
};

/// Counts what decoding would allocate, before anything is decoded.
#[derive(Default)]
struct Count {
    messages: usize,
    integers: usize,
}

impl Count {
    fn message(&mut self, mut bytes: &[u8], layout: &Layout) -> Result<(), String> {
        const DAMAGED: &str = "it is no ONNX file, or it is cut off";
        while !bytes.is_empty() {
            let key = varint(&mut bytes).ok_or(DAMAGED)?;
            let field = u32::try_from(key >> 3).map_err(|_| DAMAGED)?;
            match key & 7 {
                0 => {
                    varint(&mut bytes).ok_or(DAMAGED)?;
                    self.integers += usize::from(layout.integers.contains(&field));
                }
                1 => bytes = bytes.get(8..).ok_or(DAMAGED)?,
                5 => bytes = bytes.get(4..).ok_or(DAMAGED)?,
                2 => {
                    let length = varint(&mut bytes).ok_or(DAMAGED)?;
                    let length = usize::try_from(length).map_err(|_| DAMAGED)?;
                    let body = bytes.get(..length).ok_or(DAMAGED)?;
                    bytes = &bytes[length..];
                    if layout.integers.contains(&field) {
                        self.integers += length;
                    }
                    if let Some((_, inner)) = layout.messages.iter().find(|(tag, _)| *tag == field)
                    {
                        self.messages += 1;
                        if !std::ptr::eq(*inner, LEAF) {
                            self.message(body, inner)?;
                        }
                    }
                }
                _ => return Err(DAMAGED.into()),
            }
            if self.messages > MAX_MESSAGES || self.integers > MAX_INTEGER_BYTES {
                return Err(format!(
                    "it has more than {MAX_MESSAGES} parts or {MAX_INTEGER_BYTES} bytes of integers, \
                     which no face network has"
                ));
            }
        }
        Ok(())
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        if !bytes.has_remaining() {
            return None;
        }
        let byte = bytes.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
