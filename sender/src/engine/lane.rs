//! One endpoint's part of the schedule: what waits, what is in flight, and what memory does not hold.
//!
//! Relies on [`super::schedule`] to keep the lists of lanes. The invariant that it guarantees is written there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use waxseal_keys::Timestamp;

use super::claim::{Arrival, Claim, Found};
use super::hold::Hold;
use super::limits::{Limits, Standing};
use crate::id::{ConsumerId, DeliveryId, EventId};
use crate::model::delivery::LiveDelivery;
use crate::model::event::PublishedEvent;
use crate::store::DuePosition;

/// The live deliveries of one endpoint.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) consumer: ConsumerId,
    /// In the order in which they are made.
    waiting: BTreeMap<DuePosition, Waiting>,
    /// What waits or is in flight: nothing enters twice.
    known: HashSet<DeliveryId>,
    /// With the place from which each was claimed.
    in_flight: HashMap<DeliveryId, DuePosition>,
    /// Low-water cursor: what is live at or before it is known; `None`: everything that is live is known.
    low: Option<DuePosition>,
    reading: Reading,
    pub(super) held: Option<Held>,
    pub(super) standing: Standing,
    pub(super) listed: Listed,
}

/// What the lanes together hold in memory.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) waiting: usize,
    pub(super) payload_bytes: usize,
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
}

#[derive(Debug)]
struct Waiting {
    delivery: LiveDelivery,
    payload: Option<Arc<PublishedEvent>>,
    found: Found,
}

/// Reading of the store into the lane.
#[derive(Debug)]
enum Reading {
    Idle,
    Running {
        /// What ended meanwhile: rows that were read of these may be old.
        ended: HashSet<DeliveryId>,
        /// Below everything that left memory or was refused meanwhile: the read may have missed it.
        floor: Option<DuePosition>,
    },
    /// The store could not be read; not before this.
    Failed {
        again_at: Timestamp,
    },
}

impl Lane {
    /// A lane that knows nothing of what is live after `low`.
    pub(super) fn new(consumer: ConsumerId, low: Option<DuePosition>) -> Self {
        Self {
            consumer,
            waiting: BTreeMap::new(),
            known: HashSet::new(),
            in_flight: HashMap::new(),
            low,
            reading: Reading::Idle,
            held: None,
            standing: Standing::Sound,
            listed: Listed::default(),
        }
    }

    /// Takes a delivery into memory, or leaves it to the store where the cursor finds it.
    pub(super) fn keep(&mut self, arrival: Arrival, found: Found, limits: &Limits, room: &mut Room) {
        let Arrival { delivery, payload } = arrival;
        let position = position(&delivery);
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
        let (position, waiting) = self.waiting.pop_first()?;
        room.take(&waiting);
        let Waiting { delivery, payload, found } = waiting;
        self.in_flight.insert(delivery.id, position);
        Some(Claim { delivery, payload, found, standing: self.standing, epoch })
    }

    /// Forgets a claimed delivery. What is to be remembered of it is then kept or left.
    pub(super) fn end(&mut self, id: DeliveryId) -> Option<DuePosition> {
        let position = self.in_flight.remove(&id)?;
        self.known.remove(&id);
        if let Reading::Running { ended, .. } = &mut self.reading {
            ended.insert(id);
        }
        Some(position)
    }

    /// Forgets what waits of these, which are no longer live; returns those that are in flight.
    pub(super) fn withdraw(&mut self, ids: &[DeliveryId], room: &mut Room) -> Vec<DeliveryId> {
        let (in_flight, others): (Vec<_>, Vec<_>) =
            ids.iter().copied().partition(|id| self.is_in_flight(*id));
        if let Reading::Running { ended, .. } = &mut self.reading {
            ended.extend(&others);
        }
        let gone: HashSet<_> = others.into_iter().filter(|id| self.known.remove(id)).collect();
        if !gone.is_empty() {
            self.waiting.retain(|position, waiting| {
                let stays = !gone.contains(&position.id);
                if !stays {
                    room.take(waiting);
                }
                stays
            });
        }
        in_flight
    }

