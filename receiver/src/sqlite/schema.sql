-- The one schema of the replay guard and the inbox. Moments are Unix milliseconds.

CREATE TABLE replay (
    scope     TEXT    NOT NULL,
    issuer    TEXT    NOT NULL,
    audience  TEXT    NOT NULL,
    event     TEXT    NOT NULL,
    done      INTEGER NOT NULL CHECK (done IN (0, 1)),
    -- When the event was done; while it is leased, when the lease ends.
    at        INTEGER NOT NULL,
    fence     INTEGER NOT NULL,
    PRIMARY KEY (scope, issuer, audience, event)
) STRICT;

CREATE INDEX replay_by_date ON replay (at);

-- The number of the last lease: none is ever given twice.
CREATE TABLE replay_fence (last INTEGER NOT NULL) STRICT;
INSERT INTO replay_fence VALUES (0);

-- Events that were acknowledged and are not processed yet. A processed one is deleted.
CREATE TABLE inbox (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    scope       TEXT    NOT NULL,
    received_at INTEGER NOT NULL,
    -- When the next attempt may begin; while one is at work, when its lease ends.
    due_at      INTEGER NOT NULL,
    -- Begun since the event came or was retried by hand.
    attempts    INTEGER NOT NULL DEFAULT 0,
    -- Of the last attempt: counts up and never starts again.
    fence       INTEGER NOT NULL DEFAULT 0,
    -- When the last attempt had failed; null while there are attempts to come.
    died_at     INTEGER,
    -- The code of the last failure.
    reason      TEXT,
    event       BLOB    NOT NULL
) STRICT;

CREATE INDEX inbox_due ON inbox (scope, due_at, number) WHERE died_at IS NULL;
CREATE INDEX inbox_dead ON inbox (scope, number) WHERE died_at IS NOT NULL;

-- The key under which events rest, wrapped by the key that the operator gives. Empty if they rest in the clear.
CREATE TABLE inbox_key (wrapped BLOB NOT NULL) STRICT;
