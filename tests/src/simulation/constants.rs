//! Every figure that the simulation and the computation use, with where it comes from.
//!
//! There are four kinds, and a report keeps them apart: **measured** by a program of this repository; measured on a
//! **prototype** of the same statements or on the schema alone (to be replaced by the store's own); **configured**, or how
//! the sender is made; and **assumed** of the world around (a network, a machine, endpoints), for the reader to replace
//! by what is true for them.
//!
//! [`Constants::with`] takes a JSON file: `{"constants": {"sender_cpu_signed_us": 210}}`, or what `bench --json` wrote, or
//! both in one.

mod table;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::table::{Constant, Origin, TABLE};
use super::Micros;

/// The values. Each is a row of [`TABLE`], which says what it is and where it comes from.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Constants {
    pub sender_cpu_signed_us: f64,
    pub sender_cpu_sealed_us: f64,
    pub sender_publish_share: f64,
    pub embedded_row_bytes: f64,
    pub embedded_attempt_bytes: f64,
    pub pg_accept_transaction_us: f64,
    pub pg_accept_row_us: f64,
    pub pg_settle_transaction_us: f64,
    pub pg_settle_row_us: f64,
    pub pg_flush_us: f64,
    pub pg_flush_p99_us: f64,
    pub pg_discover_us: f64,
    pub pg_probe_us: f64,
    pub pg_content_row_bytes: f64,
    pub pg_record_bytes: f64,
    pub pg_attempt_bytes: f64,
    pub pg_wal_bytes: f64,
    pub pg_writers: f64,
    pub pg_connections_of_node: f64,
    pub notify_every_us: f64,
    pub notify_commit_us: f64,
    pub notify_wakeup_us: f64,
    pub directory_endpoint_bytes: f64,
    pub content_bytes: f64,
    pub round_trip_us: f64,
    pub database_round_trip_us: f64,
    pub standby_round_trip_us: f64,
    pub node_cores: f64,
    pub node_gbit: f64,
    pub busy_at_most: f64,
    pub primary_cores: f64,
    pub primary_gbit: f64,
    pub primary_wal_mb: f64,
    pub standby_replay_mb: f64,
    pub standbys: f64,
    pub primary_disk_tb: f64,
    pub table_tb: f64,
    pub primary_connections: f64,
    pub retention_content_days: f64,
    pub retention_records_days: f64,
}

/// Why a file of constants was not taken.
#[derive(Debug)]
pub struct NotTaken(String);

impl Constants {
    /// With what this file says in place of the table's values.
    pub fn with(&self, file: &Value) -> Result<Self, NotTaken> {
        let Ok(Value::Object(mut values)) = serde_json::to_value(self) else {
            unreachable!("it is a struct")
        };
        if file.get("constants").or(file.get("cases")).is_none() {
            return Err(NotTaken("it has neither `constants` nor the `cases` of `bench --json`".to_owned()));
        }
        values.extend(of_benchmark(file)?);
        if let Some(own) = file.get("constants") {
            let own = own.as_object().ok_or(NotTaken("`constants` is no object".to_owned()))?;
            values.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        if let Some((name, _)) =
            values.iter().find(|(_, value)| value.as_f64().is_none_or(|value| value < 0.0))
        {
            return Err(NotTaken(format!("`{name}` is no number from 0")));
        }
        serde_json::from_value(Value::Object(values)).map_err(|error| NotTaken(error.to_string()))
    }

    /// CPU time for taking one event in.
    pub fn publish_cpu(&self) -> Micros {
        (self.sender_cpu_signed_us * self.sender_publish_share) as Micros
    }

    /// CPU time for making one delivery, from the claim to the settlement.
    pub fn deliver_cpu(&self, sealed: bool) -> Micros {
        self.sender_cpu(sealed) as Micros - self.publish_cpu()
    }

    /// CPU time of the sender for one event and its one delivery, in microseconds.
    pub fn sender_cpu(&self, sealed: bool) -> f64 {
        if sealed { self.sender_cpu_sealed_us } else { self.sender_cpu_signed_us }
    }

    /// From a node to the database and back.
    pub fn database_round_trip(&self) -> Micros {
        self.database_round_trip_us as Micros
    }

    /// From a node to an endpoint and back, its own work included.
    pub fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip_us as u64)
    }
}

impl Default for Constants {
    fn default() -> Self {
        let values: Map<_, _> =
            TABLE.iter().map(|constant| (constant.name.to_owned(), constant.value.into())).collect();
        serde_json::from_value(Value::Object(values))
            .expect("the table has a row for each field and no other")
    }
}

impl std::fmt::Display for NotTaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `bench --json` measured: the two plain cases, by way of PostgreSQL if that is among them, as several nodes share it.
fn of_benchmark(file: &Value) -> Result<Map<String, Value>, NotTaken> {
    let mut values = Map::new();
    let Some(cases) = file.get("cases") else { return Ok(values) };
    let cases = cases.as_array().ok_or(NotTaken("`cases` is no list".to_owned()))?;
    for (protection, name) in [("signed", "sender_cpu_signed_us"), ("sealed", "sender_cpu_sealed_us")] {
        let plain = |case: &&Value| {
            let case = &case["case"];
            case["protection"] == protection
                && case["consumers"] == 1
                && case["payload"] == 1_024
                && case["fan_out"] == 1
                && case["backlog"] == 0
        };
        let shared = |case: &&Value| plain(case) && case["case"]["store"] == "postgres";
        if let Some(case) = cases.iter().find(shared).or_else(|| cases.iter().find(plain)) {
            values.insert(name.to_owned(), case["sender"].clone());
        }
    }
    Ok(values)
}
