//! What was configured when: every change of versioned records counts up, and leaves where it can be found.

use std::collections::BTreeMap;

use waxseal_sender::id::ConsumerId;
use waxseal_sender::store::{
    Configured, DataKeyRecord, Record, RecordChange, RecordKind, RingRecord, StoreError, Version,
};

use super::{State, StoreModel};

/// The version, and at which each name was written or removed last.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    /// Several nodes use the model, so that others may have changed something.
    pub(super) shared: bool,
    /// Just before so many changes that were made for a version, another node changes something.
    pub(super) interruptions: u32,
    now: Version,
    /// Up to which version it is forgotten what was removed.
    forgotten: Version,
    of: BTreeMap<(RecordKind, String), Version>,
}

impl Versions {
    /// Refuses changes that were made for another version. To be called before anything is written.
    pub(super) fn permit(&mut self, changes: &[RecordChange]) -> Result<(), StoreError> {
        let is_fenced = changes.iter().any(|change| matches!(change, RecordChange::OnlyAt(_)));
        if is_fenced && self.interruptions > 0 {
            (self.interruptions, self.now) = (self.interruptions - 1, self.now + 1);
        }
        let elsewhere = |change: &RecordChange| matches!(change, RecordChange::OnlyAt(at) if *at != self.now);
        if self.shared && changes.iter().any(elsewhere) { Err(StoreError::Superseded) } else { Ok(()) }
    }

    /// Counts one transaction on top of these records, if it changes anything that is versioned. That something is removed
    /// that is not there counts, and leaves nothing that could be found.
    pub(super) fn count(
        &mut self,
        changes: &[RecordChange],
        records: &BTreeMap<(RecordKind, String), Record>,
    ) {
        let mut names = changes.iter().filter_map(|change| Some((versioned(change)?, change))).peekable();
        if names.peek().is_none() {
            return;
        }
        self.now += 1;
        for (name, change) in names {
            let was_put = self.of.get(&name) == Some(&self.now);
            if matches!(change, RecordChange::Put(_)) || was_put || records.contains_key(&name) {
                self.of.insert(name, self.now);
            }
        }
    }
}

/// What was configured at a time, and the ring.
#[derive(Debug)]
pub struct Snapshot {
    records: BTreeMap<(RecordKind, String), Record>,
    data_keys: BTreeMap<Option<ConsumerId>, DataKeyRecord>,
    ring: Option<RingRecord>,
    versions: Versions,
}

impl StoreModel {
    /// What is configured now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state().expect("it can be reached");
        let (records, data_keys) = (state.records.clone(), state.data_keys.clone());
        Snapshot { records, data_keys, ring: state.ring.clone(), versions: state.versions.clone() }
    }

    /// Loses everything that was configured since, and what became of the ring, as a standby that takes over and was behind.
    pub fn go_back_to(&self, snapshot: Snapshot) {
        let mut state = self.state().expect("it can be reached");
        let Snapshot { records, data_keys, ring, versions } = snapshot;
        (state.records, state.data_keys, state.ring, state.versions) = (records, data_keys, ring, versions);
    }
}

impl StoreModel {
    /// Of how much that is configured no more it is remembered that it was.
    pub fn removals(&self) -> usize {
        let state = self.state().expect("it can be reached");
        state.versions.of.keys().filter(|name| !state.records.contains_key(*name)).count()
    }
}

impl State {
    pub(super) fn configured_after(&self, after: Version) -> Configured {
        let everything = after == 0 || after < self.versions.forgotten;
        let after = if everything { 0 } else { after };
        let mut configured = Configured { version: self.versions.now, everything, ..Configured::default() };
        for (name, _) in self.versions.of.iter().filter(|(_, version)| **version > after) {
            match self.records.get(name) {
                Some(record) => configured.put.push(record.clone()),
                None if everything => {}
                None => configured.removed.push(name.clone()),
            }
        }
        configured
    }

    pub(super) fn forget_changes(&mut self, known_by_all: Version, limit: u32) -> u64 {
        let is_gone = |name: &(RecordKind, String)| !self.records.contains_key(name);
        let gone =
            self.versions.of.iter().filter(|(name, version)| is_gone(name) && **version <= known_by_all);
        let mut gone: Vec<_> = gone.map(|(_, version)| *version).collect();
        gone.sort_unstable();
        gone.truncate(usize::try_from(limit).unwrap());
        let Some(until) = gone.pop() else { return 0 };
        let before = self.versions.of.len();
        self.versions.of.retain(|name, version| self.records.contains_key(name) || *version > until);
        self.versions.forgotten = until;
        u64::try_from(before - self.versions.of.len()).unwrap()
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
