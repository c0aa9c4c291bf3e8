//! Entries as the body of an answer: protobuf, JSON or the bare data.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    domain::REQUEST_ID_TAG,
    http::{
        error::Refusal,
        wire::{
            json,
            protobuf::{DataFrame, DataFrameList},
        },
    },
    queue::Frame,
};

use super::{PROTOBUF, REQUEST_ID_HEADER};

/// Forms of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Protobuf,
    Json,
    /// The data of one entry, with its request id in the header.
    Bare,
}

/// Reads the payloads and writes the answer. The room in memory is given back when the answer has
/// left or its client has gone.
pub(super) async fn entries(
    frames: Vec<Frame>,
    form: Form,
    room: Option<OwnedSemaphorePermit>,
) -> Result<Response, Refusal> {
    let frames = load(frames).await?;
    let (kind, bytes, id) = match form {
        Form::Protobuf => {
            let list = DataFrameList { frames };
            (PROTOBUF, list.encode_to_vec().into(), None)
        }
        Form::Json => {
            let list = json::frames(&frames).to_string();
            ("application/json", list.into(), None)
        }
        Form::Bare => {
            let [frame] = <[DataFrame; 1]>::try_from(frames)
                .map_err(|_| Refusal::new(500, "the bare form is for one entry"))?;
            let id = frame.tags.get(REQUEST_ID_TAG);
            let id = id.and_then(|id| HeaderValue::from_str(id).ok());
            ("application/octet-stream", frame.data, id)
        }
    };
    let mut response = ([(header::CONTENT_TYPE, kind)], held(bytes, room)).into_response();
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID_HEADER, id);
    }
    Ok(response)
}

/// Bytes that keep their room in memory for as long as they live.
pub(in crate::http::routes) fn held(bytes: Bytes, room: Option<OwnedSemaphorePermit>) -> Bytes {
    struct Held {
        bytes: Bytes,
        _room: OwnedSemaphorePermit,
    }
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    match room {
        None => bytes,
        Some(room) => Bytes::from_owner(Held { bytes, _room: room }),
    }
}

/// The wire form of entries with their payloads.
async fn load(frames: Vec<Frame>) -> Result<Vec<DataFrame>, Refusal> {
    let small = frames
        .iter()
        .all(|frame| frame.size() <= crate::queue::BLOB_THRESHOLD_BYTES);
    let wire = || {
        frames
            .into_iter()
            .map(wire_frame)
            .collect::<Result<Vec<_>, _>>()
    };
    if small {
        // These are in memory already.
        return Ok(wire()?);
    }
    match tokio::task::spawn_blocking(wire).await {
        Ok(frames) => Ok(frames?),
        Err(_) => Err(Refusal::new(500, "reading the payload failed; try again")),
    }
}

fn wire_frame(mut frame: Frame) -> Result<DataFrame, crate::queue::QueueError> {
    Ok(DataFrame {
        index: frame.index,
        tags: frame
            .tags
            .iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
        data: frame.take_data().into_bytes()?,
        message: frame.message,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn an_answer_keeps_its_room_until_its_last_byte_has_left() {
        let places = Arc::new(Semaphore::new(1));
        let room = Arc::clone(&places).try_acquire_owned().unwrap();
        let mut answer = held(Bytes::from_static(b"answer"), Some(room));
        let first = answer.split_to(3);
        drop(first);
        assert_eq!((places.available_permits(), &answer[..]), (0, &b"wer"[..]));
        drop(answer);
        assert_eq!(places.available_permits(), 1);
    }
}
