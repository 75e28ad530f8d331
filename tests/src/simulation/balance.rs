//! How evenly the load falls on shards, and shards on nodes: the busiest one over the average, over many placements.
//!
//! Nodes own whole shards and take them without looking at their load, so two things are uneven: the number of shards
//! (`256 / nodes`, rounded up: some nodes may be left without any) and what is in them.

use serde::Serialize;
use waxseal_sender::store::Shard;

use super::workload::Workload;
use super::{Random, Registry};

/// The busiest over the average.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Balance {
    /// Of the shards.
    pub shards: f64,
    /// Of the nodes.
    pub nodes: f64,
    /// How many nodes own nothing.
    pub idle: usize,
}

/// The median of so many placements.
pub fn balance(workload: &Workload, nodes: usize, placements: usize, seed: u64) -> Balance {
    let mut random = Random::new(seed);
    let owners = owners(nodes);
    let mut all: Vec<_> = (0..placements).map(|_| once(workload, &owners, nodes, &mut random)).collect();
    all.sort_by(|one, other| one.nodes.total_cmp(&other.nodes));
    let nodes = all[placements / 2];
    all.sort_by(|one, other| one.shards.total_cmp(&other.shards));
    Balance { shards: all[placements / 2].shards, ..nodes }
}

/// The nodes of which more would be idle: those that a share of this many shards keeps busy.
pub fn useful_nodes(nodes: usize) -> usize {
    Shard::COUNT.div_ceil(Shard::COUNT.div_ceil(nodes))
}

/// Who owns each shard when all nodes have come and given back what is more than their share.
fn owners(nodes: usize) -> Vec<usize> {
    let mut registry = Registry::new(1_000);
    for round in 0..2 {
        for node in 0..nodes {
            let tenure = registry.tend(node, round);
            let excess = tenure.shards.iter().rev().take(tenure.excess).map(|(shard, _)| *shard);
            registry.give_back(node, excess.collect());
        }
    }
    (0..nodes).for_each(|node| drop(registry.tend(node, 2)));
    let owner = |number| registry.owner(Shard::new(number)).expect("every shard is somebody's");
    (0..=u8::MAX).map(owner).collect()
}

fn once(workload: &Workload, owners: &[usize], nodes: usize, random: &mut Random) -> Balance {
    let loads = workload.endpoints(random).loads();
    let mut of_nodes = vec![0.0; nodes];
    let mut owned = vec![0; nodes];
    for (owner, load) in owners.iter().zip(&loads) {
        of_nodes[*owner] += load;
        owned[*owner] += 1;
    }
    let idle = owned.iter().filter(|count| **count == 0).count();
    Balance { shards: over_average(&loads), nodes: over_average(&of_nodes), idle }
}

fn over_average(loads: &[f64]) -> f64 {
    loads.iter().copied().fold(0.0, f64::max) * loads.len() as f64 / loads.iter().sum::<f64>()
}
