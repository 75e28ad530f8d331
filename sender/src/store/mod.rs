//! Where the sender keeps things, as small traits of domain verbs.
//!
//! The traits belong to their users: [`Catalog`] to the API, [`Outbox`] to publishing and the engine, [`KeyRecords`]
//! to the key ring. One method is one transaction. No SQL, row, pool or driver type appears here, so that two
//! backends and an in-memory model can be judged by one conformance suite.
//!
//! **Everything secret arrives here as ciphertext.** A store sees ids, times, counters, states, event type names and
//! key ids in the clear, because it must index them; payloads, URLs, credentials, response excerpts and private keys
//! it never does. Of the audit trail it sees who did what to what, and nothing more.
//!
//! **What is acknowledged is durable.** A method that writes returns after the commit is on disk. Writes that wait
//! together share one commit.
//!
//! **Settlements are fenced.** [`Outbox::settle`] compares the number of attempts that the engine knew with the
//! stored one and writes nothing if they differ, so a stale owner can never undo what another has recorded.

mod age;
mod audit;
mod bounds;
mod cluster;
mod error;
mod failures;
mod filter;
mod keys;
pub mod postgres;
mod record;
mod shard;
pub mod sqlite;
pub(crate) mod transfer;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use waxseal_keys::Timestamp;

pub use self::age::{AgePosition, Forgotten, Kept, Removed, Slice};
pub use self::audit::{AuditFilter, AuditPage, AuditRow};
pub use self::cluster::{
    Cluster, Configured, FoundArrival, Hint, LEASE, Node, NodeRole, NodeState, Overview, TEND_EVERY,
    TRUSTED_FOR, Tenure, ToldCondition, ToldConditions, Turn, Version, Withdrawal, Withdrawn,
};
pub use self::error::StoreError;
pub use self::failures::{FailureCount, Failures, MOST_FAILURES};
pub use self::filter::{DeliveryFilter, DeliveryPage, Order};
pub use self::keys::{DataKeyRecord, KeyRecords, RewrappedKeys, RingRecord};
pub use self::record::{Record, RecordChange, RecordKind};
pub use self::shard::{Shard, Shards};
use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use crate::model::delivery::{Attempt, Delivery, DeliveryState, LiveDelivery};

/// A backend: everything that the sender keeps.
pub trait Store: Catalog + Outbox + KeyRecords {}

impl<S: Catalog + Outbox + KeyRecords> Store for S {}

/// What is configured: consumers, groups, event types, endpoints, consumers' keys, API tokens.
#[async_trait]
pub trait Catalog: Debug + Send + Sync {
    /// Every record, in no particular order.
    async fn records(&self) -> Result<Vec<Record>, StoreError>;

    /// Writes all of these changes, or none.
    async fn change(&self, changes: Vec<RecordChange>) -> Result<(), StoreError>;

    /// What several nodes need of the store; nothing, if one process has it to itself.
    fn cluster(&self) -> Option<Arc<dyn Cluster>> {
        None
    }

    /// A page of the entries of the audit trail that match. A page costs a bounded effort.
    async fn audit(&self, filter: AuditFilter) -> Result<AuditPage, StoreError>;

    /// Forgets the oldest entries of the audit trail from before this moment, at most `limit`; returns how many.
    async fn forget_audit(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}

/// What flows: events, live deliveries, attempts.
#[async_trait]
pub trait Outbox: Debug + Send + Sync {
    /// Keeps an event and its deliveries, once for each idempotency key. On [`Accepted::New`] all of it is on disk.
    async fn accept(&self, event: NewEvent) -> Result<Accepted, StoreError>;

    /// What became of the same idempotency key before, if it is remembered at `now`. Never [`Accepted::New`].
    async fn accepted_earlier(
        &self,
        key: Idempotency,
        now: Timestamp,
    ) -> Result<Option<Accepted>, StoreError>;

    /// Every endpoint of these shards that has live deliveries, with the time at which its next one is due.
    async fn endpoints_with_work(&self, shards: Shards) -> Result<Vec<EndpointWork>, StoreError>;

