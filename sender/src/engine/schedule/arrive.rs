//! How lanes come to be: deliveries are announced, expected or found in the store.

use waxseal_keys::Timestamp;

use super::Schedule;
use crate::engine::claim::{Arrival, Found};
use crate::engine::hold::Hold;
use crate::engine::lane::{Held, Lane};
use crate::engine::pace::Status;
use crate::engine::place::{before, first_at, start};
use crate::id::{ConsumerId, EndpointId};
use crate::model::pace::Order;
use crate::publish::Expected;
use crate::store::{DuePosition, EndpointWork};

impl Schedule {
    /// A publisher announces a delivery that is live since just now.
    pub(in crate::engine) fn arrive(&mut self, arrival: Arrival, now: Timestamp) {
        if self.recent.contains(&arrival.delivery.id) {
            return;
        }
        let endpoint = arrival.delivery.endpoint;
        let surveyed = self.surveyed;
        let unread = |order| (order == Order::Fifo && !surveyed).then(start);
        self.add_lane(endpoint, &arrival.delivery.consumer, unread, now);
        if let Some(lane) = self.lanes.get_mut(&endpoint) {
            lane.keep(arrival, Found::Arrived, &self.limits, &mut self.room);
        }
        self.review(endpoint, now);
    }

    /// A delivery that will be live soon, or not: where the order is strict, nothing behind it is made until it is
    /// dismissed.
    pub(in crate::engine) fn expect(&mut self, expected: &Expected, now: Timestamp) {
        let surveyed = self.surveyed;
        let unread = |order| (order == Order::Fifo && !surveyed).then(start);
        self.add_lane(expected.endpoint, &expected.consumer, unread, now);
        if let Some(lane) = self.lanes.get_mut(&expected.endpoint) {
            lane.expected.insert(expected.id);
        }
    }

    /// It has arrived, or never will.
    pub(in crate::engine) fn dismiss(&mut self, expected: &Expected, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&expected.endpoint) {
            lane.expected.remove(&expected.id);
            self.review(expected.endpoint, now);
        }
    }

    /// The store has live deliveries of this endpoint.
    pub(in crate::engine) fn discovered(&mut self, work: EndpointWork, now: Timestamp) {
        let EndpointWork { endpoint, consumer, next_due } = work;
        match self.lanes.get_mut(&endpoint) {
            Some(lane) => lane.discovered(next_due),
            None => {
                let unread = |order| match order {
                    Order::Any => Some(before(first_at(next_due))),
                    Order::Fifo => Some(start()),
                };
                self.add_lane(endpoint, &consumer, unread, now);
            }
        }
        self.review(endpoint, now);
    }

    /// Everything that was live a moment ago has been [`Self::discovered`].
    pub(in crate::engine) fn surveyed(&mut self) {
        self.surveyed = true;
    }

    /// Makes a lane of which nothing is known, unless there is one: what may be live and unread depends on its order.
    pub(super) fn add_lane(
        &mut self,
        endpoint: EndpointId,
        consumer: &ConsumerId,
        unread: impl FnOnce(Order) -> Option<DuePosition>,
        now: Timestamp,
    ) {
        if self.lanes.contains_key(&endpoint) {
            return;
        }
        let terms = self.terms.terms_of(endpoint);
        let (low, status) = (unread(terms.order), terms.status);
        let mut lane = Lane::new(consumer.clone(), terms, low);
        lane.health.proven = self.proven.contains(&endpoint);
        if status == Status::Paused {
            let look_at = now.saturating_add(self.limits.look_again);
            lane.held = Some(Held { hold: Hold::EndpointPaused, look_at });
        }
        self.lanes.insert(endpoint, lane);
    }
}
