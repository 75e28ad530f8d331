//! Where a delivery stands among those of its endpoint: the order in which they are made.
//!
//! A lane keeps one order, and its cursor is a place in it. Where the order is that of due times, a place is a due
//! time and an id. Where it is strict, only the id counts: a delivery that is tried again stays before those behind
//! it, however late it is due. Such a place has one and the same due time for all, so that places of either kind
//! compare by the same rule and everything else that a lane does needs to know nothing of the order.
//!
//! **What strict order means.** Delivery ids ascend within a process, so what is published after another publication
//! was answered is delivered after it, across restarts, too. Publications under way at the same time get their order
//! from their ids; see [`crate::publish`] for how long one waits for another.

use waxseal_keys::Timestamp;

use crate::id::DeliveryId;
use crate::model::delivery::LiveDelivery;
use crate::model::pace::Order;
use crate::store::DuePosition;

/// Where a delivery stands.
pub(super) fn place(order: Order, delivery: &LiveDelivery) -> DuePosition {
    place_of(order, delivery.id, delivery.due_at)
}

/// Where a delivery with this id stands while it is due at `due_at`.
pub(super) fn place_of(order: Order, id: DeliveryId, due_at: Timestamp) -> DuePosition {
    match order {
        Order::Any => DuePosition { due_at, id },
        Order::Fifo => DuePosition { due_at: Timestamp::MIN, id },
    }
}

/// Before all places.
pub(super) fn start() -> DuePosition {
    first_at(Timestamp::MIN)
}

/// The first place at a time.
pub(super) fn first_at(due_at: Timestamp) -> DuePosition {
    DuePosition { due_at, id: DeliveryId::from_bytes([0; 16]) }
}

/// The place just before another.
pub(super) fn before(position: DuePosition) -> DuePosition {
    match u128::from_be_bytes(*position.id.as_bytes()).checked_sub(1) {
        Some(id) => DuePosition { id: DeliveryId::from_bytes(id.to_be_bytes()), ..position },
        None => DuePosition {
            due_at: Timestamp::from_millis(position.due_at.as_millis().saturating_sub(1)),
            id: DeliveryId::from_bytes([0xff; 16]),
        },
    }
}
