-- Times are Unix milliseconds by the clocks of the nodes, which are expected to agree; leases alone go by the clock of
-- the database. Generated ids are UUIDv7, so they ascend with time, and tables that only grow are divided by them.
-- Everything secret is ciphertext before it arrives here.
--
-- Later steps only add. While nodes are replaced one after the other, a program that knows the step before goes on with
-- the tables as a newer one has left them: new columns have defaults, nothing is renamed, nothing changes its meaning.
-- A step that cannot keep to this raises `schema_version.usable_from` to itself, and older programs refuse the store.

-- What is configured. Small, read as a whole at start, then by version: what changed since.
CREATE TABLE records (
    kind     text   NOT NULL,
    id       text   NOT NULL,
    consumer text,
    sealed   bytea  NOT NULL,
    version  bigint NOT NULL,
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 80);
CREATE INDEX records_by_version ON records (version);
-- The health of the endpoints of a shard: the last byte of an endpoint's id is the end of its text.
CREATE INDEX records_of_shard ON records (right(id, 2)) WHERE kind = 'endpoint_health';

-- What is configured no more, with the version in which it went.
CREATE TABLE records_gone (
    kind    text   NOT NULL,
    id      text   NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX records_gone_by_version ON records_gone (version);

-- One row. Whoever changes what is configured counts it up and so holds it until the commit: versions are seen in order.
CREATE TABLE configuration (
    singleton boolean PRIMARY KEY CHECK (singleton),
    version   bigint  NOT NULL
) WITH (fillfactor = 50);
INSERT INTO configuration VALUES (true, 0);

CREATE TABLE ring (
    singleton boolean PRIMARY KEY CHECK (singleton),
    version   bigint  NOT NULL,
    sealed    bytea   NOT NULL
);

-- The consumer is '' for the key of things that are no one consumer's; no consumer has an empty name.
CREATE TABLE data_keys (
    consumer text PRIMARY KEY,
    kek_id   text  NOT NULL,
    wrapped  bytea NOT NULL
);

-- Whose an endpoint is that was ever delivered to. It never changes hands.
CREATE TABLE routes (
    endpoint uuid PRIMARY KEY,
    consumer text NOT NULL
);
CREATE INDEX routes_of_consumer ON routes (consumer, endpoint);

-- What is known of an event beside its content. The names of its consumers are parted by spaces, which no name has.
-- The tie puts those of equal age in an order.
CREATE TABLE events (
    id          uuid   PRIMARY KEY,
    accepted_at bigint NOT NULL,
    tie         bigint NOT NULL,
    expires_at  bigint,
    event_type  text   NOT NULL,
    consumers   text   NOT NULL
) PARTITION BY RANGE (id);
CREATE INDEX events_by_age ON events (accepted_at, tie);

-- Each payload once. It goes before the rest does, whole days of it at a time. Ciphertext does not compress.
CREATE TABLE contents (
    event       uuid   PRIMARY KEY,
    accepted_at bigint NOT NULL,
    tie         bigint NOT NULL,
    sealed      bytea  NOT NULL
) PARTITION BY RANGE (event);
CREATE INDEX contents_by_age ON contents (accepted_at, tie);
ALTER TABLE contents ALTER sealed SET STORAGE EXTERNAL;

-- The payload's own key, wrapped for each consumer of the event. It goes with the payload.
CREATE TABLE event_keys (
    event    uuid  NOT NULL,
    consumer text  NOT NULL,
    wrapped  bytea NOT NULL,
    PRIMARY KEY (event, consumer)
) PARTITION BY RANGE (event);

-- Every delivery that ever was; a row never changes. Where the delivery stands is told by the two tables below.
CREATE TABLE deliveries (
    id       uuid PRIMARY KEY,
    event    uuid NOT NULL,
    endpoint uuid NOT NULL
) PARTITION BY RANGE (id);
CREATE INDEX deliveries_of_event ON deliveries (event, id);

-- What happened, append-only. Attempts are numbered from 1. The row that ended a delivery has the final state.
-- Row 0 is no attempt: it records that the delivery ended without one (cancelled, expired, endpoint gone).
CREATE TABLE attempts (
    delivery       uuid    NOT NULL,
    number         integer NOT NULL,
    endpoint       uuid    NOT NULL,
    state          smallint,
    recorded_at    bigint  NOT NULL,
    started_at     bigint,
    duration_ms    bigint,
    status         integer,
    result         text,
    signing_kid    text,
    encryption_kid text,
    excerpt        bytea,
    next_at        bigint,
    clock_skew     integer,
    PRIMARY KEY (delivery, number)
) PARTITION BY RANGE (delivery);
ALTER TABLE attempts ALTER excerpt SET STORAGE EXTERNAL;
-- One entry for each delivery that has ended: lists of an endpoint, a consumer or a state are merged from it.
CREATE INDEX deliveries_ended ON attempts (endpoint, state, delivery) WHERE state IS NOT NULL;
-- The few deliveries that ended otherwise than well, of all endpoints. What was delivered has no entry here.
CREATE INDEX deliveries_failed ON attempts (state, delivery) WHERE state > 1;
-- What went wrong, in the order in which it was recorded.
CREATE INDEX attempts_failed ON attempts (recorded_at) WHERE state > 1 OR status BETWEEN 400 AND 499;

-- The rest of all time, for what has an id of a day that has no partition.
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE TABLE contents_rest PARTITION OF contents DEFAULT;
CREATE TABLE event_keys_rest PARTITION OF event_keys DEFAULT;
CREATE TABLE deliveries_rest PARTITION OF deliveries DEFAULT;
CREATE TABLE attempts_rest PARTITION OF attempts DEFAULT;

-- Only what is not settled: narrow and hot, written and deleted all the time, so it is vacuumed all the time.
-- One index for each order in which it is read: by id within an endpoint, by due time within it, by id within a shard.
CREATE TABLE delivery_live (
    shard         smallint NOT NULL,
    endpoint      uuid     NOT NULL,
    id            uuid     NOT NULL,
    event         uuid     NOT NULL,
    due_at        bigint   NOT NULL,
    attempts_made integer  NOT NULL,
    expires_at    bigint,
    PRIMARY KEY (shard, endpoint, id)
) WITH (
    fillfactor = 90,
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.1, autovacuum_analyze_threshold = 5000
);
-- Both as expressions, so that each is taken for what it is for, whatever the planner thinks of tables that it knows nothing
-- of yet: a settlement finds its row by the key and never walks over its endpoint's backlog, and one endpoint's deliveries
-- are never looked for among all of its shard's.
CREATE INDEX delivery_live_due ON delivery_live ((shard::bigint), endpoint, due_at, id);
CREATE INDEX delivery_live_arrived ON delivery_live ((shard::integer), id);
-- What has run out is found without looking at what has not. Most deliveries have no such time and no entry here.
CREATE INDEX delivery_live_expiry ON delivery_live (shard, expires_at) WHERE expires_at IS NOT NULL;

-- Requests that would be repetitions. Both fingerprints are keyed.
CREATE TABLE idempotency (
    key        bytea  PRIMARY KEY,
    content    bytea  NOT NULL,
    event      uuid   NOT NULL,
    made_at    bigint NOT NULL,
    expires_at bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX idempotency_by_end ON idempotency (expires_at);

-- Who changed what. Written once with the change, never changed, forgotten by age. What was changed, and how, is
-- ciphertext; what is searched by is not.
CREATE TABLE audit (
    id       uuid  PRIMARY KEY,
    actor    text  NOT NULL,
    action   text  NOT NULL,
    object   text  NOT NULL,
    consumer text,
    sealed   bytea NOT NULL
);
CREATE INDEX audit_of_object ON audit (object, id);
CREATE INDEX audit_of_consumer ON audit (consumer, id) WHERE consumer IS NOT NULL;
CREATE INDEX audit_of_actor ON audit (actor, id);

-- The nodes, each with its lease by the clock of the database.
CREATE TABLE nodes (
    id           uuid        PRIMARY KEY,
    name         text        NOT NULL,
    role         text        NOT NULL,
    takes_shards boolean     NOT NULL,
    program      text        NOT NULL,
    started_at   bigint      NOT NULL,
    lease_until  timestamptz NOT NULL,
    works_by     bigint      NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- Who owns which shard. It is its own while the node's lease lasts; the epoch counts how often it was taken.
CREATE TABLE shards (
    shard smallint PRIMARY KEY,
    owner uuid,
    epoch bigint   NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
INSERT INTO shards SELECT number, NULL, 0 FROM generate_series(0, 255) AS number;

-- How endpoints do that are worth telling of, as the owners of their shards say it.
CREATE TABLE conditions (
    node     uuid NOT NULL,
    endpoint uuid NOT NULL,
    told     text NOT NULL,
    PRIMARY KEY (endpoint, node)
);
CREATE INDEX conditions_of_node ON conditions (node);
