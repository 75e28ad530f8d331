//! The ring as it is on disk: read, written with what the audit trail says of it, made for the first time.

use waxseal_keys::{
    KeyRing, KeyState, RingEntry, RingPolicy, RingRecord, SignatureAlgorithm, Timestamp, generate_signing_key,
};

use super::SigningKeysError;
use crate::audit::{Deed, Recorder};
use crate::data_keys::DataKeys;
use crate::store::{self, KeyRecords, RecordChange};

/// A ring as it is on disk.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) version: u64,
    pub(super) ring: KeyRing,
    /// The key that signed when this was first seen. Asking the ring later would find a standby that has become ready
    /// since, and miss the change.
    pub(super) active_kid: Option<String>,
}

impl Kept {
    pub(super) fn at(now: Timestamp, version: u64, ring: KeyRing) -> Self {
        let active_kid = ring.active_at(now).map(|key| key.kid().to_owned());
        Self { version, ring, active_kid }
    }
}

pub(super) async fn load(
    records: &dyn KeyRecords,
    data_keys: &DataKeys,
    policy: RingPolicy,
    now: Timestamp,
) -> Result<Option<Kept>, SigningKeysError> {
    records.ring().await?.map(|record| open(&record, data_keys, policy, now)).transpose()
}

pub(super) fn open(
    record: &store::RingRecord,
    data_keys: &DataKeys,
    policy: RingPolicy,
    now: Timestamp,
) -> Result<Kept, SigningKeysError> {
    let json = data_keys.kek().decrypt(CONTEXT, &record.sealed).map_err(SigningKeysError::Sealed)?;
    let ring = KeyRing::from_record(&RingRecord::from_json(&json)?, policy)?;
    Ok(Kept::at(now, record.version, ring))
}

pub(super) async fn save(
    store: &dyn KeyRecords,
    data_keys: &DataKeys,
    expected: u64,
    ring: &KeyRing,
    changes: Vec<RecordChange>,
) -> Result<bool, SigningKeysError> {
    let sealed = data_keys.kek().encrypt(CONTEXT, &ring.to_record().to_json());
    Ok(store.save_ring(expected, sealed, changes).await?)
}

/// Makes the first ring. Of two that are made at once the store keeps the first, and both callers get that one.
pub(super) async fn create(
    store: &dyn KeyRecords,
    data_keys: &DataKeys,
    policy: RingPolicy,
    alg: SignatureAlgorithm,
    recorder: &Recorder,
    now: Timestamp,
) -> Result<Kept, SigningKeysError> {
    let first = tokio::task::spawn_blocking(move || generate_signing_key(alg));
    let first = first.await.map_err(|_| SigningKeysError::Interrupted)??;
    let ring = KeyRing::new(policy, first, now);
    if save(store, data_keys, 0, &ring, entries_of(recorder, &[], &ring)).await? {
        return Ok(Kept::at(now, 1, ring));
    }
    load(store, data_keys, policy, now).await?.ok_or(SigningKeysError::Contended)
}

/// What the audit trail says of a change of the ring: keys that are new, that sign from now on, or that were revoked. What
/// else happens to them follows by itself.
pub(super) fn entries_of(recorder: &Recorder, before: &[RingEntry], ring: &KeyRing) -> Vec<RecordChange> {
    let mut entries = Vec::new();
    for entry in ring.entries() {
        let state_before = before.iter().find(|old| old.kid() == entry.kid()).map(RingEntry::state);
        let changed = state_before != Some(entry.state());
        let verbs = [
            state_before.is_none().then_some("create"),
            (changed && entry.state() == KeyState::Active).then_some("activate"),
            (changed && entry.state() == KeyState::Revoked).then_some("revoke"),
        ];
        entries.extend(verbs.into_iter().flatten().map(|verb| {
            let action = format!("signing_key.{verb}");
            recorder.entry(Deed { action, object: entry.kid().to_owned(), ..Deed::default() })
        }));
    }
    entries
}

/// What the record is bound to under the key-encryption key.
pub(crate) const CONTEXT: &[u8] = b"ring";
