//! One endpoint's part of the schedule: what waits, what is in flight, and what memory does not hold.
//!
//! Relies on [`super::schedule`] to keep the lists of lanes. The invariant that it guarantees is written there.

mod leave;
mod read;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use waxseal_keys::Timestamp;

pub(super) use self::leave::{Ended, Leave};
use self::read::Reading;
use super::breaker::{Health, Kind, SLOW};
use super::claim::{Arrival, Claim, Found};
use super::hold::Hold;
use super::limits::{Limits, Standing};
use super::pace::{Bucket, Terms};
use super::place::{place, place_of};
use super::room::{Room, size};
use super::slots::Counted;
use crate::id::{ConsumerId, DeliveryId};
use crate::model::delivery::LiveDelivery;
use crate::model::event::PublishedEvent;
use crate::model::health::EndpointHealth;
use crate::model::pace::Order;
use crate::store::DuePosition;

/// The live deliveries of one endpoint.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) consumer: ConsumerId,
    /// In the order in which they are made.
    waiting: BTreeMap<DuePosition, Waiting>,
    /// What waits or is in flight: nothing enters twice.
    known: HashSet<DeliveryId>,
    in_flight: HashMap<DeliveryId, Flight>,
    /// When the oldest of those was claimed.
    oldest_since: Option<Timestamp>,
    /// What will be live soon, or not.
    pub(super) expected: BTreeSet<DeliveryId>,
    /// Low-water cursor: what is live at or before it is known; `None`: everything that is live is known.
    low: Option<DuePosition>,
    reading: Reading,
    pub(super) held: Option<Held>,
    pub(super) health: Health,
    pub(super) on_disk: OnDisk,
    terms: Terms,
    bucket: Bucket,
    pub(super) listed: Listed,
}

/// What the store has of the lane's health.
#[derive(Debug, Default)]
pub(super) struct OnDisk {
    pub(super) health: Option<EndpointHealth>,
    /// One write at a time, so that the last one is the last one.
    pub(super) is_being_written: bool,
}

/// Why nothing is claimed, and when that is looked at again.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) hold: Hold,
    pub(super) look_at: Timestamp,
}

/// In which of the schedule's lists the lane stands.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) ready: bool,
    pub(super) hungry: bool,
    pub(super) doubtful: bool,
    pub(super) timer: Option<Timestamp>,
    pub(super) watched: Option<Timestamp>,
    pub(super) counted: Counted,
}

#[derive(Debug)]
pub(super) struct Waiting {
    delivery: LiveDelivery,
    pub(super) payload: Option<Arc<PublishedEvent>>,
    found: Found,
}

/// A delivery that is in flight.
#[derive(Clone, Copy, Debug)]
struct Flight {
    /// When it was due.
    due_at: Timestamp,
    /// When it was claimed.
    since: Timestamp,
    leave: Leave,
}

impl Lane {
    /// A lane that knows nothing of what is live after `low`.
    pub(super) fn new(consumer: ConsumerId, terms: Terms, low: Option<DuePosition>) -> Self {
        Self {
            consumer,
            waiting: BTreeMap::new(),
            known: HashSet::new(),
            in_flight: HashMap::new(),
            oldest_since: None,
            expected: BTreeSet::new(),
            low,
            reading: Reading::Idle,
            held: None,
            health: Health::default(),
            on_disk: OnDisk::default(),
            terms,
            bucket: Bucket::full(),
            listed: Listed::default(),
        }
    }

    /// Takes a delivery into memory, or leaves it to the store where the cursor finds it.
    pub(super) fn keep(&mut self, arrival: Arrival, found: Found, limits: &Limits, room: &mut Room) {
        let Arrival { delivery, payload } = arrival;
        let position = place(self.terms.order, &delivery);
        if self.known.contains(&delivery.id) {
            return self.lend_payload(position, payload, limits, room);
        }
        // Something older may still be unread: leave room for it.
        let behind = self.low.is_some_and(|low| low < position) && self.waiting.len() >= limits.lane / 2;
        if behind || self.held.is_some() {
            return self.leave(position);
        }
        self.take_in(position, Waiting { delivery, payload, found }, limits, room);
    }

    /// Claims the first delivery if it is due and the limits of the lane allow it.
    pub(super) fn claim(
        &mut self,
        now: Timestamp,
        epoch: u64,
        limits: &Limits,
        room: &mut Room,
    ) -> Option<Claim> {
        if !self.is_claimable(now, limits) {
            return None;
        }
        let (_, waiting) = self.waiting.pop_first()?;
        room.take(&waiting);
        let Waiting { delivery, payload, found } = waiting;
        self.charge(now);
        let flight = Flight { due_at: delivery.due_at, since: now, leave: Leave::Ours };
        self.in_flight.insert(delivery.id, flight);
        self.oldest_since = Some(self.oldest_since.map_or(now, |oldest| oldest.min(now)));
        let kind = if self.health.open.is_some() { Kind::Probe } else { Kind::Regular };
        Some(Claim { delivery, payload, found, kind, epoch })
    }

    /// Takes a token for a POST, whether there is one or not.
    pub(super) fn charge(&mut self, now: Timestamp) {
        if let Some(rate) = self.terms.rate {
            self.bucket.take(rate, now);
        }
    }

    /// Goes on under these terms.
    pub(super) fn agree(&mut self, terms: Terms, room: &mut Room, now: Timestamp) {
        let before = std::mem::replace(&mut self.terms, terms);
        if let Some(rate) = self.terms.rate.filter(|rate| before.rate != Some(*rate)) {
            self.bucket.change(rate, now);
        }
        if before.order != self.terms.order {
            // Places of the other order mean nothing in this one.
            self.drop_waiting(room);
            self.read_anew();
        }
    }

