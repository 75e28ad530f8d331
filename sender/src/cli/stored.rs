//! Commands that work on the store's files: where they are, and which key opens them.

use std::path::PathBuf;

use clap::Args;
use waxseal_keys::KeyEncryptionKey;

use super::error::CliError;
use super::kek;
use crate::config::{Config, StoreLocation};

/// Where the store and its key are: as the configuration says, unless it is said here.
#[derive(Args, Debug)]
pub struct Stored {
    /// The configuration file
    #[arg(long, env = "WAXSEAL_CONFIG", default_value = super::init::CONFIG_FILE)]
    config: PathBuf,
    /// The embedded store's file
    #[arg(long, env = "WAXSEAL_STORE")]
    store: Option<PathBuf>,
}

impl Stored {
    /// The store's file.
    ///
    /// # Errors
    /// If it is not given and there is no configuration that says it.
    pub fn store(&self) -> Result<PathBuf, CliError> {
        match &self.store {
            Some(store) => file(StoreLocation::parse(&store.to_string_lossy())),
            None => file(self.config()?.store),
        }
    }

    /// The key-encryption key: from the environment, else from the file.
    ///
    /// # Errors
    /// If there is none, or it is not one.
    pub fn kek(&self, file: Option<PathBuf>) -> Result<KeyEncryptionKey, CliError> {
        match (kek::of_environment(kek::VARIABLE)?, file) {
            (Some(kek), _) => Ok(kek),
            (None, Some(file)) => kek::of_file(&file),
            (None, None) => kek::of_file(&self.config()?.key_encryption_key_file),
        }
    }

    fn config(&self) -> Result<Config, CliError> {
        Config::read(&self.config).map_err(CliError::misconfigured)
    }
}

/// The file of a store that is one.
///
/// # Errors
/// If it is a database.
pub(super) fn file(store: StoreLocation) -> Result<PathBuf, CliError> {
    match store {
        StoreLocation::File(path) => Ok(path),
        StoreLocation::Postgres { .. } => Err(CliError::usage(
            "the store is a PostgreSQL database: back it up and restore it with the database's own tools (pg_basebackup, pg_dump)",
        )),
    }
}
