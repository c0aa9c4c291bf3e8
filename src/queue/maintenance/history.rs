//! Keeps the history of ended jobs within its age, its number and its bytes, and ended tickets within
//! the same age and number.

use rusqlite::{Connection, params};

use crate::queue::{QueueError, Retention, model::Model, model::Outbox, statements as sql};

/// Removes history rows and ended tickets that are too old or too many, and requests kept for a retry beyond the
/// bytes allowed for them. One small transaction; payload files are returned for removal.
pub(in crate::queue) fn prune(
    connection: &mut Connection,
    model: &mut Model,
    retention: &Retention,
    now_ms: i64,
) -> Result<Vec<String>, QueueError> {
    let transaction = connection.transaction()?;
    let mut dropped: Vec<i64> = Vec::new();
    let oldest_ms = now_ms - retention.history_age.as_millis() as i64;
    let limits = [
        (sql::DELETE_OLD_HISTORY, oldest_ms),
        (
            sql::DELETE_EXCESS_HISTORY,
            retention.history_entries_max as i64,
        ),
        (sql::DELETE_OLD_TICKETS, oldest_ms),
        (
            sql::DELETE_EXCESS_TICKETS,
            retention.history_entries_max as i64,
        ),
    ];
    for (statement, limit) in limits {
        let mut statement = transaction.prepare_cached(statement)?;
        for payload in statement.query_map([limit], |row| row.get::<_, Option<i64>>(0))? {
            dropped.extend(payload?);
        }
    }
    dropped.extend(forget_requests(&transaction, retention.retry_bytes_max)?);
    let mut out = Outbox::default();
    for payload in dropped {
        model.drop_payload(payload, &mut out);
    }
    let mut files = Vec::new();
    for id in out.dropped_payloads {
        let mut statement = transaction.prepare_cached(sql::DELETE_PAYLOAD)?;
        let found = statement.query_map([id], |row| row.get::<_, Option<String>>(0))?;
        for file in found {
            files.extend(file?);
        }
    }
    transaction.commit()?;
    Ok(files)
}

/// Gives up the oldest requests that are kept for a retry beyond this many bytes.
fn forget_requests(connection: &Connection, bytes_max: u64) -> Result<Vec<i64>, QueueError> {
    let mut statement = connection.prepare_cached(sql::SELECT_KEPT_REQUESTS)?;
    let mut rows = statement.query([])?;
    let (mut bytes, mut dropped) = (0_u64, Vec::new());
    while let Some(row) = rows.next()? {
        let (service, index): (String, i64) = (row.get(0)?, row.get(1)?);
        bytes = bytes.saturating_add(row.get::<_, i64>(3)? as u64);
        if bytes > bytes_max {
            let mut forget = connection.prepare_cached(sql::FORGET_KEPT_REQUEST)?;
            forget.execute(params![service, index])?;
            dropped.push(row.get(2)?);
        }
    }
    Ok(dropped)
}
