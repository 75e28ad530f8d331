-- Of which endpoints deliveries were cancelled lately, by a node that need not own their shard. The owner, who may have
-- them in memory, is told; and looks here, as who cancelled may be gone before it has told. The transaction that has
-- written a row says from where on somebody has to look again who did not see it.
CREATE TABLE withdrawn (
    made_by  xid8        NOT NULL DEFAULT pg_current_xact_id(),
    number   bigint      GENERATED ALWAYS AS IDENTITY,
    made_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    endpoint uuid        NOT NULL,
    PRIMARY KEY (made_by, number)
);
