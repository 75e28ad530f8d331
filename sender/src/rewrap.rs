//! Changing the key-encryption key: everything that it wraps is wrapped anew under another one.
//!
//! That is the ring of signing keys and every data key. What lies under the data keys is not touched, so this takes as
//! long for a large store as for a small one.
//!
//! Relies on [`KeyRecords::rewrap`] being one transaction. Guarantees that at every
//! moment, a sudden end included, either the old key opens the store or the new one does, and never part of it; that
//! nothing is written before all of it was opened with the old key and once more with the new one; that it is on record
//! with the change who did it; that doing it again changes nothing; and that it is not done under nodes that run: each
//! has the old key in its memory, could read no signing key any more and would stop to sign.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use waxseal_keys::{Clock, KeyEncryptionKey, VaultError};

use crate::audit::{self, Deed};
use crate::data_keys::{self, DataKeyError};
use crate::id::AuditId;
use crate::signing_keys;
use crate::store::{Catalog, DataKeyRecord, KeyRecords, RecordChange, RewrappedKeys, RingRecord, StoreError};

/// What was done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rewrapped {
    /// The new key opens the store, the old one does not any more.
    Done {
        /// How many data keys were wrapped anew.
        data_keys: usize,
    },
    /// It was so before.
    Already,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewrapError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Neither of the two keys is the one that the store was made with.
    #[error(
        "the store's keys were wrapped by the key-encryption key {stored}; the ones given are {old} (old) and {new} (new)"
    )]
    WrongKey {
        /// The id of the key that wrapped them.
        stored: String,
        /// The id of the key that was given as the old one.
        old: String,
        /// The id of the key that was given as the new one.
        new: String,
    },
    /// The two keys are the same one.
    #[error("the new key-encryption key is the old one ({0}); make another one")]
    SameKey(String),
    /// A data key does not open although it is the right key: it was changed.
    #[error(transparent)]
    DataKey(#[from] DataKeyError),
    /// The ring does not open although it is the right key: it was changed.
    #[error("the signing keys in the store do not open: they were damaged or tampered with")]
    Ring(#[source] VaultError),
    /// Nodes that have the old key share the store.
    #[error(
        "these nodes share the store and have its old key: {}; stop them first (the lease of one that was killed ends within {} s)",
        names.join(", "),
        lease_left.as_secs() + 1
    )]
    NodesRun {
        /// What people call them.
        names: Vec<String>,
        /// When the last of their leases ends, if none is renewed.
        lease_left: Duration,
    },
    /// The store's keys were changed meanwhile.
    #[error("the keys in the store are being changed by others; try again")]
    Contended,
}

impl RewrapError {
    /// A stable code for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::WrongKey { .. } => "rewrap.wrong_key",
            Self::SameKey(_) => "rewrap.same_key",
            Self::DataKey(_) => "rewrap.data_key",
            Self::Ring(_) => "rewrap.ring",
            Self::NodesRun { .. } => "rewrap.nodes_run",
            Self::Contended => "rewrap.contended",
        }
    }
}

/// Wraps everything that `old` wraps under `new`.
///
/// # Errors
/// [`RewrapError`]; nothing was changed then, unless the store says that it does not know.
pub async fn rewrap<S: Catalog + KeyRecords + ?Sized>(
    store: &S,
    old: &KeyEncryptionKey,
    new: &KeyEncryptionKey,
    clock: &dyn Clock,
) -> Result<Rewrapped, RewrapError> {
    if old.id() == new.id() {
        return Err(RewrapError::SameKey(new.id()));
    }
    for _ in 0..ROUNDS {
        let (records, ring) = (store.data_keys().await?, store.ring().await?);
        // One key wraps all of it: a store under both is one that somebody has put together.
        let wrapped_by = |key: &KeyEncryptionKey| {
            let id = key.id();
            records.iter().find(|record| record.kek_id != id).map(|record| record.kek_id.clone())
        };
        if wrapped_by(new).is_none() && opens(ring.as_ref(), new)? {
            records.iter().try_for_each(|record| data_keys::unwrap(new, record).map(drop))?;
            return Ok(Rewrapped::Already);
        }
        if let Some(stored) = wrapped_by(old) {
            return Err(RewrapError::WrongKey { stored, old: old.id(), new: new.id() });
        }
        nobody_else_runs(store).await?;
        let count = records.len();
        let mut rewrapped = under(new, old, &records, ring.as_ref())?;
        rewrapped.changes.extend(on_record(new, old, &records, clock)?);
        if store.rewrap(rewrapped).await? {
            return Ok(Rewrapped::Done { data_keys: count });
        }
    }
    Err(RewrapError::Contended)
}

