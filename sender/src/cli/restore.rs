//! `waxseal restore`: a backup in the place of the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use waxseal_keys::{Clock, KeyEncryptionKey, RingEntry, RingPolicy, SignatureAlgorithm, SystemClock};

use super::backup::tell;
use super::error::CliError;
use super::output::line;
use super::stored::Stored;
use crate::data_keys::DataKeys;
use crate::directory::Directory;
use crate::signing_keys::SigningKeys;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::restore::{Occupied, Restoration, RestoreError};

/// Put a backup in the place of the store; the sender must not run
#[derive(Args, Debug)]
#[command(
    after_help = "What was delivered after the backup is delivered again, under the same ids. What was revoked, deleted or\nadded after it is as it was before: signing keys, tokens, consumers.\n\nExamples:\n  waxseal restore /backup/waxseal-2026-11-24.db\n  waxseal restore --replace /backup/waxseal-2026-11-24.db    keeps the damaged store under another name"
)]
pub struct RestoreArgs {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    stored: Stored,
    /// The file with the key-encryption key
    #[arg(long, env = "WAXSEAL_KEK_FILE")]
    kek_file: Option<PathBuf>,
    /// Revoke this signing key in what is restored: it was revoked after the backup. May be given several times
    #[arg(long = "revoke", value_name = "KID")]
    revoked: Vec<String>,
    /// If there is a store, move it aside; it is kept
    #[arg(long)]
    replace: bool,
}

impl RestoreArgs {
    /// Restores.
    ///
    /// # Errors
    /// If the backup cannot be used or the store is in use; nothing was changed then.
    pub async fn run(self) -> Result<(), CliError> {
        let store = self.stored.store()?;
        let kek = self.stored.kek(self.kek_file)?;
        let occupied = if self.replace { Occupied::MoveAside } else { Occupied::Refuse };
        let (backup, target) = (self.file.clone(), store.clone());
        let prepared = blocking(move || Restoration::prepare(&backup, &target, occupied)).await?;
        let signing_keys = try_out(prepared.path(), kek, &self.revoked).await?;
        let contents = prepared.contents().clone();
        let aside = blocking(move || prepared.finish(SystemClock.now())).await?;
        line(&format!("Restored {} from {}", store.display(), self.file.display()))?;
        tell(&contents)?;
        line("  Its signing keys; one that was revoked after the backup must be revoked again:")?;
        for key in &signing_keys {
            line(&format!("    {} {:?}", key.kid(), key.state()))?;
        }
        if let Some(aside) = aside {
            line(&format!("The store that was there is now {}", aside.display()))?;
        }
        line("Next: start the sender, and read what docs/backup.md says of the time after a restore")
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RestoreError> + Send + 'static,
) -> Result<T, CliError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| CliError::failed("the restore was interrupted", error))?
        .map_err(|error| CliError::failed("nothing was restored", error))
}

/// Opens the copy as the sender would: with this key, all of the configuration, the signing keys. What was revoked is
/// so again before the copy is put in place.
async fn try_out(copy: &Path, kek: KeyEncryptionKey, revoked: &[String]) -> Result<Vec<RingEntry>, CliError> {
    let failed = |error: &dyn std::error::Error| {
        CliError::plain(format!("nothing was restored: the backup does not open: {error}"))
    };
    let sqlite = Arc::new(SqliteStore::open(copy).map_err(|error| failed(&error))?);
    let store: Arc<dyn Store> = Arc::<SqliteStore>::clone(&sqlite);
    let keys = DataKeys::open(Arc::clone(&store), kek).await.map_err(|error| failed(&error))?;
    let keys = Arc::new(keys);
    Directory::load(Arc::clone(&store), Arc::clone(&keys)).await.map_err(|error| failed(&error))?;
    // The policy and the algorithm are for keys that are made later; here they are only read.
    let (policy, alg) = (RingPolicy::default(), SignatureAlgorithm::Es256);
    let ring = SigningKeys::open(store, keys, policy, alg, Arc::new(SystemClock)).await;
    let ring = ring.map_err(|error| failed(&error))?;
    for kid in revoked {
        let done = ring.revoke_unpublished(kid).await;
        done.map_err(|error| CliError::plain(format!("nothing was restored: --revoke {kid}: {error}")))?;
    }
    let entries = ring.entries();
    sqlite.close().await;
    Ok(entries)
}
