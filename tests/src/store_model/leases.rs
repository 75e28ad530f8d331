//! Which nodes there are, until when, and which shards each owns.

use std::collections::BTreeMap;
use std::time::Duration;

use waxseal_keys::Timestamp;
use waxseal_sender::id::{EndpointId, NodeId};
use waxseal_sender::store::{
    LEASE, Node, NodeState, Overview, Shard, Shards, Tenure, ToldCondition, ToldConditions, Version,
};

/// The nodes and the shards.
#[derive(Debug, Default)]
pub(super) struct Leases {
    nodes: BTreeMap<NodeId, Registered>,
    shards: BTreeMap<Shard, Held>,
}

#[derive(Debug)]
struct Registered {
    node: Node,
    lease_until: Timestamp,
    works_by: Version,
    told: BTreeMap<EndpointId, ToldCondition>,
}

/// A shard that somebody has owned.
#[derive(Debug, Default)]
struct Held {
    owner: Option<NodeId>,
    epoch: u64,
}

impl Leases {
    pub(super) fn tend(&mut self, node: &Node, now: Timestamp) -> Tenure {
        let lease_until = now.saturating_add(LEASE);
        let known = self.nodes.entry(node.id).or_insert_with(|| Registered {
            node: node.clone(),
            lease_until,
            works_by: 0,
            told: BTreeMap::new(),
        });
        known.lease_until = lease_until;
        self.nodes.retain(|_, known| known.lease_until.saturating_add(REMEMBERED) > now);
        let share = if node.role.takes_shards() { self.share(now) } else { 0 };
        let missing = share.saturating_sub(self.of(node.id).len());
        for shard in self.unowned(now).iter().take(missing) {
            let held = self.shards.entry(shard).or_default();
            (held.owner, held.epoch) = (Some(node.id), held.epoch + 1);
        }
        let shards: Vec<_> =
            self.of(node.id).iter().map(|shard| (shard, self.shards[&shard].epoch)).collect();
        Tenure { excess: shards.len().saturating_sub(share), shards }
    }

    pub(super) fn give_back(&mut self, node: NodeId, shards: Shards) {
        let held = self
            .shards
            .iter_mut()
            .filter(|(shard, held)| shards.contains(**shard) && held.owner == Some(node));
        held.for_each(|(_, held)| held.owner = None);
    }

    pub(super) fn leave(&mut self, node: NodeId) {
        self.give_back(node, Shards::ALL);
        self.nodes.remove(&node);
    }

    pub(super) fn overview(&self, now: Timestamp) -> Overview {
        let recent = self.nodes.values().filter(|known| known.lease_until.saturating_add(REMEMBERED) > now);
        let mut nodes: Vec<_> = recent
            .map(|known| NodeState {
                node: known.node.clone(),
                lease_left: known.lease_until.duration_since(now),
                shards: self.of(known.node.id),
                works_by: known.works_by,
            })
            .collect();
        nodes.sort_by_key(|state| (state.node.started_at, state.node.id));
        Overview { nodes, unowned: self.unowned(now), ..Overview::default() }
    }

    pub(super) fn works_by(&mut self, node: NodeId, version: Version) {
        if let Some(known) = self.nodes.get_mut(&node) {
            known.works_by = known.works_by.max(version);
        }
    }

    /// The version by which every node works at least that is remembered.
    pub(super) fn known_by_all(&self) -> Version {
        self.nodes.values().map(|known| known.works_by).min().unwrap_or(0)
    }

    pub(super) fn tell(&mut self, node: NodeId, told: ToldConditions) {
        let Some(known) = self.nodes.get_mut(&node) else { return };
        let told = match told {
            ToldConditions::All(told) => {
                known.told.clear();
                told
            }
            ToldConditions::Changed { told, over } => {
                known.told.retain(|endpoint, _| !over.contains(endpoint));
                told
            }
        };
        known.told.extend(told.into_iter().map(|told| (told.endpoint, told)));
    }

    pub(super) fn told(&self, now: Timestamp) -> impl Iterator<Item = &ToldCondition> {
        self.nodes.values().filter(move |known| known.lease_until > now).flat_map(|known| known.told.values())
    }

    /// What each of the nodes that take shards may own.
    fn share(&self, now: Timestamp) -> usize {
        let live = self.nodes.values().filter(|known| known.lease_until > now);
        Shard::COUNT.div_ceil(live.filter(|known| known.node.role.takes_shards()).count().max(1))
    }

    fn of(&self, node: NodeId) -> Shards {
        self.shards.iter().filter(|(_, held)| held.owner == Some(node)).map(|(shard, _)| *shard).collect()
    }

    fn unowned(&self, now: Timestamp) -> Shards {
        let live = |owner: NodeId| self.nodes.get(&owner).is_some_and(|known| known.lease_until > now);
        let owned = self.shards.iter().filter(|(_, held)| held.owner.is_some_and(live));
        Shards::ALL.without(owned.map(|(shard, _)| *shard).collect())
    }
}

/// How long a node is remembered whose lease is over.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
