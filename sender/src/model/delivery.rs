//! Deliveries and attempts, and the states that a delivery can end in.

use serde::{Deserialize, Serialize};
use waxseal_keys::Timestamp;

use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};

/// A delivery that is not settled: all that the engine needs to know to make it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LiveDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// What is delivered.
    pub event: EventId,
    /// Where to.
    pub endpoint: EndpointId,
    /// To whom.
    pub consumer: ConsumerId,
    /// Not before this.
    pub due_at: Timestamp,
    /// How many attempts have been recorded; a settlement is fenced by it.
    pub attempts_made: u32,
    /// When it stops being worth delivering, if it does.
    pub expires_at: Option<Timestamp>,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// No attempt has been made.
    Pending,
    /// An attempt failed; another is scheduled.
    Retrying,
    /// The receiver took it.
    Delivered,
    /// The schedule is used up.
    Exhausted,
    /// Its time ran out.
    Expired,
    /// The receiver will never take it.
    Refused,
    /// Taken back before it was delivered.
    Cancelled,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Retrying,
        Self::Delivered,
        Self::Exhausted,
        Self::Expired,
        Self::Refused,
        Self::Cancelled,
    ];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Retrying => "retrying",
            Self::Delivered => "delivered",
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will happen by itself.
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Retrying => false,
            Self::Delivered | Self::Exhausted | Self::Expired | Self::Refused | Self::Cancelled => true,
        }
    }
}

/// A delivery as the API shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// What is delivered.
    pub event: EventId,
    /// Where to.
    pub endpoint: EndpointId,
    /// To whom.
    pub consumer: ConsumerId,
    /// Where it stands.
    pub state: DeliveryState,
    /// How many attempts have been recorded.
    pub attempts_made: u32,
    /// When the next attempt is due, unless the state is final.
    pub due_at: Option<Timestamp>,
    /// When the last attempt was recorded.
    pub last_attempt_at: Option<Timestamp>,
    /// When it stops being worth delivering, if it does and is not over yet.
    pub expires_at: Option<Timestamp>,
    /// When it ended, if it has.
    pub ended_at: Option<Timestamp>,
}

impl Delivery {
    /// What the engine needs to know of it; `None` if it has ended.
    pub fn live(&self) -> Option<LiveDelivery> {
        Some(LiveDelivery {
            id: self.id,
            event: self.event,
            endpoint: self.endpoint,
            consumer: self.consumer.clone(),
            due_at: self.due_at?,
            attempts_made: self.attempts_made,
            expires_at: self.expires_at,
        })
    }
}

/// One POST of a delivery, as recorded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// Which one, counted from 1.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// The HTTP status that came back, if any did.
    pub status: Option<u16>,
    /// A stable code that says how it went: `delivered`, or why not (`post.timeout`, `answer.invalid_key`, …).
    pub result: String,
    /// The key that signed.
    pub signing_kid: String,
    /// The key that it was sealed to.
    pub encryption_kid: Option<String>,
    /// The beginning of what came back: ciphertext under the consumer's data key, empty if nothing was kept.
    pub excerpt: Vec<u8>,
    /// When the next attempt was scheduled, if one was.
    pub next_at: Option<Timestamp>,
    /// By how many seconds the receiver's clock was ahead of ours, if its answer said so and it was more than a minute.
    pub clock_skew_seconds: Option<i32>,
}
