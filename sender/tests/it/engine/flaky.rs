//! A store that sometimes is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use waxseal_keys::Timestamp;
use waxseal_sender::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use waxseal_sender::model::delivery::{Attempt, Delivery, LiveDelivery};
use waxseal_sender::store::*;

/// Passes everything on, but fails, loses or panics in the first of some calls.
#[derive(Debug)]
pub(crate) struct Flaky {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settle_fails: AtomicU32,
    pub(crate) due_fails: AtomicU32,
    pub(crate) payloads_lost: AtomicU32,
    pub(crate) due_panics: AtomicU32,
    pub(crate) settle_panics: AtomicU32,
}

impl Flaky {
    pub(crate) fn over(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            settle_fails: 0.into(),
            due_fails: 0.into(),
            payloads_lost: 0.into(),
            due_panics: 0.into(),
            settle_panics: 0.into(),
        }
    }
}

/// Whether this is one of the calls that fail.
fn fails(left: &AtomicU32) -> bool {
    left.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn unavailable<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("not now".into()))
}

#[async_trait]
impl Outbox for Flaky {
    async fn accepted_earlier(
        &self,
        key: Idempotency,
        now: Timestamp,
    ) -> Result<Option<Accepted>, StoreError> {
        self.store.accepted_earlier(key, now).await
    }

    async fn due(
        &self,
        endpoint: EndpointId,
        after: Option<DuePosition>,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError> {
        assert!(!fails(&self.due_panics), "a fault in the store, as this test wants it");
        if fails(&self.due_fails) {
            return unavailable();
        }
        self.store.due(endpoint, after, until, limit).await
    }

    async fn in_order(
        &self,
        endpoint: EndpointId,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError> {
        if fails(&self.due_fails) {
            return unavailable();
        }
        self.store.in_order(endpoint, after, limit).await
    }

    async fn payloads(&self, wanted: Vec<(EventId, ConsumerId)>) -> Result<Vec<StoredPayload>, StoreError> {
        if fails(&self.payloads_lost) {
            return Ok(Vec::new());
        }
        self.store.payloads(wanted).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        assert!(!fails(&self.settle_panics), "a fault in the store, as this test wants it");
        if fails(&self.settle_fails) {
            return unavailable();
        }
        self.store.settle(settlement).await
    }

    async fn expired(
        &self,
        shards: Shards,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError> {
        self.store.expired(shards, now, limit).await
    }

    async fn accept(&self, event: NewEvent) -> Result<Accepted, StoreError> {
        self.store.accept(event).await
    }

    async fn endpoints_with_work(&self, shards: Shards) -> Result<Vec<EndpointWork>, StoreError> {
        self.store.endpoints_with_work(shards).await
    }

    async fn redeliver(
        &self,
        deliveries: Vec<(NewDelivery, EventId)>,
        changes: Vec<RecordChange>,
    ) -> Result<(), StoreError> {
        self.store.redeliver(deliveries, changes).await
    }

    async fn cancel(&self, endpoints: Vec<EndpointId>, most: u32, now: Timestamp) -> Result<u64, StoreError> {
        self.store.cancel(endpoints, most, now).await
    }

    async fn prune(&self, slice: Slice) -> Result<Removed, StoreError> {
        self.store.prune(slice).await
    }

    async fn forget_endpoints(&self, after: Option<EndpointId>, limit: u32) -> Result<Forgotten, StoreError> {
        self.store.forget_endpoints(after, limit).await
    }

    async fn redate(
        &self,
        endpoint: EndpointId,
        now: Timestamp,
        latest: Timestamp,
        after: Option<DuePosition>,
        limit: u32,
    ) -> Result<Redated, StoreError> {
        self.store.redate(endpoint, now, latest, after, limit).await
    }

    async fn event(&self, id: EventId) -> Result<Option<EventSummary>, StoreError> {
        self.store.event(id).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        self.store.delivery(id).await
    }

    async fn deliveries(&self, filter: DeliveryFilter) -> Result<DeliveryPage, StoreError> {
        self.store.deliveries(filter).await
    }

    async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<Attempt>, StoreError> {
        self.store.attempts(delivery).await
    }

    async fn failures(&self, from: Timestamp, until: Timestamp) -> Result<Failures, StoreError> {
        self.store.failures(from, until).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.store.backlog().await
    }
}

#[async_trait]
impl Catalog for Flaky {
    async fn records(&self) -> Result<Vec<Record>, StoreError> {
        self.store.records().await
    }

    async fn audit(&self, filter: AuditFilter) -> Result<AuditPage, StoreError> {
        self.store.audit(filter).await
    }

    async fn forget_audit(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.store.forget_audit(before, limit).await
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Result<(), StoreError> {
        self.store.change(changes).await
    }
}

#[async_trait]
impl KeyRecords for Flaky {
    async fn ring(&self) -> Result<Option<RingRecord>, StoreError> {
        self.store.ring().await
    }

    async fn save_ring(
        &self,
        before: Option<RingRecord>,
        sealed: Vec<u8>,
        changes: Vec<RecordChange>,
    ) -> Result<bool, StoreError> {
        self.store.save_ring(before, sealed, changes).await
    }

    async fn data_keys_of(&self, consumers: Vec<ConsumerId>) -> Result<Vec<DataKeyRecord>, StoreError> {
        self.store.data_keys_of(consumers).await
    }

    async fn data_keys(&self) -> Result<Vec<DataKeyRecord>, StoreError> {
        self.store.data_keys().await
    }

    async fn keep_data_key(&self, key: DataKeyRecord) -> Result<DataKeyRecord, StoreError> {
        self.store.keep_data_key(key).await
    }

    async fn destroy_data_key(&self, consumer: ConsumerId) -> Result<(), StoreError> {
        self.store.destroy_data_key(consumer).await
    }

    async fn rewrap(&self, rewrapped: RewrappedKeys) -> Result<bool, StoreError> {
        self.store.rewrap(rewrapped).await
    }
}
