//! Queue entries as protobuf (package `streaming` of the EAS queue service, proto3).

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

/// `DataFrameProto`.
#[derive(Clone, PartialEq, Message)]
pub struct DataFrame {
    /// Index in the queue.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Tags, `requestId` among them.
    #[prost(btree_map = "string, string", tag = "2")]
    pub tags: BTreeMap<String, String>,
    /// The payload.
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
    /// Normally empty.
    #[prost(string, tag = "4")]
    pub message: String,
}

/// `DataFrameListProto`; its list is named `index` on the wire's definition.
#[derive(Clone, PartialEq, Message)]
pub struct DataFrameList {
    /// The entries.
    #[prost(message, repeated, tag = "1")]
    pub frames: Vec<DataFrame>,
}

/// `AttributesProto`.
#[derive(Clone, PartialEq, Message)]
pub struct Attributes {
    /// All attributes.
    #[prost(btree_map = "string, string", tag = "1")]
    pub attributes: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_test_vector_is_met() {
        let frame = DataFrame {
            index: 1033,
            tags: [(String::from("requestId"), String::from("r"))].into(),
            data: Bytes::from_static(b"hi"),
            message: String::from("m"),
        };
        let expected = [
            0x08, 0x89, 0x08, 0x12, 0x0e, 0x0a, 0x09, 0x72, 0x65, 0x71, 0x75, 0x65, 0x73, 0x74,
            0x49, 0x64, 0x12, 0x01, 0x72, 0x1a, 0x02, 0x68, 0x69, 0x22, 0x01, 0x6d,
        ];
        assert_eq!(frame.encode_to_vec(), expected);
        let list = DataFrameList {
            frames: vec![frame],
        }
        .encode_to_vec();
        assert_eq!(list[..2], [0x0a, 0x1a]);
        assert_eq!(list[2..], expected);
        assert!(
            DataFrameList { frames: Vec::new() }
                .encode_to_vec()
                .is_empty()
        );
    }
}
