//! `waxseal keys rewrap`: another key-encryption key for this machine's store, while no sender runs.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use waxseal_keys::{KeyEncryptionKey, SystemClock};

use super::error::CliError;
use super::files::{Unfinished, write_secret};
use super::kek::{Insist, Keks, of_file};
use super::opened::Opened;
use super::output::line;
use crate::audit::{Actor, acting};
use crate::config::{Config, StoreLocation};
use crate::rewrap::{RewrapError, Rewrapped, rewrap};

/// Which store, and which keys.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  waxseal keys rewrap --new-key-file waxseal-2.key\n\nStop the sender first, every node of it. A sender that must not stop for longer than a restart takes does the same by itself: set key_encryption_key_file to the new file and previous_key_encryption_key_file to the old one (or WAXSEAL_KEK and WAXSEAL_PREVIOUS_KEK), and restart it."
)]
pub struct RewrapArgs {
    /// The file with the new key-encryption key; made (mode 0600) if it is not there
    #[arg(long)]
    new_key_file: PathBuf,
    /// The configuration file: it names the store and the key that the store is under
    #[arg(long, env = "WAXSEAL_CONFIG", default_value = super::init::CONFIG_FILE)]
    config: PathBuf,
    /// The embedded store's file, or the URL of a PostgreSQL database
    #[arg(long, env = "WAXSEAL_STORE")]
    store: Option<String>,
    /// The file with the key-encryption key that the store is under
    #[arg(long, env = "WAXSEAL_KEK_FILE")]
    kek_file: Option<PathBuf>,
    /// Insist on that key in WAXSEAL_KEK, which takes the file's place where it is set
    #[arg(long)]
    kek_from_environment: bool,
}

impl RewrapArgs {
    /// Rewraps. Ended at any point, it leaves a store that the old key opens or one that the new key opens, and can be
    /// run again.
    ///
    /// # Errors
    /// If a key or the store cannot be had, or the old key is not the store's.
    pub async fn run(self) -> Result<(), CliError> {
        let mut config = Config::read(&self.config).map_err(CliError::misconfigured)?;
        let named = self.store.as_deref().map(StoreLocation::parse);
        config.store = named.unwrap_or(config.store);
        config.key_encryption_key_file = self.kek_file.unwrap_or(config.key_encryption_key_file);
        let insist = if self.kek_from_environment { Insist::OnEnvironment } else { Insist::OnNothing };
        let old = Keks::read(&config, insist)?.current;
        super::serve::store_exists(&config.store, "")?;
        let mut unfinished = Unfinished::default();
        let new = new_key(&self.new_key_file, &mut unfinished)?;
        let what = format!("cannot rewrap the keys in {}", config.store);
        let opened = Opened::open(&config).await?;
        let rewrapped = acting(Actor::Cli, rewrap(opened.store().as_ref(), &old, &new, &SystemClock)).await;
        opened.close().await;
        if matches!(rewrapped, Ok(_) | Err(RewrapError::Store(_))) {
            // Where nobody knows whether it was written, the new key may be the only one that opens the store.
            unfinished.keep();
        }
        let (store, file) = (&config.store, self.new_key_file.display());
        match rewrapped.map_err(|error| CliError::failed(&what, error))? {
            Rewrapped::Done { data_keys } => line(&format!(
                "The signing keys and {data_keys} data keys in {store} are under the key in {file} now; {}",
                left_behind(store)
            ))?,
            Rewrapped::Already => line(&format!("The keys in {store} were under the key in {file} already"))?,
        }
        line("")?;
        line(&format!(
            "Next: set key_encryption_key_file = \"{file}\" in {}, or put the file in the old one's place,",
            self.config.display()
        ))?;
        line("and keep a copy of it apart from the store. Backups from before still need the old key.")
    }
}

/// What is left of the old forms.
fn left_behind(store: &StoreLocation) -> &'static str {
    match store {
        StoreLocation::File(_) => "the old key opens nothing there any more",
        StoreLocation::Postgres { .. } => {
            "what the old key opens is in dead rows until VACUUM FULL data_keys, ring, and in the write-ahead log and its archives until they are gone"
        }
    }
}

/// The key in the file, which is made if it is not there. It is on disk before it is used: without it the store would
/// be lost.
fn new_key(path: &Path, unfinished: &mut Unfinished) -> Result<KeyEncryptionKey, CliError> {
    if !path.exists() {
        write_secret(path, format!("{}\n", *KeyEncryptionKey::generate().to_text()).as_bytes())?;
        unfinished.made(path.to_owned());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        sync(folder.unwrap_or_else(|| Path::new("."))).map_err(|error| CliError::file(path, error))?;
    }
    of_file(path)
}

/// Has the entry of a new file on disk.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