    /// What its endpoint asks of it.
    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Forgets a claimed delivery. What is to be remembered of it is then kept or left.
    pub(super) fn end(&mut self, id: DeliveryId) -> Option<Ended> {
        let flight = self.in_flight.remove(&id)?;
        self.known.remove(&id);
        if self.oldest_since == Some(flight.since) {
            self.oldest_since = self.in_flight.values().map(|flight| flight.since).min();
        }
        if let Reading::Running { ended, .. } = &mut self.reading {
            ended.insert(id);
        }
        let position = place_of(self.terms.order, id, flight.due_at);
        Some(Ended { position, was_ours: flight.leave == Leave::Ours })
    }

    /// Whether this one is in flight.
    pub(super) fn is_in_flight(&self, id: DeliveryId) -> bool {
        self.in_flight.contains_key(&id)
    }

    /// Whether a claim would succeed.
    pub(super) fn is_claimable(&self, now: Timestamp, limits: &Limits) -> bool {
        self.held.is_none()
            && self.in_flight.len() < self.allowance(now, limits)
            && self.next_claim_at().is_some_and(|moment| moment <= now)
    }

    /// How it does just now, what is in flight included.
    pub(super) fn standing(&self, now: Timestamp) -> Standing {
        if self.health.struggles() || self.overdue_at().is_some_and(|moment| moment <= now) {
            Standing::Struggling
        } else if self.health.proven {
            Standing::Sound
        } else {
            Standing::New
        }
    }

    /// What it is counted as among the slots.
    pub(super) fn counted(&self, now: Timestamp) -> Counted {
        Counted { standing: self.standing(now), in_flight: self.in_flight.len() }
    }

    /// When the oldest delivery in flight will have been there for too long.
    pub(super) fn overdue_at(&self) -> Option<Timestamp> {
        self.oldest_since.map(|since| since.saturating_add(SLOW))
    }

    /// Before this no token can be had, if there is a limit.
    pub(super) fn token_at(&self) -> Option<Timestamp> {
        self.terms.rate.map(|rate| self.bucket.next_at(rate))
    }

    /// The next moment at which something changes by itself.
    pub(super) fn next_moment(&self, now: Timestamp) -> Option<Timestamp> {
        if let Some(held) = &self.held {
            return (!self.listed.doubtful).then_some(held.look_at);
        }
        let first = self.next_claim_at();
        // When an empty lane can be forgotten.
        let rested = [self.terms.rate.map(|_| self.bucket.full_at()), self.health.rests_until];
        let rested = rested.into_iter().flatten().max().filter(|_| self.waiting.is_empty());
        let unread = match self.reading {
            Reading::Idle => self.low.map(|low| low.due_at),
            Reading::Running { .. } => None,
            Reading::Failed { again_at } => Some(again_at),
        };
        [first, rested, unread].into_iter().flatten().filter(|moment| now < *moment).min()
    }

    /// Whether nothing would be lost without the lane.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        self.known.is_empty()
            && self.expected.is_empty()
            && self.low.is_none()
            && self.held.is_none()
            && matches!(self.reading, Reading::Idle)
            && self.health.is_trivial(now)
            && self.on_disk.health.is_none()
            && !self.on_disk.is_being_written
            && (self.terms.rate.is_none() || self.bucket.full_at() <= now)
            && !(self.listed.ready || self.listed.hungry || self.listed.doubtful)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many may be in flight.
    fn allowance(&self, now: Timestamp, limits: &Limits) -> usize {
        if self.health.open.is_some() || self.terms.order == Order::Fifo {
            return 1;
        }
        limits.of_lane(self.standing(now), self.terms.concurrency)
    }

    /// When the first delivery may be claimed, if it is known which one that is.
    fn next_claim_at(&self) -> Option<Timestamp> {
        let (place, first) = self.waiting.first_key_value()?;
        // In a strict order nothing is made while something before it may be unread, or be accepted just now.
        let unread = self.low.is_some_and(|low| low < *place);
        let expected = self.expected.first().is_some_and(|expected| *expected < place.id);
        if self.terms.order == Order::Fifo && (unread || expected) {
            return None;
        }
        let due_at = Some(first.delivery.due_at);
        [due_at, self.token_at(), self.health.rests_until, self.health.probe_at()].into_iter().flatten().max()
    }

    fn take_in(&mut self, position: DuePosition, mut waiting: Waiting, limits: &Limits, room: &mut Room) {
        if waiting.payload.as_deref().is_some_and(|event| !room.has_bytes(event, limits)) {
            waiting.payload = None; // it is read again when it is needed
        }
        room.add(&waiting);
        self.known.insert(waiting.delivery.id);
        self.waiting.insert(position, waiting);
        if self.waiting.len() > limits.most_of_lane(room)
            && let Some((last, evicted)) = self.waiting.pop_last()
        {
            room.take(&evicted);
            self.known.remove(&evicted.delivery.id);
            self.leave(last);
        }
    }

    fn lend_payload(
        &mut self,
        position: DuePosition,
        payload: Option<Arc<PublishedEvent>>,
        limits: &Limits,
        room: &mut Room,
    ) {
        let Some(event) = payload.filter(|event| room.has_bytes(event, limits)) else { return };
        if let Some(waiting) = self.waiting.get_mut(&position).filter(|waiting| waiting.payload.is_none()) {
            room.payload_bytes += size(&event);
            waiting.payload = Some(event);
        }
    }

    fn drop_waiting(&mut self, room: &mut Room) {
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            room.take(&waiting);
            self.known.remove(&waiting.delivery.id);
        }
    }
}
