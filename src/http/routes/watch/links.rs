//! All watch links by queue, group and user, and which of two with the same user id stays.
//!
//! Replacing a live link would let two clients with one id push each other out for ever, so a
//! newcomer first probes the older link.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use crate::{
    http::{
        error::Refusal,
        state::{App, until},
    },
    queue::{QueueError, QueueKey},
};

/// How long an older link of the same user may take to show life.
const PROBE_MAX: Duration = Duration::from_secs(3);

/// Queue, group and user.
pub(super) type LinkKey = (QueueKey, Arc<str>, Arc<str>);

/// Signs of life of one link.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// Asks the link to show life.
    pub(super) probe: Notify,
    /// It did.
    pub(super) seen: Notify,
    /// The link has to end: a newcomer takes its place.
    pub(super) replaced: Notify,
    /// The link has ended. It stays known until its consumer is gone too, so that a newcomer in
    /// between is not refused for a consumer without a link.
    pub(super) ended: watch::Sender<bool>,
}

/// All watch links.
#[derive(Debug, Default)]
pub(in crate::http) struct Links(Mutex<HashMap<LinkKey, (u64, Arc<Life>)>>);

impl Links {
    pub(super) fn insert(&self, key: LinkKey, link: u64) -> Arc<Life> {
        let life = Arc::new(Life::default());
        self.lock().insert(key, (link, Arc::clone(&life)));
        life
    }

    pub(super) fn remove(&self, key: &LinkKey, link: u64) {
        let mut links = self.lock();
        if links.get(key).is_some_and(|(known, _)| *known == link) {
            links.remove(key);
        }
    }

    fn get(&self, key: &LinkKey) -> Option<(u64, Arc<Life>)> {
        self.lock().get(key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LinkKey, (u64, Arc<Life>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the older link of a user if it shows no life; refuses if it does.
pub(super) async fn replace_dead(
    app: &App,
    key: &LinkKey,
    refusal: QueueError,
) -> Result<(), Refusal> {
    let Some((number, life)) = app.0.links.get(key) else {
        // It is gone meanwhile, or is being opened; the second attempt tells.
        return Ok(());
    };
    let seen = life.seen.notified();
    let mut ended = life.ended.subscribe();
    life.probe.notify_one();
    tokio::select! {
        biased;
        () = until(&mut ended) => {}
        () = seen => return Err(refusal.into()),
        () = sleep(PROBE_MAX) => life.replaced.notify_one(),
    }
    let (queue, group, user) = key;
    app.0.store.detach(queue, group, user, number).await?;
    Ok(())
}
