//! The store, the tasks and the time, as a model; its steps check what must hold after each of them.

mod health;
mod shards;
mod step;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;

use self::shards::{Hands, found};
pub(super) use self::step::{How, ShardStep, Step};
use super::super::*;
use crate::engine::breaker::BreakerPolicy;
use crate::engine::hold::Hold;
use crate::engine::pace::Terms;
use crate::engine::place::place;
use crate::id::{ConsumerId, DeliveryId, EventId};
use crate::model::delivery::LiveDelivery;
use crate::model::pace::Order;
use crate::store::{DuePosition, EndpointWork, Shards};

pub(super) const ENDPOINTS: usize = 5;

/// What endpoints are configured to.
#[derive(Debug, Default)]
pub(super) struct Configuration(Mutex<HashMap<EndpointId, Terms>>);

impl TermsOf for Configuration {
    fn terms_of(&self, endpoint: EndpointId) -> Terms {
        self.0.lock().unwrap().get(&endpoint).cloned().unwrap_or_default()
    }
}

/// What must hold for one endpoint, worked out by itself.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// When deliveries were claimed under the present rate.
    claimed: Vec<Timestamp>,
    /// Not before this, whatever is due.
    not_before: Option<Timestamp>,
    failures: u32,
    open: bool,
}

/// The store, the tasks and the time, as a model.
pub(super) struct World {
    pub(super) schedule: Schedule,
    pub(super) hands: Hands,
    pub(super) configuration: Arc<Configuration>,
    pub(super) policy: BreakerPolicy,
    pub(super) watched: HashMap<EndpointId, Watched>,
    pub(super) writes: Vec<(EndpointId, HealthChange)>,
    pub(super) kept: HashMap<EndpointId, crate::model::health::EndpointHealth>,
    /// Whether ids are in the order in which they are made.
    pub(super) ascending: bool,
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

/// The schedule of a process that has just begun.
pub(super) fn fresh(limits: &Limits, configuration: &Arc<Configuration>) -> Schedule {
    let terms: Arc<dyn TermsOf> = Arc::<Configuration>::clone(configuration);
    let mut schedule = Schedule::new(limits.clone(), terms);
    schedule.gain(Shards::ALL, Timestamp::MIN);
    schedule
}

/// Where the store has a delivery.
fn due_place(delivery: &LiveDelivery) -> DuePosition {
    place(Order::Any, delivery)
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
        let configuration = Arc::new(Configuration::default());
        let mut schedule = fresh(&limits, &configuration);
        schedule.surveyed(schedule.begin_survey());
        Self {
            schedule,
            hands: Hands::default(),
            configuration,
            policy: BreakerPolicy {
                failures: 3,
                first_pause: Duration::from_millis(100),
                longest_pause: Duration::from_millis(400),
                longest_rest: Duration::from_millis(600),
                ..BreakerPolicy::default()
            },
            watched: HashMap::new(),
            writes: Vec::new(),
            kept: HashMap::new(),
            ascending: false,
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
        // Ids are not in the order of time here, unless that is wanted: nothing else may depend on it.
        let mixed = self.next_id.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        let id = if self.ascending { self.next_id } else { mixed };
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
        self.hands.published(&delivery);
        delivery
    }

    pub(super) fn put(&mut self, delivery: LiveDelivery) {
        self.rows.entry(delivery.endpoint).or_default().insert(due_place(&delivery), delivery);
    }

    pub(super) fn take(&mut self, delivery: &LiveDelivery) {
        let row = self.rows.get_mut(&delivery.endpoint).unwrap().remove(&due_place(delivery));
        assert_eq!(row.as_ref(), Some(delivery), "settled from what the store has");
    }

    pub(super) fn announce(&mut self, delivery: LiveDelivery) {
        self.unannounced.remove(&delivery.id);
        if self.hands.has_changed_since(&delivery) {
            return self.schedule.noticed(found(&delivery), self.now);
        }
        self.schedule.arrive(Arrival { delivery, payload: None }, self.now);
    }

    pub(super) fn claim(&mut self) -> bool {
        let Some(claim) = self.schedule.next(self.now) else { return false };
        let delivery = &claim.delivery;
        assert!(delivery.due_at <= self.now, "claimed before it was due");
        assert!(self.hands.ours.have(delivery.endpoint), "claimed what is not owned");
        if !self.hands.ended_elsewhere.contains_key(&delivery.id) {
            assert!(self.is_live(delivery), "claimed what is not live, or not as it is");
        }
        let out = || self.flying.iter().chain(self.settled.iter().map(|(claim, _)| claim));
        assert!(out().all(|other| other.delivery.id != delivery.id), "in flight twice");
        let same = out().filter(|other| other.delivery.endpoint == delivery.endpoint).count();
        let terms = self.configuration.terms_of(delivery.endpoint);
        let most = match terms.order {
            Order::Any => terms.concurrency.unwrap_or(self.limits.per_endpoint),
            Order::Fifo => 1,
        };
        // What was claimed under other terms stays in flight.
        assert!(same < most && out().count() < self.limits.in_flight, "beyond a limit");
        assert!(self.schedule.holds().all(|(held, _, _)| held != delivery.endpoint), "claimed though held");
        self.check_turn(&claim, &terms, same);
        self.hands.claimed(&claim.delivery);
        self.flying.push(claim);
        true
    }

    pub(super) fn discover(&mut self) {
        for work in std::mem::take(&mut self.seen) {
            self.schedule.discovered(work, self.now);
        }
        if let Some(survey) = self.hands.survey.take() {
            self.schedule.surveyed(survey);
        }
    }

    pub(super) fn settle(&mut self, which: usize, how: How) {
        if self.flying.is_empty() {
            return;
        }
        let claim = self.flying.swap_remove(which % self.flying.len());
        let delivery = claim.delivery.clone();
        self.observe(&claim, how);
        let end = match how {
            // Somebody else has settled it meanwhile.
            _ if !self.is_live(&delivery) => End::Left,
            How::Final | How::Refused | How::Slow(_) => {
                self.take(&delivery);
                End::Final
            }
            How::Again(delay) | How::Rest(delay) => {
                self.take(&delivery);
                let due_at = Timestamp::from_millis(self.now.as_millis() + delay);
                let again = LiveDelivery { due_at, attempts_made: delivery.attempts_made + 1, ..delivery };
                self.put(again.clone());
                End::Again { delivery: again, hold: None }
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
                let all = self.rows.get(&read.endpoint).into_iter().flat_map(BTreeMap::values);
                let mut all: Vec<_> = all.cloned().collect();
                all.sort_by_key(|row| place(read.order, row));
                let wanted = all.into_iter().filter(|row| match read.order {
                    Order::Any => due_place(row) > read.after,
                    Order::Fifo => row.id > read.after.id,
                });
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
        let survey = self.schedule.begin_survey();
        self.hands.survey = Some(survey);
        let live = self
            .rows
            .iter()
            .filter_map(|(endpoint, rows)| rows.first_key_value().map(|first| (endpoint, first)));
        let work = live.map(|(endpoint, (position, row))| EndpointWork {
            endpoint: *endpoint,
            consumer: row.consumer.clone(),
            next_due: position.due_at,
        });
        self.seen = work.filter(|work| survey.shards.have(work.endpoint)).collect();
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
            Step::Release { endpoint } => self.release(endpoint_id(endpoint)),
            Step::Withdraw { endpoint, which } => self.withdraw(endpoint, which),
            Step::LookAtStore => self.look_at_store(),
            Step::Discover => self.discover(),
            Step::Agree { endpoint, terms } => self.agree(endpoint, terms),
            Step::WriteHealth { which, done } => self.write_health(which, done),
            Step::Restart => self.restart(),
            Step::Shards(step) => self.shards(step),
            Step::Doubtful => drop(self.schedule.doubtful(self.now)),
            Step::NewEpoch => self.schedule.new_epoch(),
            Step::Advance { millis } => self.now = Timestamp::from_millis(self.now.as_millis() + millis),
        }
        self.check_memory();
    }

    /// Releases an endpoint; one that was paused is resumed, which ends all judgement of it.
    pub(super) fn release(&mut self, endpoint: EndpointId) {
        let held = self.schedule.holds().find(|(held, _, _)| *held == endpoint).map(|(_, _, hold)| *hold);
        if held == Some(Hold::EndpointPaused) {
            let watched = self.watched.entry(endpoint).or_default();
            (watched.open, watched.failures, watched.not_before) = (false, 0, None);
            self.kept.remove(&endpoint);
        }
        self.schedule.release(endpoint, self.now);
    }

    /// Everything goes well from here on. The next step is taken when the schedule says so, and no other.
    pub(super) fn drain(&mut self, rounds: usize) {
        for _ in 0..rounds {
            drop(self.schedule.doubtful(self.now));
            let held: Vec<_> = self.schedule.holds().map(|(endpoint, _, _)| endpoint).collect();
            held.into_iter().for_each(|endpoint| self.release(endpoint));
            while !self.writes.is_empty() {
                self.write_health(0, true);
            }
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

    /// Whether the store has it as it is known here.
    pub(super) fn is_live(&self, delivery: &LiveDelivery) -> bool {
        let row = self.rows.get(&delivery.endpoint).and_then(|rows| rows.get(&due_place(delivery)));
        row == Some(delivery)
    }

    pub(super) fn live(&self) -> HashSet<DeliveryId> {
        self.rows.values().flat_map(BTreeMap::values).map(|row| row.id).collect()
    }
}
