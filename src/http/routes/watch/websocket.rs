//! Watching over a WebSocket: one entry in each message.
//!
//! The link is alive as long as anything comes in from the client, pings and pongs included. A
//! client that does not read is ended by the connection itself.

use std::time::Duration;

use axum::{
    extract::{
        WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    response::Response,
};
use bytes::Bytes;
use futures_util::{
    FutureExt as _, SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use prost::Message as _;
use tokio::time::timeout;

use crate::{
    http::{error::Refusal, state::until, wire::json},
    queue::Push,
};

use super::{Call, Link, Wants, links::Life};

/// Longest silence of a client; its own pings come every second or two.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The server's own pings.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long a client is given to take the last message.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// Clients only send pings, so anything long is none of theirs.
const INBOUND_BYTES_MAX: usize = 64 * 1024;

/// Answers the handshake; a refusal is an HTTP status, never a link that closes at once.
pub(in crate::http::routes) async fn websocket(
    call: &Call<'_>,
    wants: Wants,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Refusal> {
    let link = Link::open(call.app, &call.queue, wants).await?;
    let upgrade = upgrade
        .max_message_size(INBOUND_BYTES_MAX)
        .write_buffer_size(0)
        .on_failed_upgrade(|error| tracing::debug!(%error, "a watch handshake failed"));
    Ok(upgrade.on_upgrade(|socket| link.run(socket)))
}

impl Link {
    async fn run(mut self, socket: WebSocket) {
        let (mut sender, receiver) = socket.split();
        let life = std::sync::Arc::clone(&self.life);
        let mut stopping = self.app.stopping();
        let close = tokio::select! {
            () = listen(receiver, &life) => None,
            close = self.push_all(&mut sender) => close,
            () = life.replaced.notified() => None,
            () = until(&mut stopping) => Some(close_code::AWAY),
        };
        self.confirm().await;
        let Some(code) = close else { return };
        let reason = match code {
            close_code::AWAY => "photog is stopping",
            _ => "an entry could not be read",
        };
        let farewell = Message::Close(Some(CloseFrame {
            code,
            reason: reason.into(),
        }));
        // The client may be gone or not reading; it is told if it can be.
        let _ = timeout(FAREWELL_MAX, sender.send(farewell)).await;
    }

    /// Sends entries and pings until the link breaks, which has no close code, or has to end.
    async fn push_all(&mut self, sender: &mut SplitSink<WebSocket, Message>) -> Option<u16> {
        let mut pings = tokio::time::interval(PING_EVERY);
        pings.reset();
        loop {
            tokio::select! {
                push = self.pushes.recv() => {
                    let Some(push) = push else { return Some(close_code::AWAY) };
                    if let Err(ended) = self.send_entry(&push, sender).await {
                        return ended;
                    }
                    self.confirm_in_time().await;
                }
                _ = pings.tick() => ping(sender).await?,
                () = self.life.probe.notified() => ping(sender).await?,
            }
        }
    }

    async fn send_entry(
        &mut self,
        push: &Push,
        sender: &mut SplitSink<WebSocket, Message>,
    ) -> Result<(), Option<u16>> {
        let (frame, _room) = match self.frame(push).await {
            Ok(Some(frame)) => frame,
            // Deleted between the push and now.
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, "an entry could not be read for a watcher");
                return Err(Some(close_code::ERROR));
            }
        };
        let message = if self.json {
            Message::Text(json::frame(&frame).to_string().into())
        } else {
            Message::Binary(frame.encode_to_vec().into())
        };
        sender.send(message).await.map_err(|_| None)?;
        self.went_out(push.index);
        Ok(())
    }
}

/// `None` when the link is broken.
async fn ping(sender: &mut SplitSink<WebSocket, Message>) -> Option<()> {
    sender.send(Message::Ping(Bytes::new())).await.ok()
}

/// Ends when the client leaves or is silent for too long.
async fn listen(mut receiver: SplitStream<WebSocket>, life: &Life) {
    let mut next = timeout(SILENCE_MAX, receiver.next()).await;
    while let Ok(Some(Ok(message))) = next {
        if matches!(message, Message::Close(_)) {
            return;
        }
        // What a client sent before it left is no sign of life, so what lies behind it is looked at first.
        next = match receiver.next().now_or_never() {
            Some(next) => Ok(next),
            None => {
                life.seen.notify_waiters();
                timeout(SILENCE_MAX, receiver.next()).await
            }
        };
    }
}
