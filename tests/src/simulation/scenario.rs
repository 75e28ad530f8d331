//! What is simulated: how many nodes, what comes in, which rules hold, what goes wrong when.

use waxseal_sender::config::DeliveryConfig;
use waxseal_sender::store::{LEASE, TEND_EVERY, TRUSTED_FOR};

use super::workload::Workload;
use super::{Micros, micros, seconds};

/// One run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Nodes that start together; each serves the API and delivers.
    pub nodes: usize,
    /// Cores of each.
    pub node_cores: usize,
    /// Cores of the database.
    pub database_cores: usize,
    /// Where events go.
    pub workload: Workload,
    /// Events published in a second, one delivery each.
    pub rate: f64,
    /// For how long they are published, after [`WARM_UP`].
    pub publishing: Micros,
    /// For how long what is left may be delivered afterwards.
    pub draining: Micros,
    /// What goes wrong, and how long after the warm-up.
    pub faults: Vec<(Micros, Fault)>,
    /// How much is in flight at once.
    pub slots: Slots,
    /// How long leases last and are trusted.
    pub rules: Rules,
    /// Whether tokens are sealed.
    pub sealed: bool,
    /// Where all random numbers come from.
    pub seed: u64,
}

/// What goes wrong with a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// `kill -9`.
    Kill(usize),
    /// `SIGSTOP`, and `SIGCONT` after so long.
    Stop(usize, Micros),
    /// It does not reach the database for so long.
    CutOff(usize, Micros),
    /// Another node is started.
    Join,
    /// It is asked to end.
    Leave(usize),
}

/// How much is in flight at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Slots {
    /// Of all endpoints together.
    pub all: usize,
    /// Of one endpoint.
    pub endpoint: usize,
    /// Of those that struggle, together.
    pub struggling: usize,
}

/// How long leases last and are trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// See [`LEASE`].
    pub lease: Micros,
    /// See [`TEND_EVERY`].
    pub tend_every: Micros,
    /// See [`TRUSTED_FOR`].
    pub trusted_for: Micros,
}

impl Scenario {
    /// So many nodes of four cores, events for many equal endpoints at this rate, and nothing that goes wrong.
    pub fn calm(nodes: usize, rate: f64) -> Self {
        Self {
            nodes,
            node_cores: 4,
            database_cores: 16,
            workload: Workload::default(),
            rate,
            publishing: seconds(20.0),
            draining: seconds(60.0),
            faults: Vec::new(),
            slots: Slots::default(),
            rules: Rules::default(),
            sealed: false,
            seed: 1,
        }
    }
}

impl Slots {
    /// As configured, with so many for all endpoints together. A quarter is for those that struggle, as in the sender.
    pub fn of(all: usize) -> Self {
        let endpoint = DeliveryConfig::default().max_in_flight_per_endpoint;
        Self { all, endpoint, struggling: (all / 4).max(1) }
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self::of(DeliveryConfig::default().max_in_flight)
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self { lease: micros(LEASE), tend_every: micros(TEND_EVERY), trusted_for: micros(TRUSTED_FOR) }
    }
}

/// How long the nodes have to divide the shards before anything is published.
pub const WARM_UP: Micros = 15_000_000;
