//! Durable queues: the only module that knows SQLite.
//!
//! A [`Store`] holds an input queue, a sink and a rear (dead letter) queue behind each, for every
//! service, in one SQLite file; payloads above [`BLOB_THRESHOLD_BYTES`] lie in a folder beside it.
//!
//! # How it works
//!
//! One **writer thread** owns the only read-write connection and the whole state of all queues in
//! memory ([`model`]). Everybody else sends it a [`command::Command`] and waits for the reply. The
//! writer takes whatever commands have gathered, lets the model carry them out, writes the rows
//! that the model says have changed in one transaction, commits with `synchronous=FULL`, and only
//! then answers. There is no timer: the busier it is, the more commands share one commit.
//!
//! The model is pure: it knows neither SQL nor clocks nor channels' other ends. When a commit
//! fails, memory is thrown away and read again from the file, so the file is always the truth.
//!
//! # Promises
//!
//! 1. A reply that says "accepted" is sent only after the commit has reached the disk.
//! 2. A result enters the sink in the same transaction in which its request leaves the input queue;
//!    that of a job with a ticket ([`Store::put_with_ticket`]) enters the ticket instead.
//! 3. An entry handed to an engine is counted on disk before the engine sees it.
//! 4. A damaged file, or one of a newer version, is reported and never touched.
//!
//! What it does not do: it does not look into payloads, and it does not decide how many slots work.

mod blobs;
mod command;
mod disk;
mod error;
mod maintenance;
mod model;
mod persist;
mod reader;
mod schema;
mod statements;
mod store;
mod tickets;
mod writer;

pub use blobs::{BLOB_THRESHOLD_BYTES, BlobFolder, BlobWriter, PendingBlob};
pub use command::{
    Attach, Attached, CancelledJob, Closing, Detached, Finish, Frame, Get, Job, JobKey, JobState,
    JobsPage, NewEntry, Payload, PayloadData, Push, PutDone, Search,
};
pub use error::QueueError;
pub use model::{Attributes, ConsumerState, Counts, Filter, QueueKey, Side};
pub use store::{Clock, Retention, Store, StoreOptions, SystemClock};
pub use tickets::{NewTicket, Ticket, TicketState};
