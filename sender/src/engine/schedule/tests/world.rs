//! The store, the tasks and the time, as a model; its steps check what must hold after each of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::super::lane::position;
use super::super::*;
use crate::id::{ConsumerId, DeliveryId, EventId};
use crate::model::delivery::LiveDelivery;
use crate::store::DuePosition;

pub(super) const ENDPOINTS: usize = 5;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Publish { endpoint: usize, delay: i64 },
    Announce { which: usize },
    LoseAnnouncement { which: usize },
    Claim,
    Settle { which: usize, how: How },
    Done { which: usize },
    BeginRead,
    Read { which: usize, fails: bool },
    Hold { endpoint: usize },
    Release { endpoint: usize },
    Withdraw { endpoint: usize, which: usize },
    LookAtStore,
    Discover,
    Doubtful,
    NewEpoch,
    Advance { millis: i64 },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Final,
    Again(i64),
    Held,
    Left,
}

/// The store, the tasks and the time, as a model.
pub(super) struct World {
    pub(super) schedule: Schedule,
    pub(super) limits: Limits,
    pub(super) now: Timestamp,
    pub(super) next_id: u128,
    pub(super) rows: HashMap<EndpointId, BTreeMap<DuePosition, LiveDelivery>>,
    pub(super) announcements: Vec<LiveDelivery>,
    pub(super) unannounced: HashSet<DeliveryId>,
    pub(super) flying: Vec<Claim>,
    pub(super) settled: Vec<(Claim, End)>,
    pub(super) reads: Vec<(Read, Option<Vec<LiveDelivery>>)>,
    pub(super) seen: Vec<EndpointWork>,
}

pub(super) fn endpoint_id(n: usize) -> EndpointId {
    EndpointId::from_bytes(u128::try_from(n + 1).unwrap().to_be_bytes())
}

/// Two endpoints of one consumer, the others alone.
pub(super) fn consumer_of(n: usize) -> ConsumerId {
    ConsumerId::parse(&format!("c{}", n.max(1))).unwrap()
}

pub(super) fn small() -> Limits {
    Limits {
        in_flight: 6,
        per_endpoint: 3,
        lane: 8,
        waiting: 20,
        payload_bytes: 1 << 10,
        read: 4,
        readers: 2,
        look_again: Duration::from_millis(500),
    }
}

