//! The outbox's trait, method by method: what is written goes to the writer, what is read to the readers.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use waxseal_keys::Timestamp;

use super::{SqliteStore, accept, due, failures, forget, listing, prune, redate, search, settle};
use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use crate::model::delivery::{Attempt, Delivery, LiveDelivery};
use crate::store::{
    Accepted, Backlog, DeliveryFilter, DeliveryPage, DuePosition, EndpointWork, EventSummary, Failures,
    Forgotten, Idempotency, NewDelivery, NewEvent, Outbox, RecordChange, Redated, Removed, Settled,
    Settlement, Shards, Slice, StoreError, StoredPayload,
};

#[async_trait]
impl Outbox for SqliteStore {
    async fn accept(&self, event: NewEvent) -> Result<Accepted, StoreError> {
        self.writer.write(move |session| accept::accept(session, &event)).await
    }

    async fn accepted_earlier(
        &self,
        key: Idempotency,
        now: Timestamp,
    ) -> Result<Option<Accepted>, StoreError> {
        self.readers.read(move |connection| accept::remembered(connection, &key, now)).await
    }

    async fn endpoints_with_work(&self, shards: Shards) -> Result<Vec<EndpointWork>, StoreError> {
        let mut work = self.readers.read(due::endpoints_with_work).await?;
        work.retain(|work| shards.have(work.endpoint));
        Ok(work)
    }

    async fn due(
        &self,
        endpoint: EndpointId,
        after: Option<DuePosition>,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError> {
        self.readers.read(move |connection| due::due(connection, endpoint, after, until, limit)).await
    }

    async fn in_order(
        &self,
        endpoint: EndpointId,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError> {
        self.readers.read(move |connection| due::in_order(connection, endpoint, after, limit)).await
    }

    async fn expired(
        &self,
        shards: Shards,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError> {
        self.readers.read(move |connection| due::expired(connection, shards, now, limit)).await
    }

    async fn payloads(&self, wanted: Vec<(EventId, ConsumerId)>) -> Result<Vec<StoredPayload>, StoreError> {
        self.readers.read(move |connection| due::payloads(connection, wanted)).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        self.writer.write(move |session| settle::settle(session, &settlement)).await
    }

    async fn redeliver(
        &self,
        deliveries: Vec<(NewDelivery, EventId)>,
        changes: Vec<RecordChange>,
    ) -> Result<(), StoreError> {
        self.writer.write(move |session| accept::redeliver(session, &deliveries, &changes)).await
    }

    async fn cancel(&self, endpoints: Vec<EndpointId>, most: u32, now: Timestamp) -> Result<u64, StoreError> {
        self.writer
            .write(move |session| {
                let mut cancelled = 0;
                for endpoint in &endpoints {
                    cancelled += settle::cancel(session, *endpoint, most.saturating_sub(cancelled), now)?;
                }
                Ok(u64::from(cancelled))
            })
            .await
    }

    async fn prune(&self, slice: Slice) -> Result<Removed, StoreError> {
        let found = self.readers.read(move |connection| prune::find(connection, &slice)).await?;
        if found.candidates.is_empty() {
            return Ok(Removed { next: found.next, ..Removed::default() });
        }
        self.writer.write(move |session| prune::remove(session, &slice, &found)).await
    }

    async fn forget_endpoints(&self, after: Option<EndpointId>, limit: u32) -> Result<Forgotten, StoreError> {
        let found = self.readers.read(move |connection| forget::find(connection, after, limit)).await?;
        if found.idle.is_empty() {
            return Ok(Forgotten { endpoints: 0, next: found.next });
        }
        self.writer.write(move |session| forget::remove(session, &found)).await
    }

    async fn redate(
        &self,
        endpoint: EndpointId,
        now: Timestamp,
        latest: Timestamp,
        after: Option<DuePosition>,
        limit: u32,
    ) -> Result<Redated, StoreError> {
        let found = self
            .readers
            .read(move |connection| redate::find(connection, endpoint, now, latest, after, limit))
            .await?;
        if found.moves.is_empty() {
            return Ok(Redated { moved: 0, next: found.next });
        }
        self.writer.write(move |session| redate::apply(session, &found)).await
    }

    async fn event(&self, id: EventId) -> Result<Option<EventSummary>, StoreError> {
        self.readers.read(move |connection| listing::event(connection, id)).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        self.readers.read(move |connection| listing::delivery(connection, id)).await
    }

    async fn deliveries(&self, filter: DeliveryFilter) -> Result<DeliveryPage, StoreError> {
        self.readers.read(move |connection| search::deliveries(connection, &filter)).await
    }

    async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<Attempt>, StoreError> {
        self.readers.read(move |connection| listing::attempts(connection, delivery)).await
    }

    async fn failures(&self, from: Timestamp, until: Timestamp) -> Result<Failures, StoreError> {
        self.readers.read(move |connection| failures::failures(connection, from, until)).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let oldest_due = self.readers.read(due::oldest_due).await?;
        let live = self.gauges.live.load(Ordering::Relaxed);
        Ok(Backlog { live: u64::try_from(live).unwrap_or(0), oldest_due })
    }

    fn distrust(&self, what: &'static str) {
        self.damage.find(what);
    }
}
