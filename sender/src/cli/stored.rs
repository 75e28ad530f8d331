//! Commands that work on the store's files: where they are, and which key opens them.

use std::env;
use std::path::PathBuf;

use clap::Args;
use waxseal_keys::KeyEncryptionKey;
use zeroize::Zeroizing;

use super::error::CliError;
use crate::config::{Config, ConfigError};

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
            Some(store) => Ok(store.clone()),
            None => Ok(self.config()?.store),
        }
    }

    /// The key-encryption key: from the environment, else from the file.
    ///
    /// # Errors
    /// If there is none, or it is not one.
    pub fn kek(&self, file: Option<PathBuf>) -> Result<KeyEncryptionKey, CliError> {
        if let Ok(text) = env::var(KEK_VARIABLE).map(Zeroizing::new) {
            return KeyEncryptionKey::from_text(&text)
                .map_err(|error| CliError::usage(format!("{KEK_VARIABLE}: {error}")));
        }
        let file = match file {
            Some(file) => file,
            None => self.config()?.key_encryption_key_file,
        };
        KeyEncryptionKey::from_file(&file)
            .map_err(|error| CliError::usage(format!("{}: {error}", file.display())))
    }

    fn config(&self) -> Result<Config, CliError> {
        Config::read(&self.config).map_err(|error: ConfigError| CliError::usage(error.to_string()))
    }
}

const KEK_VARIABLE: &str = "WAXSEAL_KEK";