    /// Whether this one is in flight.
    pub(super) fn is_in_flight(&self, id: DeliveryId) -> bool {
        self.in_flight.contains_key(&id)
    }

    /// Leaves what is live at `position` to the store.
    pub(super) fn leave(&mut self, position: DuePosition) {
        let before = before(position);
        self.low = Some(self.low.map_or(before, |low| low.min(before)));
        if let Reading::Running { floor, .. } = &mut self.reading {
            *floor = Some(floor.map_or(before, |floor| floor.min(before)));
        }
    }

    /// Leaves everything that waits to the store.
    pub(super) fn leave_all(&mut self, room: &mut Room) {
        if let Some((first, _)) = self.waiting.first_key_value() {
            self.leave(*first);
        }
        self.drop_waiting(room);
    }

    /// Leaves everything that waits to the store, where it is dated anew, and waits for no moment that was planned by a
    /// clock that was set back since.
    pub(super) fn set_back(&mut self, now: Timestamp, room: &mut Room) {
        self.leave_all(room);
        if matches!(self.reading, Reading::Failed { .. }) {
            self.reading = Reading::Idle;
        }
        if let Some(held) = &mut self.held {
            held.look_at = held.look_at.min(now);
        }
    }

    /// Forgets everything but what is in flight: none of it is live any more.
    pub(super) fn clear(&mut self, room: &mut Room) {
        self.drop_waiting(room);
        self.low = None;
        self.held = None;
        if let Reading::Running { floor, .. } = &mut self.reading {
            *floor = None;
        }
    }

    /// The store says that the first live delivery is due at `next_due`: whether memory should have known.
    pub(super) fn discovered(&mut self, next_due: Timestamp) {
        let waits = self.waiting.first_key_value().map(|(position, _)| position.due_at);
        let flies = self.in_flight.values().map(|position| position.due_at).min();
        let earliest = [waits, flies, self.low.map(|low| low.due_at)].into_iter().flatten().min();
        if earliest.is_none_or(|earliest| next_due < earliest) {
            self.leave(first_at(next_due));
        }
    }

    /// Begins to read the store: from where, and how many at most.
    pub(super) fn begin_reading(&mut self, now: Timestamp, limits: &Limits) -> Option<DuePosition> {
        let after = self.low.filter(|_| self.wants_reading(now, limits))?;
        self.reading = Reading::Running { ended: HashSet::new(), floor: None };
        Some(after)
    }

    /// Takes in what was read after the cursor: everything that is live there, if it is `complete`.
    pub(super) fn read(&mut self, rows: Vec<Arrival>, complete: bool, limits: &Limits, room: &mut Room) {
        let Reading::Running { ended, floor } = std::mem::replace(&mut self.reading, Reading::Idle) else {
            return;
        };
        if self.held.is_some() {
            return; // the cursor stays where it is
        }
        let last = rows.last().map(|row| position(&row.delivery));
        let reached = if complete { None } else { last.or(self.low) };
        self.low = [reached, floor].into_iter().flatten().min();
        for Arrival { delivery, payload } in rows {
            if !self.known.contains(&delivery.id) && !ended.contains(&delivery.id) {
                let (position, found) = (position(&delivery), Found::Read);
                self.take_in(position, Waiting { delivery, payload, found }, limits, room);
            }
        }
    }

    /// Notes that the store could not be read.
    pub(super) fn reading_failed(&mut self, again_at: Timestamp) {
        self.reading = Reading::Failed { again_at };
    }

    /// What of these is due and unknown, so that its payload is worth reading now.
    pub(super) fn lacks(&self, rows: &[LiveDelivery], now: Timestamp) -> Vec<(EventId, ConsumerId)> {
        let wanted = rows.iter().filter(|row| row.due_at <= now && !self.known.contains(&row.id));
        wanted.map(|row| (row.event, row.consumer.clone())).collect()
    }

    /// Whether a claim would succeed.
    pub(super) fn is_claimable(&self, now: Timestamp, limits: &Limits) -> bool {
        self.held.is_none()
            && self.in_flight.len() < limits.of_lane(self.standing)
            && self.waiting.first_key_value().is_some_and(|(first, _)| first.due_at <= now)
    }

