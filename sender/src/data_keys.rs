//! The data keys under which everything a consumer owns is encrypted at rest.
//!
//! Each consumer has one; the sender has one more for what belongs to no consumer. They lie in the store wrapped by
//! the key-encryption key, which is not in the store. All of them are held in memory, so that the hot path never
//! waits for one. Destroying a consumer's key erases what was encrypted under it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use waxseal_keys::{DataKey, KeyEncryptionKey, VaultError};

use crate::id::ConsumerId;
use crate::store::{DataKeyRecord, Store, StoreError};

/// The data keys, unwrapped.
#[derive(Debug)]
pub struct DataKeys {
    store: Arc<dyn Store>,
    kek: KeyEncryptionKey,
    system: Arc<DataKey>,
    consumers: RwLock<HashMap<ConsumerId, Arc<DataKey>>>,
}

/// Why a data key is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataKeyError {
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored keys were wrapped by another key-encryption key.
    #[error(
        "the store's keys were wrapped by the key-encryption key {stored}, but the one given is {given}; give the key that this store was made with or last rewrapped under"
    )]
    WrongKeyEncryptionKey {
        /// The id of the key that wrapped them.
        stored: String,
        /// The id of the key that was given.
        given: String,
    },
    /// A wrapped key does not open although its key-encryption key is the right one: it was changed.
    #[error("a data key in the store does not open: it was damaged or tampered with")]
    Damaged(#[source] VaultError),
}

impl DataKeys {
    /// Unwraps every data key of the store; makes the sender's own if this is a new store.
    ///
    /// # Errors
    /// If the store fails, or if `kek` is not the key that wrapped them.
    pub async fn open(store: Arc<dyn Store>, kek: KeyEncryptionKey) -> Result<Self, DataKeyError> {
        let mut consumers = HashMap::new();
        let mut system = None;
        for record in store.data_keys().await? {
            let key = Arc::new(unwrap(&kek, &record)?);
            match record.consumer {
                Some(consumer) => {
                    consumers.insert(consumer, key);
                }
                None => system = Some(key),
            }
        }
        let system = match system {
            Some(key) => key,
            None => make(store.as_ref(), &kek, None).await?,
        };
        Ok(Self { store, kek, system, consumers: RwLock::new(consumers) })
    }

    /// The key for what belongs to no consumer.
    pub fn system(&self) -> Arc<DataKey> {
        Arc::clone(&self.system)
    }

    /// The key of this consumer, if it has one.
    pub fn of(&self, consumer: &ConsumerId) -> Option<Arc<DataKey>> {
        self.consumers.read().unwrap_or_else(PoisonError::into_inner).get(consumer).cloned()
    }

    /// Every consumer that has a key.
    pub fn consumers(&self) -> Vec<ConsumerId> {
        self.consumers.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The key of this consumer, made and kept if it has none yet.
    ///
    /// # Errors
    /// If the store fails; no key is used that is not on disk.
    pub async fn of_or_create(&self, consumer: &ConsumerId) -> Result<Arc<DataKey>, DataKeyError> {
        if let Some(key) = self.of(consumer) {
            return Ok(key);
        }
        let key = make(self.store.as_ref(), &self.kek, Some(consumer.clone())).await?;
        let mut consumers = self.consumers.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(consumers.entry(consumer.clone()).or_insert(key)))
    }

    /// Destroys the key of this consumer, in the store and in memory.
    ///
    /// # Errors
    /// If the store fails; then the key still works.
    pub async fn destroy(&self, consumer: &ConsumerId) -> Result<(), DataKeyError> {
        self.store.destroy_data_key(consumer.clone()).await?;
        self.consumers.write().unwrap_or_else(PoisonError::into_inner).remove(consumer);
        Ok(())
    }

    /// The key that wraps the others, and the signing ring.
    pub fn kek(&self) -> &KeyEncryptionKey {
        &self.kek
    }
}

/// Makes a key and keeps it. Of two that are made at once the store keeps the first, and both callers get that one.
async fn make(
    store: &dyn Store,
    kek: &KeyEncryptionKey,
    consumer: Option<ConsumerId>,
) -> Result<Arc<DataKey>, DataKeyError> {
    let wrapped = kek.wrap(&DataKey::generate(), context(consumer.as_ref()).as_bytes());
    let kept = store.keep_data_key(DataKeyRecord { consumer, kek_id: kek.id(), wrapped }).await?;
    Ok(Arc::new(unwrap(kek, &kept)?))
}

pub(crate) fn unwrap(kek: &KeyEncryptionKey, record: &DataKeyRecord) -> Result<DataKey, DataKeyError> {
    if record.kek_id != kek.id() {
        return Err(DataKeyError::WrongKeyEncryptionKey { stored: record.kek_id.clone(), given: kek.id() });
    }
    kek.unwrap(&record.wrapped, context(record.consumer.as_ref()).as_bytes()).map_err(DataKeyError::Damaged)
}

/// Binds a wrapped key to its owner, so that two rows cannot be swapped.
pub(crate) fn context(consumer: Option<&ConsumerId>) -> String {
    match consumer {
        Some(consumer) => format!("data-key|consumer|{consumer}"),
        None => "data-key|system".to_owned(),
    }
}
