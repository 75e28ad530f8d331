//! What goes into the schedule and comes out of it: arrivals, reads, claims and their ends.

use std::sync::Arc;

use super::breaker::Kind;
use super::hold::Hold;
use crate::id::EndpointId;
use crate::model::delivery::LiveDelivery;
use crate::model::event::PublishedEvent;
use crate::model::pace::Order;
use crate::store::DuePosition;

/// A delivery that has just become live, or was read.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The delivery.
    pub delivery: LiveDelivery,
    /// Its content, if it is at hand.
    pub payload: Option<Arc<PublishedEvent>>,
}

/// A delivery that is in flight from here on, until it is given back with [`Schedule::done`].
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) delivery: LiveDelivery,
    pub(super) payload: Option<Arc<PublishedEvent>>,
    pub(super) found: Found,
    pub(super) kind: Kind,
    pub(super) epoch: u64,
}

/// How a delivery became known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// Announced by its publisher.
    Arrived,
    /// Read from the store.
    Read,
}

/// What became of a claimed delivery.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// It is settled for good.
    Final,
    /// Its attempt is recorded, and the delivery goes on.
    Again {
        /// As it is now.
        delivery: LiveDelivery,
        /// Why the endpoint is parked, if it is.
        hold: Option<Hold>,
    },
    /// Nothing happened: it could not be made, and why holds for the endpoint.
    Held(Hold),
    /// What is true of it is in the store: somebody else has recorded something.
    Left,
}

/// What to read from the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    /// Of all reads; an answer to one that does not count any more is not taken.
    pub(super) number: u64,
    pub(super) endpoint: EndpointId,
    pub(super) order: Order,
    pub(super) after: DuePosition,
    pub(super) limit: usize,
}
