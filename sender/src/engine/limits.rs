//! How much the schedule may do at once and keep in memory.

use std::time::Duration;

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
    /// Its last attempt went well.
    Sound,
    /// Its last attempt failed or took long.
    Struggling,
}

impl Limits {
    /// How many deliveries of a lane may be in flight.
    pub(super) fn of_lane(&self, standing: Standing) -> usize {
        match standing {
            Standing::Sound => self.per_endpoint,
            Standing::Struggling => (self.per_endpoint / 4).max(1),
        }
    }

    /// How many deliveries to struggling endpoints may be in flight.
    pub(super) fn struggling(&self) -> usize {
        (self.in_flight / 4).max(1)
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
            payload_bytes: 64 << 20,
            read: 64,
            readers: 4,
            look_again: Duration::from_secs(30),
        }
    }
}
