//! Between the model and the file: writes what changed, reads everything at the start.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::domain::{ServiceSpec, Tags};

use super::{
    BlobFolder, QueueError, QueueKey, Side,
    command::{Frame, JobKey, Payload, PayloadData},
    model::{
        Change, DeliveryRow, Entry, HistoryRow, HistoryState, Model, Outbox, PayloadRef, RequestId,
        Stored,
    },
    statements as sql, tickets,
};

/// Makes all changes of a batch in one transaction and fills the frames with their payloads.
/// Returns the names of payload files that can be removed now.
pub(super) fn write(
    connection: &mut Connection,
    out: &mut Outbox,
    blobs: &BlobFolder,
) -> Result<Vec<String>, QueueError> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut last_indexes: HashMap<i64, u64> = HashMap::new();
    for change in &out.changes {
        if let Change::Insert { queue, index, .. } = change {
            last_indexes.insert(*queue, *index);
        }
        make(&transaction, change)?;
    }
    for (queue, last_index) in last_indexes {
        let mut statement = transaction.prepare_cached(sql::UPDATE_LAST_INDEX)?;
        statement.execute(params![queue, last_index as i64])?;
    }
    for reply in &mut out.frames {
        for frame in &mut reply.frames {
            fill(&transaction, frame, blobs)?;
        }
    }
    let mut files = Vec::new();
    for id in &out.dropped_payloads {
        let mut statement = transaction.prepare_cached(sql::DELETE_PAYLOAD)?;
        let file = statement
            .query_row([id], |row| row.get::<_, Option<String>>(0))
            .optional()?;
        files.extend(file.flatten());
    }
    transaction.commit()?;
    Ok(files)
}

fn make(connection: &Connection, change: &Change) -> Result<(), QueueError> {
    match change {
        Change::Insert {
            queue,
            index,
            entry,
            payload,
        } => {
            if let Some(stored) = payload {
                insert_payload(connection, stored)?;
            }
            connection
                .prepare_cached(sql::INSERT_ENTRY)?
                .execute(params![
                    queue,
                    *index as i64,
                    entry.priority,
                    entry.request.text_in(&mut [0; 36]),
                    tags_text(&entry.tags),
                    Some(entry.message()).filter(|message| !message.is_empty()),
                    entry.payload.id,
                    entry.payload.size as i64,
                    entry.created,
                ])?;
        }
        Change::Delete {
            queue,
            index,
            delivered,
        } => {
            if *delivered {
                let mut statement = connection.prepare_cached(sql::DELETE_DELIVERIES)?;
                statement.execute(params![queue, *index as i64])?;
            }
            let mut statement = connection.prepare_cached(sql::DELETE_ENTRY)?;
            statement.execute(params![queue, *index as i64])?;
        }
        Change::Deliver {
            queue,
            index,
            group,
            count,
            holder,
            since,
            done,
        } => {
            let mut statement = connection.prepare_cached(sql::UPSERT_DELIVERY)?;
            let index = *index as i64;
            statement.execute(params![queue, index, group, count, holder, since, done])?;
        }
        Change::History(row) => insert_history(connection, row)?,
        Change::ForgetHistory { service, index } => {
            let mut statement = connection.prepare_cached(sql::DELETE_HISTORY)?;
            statement.execute(params![service, *index as i64])?;
        }
        Change::Ticket(change) => tickets::write(connection, change)?,
    }
    Ok(())
}

/// A payload that gets a row.
pub(super) fn insert_payload(connection: &Connection, stored: &Stored) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql::INSERT_PAYLOAD)?;
    match &stored.payload {
        Payload::Inline(bytes) => {
            statement.execute(params![stored.id, &bytes[..], None::<&str>])?
        }
        Payload::Blob(blob) => {
            // Whether the commit succeeds is only known later; the file outlives both outcomes.
            blob.keep();
            statement.execute(params![stored.id, None::<&[u8]>, blob.name()])?
        }
    };
    Ok(())
}

fn insert_history(connection: &Connection, row: &HistoryRow) -> rusqlite::Result<()> {
    let entry = &row.entry;
    connection
        .prepare_cached(sql::INSERT_HISTORY)?
        .execute(params![
            row.service,
            row.index as i64,
            entry.request.text(),
            tags_text(&entry.tags),
            entry.priority,
            row.state.as_str(),
            row.code,
            row.message,
            row.deliveries,
            entry.created,
            row.started,
            row.finished,
            row.keeps_payload.then_some(entry.payload.id),
            entry.payload.size as i64,
        ])?;
    Ok(())
}