    /// Live deliveries of one endpoint in the order `(due_at, id)`, after `after`, due at or before `until`.
    async fn due(
        &self,
        endpoint: EndpointId,
        after: Option<DuePosition>,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError>;

    /// Live deliveries of one endpoint in the order of their ids, after `after`, whenever they are due.
    async fn in_order(
        &self,
        endpoint: EndpointId,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError>;

    /// Live deliveries of these shards whose time ran out at or before `now`, those first that ran out first.
    async fn expired(
        &self,
        shards: Shards,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError>;

    /// The stored payloads of these events, each with the payload key as wrapped for that consumer. Missing ones are
    /// left out.
    async fn payloads(&self, wanted: Vec<(EventId, ConsumerId)>) -> Result<Vec<StoredPayload>, StoreError>;

    /// Records what an attempt came to, and what follows from it.
    async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError>;

    /// Adds deliveries of stored events and makes these changes: all of it, or nothing. An event whose content is not
    /// kept any more cannot be delivered.
    async fn redeliver(
        &self,
        deliveries: Vec<(NewDelivery, EventId)>,
        changes: Vec<RecordChange>,
    ) -> Result<(), StoreError>;

    /// Cancels live deliveries of these endpoints, one endpoint after the other and those first that are due first, at
    /// most so many: a long backlog in one transaction would keep everybody else waiting. They end as
    /// [`DeliveryState::Cancelled`]. Returns how many; fewer than `most`: there are no more.
    async fn cancel(&self, endpoints: Vec<EndpointId>, most: u32, now: Timestamp) -> Result<u64, StoreError>;

    /// Removes what is old and no longer needed, a slice at a time. Slices are small: a write waits for one no longer
    /// than for a commit.
    async fn prune(&self, slice: Slice) -> Result<Removed, StoreError>;

    /// Forgets whose an endpoint was that is configured no more, once no delivery to it is kept: with its last record goes
    /// the name of its consumer. Looks at `limit` endpoints, from behind `after` on.
    async fn forget_endpoints(&self, after: Option<EndpointId>, limit: u32) -> Result<Forgotten, StoreError>;

    /// Moves what an endpoint has due later than `now` and was planned later than `latest`: by a clock that was set back
    /// since. It waits from now on for as long as it was to wait. What was never tried was to wait for nothing; what was
    /// tried was planned when its last attempt was recorded. Looks at `limit` deliveries, from behind `after` on.
    async fn redate(
        &self,
        endpoint: EndpointId,
        now: Timestamp,
        latest: Timestamp,
        after: Option<DuePosition>,
        limit: u32,
    ) -> Result<Redated, StoreError>;

    /// What is known of an event beside its content.
    async fn event(&self, id: EventId) -> Result<Option<EventSummary>, StoreError>;

    /// One delivery.
    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError>;

    /// A page of the deliveries that match. However few there are among however many, a page costs a bounded effort.
    async fn deliveries(&self, filter: DeliveryFilter) -> Result<DeliveryPage, StoreError>;

    /// The attempts of a delivery, oldest first.
    async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<Attempt>, StoreError>;

    /// What endpoints refused, and what ended badly, recorded from `from` on and before `until`.
    async fn failures(&self, from: Timestamp, until: Timestamp) -> Result<Failures, StoreError>;

    /// How much is live: for metrics and health.
    async fn backlog(&self) -> Result<Backlog, StoreError>;

    /// Hears that something which it gave back cannot be what it was given: it does not decrypt.
    fn distrust(&self, what: &'static str) {
        tracing::error!(what, "the store gave back what it was not given");
    }
}

/// Cancels all live deliveries of these endpoints, a slice at a time, so that others get their turns. Returns how many.
///
/// # Errors
/// If the store fails; what was cancelled until then stays so.
pub async fn cancel_all(
    store: &dyn Store,
    endpoints: &[EndpointId],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut sum = 0;
    loop {
        let cancelled = store.cancel(endpoints.to_vec(), SLICE, now).await?;
        sum += cancelled;
        if cancelled < u64::from(SLICE) {
            return Ok(sum);
        }
    }
}

/// An event to keep, with its deliveries.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Its id.
    pub id: EventId,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it stops being worth delivering, if it does.
    pub expires_at: Option<Timestamp>,
    /// Its declared type, in the clear.
    pub event_type: String,
    /// Ciphertext under the payload's own key.
    pub sealed: Vec<u8>,
    /// The payload's own key, wrapped once for each consumer.
    pub wrapped_keys: Vec<(ConsumerId, Vec<u8>)>,
    /// Its deliveries; there may be none.
    pub deliveries: Vec<NewDelivery>,
    /// How a repetition of the same request is known.
    pub idempotency: Option<Idempotency>,
    /// What else changes with it, in the same transaction.
    pub changes: Vec<RecordChange>,
}

/// A delivery to keep.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// Where to.
    pub endpoint: EndpointId,
    /// To whom.
    pub consumer: ConsumerId,
    /// Not before this.
    pub due_at: Timestamp,
    /// Not from this on.
    pub expires_at: Option<Timestamp>,
}

/// How a repetition is known: keyed fingerprints, so that the store can compare and not read them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Idempotency {
    /// Of the idempotency key (and of who gave it).
    pub key: [u8; 32],
    /// Of the request's content.
    pub content: [u8; 32],
    /// Until when it is remembered.
    pub expires_at: Timestamp,
}

/// What became of an event that was given to [`Outbox::accept`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accepted {
    /// It is on disk.
    New,
    /// The same request was accepted before, as this event.
    Replayed(EventId),
    /// The same key was used for other content, as this event. Nothing was kept.
    Conflict(EventId),
}

