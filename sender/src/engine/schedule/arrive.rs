//! How lanes come to be: deliveries are announced, expected or found in the store.

use waxseal_keys::Timestamp;

use super::Schedule;
use crate::engine::claim::{Arrival, Found};
use crate::engine::hold::Hold;
use crate::engine::lane::{Held, Lane};
use crate::engine::pace::Status;
use crate::engine::place::{before, first_at, place_of, start};
use crate::id::{ConsumerId, EndpointId};
use crate::model::delivery::LiveDelivery;
use crate::model::pace::Order;
use crate::publish::Expected;
use crate::store::{DuePosition, EndpointWork, FoundArrival};

impl Schedule {
    /// A publisher announces a delivery that is live since just now.
    pub(in crate::engine) fn arrive(&mut self, arrival: Arrival, now: Timestamp) {
        let endpoint = arrival.delivery.endpoint;
        if self.recent.contains(&arrival.delivery.id) || !self.owned.have(endpoint) {
            return;
        }
        let surveyed = self.owned.is_surveyed(endpoint);
        let unread = |_| (!surveyed).then(start);
        self.add_lane(endpoint, &arrival.delivery.consumer, unread, now);
        if let Some(lane) = self.lanes.get_mut(&endpoint) {
            lane.keep(arrival, Found::Arrived, &self.limits, &mut self.room);
        }
        self.review(endpoint, now);
    }

    /// As [`Self::arrive`], of somebody who may come late with it: what was accepted before the shard came may have been
    /// in other hands since.
    pub(in crate::engine) fn announced(&mut self, arrival: Arrival, now: Timestamp) {
        let LiveDelivery { id, endpoint, due_at, .. } = arrival.delivery;
        match self.gained_at(endpoint) {
            Some(gained) if id.made_at() <= gained => {
                let work = EndpointWork { endpoint, consumer: arrival.delivery.consumer, next_due: due_at };
                self.noticed(FoundArrival { id, work }, now);
            }
            Some(_) | None => self.arrive(arrival, now),
        }
    }

    /// A delivery that will be live soon, or not: where the order is strict, nothing behind it is made until it is
    /// dismissed.
    pub(in crate::engine) fn expect(&mut self, expected: &Expected, now: Timestamp) {
        if !self.owned.have(expected.endpoint) {
            return;
        }
        let surveyed = self.owned.is_surveyed(expected.endpoint);
        let unread = |_| (!surveyed).then(start);
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
        if !self.owned.have(endpoint) {
            return;
        }
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

    /// The store was seen to have this live delivery, a while ago: what stands there may be unread.
    pub(in crate::engine) fn noticed(&mut self, found: FoundArrival, now: Timestamp) {
        let FoundArrival { id, work: EndpointWork { endpoint, consumer, next_due } } = found;
        if !self.owned.have(endpoint) {
            return;
        }
        match self.lanes.get_mut(&endpoint) {
            Some(lane) => lane.noticed(id, next_due),
            None => {
                let surveyed = self.owned.is_surveyed(endpoint);
                let there = |order| if surveyed { before(place_of(order, id, next_due)) } else { start() };
                self.add_lane(endpoint, &consumer, |order| Some(there(order)), now);
            }
        }
        self.review(endpoint, now);
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
