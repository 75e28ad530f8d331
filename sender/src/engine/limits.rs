//! How much the schedule may do at once and keep in memory.

use std::time::Duration;

use super::room::Room;

/// How much is done at once and kept in memory.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Deliveries in flight, of all endpoints together.
    pub in_flight: usize,
    /// Deliveries in flight of one endpoint.
    pub per_endpoint: usize,
    /// Deliveries that wait in memory, of one endpoint.
    pub lane: usize,
    /// Deliveries that wait in memory, of all endpoints together; beyond it each lane may still hold a few.
    pub waiting: usize,
    /// Bytes of payloads that wait in memory.
    pub payload_bytes: usize,
    /// Deliveries that are read from the store at a time.
    pub read: usize,
    /// Lanes that are read at the same time.
    pub readers: usize,
    /// How long a held endpoint waits until it is looked at again without a reason.
    pub look_again: Duration,
}

/// How an endpoint has been doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// It answers.
    Sound,
    /// Nobody knows yet.
    New,
    /// Its last attempt failed, its answers take long, or one is long overdue.
    Struggling,
}

impl Limits {
    /// How many deliveries of a lane may be in flight, where `own` is what its endpoint says about that.
    pub(super) fn of_lane(&self, standing: Standing, own: Option<usize>) -> usize {
        let most = own.unwrap_or(self.per_endpoint);
        match standing {
            Standing::Sound => most,
            Standing::New | Standing::Struggling => (most / 4).max(1),
        }
    }

    /// How many deliveries to struggling endpoints may be in flight.
    pub(super) fn struggling(&self) -> usize {
        (self.in_flight / 4).max(1)
    }

    /// How many deliveries to endpoints that struggle or have never answered may be in flight.
    pub(super) fn unsound(&self) -> usize {
        (self.in_flight / 2).max(1)
    }

    /// How many deliveries a lane may hold; fewer when all lanes together hold enough.
    pub(super) fn most_of_lane(&self, room: &Room) -> usize {
        if room.waiting <= self.waiting { self.lane } else { self.lane_when_full() }
    }

    /// How many deliveries a lane may still hold when all lanes together hold enough.
    pub(super) fn lane_when_full(&self) -> usize {
        (self.per_endpoint * 2).min(self.lane)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 256,
            per_endpoint: 8,
            lane: 256,
            waiting: 65_536,
            payload_bytes: 32 << 20,
            read: 64,
            readers: 4,
            look_again: Duration::from_secs(30),
        }
    }
}
