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
//! # Shards
//!
//! Several processes may work on one store; each works on the [shards](crate::store::Shard) that it owns (`ownership`),
//! and a process that has the store to itself on all of them. What is not owned is not taken in and not claimed. A shard
//! that is lost takes everything with it but what is in flight: that ends by itself, and what it came to is not kept,
//! for others may have worked on it since. A shard that is gained is looked through (a *survey*); what is known of it
//! before that is over counts as unread from the start. What others have accepted meanwhile is *noticed*: a place that
//! may be unread, never a row, for a row that was read a while ago may have been settled since.
//!
//! # The invariant
//!
//! Each lane has a low-water cursor. **Every live delivery of an endpoint that is owned is waiting, or in flight, or
//! stands behind the cursor; without a cursor, every one is waiting or in flight; without a lane there is none, once its
//! shard was surveyed.** What other processes accept joins this when it is noticed. So nothing is forgotten as long as
//! whatever leaves memory while it is live first moves the cursor before itself ([`Lane::leave`]), and the lane reads
//! on from the cursor whenever that is due. While a read is under way it may miss what is written meanwhile, so
//! everything that is left to the store during a read also bounds how far that read may move the cursor.
//!
//! **A delivery is in flight at most once.** A lane knows the ids of what waits and flies, and takes none in twice.
//! What ended while a read was under way is not taken in from that read, for the row that was read may be older than
//! its end. A read that was begun before the lane was lost, or before somebody else changed what is live, is not taken in
//! at all. What was found by reading and ended is remembered for a while, because the publisher's own announcement
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
//! - *Another process*: its shards are gained when its lease is over, and surveyed. What it had in flight is made again.
//! - *The ownership*: nothing is claimed and nothing is posted from the moment on at which it is not trusted any more;
//!   what waits is dropped as for a loss. What was in flight by then, and the store has not as ended, others make again.
//! - *A publisher between commit and announcement*: the row is behind no cursor. Discovery, which runs all the time,
//!   sees that the first live delivery of an endpoint is due earlier than anything known, and moves the cursor back.
//!   Everything else that is known leaves or moves on, so the missed row becomes the first sooner or later.
//! - *The store*: reads and settlements are tried again; what is in flight stays in flight until it is settled.
//! - *A receiver*: its lane becomes [`Standing::Struggling`], at the latest when a delivery has been in flight for
//!   [`SLOW`](super::breaker::SLOW), and may use only a part of the slots (`slots`); others go on. When it fails again
//!   and again its breaker opens (`breaker`) and its deliveries wait as they are.
//!
//! # Turns
//!
//! One claim per turn; turns go round the consumers that have something claimable, and within a consumer round its
//! endpoints. Lanes that struggle, and new ones that find no slot, go round in rings of their own.
//!
//! # When the first delivery of a lane may be claimed
//!
//! When it is due, a token can be had (`pace`), the rest is over that the receiver asked for, and, where the breaker is
//! open, the time of the probe has come: the latest of these moments is the lane's timer. In a lane with a strict order
//! (`place`) the first delivery is the first of all that are live, so nothing is claimed while something before it may
//! be unread.

mod arrive;
mod condition;
mod held;
mod shards;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use waxseal_keys::Timestamp;

pub(super) use self::condition::{HealthChange, Observed, Wrote};
use self::shards::Owned;
use super::claim::{Arrival, Claim, End, Found, Read};
use super::lane::{Ended, Lane};
use super::limits::{Limits, Standing};
use super::pace::TermsOf;
use super::recent::Recent;
use super::ring::Rings;
use super::room::Room;
use super::slots::Slots;
use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use crate::model::delivery::LiveDelivery;

/// All lanes, and whose turn it is.
#[derive(Debug)]
pub(super) struct Schedule {
    limits: Limits,
    terms: Arc<dyn TermsOf>,
    lanes: HashMap<EndpointId, Lane>,
    room: Room,
    rings: Rings,
    timers: BTreeSet<(Timestamp, EndpointId)>,
    /// When lanes that have something in flight are looked at, in case that takes too long. Wakes nobody: a lane that
    /// turns out to struggle makes nothing possible.
    watch: BTreeSet<(Timestamp, EndpointId)>,
    hungry: VecDeque<EndpointId>,
    doubtful: VecDeque<EndpointId>,
    recent: Recent<DeliveryId>,
    /// Endpoints without a lane that answered well when they had one.
    proven: Recent<EndpointId>,
    slots: Slots,
    reading: usize,
    /// Counts the reads.
    reads: u64,
    owned: Owned,
    epoch: u64,
    stirred: bool,
}

impl Schedule {
    /// Of nothing yet: what it works on is [gained](Self::gain).
    pub(super) fn new(limits: Limits, terms: Arc<dyn TermsOf>) -> Self {
        Self {
            limits,
            terms,
            lanes: HashMap::new(),
            room: Room::default(),
            rings: Rings::default(),
            timers: BTreeSet::new(),
            watch: BTreeSet::new(),
            hungry: VecDeque::new(),
            doubtful: VecDeque::new(),
            recent: Recent::default(),
            proven: Recent::default(),
            slots: Slots::default(),
            reading: 0,
            reads: 0,
            owned: Owned::default(),
            epoch: 0,
            stirred: false,
        }
    }

