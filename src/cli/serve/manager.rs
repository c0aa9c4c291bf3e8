//! Keeps the service manager informed: status, watchdog, and more time while work is finished.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    observe::{has_manager, notify_manager, watchdog},
    queue::Store,
    workers::Scheduler,
};

/// Longest time between two messages.
const EVERY_MAX: Duration = Duration::from_secs(5);
/// How much longer than each message the manager waits while work is finished.
const EXTENSION: Duration = Duration::from_secs(30);

/// Sends messages until the store closes. A store that does not answer gets no watchdog message, so
/// the manager restarts a program whose queue stands still.
pub(super) async fn keep_informed(
    store: Store,
    scheduler: Arc<Scheduler>,
    stopping: watch::Receiver<bool>,
) {
    if !has_manager() {
        return;
    }
    let every = watchdog().map_or(EVERY_MAX, |limit| EVERY_MAX.min(limit / 2));
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(counts) = store.counts().await else {
            return;
        };
        let waiting: u64 = counts.iter().map(|(_, counts)| counts.waiting).sum();
        let running = scheduler.pool().running();
        let mut state = format!("WATCHDOG=1\nSTATUS={running} running, {waiting} waiting");
        if *stopping.borrow() {
            state += "\n";
            state += &more_time();
        }
        notify_manager(&state);
    }
}

/// The first message of a stop.
pub(super) fn tell_stopping() {
    notify_manager(&format!(
        "STOPPING=1\nSTATUS=finishing what runs\n{}",
        more_time()
    ));
}

fn more_time() -> String {
    format!("EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros())
}
