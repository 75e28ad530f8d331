//! Recoveries: what an endpoint missed, delivered again bit by bit.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use waxseal_envelope::EventType;
use waxseal_keys::Timestamp;

use crate::id::{ConsumerId, DeliveryId, EndpointId, RecoveryId};
use crate::model::delivery::DeliveryState;
use crate::store::{DeliveryFilter, Order};

/// One recovery: what is to be delivered again, and how far it has come.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// Its id.
    pub id: RecoveryId,
    /// Of which endpoint.
    pub endpoint: EndpointId,
    /// Whose it is.
    pub consumer: ConsumerId,
    /// Deliveries that were made at this time or later,
    pub since: Timestamp,
    /// and before this,
    pub until: Timestamp,
    /// that ended in one of these states,
    pub states: Vec<DeliveryState>,
    /// of events of one of these types; of any, if there are none.
    pub event_types: BTreeSet<EventType>,
    /// How many are delivered again in a second, at most.
    pub rate: u32,
    /// Where it stands.
    pub state: RecoveryState,
    /// What was looked at last; everything older is done with.
    pub cursor: Option<DeliveryId>,
    /// How many were delivered again.
    pub redelivered: u64,
    /// How many matched and were left alone: delivered again by others since, or not to be delivered any more.
    pub skipped: u64,
    /// Redeliveries that were not over when this was written.
    pub live: Vec<DeliveryId>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended, if it has.
    pub ended_at: Option<Timestamp>,
}

/// Where a recovery stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryState {
    /// It goes on.
    Running,
    /// Everything that matched has been looked at.
    Finished,
    /// Somebody stopped it; what it had done by then stays.
    Cancelled,
}

impl Recovery {
    /// What is left to look at, oldest first.
    pub fn rest(&self) -> DeliveryFilter {
        let filter = DeliveryFilter {
            endpoint: Some(self.endpoint),
            states: self.states.clone(),
            event_types: self.event_types.iter().map(|name| name.as_str().to_owned()).collect(),
            after: Some(DeliveryId::lower_bound(self.since)),
            before: Some(DeliveryId::lower_bound(self.until)),
            order: Order::OldestFirst,
            ..DeliveryFilter::default()
        };
        match self.cursor {
            Some(cursor) => filter.behind(cursor),
            None => filter,
        }
    }

    /// Whether it goes on.
    pub fn is_running(&self) -> bool {
        self.state == RecoveryState::Running
    }
}
