//! What the world knows of the health of endpoints, and what must hold of it.

use std::collections::{BTreeMap, HashSet};

use super::super::super::*;
use super::{How, World, endpoint_id, fresh};
use crate::engine::breaker::{Kind, Observation, Sign};
use crate::engine::pace::Terms;
use crate::model::pace::Order;
use crate::store::Shards;

impl World {
    /// Rate, rest, breaker and order, from what the world knows of them.
    pub(super) fn check_turn(&mut self, claim: &Claim, terms: &Terms, in_flight: usize) {
        let delivery = &claim.delivery;
        if terms.order == Order::Fifo {
            let rows = self.rows.get(&delivery.endpoint).into_iter().flat_map(BTreeMap::values);
            let first = rows.map(|row| row.id).filter(|id| !self.unannounced.contains(id)).min();
            // What nobody announced may come late, but never early.
            assert!(first.is_none_or(|first| delivery.id <= first), "out of order");
        }
        let watched = self.watched.entry(delivery.endpoint).or_default();
        assert!(watched.not_before.is_none_or(|moment| moment <= self.now), "too early");
        assert_eq!(claim.kind == Kind::Probe, watched.open, "a probe if and only if the breaker is open");
        assert!(!watched.open || in_flight == 0, "more than a probe");
        watched.claimed.push(self.now);
        if let Some(rate) = terms.rate {
            for (n, from) in watched.claimed.iter().rev().enumerate() {
                let millis = u32::try_from(self.now.duration_since(*from).as_millis() + 1).unwrap();
                let most = f64::from(rate.burst()) + rate.per_second() * f64::from(millis) / 1_000.0;
                assert!(f64::from(u32::try_from(n + 1).unwrap()) <= most + 1e-6, "above the rate");
            }
        }
    }

    /// What an attempt says of its endpoint, to the schedule and to the world.
    pub(super) fn observe(&mut self, claim: &Claim, how: How) {
        let (sign, took, rest) = match how {
            How::Final => (Sign::Delivered, Duration::ZERO, None),
            How::Refused => (Sign::Answered, Duration::ZERO, None),
            How::Slow(seconds) => (Sign::Delivered, Duration::from_secs(seconds), None),
            How::Again(_) => (Sign::Failed, Duration::ZERO, None),
            How::Rest(millis) => (Sign::Failed, Duration::ZERO, Some(millis)),
            How::Held | How::Left => return,
        };
        let endpoint = claim.delivery.endpoint;
        if !self.hands.ours.have(endpoint) {
            let seen =
                Observation { sign, took, rest_until: None, kind: claim.kind, jitter: 0.5, at: self.now };
            let observed = self.schedule.observe(endpoint, &seen, &self.policy, self.now);
            return assert!(observed.write.is_none(), "the health of what others own");
        }
        let later = |millis: i64| Timestamp::from_millis(self.now.as_millis() + millis);
        let rest_until = rest.map(later);
        let seen = Observation { sign, took, rest_until, kind: claim.kind, jitter: 0.5, at: self.now };
        let watched = self.watched.entry(endpoint).or_default();
        if sign == Sign::Failed {
            watched.failures += 1;
            let opens = !watched.open && watched.failures >= self.policy.failures;
            watched.open |= opens;
            if opens || claim.kind == Kind::Probe {
                watched.not_before = watched.not_before.max(Some(later(100)));
            }
        } else {
            watched.failures = 0;
            watched.open = false;
            watched.not_before = None;
        }
        if let Some(millis) = rest {
            watched.not_before = watched.not_before.max(Some(later(millis.min(600))));
        }
        let observed = self.schedule.observe(endpoint, &seen, &self.policy, self.now);
        self.writes.extend(observed.write.map(|write| (endpoint, write)));
    }

    /// A change to what is kept of an endpoint's health reaches the store, or does not.
    pub(in crate::engine::schedule::tests) fn write_health(&mut self, which: usize, done: bool) {
        if self.writes.is_empty() {
            return;
        }
        let (endpoint, change) = self.writes.swap_remove(which % self.writes.len());
        let wrote = if done { Wrote::Done } else { Wrote::Nothing };
        if done {
            match &change {
                HealthChange::Keep(health) => drop(self.kept.insert(endpoint, health.clone())),
                HealthChange::Forget => drop(self.kept.remove(&endpoint)),
            }
        }
        let next = self.schedule.health_written(endpoint, change, wrote, self.now);
        self.writes.extend(next.map(|next| (endpoint, next)));
    }

    /// Another process goes on with what is in the store.
    pub(in crate::engine::schedule::tests) fn restart(&mut self) {
        // What it did not write in time it will have to learn again.
        while !self.writes.is_empty() {
            self.write_health(0, true);
        }
        self.schedule = fresh(&self.limits, &self.configuration);
        self.hands.restart();
        self.schedule.lose(Shards::ALL.without(self.hands.ours), self.now);
        let kept: Vec<_> = self.kept.values().cloned().collect();
        kept.into_iter().for_each(|health| self.schedule.restore(health, self.now));
        (self.flying, self.settled, self.reads) = (Vec::new(), Vec::new(), Vec::new());
        (self.announcements, self.unannounced) = (Vec::new(), HashSet::new());
        for endpoint in self.watched.keys().copied().collect::<Vec<_>>() {
            // Rests and the tokens that were taken are not kept; an open breaker is.
            self.watched.entry(endpoint).or_default().claimed.clear();
            let is_ours = self.hands.ours.have(endpoint);
            self.watch_anew(endpoint, is_ours);
        }
        self.look_at_store();
        self.discover();
    }

    /// What is known of an endpoint that was just gained, or lost.
    pub(super) fn watch_anew(&mut self, endpoint: EndpointId, is_ours: bool) {
        let kept = self.kept.get(&endpoint).filter(|_| is_ours);
        let watched = self.watched.entry(endpoint).or_default();
        watched.open = kept.is_some_and(|kept| kept.open.is_some());
        watched.failures = u32::from(kept.is_some());
        watched.not_before = kept.and_then(|kept| Some(kept.open?.probe_at));
    }

    pub(in crate::engine::schedule::tests) fn agree(&mut self, endpoint: usize, terms: Terms) {
        let endpoint = endpoint_id(endpoint);
        if self.configuration.terms_of(endpoint).rate != terms.rate {
            self.watched.entry(endpoint).or_default().claimed.clear();
        }
        self.configuration.0.lock().unwrap().insert(endpoint, terms);
        self.schedule.refresh(endpoint, self.now);
    }

    /// What the schedule holds is what it says that it holds, within its limits.
    pub(in crate::engine::schedule::tests) fn check_memory(&mut self) {
        for (endpoint, watched) in &mut self.watched {
            if !self.schedule.knows(*endpoint) {
                assert!(!watched.open, "an open breaker is forgotten");
                watched.failures = 0;
            }
        }
        for claim in &self.flying {
            let (endpoint, id) = (claim.delivery.endpoint, claim.delivery.id);
            assert_eq!(self.schedule.may_go_on(endpoint, id), self.hands.may_go_on(&claim.delivery));
        }
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
        let counted: usize = self.schedule.lanes.values().map(|lane| lane.counted(self.now).in_flight).sum();
        assert_eq!(counted, flying);
        assert!(self.schedule.watch.len() <= self.schedule.lanes.len());
        assert!(self.schedule.timers.len() <= self.schedule.lanes.len());
    }
}
