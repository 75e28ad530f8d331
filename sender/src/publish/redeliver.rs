//! Delivers a stored event once more to an endpoint that it was accepted for, under the same event id.

use std::sync::Arc;

use waxseal_keys::Timestamp;

use super::payload::read_payload;
use super::{Publisher, live};
use crate::engine::Arrival;
use crate::id::{ConsumerId, DeliveryId, EventId};
use crate::model::delivery::Delivery;
use crate::model::event::PublishedEvent;
use crate::store::{NewDelivery, StoreError};

/// Why a delivery was not made again. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedeliverError {
    /// The endpoint is gone.
    #[error("the endpoint of this delivery does not exist any more")]
    EndpointGone,
    /// The consumer may no longer see events of this type.
    #[error("the consumer may no longer see events of this type")]
    NotVisible,
    /// The event's content is not there any more, or cannot be read: its consumer was erased.
    #[error("the content of this event cannot be read any more")]
    ContentGone,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process is ending.
    #[error("the process is ending")]
    Ending,
}

impl RedeliverError {
    /// A stable code for logs and problem details.
    pub fn code(&self) -> &'static str {
        match self {
            Self::EndpointGone => "redeliver.endpoint_gone",
            Self::NotVisible => "redeliver.not_visible",
            Self::ContentGone => "redeliver.content_gone",
            Self::Store(error) => error.code(),
            Self::Ending => "redeliver.ending",
        }
    }
}

impl Publisher {
    /// Adds a delivery of the same event to the same endpoint, due now, whatever became of `delivery`; one that is
    /// still live goes on by itself. A receiver that has taken the event knows it by its id and takes it only once.
    ///
    /// # Errors
    /// [`RedeliverError`]; nothing was changed.
    pub async fn redeliver(&self, delivery: &Delivery) -> Result<DeliveryId, RedeliverError> {
        let endpoint = self.directory.endpoint(delivery.endpoint).ok_or(RedeliverError::EndpointGone)?;
        let event = self.content(delivery.event, &endpoint.consumer).await?;
        let event = event.ok_or(RedeliverError::ContentGone)?;
        let declared = self.directory.event_type(&event.event_type);
        let consumer = self.directory.consumer(&endpoint.consumer).ok_or(RedeliverError::EndpointGone)?;
        // Leaving a group ends new deliveries, this one too. A type that was withdrawn hides nothing from anyone.
        if declared.is_some_and(|declared| !declared.is_visible_to(&consumer)) {
            return Err(RedeliverError::NotVisible);
        }
        let now = self.clock.now();
        let new = NewDelivery {
            id: DeliveryId::generate(now),
            endpoint: endpoint.id,
            consumer: endpoint.consumer.clone(),
            due_at: now,
            expires_at: self.still_ahead(delivery.event, now).await?,
        };
        let id = new.id;
        let (store, engine) = (Arc::clone(&self.store), Arc::clone(&self.engine));
        let task = async move {
            let arrival = Arrival { delivery: live(&new, event.id), payload: Some(Arc::new(event)) };
            store.redeliver(new, arrival.delivery.event).await?;
            engine.arrived(vec![arrival]);
            Ok::<_, StoreError>(())
        };
        tokio::spawn(task).await.map_err(|_| RedeliverError::Ending)??;
        Ok(id)
    }

    /// When a stored event expires. A person who delivers one again after its time knows what they do: then never.
    async fn still_ahead(&self, event: EventId, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let expires_at = self.store.event(event).await?.and_then(|event| event.expires_at);
        Ok(expires_at.filter(|expires_at| *expires_at > now))
    }

    /// The content of a stored event as it was accepted for this consumer; `None` if it cannot be read any more.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn content(
        &self,
        event: EventId,
        consumer: &ConsumerId,
    ) -> Result<Option<PublishedEvent>, StoreError> {
        let Some(key) = self.data_keys.of(consumer) else {
            return Ok(None);
        };
        let stored = self.store.payloads(vec![(event, consumer.clone())]).await?;
        let read = stored.first().map(|stored| read_payload(stored, &key)).transpose();
        Ok(read.unwrap_or_else(|error| {
            tracing::error!(code = error.code(), %event, %consumer, "stored content cannot be read");
            None
        }))
    }
}
