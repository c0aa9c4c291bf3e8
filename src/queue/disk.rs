//! Free space of the disk: some is kept back so that running work can always be finished.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::QueueError;

/// A log up to this size is not worth folding.
const FOLD_BYTES_MIN: u64 = crate::domain::MIB;
/// Pause after a try to fold the log that failed.
const FOLD_AGAIN: Duration = Duration::from_secs(1);

/// Free space of the disk, asked once per batch and only if something is put.
///
/// Pages of the database that are free count as well: SQLite fills them again before the file
/// grows, and it never gives them back to the disk. When space becomes short the log is folded into
/// the database, because what was deleted takes up room in it until then.
pub(super) struct DiskSpace {
    path: PathBuf,
    reserve: u64,
    known: Option<Result<(), QueueError>>,
    fold_at: Instant,
}

impl DiskSpace {
    /// The disk that holds `path`, of which `reserve` bytes are kept back.
    pub(super) fn new(path: PathBuf, reserve: u64) -> Self {
        Self {
            path,
            reserve,
            known: None,
            fold_at: Instant::now(),
        }
    }

    /// Asks again at the next check.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// Refuses when less than the reserve is free.
    pub(super) fn check(&mut self, connection: Option<&Connection>) -> Result<(), QueueError> {
        if self.known.is_none() {
            self.known = Some(self.ask(connection));
        }
        self.known.clone().unwrap_or(Ok(()))
    }

    fn ask(&mut self, connection: Option<&Connection>) -> Result<(), QueueError> {
        // A file system that does not tell is found out by the write itself.
        let Some(on_disk) = self.on_disk() else {
            return Ok(());
        };
        let log = self.log_bytes();
        // Folding needs as much room as the log has bytes, so it is done while there is that much.
        let is_due = on_disk < self.reserve.saturating_add(log) && on_disk > log;
        if is_due && log > FOLD_BYTES_MIN && self.fold_at <= Instant::now() {
            self.fold(connection);
        }
        let on_disk = self.on_disk().unwrap_or(u64::MAX);
        if on_disk >= self.reserve {
            return Ok(());
        }
        let free = on_disk.saturating_add(connection.map_or(0, free_pages_bytes));
        if free >= self.reserve {
            return Ok(());
        }
        Err(QueueError::DiskFull {
            free,
            reserve: self.reserve,
        })
    }

    fn fold(&mut self, connection: Option<&Connection>) {
        let folded = connection
            .is_some_and(|it| it.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").is_ok());
        if !folded {
            self.fold_at = Instant::now() + FOLD_AGAIN;
        }
    }

    fn on_disk(&self) -> Option<u64> {
        let space = rustix::fs::statvfs(&self.path).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Size of the log; 0 when there is none.
    fn log_bytes(&self) -> u64 {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        std::fs::metadata(log).map_or(0, |file| file.len())
    }
}

fn free_pages_bytes(connection: &Connection) -> u64 {
    let pragma = |name| {
        let value = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        // A database that cannot be asked has no free pages to count on.
        value.map_or(0, |value| value.max(0) as u64)
    };
    pragma("freelist_count").saturating_mul(pragma("page_size"))
}
