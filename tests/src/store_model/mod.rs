//! A store in memory that is too simple to be wrong: maps behind one lock, every query a walk over all of them.
//!
//! It keeps nothing on disk and is fast at nothing. It is what the real stores are compared with. [`StoreModel::shared`] is
//! one that several nodes use at once.

mod cluster;
mod failures;
mod leases;
mod line;
mod outbox;
mod prune;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use waxseal_keys::Timestamp;
use waxseal_sender::id::{AuditId, ConsumerId, DeliveryId, EndpointId, EventId};
use waxseal_sender::model::delivery::{Attempt, DeliveryState};
use waxseal_sender::store::{
    Accepted, AuditFilter, AuditPage, AuditRow, Catalog, Cluster, DataKeyRecord, Idempotency, KeyRecords,
    NewEvent, Record, RecordChange, RecordKind, RewrappedKeys, RingRecord, StoreError,
};

use self::leases::Leases;
use self::line::Line;
pub use self::versions::Snapshot;
use self::versions::Versions;

/// The store; of a shared one, what one node holds of it. A clone is the same node's.
#[derive(Clone, Debug, Default)]
pub struct StoreModel {
    state: Arc<Mutex<State>>,
    line: Option<Line>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<(RecordKind, String), Record>,
    versions: Versions,
    leases: Leases,
    audit: BTreeMap<AuditId, AuditRow>,
    events: BTreeMap<EventId, NewEvent>,
    deliveries: BTreeMap<DeliveryId, Entry>,
    /// The endpoints that were ever delivered to and are not forgotten.
    delivered_to: BTreeSet<EndpointId>,
    /// Everything that was recorded of deliveries, as it came.
    log: Vec<failures::Logged>,
    idempotency: BTreeMap<[u8; 32], Remembered>,
    ring: Option<RingRecord>,
    data_keys: BTreeMap<Option<ConsumerId>, DataKeyRecord>,
    /// Whose deliveries were cancelled, as it came.
    withdrawn: Vec<EndpointId>,
}

/// A delivery, live or ended, with its history.
#[derive(Clone, Debug)]
struct Entry {
    event: EventId,
    endpoint: EndpointId,
    consumer: ConsumerId,
    due_at: Timestamp,
    ended: Option<DeliveryState>,
    attempts: Vec<Attempt>,
    last_attempt_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    content: [u8; 32],
    event: EventId,
    expires_at: Timestamp,
}

impl StoreModel {
    /// Lets others go first, as whoever waits for a real store does.
    async fn takes_time(&self) {
        for _ in 0..self.line.as_ref().map_or(0, Line::turns_of_others) {
            tokio::task::yield_now().await;
        }
    }

    /// The model, where this node can reach it.
    fn state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        self.line.as_ref().map_or(Ok(()), Line::reaches)?;
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn earlier(&self, key: &Idempotency, now: Timestamp) -> Option<Accepted> {
        let old = self.idempotency.get(&key.key).filter(|old| old.expires_at > now)?;
        let same = old.content == key.content;
        Some(if same { Accepted::Replayed(old.event) } else { Accepted::Conflict(old.event) })
    }

    /// Makes changes that were [permitted](Versions::permit).
    fn change(&mut self, changes: Vec<RecordChange>) {
        self.versions.count(&changes, &self.records);
        for change in changes {
            match change {
                RecordChange::Put(record) => {
                    self.records.insert((record.kind, record.id.clone()), record);
                }
                RecordChange::Remove { kind, id } => {
                    self.records.remove(&(kind, id));
                }
                RecordChange::Audit(row) => {
                    self.audit.insert(row.id, row);
                }
                RecordChange::OnlyAt(_) => {}
            }
        }
    }
}

impl Entry {
    fn attempts_made(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap()
    }

    fn state(&self) -> DeliveryState {
        match self.ended {
            Some(state) => state,
            None if self.attempts.is_empty() => DeliveryState::Pending,
            None => DeliveryState::Retrying,
        }
    }
}

