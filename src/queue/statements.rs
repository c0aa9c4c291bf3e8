//! Every SQL text of the running program, named, with its reason. Pragmas and the schema are in
//! `schema`.

/// A new entry's payload. Its own table keeps the table of entries small to read at the start.
pub(super) const INSERT_PAYLOAD: &str = "INSERT INTO payload (id, data, file) VALUES (?1, ?2, ?3)";

/// A new entry.
pub(super) const INSERT_ENTRY: &str = "\
    INSERT INTO entry (queue, idx, priority, request_id, tags, message, payload, size, created)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

/// The last index of a queue, once per batch, so that indexes are never given out twice.
pub(super) const UPDATE_LAST_INDEX: &str = "UPDATE queue SET last_index = ?2 WHERE id = ?1";

/// An entry's deliveries go before it does.
pub(super) const DELETE_DELIVERIES: &str = "DELETE FROM delivery WHERE queue = ?1 AND idx = ?2";

/// An entry that nobody needs any more.
pub(super) const DELETE_ENTRY: &str = "DELETE FROM entry WHERE queue = ?1 AND idx = ?2";

/// A group's share in an entry: handed out, taken back or done. The entry may have been deleted by
/// a client while an engine worked on it; then there is nothing to write.
pub(super) const UPSERT_DELIVERY: &str = "\
    INSERT INTO delivery (queue, idx, grp, count, holder, since, done)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
    WHERE EXISTS (SELECT 1 FROM entry WHERE queue = ?1 AND idx = ?2)
    ON CONFLICT (queue, idx, grp) DO UPDATE
    SET count = excluded.count, holder = excluded.holder,
        since = excluded.since, done = excluded.done";

/// Payload of an entry.
pub(super) const SELECT_PAYLOAD: &str = "SELECT data, file FROM payload WHERE id = ?1";

/// A payload that nothing refers to any more; its file, if it has one, goes after the commit.
pub(super) const DELETE_PAYLOAD: &str = "DELETE FROM payload WHERE id = ?1 RETURNING file";

/// A job that has ended. One that was deleted by a client and then ended again replaces the row.
pub(super) const INSERT_HISTORY: &str = "\
    INSERT OR REPLACE INTO history
        (service, idx, request_id, tags, priority, state, code, message, deliveries,
         created, started, finished, payload, size)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

/// A job that is tried again.
pub(super) const DELETE_HISTORY: &str = "DELETE FROM history WHERE service = ?1 AND idx = ?2";

/// One ended job, for a retry.
pub(super) const SELECT_HISTORY: &str = "\
    SELECT request_id, tags, priority, state, code, message, deliveries, created, started,
           finished, payload, size
    FROM history WHERE service = ?1 AND idx = ?2";

/// A page of ended jobs, newest first, by the index `history_by_created`.
pub(super) const SELECT_HISTORY_PAGE: &str = "\
    SELECT service, idx, request_id, state, deliveries, created, started, finished, code, message,
           payload IS NOT NULL
    FROM history
    WHERE (created, service, idx) < (?1, ?2, ?3)
      AND (?4 IS NULL OR service = ?4) AND (?5 IS NULL OR state = ?5)
      AND (?7 IS NULL OR idx = ?7)
    ORDER BY created DESC, service DESC, idx DESC
    LIMIT ?6";

/// A ticket for a new entry.
pub(super) const INSERT_TICKET: &str = "\
    INSERT INTO ticket (id, owner, model_id, service, idx, request_id, state, message, size, created)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, '', 0, ?7)";

/// The end of a ticket's job.
pub(super) const END_TICKET: &str = "\
    UPDATE ticket SET state = ?3, message = ?4, payload = ?5, size = ?6, finished = ?7
    WHERE service = ?1 AND idx = ?2";

/// A ticket's job is tried again under another index.
pub(super) const MOVE_TICKET: &str = "\
    UPDATE ticket
    SET idx = ?3, state = 1, message = '', payload = NULL, size = 0, finished = NULL
    WHERE service = ?1 AND idx = ?2";

/// One ticket, for its owner.
pub(super) const SELECT_TICKET: &str = "\
    SELECT model_id, service, idx, request_id, state, message, payload, size
    FROM ticket WHERE id = ?1 AND owner = ?2";

/// The result of the ticket of a job that is tried again.
pub(super) const SELECT_TICKET_OF_JOB: &str =
    "SELECT payload FROM ticket WHERE service = ?1 AND idx = ?2";

/// Jobs with an open ticket, read at the start by the index `ticket_open`.
pub(super) const SELECT_OPEN_TICKETS: &str = "SELECT service, idx FROM ticket WHERE state = 1";

/// The last number given out, also after its row has left.
pub(super) const SELECT_LAST_TICKET: &str = "SELECT seq FROM sqlite_sequence WHERE name = 'ticket'";

/// Ended tickets that are too old.
pub(super) const DELETE_OLD_TICKETS: &str =
    "DELETE FROM ticket WHERE finished < ?1 RETURNING payload";

/// Ended tickets beyond the number that is kept, the oldest of them.
pub(super) const DELETE_EXCESS_TICKETS: &str = "\
    DELETE FROM ticket
    WHERE id IN (
        SELECT id FROM ticket WHERE finished IS NOT NULL
        ORDER BY finished DESC, id DESC LIMIT -1 OFFSET ?1)
    RETURNING payload";

/// History that is too old.
pub(super) const DELETE_OLD_HISTORY: &str =
    "DELETE FROM history WHERE finished < ?1 RETURNING payload";

/// History beyond the number of rows that are kept, the oldest of it.
pub(super) const DELETE_EXCESS_HISTORY: &str = "\
    DELETE FROM history
    WHERE (service, idx) IN (
        SELECT service, idx FROM history
        ORDER BY finished DESC, service DESC, idx DESC LIMIT -1 OFFSET ?1)
    RETURNING payload";

/// Requests that are kept for a retry, newest first, with their sizes.
pub(super) const SELECT_KEPT_REQUESTS: &str = "\
    SELECT service, idx, payload, size FROM history WHERE payload IS NOT NULL
    ORDER BY finished DESC";

/// An ended job whose request is not kept any longer.
pub(super) const FORGET_KEPT_REQUEST: &str =
    "UPDATE history SET payload = NULL WHERE service = ?1 AND idx = ?2";

/// The queues of the file.
pub(super) const SELECT_QUEUES: &str = "SELECT id, service, side, rear, last_index FROM queue";

/// A queue of a service that is new.
pub(super) const INSERT_QUEUE: &str =
    "INSERT INTO queue (service, side, rear, last_index) VALUES (?1, ?2, ?3, 0)";

/// All entries of one queue in index order.
pub(super) const SELECT_ENTRIES: &str = "\
    SELECT idx, priority, request_id, tags, message, payload, size, created
    FROM entry WHERE queue = ?1 ORDER BY idx";

/// All deliveries of one queue.
pub(super) const SELECT_DELIVERIES: &str =
    "SELECT idx, grp, count, holder, since, done FROM delivery WHERE queue = ?1";

/// The largest payload id in use.
pub(super) const SELECT_LAST_PAYLOAD: &str = "SELECT coalesce(max(id), 0) FROM payload";

/// Payloads that the history refers to; entries may share them.
pub(super) const SELECT_HISTORY_PAYLOADS: &str =
    "SELECT payload FROM history WHERE payload IS NOT NULL";

/// Files of the blob folder that are in use.
pub(super) const SELECT_FILES: &str = "SELECT file FROM payload WHERE file IS NOT NULL";
