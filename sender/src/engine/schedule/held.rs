//! Held lanes: parked for a reason that lies before the POST, looked at again, released.

use waxseal_keys::Timestamp;

use super::Schedule;
use crate::engine::breaker::Health;
use crate::engine::hold::Hold;
use crate::engine::lane::Held;
use crate::id::{ConsumerId, EndpointId};

impl Schedule {
    /// Parks an endpoint: nothing of it is claimed until it is released.
    pub(in crate::engine) fn hold(&mut self, endpoint: EndpointId, hold: Hold, now: Timestamp) {
        let is_ours = self.owned.have(endpoint);
        let Some(lane) = self.lanes.get_mut(&endpoint).filter(|_| is_ours) else { return };
        lane.leave_all(&mut self.room);
        lane.held = Some(Held { hold, look_at: now.saturating_add(self.limits.look_again) });
        self.review(endpoint, now);
    }

    /// Lets an endpoint go on. Whoever resumes a paused one wants to see it tried: its breaker begins anew.
    pub(in crate::engine) fn release(&mut self, endpoint: EndpointId, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&endpoint) {
            if lane.held.take().is_some_and(|held| held.hold == Hold::EndpointPaused) {
                // The directory has forgotten it with the pause; what an attempt that was under way has written since is
                // forgotten after the next one.
                lane.health = Health::anew(lane.health.proven);
            }
            self.review(endpoint, now);
        }
    }

    /// Something that holds depend on has changed: a hold that was found before this moment no longer counts.
    pub(in crate::engine) fn new_epoch(&mut self) {
        self.epoch += 1;
    }

    /// The present epoch, for what is found outside of a claim.
    pub(in crate::engine) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Held endpoints that have waited long enough to be looked at again.
    pub(in crate::engine) fn doubtful(&mut self, now: Timestamp) -> Vec<EndpointId> {
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
    pub(in crate::engine) fn holds(&self) -> impl Iterator<Item = (EndpointId, &ConsumerId, &Hold)> {
        self.lanes.iter().filter_map(|(endpoint, lane)| {
            lane.held.as_ref().map(|held| (*endpoint, &lane.consumer, &held.hold))
        })
    }

    /// Why an endpoint is held, if it is.
    pub(in crate::engine) fn hold_of(&self, endpoint: EndpointId) -> Option<Hold> {
        self.lanes.get(&endpoint).and_then(|lane| lane.held.as_ref()).map(|held| held.hold)
    }

    /// Parks an endpoint for a reason that was found in `epoch`, if nothing has changed since.
    pub(super) fn hold_since(
        &mut self,
        epoch: u64,
        endpoint: EndpointId,
        hold: Option<Hold>,
        now: Timestamp,
    ) {
        if let Some(hold) = hold.filter(|_| epoch == self.epoch) {
            self.hold(endpoint, hold, now);
        }
    }
}
