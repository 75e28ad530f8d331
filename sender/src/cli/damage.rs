//! What `waxseal serve` does when the store turns out to be damaged: it stops, and says how to go on.

use std::path::Path;

use super::error::CliError;
use crate::data_keys::DataKeyError;
use crate::directory::ChangeError;
use crate::listen;
use crate::sender::StartError;
use crate::signing_keys::SigningKeysError;
use crate::store::StoreError;
use crate::store::sqlite::SqliteStore;

/// Whether damage ends the process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OnDamage {
    /// It does.
    Stop,
    /// What can be read is served on.
    GoOn,
}

/// Waits until the process is told to stop, or must.
pub(super) async fn stop_signal(store: &SqliteStore, path: &Path, on_damage: OnDamage) {
    let told = listen::stop_signal();
    tokio::pin!(told);
    tokio::select! {
        () = &mut told => {}
        what = store.damaged() => {
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

/// What to say at the end, if that was why.
pub(super) fn found(store: &SqliteStore, path: &Path, on_damage: OnDamage) -> Result<(), CliError> {
    match store.damage() {
        Some(what) if on_damage == OnDamage::Stop => {
            Err(CliError::damaged(path, &StoreError::Corrupt { what }))
        }
        _ => Ok(()),
    }
}

/// What to say if a sender cannot start on this store. What decrypts no longer, under the right key, is damaged.
pub(super) fn not_started(store: &SqliteStore, path: &Path, error: &StartError) -> CliError {
    let damaged = |what| CliError::damaged(path, &StoreError::Corrupt { what });
    match error {
        StartError::DataKeys(DataKeyError::Damaged(_)) => damaged("data key"),
        StartError::SigningKeys(SigningKeysError::Sealed(_) | SigningKeysError::Record(_)) => {
            damaged("signing keys")
        }
        StartError::Directory(ChangeError::Store(StoreError::Corrupt { what })) => damaged(what),
        _ => match store.damage() {
            Some(what) => damaged(what),
            None => CliError::plain(error.to_string()),
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
