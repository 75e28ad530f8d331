//! The data keys under which everything a consumer owns is encrypted at rest.
//!
//! Each consumer has one; the sender has one more for what belongs to no consumer. They lie in the store wrapped by
//! the key-encryption key, which is not in the store. All of them are held in memory, so that the hot path never
//! waits for one. Destroying a consumer's key erases what was encrypted under it.
//!
//! Where several nodes use the store, what is in memory is what the directory has fetched together with
//! what it has read; a key that another node has destroyed since opens nothing that is left.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use waxseal_keys::{DataKey, KeyEncryptionKey, VaultError};

use crate::id::ConsumerId;
use crate::store::{DataKeyRecord, Store, StoreError};

/// The data keys, unwrapped.
#[derive(Debug)]
pub struct DataKeys {
    store: Arc<dyn Store>,
    kek: KeyEncryptionKey,
    system: Arc<DataKey>,
    consumers: RwLock<HashMap<ConsumerId, Held>>,
}

/// A consumer's key, and the form in which it is kept.
#[derive(Debug)]
struct Held {
    key: Arc<DataKey>,
    record: DataKeyRecord,
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
            let held = Held::of(&kek, record)?;
            match held.record.consumer.clone() {
                Some(consumer) => {
                    consumers.insert(consumer, held);
                }
                None => system = Some(held),
            }
        }
        let system = match system {
            Some(held) => held.key,
            None => make(store.as_ref(), &kek, None).await?.key,
        };
        Ok(Self { store, kek, system, consumers: RwLock::new(consumers) })
    }

    /// The key for what belongs to no consumer.
    pub fn system(&self) -> Arc<DataKey> {
        Arc::clone(&self.system)
    }

    /// The key of this consumer, if it has one.
    pub fn of(&self, consumer: &ConsumerId) -> Option<Arc<DataKey>> {
        self.read().get(consumer).map(|held| Arc::clone(&held.key))
    }

    /// Every consumer that has a key.
    pub fn consumers(&self) -> Vec<ConsumerId> {
        self.read().keys().cloned().collect()
    }

    /// The key of this consumer, made and kept if it has none yet.
    ///
    /// # Errors
    /// If the store fails; no key is used that is not on disk.
    pub async fn of_or_create(&self, consumer: &ConsumerId) -> Result<Arc<DataKey>, DataKeyError> {
        if let Some(key) = self.of(consumer) {
            return Ok(key);
        }
        let made = make(self.store.as_ref(), &self.kek, Some(consumer.clone())).await?;
        let mut consumers = self.write();
        Ok(Arc::clone(&consumers.entry(consumer.clone()).or_insert(made).key))
    }

    /// Destroys the key of this consumer, in the store and in memory.
    ///
    /// # Errors
    /// If the store fails; then the key still works.
    pub async fn destroy(&self, consumer: &ConsumerId) -> Result<(), DataKeyError> {
        self.store.destroy_data_key(consumer.clone()).await?;
        self.forget(consumer);
        Ok(())
    }

    /// As [`Self::destroy`], but leaves a key alone that another node has kept for this consumer since.
    ///
    /// # Errors
    /// As of [`Self::destroy`].
    pub(crate) async fn destroy_known(&self, consumer: &ConsumerId) -> Result<(), DataKeyError> {
        let record = self.read().get(consumer).map(|held| held.record.clone());
        if let Some(record) = record {
            self.store.destroy_this_data_key(record).await?;
        }
        self.forget(consumer);
        Ok(())
    }

    /// Looks up the keys of these consumers in the store, for what was read of it: whoever has none there has none here
    /// any more.
    ///
    /// # Errors
    /// If the store fails, or a key does not open; then those that were known stay.
    pub(crate) async fn fetch(&self, consumers: Vec<ConsumerId>) -> Result<(), DataKeyError> {
        let mut found = HashMap::new();
        for record in self.store.data_keys_of(consumers.clone()).await? {
            let held = Held::of(&self.kek, record)?;
            found.extend(held.record.consumer.clone().map(|consumer| (consumer, held)));
        }
        let mut known = self.write();
        for consumer in consumers.iter().filter(|consumer| !found.contains_key(*consumer)) {
            known.remove(consumer);
        }
        known.extend(found);
        Ok(())
    }

    /// As [`Self::fetch`], of every consumer that has a key.
    ///
    /// # Errors
    /// As of [`Self::fetch`].
    pub(crate) async fn fetch_all(&self) -> Result<(), DataKeyError> {
        let kept = self.store.data_keys().await?.into_iter().filter_map(|record| record.consumer);
        self.fetch(kept.chain(self.consumers()).collect()).await
    }

    /// Forgets the key of a consumer that is gone. The store is left as it is.
    pub(crate) fn forget(&self, consumer: &ConsumerId) {
        self.write().remove(consumer);
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<ConsumerId, Held>> {
        self.consumers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<ConsumerId, Held>> {
        self.consumers.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key that wraps the others, and the signing ring.
    pub fn kek(&self) -> &KeyEncryptionKey {
        &self.kek
    }
}

impl Held {
    fn of(kek: &KeyEncryptionKey, record: DataKeyRecord) -> Result<Self, DataKeyError> {
        Ok(Self { key: Arc::new(unwrap(kek, &record)?), record })
    }
}

/// Makes a key and keeps it. Of two that are made at once the store keeps the first, and both callers get that one.
async fn make(
    store: &dyn Store,
    kek: &KeyEncryptionKey,
    consumer: Option<ConsumerId>,
) -> Result<Held, DataKeyError> {
    let wrapped = kek.wrap(&DataKey::generate(), context(consumer.as_ref()).as_bytes());
    let kept = store.keep_data_key(DataKeyRecord { consumer, kek_id: kek.id(), wrapped }).await?;
    Held::of(kek, kept)
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
