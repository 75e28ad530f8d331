//! The outbox's trait, method by method: what can share a commit goes to the writer, other writes have a transaction of their
//! own, and what is read goes to the readers.

use std::sync::Arc;

use async_trait::async_trait;
use waxseal_keys::Timestamp;

use super::accept::Arrivals;
use super::connect::Session;
use super::failure::Failure;
use super::settle::{self, Ends, Locked};
use super::{
    PostgresStore, accept, catalog, due, failures, forget, listing, partition, prune, redate, search,
};
use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use crate::model::delivery::{Attempt, Delivery, LiveDelivery};
use crate::store::{
    Accepted, Backlog, DeliveryFilter, DeliveryPage, DuePosition, EndpointWork, EventSummary, Failures,
    Forgotten, Idempotency, NewDelivery, NewEvent, Outbox, RecordChange, Redated, Removed, Settled,
    Settlement, Shards, Slice, StoreError, StoredPayload,
};

#[async_trait]
impl Outbox for PostgresStore {
    async fn accept(&self, event: NewEvent) -> Result<Accepted, StoreError> {
        if !catalog::are_versioned(&event.changes) {
            return self.writer.accept(event).await;
        }
        self.know(event.deliveries.clone()).await?;
        self.singles.write(move |session| async move { accept_alone(&session, &event).await }).await
    }

    async fn accepted_earlier(
        &self,
        key: Idempotency,
        now: Timestamp,
    ) -> Result<Option<Accepted>, StoreError> {
        self.readers.read(|session| async move { accept::remembered(&session, &key, now).await }).await
    }

    async fn endpoints_with_work(&self, shards: Shards) -> Result<Vec<EndpointWork>, StoreError> {
        let shards: Vec<_> = shards.iter().collect();
        let mut all = Vec::new();
        for some in shards.chunks(LOOKED_AT_TOGETHER) {
            let some: Shards = some.iter().copied().collect();
            let look = |session| async move { due::endpoints_with_work(&session, some).await };
            all.extend(self.readers.read(look).await?);
        }
        Ok(all)
    }

