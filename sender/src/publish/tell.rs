//! Publishes what the operator is told: to the operator's own endpoints, under the id that it has already.

use std::sync::Arc;

use waxseal_envelope::Data;

use super::{Expectation, FannedOut, PublishError, Publisher, SealedPayload};
use crate::model::endpoint::Endpoint;
use crate::model::event::PublishedEvent;
use crate::model::notice::Notice;
use crate::store::{Accepted, NewEvent};

impl Publisher {
    /// Publishes a notice to these endpoints, unless it was published before. `false`: nobody is left to receive it.
    /// To be called by one task only.
    ///
    /// # Errors
    /// If the store fails; nothing was kept, or it is found the next time.
    pub(crate) async fn tell(
        &self,
        notice: &Notice,
        endpoints: Vec<Arc<Endpoint>>,
    ) -> Result<bool, PublishError> {
        // A process that was killed between this and forgetting the notice has published it.
        if self.store.event(notice.event).await?.is_some() {
            return Ok(true);
        }
        let now = self.clock.now();
        let event = PublishedEvent {
            id: notice.event,
            event_type: notice.event_type.clone(),
            occurred_at: Some(notice.occurred_at),
            txn: None,
            data: Data::json(notice.data.to_string().as_bytes()).expect("a notice is a small JSON object"),
            redelivery_of: None,
        };
        let payload = SealedPayload::seal(&event);
        let mut accepted = FannedOut::default();
        for endpoint in endpoints {
            if let Some(key) = self.data_keys.of(&endpoint.consumer) {
                accepted.add(&endpoint, &payload, &key, self.place(&endpoint, None, now));
            }
        }
        if accepted.deliveries.is_empty() {
            return Ok(false);
        }
        let new = NewEvent {
            id: event.id,
            accepted_at: now,
            expires_at: None,
            event_type: event.event_type.as_str().to_owned(),
            sealed: payload.into_sealed(),
            wrapped_keys: accepted.wrapped_keys.into_iter().collect(),
            deliveries: accepted.deliveries,
            idempotency: None,
            changes: Vec::new(),
        };
        let expectation = Expectation::new(Arc::clone(&self.engine), accepted.expected);
        let kept = self.keep(new, Arc::new(event), expectation).await?;
        Ok(kept == Accepted::New)
    }
}
