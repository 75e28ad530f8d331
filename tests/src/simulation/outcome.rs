//! What came out of a run.

use std::fmt;

use serde::Serialize;

use super::Micros;

/// What came out of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Events that were acknowledged, one delivery each.
    pub accepted: usize,
    /// Of these: those that have not arrived although their endpoint answers.
    pub missing: usize,
    /// Deliveries that are not settled at the end.
    pub live: usize,
    /// POSTs that were begun.
    pub posts: usize,
    /// How often something arrived that had arrived before.
    pub duplicates: usize,
    /// What was in flight on nodes when they were killed, stopped or cut off: duplicates are at most so many.
    pub exposed: usize,
    /// POSTs that a node began for a shard that was another node's by then.
    pub trespasses: usize,
    /// Settlements that found that somebody else had settled.
    pub superseded: usize,
    /// Attempts that went on record under a number that was there already: the fence is to leave none.
    pub recorded_twice: usize,
    /// From publish to arrival, at endpoints that answer and are no giant.
    pub latency: Times,
    /// From the moment in which a shard's owner stopped working on it until another one had looked through it.
    pub taken_over: Times,
    /// Which share of their time the nodes' cores were used while events were published.
    pub node_utilisation: Vec<f64>,
    /// The same of the database's cores.
    pub database_utilisation: f64,
    /// Microseconds that the database's cores worked, for each event.
    pub database_cpu: f64,
    /// Commands in a transaction, on average.
    pub batch: f64,
    /// Transactions in one flush, on average.
    pub commits_per_flush: f64,
    /// Arrivals at the giant endpoint in a second, while events were published.
    pub giant_rate: f64,
    /// How many shards each node owns at the end.
    pub shards: Vec<usize>,
}

/// Durations, of which shares are asked for.
#[derive(Clone, Default, Serialize)]
#[serde(into = "Summary")]
pub struct Times(Vec<Micros>);

/// What is told of durations: milliseconds.
#[derive(Debug, Serialize)]
struct Summary {
    count: usize,
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Outcome {
    /// The busiest node's utilisation, over that of all.
    pub fn imbalance(&self) -> f64 {
        let most = self.node_utilisation.iter().copied().fold(0.0, f64::max);
        most * self.node_utilisation.len() as f64 / self.node_utilisation.iter().sum::<f64>()
    }
}

impl Times {
    /// Adds one.
    pub fn add(&mut self, time: Micros) {
        self.0.push(time);
    }

    /// Puts them in order, so that shares can be asked for.
    pub fn sort(&mut self) {
        self.0.sort_unstable();
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time, in milliseconds, within which this share of them lies; none, without any.
    pub fn within(&self, share: f64) -> f64 {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).map_or(f64::NAN, |time| *time as f64 / 1e3)
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Summary::from(self.clone()).fmt(f)
    }
}

impl From<Times> for Summary {
    fn from(times: Times) -> Self {
        let at = |share| times.within(share);
        Self { count: times.count(), p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}
