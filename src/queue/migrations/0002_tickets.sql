-- Version 2: tickets, the ends of jobs for callers who ask by a small number instead of reading
-- the sink.

CREATE TABLE ticket (
    -- Never given out twice, and small enough for callers who keep it in 32 bits.
    id         INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id BETWEEN 1 AND 2147483647),
    -- Who may ask.
    owner      TEXT    NOT NULL CHECK (owner <> ''),
    model_id   TEXT    NOT NULL,
    -- The job: the service and the index of its entry.
    service    TEXT    NOT NULL CHECK (service <> ''),
    idx        INTEGER NOT NULL CHECK (idx > 0),
    request_id TEXT    NOT NULL,
    -- 1 waits or runs, 2 ended with success, 3 ended otherwise.
    state      INTEGER NOT NULL CHECK (state IN (1, 2, 3)),
    -- How it ended, in words.
    message    TEXT    NOT NULL,
    -- The job's result, which is in no sink.
    payload    INTEGER,
    size       INTEGER NOT NULL CHECK (size >= 0),
    created    INTEGER NOT NULL,
    finished   INTEGER,
    CHECK ((state = 1) = (finished IS NULL)),
    CHECK (state <> 1 OR payload IS NULL),
    UNIQUE (service, idx)
) STRICT;

CREATE INDEX ticket_open ON ticket (service, idx) WHERE state = 1;
CREATE INDEX ticket_by_finished ON ticket (finished) WHERE finished IS NOT NULL;
