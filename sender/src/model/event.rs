//! An event as it was published, before it is made into a token for anyone.

use waxseal_envelope::{Data, EventType};
use waxseal_keys::Timestamp;

use crate::id::EventId;

/// An event, decrypted, in memory.
#[derive(Clone, Debug)]
pub struct PublishedEvent {
    /// Its id, the `jti` of every token made from it.
    pub id: EventId,
    /// Its declared type.
    pub event_type: EventType,
    /// When it happened (`toe`), if the publisher said so.
    pub occurred_at: Option<Timestamp>,
    /// The publisher's own id (`txn`), if it gave one.
    pub txn: Option<String>,
    /// What was published, byte for byte.
    pub data: Data,
    /// The event that this one is again, for a consumer that lost what it had of it.
    pub redelivery_of: Option<EventId>,
}
