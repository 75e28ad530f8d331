//! Which delivery is made next: the state machine of all live deliveries, without I/O, tasks or a clock.
//!
//! # States
//!
//! ```text
//!                    arrive, read                claim                     post, settle
//!   in the store ----------------> waiting ----------------> in flight ------------------> gone (final)
//!    (not known) <----------------    ^                          |
//!                 evicted, held       +---- again, untouched ----+
//! ```
//!
//! A delivery is *live* as long as its row is in the store; the store alone is the authority on that. Being known
//! (*waiting* or *in flight*) is a property of this process and is written nowhere, so there is nothing to rescue:
//! a process that dies leaves rows that the next one reads.
//!
//! # The invariant
//!
//! Each lane has a low-water cursor. **Every live delivery of the endpoint is waiting, or in flight, or stands
//! behind the cursor; without a cursor, every one is waiting or in flight.** So nothing is forgotten as long as
//! whatever leaves memory while it is live first moves the cursor before itself ([`Lane::leave`]), and the lane reads
//! on from the cursor whenever that is due. While a read is under way it may miss what is written meanwhile, so
//! everything that is left to the store during a read also bounds how far that read may move the cursor.
//!
//! **A delivery is in flight at most once.** A lane knows the ids of what waits and flies, and takes none in twice.
//! What ended while a read was under way is not taken in from that read, for the row that was read may be older than
//! its end. What was found by reading and ended is remembered for a while, because the publisher's own announcement
//! of it may still come.
//!
//! # Memory
//!
//! A lane holds at most [`Limits::lane`] deliveries, those that are due first; all lanes together about
//! [`Limits::waiting`] and [`Limits::payload_bytes`] of payloads. The rest of a backlog, however long, is one cursor.
//! A held lane holds nothing but its cursor. A lane without live deliveries is dropped.
//!
//! # When a party dies
//!
//! - *The process*: rows stay as the last settlement left them; discovery at the start finds their endpoints. What
//!   was posted but not settled is posted again (at least once).
//! - *A publisher between commit and announcement*: the row is behind no cursor. Discovery, which runs all the time,
//!   sees that the first live delivery of an endpoint is due earlier than anything known, and moves the cursor back.
//!   Everything else that is known leaves or moves on, so the missed row becomes the first sooner or later.
//! - *The store*: reads and settlements are tried again; what is in flight stays in flight until it is settled.
//! - *A receiver*: its lane becomes [`Standing::Struggling`] and may use only a part of the slots; others go on.
//!
//! # Turns
//!
//! One claim per turn; turns go round the consumers that have something claimable, and within a consumer round its
//! endpoints. Lanes that struggle go round in a ring of their own, every second turn as long as they use less than a
//! quarter of the slots.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use waxseal_keys::Timestamp;

use super::claim::{Arrival, Claim, End, Found, Read};
use super::hold::Hold;
use super::lane::{Held, Lane, Room, before, first_at};
use super::limits::{Limits, Standing};
use super::recent::Recent;
use super::ring::Rings;
use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use crate::model::delivery::LiveDelivery;
use crate::store::EndpointWork;

/// All lanes, and whose turn it is.
#[derive(Debug)]
pub(super) struct Schedule {
    limits: Limits,
    lanes: HashMap<EndpointId, Lane>,
    room: Room,
    rings: Rings,
    timers: BTreeSet<(Timestamp, EndpointId)>,
    hungry: VecDeque<EndpointId>,
    doubtful: VecDeque<EndpointId>,
    recent: Recent,
    in_flight: usize,
    struggling_in_flight: usize,
    reading: usize,
    epoch: u64,
    stirred: bool,
}

