//! Leases: taking shards, losing them, giving them back; and what goes wrong.

use std::collections::BTreeSet;

use waxseal_sender::store::{Shard, Shards, Tenure};

use super::{Event, Fault, Node, State, Step, World};
use crate::simulation::Micros;
use crate::simulation::scenario::WARM_UP;

impl World<'_> {
    pub(super) fn tend(&mut self, node: usize) {
        let again = self.now + self.scenario.rules.tend_every;
        match self.nodes[node].state {
            State::Running if self.nodes[node].ends => return,
            State::Running => {
                let tenure = self.registry.tend(node, self.now);
                let answered = self.now + 2 * self.constants.database_round_trip();
                self.at(answered, Event::Of(node, Step::Tended(self.now, tenure)));
            }
            State::Stopped(..) | State::CutOff(_) | State::Gone => {}
        }
        self.at(again, Event::Of(node, Step::Tend));
    }

    pub(super) fn tended(&mut self, node: usize, begun: Micros, tenure: &Tenure) {
        let at = &mut self.nodes[node];
        if self.now >= at.trusted_until {
            at.drop_waiting(Shards::ALL); // others may have worked on them
        }
        at.trusted_until = at.trusted_until.max(begun + self.scenario.rules.trusted_for);
        let known: Shards = at.held.keys().copied().collect();
        at.drop_waiting(known.without(tenure.owned()));
        let changed = |(shard, epoch): &&(Shard, u64)| at.held.get(shard) != Some(epoch);
        let gained: Vec<_> = tenure.shards.iter().filter(changed).copied().collect();
        at.drop_waiting(gained.iter().map(|(shard, _)| *shard).collect());
        at.held.extend(gained.iter().copied());
        let all: Vec<_> = at.held.keys().rev().copied().collect();
        let excess: Shards = all.into_iter().take(tenure.excess).collect();
        self.stop_working_on(node, excess.without(self.nodes[node].leaving));
        self.survey(node, gained);
        self.give_back(node);
        self.claim(node);
    }

    /// Looks for everything that waits in these shards.
    fn survey(&mut self, node: usize, shards: Vec<(Shard, u64)>) {
        let endpoints = |shard: &Shard| {
            let live = self.live[usize::from(shard.number())].iter();
            live.map(|delivery| self.deliveries[*delivery].endpoint).collect::<BTreeSet<_>>().len()
        };
        let found: usize = shards.iter().map(|(shard, _)| endpoints(shard)).sum();
        let effort =
            found as f64 * self.constants.pg_discover_us + shards.len() as f64 * self.constants.pg_probe_us;
        let takes = effort as Micros + self.constants.database_round_trip();
        self.at(self.now + takes, Event::Of(node, Step::Surveyed(shards)));
    }

    pub(super) fn surveyed(&mut self, node: usize, shards: Vec<(Shard, u64)>) {
        for (shard, epoch) in shards {
            let at = &self.nodes[node];
            if at.held.get(&shard) != Some(&epoch) || !at.works_on(shard, self.now) {
                continue;
            }
            if let Some((before, since)) = self.orphaned.remove(&shard)
                && before != node
                && self.now >= WARM_UP
            {
                self.outcome.taken_over.add(self.now - since);
            }
            let live = self.live[usize::from(shard.number())].iter().copied();
            let due: Vec<_> = live.filter(|delivery| self.deliveries[*delivery].due_at <= self.now).collect();
            for delivery in due {
                let work = self.work(delivery);
                self.nodes[node].take_in(work);
            }
        }
        self.claim(node);
    }

    /// Gives back what it stopped working on and has nothing in flight in.
    pub(super) fn give_back(&mut self, node: usize) {
        let at = &mut self.nodes[node];
        if at.leaving.is_empty() && !at.ends {
            return;
        }
        let quiet: Shards = at.leaving.iter().filter(|shard| !at.is_busy(*shard)).collect();
        at.drop_waiting(quiet);
        self.registry.give_back(node, quiet);
        let idle = at.in_flight() == 0 && at.committer.waiting.is_empty() && at.committer.committing == 0;
        if at.ends && idle && at.held.is_empty() {
            at.state = State::Gone;
            self.registry.leave(node);
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        let (node, state) = match fault {
            Fault::Kill(node) => (node, State::Gone),
            Fault::Stop(node, lasts) => (node, State::Stopped(self.now, self.now + lasts)),
            Fault::CutOff(node, lasts) => (node, State::CutOff(self.now + lasts)),
            Fault::Join => {
                self.nodes.push(Node::new(self.scenario.node_cores));
                return self.tend(self.nodes.len() - 1);
            }
            Fault::Leave(node) => {
                self.nodes[node].ends = true;
                let held = self.nodes[node].held.keys().copied().collect();
                self.stop_working_on(node, held);
                return self.give_back(node);
            }
        };
        let at = &mut self.nodes[node];
        self.outcome.exposed += at.in_flight();
        at.state = state;
        let held: Vec<_> = at.held.keys().copied().collect();
        self.orphaned.extend(held.into_iter().map(|shard| (shard, (node, self.now))));
        if let State::Stopped(_, until) | State::CutOff(until) = state {
            self.at(until, Event::Of(node, Step::Continued));
        }
    }

    /// It has heard nothing meanwhile, so it looks through everything that it still trusts to own.
    pub(super) fn continued(&mut self, node: usize) {
        self.nodes[node].state = State::Running;
        let held = self.nodes[node].held.iter().map(|(shard, epoch)| (*shard, *epoch)).collect();
        self.survey(node, held);
        self.commit(node);
        self.claim(node);
    }

    fn stop_working_on(&mut self, node: usize, shards: Shards) {
        let at = &mut self.nodes[node];
        at.leaving = at.leaving.or(shards);
        for shard in shards.iter() {
            self.orphaned.insert(shard, (node, self.now));
        }
    }
}
