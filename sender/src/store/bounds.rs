//! What lies between two deliveries, in one of the two orders of their ids: how stores merge several lists of them.

use super::Order;
use crate::id::DeliveryId;

/// What lies between two deliveries, neither of them included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) after: Option<DeliveryId>,
    pub(super) before: Option<DeliveryId>,
    pub(super) order: Order,
}

impl Bounds {
    /// The same, from behind this delivery on.
    pub(super) fn behind(self, id: DeliveryId) -> Self {
        match self.order {
            Order::NewestFirst => Self { before: Some(id), ..self },
            Order::OldestFirst => Self { after: Some(id), ..self },
        }
    }

    /// Greater for what comes first.
    pub(super) fn rank(self, id: DeliveryId) -> u128 {
        let id = u128::from_be_bytes(*id.as_bytes());
        match self.order {
            Order::NewestFirst => id,
            Order::OldestFirst => !id,
        }
    }

    /// What has this rank.
    pub(super) fn at_rank(self, rank: u128) -> DeliveryId {
        let id = match self.order {
            Order::NewestFirst => rank,
            Order::OldestFirst => !rank,
        };
        DeliveryId::from_bytes(id.to_be_bytes())
    }
}