#[async_trait]
impl Catalog for StoreModel {
    async fn records(&self) -> Result<Vec<Record>, StoreError> {
        Ok(self.state()?.records.values().cloned().collect())
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Result<(), StoreError> {
        self.takes_time().await;
        let mut state = self.state()?;
        state.versions.permit(&changes)?;
        state.change(changes);
        Ok(())
    }

    fn cluster(&self) -> Option<Arc<dyn Cluster>> {
        self.line.as_ref()?;
        Some(Arc::new(self.clone()))
    }

    async fn audit(&self, filter: AuditFilter) -> Result<AuditPage, StoreError> {
        let state = self.state()?;
        let matching = state.audit.values().rev().filter(|row| filter.matches(row));
        let rows = matching.take(usize::try_from(filter.limit).unwrap()).cloned().collect();
        Ok(AuditPage { rows, reached: None })
    }

    async fn forget_audit(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let mut state = self.state()?;
        let old: Vec<_> = state.audit.range(..AuditId::lower_bound(before)).map(|(id, _)| *id).collect();
        let limit = usize::try_from(limit).unwrap();
        let forgotten = old.iter().take(limit).filter(|id| state.audit.remove(id).is_some()).count();
        Ok(u64::try_from(forgotten).unwrap())
    }
}

#[async_trait]
impl KeyRecords for StoreModel {
    async fn ring(&self) -> Result<Option<RingRecord>, StoreError> {
        self.takes_time().await;
        Ok(self.state()?.ring.clone())
    }

    async fn save_ring(
        &self,
        before: Option<RingRecord>,
        sealed: Vec<u8>,
        changes: Vec<RecordChange>,
    ) -> Result<bool, StoreError> {
        self.takes_time().await;
        let mut state = self.state()?;
        if state.ring != before {
            return Ok(false);
        }
        state.versions.permit(&changes)?;
        state.ring = Some(RingRecord { version: before.map_or(0, |before| before.version) + 1, sealed });
        state.change(changes);
        Ok(true)
    }

    async fn data_keys(&self) -> Result<Vec<DataKeyRecord>, StoreError> {
        Ok(self.state()?.data_keys.values().cloned().collect())
    }

    async fn data_keys_of(&self, consumers: Vec<ConsumerId>) -> Result<Vec<DataKeyRecord>, StoreError> {
        self.takes_time().await;
        let state = self.state()?;
        Ok(consumers.into_iter().filter_map(|id| state.data_keys.get(&Some(id)).cloned()).collect())
    }

    async fn keep_data_key(&self, key: DataKeyRecord) -> Result<DataKeyRecord, StoreError> {
        self.takes_time().await;
        Ok(self.state()?.data_keys.entry(key.consumer.clone()).or_insert(key).clone())
    }

    async fn destroy_data_key(&self, consumer: ConsumerId) -> Result<(), StoreError> {
        self.takes_time().await;
        self.state()?.data_keys.remove(&Some(consumer));
        Ok(())
    }

    async fn destroy_this_data_key(&self, key: DataKeyRecord) -> Result<(), StoreError> {
        self.takes_time().await;
        let mut state = self.state()?;
        if key.consumer.is_some() && state.data_keys.get(&key.consumer) == Some(&key) {
            state.data_keys.remove(&key.consumer);
        }
        Ok(())
    }

    async fn rewrap(&self, rewrapped: RewrappedKeys) -> Result<bool, StoreError> {
        let mut state = self.state()?;
        let data_keys: BTreeMap<_, _> =
            rewrapped.data_keys.into_iter().map(|key| (key.consumer.clone(), key)).collect();
        let version = |ring: &Option<RingRecord>| ring.as_ref().map(|ring| ring.version);
        if version(&state.ring) != version(&rewrapped.ring) || !state.data_keys.keys().eq(data_keys.keys()) {
            return Ok(false);
        }
        state.ring = rewrapped.ring.map(|ring| RingRecord { version: ring.version + 1, ..ring });
        state.data_keys = data_keys;
        state.change(rewrapped.changes);
        Ok(true)
    }
}