    /// Whether there is something due in the store that memory should hold.
    pub(super) fn wants_reading(&self, now: Timestamp, limits: &Limits) -> bool {
        let first_is_later = |low| self.waiting.first_key_value().is_none_or(|(first, _)| low < *first);
        self.held.is_none()
            && match self.reading {
                Reading::Idle => true,
                Reading::Running { .. } => false,
                Reading::Failed { again_at } => again_at <= now,
            }
            && self.low.is_some_and(|low| {
                low.due_at <= now && (self.waiting.len() <= limits.read / 2 || first_is_later(low))
            })
    }

    /// The next moment at which something changes by itself.
    pub(super) fn next_moment(&self, now: Timestamp) -> Option<Timestamp> {
        if let Some(held) = &self.held {
            return (!self.listed.doubtful).then_some(held.look_at);
        }
        let first = self.waiting.first_key_value().map(|(first, _)| first.due_at);
        let unread = match self.reading {
            Reading::Idle => self.low.map(|low| low.due_at),
            Reading::Running { .. } => None,
            Reading::Failed { again_at } => Some(again_at),
        };
        [first, unread].into_iter().flatten().filter(|moment| now < *moment).min()
    }

    /// Whether nothing would be lost without the lane.
    pub(super) fn is_idle(&self) -> bool {
        self.known.is_empty()
            && self.low.is_none()
            && self.held.is_none()
            && matches!(self.reading, Reading::Idle)
            && !(self.listed.ready || self.listed.hungry || self.listed.doubtful)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn take_in(&mut self, position: DuePosition, mut waiting: Waiting, limits: &Limits, room: &mut Room) {
        if waiting.payload.as_deref().is_some_and(|event| !room.has_bytes(event, limits)) {
            waiting.payload = None; // it is read again when it is needed
        }
        room.add(&waiting);
        self.known.insert(waiting.delivery.id);
        self.waiting.insert(position, waiting);
        let most = if room.waiting <= limits.waiting { limits.lane } else { limits.lane_when_full() };
        if self.waiting.len() > most
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

impl Room {
    fn has_bytes(&self, event: &PublishedEvent, limits: &Limits) -> bool {
        self.payload_bytes + size(event) <= limits.payload_bytes
    }

    fn add(&mut self, waiting: &Waiting) {
        self.waiting += 1;
        self.payload_bytes += waiting.payload.as_deref().map_or(0, size);
    }

    fn take(&mut self, waiting: &Waiting) {
        self.waiting -= 1;
        self.payload_bytes -= waiting.payload.as_deref().map_or(0, size);
    }
}

/// Where a delivery stands in its lane.
pub(super) fn position(delivery: &LiveDelivery) -> DuePosition {
    DuePosition { due_at: delivery.due_at, id: delivery.id }
}

/// The first place at a time.
pub(super) fn first_at(due_at: Timestamp) -> DuePosition {
    DuePosition { due_at, id: DeliveryId::from_bytes([0; 16]) }
}

/// The place just before another.
pub(super) fn before(position: DuePosition) -> DuePosition {
    match u128::from_be_bytes(*position.id.as_bytes()).checked_sub(1) {
        Some(id) => DuePosition { id: DeliveryId::from_bytes(id.to_be_bytes()), ..position },
        None => DuePosition {
            due_at: Timestamp::from_millis(position.due_at.as_millis().saturating_sub(1)),
            id: DeliveryId::from_bytes([0xff; 16]),
        },
    }
}

/// How much memory a payload takes, near enough to keep a budget. One that several lanes share is counted in each.
fn size(event: &PublishedEvent) -> usize {
    let data = match &event.data {
        waxseal_envelope::Data::Json(json) => json.get().len(),
        waxseal_envelope::Data::Binary { bytes, .. } => bytes.len(),
    };
    data + OVERHEAD
}

/// The event's other members and what the allocator adds.
const OVERHEAD: usize = 256;
