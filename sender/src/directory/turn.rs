//! Turns: one change at a time on this node and, where several use the store, among all of them.
//!
//! Guarantees that a change is made on top of everything that is in the store when its turn begins, and that nothing of it
//! is written if another node has changed something since: a turn can be lost, and the store compares versions.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use super::{ChangeError, Directory};
use crate::id::ConsumerId;
use crate::store::{Cluster, Hint, RecordChange, RecordKind, Turn, Version};

/// The turn of one change.
#[derive(Debug)]
pub(super) struct Changing {
    /// Where several nodes use the store. Given back first.
    among: Option<Among>,
    _local: OwnedMutexGuard<()>,
}

#[derive(Debug)]
struct Among {
    cluster: Arc<dyn Cluster>,
    /// The version on top of which the change is made.
    at: Version,
    _applying: OwnedMutexGuard<()>,
    _turn: Turn,
}

impl Directory {
    /// Waits for the turn to change something.
    pub(super) async fn turn(&self) -> Result<Changing, ChangeError> {
        let local = Arc::clone(&self.changing).lock_owned().await;
        let Some(others) = &self.others else { return Ok(Changing { among: None, _local: local }) };
        let turn = others.cluster.turn().await?;
        let applying = Arc::clone(&others.applying).lock_owned().await;
        self.read_on(others).await?;
        let cluster = Arc::clone(&others.cluster);
        let among = Among { cluster, at: self.version(), _applying: applying, _turn: turn };
        Ok(Changing { among: Some(among), _local: local })
    }

    /// Sees to it that no other node can still create this consumer with what it has read of the store until now: it was
    /// too slow, and finds out when it comes to write. A data key that stands in the store without its consumer may be
    /// destroyed then.
    pub(super) async fn overtake(&self, changing: &mut Changing, id: &ConsumerId) -> Result<(), ChangeError> {
        if changing.among.is_some() {
            // It is not there. That it is removed counts all the same.
            let gone = RecordChange::Remove { kind: RecordKind::Consumer, id: id.to_string() };
            self.store.change(changing.fenced(vec![gone])).await?;
            self.show(Vec::new(), changing);
        }
        Ok(())
    }
}

impl Changing {
    /// These changes, to be written only if nobody else has changed anything in the meantime.
    pub(super) fn fenced(&self, mut changes: Vec<RecordChange>) -> Vec<RecordChange> {
        let fence = self.among.as_ref().filter(|_| changes.iter().any(is_versioned));
        changes.extend(fence.map(|among| RecordChange::OnlyAt(among.at)));
        changes
    }

    /// Notes that what was [fenced](Self::fenced) is on disk; returns the version of that.
    pub(super) fn made(&mut self) -> Option<Version> {
        let among = self.among.as_mut()?;
        among.at += 1;
        Some(among.at)
    }

    /// Tells the other nodes that something is configured otherwise.
    pub(super) fn tell(&self) {
        if let Some(among) = &self.among {
            among.cluster.hint(Hint::Configured);
        }
    }
}

/// Whether it counts as a change of what is configured.
fn is_versioned(change: &RecordChange) -> bool {
    match change {
        RecordChange::Put(record) => record.kind != RecordKind::EndpointHealth,
        RecordChange::Remove { kind, .. } => *kind != RecordKind::EndpointHealth,
        RecordChange::Audit(_) | RecordChange::OnlyAt(_) => false,
    }
}
