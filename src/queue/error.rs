//! What can go wrong with a queue, by what the caller can do about it.

use std::path::PathBuf;

/// A refusal or a fault of the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The queue has as many entries or bytes as it may have.
    #[error(
        "queue {queue} is full ({detail}): nothing was stored; take results out, or raise its limit"
    )]
    Full {
        /// Name of the queue.
        queue: String,
        /// Which limit was reached.
        detail: String,
    },
    /// The entry is larger than the queue accepts.
    #[error("the entry has {size} bytes, queue {queue} accepts at most {limit}")]
    TooLarge {
        /// Name of the queue.
        queue: String,
        /// Size of the refused entry in bytes.
        size: u64,
        /// Limit in bytes.
        limit: u64,
    },
    /// No entry of that index, or no job of that name.
    #[error("no data in stream")]
    NotFound,
    /// The consumer's user id is active already in its group.
    #[error("user {user} is already watching in group {group}; close that watcher first")]
    UserActive {
        /// Group id.
        group: String,
        /// User id.
        user: String,
    },
    /// The state of the entry or job forbids the request.
    #[error("{0}")]
    Conflict(String),
    /// The disk holds less free space than the reserve that is kept for finishing running work.
    #[error(
        "the disk is nearly full ({free} bytes free, {reserve} are kept back): nothing was stored; free space and try again"
    )]
    DiskFull {
        /// Free bytes.
        free: u64,
        /// Bytes kept back.
        reserve: u64,
    },
    /// Reading or writing the database or a payload file failed. Whether the change of this call
    /// survived is unknown; the store has gone back to what the file holds.
    #[error("the store failed: {0}; check the disk of the data folder, then try again")]
    Storage(String),
    /// The store is closing or closed.
    #[error("photog is stopping and takes nothing new; try again when it is back")]
    Closed,
    /// The database file is damaged.
    #[error(
        "the database {} is damaged ({detail}). It was not changed. Stop photog, copy the data folder, then restore a backup, or salvage with `sqlite3 {} .recover`",
        path.display(), path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the check said.
        detail: String,
    },
    /// The database was written by a newer program.
    #[error(
        "the database {} has version {found}, this program knows versions up to {known}. It was not changed. Use the newer photog, or another data folder",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Version found in the file.
        found: i64,
        /// Newest version this program knows.
        known: i64,
    },
    /// The file is a SQLite database of some other program, or no database at all.
    #[error(
        "{} is not a photog database ({detail}). It was not changed. Use another data folder",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why it was not recognised.
        detail: String,
    },
    /// Another process has the data folder open.
    #[error("the data folder {} is in use by another photog; stop that one or use another folder", .0.display())]
    InUse(PathBuf),
}

impl From<rusqlite::Error> for QueueError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<std::io::Error> for QueueError {
    fn from(error: std::io::Error) -> Self {
        Self::Storage(error.to_string())
    }
}
