//! Queue entries as JSON: `data` in base64, `message` only where there is one.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::protobuf::DataFrame;

/// One entry.
pub fn frame(frame: &DataFrame) -> Value {
    let tags: Map<String, Value> = frame
        .tags
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let mut object = json!({
        "index": frame.index,
        "tags": tags,
        "data": BASE64_STANDARD.encode(&frame.data),
    });
    if !frame.message.is_empty() {
        object["message"] = frame.message.as_str().into();
    }
    object
}

/// A list of entries.
pub fn frames(frames: &[DataFrame]) -> Value {
    frames.iter().map(frame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_appears_only_where_there_is_one() {
        let mut entry = DataFrame {
            index: 7,
            data: "hi".into(),
            ..DataFrame::default()
        };
        assert_eq!(
            frame(&entry).to_string(),
            r#"{"index":7,"tags":{},"data":"aGk="}"#
        );
        entry.message = String::from("died");
        assert_eq!(frame(&entry)["message"], "died");
    }
}
