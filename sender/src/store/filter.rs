//! Which deliveries are looked for, in which order, and a page of what was found.

use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use crate::model::delivery::{Delivery, DeliveryState};

/// Which deliveries to list. Every given field must match.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeliveryFilter {
    /// Of this event.
    pub event: Option<EventId>,
    /// To this endpoint.
    pub endpoint: Option<EndpointId>,
    /// To this consumer.
    pub consumer: Option<ConsumerId>,
    /// In one of these states; in any, if there are none.
    pub states: Vec<DeliveryState>,
    /// Of an event of one of these types; of any, if there are none.
    pub event_types: Vec<String>,
    /// Newer than this one.
    pub after: Option<DeliveryId>,
    /// Older than this one.
    pub before: Option<DeliveryId>,
    /// Which come first.
    pub order: Order,
    /// At most so many.
    pub limit: u32,
}

/// In which order deliveries are listed: ids ascend with the time at which they were made.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Order {
    /// The latest first; the next page is before the last of this one.
    #[default]
    NewestFirst,
    /// The earliest first; the next page is after the last of this one.
    OldestFirst,
}

/// Some of the deliveries that match.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeliveryPage {
    /// They, in the order that was asked for.
    pub deliveries: Vec<Delivery>,
    /// How far the search came, if it ended because it had looked at enough: it can go on behind this one. `None`: the
    /// page is full, or nothing more matches.
    pub reached: Option<DeliveryId>,
}

impl DeliveryFilter {
    /// The same filter, from behind this delivery on.
    #[must_use]
    pub fn behind(mut self, last: DeliveryId) -> Self {
        match self.order {
            Order::NewestFirst => self.before = Some(self.before.map_or(last, |before| before.min(last))),
            Order::OldestFirst => self.after = Some(self.after.map_or(last, |after| after.max(last))),
        }
        self
    }
}
