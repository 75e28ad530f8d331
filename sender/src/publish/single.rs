//! Events that are made for one endpoint alone: a stored one as new, and a test.
//!
//! Guarantees what publishing does: on disk when it is answered, encrypted before, and told to the engine.

use std::time::Duration;

use serde_json::json;
use waxseal_envelope::{Data, EventType};
use waxseal_keys::Timestamp;

use super::{PublishError, Publisher, RedeliverError, Redelivered};
use crate::audit::Deed;
use crate::id::{EndpointId, EventId};
use crate::model::endpoint::Endpoint;
use crate::model::event::PublishedEvent;
use crate::store::RecordChange;

impl Publisher {
    /// Sends an endpoint an event of the reserved type `waxseal.test`, whatever it is subscribed to, and nobody else.
    /// It is tried for [`TEST_LIFE`] at most, and it waits if the endpoint is held.
    ///
    /// # Errors
    /// [`RedeliverError::EndpointGone`] if there is no such endpoint, or if the store fails.
    pub async fn test(&self, endpoint: EndpointId) -> Result<Redelivered, RedeliverError> {
        let endpoint = self.directory.endpoint(endpoint).ok_or(RedeliverError::EndpointGone)?;
        let now = self.clock.now();
        let said = json!({
            "test": true,
            "endpoint": endpoint.id,
            "note": "This event was sent by hand to try this endpoint; nothing has happened.",
        });
        let event = PublishedEvent {
            id: EventId::generate(now),
            event_type: EventType::parse(TEST_TYPE).expect("a dotted name"),
            occurred_at: Some(now),
            txn: None,
            data: Data::json(said.to_string().as_bytes()).expect("a small object"),
            redelivery_of: None,
        };
        let deed = Deed {
            action: "endpoint.test".to_owned(),
            object: endpoint.id.to_string(),
            consumer: Some(endpoint.consumer.clone()),
            ..Deed::default()
        };
        let entry = self.directory.recorder().entry(deed);
        self.accept_for(&endpoint, event, Some(now.saturating_add(TEST_LIFE)), entry).await
    }

    /// Accepts an event for one endpoint, because somebody wanted it, as `entry` says.
    pub(super) async fn accept_for(
        &self,
        endpoint: &Endpoint,
        event: PublishedEvent,
        expires_at: Option<Timestamp>,
        entry: RecordChange,
    ) -> Result<Redelivered, RedeliverError> {
        let (id, redelivery_of) = (event.id, event.redelivery_of);
        let mut fan_out = self.fan_out(event, [endpoint], expires_at, self.clock.now());
        fan_out.changes.push(entry);
        // A consumer that is being erased gets none.
        let delivery = fan_out.deliveries().first().ok_or(RedeliverError::EndpointGone)?.id;
        let made = Redelivered { delivery, event: id, redelivery_of };
        match self.keep(fan_out).await {
            Ok(_) => Ok(made),
            Err(PublishError::Store(error)) => Err(RedeliverError::Store(error)),
            Err(_) => Err(RedeliverError::Ending),
        }
    }
}

/// The type of test events: nobody can declare it, so nobody can publish it.
pub const TEST_TYPE: &str = "waxseal.test";

/// Whoever tests is looking now.
pub const TEST_LIFE: Duration = Duration::from_secs(10 * 60);
