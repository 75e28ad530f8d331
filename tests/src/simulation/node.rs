//! What a node has in memory: its shards, the lanes of endpoints, what is in flight, what waits for a commit.
//!
//! The rules are the engine's: lanes take turns, each has so many deliveries in flight and no more, those that struggle
//! share a part of the slots, and a slot is taken from the claim until the settlement is on disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use waxseal_sender::store::{Shard, Shards};

use super::scenario::Slots;
use super::{Cores, Micros};

/// A node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) state: State,
    pub(super) cores: Cores,
    /// Until when it trusts its lease.
    pub(super) trusted_until: Micros,
    /// What it owns as far as it knows, each with its epoch.
    pub(super) held: BTreeMap<Shard, u64>,
    /// What of it it is about to give back.
    pub(super) leaving: Shards,
    /// Whether it gives back everything, and then ends.
    pub(super) ends: bool,
    pub(super) committer: Committer,
    lanes: BTreeMap<usize, Lane>,
    // Lanes that may have a turn: those that answer, those that struggle.
    turns: [VecDeque<usize>; 2],
    in_flight: [usize; 2],
    by_shard: BTreeMap<Shard, usize>,
    known: BTreeSet<usize>,
}

/// Whether a node runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    Running,
    /// By a signal, at the first time, until the second.
    Stopped(Micros, Micros),
    /// It does not reach the database until then.
    CutOff(Micros),
    Gone,
}

/// What waits for a commit.
#[derive(Clone, Debug, Default)]
pub(super) struct Committer {
    pub(super) waiting: Vec<Command>,
    pub(super) committing: usize,
}

/// What a node wants written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Command {
    Accept(usize),
    /// What was posted, and when it is due again, if it is.
    Settle(Work, Option<Micros>),
}

/// What the node needs to know of a delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Work {
    pub(super) delivery: usize,
    pub(super) endpoint: usize,
    pub(super) shard: Shard,
    pub(super) struggling: bool,
    /// How many attempts there had been when the node read it: what a settlement is fenced by.
    pub(super) attempts: u32,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    waiting: VecDeque<Work>,
    in_flight: usize,
    has_turn: bool,
}

impl Node {
    /// One that has nothing yet.
    pub(super) fn new(cores: usize) -> Self {
        Self {
            state: State::Running,
            cores: Cores::new(cores),
            trusted_until: 0,
            held: BTreeMap::new(),
            leaving: Shards::NONE,
            ends: false,
            committer: Committer::default(),
            lanes: BTreeMap::new(),
            turns: Default::default(),
            in_flight: [0; 2],
            by_shard: BTreeMap::new(),
            known: BTreeSet::new(),
        }
    }

    /// Whether it may begin something in this shard.
    pub(super) fn works_on(&self, shard: Shard, now: Micros) -> bool {
        now < self.trusted_until && self.held.contains_key(&shard) && !self.leaving.contains(shard)
    }

    /// How much is in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.iter().sum()
    }

    /// Whether anything of this shard is in flight.
    pub(super) fn is_busy(&self, shard: Shard) -> bool {
        self.by_shard.get(&shard).is_some_and(|count| *count > 0)
    }

    /// Takes something in, unless it has it.
    pub(super) fn take_in(&mut self, work: Work) {
        if self.known.insert(work.delivery) {
            self.lanes.entry(work.endpoint).or_default().waiting.push_back(work);
            self.give_turn(work);
        }
    }

    /// What is to be made next, if there is something and a slot for it.
    pub(super) fn claim(&mut self, slots: &Slots) -> Option<Work> {
        for (struggling, most) in [(false, slots.all), (true, slots.struggling)] {
            let place = usize::from(struggling);
            while self.in_flight() < slots.all && self.in_flight[place] < most {
                let Some(endpoint) = self.turns[place].pop_front() else { break };
                let Some(lane) = self.lanes.get_mut(&endpoint) else { continue };
                lane.has_turn = false;
                let of_lane = if struggling { (slots.endpoint / 4).max(1) } else { slots.endpoint };
                if lane.in_flight >= of_lane {
                    continue; // it has its next turn when one of them ends
                }
                let Some(work) = lane.waiting.pop_front() else { continue };
                if self.leaving.contains(work.shard) {
                    lane.waiting.push_front(work);
                    continue;
                }
                lane.in_flight += 1;
                self.in_flight[place] += 1;
                *self.by_shard.entry(work.shard).or_default() += 1;
                self.give_turn(work);
                return Some(work);
            }
        }
        None
    }

    /// What was in flight is not any more.
    pub(super) fn ended(&mut self, work: Work) {
        self.in_flight[usize::from(work.struggling)] -= 1;
        *self.by_shard.entry(work.shard).or_default() -= 1;
        self.known.remove(&work.delivery);
        if let Some(lane) = self.lanes.get_mut(&work.endpoint) {
            lane.in_flight -= 1;
            if lane.in_flight == 0 && lane.waiting.is_empty() {
                self.lanes.remove(&work.endpoint);
            }
        }
        self.give_turn(work);
    }

    /// Drops what waits in these shards. What is in flight ends by itself.
    pub(super) fn drop_waiting(&mut self, shards: Shards) {
        for lane in self.lanes.values_mut() {
            if lane.waiting.front().is_some_and(|work| shards.contains(work.shard)) {
                for work in lane.waiting.drain(..) {
                    self.known.remove(&work.delivery);
                }
            }
        }
        self.held.retain(|shard, _| !shards.contains(*shard));
        self.leaving = self.leaving.without(shards);
    }

    fn give_turn(&mut self, work: Work) {
        if let Some(lane) = self.lanes.get_mut(&work.endpoint)
            && !lane.has_turn
            && !lane.waiting.is_empty()
        {
            lane.has_turn = true;
            self.turns[usize::from(work.struggling)].push_back(work.endpoint);
        }
    }
}
