-- A store that is being moved into this database, or was: while the row has no end, no sender works here.
CREATE TABLE moving (
    singleton   boolean     PRIMARY KEY CHECK (singleton),
    source      text        NOT NULL,
    state       text        NOT NULL,
    began_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);

-- How far that is. A position is whatever the source says that it is; null: all of this kind is here.
CREATE TABLE moving_positions (
    kind     text PRIMARY KEY,
    position text,
    rows     bigint NOT NULL
);
