//! Watching a queue: entries are pushed over a WebSocket, or as length-prefixed chunks.
//!
//! - [`links`]: who watches under which user id, and which of two with the same id stays;
//! - [`websocket`] and [`chunked`]: the two transports of a [`Link`].
//!
//! Only what an entry is travels through the queue's channel; its payload is read when the link is
//! ready to send it, so a slow client costs one payload of memory and nobody else waits for it.
//!
//! # Promises
//!
//! 1. However a link ends, its consumer goes at once and what it had in hand goes back.
//! 2. With auto-commit an entry is done only after its bytes went into the socket.
//! 3. A live link is never replaced by a newcomer under the same user id.

mod chunked;
mod links;
mod websocket;

use std::sync::Arc;

use bytes::Bytes;
use tokio::{runtime::Handle, sync::OwnedSemaphorePermit};

use crate::{
    domain::Tags,
    http::{error::Refusal, params::Start, state::App, wire::protobuf::DataFrame},
    queue::{Attach, Attached, Push, QueueError, QueueKey},
};

use super::queue::Call;

pub(in crate::http) use links::Links;
pub(super) use {chunked::chunked, websocket::websocket};

use links::{Life, LinkKey};

/// Largest window: what one consumer may have in hand.
const WINDOW_MAX: u64 = 10_000;
/// Most entries that one auto-commit confirms.
const CONFIRM_MAX: usize = 64;

/// What a client that watches wants.
pub(super) struct Wants {
    attach: Attach,
    index_only: bool,
    /// JSON text messages instead of protobuf.
    json: bool,
}

impl Wants {
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Refusal> {
        let (group, user) = call.identity()?;
        let auto_commit = call.params.flag("_auto_commit_", false)?;
        let window = call.params.number("_window_", 1)?;
        if window == 0 && !auto_commit {
            return Err(Refusal::bad_request("_window_ is 0; it must be at least 1"));
        }
        Ok(Self {
            attach: Attach {
                group: group.into(),
                user: user.into(),
                start: match call.params.start()? {
                    Start::At(index) => Some(index),
                    Start::Newest => None,
                },
                tags: call.params.tags.clone(),
                window: window.min(WINDOW_MAX) as u32,
                auto_commit,
            },
            index_only: call.params.flag("_index_only_", false)?,
            json: call.accepts("application/json"),
        })
    }

    pub(super) fn group(&self) -> &str {
        &self.attach.group
    }
}

/// One watching client.
struct Link {
    app: App,
    queue: QueueKey,
    key: LinkKey,
    number: u64,
    life: Arc<Life>,
    pushes: tokio::sync::mpsc::UnboundedReceiver<Push>,
    index_only: bool,
    auto_commit: bool,
    json: bool,
    /// Entries that went out and are not confirmed yet.
    sent: Vec<u64>,
}

impl Link {
    /// Attaches the consumer.
    async fn open(app: &App, queue: &QueueKey, wants: Wants) -> Result<Self, Refusal> {
        // A client that leaves in the middle drops this future, but not the task, whose link then
        // lets its consumer go. Without that the consumer would stay for ever.
        let opened = tokio::spawn(Self::attach(app.clone(), queue.clone(), wants)).await;
        opened.map_err(|_| Refusal::new(500, "watching failed; try again"))?
    }

    /// A user id that is active already is refused while its older link shows life, and takes its
    /// place when it does not.
    async fn attach(app: App, queue: QueueKey, wants: Wants) -> Result<Self, Refusal> {
        let attach = wants.attach;
        let key = (
            queue.clone(),
            Arc::clone(&attach.group),
            Arc::clone(&attach.user),
        );
        let attached = match app.0.store.attach(&queue, attach.clone()).await {
            Err(refusal @ QueueError::UserActive { .. }) => {
                links::replace_dead(&app, &key, refusal).await?;
                app.0.store.attach(&queue, attach.clone()).await?
            }
            other => other?,
        };
        let Attached { link, pushes } = attached;
        let life = app.0.links.insert(key.clone(), link);
        Ok(Self {
            app,
            queue,
            key,
            number: link,
            life,
            pushes,
            index_only: wants.index_only,
            auto_commit: attach.auto_commit,
            json: wants.json,
            sent: Vec::new(),
        })
    }

    /// The wire form of an entry, with its room in memory; `None` when it was deleted meanwhile.
    async fn frame(
        &self,
        push: &Push,
    ) -> Result<Option<(DataFrame, Option<OwnedSemaphorePermit>)>, QueueError> {
        let (mut data, mut room) = (Bytes::new(), None);
        if !self.index_only {
            room = self.app.reserve_answer(push.size()).await;
            let loaded = match self.app.0.store.load(push).await {
                Err(QueueError::NotFound) => return Ok(None),
                loaded => loaded?,
            };
            let read = tokio::task::spawn_blocking(|| loaded.into_bytes()).await;
            data = read.map_err(|_| QueueError::Closed)??;
        }
        let frame = DataFrame {
            index: push.index,
            tags: tag_map(&push.tags),
            data,
            message: push.message.clone(),
        };
        Ok(Some((frame, room)))
    }

    /// Notes that an entry went out. With auto-commit it is done by that.
    fn went_out(&mut self, index: u64) {
        if self.auto_commit {
            self.sent.push(index);
        }
    }

    /// Commits what went out, unless more is to follow at once and can share the commit.
    async fn confirm_in_time(&mut self) {
        if self.sent.len() >= CONFIRM_MAX || self.pushes.is_empty() {
            self.confirm().await;
        }
    }

    /// Commits what went out.
    async fn confirm(&mut self) {
        let sent = std::mem::take(&mut self.sent);
        if sent.is_empty() {
            return;
        }
        let (_, group, _) = &self.key;
        if let Err(error) = self.app.0.store.commit(&self.queue, group, sent).await {
            tracing::debug!(%error, "an auto-commit failed; the entries come again");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.life.ended.send_replace(true);
        // Without a runtime the program is at its end, and so is the consumer.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (app, key, number) = (self.app.clone(), self.key.clone(), self.number);
        runtime.spawn(async move {
            let (queue, group, user) = &key;
            // A store that is closing has let the consumer go already.
            let _ = app.0.store.detach(queue, group, user, number).await;
            app.0.links.remove(&key, number);
        });
    }
}

fn tag_map(tags: &Tags) -> std::collections::BTreeMap<String, String> {
    tags.iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
