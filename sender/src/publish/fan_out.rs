//! One event for many: a delivery to each who receives it, the payload's key for each of them, kept together.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use waxseal_keys::Timestamp;

use super::expected::{Expectation, Expected};
use super::{PublishError, PublishedDelivery, Publisher, SealedPayload};
use crate::carried_out::CarriedOut;
use crate::engine::Arrival;
use crate::id::{ConsumerId, EventId};
use crate::model::delivery::LiveDelivery;
use crate::model::endpoint::Endpoint;
use crate::model::event::PublishedEvent;
use crate::model::verification::Standing;
use crate::store::{Accepted, Idempotency, NewDelivery, NewEvent, RecordChange, StoreError};

/// An event with its deliveries, encrypted, on its way to the store.
#[derive(Debug)]
pub(super) struct FanOut {
    event: PublishedEvent,
    accepted_at: Timestamp,
    expires_at: Option<Timestamp>,
    payload: SealedPayload,
    wrapped_keys: BTreeMap<ConsumerId, Vec<u8>>,
    deliveries: Vec<NewDelivery>,
    expected: Vec<Expected>,
    /// How a repetition is known, if it is.
    pub(super) idempotency: Option<Idempotency>,
    /// What is written with it.
    pub(super) changes: Vec<RecordChange>,
}

impl FanOut {
    /// Its deliveries; none if nobody receives it.
    pub(super) fn deliveries(&self) -> Vec<PublishedDelivery> {
        self.deliveries.iter().map(PublishedDelivery::of).collect()
    }
}

impl Publisher {
    /// Encrypts an event once, and makes a delivery to each of these endpoints.
    pub(super) fn fan_out(
        &self,
        event: PublishedEvent,
        endpoints: impl IntoIterator<Item = impl Borrow<Endpoint>>,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> FanOut {
        let payload = SealedPayload::seal(&event);
        let mut wrapped_keys = BTreeMap::new();
        let (mut deliveries, mut expected) = (Vec::new(), Vec::new());
        for endpoint in endpoints {
            let endpoint = endpoint.borrow();
            // A consumer without a data key is one that is being erased: nothing new is kept for it.
            let Some(key) = self.data_keys.of(&endpoint.consumer) else { continue };
            if !wrapped_keys.contains_key(&endpoint.consumer) {
                let wrapped = payload.wrap_for(&endpoint.consumer, &key);
                wrapped_keys.insert(endpoint.consumer.clone(), wrapped);
            }
            let delivery = self.place(endpoint, expires_at, now);
            expected.extend(Expected::of(endpoint, delivery.id));
            deliveries.push(delivery);
        }
        FanOut {
            event,
            accepted_at: now,
            expires_at,
            payload,
            wrapped_keys,
            deliveries,
            expected,
            idempotency: None,
            changes: Vec::new(),
        }
    }

    /// A delivery to this endpoint, due now.
    pub(super) fn place(
        &self,
        endpoint: &Endpoint,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> NewDelivery {
        let verified = matches!(self.directory.standing(endpoint, now), Standing::Trusted | Standing::Proven);
        // It may never prove itself, and what waits for it is kept as long as it waits.
        let unverified = (!verified).then(|| now.saturating_add(UNVERIFIED_LIFE));
        NewDelivery {
            id: self.ids.next(now),
            endpoint: endpoint.id,
            consumer: endpoint.consumer.clone(),
            due_at: now,
            expires_at: [expires_at, unverified].into_iter().flatten().min(),
        }
    }

    /// Writes the event and tells the engine: if the caller is dropped while the store commits, the engine still hears
    /// of what was committed.
    pub(super) async fn keep(&self, fan_out: FanOut) -> Result<Accepted, PublishError> {
        let expectation = Expectation::new(Arc::clone(&self.engine), fan_out.expected);
        let event = Arc::new(fan_out.event);
        let new = NewEvent {
            id: event.id,
            accepted_at: fan_out.accepted_at,
            expires_at: fan_out.expires_at,
            event_type: event.event_type.as_str().to_owned(),
            sealed: fan_out.payload.into_sealed(),
            wrapped_keys: fan_out.wrapped_keys.into_iter().collect(),
            deliveries: fan_out.deliveries,
            idempotency: fan_out.idempotency,
            changes: fan_out.changes,
        };
        let (store, engine) = (Arc::clone(&self.store), Arc::clone(&self.engine));
        let task = async move {
            let arrivals = new.deliveries.iter().map(|delivery| Arrival {
                delivery: live(delivery, event.id),
                payload: Some(Arc::clone(&event)),
            });
            let arrivals: Vec<_> = arrivals.collect();
            let accepted = store.accept(new).await?;
            if accepted == Accepted::New && !arrivals.is_empty() {
                engine.arrived(arrivals);
            }
            drop(expectation);
            Ok::<_, StoreError>(accepted)
        };
        match AssertUnwindSafe(CarriedOut::new(task)).catch_unwind().await {
            Ok(accepted) => Ok(accepted?),
            Err(_) => Err(PublishError::Ending),
        }
    }
}

/// A new delivery as the engine knows it.
pub(super) fn live(delivery: &NewDelivery, event: EventId) -> LiveDelivery {
    LiveDelivery {
        id: delivery.id,
        event,
        endpoint: delivery.endpoint,
        consumer: delivery.consumer.clone(),
        due_at: delivery.due_at,
        attempts_made: 0,
        expires_at: delivery.expires_at,
    }
}

/// How long deliveries wait for an endpoint that has not proved itself: as long as attempts would last.
pub const UNVERIFIED_LIFE: Duration = Duration::from_secs(3 * 24 * 60 * 60);