impl World {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            schedule: Schedule::new(limits.clone()),
            limits,
            now: Timestamp::from_millis(1_000),
            next_id: 1,
            rows: HashMap::new(),
            announcements: Vec::new(),
            unannounced: HashSet::new(),
            flying: Vec::new(),
            settled: Vec::new(),
            reads: Vec::new(),
            seen: Vec::new(),
        }
    }

    pub(super) fn publish(&mut self, endpoint: usize, delay: i64) -> LiveDelivery {
        // Ids are not in the order of time here: nothing may depend on that.
        let id = self.next_id.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        self.next_id += 1;
        let delivery = LiveDelivery {
            id: DeliveryId::from_bytes(id.to_be_bytes()),
            event: EventId::from_bytes(id.to_be_bytes()),
            endpoint: endpoint_id(endpoint),
            consumer: consumer_of(endpoint),
            due_at: Timestamp::from_millis(self.now.as_millis() + delay),
            attempts_made: 0,
            expires_at: None,
        };
        self.put(delivery.clone());
        delivery
    }

    pub(super) fn put(&mut self, delivery: LiveDelivery) {
        self.rows.entry(delivery.endpoint).or_default().insert(position(&delivery), delivery);
    }

    pub(super) fn take(&mut self, delivery: &LiveDelivery) {
        let row = self.rows.get_mut(&delivery.endpoint).unwrap().remove(&position(delivery));
        assert_eq!(row.as_ref(), Some(delivery), "settled from what the store has");
    }

    pub(super) fn announce(&mut self, delivery: LiveDelivery) {
        self.unannounced.remove(&delivery.id);
        self.schedule.arrive(Arrival { delivery, payload: None }, self.now);
    }

    pub(super) fn claim(&mut self) -> bool {
        let Some(claim) = self.schedule.next(self.now) else { return false };
        let delivery = &claim.delivery;
        assert!(delivery.due_at <= self.now, "claimed before it was due");
        let row = self.rows.get(&delivery.endpoint).and_then(|rows| rows.get(&position(delivery)));
        assert_eq!(row, Some(delivery), "claimed what is not live, or not as it is");
        let out = || self.flying.iter().chain(self.settled.iter().map(|(claim, _)| claim));
        assert!(out().all(|other| other.delivery.id != delivery.id), "in flight twice");
        let same = out().filter(|other| other.delivery.endpoint == delivery.endpoint).count();
        assert!(same < self.limits.per_endpoint && out().count() < self.limits.in_flight, "beyond a limit");
        assert!(self.schedule.holds().all(|(held, _, _)| held != delivery.endpoint), "claimed though held");
        self.flying.push(claim);
        true
    }

    pub(super) fn settle(&mut self, which: usize, how: How) {
        if self.flying.is_empty() {
            return;
        }
        let claim = self.flying.swap_remove(which % self.flying.len());
        let delivery = claim.delivery.clone();
        let end = match how {
            How::Final => {
                self.take(&delivery);
                End::Final(Standing::Sound)
            }
            How::Again(delay) => {
                self.take(&delivery);
                let due_at = Timestamp::from_millis(self.now.as_millis() + delay);
                let again = LiveDelivery { due_at, attempts_made: delivery.attempts_made + 1, ..delivery };
                self.put(again.clone());
                End::Again { delivery: again, standing: Standing::Struggling, hold: None }
            }
            How::Held => End::Held(Hold::NoUsableKey),
            How::Left => {
                // Somebody else took it back, or made an attempt of his own.
                self.take(&delivery);
                if !self.unannounced.contains(&delivery.id) {
                    self.put(LiveDelivery { attempts_made: delivery.attempts_made + 1, ..delivery });
                }
                End::Left
            }
        };
        self.settled.push((claim, end));
    }

    pub(super) fn done(&mut self, which: usize) {
        if !self.settled.is_empty() {
            let (claim, end) = self.settled.swap_remove(which % self.settled.len());
            self.schedule.done(claim, end, self.now);
        }
    }

    /// First looks at the store, then, some steps later, reports.
    pub(super) fn read(&mut self, which: usize, fails: bool) {
        if self.reads.is_empty() {
            return;
        }
        let which = which % self.reads.len();
        let (read, rows) = &mut self.reads[which];
        match rows {
            None => {
                let all = self.rows.get(&read.endpoint).into_iter().flatten();
                let wanted = all.filter(|(position, _)| **position > read.after).map(|(_, row)| row.clone());
                *rows = Some(wanted.take(read.limit).collect());
            }
            Some(_) => {
                let (read, rows) = self.reads.swap_remove(which);
                if fails {
                    self.schedule.reading_failed(read, self.now);
                } else {
                    let arrival = |delivery| Arrival { delivery, payload: None };
                    self.schedule.read(read, rows.unwrap().into_iter().map(arrival).collect(), self.now);
                }
            }
        }
    }

    pub(super) fn look_at_store(&mut self) {
        let live = self
            .rows
            .iter()
            .filter_map(|(endpoint, rows)| rows.first_key_value().map(|first| (endpoint, first)));
        let work = live.map(|(endpoint, (position, row))| EndpointWork {
            endpoint: *endpoint,
            consumer: row.consumer.clone(),
            next_due: position.due_at,
        });
        self.seen = work.collect();
    }

    /// Somebody ends a delivery in the store and says so: one that waits, or that memory does not know.
    pub(super) fn withdraw(&mut self, endpoint: usize, which: usize) {
        let endpoint = endpoint_id(endpoint);
        let rows: Vec<_> = self.rows.get(&endpoint).into_iter().flat_map(BTreeMap::values).cloned().collect();
        let Some(delivery) = rows.get(which % rows.len().max(1)) else { return };
        if self.schedule.is_in_flight(endpoint, delivery.id) {
            assert_eq!(self.schedule.withdraw(endpoint, &[delivery.id], self.now), [delivery.id]);
            return; // and its attempt is settled as if nothing had been said
        }
        self.take(delivery);
        assert_eq!(self.schedule.withdraw(endpoint, &[delivery.id], self.now), []);
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Publish { endpoint, delay } => {
                let delivery = self.publish(endpoint, delay);
                self.unannounced.insert(delivery.id);
                self.announcements.push(delivery);
            }
            Step::Announce { which } => {
                if !self.announcements.is_empty() {
                    let delivery = self.announcements.swap_remove(which % self.announcements.len());
                    self.announce(delivery);
                }
            }
            Step::LoseAnnouncement { which } => {
                if !self.announcements.is_empty() {
                    self.announcements.swap_remove(which % self.announcements.len());
                }
            }
            Step::Claim => drop(self.claim()),
            Step::Settle { which, how } => self.settle(which, how),
            Step::Done { which } => self.done(which),
            Step::BeginRead => self.reads.extend(self.schedule.next_read(self.now).map(|read| (read, None))),
            Step::Read { which, fails } => self.read(which, fails),
            Step::Hold { endpoint } => {
                self.schedule.hold(endpoint_id(endpoint), Hold::EndpointPaused, self.now)
            }
            Step::Release { endpoint } => self.schedule.release(endpoint_id(endpoint), self.now),
            Step::Withdraw { endpoint, which } => self.withdraw(endpoint, which),
            Step::LookAtStore => self.look_at_store(),
            Step::Discover => {
                for work in std::mem::take(&mut self.seen) {
                    self.schedule.discovered(work, self.now);
                }
            }
            Step::Doubtful => drop(self.schedule.doubtful(self.now)),
            Step::NewEpoch => self.schedule.new_epoch(),
            Step::Advance { millis } => self.now = Timestamp::from_millis(self.now.as_millis() + millis),
        }
        self.check_memory();
    }

    pub(super) fn check_memory(&self) {
        let mut waiting = 0;
        for lane in self.schedule.lanes.values() {
            assert!(lane.waiting() <= self.limits.lane, "a lane holds too much");
            assert!(lane.held.is_none() || lane.waiting() == 0, "a held lane holds deliveries");
            waiting += lane.waiting();
        }
        assert_eq!(waiting, self.schedule.room.waiting);
        assert!(waiting <= self.limits.waiting + self.schedule.lanes() * self.limits.lane_when_full());
        let flying = self.flying.len() + self.settled.len();
        assert_eq!(flying, self.schedule.in_flight());
        assert!(self.schedule.timers.len() <= self.schedule.lanes.len());
    }

    /// Everything goes well from here on. The next step is taken when the schedule says so, and no other.
    pub(super) fn drain(&mut self, rounds: usize) {
        for _ in 0..rounds {
            drop(self.schedule.doubtful(self.now));
            let held: Vec<_> = self.schedule.holds().map(|(endpoint, _, _)| endpoint).collect();
            held.into_iter().for_each(|endpoint| self.schedule.release(endpoint, self.now));
            while let Some(read) = self.schedule.next_read(self.now) {
                self.reads.push((read, None));
            }
            while !self.reads.is_empty() {
                self.read(0, false);
            }
            while self.claim() {}
            while !self.flying.is_empty() {
                self.settle(0, How::Final);
            }
            while !self.settled.is_empty() {
                self.done(0);
            }
            self.check_memory();
            let at_once = self.schedule.next_read(self.now);
            let ready = at_once.map(|read| self.reads.push((read, None))).is_some() || self.claim();
            if let (false, Some(wake)) = (ready, self.schedule.next_wake()) {
                assert!(wake > self.now, "a wake-up that has passed");
                self.now = wake;
            }
        }
    }

    pub(super) fn live(&self) -> HashSet<DeliveryId> {
        self.rows.values().flat_map(BTreeMap::values).map(|row| row.id).collect()
    }
}
