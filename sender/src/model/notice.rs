//! [`Notice`]: something that the operator is to be told, kept from the transaction of its cause until it was told.

use serde::{Deserialize, Serialize};
use waxseal_envelope::EventType;
use waxseal_keys::Timestamp;

use crate::id::{ConsumerId, EventId};

/// An operational event that has not been published yet. It has its event's id already, so that telling it twice is
/// telling it once.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// The id of the event that tells it.
    pub event: EventId,
    /// The event's type, one under `waxseal.`.
    pub event_type: EventType,
    /// The only consumer that it is about, if it is about one.
    pub about: Option<ConsumerId>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What the event says: ids, codes, counts and times. Never content, a URL or a secret.
    pub data: serde_json::Value,
}
