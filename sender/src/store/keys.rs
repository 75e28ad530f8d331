//! Keys as a store keeps them: ciphertext, and which key wrapped it.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{RecordChange, StoreError};
use crate::id::ConsumerId;

/// Keys as ciphertext.
#[async_trait]
pub trait KeyRecords: Debug + Send + Sync {
    /// The signing ring, if one was ever kept.
    async fn ring(&self) -> Result<Option<RingRecord>, StoreError>;

    /// Keeps the ring, with these changes, in place of `before` (none was ever kept), if that is still kept: its version and
    /// its content, as after a store has lost the last changes a version can stand for another content. Says whether it did.
    async fn save_ring(
        &self,
        before: Option<RingRecord>,
        sealed: Vec<u8>,
        changes: Vec<RecordChange>,
    ) -> Result<bool, StoreError>;

    /// Every data key.
    async fn data_keys(&self) -> Result<Vec<DataKeyRecord>, StoreError>;

    /// The data keys of these consumers, as far as they have any.
    async fn data_keys_of(&self, consumers: Vec<ConsumerId>) -> Result<Vec<DataKeyRecord>, StoreError>;

    /// Keeps a consumer's data key; the first one stays. Returns the one that is kept.
    async fn keep_data_key(&self, key: DataKeyRecord) -> Result<DataKeyRecord, StoreError>;

    /// Destroys a consumer's data key: what was encrypted under it is gone for good.
    async fn destroy_data_key(&self, consumer: ConsumerId) -> Result<(), StoreError>;

    /// As [`Self::destroy_data_key`], but only if what is kept is this very record: where several nodes use the store, one
    /// that was too slow must not destroy the key of a consumer that another has created since. A store of theirs
    /// compares and destroys in one transaction.
    async fn destroy_this_data_key(&self, key: DataKeyRecord) -> Result<(), StoreError> {
        let Some(consumer) = key.consumer.clone() else { return Ok(()) };
        if self.data_keys_of(vec![consumer.clone()]).await?.contains(&key) {
            self.destroy_data_key(consumer).await?;
        }
        Ok(())
    }

    /// Puts all of these in the place of the ring and of all data keys, whose old forms are nowhere any more; or, if
    /// the ring has another version by now or there are data keys of other owners, changes nothing. Says whether it
    /// did. The ring's version counts up.
    async fn rewrap(&self, rewrapped: RewrappedKeys) -> Result<bool, StoreError>;
}

/// The signing ring as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RingRecord {
    /// Counts up with every change.
    pub version: u64,
    /// Ciphertext.
    pub sealed: Vec<u8>,
}

/// A data key as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DataKeyRecord {
    /// Whose things are encrypted under it; `None`: things that are no one consumer's.
    pub consumer: Option<ConsumerId>,
    /// Which key-encryption key wrapped it.
    pub kek_id: String,
    /// The wrapped key.
    pub wrapped: Vec<u8>,
}

/// Everything that the key-encryption key wraps, under another one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RewrappedKeys {
    /// The ring, with the version that it was read with; none if none was ever kept.
    pub ring: Option<RingRecord>,
    /// Every data key.
    pub data_keys: Vec<DataKeyRecord>,
    /// What else changes with it, in the same transaction: that it was done is on record.
    pub changes: Vec<RecordChange>,
}
