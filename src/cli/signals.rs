//! Stops of long work by signals.

use std::thread;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::job::{CancelReason, CancelToken};

/// SIGTERM and SIGINT.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened to");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Lets SIGINT and SIGTERM stop the work in good order; a second one ends the program at once.
pub fn cancel_on_signal(cancel: &CancelToken) -> anyhow::Result<()> {
    let cancel = cancel.clone();
    on_signal(move || cancel.cancel(CancelReason::User))
}

/// Calls this at the first SIGINT or SIGTERM; a second one ends the program at once.
pub fn on_signal(first: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    let mut stop = {
        let _inside = runtime.enter();
        StopSignals::listen()?
    };
    thread::Builder::new()
        .name(String::from("signals"))
        .spawn(move || {
            runtime.block_on(async {
                stop.next().await;
                first();
                stop.next().await;
                std::process::exit(1);
            });
        })
        .context("no thread could be started")?;
    Ok(())
}
