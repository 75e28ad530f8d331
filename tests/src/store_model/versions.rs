//! What was configured when: every change of versioned records counts up, and leaves where it can be found.

use std::collections::BTreeMap;

use waxseal_sender::store::{Configured, RecordChange, RecordKind, StoreError, Version};

use super::State;

/// The version, and at which each name was written or removed last.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// Several nodes use the model, so that others may have changed something.
    pub(super) shared: bool,
    now: Version,
    of: BTreeMap<(RecordKind, String), Version>,
}

impl Versions {
    /// Refuses changes that were made for another version. To be called before anything is written.
    pub(super) fn permit(&self, changes: &[RecordChange]) -> Result<(), StoreError> {
        let elsewhere = |change: &RecordChange| matches!(change, RecordChange::OnlyAt(at) if *at != self.now);
        if self.shared && changes.iter().any(elsewhere) { Err(StoreError::Superseded) } else { Ok(()) }
    }

    /// Counts one transaction, if it changes anything that is versioned.
    pub(super) fn count(&mut self, changes: &[RecordChange]) {
        let names: Vec<_> = changes.iter().filter_map(versioned).collect();
        if !names.is_empty() {
            self.now += 1;
            self.of.extend(names.into_iter().map(|name| (name, self.now)));
        }
    }
}

impl State {
    pub(super) fn configured_after(&self, after: Version) -> Configured {
        let mut configured = Configured { version: self.versions.now, ..Configured::default() };
        for (name, _) in self.versions.of.iter().filter(|(_, version)| **version > after) {
            match self.records.get(name) {
                Some(record) => configured.put.push(record.clone()),
                None => configured.removed.push(name.clone()),
            }
        }
        configured
    }
}

fn versioned(change: &RecordChange) -> Option<(RecordKind, String)> {
    let name = match change {
        RecordChange::Put(record) => (record.kind, record.id.clone()),
        RecordChange::Remove { kind, id } => (*kind, id.clone()),
        RecordChange::Audit(_) | RecordChange::OnlyAt(_) => return None,
    };
    (name.0 != RecordKind::EndpointHealth).then_some(name)
}