    async fn due(
        &self,
        endpoint: EndpointId,
        after: Option<DuePosition>,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError> {
        self.readers
            .read(|session| async move { due::due(&session, endpoint, after, until, limit).await })
            .await
    }

    async fn in_order(
        &self,
        endpoint: EndpointId,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError> {
        self.readers
            .read(|session| async move { due::in_order(&session, endpoint, after, limit).await })
            .await
    }

    async fn expired(
        &self,
        shards: Shards,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError> {
        self.readers.read(|session| async move { due::expired(&session, shards, now, limit).await }).await
    }

    async fn payloads(&self, wanted: Vec<(EventId, ConsumerId)>) -> Result<Vec<StoredPayload>, StoreError> {
        self.readers.read(|session| async move { due::payloads(&session, &wanted).await }).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        settle::check(&settlement)?;
        if !catalog::are_versioned(&settlement.changes) {
            return self.writer.settle(settlement).await;
        }
        self.singles.write(move |session| async move { settle_alone(&session, &settlement).await }).await
    }

    async fn redeliver(
        &self,
        deliveries: Vec<(NewDelivery, EventId)>,
        changes: Vec<RecordChange>,
    ) -> Result<(), StoreError> {
        self.know(deliveries.iter().map(|(delivery, _)| delivery.clone()).collect()).await?;
        self.singles
            .write(move |session| async move {
                if !deliveries.is_empty() {
                    accept::redeliver(&session, &deliveries).await?;
                }
                catalog::change(&session, &changes).await
            })
            .await
    }

    async fn cancel(&self, endpoints: Vec<EndpointId>, most: u32, now: Timestamp) -> Result<u64, StoreError> {
        let mut cancelled = 0;
        while cancelled < most {
            // What nobody else works on. Nothing is waited for while so much is locked.
            let left = most - cancelled;
            cancelled += self.cancel_some(endpoints.clone(), left, Locked::Left, now).await?;
            if cancelled == most {
                break;
            }
            // One that is being settled just now, which may be there again afterwards; or there is none.
            let one = self.cancel_some(endpoints.clone(), 1, Locked::Awaited, now).await?;
            if one == 0 {
                break;
            }
            cancelled += one;
        }
        Ok(u64::from(cancelled))
    }

    async fn prune(&self, slice: Slice) -> Result<Removed, StoreError> {
        let days = match slice.after {
            None => self.remove_days(slice).await?,
            Some(_) => Removed::default(),
        };
        let found = self.readers.read(|session| async move { prune::find(&session, &slice).await }).await?;
        if found.candidates.is_empty() {
            return Ok(Removed { next: found.next, ..days });
        }
        let rows = self
            .singles
            .write(move |session| async move { prune::remove(&session, &slice, &found).await })
            .await?;
        let (events, deliveries) = (days.events + rows.events, days.deliveries + rows.deliveries);
        Ok(Removed { events, deliveries, next: rows.next })
    }

    async fn forget_endpoints(&self, after: Option<EndpointId>, limit: u32) -> Result<Forgotten, StoreError> {
        let found =
            self.readers.read(|session| async move { forget::find(&session, after, limit).await }).await?;
        if found.idle.is_empty() {
            return Ok(Forgotten { endpoints: 0, next: found.next });
        }
        let gone = self
            .singles
            .write(move |session| async move { forget::remove(&session, &found.idle).await })
            .await?;
        self.routes.forget(&gone);
        Ok(Forgotten { endpoints: u64::try_from(gone.len()).unwrap_or(u64::MAX), next: found.next })
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
            .read(|session| async move { redate::find(&session, endpoint, now, latest, after, limit).await })
            .await?;
        if found.ids.is_empty() {
            return Ok(Redated { moved: 0, next: found.next });
        }
        self.singles
            .write(move |session| async move { redate::apply(&session, endpoint, &found).await })
            .await
    }

    async fn event(&self, id: EventId) -> Result<Option<EventSummary>, StoreError> {
        self.readers.read(|session| async move { listing::event(&session, id).await }).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        self.readers.read(|session| async move { listing::delivery(&session, id).await }).await
    }

    async fn deliveries(&self, filter: DeliveryFilter) -> Result<DeliveryPage, StoreError> {
        self.readers.snapshot(move |session| async move { search::deliveries(&session, &filter).await }).await
    }

    async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<Attempt>, StoreError> {
        self.readers.read(|session| async move { listing::attempts(&session, delivery).await }).await
    }

    async fn failures(&self, from: Timestamp, until: Timestamp) -> Result<Failures, StoreError> {
        self.readers.read(|session| async move { failures::failures(&session, from, until).await }).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.readers.read(|session| async move { due::backlog(&session).await }).await
    }
}

impl PostgresStore {
    async fn cancel_some(
        &self,
        endpoints: Vec<EndpointId>,
        most: u32,
        locked: Locked,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        self.singles
            .write(move |session| async move {
                let mut cancelled: u32 = 0;
                for endpoint in endpoints {
                    let left = most.saturating_sub(cancelled);
                    if left > 0 {
                        cancelled += settle::cancel(&session, endpoint, left, locked, now).await?;
                    }
                }
                Ok(cancelled)
            })
            .await
    }

    /// Makes the endpoints of these deliveries known, before a transaction that does something else with them.
    async fn know(&self, deliveries: Vec<NewDelivery>) -> Result<(), StoreError> {
        self.routes.connected(self.connector.made());
        if self.routes.all_known(&deliveries) {
            return Ok(());
        }
        let routes = Arc::clone(&self.routes);
        let rows = self
            .singles
            .write(move |session| async move { routes.write(&session, &deliveries).await })
            .await?;
        self.routes.remember(rows);
        Ok(())
    }

    /// Drops the days of which nothing is needed any more. One that somebody is in the way of is left for another time.
    async fn remove_days(&self, slice: Slice) -> Result<Removed, StoreError> {
        let (kept, until) = (slice.kept, slice.until);
        let days =
            self.readers.read(|session| async move { partition::old(&session, kept, until).await }).await?;
        let mut all = Removed::default();
        for day in days {
            let asked = day.clone();
            let over = self
                .singles
                .write(move |session| async move { partition::is_over(&session, kept, &asked, until).await })
                .await;
            match over {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    tracing::info!(code = error.code(), %error, "whether an old day is over is asked another time");
                    continue;
                }
            }
            let removed = self
                .singles
                .write(move |session| async move { partition::remove(&session, kept, &day).await });
            match removed.await {
                Ok(removed) => {
                    all.events += removed.events;
                    all.deliveries += removed.deliveries;
                }
                Err(error) => {
                    tracing::info!(code = error.code(), "a day that is old is removed another time")
                }
            }
        }
        Ok(all)
    }
}

/// In how many shards work is looked for by one statement. It passes over all that was settled while somebody's snapshot was
/// held open, and has to end within its time limit.
const LOOKED_AT_TOGETHER: usize = 16;

async fn accept_alone(session: &Session, event: &NewEvent) -> Result<Accepted, Failure> {
    if event.idempotency.is_some() {
        let remembered = accept::remember(session, &[event]).await?;
        let accepted = accept::judge(session, &[event], &remembered).await?;
        if let Some(earlier) = accepted.into_iter().find(|accepted| *accepted != Accepted::New) {
            return Ok(earlier);
        }
    }
    Arrivals::of(std::iter::once(event)).write(session).await?;
    catalog::change(session, &event.changes).await?;
    Ok(Accepted::New)
}

async fn settle_alone(session: &Session, settlement: &Settlement) -> Result<Settled, Failure> {
    let recorded = Ends::of(&[settlement])?.write(session).await?;
    if !recorded.contains(&true) {
        return Ok(Settled::Stale);
    }
    catalog::change(session, &settlement.changes).await?;
    Ok(Settled::Recorded)
}
