-- Times are Unix milliseconds, generated ids are 16-byte blobs (UUIDv7, so they ascend), names are text.
-- Everything secret is ciphertext before it arrives here.

-- What is configured. Small, read as a whole at start.
CREATE TABLE records (
    kind     TEXT NOT NULL,
    id       TEXT NOT NULL,
    consumer TEXT,
    sealed   BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE ring (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    version   INTEGER NOT NULL,
    sealed    BLOB    NOT NULL
) STRICT;

-- The consumer is '' for the key of things that are no one consumer's; no consumer has an empty name.
CREATE TABLE data_keys (
    consumer TEXT NOT NULL PRIMARY KEY,
    kek_id   TEXT NOT NULL,
    wrapped  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- A small number for each endpoint that was ever delivered to. It keeps the rows and indexes below narrow, and it
-- lets deliveries be listed by consumer without an index of their own: a consumer's deliveries are those of its
-- routes, merged.
CREATE TABLE routes (
    no       INTEGER PRIMARY KEY,
    endpoint BLOB    NOT NULL UNIQUE,
    consumer TEXT    NOT NULL
) STRICT;
CREATE INDEX routes_of_consumer ON routes (consumer);

-- Each payload once. A rowid table, because rows of 1 KiB and more would spill from a clustered index.
CREATE TABLE events (
    no          INTEGER PRIMARY KEY,
    id          BLOB    NOT NULL UNIQUE,
    accepted_at INTEGER NOT NULL,
    event_type  TEXT    NOT NULL,
    sealed      BLOB    NOT NULL
) STRICT;

-- The payload's own key, wrapped for each consumer of the event.
CREATE TABLE event_keys (
    event    BLOB NOT NULL,
    consumer TEXT NOT NULL,
    wrapped  BLOB NOT NULL,
    PRIMARY KEY (event, consumer)
) STRICT, WITHOUT ROWID;

-- Every delivery that ever was; a row never changes. Where the delivery stands is told by the two tables below.
CREATE TABLE deliveries (
    id    BLOB    NOT NULL PRIMARY KEY,
    event BLOB    NOT NULL,
    route INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_of_event ON deliveries (event);

-- Only what is not settled. Clustered in the order in which one endpoint's deliveries become due.
CREATE TABLE delivery_live (
    route         INTEGER NOT NULL,
    due_at        INTEGER NOT NULL,
    id            BLOB    NOT NULL,
    event         BLOB    NOT NULL,
    attempts_made INTEGER NOT NULL,
    PRIMARY KEY (route, due_at, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX delivery_live_by_id ON delivery_live (route, id);

-- What happened, append-only. Attempts are numbered from 1. The row that ended a delivery has the final state.
-- Row 0 is no attempt: it records that the delivery ended without one (cancelled, expired, endpoint gone).
CREATE TABLE attempts (
    delivery       BLOB    NOT NULL,
    number         INTEGER NOT NULL,
    route          INTEGER NOT NULL,
    state          INTEGER,
    recorded_at    INTEGER NOT NULL,
    started_at     INTEGER,
    duration_ms    INTEGER,
    status         INTEGER,
    result         TEXT,
    signing_kid    TEXT,
    encryption_kid TEXT,
    excerpt        BLOB,
    next_at        INTEGER,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;
-- One entry for each delivery that has ended: lists of an endpoint, a consumer or a state are merged from it.
CREATE INDEX deliveries_ended ON attempts (route, state, delivery) WHERE state IS NOT NULL;

-- Requests that would be repetitions. Both fingerprints are keyed.
CREATE TABLE idempotency (
    key        BLOB    NOT NULL PRIMARY KEY,
    content    BLOB    NOT NULL,
    event      BLOB    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
