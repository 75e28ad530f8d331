//! What a rate of deliveries needs, and which limit of one primary it meets first. Computed, not run.
//!
//! Every [`Limit`] is what is needed over what there is. What grows with the rate alone is linear; batches, and so the
//! database's CPU time and transactions, follow from how long a commit takes and how many nodes share the rate; hints
//! grow with the square of the nodes.

use serde::Serialize;
use waxseal_sender::config::DeliveryConfig;
use waxseal_sender::store::Shard;

use super::constants::Constants;
use super::wire;

/// What is to be carried.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Load {
    /// Deliveries in a second, one for each event, each made with one attempt.
    pub rate: f64,
    /// Whether tokens are sealed.
    pub sealed: bool,
    /// Endpoints that are configured.
    pub endpoints: f64,
    /// Days that contents and records are kept.
    pub kept_days: (f64, f64),
}

/// What that needs.
#[derive(Clone, Debug, Serialize)]
pub struct Needs {
    /// Nodes, one of which may fail.
    pub nodes: f64,
    /// Cores that the nodes use.
    pub cores_used: f64,
    /// Cores that the database uses.
    pub database_cores_used: f64,
    /// Commands in a transaction.
    pub batch: f64,
    /// Transactions in a second.
    pub commits: f64,
    /// Megabytes of log in a second.
    pub wal_mb: f64,
    /// Terabytes on the primary's disk.
    pub disk_tb: f64,
    /// Terabytes that a day adds to it, before anything is removed.
    pub disk_tb_a_day: f64,
    /// Rows of `attempts` in a day.
    pub attempts_a_day: f64,
    /// Terabytes of the largest partition of a day.
    pub partition_tb: f64,
    /// Rows of `delivery_live` that die in a second.
    pub dead_rows: f64,
    /// Hours until autovacuum has to freeze (`autovacuum_freeze_max_age` of 200 million).
    pub hours_to_freeze: f64,
    /// Entries of the index of arrivals that the looks of one second pass over, if nothing has removed dead ones.
    pub poll_entries: f64,
    /// Connections to the primary.
    pub connections: f64,
    /// Hints in a second that are handed to listeners.
    pub wakeups: f64,
    /// POSTs in flight on each node.
    pub in_flight_of_node: f64,
    /// Sockets towards endpoints on each node, if each endpoint has one and was used within 15 seconds.
    pub sockets_of_node: f64,
    /// Megabits in a second that a node sends to endpoints.
    pub node_sends_mbit: f64,
    /// Gigabytes of each node's memory that are configuration.
    pub directory_gb: f64,
    /// What of one primary is used, and how much.
    pub limits: Vec<Limit>,
}

/// Something that there is only so much of.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limit {
    /// What.
    pub name: &'static str,
    /// How much is needed, over how much there is.
    pub used: f64,
}

impl Load {
    /// Signed, with as many endpoints as deliveries in a second, and the default retention.
    pub fn of(rate: f64, constants: &Constants) -> Self {
        let kept_days = (constants.retention_content_days, constants.retention_records_days);
        Self { rate, sealed: false, endpoints: rate, kept_days }
    }

    /// What it needs.
    pub fn needs(&self, constants: &Constants) -> Needs {
        let Self { rate, sealed, endpoints, .. } = *self;
        let cores_used = rate * constants.sender_cpu(sealed) / 1e6;
        let nodes = (cores_used / constants.busy_at_most / constants.node_cores).ceil() + 1.0;
        let nodes = nodes.max(LEAST_NODES);
        let writing = Writing::of(rate, nodes, constants);
        let token = if sealed { wire::sealed } else { wire::signed };
        let sent = wire::sent(token(constants.content_bytes as usize, &wire::Names::default()));
        let hints = nodes * (1e6 / constants.notify_every_us).min(rate / nodes);
        let partition =
            rate * DAY / TB * constants.pg_attempt_bytes.max(constants.content_bytes + CONTENT_ROW_BYTES);
        let mut needs = Needs {
            nodes,
            cores_used,
            database_cores_used: writing.cores + hints * nodes * constants.notify_wakeup_us / 1e6,
            batch: writing.batch,
            commits: writing.commits,
            wal_mb: rate * (constants.content_bytes + constants.pg_wal_bytes) / 1e6,
            disk_tb: Self::disk_tb(rate, self.kept_days, constants),
            disk_tb_a_day: Self::disk_tb(rate, (1.0, 1.0), constants),
            attempts_a_day: rate * DAY,
            partition_tb: partition,
            dead_rows: rate,
            hours_to_freeze: 200e6 / writing.commits / 3_600.0,
            poll_entries: rate * POLL_TRAILS,
            connections: nodes * constants.pg_connections_of_node,
            wakeups: hints * nodes,
            in_flight_of_node: rate * constants.round_trip_us / 1e6 / nodes,
            sockets_of_node: (endpoints + rate * constants.round_trip_us / 1e6) / nodes,
            node_sends_mbit: rate / nodes * sent as f64 * 8.0 / 1e6,
            directory_gb: endpoints * constants.directory_endpoint_bytes / 1e9,
            limits: Vec::new(),
        };
        needs.limits = needs.limits(self, hints, constants);
        needs
    }

    /// The lowest rate at which this limit is met, if it is below a thousand million a second.
    pub fn met_at(&self, name: &str, constants: &Constants) -> Option<f64> {
        let used = |rate: f64| {
            let load = Self { rate, endpoints: self.endpoints * rate / self.rate, ..*self };
            load.needs(constants)
                .limits
                .iter()
                .find(|limit| limit.name == name)
                .map_or(0.0, |limit| limit.used)
        };
        let (mut low, mut high) = (1.0_f64, 1e9_f64);
        for _ in 0..60 {
            let middle = (low * high).sqrt();
            if used(middle) < 1.0 { low = middle } else { high = middle }
        }
        (used(high) >= 1.0).then_some(high)
    }

