//! Messages to the service manager (systemd, `Type=notify`).

use std::time::Duration;

use sd_notify::NotifyState;

/// Whether a service manager listens.
pub fn has_manager() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// The time after which the manager takes a silent program for dead, if it watches.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Tells the service manager the state, as lines of `sd_notify(3)`. Without one nothing happens.
pub fn notify_manager(state: &str) {
    let states: Vec<NotifyState<'_>> = state.lines().map(NotifyState::Custom).collect();
    if let Err(error) = sd_notify::notify(&states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