impl Schedule {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: HashMap::new(),
            room: Room::default(),
            rings: Rings::new(),
            timers: BTreeSet::new(),
            hungry: VecDeque::new(),
            doubtful: VecDeque::new(),
            recent: Recent::default(),
            in_flight: 0,
            struggling_in_flight: 0,
            reading: 0,
            epoch: 0,
            stirred: false,
        }
    }

    /// A publisher announces a delivery that is live since just now.
    pub(super) fn arrive(&mut self, arrival: Arrival, now: Timestamp) {
        if self.recent.contains(&arrival.delivery.id) {
            return;
        }
        let endpoint = arrival.delivery.endpoint;
        let lane =
            self.lanes.entry(endpoint).or_insert_with(|| Lane::new(arrival.delivery.consumer.clone(), None));
        lane.keep(arrival, Found::Arrived, &self.limits, &mut self.room);
        self.review(endpoint, now);
    }

    /// The store has live deliveries of this endpoint.
    pub(super) fn discovered(&mut self, work: EndpointWork, now: Timestamp) {
        let EndpointWork { endpoint, consumer, next_due } = work;
        match self.lanes.get_mut(&endpoint) {
            Some(lane) => lane.discovered(next_due),
            None => {
                self.lanes.insert(endpoint, Lane::new(consumer, Some(before(first_at(next_due)))));
            }
        }
        self.review(endpoint, now);
    }

    /// The next lane to read from the store. Must be answered by [`Self::read`] or [`Self::reading_failed`].
    pub(super) fn next_read(&mut self, now: Timestamp) -> Option<Read> {
        self.advance(now);
        while self.reading < self.limits.readers {
            let endpoint = self.hungry.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&endpoint) else { continue };
            lane.listed.hungry = false;
            if let Some(after) = lane.begin_reading(now, &self.limits) {
                self.reading += 1;
                return Some(Read { endpoint, after, limit: self.limits.read });
            }
            self.review(endpoint, now);
        }
        None
    }

    /// For which of these rows the payload is worth reading, too.
    pub(super) fn lacks(
        &self,
        read: Read,
        rows: &[LiveDelivery],
        now: Timestamp,
    ) -> Vec<(EventId, ConsumerId)> {
        let full = self.room.payload_bytes >= self.limits.payload_bytes;
        self.lanes.get(&read.endpoint).filter(|_| !full).map(|lane| lane.lacks(rows, now)).unwrap_or_default()
    }

    /// What the store had, in its order: all of it, if there are fewer rows than asked for.
    pub(super) fn read(&mut self, read: Read, rows: Vec<Arrival>, now: Timestamp) {
        self.reading -= 1;
        if let Some(lane) = self.lanes.get_mut(&read.endpoint) {
            let complete = rows.len() < read.limit;
            lane.read(rows, complete, &self.limits, &mut self.room);
        }
        self.review(read.endpoint, now);
    }

    /// The store could not be read.
    pub(super) fn reading_failed(&mut self, read: Read, now: Timestamp) {
        self.reading -= 1;
        if let Some(lane) = self.lanes.get_mut(&read.endpoint) {
            lane.reading_failed(now.saturating_add(READ_AGAIN));
        }
        self.review(read.endpoint, now);
    }

    /// Claims the delivery whose turn it is.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Claim> {
        self.advance(now);
        while self.in_flight < self.limits.in_flight {
            let may_struggle = self.struggling_in_flight < self.limits.struggling();
            let (endpoint, ring) = self.rings.pop(may_struggle)?;
            let Some(lane) = self.lanes.get_mut(&endpoint) else { continue };
            lane.listed.ready = false;
            let right = lane.standing == ring;
            let claim = right.then(|| lane.claim(now, self.epoch, &self.limits, &mut self.room)).flatten();
            self.review(endpoint, now);
            if let Some(claim) = claim {
                self.in_flight += 1;
                self.struggling_in_flight += usize::from(claim.standing == Standing::Struggling);
                return Some(claim);
            }
        }
        None
    }

    /// A claimed delivery is no longer in flight.
    pub(super) fn done(&mut self, claim: Claim, end: End, now: Timestamp) {
        let Claim { delivery, payload, found, standing, epoch } = claim;
        let endpoint = delivery.endpoint;
        self.in_flight -= 1;
        self.struggling_in_flight -= usize::from(standing == Standing::Struggling);
        let Some(lane) = self.lanes.get_mut(&endpoint) else { return };
        let Some(position) = lane.end(delivery.id) else { return };
        if found == Found::Read && delivery.attempts_made <= 1 && !matches!(end, End::Held(_)) {
            self.recent.insert(delivery.id);
        }
        match end {
            End::Final(standing) => lane.standing = standing,
            End::Again { delivery, standing, hold } => {
                lane.standing = standing;
                // What is due much later would only keep others' payloads out of memory.
                let payload = payload.filter(|_| delivery.due_at <= now.saturating_add(SOON));
                lane.keep(Arrival { delivery, payload }, found, &self.limits, &mut self.room);
                self.hold_since(epoch, endpoint, hold, now);
            }
            End::Held(hold) => {
                lane.keep(Arrival { delivery, payload }, found, &self.limits, &mut self.room);
                self.hold_since(epoch, endpoint, Some(hold), now);
            }
            End::Left => lane.leave(position),
        }
        self.review(endpoint, now);
    }

    /// Whether anything is known of an endpoint.
    pub(super) fn knows(&self, endpoint: EndpointId) -> bool {
        self.lanes.contains_key(&endpoint)
    }

    /// Parks an endpoint: nothing of it is claimed until it is released.
    pub(super) fn hold(&mut self, endpoint: EndpointId, hold: Hold, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&endpoint) else { return };
        lane.leave_all(&mut self.room);
        lane.held = Some(Held { hold, look_at: now.saturating_add(self.limits.look_again) });
        self.review(endpoint, now);
    }

    /// Lets an endpoint go on.
    pub(super) fn release(&mut self, endpoint: EndpointId, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&endpoint) {
            lane.held = None;
            self.review(endpoint, now);
        }
    }

    /// The clock was set back: nothing waits for a time that was planned by what it said before.
    pub(super) fn set_back(&mut self, now: Timestamp) {
        let endpoints: Vec<_> = self.lanes.keys().copied().collect();
        for endpoint in endpoints {
            if let Some(lane) = self.lanes.get_mut(&endpoint) {
                lane.set_back(now, &mut self.room);
            }
            self.review(endpoint, now);
        }
    }

    /// Forgets what waits for an endpoint whose live deliveries have all been cancelled.
    pub(super) fn clear(&mut self, endpoint: EndpointId, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&endpoint) {
            lane.clear(&mut self.room);
            self.review(endpoint, now);
        }
    }

    /// Forgets deliveries that are no longer live by somebody else's doing; what is in flight stays so until its
    /// attempt ends. Returns what is in flight.
    pub(super) fn withdraw(
        &mut self,
        endpoint: EndpointId,
        ids: &[DeliveryId],
        now: Timestamp,
    ) -> Vec<DeliveryId> {
        for id in ids {
            self.recent.insert(*id); // its announcement may still come
        }
        let Some(lane) = self.lanes.get_mut(&endpoint) else { return Vec::new() };
        let in_flight = lane.withdraw(ids, &mut self.room);
        self.review(endpoint, now);
        in_flight
    }

    /// Whether a delivery is being made just now.
    pub(super) fn is_in_flight(&self, endpoint: EndpointId, id: DeliveryId) -> bool {
        self.lanes.get(&endpoint).is_some_and(|lane| lane.is_in_flight(id))
    }

    /// Something that holds depend on has changed: a hold that was found before this moment no longer counts.
    pub(super) fn new_epoch(&mut self) {
        self.epoch += 1;
    }

    /// The present epoch, for what is found outside of a claim.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Held endpoints that have waited long enough to be looked at again.
    pub(super) fn doubtful(&mut self, now: Timestamp) -> Vec<EndpointId> {
        self.advance(now);
        let doubtful: Vec<_> = self.doubtful.drain(..).collect();
        for endpoint in &doubtful {
            if let Some(lane) = self.lanes.get_mut(endpoint) {
                lane.listed.doubtful = false;
                if let Some(held) = &mut lane.held {
                    held.look_at = now.saturating_add(self.limits.look_again);
                }
                self.review(*endpoint, now);
            }
        }
        doubtful
    }

    /// Which endpoints are held, and why.
    pub(super) fn holds(&self) -> impl Iterator<Item = (EndpointId, &ConsumerId, &Hold)> {
        self.lanes.iter().filter_map(|(endpoint, lane)| {
            lane.held.as_ref().map(|held| (*endpoint, &lane.consumer, &held.hold))
        })
    }

    /// The next moment at which something changes by itself.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        self.timers.first().map(|(moment, _)| *moment)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// Whether, since this was asked last, a read or a look became possible or the next wake-up earlier.
    pub(super) fn stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred)
    }

    /// Parks an endpoint for a reason that was found in `epoch`, if nothing has changed since.
    fn hold_since(&mut self, epoch: u64, endpoint: EndpointId, hold: Option<Hold>, now: Timestamp) {
        if let Some(hold) = hold.filter(|_| epoch == self.epoch) {
            self.hold(endpoint, hold, now);
        }
    }

    /// Reviews the lanes whose moment has come.
    fn advance(&mut self, now: Timestamp) {
        while let Some((moment, endpoint)) = self.timers.first().copied()
            && moment <= now
        {
            self.timers.pop_first();
            if let Some(lane) = self.lanes.get_mut(&endpoint) {
                lane.listed.timer = None;
            }
            self.review(endpoint, now);
        }
    }

    /// Puts a lane on every list on which it belongs now, or drops it. Called after every change to a lane.
    fn review(&mut self, endpoint: EndpointId, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&endpoint) else { return };
        if !lane.listed.ready && lane.is_claimable(now, &self.limits) {
            lane.listed.ready = true;
            self.rings.push(lane.standing, &lane.consumer, endpoint);
        }
        if !lane.listed.hungry && lane.wants_reading(now, &self.limits) {
            lane.listed.hungry = true;
            self.hungry.push_back(endpoint);
            self.stirred = true;
        }
        if !lane.listed.doubtful && lane.held.as_ref().is_some_and(|held| held.look_at <= now) {
            lane.listed.doubtful = true;
            self.doubtful.push_back(endpoint);
            self.stirred = true;
        }
        let moment = if lane.is_idle() { None } else { lane.next_moment(now) };
        if moment != lane.listed.timer {
            if let Some(old) = lane.listed.timer {
                self.timers.remove(&(old, endpoint));
            }
            lane.listed.timer = moment;
            if let Some(moment) = moment {
                self.stirred |= self.timers.first().is_none_or(|(first, _)| moment < *first);
                self.timers.insert((moment, endpoint));
            }
        }
        if lane.is_idle() {
            self.lanes.remove(&endpoint);
        }
    }
}

/// How long a lane waits after the store could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What is due within this time keeps its payload in memory.
const SOON: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
