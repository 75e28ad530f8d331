//! What `waxseal serve` does when the store turns out to be damaged: it stops, and says how to go on.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use super::error::CliError;
use super::opened::Opened;
use crate::data_keys::DataKeyError;
use crate::directory::ChangeError;
use crate::listen;
use crate::sender::StartError;
use crate::signing_keys::SigningKeysError;
use crate::store::StoreError;

/// Whether damage ends the process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OnDamage {
    /// It does.
    Stop,
    /// What can be read is served on.
    GoOn,
}

/// A store that is served.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) opened: Opened,
    pub(super) on_damage: OnDamage,
}

/// Completes when the process is told to stop, or must.
pub(super) fn stop_signal(kept: &Kept) -> impl Future<Output = ()> + Send + use<> {
    let told = listen::stop_signal();
    let on_damage = kept.on_damage;
    let file = match &kept.opened {
        Opened::File { store, path } => Some((Arc::clone(store), path.clone())),
        Opened::Postgres { .. } => None,
    };
    async move {
        let mut told = pin!(told);
        let Some((sqlite, path)) = file else { return told.await };
        tokio::select! {
            () = &mut told => {}
            what = sqlite.damaged() => {
                let store = path.display();
                match on_damage {
                    OnDamage::Stop => {
                        tracing::error!(%store, what, "the store is damaged; stopping, so that nothing is built on it");
                    }
                    OnDamage::GoOn => {
                        tracing::error!(%store, what, "the store is damaged; going on all the same, as told");
                        told.await;
                    }
                }
            }
        }
    }
}

/// What to say at the end, if that was why.
pub(super) fn found(kept: &Kept) -> Result<(), CliError> {
    match kept.opened.damage() {
        Some(what) if kept.on_damage == OnDamage::Stop => Err(kept.opened.damaged(what)),
        _ => Ok(()),
    }
}

/// What to say if a sender cannot start on this store. What decrypts no longer, under the right key, is damaged.
pub(super) fn not_started(kept: &Kept, error: StartError) -> CliError {
    let damaged = |what| kept.opened.damaged(what);
    match error {
        StartError::DataKeys(DataKeyError::Damaged(_)) => damaged("data key"),
        StartError::SigningKeys(SigningKeysError::Sealed(_) | SigningKeysError::Record(_)) => {
            damaged("signing keys")
        }
        StartError::Directory(ChangeError::Store(StoreError::Corrupt { what })) => damaged(what),
        other => match kept.opened.damage() {
            Some(what) => damaged(what),
            None => CliError::failed("cannot start", other),
        },
    }
}

impl CliError {
    /// The store is damaged.
    pub(super) fn damaged(path: &Path, why: &StoreError) -> Self {
        let store = path.display();
        let message = format!(
            "the store {store} is damaged: {why}. Nothing was removed. Put the last backup in its place:\n  \
             waxseal restore --replace BACKUP --store {store}\nIt keeps the damaged store under another name; \
             docs/backup.md says more"
        );
        Self::with_status(message, DAMAGED)
    }
}

/// The exit status of a process that stopped because its store is damaged: `EX_DATAERR` of sysexits.h.
const DAMAGED: u8 = 65;
