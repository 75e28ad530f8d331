//! Delivers a stored event once more to an endpoint that it was accepted for: under the same event id, or as new.

use std::sync::Arc;

use waxseal_keys::Timestamp;

use super::payload::read_payload;
use super::{Publisher, live};
use crate::audit::Deed;
use crate::engine::Arrival;
use crate::id::{ConsumerId, DeliveryId, EventId};
use crate::model::delivery::Delivery;
use crate::model::endpoint::Endpoint;
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
    /// The event's content was removed because of its age.
    #[error(
        "the content of this event is no longer kept: it is older than the sender keeps contents (`retention.payloads`)"
    )]
    ContentNotKept,
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
            Self::ContentNotKept => "redeliver.content_not_kept",
            Self::Store(error) => error.code(),
            Self::Ending => "redeliver.ending",
        }
    }
}

/// Under which id an event is delivered again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Under {
    /// Its own: a receiver that has taken it knows it and takes it only once.
    SameId,
    /// A new one, with the old one named beside the data: for a receiver that lost what it had of it.
    NewId,
}

/// A delivery that was added by hand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Redelivered {
    /// Its id.
    pub delivery: DeliveryId,
    /// Of which event.
    pub event: EventId,
    /// Of which event that one is a repetition under a new id.
    pub redelivery_of: Option<EventId>,
}

/// A stored event that may be delivered again, and where to.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) delivery: NewDelivery,
    pub(crate) arrival: Arrival,
    endpoint: Arc<Endpoint>,
    event: Arc<PublishedEvent>,
}

impl Publisher {
    /// Delivers the same event to the same endpoint again, due now, whatever became of `delivery`; one that is still
    /// live goes on by itself.
    ///
    /// # Errors
    /// [`RedeliverError`]; nothing was changed.
    pub async fn redeliver(&self, delivery: &Delivery, under: Under) -> Result<Redelivered, RedeliverError> {
        let deed = Deed {
            action: "delivery.redeliver".to_owned(),
            object: delivery.id.to_string(),
            consumer: Some(delivery.consumer.clone()),
            ..Deed::default()
        };
        let Ready { delivery, arrival, endpoint, event } = self.ready_again(delivery).await?;
        let entry = self.directory.recorder().entry(deed);
        if under == Under::NewId {
            let as_new = PublishedEvent {
                id: EventId::generate(self.clock.now()),
                redelivery_of: Some(event.id),
                ..PublishedEvent::clone(&event)
            };
            return self.accept_for(&endpoint, as_new, delivery.expires_at, entry).await;
        }
        let redelivery_of = event.redelivery_of;
        let made = Redelivered { delivery: delivery.id, event: event.id, redelivery_of };
        let (store, engine) = (Arc::clone(&self.store), Arc::clone(&self.engine));
        let task = async move {
            store.redeliver(vec![(delivery, arrival.delivery.event)], vec![entry]).await?;
            engine.arrived(vec![arrival]);
            Ok::<_, StoreError>(())
        };
        tokio::spawn(task).await.map_err(|_| RedeliverError::Ending)??;
        Ok(made)
    }

    /// What it takes to deliver an event again, if that may be done.
    pub(crate) async fn ready_again(&self, delivery: &Delivery) -> Result<Ready, RedeliverError> {
        let endpoint = self.directory.endpoint(delivery.endpoint).ok_or(RedeliverError::EndpointGone)?;
        let event = self.content(delivery.event, &endpoint.consumer).await?;
        let event = match event {
            Some(event) => Arc::new(event),
            None if self.was_removed(delivery.event).await? => return Err(RedeliverError::ContentNotKept),
            None => return Err(RedeliverError::ContentGone),
        };
        let declared = self.directory.event_type(&event.event_type);
        let consumer = self.directory.consumer(&endpoint.consumer).ok_or(RedeliverError::EndpointGone)?;
        // Leaving a group ends new deliveries, this one too. A type that was withdrawn hides nothing from anyone.
        if declared.is_some_and(|declared| !declared.is_visible_to(&consumer)) {
            return Err(RedeliverError::NotVisible);
        }
        let now = self.clock.now();
        let expires_at = self.still_ahead(delivery.event, now).await?;
        let new = self.place(&endpoint, expires_at, now);
        let arrival = Arrival { delivery: live(&new, event.id), payload: Some(Arc::clone(&event)) };
        Ok(Ready { delivery: new, arrival, endpoint, event })
    }

    /// When a stored event expires. A person who delivers one again after its time knows what they do: then never.
    async fn still_ahead(&self, event: EventId, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let expires_at = self.store.event(event).await?.and_then(|event| event.expires_at);
        Ok(expires_at.filter(|expires_at| *expires_at > now))
    }

    /// Whether the content of an event was removed because of its age.
    async fn was_removed(&self, event: EventId) -> Result<bool, StoreError> {
        Ok(self.store.event(event).await?.is_some_and(|event| !event.content_kept))
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
