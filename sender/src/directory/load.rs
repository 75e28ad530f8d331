//! The start: everything is read and decrypted, and erasures that were cut off are finished.

use std::sync::{Arc, RwLock};

use tokio::sync::broadcast;
use waxseal_keys::{Clock, SystemClock};

use super::item::Item;
use super::others::Others;
use super::state::State;
use super::{ChangeError, Directory};
use crate::audit::Recorder;
use crate::data_keys::DataKeys;
use crate::id::ConsumerId;
use crate::store::{RecordKind, Store};

impl Directory {
    /// Reads and decrypts everything.
    ///
    /// # Errors
    /// If the store fails or a record does not decrypt: a sender that does not know all of its endpoints must not
    /// start.
    pub async fn load(store: Arc<dyn Store>, keys: Arc<DataKeys>) -> Result<Arc<Self>, ChangeError> {
        Self::load_with_clock(store, keys, Arc::new(SystemClock)).await
    }

    /// As [`Self::load`], with the time from `clock`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_with_clock(
        store: Arc<dyn Store>,
        keys: Arc<DataKeys>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, ChangeError> {
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let directory = Self {
            others: store.cluster().map(Others::new),
            state: Arc::new(RwLock::default()),
            changing: Arc::default(),
            recorder: Recorder::new(Arc::clone(&keys), Arc::clone(&clock)),
            telling: std::sync::Mutex::default(),
            store,
            keys,
            clock,
            events,
        };
        match &directory.others {
            Some(_) => {
                directory.catch_up().await?;
                directory.finish_erasures_among_others().await;
            }
            None => {
                directory.read_all().await?;
                directory.finish_erasures().await?;
            }
        }
        Ok(Arc::new(directory))
    }

    /// Reads everything of a store that this process has to itself.
    async fn read_all(&self) -> Result<(), ChangeError> {
        let mut state = State::default();
        for record in self.store.records().await? {
            match Item::open(&record, &self.keys) {
                Ok(item) => state.put(item),
                // It may have been written at the moment in which its consumer was erased, and it is dispensable.
                Err(_) if record.kind == RecordKind::EndpointHealth => {}
                Err(error) => return Err(error),
            }
        }
        let State { health, endpoints, .. } = &mut state;
        health.retain(|id, _| endpoints.contains_key(id));
        *self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner) = state;
        Ok(())
    }

    /// Destroys keys whose consumers' erasure was cut off between the two writes that it takes.
    async fn finish_erasures(&self) -> Result<(), ChangeError> {
        for orphan in self.orphans() {
            tracing::warn!(consumer = %orphan, "destroying the data key of a consumer that was removed");
            self.keys.destroy(&orphan).await?;
        }
        Ok(())
    }

    /// As [`Self::finish_erasures`], where another node may be creating such a consumer just now: its key comes first. If
    /// it cannot be done now, the next start does it.
    async fn finish_erasures_among_others(&self) {
        if self.orphans().is_empty() {
            return;
        }
        if let Err(error) = self.try_to_finish_erasures().await {
            tracing::warn!(code = error.code(), %error, "an erasure that was cut off is not finished yet");
        }
    }

    async fn try_to_finish_erasures(&self) -> Result<(), ChangeError> {
        let mut changing = self.turn().await?;
        self.keys.fetch_all().await?;
        for orphan in self.orphans() {
            tracing::warn!(consumer = %orphan, "destroying the data key of a consumer that was removed");
            self.overtake(&mut changing, &orphan).await?;
            self.keys.destroy_known(&orphan).await?;
        }
        Ok(())
    }

    fn orphans(&self) -> Vec<ConsumerId> {
        let keys = self.keys.consumers().into_iter();
        keys.filter(|id| self.consumer(id).is_none()).collect()
    }
}

/// How far a subscriber may fall behind. A bulk import changes many endpoints within a moment.
const EVENTS_KEPT: usize = 4_096;
