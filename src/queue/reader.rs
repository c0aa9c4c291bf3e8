//! Connections that only read: payloads of pushed entries, pages of the history.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, params};

use super::{
    BlobFolder, QueueError,
    command::{Job, JobKey, JobState, JobsPage, PayloadData},
    model::PayloadRef,
    persist, schema, statements as sql,
    tickets::{self, Ticket},
};

/// Idle connections that are kept; more are opened when more are in use at once.
const IDLE_MAX: usize = 4;

/// Hands out read-only connections.
#[derive(Debug)]
pub(super) struct ReadPool {
    path: PathBuf,
    blobs: BlobFolder,
    idle: Mutex<Vec<Connection>>,
}

impl ReadPool {
    pub(super) fn new(path: PathBuf, blobs: BlobFolder) -> Self {
        Self {
            path,
            blobs,
            idle: Mutex::default(),
        }
    }

    /// Closes the idle connections, so that the writer can be the last to close.
    pub(super) fn close(&self) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// A payload; `NotFound` when its entry was removed meanwhile. Blocks.
    pub(super) fn payload(&self, payload: PayloadRef) -> Result<PayloadData, QueueError> {
        self.with(|connection| persist::payload(connection, payload, &self.blobs))
    }

    /// Ended jobs, newest first. Blocks.
    pub(super) fn history(&self, page: &JobsPage) -> Result<Vec<Job>, QueueError> {
        let state = page.state.map(JobState::as_str);
        let only = page.index.map(|index| index as i64);
        let (created, service, index) = match &page.before {
            Some((created, service, index)) => (*created, service.to_string(), *index as i64),
            None => (i64::MAX, String::new(), 0),
        };
        self.with(|connection| {
            let mut statement = connection.prepare_cached(sql::SELECT_HISTORY_PAGE)?;
            let rows = statement.query_map(
                params![
                    created,
                    service,
                    index,
                    page.service,
                    state,
                    page.limit as i64,
                    only
                ],
                read_job,
            )?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// A ticket with its result, for its owner only. Blocks.
    pub(super) fn ticket(&self, id: i32, owner: &str) -> Result<Option<Ticket>, QueueError> {
        self.with(|connection| tickets::read(connection, id, owner, &self.blobs))
    }

    fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let known = idle().pop();
        let connection = match known {
            Some(connection) => connection,
            None => schema::open_reader(&self.path)?,
        };
        let read = read(&connection)?;
        let mut idle = idle();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        Ok(read)
    }
}

fn read_job(row: &rusqlite::Row<'_>) -> rusqlite::Result<Job> {
    let service: String = row.get(0)?;
    let state: String = row.get(3)?;
    Ok(Job {
        key: JobKey {
            service: Arc::from(service),
            index: row.get::<_, i64>(1)? as u64,
        },
        request_id: row.get(2)?,
        state: JobState::from_word(&state).unwrap_or(JobState::Failed),
        deliveries: row.get(4)?,
        created_ms: row.get(5)?,
        started_ms: row.get(6)?,
        finished_ms: row.get(7)?,
        code: row.get(8)?,
        message: row.get(9)?,
        retryable: row.get(10)?,
    })
}
