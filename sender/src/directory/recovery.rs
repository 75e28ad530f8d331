//! Recoveries: begun, stepped and ended. A step is part of the transaction that adds its redeliveries.

use std::ops::Bound;
use std::sync::Arc;

use waxseal_keys::Timestamp;

use super::item::{Edit, Item, Name};
use super::{ChangeError, Changing, Directory};
use crate::id::{ConsumerId, EndpointId, RecoveryId};
use crate::model::recovery::{Recovery, RecoveryState};
use crate::store::RecordChange;

/// A step of a recovery that is prepared. No other change is made until it is adopted or dropped; dropped, nothing has
/// happened.
#[derive(Debug)]
#[must_use = "the step takes effect when it is adopted"]
pub struct RecoveryStep<'a> {
    directory: &'a Directory,
    changing: Changing,
    edit: Edit,
    changes: Vec<RecordChange>,
}

impl Directory {
    /// The recovery with this id.
    pub fn recovery(&self, id: RecoveryId) -> Option<Arc<Recovery>> {
        self.read(|state| state.recoveries.get(&id).cloned())
    }

    /// Recoveries in the order in which they were asked for, after `after`.
    pub fn recoveries(
        &self,
        consumer: Option<&ConsumerId>,
        endpoint: Option<EndpointId>,
        after: Option<RecoveryId>,
        limit: usize,
    ) -> Vec<Arc<Recovery>> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        self.read(|state| {
            let wanted = state.recoveries.range(range).map(|(_, recovery)| recovery).filter(|recovery| {
                consumer.is_none_or(|consumer| recovery.consumer == *consumer)
                    && endpoint.is_none_or(|endpoint| recovery.endpoint == endpoint)
            });
            wanted.take(limit).cloned().collect()
        })
    }

    /// Those that go on.
    pub fn running_recoveries(&self) -> Vec<Arc<Recovery>> {
        self.read(|state| {
            state.recoveries.values().filter(|recovery| recovery.is_running()).cloned().collect()
        })
    }

    /// Begins a recovery, and forgets the oldest of its endpoint that have ended, beyond twenty.
    ///
    /// # Errors
    /// If the endpoint does not exist, another recovery of it goes on, or `MOST_RUNNING` of its consumer's do.
    pub async fn create_recovery(&self, recovery: Recovery) -> Result<Arc<Recovery>, ChangeError> {
        let changing = self.turn().await?;
        let id = recovery.endpoint;
        self.endpoint(id).ok_or_else(|| ChangeError::NotFound { what: "endpoint", id: id.to_string() })?;
        let others = self.recoveries(None, Some(id), None, usize::MAX);
        if let Some(running) = others.iter().find(|other| other.is_running()) {
            return Err(ChangeError::Exists {
                what: "running recovery of this endpoint,",
                id: running.id.to_string(),
            });
        }
        // Steps are made one after the other: what one consumer runs takes time from everybody's.
        let of_consumer = self.recoveries(Some(&recovery.consumer), None, None, usize::MAX);
        let running = of_consumer.iter().filter(|other| other.is_running());
        let running: Vec<_> = running.map(|other| format!("{} of {}", other.id, other.endpoint)).collect();
        if running.len() >= MOST_RUNNING {
            return Err(ChangeError::TooManyRunning { most: MOST_RUNNING, running });
        }
        let too_many = (others.len() + 1).saturating_sub(KEPT);
        let forgotten = others.iter().take(too_many).map(|other| Edit::Remove(Name::Recovery(other.id)));
        let recovery = Arc::new(recovery);
        let mut edits: Vec<_> = forgotten.collect();
        edits.push(Edit::Put(Item::Recovery(Arc::clone(&recovery))));
        self.commit(changing, edits).await?;
        Ok(recovery)
    }

    /// Stops a recovery. What it has added stays; `None`: it was over.
    ///
    /// # Errors
    /// If there is none with this id.
    pub async fn cancel_recovery(
        &self,
        id: RecoveryId,
        now: Timestamp,
    ) -> Result<Option<Arc<Recovery>>, ChangeError> {
        let changing = self.turn().await?;
        let before = self
            .recovery(id)
            .ok_or_else(|| ChangeError::NotFound { what: "recovery", id: id.to_string() })?;
        if !before.is_running() {
            return Ok(None);
        }
        let ended = Recovery {
            state: RecoveryState::Cancelled,
            ended_at: Some(now),
            live: Vec::new(),
            ..Recovery::clone(&before)
        };
        let ended = Arc::new(ended);
        self.commit(changing, vec![Edit::Put(Item::Recovery(Arc::clone(&ended)))]).await?;
        Ok(Some(ended))
    }

    /// Prepares to write `next` in place of `before`. Write [`RecoveryStep::changes`] with the redeliveries, then call
    /// [`RecoveryStep::adopt`]. `None`: it has been stopped, or its endpoint is gone.
    ///
    /// # Errors
    /// If the consumer is being erased.
    pub async fn begin_recovery_step(
        &self,
        before: &Recovery,
        next: Recovery,
    ) -> Result<Option<RecoveryStep<'_>>, ChangeError> {
        let changing = self.turn().await?;
        if self.recovery(before.id).is_none_or(|now| *now != *before) {
            return Ok(None);
        }
        let edit = Edit::Put(Item::Recovery(Arc::new(next)));
        let changes = changing.fenced(vec![edit.seal(&self.keys)?]);
        Ok(Some(RecoveryStep { directory: self, changing, edit, changes }))
    }
}

impl RecoveryStep<'_> {
    /// What to write.
    pub fn changes(&self) -> Vec<RecordChange> {
        self.changes.clone()
    }

    /// Shows the step, after its changes are on disk.
    pub fn adopt(mut self) {
        self.directory.show(vec![self.edit], &mut self.changing);
    }
}

/// How many recoveries of an endpoint are remembered.
const KEPT: usize = 20;

/// How many recoveries of one consumer's endpoints run at once.
const MOST_RUNNING: usize = 4;
