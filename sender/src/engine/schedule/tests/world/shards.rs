//! Shards that come and go, and what other nodes do: what must hold of it is checked where deliveries are claimed.

use std::collections::HashMap;

use super::super::super::*;
use super::{ENDPOINTS, ShardStep, World, endpoint_id};
use crate::engine::schedule::shards::Survey;
use crate::model::delivery::LiveDelivery;
use crate::store::{EndpointWork, FoundArrival, Shard, Shards};

/// In whose hands what is.
#[derive(Debug)]
pub(in crate::engine::schedule::tests) struct Hands {
    /// What this node may claim from.
    pub(super) ours: Shards,
    /// What this node begins nothing in, and nobody else either.
    drained: Shards,
    trusted: bool,
    /// How often each shard was in hands that may be others'.
    changes: HashMap<Shard, u64>,
    /// The same, when a delivery was published, and when it was claimed.
    at_publication: HashMap<DeliveryId, u64>,
    at_claim: HashMap<DeliveryId, u64>,
    /// What was cancelled by another node, of which word has not come yet.
    pub(super) ended_elsewhere: HashMap<DeliveryId, EndpointId>,
    /// What another node has accepted, and nobody has noticed.
    unnoticed: Vec<LiveDelivery>,
    /// The look at the store that is under way.
    pub(super) survey: Option<Survey>,
}

impl Default for Hands {
    fn default() -> Self {
        Self {
            ours: Shards::ALL,
            drained: Shards::NONE,
            trusted: true,
            changes: HashMap::new(),
            at_publication: HashMap::new(),
            at_claim: HashMap::new(),
            ended_elsewhere: HashMap::new(),
            unnoticed: Vec::new(),
            survey: None,
        }
    }
}

impl Hands {
    pub(super) fn published(&mut self, delivery: &LiveDelivery) {
        self.at_publication.insert(delivery.id, self.changes_of(delivery));
    }

    pub(super) fn claimed(&mut self, delivery: &LiveDelivery) {
        self.at_claim.insert(delivery.id, self.changes_of(delivery));
    }

    /// Whether others may have had it since it was published.
    pub(super) fn has_changed_since(&self, delivery: &LiveDelivery) -> bool {
        self.at_publication.get(&delivery.id) != Some(&self.changes_of(delivery))
    }

    /// Whether nobody else may have had it since it was claimed.
    pub(super) fn may_go_on(&self, delivery: &LiveDelivery) -> bool {
        self.at_claim.get(&delivery.id) == Some(&self.changes_of(delivery))
    }

    pub(super) fn restart(&mut self) {
        (self.survey, self.drained) = (None, Shards::NONE);
        self.ended_elsewhere.clear();
        self.unnoticed.clear();
    }

    fn changes_of(&self, delivery: &LiveDelivery) -> u64 {
        self.changes.get(&Shard::of(delivery.endpoint)).copied().unwrap_or(0)
    }

    fn others_may(&self, endpoint: EndpointId) -> bool {
        !self.ours.have(endpoint) && !self.drained.have(endpoint)
    }
}

pub(super) fn found(delivery: &LiveDelivery) -> FoundArrival {
    let (endpoint, consumer) = (delivery.endpoint, delivery.consumer.clone());
    FoundArrival { id: delivery.id, work: EndpointWork { endpoint, consumer, next_due: delivery.due_at } }
}

fn shard(endpoint: usize) -> Shards {
    [Shard::of(endpoint_id(endpoint))].into_iter().collect()
}

impl World {
    pub(super) fn shards(&mut self, step: ShardStep) {
        match step {
            ShardStep::Lose { endpoint } => self.lose(shard(endpoint)),
            ShardStep::Gain { endpoint } if self.hands.trusted => self.gain(shard(endpoint)),
            ShardStep::Gain { .. } => {}
            ShardStep::Drain { endpoint } => self.drain_shards(shard(endpoint).and(self.hands.ours)),
            ShardStep::TrustEnds => {
                self.hands.trusted = false;
                self.lose(Shards::ALL);
            }
            ShardStep::TrustReturns => {
                self.hands.trusted = true;
                self.gain(Shards::ALL);
            }
            ShardStep::Publish { endpoint, delay } => {
                let delivery = self.publish(endpoint, delay);
                self.unannounced.insert(delivery.id);
                self.hands.unnoticed.push(delivery);
            }
            ShardStep::Notice { which } => self.notice(which),
            ShardStep::Settle { endpoint, which, again } => self.settle_elsewhere(endpoint, which, again),
            ShardStep::Withdraw { endpoint, which } => self.withdraw_elsewhere(endpoint, which),
            ShardStep::HearOfIt { endpoint } => self.hear_of_it(endpoint_id(endpoint)),
        }
    }