/// Gives a frame its payload. One that is gone for good must not keep everybody else from their
/// answers: its frame is empty and says so.
fn fill(connection: &Connection, frame: &mut Frame, blobs: &BlobFolder) -> Result<(), QueueError> {
    match payload(connection, frame.payload, blobs) {
        Ok(data) => frame.data = Some(data),
        Err(QueueError::NotFound) => {
            tracing::error!(index = frame.index, "the payload of an entry is missing");
            frame.message = String::from("the payload of this entry is missing from the disk");
            frame.payload.size = 0;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The bytes of a payload, or its open file; `NotFound` when they are gone.
pub(super) fn payload(
    connection: &Connection,
    payload: PayloadRef,
    blobs: &BlobFolder,
) -> Result<PayloadData, QueueError> {
    let found = connection
        .prepare_cached(sql::SELECT_PAYLOAD)?
        .query_row([payload.id], |row| {
            Ok((
                row.get::<_, Option<Vec<u8>>>(0)?,
                row.get::<_, Option<String>>(1)?,
            ))
        })
        .optional()?;
    match found {
        Some((Some(bytes), _)) => Ok(PayloadData::Inline(Bytes::from(bytes))),
        Some((None, Some(file))) => Ok(PayloadData::File {
            file: blobs.open_blob(&file)?,
            size: payload.size,
        }),
        Some((None, None)) | None => Err(QueueError::NotFound),
    }
}

/// An ended job, for a retry.
pub(super) fn history_row(
    connection: &Connection,
    model: &mut Model,
    key: &JobKey,
) -> Result<Option<HistoryRow>, QueueError> {
    let mut statement = connection.prepare_cached(sql::SELECT_HISTORY)?;
    let mut rows = statement.query(params![key.service, key.index as i64])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let state: String = row.get(3)?;
    let payload: Option<i64> = row.get(10)?;
    let entry = Entry {
        request: RequestId::new(&row.get::<_, String>(0)?),
        tags: model.share_tags(read_tags(row.get(1)?)?),
        priority: row.get(2)?,
        created: row.get(7)?,
        payload: PayloadRef {
            id: payload.unwrap_or(0),
            size: row.get::<_, i64>(11)? as u64,
        },
        rare: None,
    };
    Ok(Some(HistoryRow {
        service: Arc::clone(&key.service),
        index: key.index,
        entry,
        state: match state.as_str() {
            "done" => HistoryState::Done,
            "cancelled" => HistoryState::Cancelled,
            _ => HistoryState::Failed,
        },
        code: row.get(4)?,
        message: row.get(5)?,
        deliveries: row.get(6)?,
        started: row.get(8)?,
        finished: row.get(9)?,
        keeps_payload: payload.is_some(),
    }))
}

/// Names of all payload files that rows refer to.
pub(super) fn files_in_use(connection: &Connection) -> Result<HashSet<String>, QueueError> {
    let mut statement = connection.prepare(sql::SELECT_FILES)?;
    let files = statement.query_map([], |row| row.get(0))?;
    Ok(files.collect::<rusqlite::Result<_>>()?)
}

/// Reads all queues of these services. Queues that are new are made; those of services that are
/// not configured now stay in the file untouched.
pub(super) fn load(
    connection: &Connection,
    specs: &[ServiceSpec],
) -> Result<(Model, Vec<(QueueKey, DeliveryRow)>), QueueError> {
    let mut model = Model::default();
    let mut references: HashMap<i64, u32> = HashMap::new();
    let mut statement = connection.prepare(sql::SELECT_HISTORY_PAYLOADS)?;
    for id in statement.query_map([], |row| row.get::<_, i64>(0))? {
        *references.entry(id?).or_default() += 1;
    }
    let last_payload = connection.query_row(sql::SELECT_LAST_PAYLOAD, [], |row| row.get(0))?;
    model.restore_payload_reference(last_payload, 1);
    let known = load_queues(connection)?;
    let mut deliveries = Vec::new();
    for spec in specs {
        let ids = queue_ids(connection, &known, &spec.name)?;
        model.add_service(spec, ids);
        let name: Arc<str> = spec.name.as_str().into();
        // Rear queues first: only what they or the history refer to can be shared.
        for (at, (side, rear)) in QUEUES.into_iter().enumerate().rev() {
            let key = QueueKey {
                service: Arc::clone(&name),
                side,
                rear,
            };
            load_entries(connection, &mut model, &key, ids[at].0, &mut references)?;
            load_deliveries(connection, &key, ids[at].0, &mut deliveries)?;
        }
    }
    for (id, count) in references {
        model.restore_payload_reference(id, count);
    }
    tickets::load(connection, &mut model)?;
    Ok((model, deliveries))
}

/// The queues of a service in the order in which [`Model::add_service`] takes them.
const QUEUES: [(Side, bool); 4] = [
    (Side::Source, false),
    (Side::Sink, false),
    (Side::Source, true),
    (Side::Sink, true),
];

type KnownQueues = HashMap<(String, String, bool), (i64, u64)>;

fn load_queues(connection: &Connection) -> Result<KnownQueues, QueueError> {
    let mut statement = connection.prepare(sql::SELECT_QUEUES)?;
    let rows = statement.query_map([], |row| {
        let key = (row.get(1)?, row.get(2)?, row.get(3)?);
        Ok((key, (row.get(0)?, row.get::<_, i64>(4)? as u64)))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn queue_ids(
    connection: &Connection,
    known: &KnownQueues,
    service: &str,
) -> Result<[(i64, u64); 4], QueueError> {
    let mut ids = [(0, 0); 4];
    for (at, (side, rear)) in QUEUES.into_iter().enumerate() {
        let key = (service.to_owned(), side.as_str().to_owned(), rear);
        ids[at] = if let Some(found) = known.get(&key) {
            *found
        } else {
            connection.execute(sql::INSERT_QUEUE, params![service, side.as_str(), rear])?;
            (connection.last_insert_rowid(), 0)
        };
    }
    Ok(ids)
}

fn load_entries(
    connection: &Connection,
    model: &mut Model,
    key: &QueueKey,
    id: i64,
    references: &mut HashMap<i64, u32>,
) -> Result<(), QueueError> {
    let mut statement = connection.prepare_cached(sql::SELECT_ENTRIES)?;
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        let (index, entry) = read_entry(row, model)?;
        match references.get_mut(&entry.payload.id) {
            Some(count) => *count += 1,
            None if key.rear => {
                references.insert(entry.payload.id, 1);
            }
            None => {}
        }
        model.restore_entry(key, index, entry);
    }
    Ok(())
}

fn read_entry(row: &Row<'_>, model: &mut Model) -> Result<(u64, Entry), QueueError> {
    let message: Option<String> = row.get(4)?;
    let rare = message.map(|message| Box::new(super::model::Rare::with_message(message)));
    let entry = Entry {
        request: RequestId::new(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?),
        tags: model.share_tags(read_tags(row.get(3)?)?),
        payload: PayloadRef {
            id: row.get(5)?,
            size: row.get::<_, i64>(6)? as u64,
        },
        created: row.get(7)?,
        priority: row.get(1)?,
        rare,
    };
    Ok((row.get::<_, i64>(0)? as u64, entry))
}

fn load_deliveries(
    connection: &Connection,
    key: &QueueKey,
    id: i64,
    deliveries: &mut Vec<(QueueKey, DeliveryRow)>,
) -> Result<(), QueueError> {
    let mut statement = connection.prepare_cached(sql::SELECT_DELIVERIES)?;
    let rows = statement.query_map([id], |row| {
        Ok(DeliveryRow {
            index: row.get::<_, i64>(0)? as u64,
            group: row.get::<_, String>(1)?.into(),
            count: row.get(2)?,
            holder: row.get::<_, Option<String>>(3)?.map(Into::into),
            since: row.get(4)?,
            done: row.get(5)?,
        })
    })?;
    for row in rows {
        deliveries.push((key.clone(), row?));
    }
    Ok(())
}

/// Tags as a JSON object; nothing for no tags.
fn tags_text(tags: &Tags) -> Option<String> {
    if tags.is_empty() {
        return None;
    }
    let members = tags
        .iter()
        .map(|(name, value)| (name.to_owned(), value.into()));
    Some(serde_json::Value::Object(members.collect()).to_string())
}

fn read_tags(text: Option<String>) -> Result<Tags, QueueError> {
    let Some(text) = text else {
        return Ok(Tags::default());
    };
    let members: HashMap<String, String> = serde_json::from_str(&text).map_err(|error| {
        QueueError::Storage(format!("tags of an entry are unreadable: {error}"))
    })?;
    Ok(members.into_iter().collect())
}
