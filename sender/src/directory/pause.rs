//! Pausing an endpoint as part of somebody else's transaction: the settlement that caused it. What the operator is told
//! of it is part of the same one, and so is its entry in the audit trail.

use std::sync::Arc;

use waxseal_keys::Timestamp;

use super::item::{Edit, Item};
use super::{ChangeError, Changing, Directory};
use crate::model::endpoint::{Endpoint, EndpointStatus, PauseReason};
use crate::operations::notices;
use crate::store::RecordChange;

/// A pause that is prepared. No other change is made until it is adopted or dropped; dropped, nothing has happened.
#[derive(Debug)]
#[must_use = "the pause takes effect when it is adopted"]
pub struct PauseEdit<'a> {
    directory: &'a Directory,
    changing: Changing,
    edits: Vec<Edit>,
    changes: Vec<RecordChange>,
}

impl Directory {
    /// Prepares to pause an endpoint because of what the server at its URL has answered. Write
    /// [`PauseEdit::changes`] with the settlement, then call [`PauseEdit::adopt`].
    ///
    /// `None` if there is nothing to pause: it is gone, or paused, or what was answered was asked of another URL or in
    /// the name of another audience than it has now.
    ///
    /// # Errors
    /// If the change cannot be encrypted: the consumer's key is gone. Where several nodes use the store, if that fails.
    pub async fn begin_pause(
        &self,
        asked: &Endpoint,
        reason: PauseReason,
        now: Timestamp,
    ) -> Result<Option<PauseEdit<'_>>, ChangeError> {
        let changing = self.turn().await?;
        let same = |endpoint: &Arc<Endpoint>| {
            (&endpoint.url, endpoint.audience()) == (&asked.url, asked.audience()) && endpoint.is_active()
        };
        let Some(endpoint) = self.endpoint(asked.id).filter(same) else { return Ok(None) };
        let status = EndpointStatus::Paused { reason, since: now };
        let paused = Endpoint { status, ..Endpoint::clone(&endpoint) };
        let mut edits = vec![Edit::Put(Item::Endpoint(Arc::new(paused)))];
        edits.extend(self.news_of(&endpoint, || notices::disabled(&endpoint, reason, now)));
        let mut changes = self.seal(&edits)?;
        changes.extend(self.record(&edits));
        let changes = changing.fenced(changes);
        Ok(Some(PauseEdit { directory: self, changing, edits, changes }))
    }
}

impl PauseEdit<'_> {
    /// What to write. [`StoreError::Superseded`] says that another node has changed something since: drop it, and begin
    /// again.
    ///
    /// [`StoreError::Superseded`]: crate::store::StoreError::Superseded
    pub fn changes(&self) -> Vec<RecordChange> {
        self.changes.clone()
    }

    /// Shows the pause, after its changes are on disk.
    pub fn adopt(mut self) {
        self.directory.show(self.edits, &mut self.changing);
    }
}
