//! Endpoints: where a consumer receives, what it receives there, and how it is protected.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;
use waxseal_envelope::{Audience, EventType};
use waxseal_keys::Timestamp;

use super::authentication::Authentication;
use super::pace::Pace;
use super::server_authentication::ServerAuthentication;
use super::verification::Verification;
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
    /// How fast and in which order it is delivered to.
    #[serde(default)]
    pub pace: Pace,
    /// When it was created.
    pub created_at: Timestamp,
    /// What we show its server beside the token; nothing for most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Box<Authentication>>,
    /// What its server must show us beside the usual; nothing for most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_authentication: Option<Box<ServerAuthentication>>,
    /// Why it gets events, or that it gets none yet.
    #[serde(default)]
    pub verification: Verification,
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
    /// Whoever runs the sender said so.
    Operator,
    /// The consumer said so.
    Consumer,
    /// The receiver answered `410 Gone`.
    Gone,
    /// The receiver does not take tokens of this issuer.
    WrongIssuer,
    /// The receiver does not take tokens of this audience.
    WrongAudience,
    /// Nothing but failure for as long as the endpoint's `disable_after`.
    Failing,
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

    /// Lets it receive elsewhere. What was shown to the old server is not shown to the new one: whoever may change a URL
    /// would else be handed credentials that they never knew. What a server must prove stays: dropping it would trust
    /// more than before. The new one proves itself, whoever trusted the old one.
    pub fn move_to(&mut self, url: Url) {
        if self.url != url {
            self.url = url;
            self.authentication = None;
            self.verification = Verification::UNASKED;
        }
    }

    /// Protects its tokens otherwise, which is to be proved, or trusted, anew.
    pub fn protect_as(&mut self, protection: Protection) {
        if self.protection != protection {
            self.protection = protection;
            self.verification = Verification::UNASKED;
        }
    }

    /// Whether a TLS session with its server must be its own, because one of both sides is known in a special way.
    pub fn needs_own_tls(&self) -> bool {
        let certificate =
            self.authentication.as_ref().is_some_and(|shown| shown.client_certificate.is_some());
        certificate || self.server_authentication.is_some()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::authentication::Bearer;
    use crate::model::secret::Secret;

    #[test]
    fn a_record_from_before_there_was_authentication_is_read() {
        let old = r#"{"id":"ep_01a1c4b8000070008000000000000000","consumer":"acme","url":"https://a.example/h?key=1",
            "event_types":"all","audience":null,"protection":"signed","description":null,
            "status":{"state":"active"},"created_at":1795293598000}"#;
        let mut endpoint: Endpoint = serde_json::from_str(old).unwrap();
        assert_eq!((&endpoint.authentication, &endpoint.server_authentication), (&None, &None));
        assert!(!endpoint.needs_own_tls());
        let written = serde_json::to_string(&endpoint).unwrap();
        assert!(!written.contains("authentication"), "{written}");

        let bearer = Some(Bearer { token: Secret::new("hunter2") });
        endpoint.authentication = Some(Box::new(Authentication { bearer, ..Authentication::default() }));
        assert!(!format!("{endpoint:?}").contains("hunter2") && !format!("{endpoint:?}").contains("key=1"));
        let url = endpoint.url.clone();
        endpoint.move_to(url);
        assert!(endpoint.authentication.is_some());
        endpoint.move_to(Url::parse("https://b.example/").unwrap());
        assert!(endpoint.authentication.is_none());
    }
}
