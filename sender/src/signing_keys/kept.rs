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
    /// Its ciphertext is another each time that something is written, so it tells apart what a version does not.
    pub(super) record: store::RingRecord,
    pub(super) ring: KeyRing,
    /// The key that signed when this was first seen. Asking the ring later would find a standby that has become ready
    /// since, and miss the change.
    pub(super) active_kid: Option<String>,
}

impl Kept {
    pub(super) fn at(now: Timestamp, record: store::RingRecord, ring: KeyRing) -> Self {
        let active_kid = ring.active_at(now).map(|key| key.kid().to_owned());
        Self { record, ring, active_kid }
    }
}

pub(super) async fn load(
    records: &dyn KeyRecords,
    data_keys: &DataKeys,
    policy: RingPolicy,
    now: Timestamp,
) -> Result<Option<Kept>, SigningKeysError> {
    records.ring().await?.map(|record| open(record, data_keys, policy, now)).transpose()
}

pub(super) fn open(
    record: store::RingRecord,
    data_keys: &DataKeys,
    policy: RingPolicy,
    now: Timestamp,
) -> Result<Kept, SigningKeysError> {
    let json = data_keys.kek().decrypt(CONTEXT, &record.sealed).map_err(SigningKeysError::Sealed)?;
    let ring = KeyRing::from_record(&RingRecord::from_json(&json)?, policy)?;
    Ok(Kept::at(now, record, ring))
}

/// Writes a ring in place of what is on disk; returns what is there then, unless that was something else by now.
pub(super) async fn save(
    store: &dyn KeyRecords,
    data_keys: &DataKeys,
    before: Option<&store::RingRecord>,
    ring: &KeyRing,
    changes: Vec<RecordChange>,
) -> Result<Option<store::RingRecord>, SigningKeysError> {
    let sealed = data_keys.kek().encrypt(CONTEXT, &ring.to_record().to_json());
    let version = before.map_or(0, |before| before.version) + 1;
    let saved = store.save_ring(before.cloned(), sealed.clone(), changes).await?;
    Ok(saved.then_some(store::RingRecord { version, sealed }))
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
    if let Some(record) = save(store, data_keys, None, &ring, entries_of(recorder, &[], &ring)).await? {
        return Ok(Kept::at(now, record, ring));
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