    /// The next lane to read from the store. Must be answered by [`Self::read`] or [`Self::reading_failed`].
    pub(super) fn next_read(&mut self, now: Timestamp) -> Option<Read> {
        self.advance(now);
        while self.reading < self.limits.readers {
            let endpoint = self.hungry.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&endpoint) else { continue };
            lane.listed.hungry = false;
            let number = self.reads + 1;
            if let Some(after) = lane.begin_reading(number, now, &self.limits, &self.room) {
                self.reading += 1;
                self.reads = number;
                let order = lane.terms().order;
                return Some(Read { number, endpoint, order, after, limit: self.limits.read });
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
            lane.read(read.number, rows, complete, &self.limits, &mut self.room);
        }
        self.review(read.endpoint, now);
    }

    /// The store could not be read.
    pub(super) fn reading_failed(&mut self, read: Read, now: Timestamp) {
        self.reading -= 1;
        if let Some(lane) = self.lanes.get_mut(&read.endpoint) {
            lane.reading_failed(read.number, now.saturating_add(READ_AGAIN));
        }
        self.review(read.endpoint, now);
    }

    /// Claims the delivery whose turn it is.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Claim> {
        self.advance(now);
        loop {
            let (slots, limits) = (self.slots, &self.limits);
            let endpoint = self.rings.pop(|standing| slots.admit(standing, limits))?;
            let Some(lane) = self.lanes.get_mut(&endpoint) else { continue };
            lane.listed.ready = false;
            // It may do otherwise now than when it was listed; then it is listed again.
            let admitted = slots.admit(lane.standing(now), limits);
            let claim = admitted.then(|| lane.claim(now, self.epoch, limits, &mut self.room)).flatten();
            self.review(endpoint, now);
            if claim.is_some() {
                return claim;
            }
        }
    }

    /// A claimed delivery is no longer in flight.
    pub(super) fn done(&mut self, claim: Claim, end: End, now: Timestamp) {
        let Claim { delivery, payload, found, kind: _, epoch } = claim;
        let endpoint = delivery.endpoint;
        let Some(lane) = self.lanes.get_mut(&endpoint) else { return };
        let Some(Ended { position, was_ours }) = lane.end(delivery.id) else { return };
        if found == Found::Read && delivery.attempts_made <= 1 && !matches!(end, End::Held(_)) {
            self.recent.insert(delivery.id);
        }
        let is_ours = self.owned.have(endpoint);
        match end {
            End::Final => {}
            // Others know, or will find it.
            _ if !is_ours => {}
            // Others may have worked on it while it was in flight: what is true of it is in the store.
            End::Again { hold, .. } if !was_ours => {
                lane.leave(position);
                self.hold_since(epoch, endpoint, hold, now);
            }
            End::Held(_) if !was_ours => lane.leave(position),
            End::Again { delivery, hold } => {
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

    /// The clock was set back: nothing waits for a time that was planned by what it said before.
    pub(super) fn set_back(&mut self, now: Timestamp) {
        for endpoint in self.lanes_of(self.owned.shards()) {
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

    /// The next moment at which something changes by itself.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        self.timers.first().map(|(moment, _)| *moment)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slots.total()
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
        while let Some((moment, endpoint)) = self.watch.first().copied()
            && moment <= now
        {
            self.watch.pop_first();
            if let Some(lane) = self.lanes.get_mut(&endpoint) {
                lane.listed.watched = None;
            }
            self.review(endpoint, now);
        }
    }

    /// Puts a lane on every list on which it belongs now, or drops it. Called after every change to a lane.
    fn review(&mut self, endpoint: EndpointId, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&endpoint) else { return };
        let counted = lane.counted(now);
        self.slots.recount(std::mem::replace(&mut lane.listed.counted, counted), counted);
        if !lane.listed.ready && lane.is_claimable(now, &self.limits) {
            lane.listed.ready = true;
            let ring = match counted.standing {
                // As long as there are slots for both, turns are taken together.
                Standing::New if self.slots.admit(Standing::New, &self.limits) => Standing::Sound,
                standing => standing,
            };
            self.rings.push(ring, &lane.consumer, endpoint);
        }
        if lane.listed.watched.is_none()
            && counted.standing != Standing::Struggling
            && let Some(moment) = lane.overdue_at()
        {
            lane.listed.watched = Some(moment);
            self.watch.insert((moment, endpoint));
        }
        if !lane.listed.hungry && lane.wants_reading(now, &self.limits, &self.room) {
            lane.listed.hungry = true;
            self.hungry.push_back(endpoint);
            self.stirred = true;
        }
        if !lane.listed.doubtful && lane.held.as_ref().is_some_and(|held| held.look_at <= now) {
            lane.listed.doubtful = true;
            self.doubtful.push_back(endpoint);
            self.stirred = true;
        }
        let idle = lane.is_idle(now);
        let moment = if idle { None } else { lane.next_moment(now) };
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
        if idle && let Some(lane) = self.lanes.remove(&endpoint) {
            self.watch.remove(&(lane.listed.watched.unwrap_or(now), endpoint));
            match counted.standing {
                Standing::Sound => self.proven.insert(endpoint),
                Standing::New | Standing::Struggling => self.proven.remove(&endpoint),
            }
        }
    }
}

/// How long a lane waits after the store could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What is due within this time keeps its payload in memory.
const SOON: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
