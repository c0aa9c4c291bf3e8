//! Wire forms of the queue protocol. They never leave `http`.

pub mod duration;
pub mod json;
pub mod protobuf;
