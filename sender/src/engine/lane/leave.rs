//! How deliveries leave a lane without being made: to the store, to other nodes, or for good.

use std::collections::HashSet;

use waxseal_keys::Timestamp;

use super::read::Reading;
use super::{Lane, OnDisk};
use crate::engine::breaker::Health;
use crate::engine::place::{before, start};
use crate::engine::room::Room;
use crate::id::DeliveryId;
use crate::store::DuePosition;

/// What a delivery in flight may still do.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::engine) enum Leave {
    /// It goes on, and its end is known here.
    Ours,
    /// It goes on, but what is true of it when its end is known here is in the store: its shard is to be given back, so others
    /// may have it by then; or they may have cancelled it after its attempt was recorded.
    Last,
    /// Others may have it.
    None,
}

/// A delivery that is no longer in flight.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Ended {
    /// Where it stood.
    pub(in crate::engine) position: DuePosition,
    /// Nobody else can have worked on it since it was claimed.
    pub(in crate::engine) was_ours: bool,
}

impl Lane {
    /// Forgets what waits of these, which are no longer live; returns those that are in flight.
    pub(in crate::engine) fn withdraw(&mut self, ids: &[DeliveryId], room: &mut Room) -> Vec<DeliveryId> {
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

    /// Leaves what is live at `position` to the store.
    pub(in crate::engine) fn leave(&mut self, position: DuePosition) {
        self.read_after(before(position));
    }

    /// Leaves everything to the store but what is known.
    pub(in crate::engine) fn read_anew(&mut self) {
        self.read_after(start());
    }

    fn read_after(&mut self, place: DuePosition) {
        self.low = Some(self.low.map_or(place, |low| low.min(place)));
        if let Reading::Running { floor, .. } = &mut self.reading {
            *floor = Some(floor.map_or(place, |floor| floor.min(place)));
        }
    }

    /// Leaves everything that waits to the store.
    pub(in crate::engine) fn leave_all(&mut self, room: &mut Room) {
        if let Some((first, _)) = self.waiting.first_key_value() {
            self.leave(*first);
        }
        self.drop_waiting(room);
    }

    /// Leaves everything that waits to the store, where it is dated anew, and waits for no moment that was planned by a
    /// clock that was set back since.
    pub(in crate::engine) fn set_back(&mut self, now: Timestamp, room: &mut Room) {
        self.leave_all(room);
        self.read_anew();
        if matches!(self.reading, Reading::Failed { .. }) {
            self.reading = Reading::Idle;
        }
        if let Some(held) = &mut self.held {
            held.look_at = held.look_at.min(now);
        }
        if let Some(rate) = self.terms.rate {
            self.bucket.change(rate, now);
        }
        self.health.set_back(now);
        self.in_flight.values_mut().for_each(|flight| flight.since = flight.since.min(now));
        self.oldest_since = self.oldest_since.map(|oldest| oldest.min(now));
    }

    /// Forgets everything but what is in flight: none of it is live any more.
    pub(in crate::engine) fn clear(&mut self, room: &mut Room) {
        self.drop_waiting(room);
        self.low = None;
        self.held = None;
        self.health = Health::default();
        self.on_disk = OnDisk::default();
        if let Reading::Running { floor, .. } = &mut self.reading {
            *floor = None;
        }
    }

    /// Forgets everything but what is in flight: the shard is not ours any more, or is about to be given back.
    pub(in crate::engine) fn lose(&mut self, leave: Leave, room: &mut Room) {
        let (proven, is_being_written) = (self.health.proven, self.on_disk.is_being_written);
        self.clear(room);
        self.health = Health::anew(proven);
        // Whoever writes reports; until then the lane stays, lest two write at the same time.
        self.on_disk.is_being_written = is_being_written;
        self.expected.clear();
        self.reading = Reading::Idle;
        self.in_flight.values_mut().for_each(|flight| flight.leave = flight.leave.max(leave));
    }

    /// Whether a delivery in flight may be posted: nobody else can have it.
    pub(in crate::engine) fn may_go_on(&self, id: DeliveryId) -> bool {
        self.in_flight.get(&id).is_some_and(|flight| flight.leave < Leave::None)
    }

    /// Forgets what waits and what is being read, and believes nothing of what comes back: somebody else has changed what is
    /// live.
    pub(in crate::engine) fn distrust(&mut self, room: &mut Room) {
        self.drop_waiting(room);
        self.in_flight.values_mut().for_each(|flight| flight.leave = flight.leave.max(Leave::Last));
        self.read_anew();
        if matches!(self.reading, Reading::Running { .. }) {
            self.reading = Reading::Idle;
        }
    }
}
