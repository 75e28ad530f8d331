//! Where the key-encryption key comes from: the environment, or a file that only its owner can read.
//!
//! It is never an argument: those are in every process list and shell history.

use std::env::{self, VarError};

use waxseal_keys::{KeyEncryptionKey, VaultError};
use zeroize::Zeroizing;

use super::error::CliError;
use crate::config::Config;

/// The key-encryption keys that are configured.
#[derive(Debug)]
pub struct Keks {
    /// The one that the store is to be under.
    pub current: KeyEncryptionKey,
    /// One that it may still be under.
    pub previous: Option<KeyEncryptionKey>,
}

/// Whether the key must come from the environment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Insist {
    /// It must.
    OnEnvironment,
    /// The file will do.
    OnNothing,
}

impl Keks {
    /// Reads them.
    ///
    /// # Errors
    /// If one is missing or is none; the message names the variable or the file.
    pub fn read(config: &Config, insist: Insist) -> Result<Self, CliError> {
        let current = match of_environment(VARIABLE)? {
            Some(kek) => kek,
            None if insist == Insist::OnEnvironment => {
                return Err(CliError::usage(format!(
                    "--kek-from-environment: {VARIABLE} is not set; set it to the key-encryption key"
                )));
            }
            None => of_file(&config.key_encryption_key_file)?,
        };
        let previous = match of_environment(PREVIOUS_VARIABLE)? {
            Some(kek) => Some(kek),
            None => config.previous_key_encryption_key_file.as_deref().map(of_file).transpose()?,
        };
        Ok(Self { current, previous })
    }
}

/// Reads a key file.
///
/// # Errors
/// If it is none, or others may read it.
pub fn of_file(path: &std::path::Path) -> Result<KeyEncryptionKey, CliError> {
    KeyEncryptionKey::from_file(path).map_err(|error| match error {
        VaultError::KeyText => CliError::misconfigured(error).in_file(path),
        // These name the file themselves.
        error => CliError::misconfigured(error),
    })
}

/// Reads a key from a variable, if that is set.
///
/// # Errors
/// If what it has is no key.
pub fn of_environment(variable: &str) -> Result<Option<KeyEncryptionKey>, CliError> {
    match env::var(variable).map(Zeroizing::new) {
        Ok(text) => match KeyEncryptionKey::from_text(&text) {
            Ok(kek) => Ok(Some(kek)),
            Err(error) => Err(CliError::usage(format!("{variable}: {error}"))),
        },
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(CliError::usage(format!("{variable} is not text"))),
    }
}

/// Where the key is looked for first.
pub const VARIABLE: &str = "WAXSEAL_KEK";
const PREVIOUS_VARIABLE: &str = "WAXSEAL_PREVIOUS_KEK";
