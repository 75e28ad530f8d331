//! Shards come and go: what is owned, what of it was looked through, and what leaves memory with a shard.

use std::collections::BTreeMap;

use waxseal_keys::Timestamp;

use super::Schedule;
use crate::engine::hold::Hold;
use crate::engine::lane::{Held, Leave};
use crate::engine::pace::Status;
use crate::id::{DeliveryId, EndpointId};
use crate::store::{Shard, Shards};

/// What is worked on.
#[derive(Debug, Default)]
pub(super) struct Owned {
    shards: Shards,
    gained: BTreeMap<Shard, Gained>,
    gains: u64,
}

/// How a shard came.
#[derive(Clone, Copy, Debug)]
struct Gained {
    /// Counts all gains.
    number: u64,
    at: Timestamp,
    surveyed: bool,
}

/// A look through the store that has begun. It counts for what was owned then, and only if it is owned ever since.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Survey {
    /// What is looked through.
    pub(in crate::engine) shards: Shards,
    gains: u64,
}

impl Owned {
    pub(super) fn shards(&self) -> Shards {
        self.shards
    }

    pub(super) fn have(&self, endpoint: EndpointId) -> bool {
        self.shards.have(endpoint)
    }

    pub(super) fn is_surveyed(&self, endpoint: EndpointId) -> bool {
        self.gained.get(&Shard::of(endpoint)).is_some_and(|gained| gained.surveyed)
    }
}

impl Schedule {
    /// What is worked on.
    pub(in crate::engine) fn owned(&self) -> Shards {
        self.owned.shards
    }

    /// Whether there is something that has not been surveyed yet.
    pub(in crate::engine) fn wants_survey(&self) -> bool {
        self.owned.gained.values().any(|gained| !gained.surveyed)
    }

    /// Since when the shard of an endpoint is worked on.
    pub(in crate::engine) fn gained_at(&self, endpoint: EndpointId) -> Option<Timestamp> {
        self.owned.gained.get(&Shard::of(endpoint)).map(|gained| gained.at)
    }

    /// Works on these shards from now on, too. Survey them; until then nothing is known of what is live there.
    pub(in crate::engine) fn gain(&mut self, shards: Shards, now: Timestamp) {
        let new = shards.without(self.owned.shards);
        self.owned.gains += 1;
        let number = self.owned.gains;
        self.owned.shards = self.owned.shards.or(new);
        self.owned
            .gained
            .extend(new.iter().map(|shard| (shard, Gained { number, at: now, surveyed: false })));
        // Something of them is in flight since they were worked on here before.
        for endpoint in self.lanes_of(new) {
            let terms = self.terms.terms_of(endpoint);
            let Some(lane) = self.lanes.get_mut(&endpoint) else { continue };
            if terms.status == Status::Paused {
                let look_at = now.saturating_add(self.limits.look_again);
                lane.held = Some(Held { hold: Hold::EndpointPaused, look_at });
            }
            lane.agree(terms, &mut self.room, now);
            lane.read_anew();
            self.review(endpoint, now);
        }
    }

    /// Works on these shards no more: others do, or may.
    pub(in crate::engine) fn lose(&mut self, shards: Shards, now: Timestamp) {
        self.part_with(shards, Leave::None, now);
    }

    /// Begins nothing more in these shards, which are to be given back; what is in flight may end.
    pub(in crate::engine) fn drain(&mut self, shards: Shards, now: Timestamp) {
        self.part_with(shards, Leave::Last, now);
    }

    /// Begins to look through the store. The look itself must begin after this.
    pub(in crate::engine) fn begin_survey(&self) -> Survey {
        Survey { shards: self.owned.shards, gains: self.owned.gains }
    }

    /// Everything that was live when the survey began has been [discovered](Self::discovered).
    pub(in crate::engine) fn surveyed(&mut self, survey: Survey) {
        for (shard, gained) in &mut self.owned.gained {
            gained.surveyed |= survey.shards.contains(*shard) && gained.number <= survey.gains;
        }
    }

    /// How many deliveries of these shards are in flight.
    pub(in crate::engine) fn in_flight_of(&self, shards: Shards) -> usize {
        let lanes = self.lanes.iter().filter(|(endpoint, _)| shards.have(**endpoint));
        lanes.map(|(_, lane)| lane.listed.counted.in_flight).sum()
    }

    /// Whether a claimed delivery may be posted: nobody else can have it.
    pub(in crate::engine) fn may_go_on(&self, endpoint: EndpointId, id: DeliveryId) -> bool {
        self.lanes.get(&endpoint).is_some_and(|lane| lane.may_go_on(id))
    }

    /// Somebody else has ended deliveries of this endpoint: what waits is read anew.
    pub(in crate::engine) fn distrust(&mut self, endpoint: EndpointId, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&endpoint).filter(|_| self.owned.have(endpoint)) {
            lane.distrust(&mut self.room);
            self.review(endpoint, now);
        }
    }

    /// Somebody else may have ended deliveries of any endpoint.
    pub(in crate::engine) fn distrust_all(&mut self, now: Timestamp) {
        self.lanes_of(self.owned.shards).into_iter().for_each(|endpoint| self.distrust(endpoint, now));
    }

    pub(super) fn lanes_of(&self, shards: Shards) -> Vec<EndpointId> {
        self.lanes.keys().copied().filter(|endpoint| shards.have(*endpoint)).collect()
    }

    fn part_with(&mut self, shards: Shards, leave: Leave, now: Timestamp) {
        self.owned.shards = self.owned.shards.without(shards);
        self.owned.gained.retain(|shard, _| !shards.contains(*shard));
        for endpoint in self.lanes_of(shards) {
            if let Some(lane) = self.lanes.get_mut(&endpoint) {
                lane.lose(leave, &mut self.room);
            }
            self.review(endpoint, now);
        }
    }
}