/// Looks for nodes whose leases last. One that begins just now is not seen: it reads no signing key afterwards, and the
/// store takes no data key of it.
async fn nobody_else_runs<S: Catalog + ?Sized>(store: &S) -> Result<(), RewrapError> {
    let Some(cluster) = store.cluster() else { return Ok(()) };
    let nodes = cluster.overview().await?.nodes;
    let live: Vec<_> = nodes.into_iter().filter(|state| !state.lease_left.is_zero()).collect();
    match live.iter().map(|state| state.lease_left).max() {
        None => Ok(()),
        Some(lease_left) => {
            let names = live.into_iter().map(|state| state.node.name).collect();
            Err(RewrapError::NodesRun { names, lease_left })
        }
    }
}

/// Whether the ring is under this key. A store that has no data keys yet has no ring either.
fn opens(ring: Option<&RingRecord>, key: &KeyEncryptionKey) -> Result<bool, RewrapError> {
    match ring.map(|ring| key.decrypt(signing_keys::CONTEXT, &ring.sealed)) {
        None | Some(Ok(_)) => Ok(true),
        Some(Err(error)) => Err(RewrapError::Ring(error)),
    }
}

/// All of it under the new key, each piece opened once more.
fn under(
    new: &KeyEncryptionKey,
    old: &KeyEncryptionKey,
    records: &[DataKeyRecord],
    ring: Option<&RingRecord>,
) -> Result<RewrappedKeys, RewrapError> {
    let mut data_keys = Vec::with_capacity(records.len());
    for record in records {
        let key = data_keys::unwrap(old, record)?;
        let wrapped = new.wrap(&key, data_keys::context(record.consumer.as_ref()).as_bytes());
        let record = DataKeyRecord { consumer: record.consumer.clone(), kek_id: new.id(), wrapped };
        data_keys::unwrap(new, &record)?;
        data_keys.push(record);
    }
    let ring = ring.map(|ring| {
        let record = old.decrypt(signing_keys::CONTEXT, &ring.sealed).map_err(RewrapError::Ring)?;
        let sealed = new.encrypt(signing_keys::CONTEXT, &record);
        new.decrypt(signing_keys::CONTEXT, &sealed).map_err(RewrapError::Ring)?;
        Ok::<_, RewrapError>(RingRecord { version: ring.version, sealed })
    });
    Ok(RewrappedKeys { ring: ring.transpose()?, data_keys, changes: Vec::new() })
}

/// The entry in the audit trail: under the sender's own data key, if the store has one yet.
fn on_record(
    new: &KeyEncryptionKey,
    old: &KeyEncryptionKey,
    records: &[DataKeyRecord],
    clock: &dyn Clock,
) -> Result<Option<RecordChange>, RewrapError> {
    let Some(system) = records.iter().find(|record| record.consumer.is_none()) else { return Ok(None) };
    let key = data_keys::unwrap(old, system)?;
    let deed = Deed {
        action: "key_encryption_key.change".to_owned(),
        object: new.id(),
        consumer: None,
        changed: BTreeMap::from([("id".to_owned(), json!({ "before": old.id(), "after": new.id() }))]),
    };
    Ok(Some(audit::entry(&key, AuditId::generate(clock.now()), deed)))
}

/// How often it is begun again when a key came or went meanwhile.
const ROUNDS: usize = 8;