    /// How many PostgreSQL clusters, each with an even part of the load, so that no limit is met but that of the disk.
    pub fn clusters(&self, constants: &Constants) -> f64 {
        let part = |clusters: f64| Self {
            rate: self.rate / clusters,
            endpoints: self.endpoints / clusters,
            ..*self
        };
        let fits = |clusters: &f64| {
            let limits = part(*clusters).needs(constants).limits;
            limits.iter().all(|limit| limit.used < 1.0 || limit.name == DISK)
        };
        (1..10_000_u32).map(f64::from).find(fits).unwrap_or(f64::NAN)
    }

    fn disk_tb(rate: f64, (content, records): (f64, f64), constants: &Constants) -> f64 {
        let content_bytes = constants.content_bytes + constants.pg_content_row_bytes;
        rate * DAY * (content * content_bytes + records * constants.pg_record_bytes) / TB
    }
}

impl Needs {
    /// The limits that are met, or nearest, first.
    fn limits(&self, load: &Load, hints: f64, constants: &Constants) -> Vec<Limit> {
        let content_gbit = load.rate * 2.0 * constants.content_bytes * 8.0 / 1e9;
        let log_gbit = self.wal_mb * 8.0 / 1e3 * constants.standbys;
        let polls = SHARDS * constants.pg_probe_us / 1e6;
        let cores = self.database_cores_used + polls;
        let of_node = load.rate / self.nodes;
        let node_gbit = self.node_sends_mbit / 1e3 + of_node * constants.content_bytes * 3.0 * 8.0 / 1e9;
        let all = [
            (DISK, self.disk_tb / constants.primary_disk_tb),
            ("log that a standby replays", self.wal_mb / constants.standby_replay_mb),
            ("log that the primary writes", self.wal_mb / constants.primary_wal_mb),
            ("network of the primary", (content_gbit + log_gbit) / constants.primary_gbit),
            ("cores of the primary", cores / (constants.primary_cores * constants.busy_at_most)),
            ("connections of the primary", self.connections / constants.primary_connections),
            ("hints, one at a time", hints * constants.notify_commit_us / 1e6),
            ("one partition of a day", self.partition_tb / (constants.table_tb * 1.024_f64.powi(4))),
            ("shards for nodes", self.nodes / SHARDS),
            ("network of a node", node_gbit / constants.node_gbit),
            ("POSTs in flight on a node", self.in_flight_of_node / MOST_IN_FLIGHT),
        ];
        let mut limits: Vec<_> = all.into_iter().map(|(name, used)| Limit { name, used }).collect();
        limits.sort_by(|one, other| other.used.total_cmp(&one.used));
        limits
    }
}

/// The most that one endpoint gets in a second, with so much in flight.
pub fn of_one_endpoint(concurrency: usize, constants: &Constants) -> f64 {
    concurrency as f64 / (constants.round_trip_us / 1e6)
}

/// The same as configured by default.
pub fn default_concurrency() -> usize {
    DeliveryConfig::default().max_in_flight_per_endpoint
}

/// The most that one shard gets in a second: it is on one node.
pub fn of_one_shard(sealed: bool, constants: &Constants) -> f64 {
    constants.node_cores * constants.busy_at_most * 1e6 / constants.sender_cpu(sealed)
}

/// What the nodes' writers do to the database.
struct Writing {
    batch: f64,
    commits: f64,
    cores: f64,
}

impl Writing {
    /// A writer takes what has come while it committed; so the batch is as large as the commit takes long.
    fn of(rate: f64, nodes: f64, constants: &Constants) -> Self {
        let commands = 2.0 * rate; // an event is accepted, its delivery is settled
        let of_writer = commands / nodes / constants.pg_writers / 1e6;
        let waits = 1.5 * constants.pg_flush_us
            + constants.standby_round_trip_us
            + 2.0 * constants.database_round_trip_us;
        let mut batch: f64 = 1.0;
        for _ in 0..100 {
            batch = (of_writer * (waits + transaction(batch, constants))).clamp(1.0, 256.0);
        }
        let commits = commands / batch;
        Self { batch, commits, cores: commits * transaction(batch, constants) / 1e6 }
    }
}

/// Database CPU for a transaction of so many commands, half of them of each kind; a small one may have one kind only.
fn transaction(batch: f64, constants: &Constants) -> f64 {
    let has_one = 1.0 - 0.5_f64.powf(batch);
    has_one * (constants.pg_accept_transaction_us + constants.pg_settle_transaction_us)
        + batch / 2.0 * (constants.pg_accept_row_us + constants.pg_settle_row_us)
}

/// Two, of which one may fail, would leave one alone with everything.
const LEAST_NODES: f64 = 3.0;

/// What retention decides, and more clusters do not.
pub const DISK: &str = "disk of the primary";

const SHARDS: f64 = Shard::COUNT as f64;
const DAY: f64 = 86_400.0;
const TB: f64 = 1e12;

/// What a row of `contents` takes beside the content, sealing and index included: of the run that `pg_content_row_bytes` names.
const CONTENT_ROW_BYTES: f64 = 380.0;

/// Seconds of arrivals that the looks of one second begin before it: each second three of them, and each 15 seconds 45.
const POLL_TRAILS: f64 = 6.0;

/// The most that `delivery.max_in_flight` takes.
const MOST_IN_FLIGHT: f64 = 10_000.0;
