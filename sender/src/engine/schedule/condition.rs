//! Lanes and their health: how attempts went, what of it goes to disk, what is shown.
//!
//! What the store has of an endpoint's health is written with the settlement that changed it. Several attempts of an
//! endpoint may be settled at the same time, in any order, so one of them writes at a time: whoever is told to write
//! reports back, and is told what to write next if the health has changed meanwhile ([`Schedule::health_written`]).

use waxseal_keys::Timestamp;

use super::Schedule;
use crate::engine::breaker::{BreakerPolicy, Health, Observation};
use crate::engine::condition::{BreakerState, Condition, Conditions, EndpointState};
use crate::engine::lane::Lane;
use crate::engine::place::start;
use crate::id::EndpointId;
use crate::model::health::EndpointHealth;

/// What follows from an observation.
#[derive(Debug, Default)]
pub(in crate::engine) struct Observed {
    /// The endpoint has done nothing but fail for too long.
    pub(in crate::engine) give_up: bool,
    /// What is to be written; answered with [`Schedule::health_written`].
    pub(in crate::engine) write: Option<HealthChange>,
}

/// A change to what the store has of an endpoint's health.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::engine) enum HealthChange {
    Keep(EndpointHealth),
    Forget,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::engine) enum Wrote {
    Done,
    Nothing,
}

impl Schedule {
    /// Takes back an endpoint's health as it was kept.
    pub(in crate::engine) fn restore(&mut self, kept: EndpointHealth, now: Timestamp) {
        let (endpoint, consumer) = (kept.endpoint, kept.consumer.clone());
        if !self.owned.have(endpoint) {
            return;
        }
        self.add_lane(endpoint, &consumer, |_| Some(start()), now);
        if let Some(lane) = self.lanes.get_mut(&endpoint) {
            lane.health = Health::restored(kept.failing_since, kept.attempts, kept.open);
            lane.on_disk.health = Some(kept);
        }
        self.review(endpoint, now);
    }

    /// Notes how an attempt that is still in flight went.
    pub(in crate::engine) fn observe(
        &mut self,
        endpoint: EndpointId,
        seen: &Observation,
        policy: &BreakerPolicy,
        now: Timestamp,
    ) -> Observed {
        // How an endpoint of others does is theirs to say.
        let is_ours = self.owned.have(endpoint);
        let Some(lane) = self.lanes.get_mut(&endpoint).filter(|_| is_ours) else {
            return Observed::default();
        };
        let after = lane.terms().disable_after;
        let give_up = lane.health.observe(seen, policy, after);
        let write = to_write(endpoint, lane);
        self.review(endpoint, now);
        Observed { give_up, write }
    }

    /// Notes what became of a change that was to be written. Says what is to be written next.
    pub(in crate::engine) fn health_written(
        &mut self,
        endpoint: EndpointId,
        change: HealthChange,
        wrote: Wrote,
        now: Timestamp,
    ) -> Option<HealthChange> {
        let lane = self.lanes.get_mut(&endpoint).filter(|lane| lane.on_disk.is_being_written)?;
        lane.on_disk.is_being_written = false;
        if wrote == Wrote::Done && self.owned.have(endpoint) {
            lane.on_disk.health = match change {
                HealthChange::Keep(health) => Some(health),
                HealthChange::Forget => None,
            };
        }
        let next = to_write(endpoint, lane);
        self.review(endpoint, now);
        next
    }

    /// A POST that was not claimed: it is paid for all the same.
    pub(in crate::engine) fn charge(&mut self, endpoint: EndpointId, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&endpoint) {
            lane.charge(now);
            self.review(endpoint, now);
        }
    }

    /// An endpoint's configuration has changed.
    pub(in crate::engine) fn refresh(&mut self, endpoint: EndpointId, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&endpoint).filter(|_| self.owned.have(endpoint)) {
            lane.agree(self.terms.terms_of(endpoint), &mut self.room, now);
            self.review(endpoint, now);
        }
    }

    /// Any endpoint's configuration may have changed.
    pub(in crate::engine) fn refresh_all(&mut self, now: Timestamp) {
        let all: Vec<_> = self.lanes.keys().copied().collect();
        all.into_iter().for_each(|endpoint| self.refresh(endpoint, now));
    }

    /// How an endpoint does.
    pub(in crate::engine) fn condition(&self, endpoint: EndpointId, now: Timestamp) -> Condition {
        self.lanes.get(&endpoint).map(|lane| condition(lane, now)).unwrap_or_default()
    }

    /// All endpoints of which something is known, without what their verification waits for.
    pub(in crate::engine) fn states(&self, now: Timestamp) -> Vec<(EndpointId, EndpointState)> {
        let state = |lane: &Lane| EndpointState {
            hold: lane.held.as_ref().map(|held| held.hold),
            condition: condition(lane, now),
            verification_waits_for: None,
        };
        self.lanes.iter().map(|(endpoint, lane)| (*endpoint, state(lane))).collect()
    }

    /// How many endpoints do how.
    pub(in crate::engine) fn conditions(&self, now: Timestamp) -> Conditions {
        let mut conditions = Conditions { slots: self.slots, ..Conditions::default() };
        self.lanes.values().for_each(|lane| conditions.add(&condition(lane, now), lane.standing(now)));
        conditions
    }
}

/// What the store should have and has not, if nobody is writing.
fn to_write(endpoint: EndpointId, lane: &mut Lane) -> Option<HealthChange> {
    if lane.on_disk.is_being_written {
        return None;
    }
    let kept = lane.health.kept().map(|(failing, open)| EndpointHealth {
        endpoint,
        consumer: lane.consumer.clone(),
        failing_since: failing.since,
        attempts: failing.attempts,
        open,
    });
    let change = match (&lane.on_disk.health, kept) {
        (None, None) => return None,
        // The number of attempts alone is not worth a write.
        (Some(old), Some(new)) if (old.failing_since, old.open) == (new.failing_since, new.open) => {
            return None;
        }
        (_, Some(new)) => HealthChange::Keep(new),
        (Some(_), None) => HealthChange::Forget,
    };
    lane.on_disk.is_being_written = true;
    Some(change)
}

fn condition(lane: &Lane, now: Timestamp) -> Condition {
    let health = &lane.health;
    let later = |moment: Option<Timestamp>| moment.filter(|moment| now < *moment);
    Condition {
        breaker: match health.open {
            None => BreakerState::Closed,
            Some(open) if now < open.probe_at => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        },
        open_since: health.open.map(|open| open.since),
        next_probe_at: health.probe_at(),
        failures: health.failures,
        failing_since: health.failing.map(|failing| failing.since),
        rests_until: later(health.rests_until),
        rate_limited_until: later(lane.token_at()),
    }
}
