//! Reading of the store into a lane, behind its cursor.

use std::collections::HashSet;

use waxseal_keys::Timestamp;

use super::{Lane, Waiting};
use crate::engine::claim::{Arrival, Found};
use crate::engine::limits::Limits;
use crate::engine::place::{first_at, place, place_of};
use crate::engine::room::Room;
use crate::id::{ConsumerId, DeliveryId, EventId};
use crate::model::delivery::LiveDelivery;
use crate::model::pace::Order;
use crate::store::DuePosition;

/// Reading of the store into the lane.
#[derive(Debug)]
pub(super) enum Reading {
    Idle,
    Running {
        /// Which one: the answer to an earlier one may be older than what has happened since.
        number: u64,
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
    /// The store says that the first live delivery is due at `next_due`: whether memory should have known.
    pub(in crate::engine) fn discovered(&mut self, next_due: Timestamp) {
        let waits = match self.terms.order {
            Order::Any => self.waiting.first_key_value().map(|(place, _)| place.due_at),
            Order::Fifo => self.waiting.values().map(|waiting| waiting.delivery.due_at).min(),
        };
        let flies = self.in_flight.values().map(|flight| flight.due_at).min();
        let unread = self.low.map(|low| low.due_at).filter(|_| self.terms.order == Order::Any);
        let earliest = [waits, flies, unread].into_iter().flatten().min();
        if earliest.is_none_or(|earliest| next_due < earliest) {
            match self.terms.order {
                Order::Any => self.leave(first_at(next_due)),
                // Its id may be anywhere; what is known is not taken in twice.
                Order::Fifo => self.read_anew(),
            }
        }
    }

    /// The store was seen to have this delivery: it may be unread.
    pub(in crate::engine) fn noticed(&mut self, id: DeliveryId, due_at: Timestamp) {
        if !self.known.contains(&id) {
            self.leave(place_of(self.terms.order, id, due_at));
        }
    }

    /// Begins to read the store: from where, and how many at most.
    pub(in crate::engine) fn begin_reading(
        &mut self,
        number: u64,
        now: Timestamp,
        limits: &Limits,
        room: &Room,
    ) -> Option<DuePosition> {
        let after = self.low.filter(|_| self.wants_reading(now, limits, room))?;
        self.reading = Reading::Running { number, ended: HashSet::new(), floor: None };
        Some(after)
    }

    /// Takes in what the read with this number has found after the cursor: everything that is live there, if it is
    /// `complete`.
    pub(in crate::engine) fn read(
        &mut self,
        number: u64,
        rows: Vec<Arrival>,
        complete: bool,
        limits: &Limits,
        room: &mut Room,
    ) {
        if !self.is_reading(number) {
            return;
        }
        let Reading::Running { ended, floor, .. } = std::mem::replace(&mut self.reading, Reading::Idle)
        else {
            return;
        };
        if self.held.is_some() {
            return; // the cursor stays where it is
        }
        let order = self.terms.order;
        let last = rows.last().map(|row| place(order, &row.delivery));
        let reached = if complete { None } else { last.or(self.low) };
        self.low = [reached, floor].into_iter().flatten().min();
        for Arrival { delivery, payload } in rows {
            if !self.known.contains(&delivery.id) && !ended.contains(&delivery.id) {
                let (position, found) = (place(order, &delivery), Found::Read);
                self.take_in(position, Waiting { delivery, payload, found }, limits, room);
            }
        }
    }

    /// Notes that the read with this number has failed.
    pub(in crate::engine) fn reading_failed(&mut self, number: u64, again_at: Timestamp) {
        if self.is_reading(number) {
            self.reading = Reading::Failed { again_at };
        }
    }

    fn is_reading(&self, number: u64) -> bool {
        matches!(self.reading, Reading::Running { number: running, .. } if running == number)
    }

    /// What of these is due and unknown, so that its payload is worth reading now.
    pub(in crate::engine) fn lacks(
        &self,
        rows: &[LiveDelivery],
        now: Timestamp,
    ) -> Vec<(EventId, ConsumerId)> {
        let wanted = rows.iter().filter(|row| row.due_at <= now && !self.known.contains(&row.id));
        wanted.map(|row| (row.event, row.consumer.clone())).collect()
    }

    /// Whether there is something due in the store that memory should hold.
    pub(in crate::engine) fn wants_reading(&self, now: Timestamp, limits: &Limits, room: &Room) -> bool {
        // What would not be kept is not worth reading.
        let few = limits.read.min(limits.most_of_lane(room)) / 2;
        let first_is_later = |low| self.waiting.first_key_value().is_none_or(|(first, _)| low < *first);
        self.held.is_none()
            && match self.reading {
                Reading::Idle => true,
                Reading::Running { .. } => false,
                Reading::Failed { again_at } => again_at <= now,
            }
            && self
                .low
                .is_some_and(|low| low.due_at <= now && (self.waiting.len() <= few || first_is_later(low)))
    }
}