    /// All that others have done is known, and everything is owned.
    pub(in crate::engine::schedule::tests) fn everything_is_ours(&mut self) {
        self.shards(ShardStep::TrustReturns);
        (0..ENDPOINTS).for_each(|endpoint| self.hear_of_it(endpoint_id(endpoint)));
        while !self.hands.unnoticed.is_empty() {
            self.notice(0);
        }
        if self.schedule.wants_survey() {
            self.look_at_store();
            self.discover();
        }
        assert!(!self.schedule.wants_survey());
    }

    fn lose(&mut self, shards: Shards) {
        self.count_change(shards.and(self.hands.ours.or(self.hands.drained)));
        self.schedule.lose(shards, self.now);
        self.part_with(shards);
        self.hands.drained = self.hands.drained.without(shards);
    }

    fn count_change(&mut self, shards: Shards) {
        shards.iter().for_each(|shard| *self.hands.changes.entry(shard).or_default() += 1);
    }

    fn drain_shards(&mut self, shards: Shards) {
        self.schedule.drain(shards, self.now);
        self.part_with(shards);
        self.hands.drained = self.hands.drained.or(shards);
    }

    fn part_with(&mut self, shards: Shards) {
        self.hands.ours = self.hands.ours.without(shards);
        for endpoint in (0..ENDPOINTS).map(endpoint_id).filter(|endpoint| shards.have(*endpoint)) {
            self.watch_anew(endpoint, false);
            // Memory has nothing of it any more: from here on it must be right.
            self.hands.ended_elsewhere.retain(|_, of| *of != endpoint);
        }
    }

    fn gain(&mut self, shards: Shards) {
        // What is drained was given back before.
        let given_back = shards.and(self.hands.drained);
        if !given_back.is_empty() {
            self.lose(given_back);
        }
        let new = shards.without(self.hands.ours);
        self.count_change(new);
        self.schedule.gain(new, self.now);
        self.hands.ours = self.hands.ours.or(new);
        let kept: Vec<_> = self.kept.values().filter(|kept| new.have(kept.endpoint)).cloned().collect();
        kept.into_iter().for_each(|health| self.schedule.restore(health, self.now));
        for endpoint in (0..ENDPOINTS).map(endpoint_id).filter(|endpoint| new.have(*endpoint)) {
            self.watch_anew(endpoint, true);
        }
    }

    fn notice(&mut self, which: usize) {
        if self.hands.unnoticed.is_empty() {
            return;
        }
        let which = which % self.hands.unnoticed.len();
        let delivery = self.hands.unnoticed.swap_remove(which);
        if self.hands.ours.have(delivery.endpoint) {
            self.unannounced.remove(&delivery.id);
        }
        self.schedule.noticed(found(&delivery), self.now);
    }

    fn settle_elsewhere(&mut self, endpoint: usize, which: usize, again: Option<i64>) {
        let endpoint = endpoint_id(endpoint);
        let rows = self.rows_of(endpoint);
        let Some(row) = rows.get(which % rows.len().max(1)).filter(|_| self.hands.others_may(endpoint))
        else {
            return;
        };
        self.take(row);
        if let Some(delay) = again {
            let due_at = Timestamp::from_millis(self.now.as_millis() + delay);
            self.put(LiveDelivery { due_at, attempts_made: row.attempts_made + 1, ..row.clone() });
        }
    }

    fn withdraw_elsewhere(&mut self, endpoint: usize, which: usize) {
        let rows = self.rows_of(endpoint_id(endpoint));
        let Some(row) = rows.get(which % rows.len().max(1)) else { return };
        // Nobody can cancel what its publisher does not know of yet.
        if !self.announcements.iter().any(|announced| announced.id == row.id) {
            self.take(row);
            self.hands.ended_elsewhere.insert(row.id, row.endpoint);
        }
    }

    fn hear_of_it(&mut self, endpoint: EndpointId) {
        self.schedule.distrust(endpoint, self.now);
        self.hands.ended_elsewhere.retain(|_, of| *of != endpoint);
    }

    fn rows_of(&self, endpoint: EndpointId) -> Vec<LiveDelivery> {
        self.rows.get(&endpoint).into_iter().flat_map(|rows| rows.values()).cloned().collect()
    }
}
