//! Endpoints: where a consumer receives, what it receives there, and how it is protected.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;
use waxseal_envelope::{Audience, EventType};
use waxseal_keys::Timestamp;

use crate::id::{ConsumerId, EndpointId};
use crate::model::retry::Retry;

/// Where a consumer receives.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose it is.
    pub consumer: ConsumerId,
    /// Where deliveries are posted. It may carry a secret: never log it.
    pub url: Url,
    /// What it receives.
    pub event_types: Subscription,
    /// Its own audience; the consumer's id if it has none.
    pub audience: Option<Audience>,
    /// Whether its tokens are sealed.
    pub protection: Protection,
    /// Its own retry schedule; the sender's if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Free text for people.
    pub description: Option<String>,
    /// Whether deliveries are made.
    pub status: EndpointStatus,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Which event types an endpoint receives, of those that its consumer may see.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subscription {
    /// Every type.
    All,
    /// These types.
    Types(BTreeSet<EventType>),
}

/// How a token is protected on its way to an endpoint.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// Signed; anyone on the way can read it.
    Signed,
    /// Signed, then encrypted to the consumer's key. Without a usable key nothing is sent.
    Sealed,
}

/// Whether deliveries to an endpoint are made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum EndpointStatus {
    /// They are made.
    Active,
    /// They wait; nothing is lost.
    Paused {
        /// Why.
        reason: PauseReason,
        /// Since when.
        since: Timestamp,
    },
}

/// Why deliveries to an endpoint wait.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PauseReason {
    /// A person said so.
    Operator,
    /// The receiver answered `410 Gone`.
    Gone,
    /// The receiver does not take tokens of this issuer.
    WrongIssuer,
    /// The receiver does not take tokens of this audience.
    WrongAudience,
}

impl Endpoint {
    /// The audience that is signed into its tokens.
    pub fn audience(&self) -> Audience {
        match &self.audience {
            Some(own) => own.clone(),
            None => Audience::parse(self.consumer.as_str()).expect("a consumer id is a valid audience"),
        }
    }

    /// Whether it wants events of this type.
    pub fn wants(&self, event_type: &EventType) -> bool {
        match &self.event_types {
            Subscription::All => true,
            Subscription::Types(types) => types.contains(event_type),
        }
    }

    /// Whether deliveries are made to it.
    pub fn is_active(&self) -> bool {
        matches!(self.status, EndpointStatus::Active)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL's path and query may be a capability; its origin is enough to know it by.
        f.debug_struct("Endpoint")
            .field("id", &self.id)
            .field("consumer", &self.consumer)
            .field("origin", &self.url.origin().ascii_serialization())
            .field("event_types", &self.event_types)
            .field("protection", &self.protection)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
