//! Tickets in the file: the ends of jobs for callers who ask by a small number.
//!
//! A ticket is made in the transaction that stores its entry, and ends in the one that ends its job.
//! The job's result goes to the ticket and to no sink, so nobody else can take it away. When an entry
//! goes without an end, because somebody deletes it, its ticket says so.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    BlobFolder, JobKey, PayloadData, QueueError,
    model::{Model, PayloadRef, TicketChange},
    persist, statements as sql,
};

/// A ticket to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTicket {
    /// Who may ask.
    pub owner: String,
    /// Which model the job makes; kept for the caller.
    pub model_id: String,
}

/// Where the job of a ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketState {
    /// It waits or runs.
    Open,
    /// It ended with success.
    Done,
    /// It ended otherwise.
    Failed,
}

impl TicketState {
    /// The number in the file, which is also the one that callers hear.
    pub const fn number(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Done => 2,
            Self::Failed => 3,
        }
    }
}

/// A ticket as its owner sees it.
#[derive(Debug)]
pub struct Ticket {
    /// Its number.
    pub id: i32,
    /// Which model the job makes.
    pub model_id: String,
    /// The job.
    pub job: JobKey,
    /// Request id of the job's entry.
    pub request_id: String,
    /// Where the job stands.
    pub state: TicketState,
    /// How it ended, in words.
    pub message: String,
    /// What the engine answered; `None` before the end, and after one without an answer.
    pub result: Option<PayloadData>,
    /// Length of the result in bytes.
    pub result_bytes: u64,
}

/// Makes a change of a ticket, inside the transaction of its job.
pub(super) fn write(connection: &Connection, change: &TicketChange) -> Result<(), QueueError> {
    match change {
        TicketChange::Open {
            id,
            service,
            index,
            ticket,
            request_id,
            now,
        } => {
            let mut statement = connection.prepare_cached(sql::INSERT_TICKET)?;
            let (owner, model) = (&ticket.owner, &ticket.model_id);
            statement.execute(params![
                id,
                owner,
                model,
                service,
                *index as i64,
                request_id,
                now
            ])?;
        }
        TicketChange::End {
            service,
            index,
            state,
            message,
            result,
            now,
        } => {
            if let Some(stored) = result {
                persist::insert_payload(connection, stored)?;
            }
            let payload = result.as_ref().map(|stored| stored.id);
            let size = result.as_ref().map_or(0, |stored| stored.payload.size());
            let mut statement = connection.prepare_cached(sql::END_TICKET)?;
            statement.execute(params![
                service,
                *index as i64,
                state.number(),
                message,
                payload,
                size as i64,
                now
            ])?;
        }
        TicketChange::Move { service, from, to } => {
            let mut statement = connection.prepare_cached(sql::MOVE_TICKET)?;
            statement.execute(params![service, *from as i64, *to as i64])?;
        }
    }
    Ok(())
}

/// Tells the model which jobs have an open ticket, and the last number given out.
pub(super) fn load(connection: &Connection, model: &mut Model) -> Result<(), QueueError> {
    let last = connection
        .query_row(sql::SELECT_LAST_TICKET, [], |row| row.get(0))
        .optional()?;
    model.restore_last_ticket(last.unwrap_or(0));
    let mut statement = connection.prepare(sql::SELECT_OPEN_TICKETS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let service: String = row.get(0)?;
        model.restore_ticket(service.into(), row.get::<_, i64>(1)? as u64);
    }
    Ok(())
}

/// The ticket of an ended job.
pub(super) struct EndedTicket {
    /// Payload of the result, if there was one.
    pub(super) result: Option<i64>,
}

/// The ticket of an ended job, if it has one.
pub(super) fn of_job(
    connection: &Connection,
    job: &JobKey,
) -> Result<Option<EndedTicket>, QueueError> {
    let mut statement = connection.prepare_cached(sql::SELECT_TICKET_OF_JOB)?;
    let found = statement
        .query_row(params![job.service, job.index as i64], |row| {
            Ok(EndedTicket {
                result: row.get(0)?,
            })
        })
        .optional()?;
    Ok(found)
}

/// A ticket with its result, for its owner only.
pub(super) fn read(
    connection: &Connection,
    id: i32,
    owner: &str,
    blobs: &BlobFolder,
) -> Result<Option<Ticket>, QueueError> {
    let mut statement = connection.prepare_cached(sql::SELECT_TICKET)?;
    let mut rows = statement.query(params![id, owner])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let size = row.get::<_, i64>(7)? as u64;
    let result = match row.get::<_, Option<i64>>(6)? {
        Some(id) => Some(persist::payload(
            connection,
            PayloadRef { id, size },
            blobs,
        )?),
        None => None,
    };
    Ok(Some(Ticket {
        id,
        model_id: row.get(0)?,
        job: JobKey {
            service: Arc::from(row.get::<_, String>(1)?),
            index: row.get::<_, i64>(2)? as u64,
        },
        request_id: row.get(3)?,
        state: match row.get(4)? {
            1 => TicketState::Open,
            2 => TicketState::Done,
            _ => TicketState::Failed,
        },
        message: row.get(5)?,
        result,
        result_bytes: size,
    }))
}
