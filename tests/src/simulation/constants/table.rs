//! The table of constants: the one place where their values stand.

use serde::Serialize;

/// One figure.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Constant {
    /// What it is called in a file of constants.
    pub name: &'static str,
    /// Its value, in the unit that the name ends with.
    pub value: f64,
    /// What kind of figure it is.
    pub origin: Origin,
    /// What it is, and where it comes from.
    pub source: &'static str,
}

/// What kind of figure it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// By a program of this repository.
    Measured,
    /// On a prototype of the same statements; to be replaced by the store's own figure.
    Prototype,
    /// How the sender is configured, or made.
    Configured,
    /// Of the world around: to be replaced by what is true for the reader.
    Assumed,
}

impl Origin {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Prototype => "prototype",
            Self::Configured => "configured",
            Self::Assumed => "assumed",
        }
    }
}

/// Every figure.
pub const TABLE: &[Constant] = &[
    measured(
        "sender_cpu_signed_us",
        125.0,
        "CPU of the sender for one event and its delivery, 1 KiB, embedded store; `bench`, case `signed, 1 KiB`, two cores",
    ),
    measured(
        "sender_cpu_sealed_us",
        205.0,
        "the same sealed (ES256 in ECDH-ES on P-256); `bench`, case `sealed, 1 KiB`",
    ),
    assumed(
        "sender_publish_share",
        0.3,
        "which part of the signed figure is spent until the 202; from the shares of `bench`'s parts (request in, half of the store)",
    ),
    measured(
        "embedded_row_bytes",
        700.0,
        "disk for an event beside its content, one delivery, one attempt, embedded store; docs/operations.md",
    ),
    measured(
        "embedded_attempt_bytes",
        300.0,
        "disk for each further attempt, embedded store; docs/operations.md says a few hundred",
    ),
    measured(
        "pg_accept_transaction_us",
        510.0,
        "PostgreSQL CPU for a transaction that accepts, beside its rows; `store-bench`, the middle of two runs on a machine that others used",
    ),
    measured("pg_accept_row_us", 27.0, "and for each event with one delivery in it; the same runs"),
    measured(
        "pg_settle_transaction_us",
        715.0,
        "PostgreSQL CPU for a transaction that settles, beside its rows; the same runs",
    ),
    measured("pg_settle_row_us", 9.0, "and for each delivery in it; the same runs"),
    prototype(
        "pg_flush_us",
        210.0,
        "one flush of the log: append of 4 KiB and fdatasync, p50 on a quiet virtual disk",
    ),
    prototype("pg_flush_p99_us", 1_700.0, "the same, p99"),
    prototype(
        "pg_discover_us",
        8.3,
        "finding one endpoint that has work, at a take-over: 16.6 ms for 2,001 in one shard",
    ),
    assumed("pg_probe_us", 30.0, "one look for arrivals in one shard that has none"),
    prototype(
        "pg_content_row_bytes",
        580.0,
        "disk that goes with an event's content, beside it: the rest of `contents` (sealing adds some 130), `event_keys`, indexes; 102,400 events through the schema in SQL",
    ),
    prototype(
        "pg_record_bytes",
        680.0,
        "disk for the records of an event with one delivery and one attempt: `events`, `deliveries`, `attempts`, indexes; the same run",
    ),
    prototype("pg_attempt_bytes", 370.0, "of these: `attempts`, for each attempt; the same run"),
    prototype(
        "pg_wal_bytes",
        2_260.0,
        "log beside the content for one event, accepted and settled in batches of 128 without an idempotency key; the same run, one checkpoint before it",
    ),
    configured("pg_writers", 3.0, "connections of a node that commit"),
    configured(
        "pg_connections_of_node",
        24.0,
        "connections of a node altogether: 3 writers, 3 for single changes, 6 readers, 2 for leases and 6 readers for the cluster, 2 for hints, the turn to configure, upkeep",
    ),
    configured("notify_every_us", 5_000.0, "how long a node gathers hints before it sends one"),
    assumed(
        "notify_commit_us",
        50.0,
        "how long a hint's commit keeps other hints waiting; it waits for no disk (synchronous_commit = off)",
    ),
    assumed("notify_wakeup_us", 20.0, "database CPU for handing one hint to one listener"),
    assumed(
        "directory_endpoint_bytes",
        2_000.0,
        "memory of each node for one endpoint and its share of its consumer",
    ),
    assumed("content_bytes", 1_024.0, "content of an event"),
    assumed("round_trip_us", 50_000.0, "from a node to an endpoint and back, the endpoint's work included"),
    assumed("database_round_trip_us", 300.0, "from a node to the database and back, in one region"),
    assumed(
        "standby_round_trip_us",
        700.0,
        "from the primary to a synchronous standby in another zone and back, its flush included",
    ),
    assumed("node_cores", 16.0, "cores of a node"),
    assumed("node_gbit", 10.0, "network of a node"),
    assumed(
        "busy_at_most",
        0.6,
        "how busy cores may be, so that latency stays low and one node of a few can fail",
    ),
    assumed("primary_cores", 64.0, "cores of the primary"),
    assumed("primary_gbit", 25.0, "network of the primary"),
    assumed(
        "primary_wal_mb",
        800.0,
        "log that the primary's disk takes in a second, beside what checkpoints write",
    ),
    assumed("standby_replay_mb", 200.0, "log that a standby replays in a second: one process does it"),
    assumed("standbys", 2.0, "standbys that the primary sends its log to"),
    assumed("primary_disk_tb", 30.0, "disk of the primary"),
    assumed("table_tb", 32.0, "PostgreSQL's own limit of one table or partition at 8 KiB pages, in TiB"),
    assumed(
        "primary_connections",
        500.0,
        "connections that a primary serves well without a pooler (none can be used: hints and turns belong to a session)",
    ),
    configured("retention_content_days", 30.0, "how long contents are kept; the default"),
    configured("retention_records_days", 90.0, "how long records are kept; the default"),
];

const fn constant(name: &'static str, value: f64, origin: Origin, source: &'static str) -> Constant {
    Constant { name, value, origin, source }
}

const fn measured(name: &'static str, value: f64, source: &'static str) -> Constant {
    constant(name, value, Origin::Measured, source)
}

const fn prototype(name: &'static str, value: f64, source: &'static str) -> Constant {
    constant(name, value, Origin::Prototype, source)
}

const fn configured(name: &'static str, value: f64, source: &'static str) -> Constant {
    constant(name, value, Origin::Configured, source)
}

const fn assumed(name: &'static str, value: f64, source: &'static str) -> Constant {
    constant(name, value, Origin::Assumed, source)
}
