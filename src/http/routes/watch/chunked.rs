//! Watching without an upgrade: each entry as a length of four bytes, big endian, and its bytes.
//!
//! Nothing comes in from such a client, so its link lives as long as its connection: it ends when
//! the client closes, stops reading, or its machine no longer answers.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, watch::Receiver};

use crate::{
    http::{error::Refusal, patience::Flushes, state::until, wire::json},
    queue::Push,
};

use super::{Call, Link, Wants};

/// The answer to a watch without an upgrade.
pub(in crate::http::routes) async fn chunked(
    call: &Call<'_>,
    wants: Wants,
) -> Result<Response, Refusal> {
    let flushes = call.parts.extensions.get::<Flushes>();
    let chunks = Chunks {
        flushes: flushes.cloned().unwrap_or_default(),
        link: Link::open(call.app, &call.queue, wants).await?,
        under_way: None,
    };
    let stream = futures_util::stream::unfold(chunks, |mut chunks| async move {
        let chunk = chunks.next().await?;
        Some((Ok::<_, Infallible>(chunk), chunks))
    });
    let kind = [("content-type", "application/octet-stream")];
    Ok((kind, Body::from_stream(stream)).into_response())
}

struct Chunks {
    link: Link,
    flushes: Flushes,
    under_way: Option<UnderWay>,
}

/// An entry that was given to the connection.
struct UnderWay {
    index: u64,
    flushed: Receiver<u64>,
    /// Its bytes lie in memory until they have left.
    _room: Option<OwnedSemaphorePermit>,
}

impl Chunks {
    /// The next entry; `None` when the link has to end.
    async fn next(&mut self) -> Option<Bytes> {
        let life = Arc::clone(&self.link.life);
        let mut stopping = self.link.app.stopping();
        tokio::select! {
            chunk = self.next_entry() => chunk,
            () = life.replaced.notified() => None,
            () = until(&mut stopping) => None,
        }
    }

    async fn next_entry(&mut self) -> Option<Bytes> {
        if let Some(mut entry) = self.under_way.take() {
            // A connection asks for more before it has sent what it has, so being asked says
            // nothing. A client that does not read shows no life here.
            entry.flushed.changed().await.ok()?;
            self.link.went_out(entry.index);
        }
        loop {
            self.link.confirm_in_time().await;
            let push = tokio::select! {
                push = self.link.pushes.recv() => push?,
                () = self.link.life.probe.notified() => {
                    self.link.life.seen.notify_waiters();
                    continue;
                }
            };
            if let Some(chunk) = self.encode(&push).await? {
                return Some(chunk);
            }
        }
    }

    /// `Some(None)` when the entry was deleted meanwhile, `None` when it cannot be read.
    async fn encode(&mut self, push: &Push) -> Option<Option<Bytes>> {
        let (frame, room) = match self.link.frame(push).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Some(None),
            Err(error) => {
                tracing::warn!(%error, "an entry could not be read for a watcher");
                return None;
            }
        };
        let bytes = if self.link.json {
            json::frame(&frame).to_string().into_bytes()
        } else {
            frame.encode_to_vec()
        };
        let mut chunk = BytesMut::with_capacity(4 + bytes.len());
        chunk.put_u32(bytes.len() as u32);
        chunk.put_slice(&bytes);
        self.under_way = Some(UnderWay {
            index: push.index,
            flushed: self.flushes.next(),
            _room: room,
        });
        Some(Some(chunk.freeze()))
    }
}
