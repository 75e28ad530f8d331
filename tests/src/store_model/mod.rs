//! A store in memory that is too simple to be wrong: maps behind one lock, every query a walk over all of them.
//!
//! It keeps nothing on disk and is fast at nothing. It is what the real stores are compared with.

mod failures;
mod outbox;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use waxseal_keys::Timestamp;
use waxseal_sender::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use waxseal_sender::model::delivery::{Attempt, DeliveryState};
use waxseal_sender::store::{
    Catalog, DataKeyRecord, KeyRecords, NewEvent, Record, RecordChange, RecordKind, RingRecord, StoreError,
};

/// The store.
#[derive(Debug, Default)]
pub struct StoreModel {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<(RecordKind, String), Record>,
    events: BTreeMap<EventId, NewEvent>,
    deliveries: BTreeMap<DeliveryId, Entry>,
    /// Everything that was recorded of deliveries, as it came.
    log: Vec<failures::Logged>,
    idempotency: BTreeMap<[u8; 32], Remembered>,
    ring: Option<RingRecord>,
    data_keys: BTreeMap<Option<ConsumerId>, DataKeyRecord>,
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
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, changes: Vec<RecordChange>) {
        for change in changes {
            match change {
                RecordChange::Put(record) => {
                    self.records.insert((record.kind, record.id.clone()), record);
                }
                RecordChange::Remove { kind, id } => {
                    self.records.remove(&(kind, id));
                }
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
        Ok(self.state().records.values().cloned().collect())
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Result<(), StoreError> {
        self.state().change(changes);
        Ok(())
    }
}

#[async_trait]
impl KeyRecords for StoreModel {
    async fn ring(&self) -> Result<Option<RingRecord>, StoreError> {
        Ok(self.state().ring.clone())
    }

    async fn save_ring(&self, expected: u64, sealed: Vec<u8>) -> Result<bool, StoreError> {
        let mut state = self.state();
        let version = state.ring.as_ref().map_or(0, |ring| ring.version);
        if version == expected {
            state.ring = Some(RingRecord { version: version + 1, sealed });
        }
        Ok(version == expected)
    }

    async fn data_keys(&self) -> Result<Vec<DataKeyRecord>, StoreError> {
        Ok(self.state().data_keys.values().cloned().collect())
    }

    async fn keep_data_key(&self, key: DataKeyRecord) -> Result<DataKeyRecord, StoreError> {
        Ok(self.state().data_keys.entry(key.consumer.clone()).or_insert(key).clone())
    }

    async fn destroy_data_key(&self, consumer: ConsumerId) -> Result<(), StoreError> {
        self.state().data_keys.remove(&Some(consumer));
        Ok(())
    }
}
