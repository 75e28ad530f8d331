//! Deliveries that are about to be accepted, where the order is strict.
//!
//! Events of one batch are committed beside each other, and the later one may be on disk first. The engine is told of
//! a delivery to an endpoint with a strict order when it gets its id, and makes none with a later id before it knows
//! what became of it.

use std::sync::Arc;

use super::Arrivals;
use crate::id::{ConsumerId, DeliveryId, EndpointId};
use crate::model::endpoint::Endpoint;
use crate::model::pace::Order;

/// A delivery that is on its way to the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expected {
    /// Its id.
    pub id: DeliveryId,
    /// Where to.
    pub endpoint: EndpointId,
    /// To whom.
    pub consumer: ConsumerId,
}

/// Keeps the engine waiting until it is dropped, which happens whatever becomes of the publication.
#[derive(Debug)]
pub(super) struct Expectation {
    engine: Arc<dyn Arrivals>,
    expected: Vec<Expected>,
}

impl Expected {
    /// The expectation of a delivery, if its endpoint's order is strict.
    pub(super) fn of(endpoint: &Endpoint, id: DeliveryId) -> Option<Self> {
        let expected = Self { id, endpoint: endpoint.id, consumer: endpoint.consumer.clone() };
        (endpoint.pace.order == Order::Fifo).then_some(expected)
    }
}

impl Expectation {
    pub(super) fn new(engine: Arc<dyn Arrivals>, expected: Vec<Expected>) -> Option<Self> {
        if expected.is_empty() {
            return None;
        }
        engine.expect(&expected);
        Some(Self { engine, expected })
    }
}

impl Drop for Expectation {
    fn drop(&mut self) {
        self.engine.dismiss(&self.expected);
    }
}
