//! Claim, seal, post: what the owner of a shard does.

use super::{Command, Event, Step, Taken, Work, World};
use crate::simulation::Micros;
use waxseal_sender::store::Shards;

impl World<'_> {
    /// Claims as much as there are slots for. A node that does not trust its lease forgets what waits.
    pub(super) fn claim(&mut self, node: usize) {
        let cost = self.constants.deliver_cpu(self.scenario.sealed);
        let at = &mut self.nodes[node];
        if self.now >= at.trusted_until {
            at.drop_waiting(Shards::ALL);
            return;
        }
        while let Some(work) = self.nodes[node].claim(&self.scenario.slots) {
            let done = self.nodes[node].cores.work(self.now, cost);
            self.at(done, Event::Of(node, Step::Sealed(work)));
        }
    }

    pub(super) fn may_post(&self, node: usize, work: Work) -> bool {
        let node = &self.nodes[node];
        self.now < node.trusted_until && node.held.contains_key(&work.shard)
    }

    pub(super) fn sealed(&mut self, node: usize, work: Work) {
        if self.may_post(node, work) {
            self.post(node, work);
        } else {
            self.nodes[node].ended(work);
            self.give_back(node);
            self.claim(node);
        }
    }

    pub(super) fn post(&mut self, node: usize, work: Work) {
        self.outcome.posts += 1;
        self.outcome.trespasses += usize::from(self.registry.owner(work.shard) != Some(node));
        if self.endpoints.is_dead(work.endpoint) {
            self.at(self.now + self.timeout, Event::Of(node, Step::Answered(work, Taken::No)));
            return;
        }
        let round_trip = self.random.around(self.scenario.workload.round_trip);
        let refused = self.random.share() < self.scenario.workload.refused;
        if !refused {
            self.arrived(work, self.now + round_trip / 2);
        }
        let taken = if refused { Taken::No } else { Taken::Yes };
        self.at(self.now + round_trip, Event::Of(node, Step::Answered(work, taken)));
    }

    fn arrived(&mut self, work: Work, at: Micros) {
        let giant = self.scenario.workload.giant > 0.0 && work.endpoint == 0;
        self.giant_arrivals += usize::from(giant && at <= self.stops_publishing);
        let delivery = &mut self.deliveries[work.delivery];
        delivery.taken += 1;
        if delivery.taken > 1 {
            self.outcome.duplicates += 1;
        } else if !giant {
            self.outcome.latency.add(at - delivery.published_at);
        }
    }

    pub(super) fn answered(&mut self, node: usize, work: Work, taken: Taken) {
        let wait = usize::try_from(work.attempts).ok().and_then(|made| self.retries.get(made).copied());
        let again = match (taken, wait) {
            (Taken::Yes, _) | (Taken::No, None) => None,
            (Taken::No, Some(wait)) => Some(self.now + self.varied(wait)),
        };
        self.write(node, Command::Settle(work, again));
    }

    /// By up to a fifth either way, as the schedule says.
    fn varied(&mut self, wait: Micros) -> Micros {
        wait * 4 / 5 + self.random.below((wait * 2 / 5) as usize + 1) as Micros
    }
}
