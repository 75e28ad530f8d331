//! Who owns which shard: the table that the nodes share, by the rules of `waxseal_sender::store::Cluster`.
//!
//! Leases end by the store's clock, which is the simulation's. A node gets shards that nobody owns up to a fair share, and
//! is told how many it has beyond that; it keeps those until it gives them back.

use std::collections::BTreeMap;

use waxseal_sender::store::{Shard, Shards, Tenure};

use super::Micros;

/// The nodes with their leases, and the shards with their owners.
#[derive(Clone, Debug)]
pub struct Registry {
    lease: Micros,
    leases: BTreeMap<usize, Micros>,
    owners: Vec<Option<usize>>,
    epochs: Vec<u64>,
}

impl Registry {
    /// Without nodes; a lease lasts this long.
    pub fn new(lease: Micros) -> Self {
        Self {
            lease,
            leases: BTreeMap::new(),
            owners: vec![None; Shard::COUNT],
            epochs: vec![0; Shard::COUNT],
        }
    }

    /// Renews a node's lease and gives it what is free, up to a fair share.
    pub fn tend(&mut self, node: usize, now: Micros) -> Tenure {
        self.leases.insert(node, now + self.lease);
        let fair = self.fair_share(now);
        let mut owned = self.owners.iter().filter(|owner| **owner == Some(node)).count();
        for (owner, epoch) in self.owners.iter_mut().zip(&mut self.epochs) {
            let free = owner.is_none_or(|owner| self.leases.get(&owner).is_none_or(|until| *until <= now));
            if free && owned < fair {
                (*owner, *epoch, owned) = (Some(node), *epoch + 1, owned + 1);
            }
        }
        let shards = self.all().filter(|shard| self.owner(*shard) == Some(node));
        let shards: Vec<_> = shards.map(|shard| (shard, self.epoch(shard))).collect();
        Tenure { excess: shards.len().saturating_sub(fair), shards }
    }

    /// Frees those of these shards that the node owns.
    pub fn give_back(&mut self, node: usize, shards: Shards) {
        for shard in shards.iter() {
            let owner = &mut self.owners[usize::from(shard.number())];
            *owner = owner.filter(|owner| *owner != node);
        }
    }

    /// Frees everything of the node and forgets it.
    pub fn leave(&mut self, node: usize) {
        self.give_back(node, Shards::ALL);
        self.leases.remove(&node);
    }

    /// Who owns this shard, or did when its lease ended.
    pub fn owner(&self, shard: Shard) -> Option<usize> {
        self.owners[usize::from(shard.number())]
    }

    /// How often it has changed hands.
    pub fn epoch(&self, shard: Shard) -> u64 {
        self.epochs[usize::from(shard.number())]
    }

    /// How many shards each node owns whose lease lasts.
    pub fn shares(&self, now: Micros) -> Vec<usize> {
        let live = self.leases.iter().filter(|(_, until)| **until > now);
        live.map(|(node, _)| self.owners.iter().filter(|owner| **owner == Some(*node)).count()).collect()
    }

    fn fair_share(&self, now: Micros) -> usize {
        let live = self.leases.values().filter(|until| **until > now).count();
        Shard::COUNT.div_ceil(live)
    }

    fn all(&self) -> impl Iterator<Item = Shard> + use<> {
        Shards::ALL.iter()
    }
}
