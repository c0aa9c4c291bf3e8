-- Version 1: queues, entries, payloads, deliveries, history.
--
-- All times are milliseconds since 1970. The state of every queue lives in memory while the program
-- runs; these tables are read once at the start, so there are only the indexes that maintenance and
-- the job list need.

CREATE TABLE queue (
    id         INTEGER PRIMARY KEY,
    service    TEXT    NOT NULL CHECK (service <> ''),
    side       TEXT    NOT NULL CHECK (side IN ('source', 'sink')),
    rear       INTEGER NOT NULL CHECK (rear IN (0, 1)),
    -- The last index given out; indexes are never given out twice.
    last_index INTEGER NOT NULL CHECK (last_index >= 0),
    UNIQUE (service, side, rear)
) STRICT;

-- Apart from `entry`, so that reading all entries at the start does not read their payloads.
CREATE TABLE payload (
    id   INTEGER PRIMARY KEY,
    -- The bytes, or the name of the file in the blob folder that holds them.
    data BLOB,
    file TEXT,
    CHECK ((data IS NULL) <> (file IS NULL))
) STRICT;

CREATE TABLE entry (
    queue      INTEGER NOT NULL REFERENCES queue (id),
    idx        INTEGER NOT NULL CHECK (idx > 0),
    priority   INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 255),
    request_id TEXT    NOT NULL,
    -- A JSON object of the other tags; NULL when there are none.
    tags       TEXT,
    message    TEXT,
    payload    INTEGER NOT NULL,
    size       INTEGER NOT NULL CHECK (size >= 0),
    created    INTEGER NOT NULL,
    PRIMARY KEY (queue, idx)
) STRICT, WITHOUT ROWID;

-- What a consumer group has had of an entry. Lives as long as the entry, not as long as the group.
CREATE TABLE delivery (
    queue  INTEGER NOT NULL,
    idx    INTEGER NOT NULL,
    grp    TEXT    NOT NULL,
    -- How often it was handed out.
    count  INTEGER NOT NULL CHECK (count >= 0),
    -- The user id that has it in hand; NULL when nobody has.
    holder TEXT,
    -- When it was handed out last.
    since  INTEGER NOT NULL,
    done   INTEGER NOT NULL CHECK (done IN (0, 1)),
    CHECK (done = 0 OR holder IS NULL),
    PRIMARY KEY (queue, idx, grp),
    FOREIGN KEY (queue, idx) REFERENCES entry (queue, idx)
) STRICT, WITHOUT ROWID;

CREATE INDEX delivery_in_hand ON delivery (queue, idx) WHERE holder IS NOT NULL;

-- Jobs that have ended.
CREATE TABLE history (
    service    TEXT    NOT NULL,
    idx        INTEGER NOT NULL CHECK (idx > 0),
    request_id TEXT    NOT NULL,
    tags       TEXT,
    priority   INTEGER NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('done', 'failed', 'cancelled')),
    code       TEXT    NOT NULL,
    message    TEXT    NOT NULL,
    deliveries INTEGER NOT NULL CHECK (deliveries >= 0),
    created    INTEGER NOT NULL,
    started    INTEGER,
    finished   INTEGER NOT NULL,
    -- The request's payload, kept for a retry of what did not succeed.
    payload    INTEGER,
    size       INTEGER NOT NULL,
    CHECK (state <> 'done' OR payload IS NULL),
    PRIMARY KEY (service, idx)
) STRICT, WITHOUT ROWID;

CREATE INDEX history_by_created ON history (created, service, idx);
CREATE INDEX history_by_finished ON history (finished);
CREATE INDEX history_with_payload ON history (payload) WHERE payload IS NOT NULL;
