//! The store that the configuration names, opened: a file that this process has to itself, or a database.

use std::path::PathBuf;
use std::sync::Arc;

use super::error::CliError;
use crate::config::{Config, StoreLocation};
use crate::store::postgres::{PostgresSettings, PostgresStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

/// An open store.
#[derive(Debug)]
pub(super) enum Opened {
    File { store: Arc<SqliteStore>, path: PathBuf },
    Postgres { store: Arc<PostgresStore>, shown: String },
}

impl Opened {
    /// Opens it.
    ///
    /// # Errors
    /// If it cannot be had, or is damaged.
    pub(super) async fn open(config: &Config) -> Result<Self, CliError> {
        let failed =
            |error: StoreError| CliError::failed(format!("cannot open the store {}", config.store), error);
        match &config.store {
            StoreLocation::File(path) => match SqliteStore::open(path) {
                Ok(store) => Ok(Self::File { store: Arc::new(store), path: path.clone() }),
                Err(error @ StoreError::Corrupt { .. }) => Err(CliError::damaged(path, &error)),
                Err(error) => Err(failed(error)),
            },
            StoreLocation::Postgres(url) => {
                let settings = settings(config, url)?;
                let store = PostgresStore::open(&settings).await.map_err(failed)?;
                Ok(Self::Postgres { store: Arc::new(store), shown: settings.to_string() })
            }
        }
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::File { store, .. } => Arc::<SqliteStore>::clone(store),
            Self::Postgres { store, .. } => Arc::<PostgresStore>::clone(store),
        }
    }

    /// What was found to be damaged, if something was.
    pub(super) fn damage(&self) -> Option<&'static str> {
        match self {
            Self::File { store, .. } => store.damage(),
            // Whoever runs the database looks after its pages.
            Self::Postgres { .. } => None,
        }
    }

    /// The error that says so.
    pub(super) fn damaged(&self, what: &'static str) -> CliError {
        match self {
            Self::File { path, .. } => CliError::damaged(path, &StoreError::Corrupt { what }),
            Self::Postgres { shown, .. } => {
                CliError::failed(format!("the store {shown} is damaged"), StoreError::Corrupt { what })
            }
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::File { store, .. } => store.close().await,
            Self::Postgres { store, .. } => store.close().await,
        }
    }
}

/// How the database is reached.
///
/// # Errors
/// If the URL or the file of the password cannot be used.
pub(super) fn settings(config: &Config, url: &str) -> Result<PostgresSettings, CliError> {
    let settings = PostgresSettings::parse(url).map_err(CliError::misconfigured)?;
    match &config.store_password_file {
        Some(file) => settings.with_password_file(file).map_err(CliError::misconfigured),
        None => Ok(settings),
    }
}