/// An endpoint that has live deliveries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndpointWork {
    /// Which one.
    pub endpoint: EndpointId,
    /// Whose it is.
    pub consumer: ConsumerId,
    /// When its next delivery is due.
    pub next_due: Timestamp,
}

/// A place in the order of an endpoint's live deliveries.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct DuePosition {
    /// The due time there.
    pub due_at: Timestamp,
    /// The delivery there.
    pub id: DeliveryId,
}

/// What [`Outbox::redate`] has done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Redated {
    /// How many have a new due time.
    pub moved: u64,
    /// Where to go on; none if that was all.
    pub next: Option<DuePosition>,
}

/// A payload as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredPayload {
    /// Of which event.
    pub event: EventId,
    /// For whom its key is wrapped.
    pub consumer: ConsumerId,
    /// The event's type.
    pub event_type: String,
    /// Ciphertext under the payload's own key.
    pub sealed: Vec<u8>,
    /// The payload's own key, wrapped for that consumer.
    pub wrapped_key: Vec<u8>,
}

/// What an attempt came to. Written as a whole or, if it is stale, not at all.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The delivery as the engine knew it; its `attempts_made` is the fence.
    pub delivery: LiveDelivery,
    /// The attempt's record; none if the delivery ends without one (its endpoint is gone, it is cancelled).
    pub attempt: Option<Attempt>,
    /// What follows.
    pub outcome: Outcome,
    /// When this was decided.
    pub at: Timestamp,
    /// What else changes with it, in the same transaction: an endpoint that is paused.
    pub changes: Vec<RecordChange>,
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The delivery is over, in this final state.
    Final(DeliveryState),
    /// It is tried again then.
    Again {
        /// Not before this.
        due_at: Timestamp,
    },
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settled {
    /// It is on disk.
    Recorded,
    /// Somebody else had settled the delivery meanwhile; nothing was written.
    Stale,
}

/// An event without its content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventSummary {
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub event_type: String,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it stops being worth delivering, if it does.
    pub expires_at: Option<Timestamp>,
    /// For whom it was accepted.
    pub consumers: Vec<ConsumerId>,
    /// Whether its content is kept; it is not for ever.
    pub content_kept: bool,
}

/// How much is live.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Backlog {
    /// Live deliveries.
    pub live: u64,
    /// The earliest due time among them.
    pub oldest_due: Option<Timestamp>,
}

/// How many deliveries are cancelled in one transaction.
const SLICE: u32 = 1_000;
