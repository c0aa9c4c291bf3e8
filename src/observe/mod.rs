//! What the program tells about itself: metrics and the log.

mod log;
mod manager;
mod metrics;

pub use log::start_log;
pub use manager::{has_manager, notify_manager, watchdog};
pub use metrics::{CommitMetrics, JobMetrics};
